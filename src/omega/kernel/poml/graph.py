"""What nodes and expressions of a document mean together: a schema cannot say it, and it needs no flow to be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from itertools import islice

from omega.kernel.poml.connect import Chain, Name, find_cycle
from omega.kernel.poml.document import Node
from omega.kernel.poml.problems import Mark, Problems

MAX_STEPS = 10_000
"""Most places that nodes take when every reference is followed: nodes that refer to nodes twice each would double at every level."""
MAX_NESTING = 40
"""Longest chain of nodes inside nodes."""
MAX_EDGES = 20_000
"""Most arrows looked at when searching an expression for a way round."""


class Graph:
    """What nodes and expressions mean together: every name is known, nothing leads back, nothing is left out, the size is bounded.

    `written` are the names of all nodes, `nodes` those that could be read; `place` says where a name of an expression stands.
    """

    def __init__(
        self, nodes: Mapping[str, Node], written: Set[str], connect: Chain | None, place: Callable[[Chain, Name], Mark], problems: Problems
    ) -> None:
        self.nodes, self.written, self.place, self.problems = nodes, written, place, problems
        self.chains = [chain for node in nodes.values() for chain in node.references()] + ([] if connect is None else [connect])
        self.inside = {key: [name.text for chain in node.references() for name in chain.names()] for key, node in nodes.items()}

    def check_names(self) -> None:
        """What can be said even when some nodes could not be read: they count as there."""
        for chain in self.chains:
            self.known(chain)
            self.once(chain)

    def check_shape(self, connect: Chain) -> None:
        """What needs every node."""
        cycle = find_cycle(self.inside)
        if cycle:
            lines = ", ".join(f"{name} on line {self.nodes[name].at.line}" for name in cycle[:-1][:12])
            at = self.nodes[cycle[0]].at
            self.problems.add("OMG-L005", at, f"nodes lead back to themselves: {_way(cycle)}", expected=f"no way round ({lines})")
            return
        if self.bounded(connect):
            self.reached(connect)

    def known(self, chain: Chain) -> None:
        for name in chain.names():
            if name.text not in self.written:
                self.problems.unknown("OMG-L004", self.place(chain, name), "node", name.text, self.written)

    def once(self, chain: Chain) -> None:
        """In one expression a node has one place: a second one is a way round, or a slip."""
        names = list(chain.names())
        first = {name.text: name for name in reversed(names)}
        again = next((name for name in names if first[name.text] is not name), None)
        if again is None:
            return
        edges: dict[str, list[str]] = {}
        for source, target in islice(chain.edges(), MAX_EDGES):
            edges.setdefault(source.text, []).append(target.text)
        cycle = find_cycle(edges)
        at = self.place(chain, again)
        if cycle:
            self.problems.add("OMG-L005", at, f"the nodes are joined in a circle: {_way(cycle)}", expected="arrows that lead on")
        else:
            self.problems.add("OMG-L005", at, f"{again.text} has two places in one expression", expected="a second node of the same kind")

    def bounded(self, connect: Chain) -> bool:
        """Whether every node, and the whole, stays within the limits; sizes are worked out from the inside."""
        size: dict[str, int] = {}
        depth: dict[str, int] = {}
        stack = [(key, False) for key in self.nodes]
        while stack:
            key, ready = stack.pop()
            if key in size:
                continue
            parts = self.inside[key]
            if not ready:
                stack.append((key, True))
                stack.extend((part, False) for part in parts if part not in size)
                continue
            size[key] = 1 + sum(size[part] for part in parts)
            depth[key] = 1 + max((depth[part] for part in parts), default=0)
            if size[key] > MAX_STEPS or depth[key] > MAX_NESTING:
                limit = f"at most {MAX_STEPS:,} nodes, {MAX_NESTING} deep"
                self.problems.add("OMG-L002", self.nodes[key].at, f"{key} holds {size[key]:,} nodes, {depth[key]} deep", expected=limit)
                return False
        whole = sum(size[name.text] for name in connect.names())
        if whole > MAX_STEPS:
            self.problems.add("OMG-L002", Mark(), f"the document holds {whole:,} nodes", expected=f"at most {MAX_STEPS:,}")
        return whole <= MAX_STEPS

    def reached(self, connect: Chain) -> None:
        waiting = [name.text for name in connect.names()]
        seen: set[str] = set()
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                waiting.extend(self.inside[key])
        for key in self.nodes:
            if key not in seen:
                self.problems.add(
                    "OMG-L004", self.nodes[key].at, f"nothing leads to node {key}", expected="its name in `connect` or in a node"
                )


def _way(cycle: list[str]) -> str:
    shown = cycle if len(cycle) <= 12 else [*cycle[:6], "...", *cycle[-5:]]
    return " -> ".join(shown)
