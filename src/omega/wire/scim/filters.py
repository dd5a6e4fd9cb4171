"""The filter language of SCIM (RFC 7644, 3.4.2.2): `userName eq "ada" and not (active eq false)`.

`read` gives a tree of dictionaries as the directory takes them: `all`, `any`, `none` hold such trees; a leaf is `attribute`, `op`, `value`.
What compares by order (`gt`, `lt`, ...) is refused as an invalid filter, as anything is that cannot be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from omega.kernel.errors import InputError

MAX_FILTER: Final = 2_000
"""Longest filter in characters."""

MAX_TOKENS: Final = 200
MAX_LEVELS: Final = 5
"""Most parentheses inside each other."""

OPS: Final = ("eq", "ne", "co", "sw", "ew", "pr")
URN: Final = re.compile(r"urn:ietf:params:scim:schemas:[A-Za-z0-9:._-]+:(?=[A-Za-z])", re.IGNORECASE)

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<mark>[()\[\]])|(?P<word>[A-Za-z$][A-Za-z0-9$_.:-]*)|(?P<number>-?[0-9][0-9.eE+-]*))"
)

USERS: Final[Mapping[str, str]] = {
    "username": "user_name",
    "externalid": "external_id",
    "displayname": "display_name",
    "emails": "emails",
    "emails.value": "emails",
    "active": "active",
    "id": "user",
}
GROUPS: Final[Mapping[str, str]] = {
    "displayname": "display_name",
    "externalid": "external_id",
    "members": "members",
    "members.value": "members",
    "id": "group",
}


def invalid(cause: str, kind: str = "invalidFilter") -> InputError:
    """What a request is refused with that SCIM has a word for (RFC 7644, table 9)."""
    return InputError("OMG-G001", cause, details={"scim": kind})


def read(text: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    """A filter as a tree, its attributes called as `attributes` says. Raises InputError (OMG-G001)."""
    reader = _Reader(_tokens(text), attributes)
    found = reader.either(0)
    if reader.left:
        raise invalid(f"the filter goes on after its end, with {reader.left[0][1][:40]!r}")
    return found


def read_plain(text: str) -> dict[str, Any]:
    """The same for the filter between brackets of a path: attributes are called as they are written, in lower case."""
    reader = _Reader(_tokens(text), None)
    found = reader.either(0)
    if reader.left:
        raise invalid("the filter of the path goes on after its end", "invalidPath")
    return found


def matches(found: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether a filter of `read_plain` means `value`, an object of a list. Texts are compared without case, but for `value`."""
    if found["all"]:
        return all(matches(each, value) for each in found["all"])
    if found["any"]:
        return any(matches(each, value) for each in found["any"])
    if found["none"]:
        return not matches(found["none"][0], value)
    held = next((item for name, item in value.items() if name.lower() == found["attribute"]), None)
    if found["op"] == "pr":
        return held not in (None, "")
    exact = found["attribute"] == "value"
    one, other = (_text(held), found["value"]) if exact else (_text(held).casefold(), found["value"].casefold())
    tests: dict[str, bool] = {
        "eq": one == other,
        "ne": one != other,
        "co": other in one,
        "sw": one.startswith(other),
        "ew": one.endswith(other),
    }
    return tests[found["op"]]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else ""  # lists and objects are like nothing that a filter can say


def _tokens(text: str) -> list[tuple[str, str]]:
    if not text.strip() or len(text) > MAX_FILTER:
        raise invalid(f"a filter has 1 to {MAX_FILTER:,} characters")
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise invalid(f"the filter cannot be read at character {at + 1}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
        if len(found) > MAX_TOKENS:
            raise invalid(f"a filter has at most {MAX_TOKENS} words")
    return found


class _Reader:
    """Reads tokens from the front; `or` binds less than `and`, and that less than `not`."""

    def __init__(self, tokens: list[tuple[str, str]], attributes: Mapping[str, str] | None) -> None:
        self.left, self._attributes = tokens, attributes

    def either(self, level: int) -> dict[str, Any]:
        parts = [self._both(level)]
        while self._next("or"):
            parts.append(self._both(level))
        return parts[0] if len(parts) == 1 else _node(any=parts)

    def _both(self, level: int) -> dict[str, Any]:
        parts = [self._one(level)]
        while self._next("and"):
            parts.append(self._one(level))
        return parts[0] if len(parts) == 1 else _node(all=parts)

    def _one(self, level: int) -> dict[str, Any]:
        if level > MAX_LEVELS:
            raise invalid(f"a filter has at most {MAX_LEVELS} levels")
        if self._next("not"):
            return _node(none=[self._group(level)])
        if self.left and self.left[0] == ("mark", "("):
            return self._group(level)
        return self._compared()

    def _group(self, level: int) -> dict[str, Any]:
        self._take("mark", "(")
        found = self.either(level + 1)
        self._take("mark", ")")
        return found

    def _compared(self) -> dict[str, Any]:
        name = URN.sub("", self._take("word")).lower()
        op = self._take("word").lower()
        if op not in OPS:
            raise invalid(f"{op[:20]!r} is no comparison that is carried out here ({', '.join(OPS)})")
        if self._attributes is not None and name not in self._attributes:
            raise invalid(f"nothing is filtered by {name[:80]!r} (known: {', '.join(sorted(self._attributes))})")
        known = name if self._attributes is None else self._attributes[name]
        return _node(attribute=known, op=op, value="" if op == "pr" else self._value())

    def _value(self) -> str:
        kind, text = self.left.pop(0) if self.left else ("", "")
        if kind == "text":
            try:
                return str(json.loads(text))
            except json.JSONDecodeError:
                raise invalid("a text of the filter cannot be read") from None
        if kind == "number" or (kind == "word" and text.lower() in ("true", "false")):
            return text.lower()
        if kind == "word" and text.lower() == "null":
            return ""
        raise invalid("a comparison of the filter has no value")

    def _next(self, word: str) -> bool:
        if self.left and self.left[0][0] == "word" and self.left[0][1].lower() == word:
            del self.left[0]
            return True
        return False

    def _take(self, kind: str, text: str = "") -> str:
        if not self.left or self.left[0][0] != kind or (text and self.left[0][1] != text):
            raise invalid(f"the filter lacks {text!r}" if text else "the filter lacks an attribute or a comparison")
        return self.left.pop(0)[1]


def _node(**given: Any) -> dict[str, Any]:
    return {"all": [], "any": [], "none": [], "attribute": "", "op": "eq", "value": ""} | given
