"""Which flows are published as agents, under which names and on which conditions: documents that an operator arranges.

    {"flow": "triage", "title": "Ticket triage", "description": "Sorts tickets.", "takes": "text", "front": true,
     "skills": [{"id": "sort", "name": "Sort a ticket", "description": "...", "tags": ["tickets"], "examples": ["..."]}],
     "tenants": [], "groups": [], "listed": true, "networks": ["10.0.0.0/8"]}

`flow` is a flow that was put up (`omega up FLOW`) or a method as `SERVICE.METHOD`. Publishing grants nothing: each task takes the road like
any other call. `tenants` may use the agent beside the installation's own, `groups` limits it to members of one of them; a card that is not
`listed` is for those alone who may use it. `networks` are private networks in which a caller may have itself told of its tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from omega.adapters.webhooks.reach import networks
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError
from omega.wire.a2a.cards import Profile, Skill
from omega.wire.a2a.messages import JSON, TEXT

if TYPE_CHECKING:
    from omega.gateway.a2a import Takes

PUBLISHED: Final = "a2a-agent"
"""The kind of the arrangements."""

MAX_TEXT: Final = 4_000
"""Longest description in characters: other people's models read it."""

MAX_SKILLS: Final = 100
MAX_NAMES: Final = 100

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MODE: Final = re.compile(r"(\*|[a-z0-9.+-]{1,64})/(\*|[a-z0-9.+-]{1,64})")
_TAKES: Final = ("text", "data", "message")
_FIELDS: Final = {
    "flow": str,
    "title": str,
    "description": str,
    "version": str,
    "takes": str,
    "inputs": list,
    "outputs": list,
    "skills": list,
    "provider": dict,
    "listed": bool,
    "front": bool,
    "tenants": list,
    "groups": list,
    "networks": list,
}
_SKILL: Final = {"id": str, "name": str, "description": str, "tags": list, "examples": list}


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a published agent as it is kept. Raises InputError (OMG-I001) naming what does not fit."""
    if _NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", "an agent has a name of lower-case letters, digits and '-', which begins with a letter")
    _typed(body, _FIELDS, "an agent")
    if not body.get("flow"):
        raise InputError("OMG-I001", "an agent names the flow that works for it")
    if body.get("takes", "text") not in _TAKES:
        raise InputError("OMG-I001", f"takes is one of {', '.join(_TAKES)}")
    for field in ("inputs", "outputs"):
        if any(not isinstance(mode, str) or _MODE.fullmatch(mode) is None for mode in body.get(field, [])):
            raise InputError("OMG-I001", f"{field} is a list of media types such as text/plain")
    for field in ("tenants", "groups", "networks"):
        if len(body.get(field, [])) > MAX_NAMES or any(not isinstance(each, str) or not each for each in body.get(field, [])):
            raise InputError("OMG-I001", f"{field} is a list of at most {MAX_NAMES} names")
    networks(body.get("networks", []))
    _check_provider(body.get("provider"))
    if len(body.get("skills", [])) > MAX_SKILLS:
        raise InputError("OMG-I001", f"an agent has at most {MAX_SKILLS} skills")
    for skill in body.get("skills", []):
        _check_skill(skill)
    return dict(body)


def _check_skill(skill: Any) -> None:
    if not isinstance(skill, Mapping):
        raise InputError("OMG-I001", "a skill is an object")
    _typed(skill, _SKILL, "a skill")
    lacking = next((field for field in ("id", "name", "description", "tags") if not skill.get(field)), None)
    if lacking is not None:
        raise InputError("OMG-I001", f"a skill has {lacking}")
    if any(not isinstance(each, str) or not each for field in ("tags", "examples") for each in skill.get(field, [])):
        raise InputError("OMG-I001", "tags and examples are lists of texts")


def _check_provider(provider: Any) -> None:
    if provider is None:
        return
    if set(provider) != {"organization", "url"} or not all(isinstance(each, str) and each for each in provider.values()):
        raise InputError("OMG-I001", "a provider has an organization and a url")


def _typed(given: Mapping[str, Any], fields: Mapping[str, type], what: str) -> None:
    for key, value in given.items():
        if key not in fields or not isinstance(value, fields[key]):
            known = ", ".join(sorted(fields))
            raise InputError("OMG-I001", f"{what} cannot have {key[:40]!r} as {type(value).__name__} (known: {known})")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise InputError("OMG-I001", f"{key} has more than {MAX_TEXT} characters")


def takes_of(body: Mapping[str, Any], flow: AnyFlow) -> Takes:
    """What the flow of an agent takes: as its document says, else as its type has it."""
    stated = body.get("takes")
    if stated == "message":
        return "message"
    return "text" if (stated or _kind(flow.input.schema())) in ("text", "string") else "data"


def profile_of(name: str, body: Mapping[str, Any], flow: AnyFlow) -> Profile:
    """What the card says of an agent."""
    takes = takes_of(body, flow)
    title = str(body.get("title") or name)
    description = str(body.get("description") or flow.description or title)
    gives_text = _kind(flow.output.schema()) == "string"
    return Profile(
        name=title,
        description=description,
        version=str(body.get("version") or flow.version),
        skills=_skills(body.get("skills", ()), flow, title, description),
        inputs=tuple(body.get("inputs", ())) or ((TEXT,) if takes == "text" else (JSON, TEXT)),
        outputs=tuple(body.get("outputs", ())) or ((JSON, TEXT) if takes == "message" else (TEXT,) if gives_text else (JSON,)),
        rights=tuple(sorted(flow.needs)) or ("run",),
        provider=dict(body.get("provider") or {}),
    )


def _skills(given: Sequence[Mapping[str, Any]], flow: AnyFlow, title: str, description: str) -> tuple[Skill, ...]:
    if not given:
        return (Skill(id=flow.name, name=title, description=description, tags=(flow.effect.value, *flow.tags)),)
    return tuple(
        Skill(
            id=each["id"],
            name=each["name"],
            description=each["description"],
            tags=tuple(each["tags"]),
            examples=tuple(each.get("examples", ())),
        )
        for each in given
    )


def _kind(schema: Mapping[str, Any]) -> str:
    return str(schema.get("type", ""))
