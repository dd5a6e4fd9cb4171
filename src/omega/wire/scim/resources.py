"""Users and groups between their SCIM form (RFC 7643, 4) and the directory's. What is not of the directory is passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from omega.wire.scim.filters import URN, invalid

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
PREFIX: Final = "/scim/v2"

ALWAYS: Final = ("schemas", "id")
"""What is in every answer, whatever attributes were asked for."""


def user_form(user: Mapping[str, Any], base: str) -> dict[str, Any]:
    """A user of the directory as SCIM says it; `base` is scheme and host of this installation."""
    name = {"givenName": user["given_name"], "familyName": user["family_name"]}
    name = {word: value for word, value in name.items() if value}
    found = {
        "schemas": [USER],
        "id": user["user"],
        "externalId": user["external_id"],
        "userName": user["user_name"],
        "name": name or None,
        "displayName": user["display_name"],
        "active": user["active"],
        "emails": [{word: value for word, value in each.items() if value or word == "primary"} for each in user["emails"]],
        "groups": [
            {"value": each["group"], "display": each["display_name"], "type": "direct", "$ref": f"{base}{PREFIX}/Groups/{each['group']}"}
            for each in user["groups"]
        ],
        "meta": _meta(user, "User", f"{base}{PREFIX}/Users/{user['user']}"),
    }
    return {word: value for word, value in found.items() if value not in ("", [], None)}


def group_form(group: Mapping[str, Any], base: str) -> dict[str, Any]:
    """A group of the directory as SCIM says it."""
    found = {
        "schemas": [GROUP],
        "id": group["group"],
        "externalId": group["external_id"],
        "displayName": group["display_name"],
        "members": [
            {
                "value": each["user"],
                "type": "User",
                "$ref": f"{base}{PREFIX}/Users/{each['user']}",
            }
            for each in group["members"]
        ],
        "meta": _meta(group, "Group", f"{base}{PREFIX}/Groups/{group['group']}"),
    }
    return {word: value for word, value in found.items() if value not in ("", [], None)}


def about_user(form: Any, active: bool = True) -> dict[str, Any]:
    """What a SCIM user says, as the directory takes it; who does not say whether they are let in stays as they are, `active`. Raises
    InputError (OMG-G001)."""
    given = _named(form)
    name = given.get("name") or {}
    if not isinstance(name, Mapping):
        raise invalid("name is an object", "invalidValue")
    parts = _named(name)
    return {
        "user_name": _text(given, "username", required=True),
        "external_id": _text(given, "externalid"),
        "display_name": _text(given, "displayname"),
        "given_name": _text(parts, "givenname"),
        "family_name": _text(parts, "familyname"),
        "active": _truth(given.get("active", active)),
        "emails": _emails(given.get("emails") or []),
    }


def about_group(form: Any) -> dict[str, Any]:
    """What a SCIM group says, without its members. Raises InputError (OMG-G001)."""
    given = _named(form)
    return {"display_name": _text(given, "displayname", required=True), "external_id": _text(given, "externalid")}


def members_of(form: Any) -> list[str]:
    """The ids of the members that a SCIM group says, each once. Raises InputError (OMG-G001)."""
    members = _named(form).get("members") or []
    if not isinstance(members, list) or not all(isinstance(each, Mapping) and isinstance(each.get("value"), str) for each in members):
        raise invalid("members is a list of objects with a value", "invalidValue")
    found = list(dict.fromkeys(each["value"] for each in members))
    unknown = next((each for each in found if not each.startswith("usr_") or len(each) != 36), None)
    if unknown is not None:
        raise invalid(f"{unknown[:80]!r} is the id of no user", "invalidValue")
    return found


def listed(forms: Sequence[Mapping[str, Any]], total: int, start: int) -> dict[str, Any]:
    """Resources as a list response (RFC 7644, 3.4.2)."""
    return {"schemas": [LIST], "totalResults": total, "startIndex": start, "itemsPerPage": len(forms), "Resources": list(forms)}


def error_form(status: int, detail: str, kind: str = "") -> dict[str, Any]:
    """A refusal (RFC 7644, 3.12); `kind` is SCIM's word for it."""
    return {"schemas": [ERROR], "status": str(status), **({"scimType": kind} if kind else {}), "detail": detail}


def shown(form: Mapping[str, Any], wanted: Sequence[str], hidden: Sequence[str]) -> dict[str, Any]:
    """The attributes of a resource that were asked for, or all but those that were not wanted (RFC 7644, 3.9)."""
    if wanted:
        return {name: value for name, value in _picked(form, _paths(wanted)).items() if value not in ({}, [])} | {
            name: form[name] for name in ALWAYS if name in form
        }
    gone = _paths(hidden)
    kept = {name: value for name, value in form.items() if name in ALWAYS or gone.get(name.lower()) != set()}
    return {name: _without(value, gone.get(name.lower(), set())) for name, value in kept.items()}


def _paths(names: Sequence[str]) -> dict[str, set[str]]:
    """Attributes by lower-case name, each with the parts that were named; none for all of it."""
    found: dict[str, set[str]] = {}
    for each in names:
        name, _, sub = URN.sub("", each.strip()).lower().partition(".")
        found.setdefault(name, set())
        if sub:
            found[name].add(sub)
    return found


def _picked(form: Mapping[str, Any], paths: Mapping[str, set[str]]) -> dict[str, Any]:
    found = {}
    for name, value in form.items():
        subs = paths.get(name.lower())
        if subs is None:
            continue
        if not subs:
            found[name] = value
        elif isinstance(value, Mapping):
            found[name] = {part: each for part, each in value.items() if part.lower() in subs}
        elif isinstance(value, list):
            found[name] = [{part: item for part, item in each.items() if part.lower() in subs} for each in value]
    return found


def _without(value: Any, subs: set[str]) -> Any:
    if not subs:
        return value
    if isinstance(value, Mapping):
        return {part: each for part, each in value.items() if part.lower() not in subs}
    return [{part: item for part, item in each.items() if part.lower() not in subs} for each in value] if isinstance(value, list) else value


def _named(form: Any) -> dict[str, Any]:
    """The attributes of an object by lower-case name: SCIM's names have no case (RFC 7643, 2.1)."""
    if not isinstance(form, Mapping):
        raise invalid("a resource is an object", "invalidSyntax")
    return {str(name).lower(): value for name, value in form.items()}


def _text(given: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = given.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise invalid(f"{name} is {'a' if not required else 'required, and a'} text", "invalidValue")
    return value


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):  # as some providers send it
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise invalid("active is true or false", "invalidValue")
    return value


def _emails(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise invalid("emails is a list of objects", "invalidValue")
    found = []
    for each in value:
        address = each.get("value")
        if not isinstance(address, str) or "@" not in address:
            raise invalid("an e-mail address has a value with an @", "invalidValue")
        kind = each.get("type")
        found.append({"value": address, "type": kind if isinstance(kind, str) else "", "primary": _truth(each.get("primary", False))})
    return found


def _meta(kept: Mapping[str, Any], kind: str, location: str) -> dict[str, Any]:
    return {
        "resourceType": kind,
        "created": _moment(kept["created_us"]),
        "lastModified": _moment(kept["changed_us"]),
        "location": location,
        "version": tag_of(kept["version"]),
    }


def tag_of(version: int) -> str:
    """The version of a resource as an entity tag (RFC 7644, 3.14)."""
    return f'W/"{version}"'


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
