"""What is kept of an agent elsewhere: where its card lies, the card that an operator accepted, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from omega.adapters.net.reach import networks
from omega.adapters.net.web import check_address
from omega.kernel.errors import InputError, UpstreamError
from omega.wire.a2a.canonical import canonical
from omega.wire.a2a.cards import GRPC, Foreign, foreign

TIMEOUT_S: Final = 60.0
"""How long (seconds) an agent may take for its part of a task, unless its record says otherwise."""

LONGEST_S: Final = 3_600.0

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_REFERENCE: Final = re.compile(r"(?P<scheme>[A-Za-z]{1,32} )?(?P<kind>env|plain):(?P<rest>[\x20-\x7e]{1,4096})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An agent elsewhere. `at` is where its card lies, `card` the accepted one, `signer` the key that signed it (empty: none did).

    `headers` are references (`Bearer env:TOKEN`, `plain:TEXT`), never secrets; `allow` the private networks that it may be reached in.
    They go where the card lies; elsewhere only to the origin `credentials_to`, for whoever writes the card must not choose who gets them.
    Raises InputError (OMG-I001), Denied (OMG-P011), UpstreamError (OMG-M002) for a card that cannot be used.
    """

    name: str
    at: str
    card: Mapping[str, Any]
    signer: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
    credentials_to: str = ""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise InputError("OMG-I001", "an agent elsewhere has a name of lower-case letters, digits and '-', which begins with a letter")
        if not 0 < self.timeout_s <= LONGEST_S:
            raise InputError("OMG-I001", f"the patience with an agent is more than 0 and at most {LONGEST_S:,.0f} seconds")
        for header, reference in self.headers.items():
            if _HEADER.fullmatch(header) is None or _REFERENCE.fullmatch(reference) is None:
                raise InputError("OMG-I001", f"the header {header[:64]} is given as NAME=env:VARIABLE or NAME=plain:TEXT")
        for address in (self.at, self.told.url, self.credentials_to or self.at):
            check_address(address, networks(self.allow))
        if urlsplit(self.told.url).scheme != "https" and urlsplit(self.told.url).hostname != urlsplit(self.at).hostname:
            raise UpstreamError("OMG-M002", "the card leads to another host without https")
        if self.headers and _origin(self.told.url) not in (_origin(self.at), _origin(self.credentials_to)):
            advice = f"if that is meant: --credentials-to {urlsplit(self.told.url).scheme}://{urlsplit(self.told.url).netloc}"
            raise UpstreamError("OMG-M002", "the card leads to another host, which would get the credentials", advice=advice[:200])

    @property
    def told(self) -> Foreign:
        """What the card says, with a whole address for an interface over gRPC, which may be written as host and port alone."""
        told = foreign(dict(self.card))
        return replace(told, url=_whole(told.url, self.at)) if told.binding == GRPC else told

    @property
    def digest(self) -> str:
        """What the agent is pinned by."""
        return digest_of(self.card)

    def record(self) -> dict[str, Any]:
        """As the body of its document."""
        return {
            "at": self.at,
            "card": dict(self.card),
            "signer": self.signer,
            "headers": dict(self.headers),
            "allow": list(self.allow),
            "timeout_s": self.timeout_s,
            "credentials_to": self.credentials_to,
        }

    @classmethod
    def read(cls, name: str, body: Mapping[str, Any]) -> Peer:
        """From its document. Raises InputError (OMG-I001), Denied (OMG-P011), UpstreamError (OMG-M002)."""
        known = {"at", "card", "signer", "headers", "allow", "timeout_s", "credentials_to"}
        if not body.keys() <= known or not isinstance(body.get("at"), str) or not isinstance(body.get("card"), Mapping):
            raise InputError("OMG-I001", f"an agent elsewhere has {', '.join(sorted(known))}")
        headers, allow = body.get("headers", {}), body.get("allow", [])
        if (
            not isinstance(headers, Mapping)
            or not isinstance(allow, list)
            or not all(isinstance(each, str) for each in (*headers.values(), *allow))
        ):
            raise InputError("OMG-I001", "headers are texts by name, allow is a list of networks")
        return cls(
            name=name,
            at=body["at"],
            card=body["card"],
            signer=str(body.get("signer", "")),
            headers=dict(headers),
            allow=tuple(allow),
            timeout_s=float(body.get("timeout_s", TIMEOUT_S)),
            credentials_to=str(body.get("credentials_to", "")),
        )


def _whole(place: str, at: str) -> str:
    """Where a gRPC interface answers, as `https://HOST:PORT`; over http only where that is written, or the card itself was read so."""
    scheme, separator, rest = place.partition("://")
    known = {"https": "https", "grpcs": "https", "http": "http", "grpc": "http"}
    return f"{known.get(scheme, scheme)}://{rest}" if separator else f"{urlsplit(at).scheme}://{place}"


def digest_of(card: Mapping[str, Any]) -> str:
    """The SHA-256 (hex) of a card's canonical form without its signatures: signing it anew changes nothing of what it says."""
    return sha256(canonical({name: value for name, value in card.items() if name != "signatures"})).hexdigest()


def secrets_of(headers: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of references that are credentials: what comes from the environment, and what follows a scheme."""
    found = []
    for reference in headers.values():
        parts = _REFERENCE.fullmatch(reference)
        if parts is not None and (parts["kind"] == "env" or parts["scheme"]):
            found.append(environment.get(parts["rest"], "") if parts["kind"] == "env" else parts["rest"])
    return tuple(found)


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address (RFC 6454, 4); the host in lower case, the port of the scheme where none is said."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def resolved(headers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The values that references stand for. Raises UpstreamError (OMG-M001) naming the variable that is not set."""
    found: dict[str, str] = {}
    for name, reference in headers.items():
        parts = _REFERENCE.fullmatch(reference)
        assert parts is not None  # noqa: S101 - looked at when the record was read
        value = parts["rest"] if parts["kind"] == "plain" else environment.get(parts["rest"])
        if value is None:
            raise UpstreamError("OMG-M001", f"the variable {parts['rest'][:80]} is not set", advice="set it where the engine runs")
        found[name] = f"{parts['scheme'] or ''}{value}"
    return found
