"""Agent cards: what an agent says of itself (A2A 1.0, 4.4), made for ours and read from strangers.

A card that is made here holds no empty field: the canonical form that is signed leaves such fields out (8.4.1), and so every reader signs
and verifies the same bytes, whether it keeps them or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from omega.kernel.errors import UpstreamError
from omega.wire.a2a.operations import PROTOCOL

JSONRPC: Final = "JSONRPC"
HTTP_JSON: Final = "HTTP+JSON"
GRPC: Final = "GRPC"

BEARER: Final = "bearer"
"""The name of the one security scheme of cards that are made here."""

MAX_TEXT: Final = 4_000
"""Longest description that is kept of a foreign card, in characters: a model may read it."""

MAX_SKILLS: Final = 200
MAX_TENANT: Final = 128
MAX_INTERFACES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """One thing that an agent can do."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]
    examples: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As it stands on the card."""
        told: dict[str, Any] = {"id": self.id, "name": self.name, "description": self.description, "tags": list(self.tags)}
        return told | ({"examples": list(self.examples)} if self.examples else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is said of an agent of ours. `rights` are what whoever calls it is asked to hold."""

    name: str
    description: str
    version: str
    skills: Sequence[Skill]
    inputs: Sequence[str]
    outputs: Sequence[str]
    rights: Sequence[str]
    provider: Mapping[str, str] = field(default_factory=dict)
    extensions: Sequence[Mapping[str, Any]] = ()


def card_of(profile: Profile, url: str, base: str, *, grpc: str = "", tenant: str = "") -> dict[str, Any]:
    """The card of an agent that answers at `url`, unsigned; `base` is scheme and host of the installation, `grpc` host and port at which it
    answers over gRPC to requests for `tenant`."""
    capabilities: dict[str, Any] = {"streaming": True, "pushNotifications": True, "extendedAgentCard": True}
    if profile.extensions:
        capabilities["extensions"] = [dict(each) for each in profile.extensions]
    interfaces = [{"url": url, "protocolBinding": each, "protocolVersion": PROTOCOL} for each in (JSONRPC, HTTP_JSON)]
    if grpc:
        interfaces.append({"url": grpc, "protocolBinding": GRPC, "tenant": tenant, "protocolVersion": PROTOCOL})
    scheme = {"scheme": "Bearer", "bearerFormat": "JWT", "description": f"a passport or API key of {base}; see {base}/oauth/token"}
    card: dict[str, Any] = {
        "name": profile.name,
        "description": profile.description,
        "version": profile.version,
        "supportedInterfaces": interfaces,
        "capabilities": capabilities,
        "securitySchemes": {BEARER: {"httpAuthSecurityScheme": scheme}},
        "securityRequirements": [{"schemes": {BEARER: {"list": list(profile.rights)}}}],
        "defaultInputModes": list(profile.inputs),
        "defaultOutputModes": list(profile.outputs),
        "skills": [skill.record() for skill in profile.skills],
    }
    return card | ({"provider": dict(profile.provider)} if profile.provider else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """What is read of a stranger's card: enough to call it, to show it and to notice a change."""

    name: str
    description: str
    version: str
    url: str
    binding: str
    streaming: bool
    skills: tuple[Skill, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tenant: str = ""


def foreign(card: Any) -> Foreign:
    """A stranger's card. Raises UpstreamError (OMG-M002) for what is none, or for one that speaks no version or binding known here."""
    if not isinstance(card, dict):
        raise _bad("it is no object")
    binding, url, tenant = _interface(card.get("supportedInterfaces"))
    capabilities = card.get("capabilities")
    return Foreign(
        name=_text(card, "name", 128),
        description=_text(card, "description", MAX_TEXT),
        version=_text(card, "version", 64),
        url=url,
        binding=binding,
        streaming=isinstance(capabilities, dict) and capabilities.get("streaming") is True,
        skills=_skills(card.get("skills")),
        inputs=_modes(card, "defaultInputModes"),
        outputs=_modes(card, "defaultOutputModes"),
        tenant=tenant,
    )


def _interface(given: Any) -> tuple[str, str, str]:
    """Binding, address and tenant of the interface that is spoken to: gRPC where the card puts it before the others that are spoken here,
    else JSON-RPC before HTTP+JSON, which say the same."""
    if not isinstance(given, list) or len(given) > MAX_INTERFACES:
        raise _bad("it lists no interfaces")
    spoken = [
        (str(each.get("protocolBinding")), str(each.get("url")), str(each.get("tenant") or "")[:MAX_TENANT])
        for each in given
        if isinstance(each, dict) and str(each.get("protocolVersion", "")).split(".")[:2] == PROTOCOL.split(".")
    ]
    known = [each for each in spoken if each[0] == GRPC or (each[0] in (JSONRPC, HTTP_JSON) and not each[2])]
    if not known:
        raise _bad(f"none of its interfaces speaks version {PROTOCOL} as {JSONRPC}, {HTTP_JSON} or {GRPC}")
    if known[0][0] == GRPC:
        return known[0]
    return next((each for each in known if each[0] == JSONRPC), next(each for each in known if each[0] != GRPC))


def _skills(given: Any) -> tuple[Skill, ...]:
    if not isinstance(given, list) or len(given) > MAX_SKILLS or not all(isinstance(each, dict) for each in given):
        raise _bad(f"its skills are no list of at most {MAX_SKILLS}")
    return tuple(
        Skill(
            id=_text(each, "id", 128),
            name=_text(each, "name", 128),
            description=_text(each, "description", MAX_TEXT),
            tags=tuple(str(tag)[:128] for tag in each.get("tags") or () if isinstance(tag, str)),
        )
        for each in given
    )


def _modes(card: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = card.get(name)
    return tuple(str(mode)[:128] for mode in given[:MAX_SKILLS]) if isinstance(given, list) else ()


def _text(given: Mapping[str, Any], name: str, most: int) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(f"it has no {name}")
    if len(value) > most:
        raise _bad(f"its {name} has more than {most:,} characters")
    return value


def _bad(why: str) -> UpstreamError:
    return UpstreamError("OMG-M002", f"the agent card cannot be used: {why}")
