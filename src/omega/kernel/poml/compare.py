"""What changed between two documents, by structure: order of nodes, layout and comments do not count, order of options does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omega.kernel.poml.document import Document
from omega.kernel.poml.layout import lay_out_value

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `what` is "added", "removed" or "changed", `path` where (`nodes.page.retry`), before and after plain data."""

    what: str
    path: str
    before: Any = None
    after: Any = None


def diff(before: Document, after: Document) -> list[Change]:
    """The changes that lead from `before` to `after`; none when both mean the same."""
    return list(_compare("", _meaning(before), _meaning(after)))


def one_line(value: Any, most: int = 80) -> str:
    """A side of a change as a document says it, on one line."""
    said = " ".join(lay_out_value(value).split())
    return said if len(said) <= most else f"{said[: most - 3]}..."


def _meaning(document: Document) -> dict[str, Any]:
    """Plain data in which spelling does not count: expressions in their one form, the order of options as a value of its own."""
    data = document.plain
    data["connect"] = str(document.connect)
    for key, node in document.nodes.items():
        order = [name for name, _ in node.options if name != "approve"]
        if len(order) > 1:
            data["nodes"][key] = data["nodes"][key] | {"(order of options)": ", ".join(order)}
    return data


def _compare(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _compare(f"{path}.{key}" if path else key, before.get(key, _MISSING), after.get(key, _MISSING))
    elif before is _MISSING:
        yield Change("added", path, after=after)
    elif after is _MISSING:
        yield Change("removed", path, before=before)
    elif type(before) is not type(after) or before != after:
        yield Change("changed", path, before, after)
