"""PATCH (RFC 7644, 3.5.2): operations on a resource, one after the other, all or none.

    {"op": "replace", "path": "active", "value": false}
    {"op": "Replace", "value": {"active": "False", "name.givenName": "Ada"}}          one without a path; texts for truths
    {"op": "add", "path": "emails[type eq \\"work\\"].value", "value": "ada@example.com"}
    {"op": "remove", "path": "members[value eq \\"usr_...\\"]"}
    {"op": "remove", "path": "members", "value": [{"value": "usr_..."}]}              some members, not all of them

A name that the resource does not have is passed over: providers send what else they know of people. A name that only the server writes is
refused, and so is a path that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from omega.wire.scim.filters import URN, invalid, matches, read_plain

MAX_OPERATIONS: Final = 200
MAX_LISTED: Final = 5_000
"""Most elements that are given at once for a list: as many as a group has members."""

MAX_NAMES: Final = 32
MAX_TEXT: Final = 2_000
"""Most names of an element of a list, and longest text under one, in characters."""

MAX_LOOKED: Final = 1_000_000
"""Most elements that all operations of a message look at, one after the other."""

COMPARED: Final = 10
"""As how many of them an element counts with which a filter compares once."""

MESSAGE: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
READ_ONLY: Final = ("id", "meta", "groups", "schemas")
REQUIRED: Final = ("active", "username")
"""What is never taken away: somebody of whom nothing is said would be let in."""

_PATH: Final = re.compile(r"(?P<name>[A-Za-z$][A-Za-z0-9$_-]*)(\[(?P<filter>.*)\])?(\.(?P<sub>[A-Za-z$][A-Za-z0-9$_-]*))?", re.DOTALL)
_EQUAL: Final = ("eq",)


@dataclass(frozen=True, slots=True)
class Shape:
    """The attributes of a resource by lower-case name: their own spelling, and what each is: `one` value, `parts` (an object), `many` (a
    list of objects)."""

    attributes: Mapping[str, tuple[str, str]]


USER: Final = Shape(
    {
        "username": ("userName", "one"),
        "externalid": ("externalId", "one"),
        "displayname": ("displayName", "one"),
        "active": ("active", "one"),
        "name": ("name", "parts"),
        "emails": ("emails", "many"),
    }
)
GROUP: Final = Shape(
    {"displayname": ("displayName", "one"), "externalid": ("externalId", "one"), "members": ("members", "many")},
)
_PARTS: Final = {"givenname": "givenName", "familyname": "familyName"}


@dataclass(slots=True)
class _Standing:
    """A resource as far as it is changed, and how many elements may still be looked at."""

    found: dict[str, Any]
    shape: Shape
    left: int = MAX_LOOKED

    def look(self, count: int) -> None:
        """Count elements. Raises InputError (OMG-G001)."""
        self.left -= count
        if self.left < 0:
            raise invalid("these operations go through too much: send them in several messages", "tooMany")


def patched(resource: Mapping[str, Any], message: Any, shape: Shape) -> dict[str, Any]:
    """The resource after the operations of a PATCH message. Raises InputError (OMG-G001) with SCIM's word for what is wrong."""
    standing = _Standing({name: _copy(value) for name, value in resource.items()}, shape)
    for operation in _operations(message):
        op, path, value = operation
        if path:
            _at(standing, op, path, value)
        elif isinstance(value, Mapping) and op != "remove":
            for name, each in value.items():
                _at(standing, op, str(name), each)
        else:
            raise invalid("an operation without a path sets the names of an object", "noTarget" if op == "remove" else "invalidValue")
    return standing.found


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


def _operations(message: Any) -> list[tuple[str, str, Any]]:
    given = next((value for name, value in message.items() if name.lower() == "operations"), None) if isinstance(message, Mapping) else None
    if not isinstance(given, list) or not 0 < len(given) <= MAX_OPERATIONS:
        raise invalid(f"a PATCH has 1 to {MAX_OPERATIONS} Operations", "invalidSyntax")
    found = []
    for each in given:
        op = str(each.get("op", "")).lower() if isinstance(each, Mapping) else ""
        path = each.get("path") if op else ""
        if op not in ("add", "replace", "remove") or not isinstance(path, (str, type(None))):
            raise invalid("an operation is add, replace or remove, with a path that is a text", "invalidSyntax")
        found.append((op, path or "", each.get("value")))
    return found


def _at(standing: _Standing, op: str, path: str, value: Any) -> None:
    found, shape = standing.found, standing.shape
    match = _PATH.fullmatch(URN.sub("", path.strip()))
    if path.lower().startswith("urn:") and (match is None or ":" in path.rpartition(":")[2]):
        return  # all of an extension that is not known here
    if match is None:
        raise invalid(f"the path {path[:80]!r} cannot be read", "invalidPath")
    name = match["name"].lower()
    if name in READ_ONLY:
        raise invalid(f"{match['name'][:40]} is written by the server alone", "mutability")
    if name not in shape.attributes:
        return
    own, kind = shape.attributes[name]
    if kind == "many":
        held = len(found.get(own) or [])
        wanted = read_plain(match["filter"]) if match["filter"] is not None else None
        standing.look(held if wanted is None else held * COMPARED * _terms(wanted))
        _many(found, own, op, wanted, match["sub"], value)
    elif kind == "parts":
        _parts(found, own, op, match["sub"], value)
    elif match["filter"] or match["sub"]:
        raise invalid(f"{own} has no parts", "invalidPath")
    elif op == "remove":
        if name in REQUIRED:
            raise invalid(f"{own} is always there", "invalidValue")
        found.pop(own, None)
    else:
        found[own] = value


def _parts(found: dict[str, Any], own: str, op: str, sub: str | None, value: Any) -> None:
    held = dict(found.get(own) or {})
    if sub is not None:
        part = _PARTS.get(sub.lower())
        if part is not None:
            held = {name: each for name, each in held.items() if name != part} | ({} if op == "remove" else {part: value})
    elif op == "remove":
        held = {}
    elif isinstance(value, Mapping):
        held |= {_PARTS[str(name).lower()]: each for name, each in value.items() if str(name).lower() in _PARTS}
    else:
        raise invalid(f"{own} is an object", "invalidValue")
    found[own] = held


def _many(found: dict[str, Any], own: str, op: str, wanted: dict[str, Any] | None, sub: str | None, value: Any) -> None:
    held: list[dict[str, Any]] = list(found.get(own) or [])
    if wanted is not None:
        found[own] = _filtered(held, op, wanted, sub, value)
        return
    if sub is not None:
        raise invalid(f"which of {own} is meant is said by a filter: {own}[type eq ...].{sub}", "invalidPath")
    given = _listed(value, own) if value is not None else []
    if op == "remove":
        gone = {str(each.get("value", "")) for each in given}
        found[own] = [each for each in held if given and str(each.get("value", "")) not in gone]
    elif op == "replace":
        found[own] = given
    else:
        known = {str(each.get("value", "")) for each in held}
        fresh = [each for each in given if str(each.get("value", "")) not in known]
        if any(each.get("primary") is True for each in fresh):  # there is one at most (RFC 7643, 2.4)
            held = [{name: item for name, item in each.items() if name != "primary"} for each in held]
        found[own] = [*held, *fresh]


def _filtered(held: list[dict[str, Any]], op: str, wanted: dict[str, Any], sub: str | None, value: Any) -> list[dict[str, Any]]:
    """Those that a filter means removed, or changed in one part or in those that are given; one that is not there is made of the filter."""
    meant = [matches(wanted, each) for each in held]
    if op == "remove" and sub is None:
        return [each for each, is_meant in zip(held, meant, strict=True) if not is_meant]
    if op == "remove":
        return [
            {name: item for name, item in each.items() if name != sub or not is_meant} for each, is_meant in zip(held, meant, strict=True)
        ]
    given = {sub: value} if sub is not None else value
    if not isinstance(given, Mapping):
        raise invalid("what replaces an element of a list is an object", "invalidValue")
    if not any(meant):
        if wanted["op"] not in _EQUAL or not wanted["attribute"]:
            raise invalid("nothing is what the filter of the path means", "noTarget")
        return [*held, _element({wanted["attribute"]: wanted["value"], **given})]
    return [_element({**each, **given}) if is_meant else each for each, is_meant in zip(held, meant, strict=True)]


def _listed(value: Any, own: str) -> list[dict[str, Any]]:
    given: Sequence[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(each, Mapping) for each in given):
        raise invalid(f"{own} is a list of objects", "invalidValue")
    if len(given) > MAX_LISTED:
        raise invalid(f"{own} is given at most {MAX_LISTED:,} elements at once", "tooMany")
    return [_element(each) for each in given]


def _element(given: Mapping[str, Any]) -> dict[str, Any]:
    """An element of a list: short enough to be compared over and over. Raises InputError (OMG-G001)."""
    texts = (value for value in given.values() if isinstance(value, str))
    if len(given) > MAX_NAMES or any(len(text) > MAX_TEXT for text in texts):
        raise invalid(f"an element of a list has at most {MAX_NAMES} names, with texts of {MAX_TEXT:,} characters", "invalidValue")
    return dict(given)


def _terms(wanted: Mapping[str, Any]) -> int:
    """How often a filter compares at most."""
    inner = [*wanted["all"], *wanted["any"], *wanted["none"]]
    return sum(map(_terms, inner)) if inner else 1
