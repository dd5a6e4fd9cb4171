"""Steps as a tree, by their positions: what `omega show` prints and a running flow draws."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_BRANCH = re.compile(r"(?P<name>.+)\.(?P<index>\d+)")


@dataclass(slots=True)
class Node:
    """One line of the tree: a step (`cells` are its columns) or a group of steps (no cells)."""

    label: str
    cells: Sequence[str] = ()
    children: dict[str, Node] = field(default_factory=dict)
    calls: bool = False
    """Whether it is a step that calls others, not a group of branches."""

    def put(self, position: str, cells: Sequence[str]) -> None:
        """Place a step at `position`, with the groups above it.

        The branches that a combinator opened (`findings.0`, `findings.1`) are one group; a name that occurs in several of them gets the
        number of its branch.
        """
        node, branch = self, ""
        for part in position.split("/"):
            match = _BRANCH.fullmatch(part)
            name = match["name"] if match is not None else part
            node = node._child(branch, name)
            branch = match["index"] if match is not None else ""
            node.calls = node.calls or not branch
        node.cells = cells

    def fill(self, cells: Sequence[str]) -> None:
        """Give `cells` to every step below that calls others and has no line of its own yet: it has not ended."""
        for child in self.children.values():
            if child.calls and child.children and not child.cells:
                child.cells = cells
            child.fill(cells)

    def lines(self, depth: int = 0) -> Iterator[tuple[str, Sequence[str]]]:
        """(indented label, cells) of everything below, in order."""
        names = [key.partition(" ")[2] for key in self.children]
        for key, child in self.children.items():
            branch, _, name = key.partition(" ")
            label = f"{name} [{branch}]" if branch and names.count(name) > 1 else name
            yield "  " * depth + label, child.cells
            yield from child.lines(depth + 1)

    def _child(self, branch: str, name: str) -> Node:
        return self.children.setdefault(f"{branch} {name}", Node(name))
