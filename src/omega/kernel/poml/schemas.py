"""Whether what one JSON Schema describes can be handed to what another one asks for: found when nodes are joined, not when they run.

Only what is certainly wrong is told: another JSON type, a required key that the giving side does not name, the same inside. Anything else
is checked when the value arrives. Keywords are those of JSON Schema 2020-12 (https://json-schema.org/draft/2020-12).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 12
"""Levels looked at; what lies deeper is checked when the value arrives."""


def misfit(gives: Mapping[str, Any], takes: Mapping[str, Any]) -> str:
    """What is wrong with handing a value of `gives` to `takes`, with the path inside the value; empty when nothing is certain."""
    return _Pair(gives, takes).misfit(gives, takes, "", MAX_DEPTH)


class _Pair:
    """Two documents, and which parts of them were compared already, from how many levels on: references may lead to a part many times."""

    def __init__(self, gives: Mapping[str, Any], takes: Mapping[str, Any]) -> None:
        self.left, self.right = gives, takes
        self.seen: dict[tuple[int, int], int] = {}

    def misfit(self, gives: Any, takes: Any, path: str, depth: int) -> str:
        gives, takes = _resolved(gives, self.left), _resolved(takes, self.right)
        if gives is None or takes is None or depth <= self.seen.get((id(gives), id(takes)), 0):
            return ""
        self.seen[id(gives), id(takes)] = depth
        given, wanted = gives.get("type"), takes.get("type")
        if isinstance(given, str) and isinstance(wanted, str) and given != wanted and (given, wanted) != ("integer", "number"):
            return f"{path or 'the value'} is of type {given}, {wanted} is wanted"
        if given == wanted == "object":
            return self.objects(gives, takes, path, depth)
        if given == wanted == "array":
            return self.misfit(gives.get("items"), takes.get("items"), f"{path}[]", depth - 1)
        return ""

    def objects(self, gives: Mapping[str, Any], takes: Mapping[str, Any], path: str, depth: int) -> str:
        offered, asked = gives.get("properties"), takes.get("properties")
        if not isinstance(offered, Mapping):
            return ""
        required = takes.get("required")
        missing = next((key for key in required if key not in offered), None) if isinstance(required, list) else None
        if missing is not None:
            return f"{path + '.' if path else ''}{missing} is wanted, and not among what is given"
        if isinstance(asked, Mapping):
            for key in sorted(offered.keys() & asked.keys()):
                found = self.misfit(offered[key], asked[key], f"{path + '.' if path else ''}{key}", depth - 1)
                if found:
                    return found
        return ""


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A schema with a reference into its own document followed; None for what says nothing (`true`, another form of reference)."""
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, Mapping):
            return None
        reference = schema.get("$ref")
        if reference is None:
            return schema
        schema = _at(root, reference)
    return None


def _at(root: Mapping[str, Any], reference: Any) -> Any:
    """What a pointer such as `#/$defs/Item` leads to (RFC 6901); None where it leads nowhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
