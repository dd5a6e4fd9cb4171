"""How an answer is measured. Pure. A metric that changes gets another version, so that results of the two are never compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Metric = Callable[[str, str], bool]


def equal(answer: str, expected: str) -> bool:
    """The same text, but for white space around it."""
    return answer.strip() == expected.strip()


def contains(answer: str, expected: str) -> bool:
    """The expected text stands in the answer, in whatever case."""
    return expected.strip().casefold() in answer.casefold()


def same_json(answer: str, expected: str) -> bool:
    """The same JSON value, whatever the order of its names; a code fence around it does not count. `true` is not 1."""
    text = answer.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") : -3]
    try:
        return _same(json.loads(text), json.loads(expected))
    except (ValueError, RecursionError):
        return False


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


METRICS: Mapping[str, tuple[str, Metric]] = {
    "equal": ("equal@1", equal),
    "contains": ("contains@1", contains),
    "json": ("json@2", same_json),
}
"""By name: the name with its version, and the function."""


def digest(cases: Sequence[Mapping[str, Any]]) -> str:
    """What names exactly these cases: SHA-256 of their canonical JSON, 16 hex digits."""
    return hashlib.sha256(json.dumps(list(cases), sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")).hexdigest()[:16]
