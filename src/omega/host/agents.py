"""The roster of agents in the documents of a store: cards, releases and outcomes, each under the tenant that they belong to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from omega.host.arrangements import Shelf
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.roster import MAX_OUTCOMES, KeepAgent, NoteOutcome, ReadAgents, ReleaseAgent
from omega.kernel.verdict import Permit

CARD: Final = "agent-card"
RELEASE: Final = "agent-release"
OUTCOMES: Final = "agent-outcomes"

MAX_CARD: Final = 256 << 10
"""Largest card in bytes."""

MAX_AGENTS: Final = 5_000
"""Most cards of one tenant."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VERSION: Final = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}(?:-[0-9A-Za-z.-]{1,40})?")


class RosterEffector:
    """Serves `KeepAgent`, `ReleaseAgent`, `ReadAgents` and `NoteOutcome`, for the tenant of the permit alone."""

    port = KeepAgent.port

    def __init__(self, shelf: Shelf, now_us: Callable[[], int]) -> None:
        self._shelf, self._now_us = shelf, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what is kept. Raises InputError (OMG-I001)."""
        permit.spend(self.port)
        match request:
            case KeepAgent():
                return self._keep(permit.tenant, request), Receipt()
            case ReleaseAgent():
                return self._release(permit.tenant, request), Receipt()
            case ReadAgents():
                return self._read(permit.tenant, request.name), Receipt()
            case NoteOutcome():
                return self._note(permit.tenant, request, f"{execution}/{step}"), Receipt()
        raise InputError("OMG-I001", f"agents are kept, released and read, there is no {type(request).__name__}")

    def _keep(self, tenant: str, request: KeepAgent) -> dict[str, Any]:
        version = str(request.card.get("version", ""))
        if _NAME.fullmatch(request.name) is None or _VERSION.fullmatch(version) is None:
            raise InputError("OMG-I001", f"{request.name[:80]!r} {version[:40]!r} cannot name an agent and its version")
        card = json.loads(json.dumps(dict(request.card)))
        key = f"{tenant}|{request.name}|{version}"
        known = self._shelf.document(CARD, key)
        if known is not None and json.loads(known) != card:
            raise InputError(
                "OMG-I001", f"{request.name} {version} is registered already, and says something else", advice="give it a new version"
            )
        body = json.dumps(card).encode()
        if len(body) > MAX_CARD or (known is None and len(self._of(tenant, CARD)) >= MAX_AGENTS):
            raise InputError("OMG-I001", f"a card has at most {MAX_CARD:,} bytes, and a tenant {MAX_AGENTS:,} of them")
        self._put(CARD, key, card)
        if self._shelf.document(RELEASE, f"{tenant}|{request.name}") is None:
            self._put(RELEASE, f"{tenant}|{request.name}", {"stable": version, "canary": "", "share": 0.0})
        return self._one(tenant, request.name)

    def _release(self, tenant: str, request: ReleaseAgent) -> dict[str, Any]:
        for version in filter(None, (request.stable, request.canary)):
            if self._shelf.document(CARD, f"{tenant}|{request.name}|{version}") is None:
                raise InputError("OMG-I001", f"there is no version {version[:40]} of an agent {request.name[:80]}")
        if not 0 <= request.share <= 1 or not request.stable:
            raise InputError("OMG-I001", "a release names the version that works, and a share from 0 to 1 for the canary")
        release = {"stable": request.stable, "canary": request.canary, "share": request.share if request.canary else 0.0}
        self._put(RELEASE, f"{tenant}|{request.name}", release)
        return self._one(tenant, request.name)

    def _read(self, tenant: str, name: str) -> dict[str, Any]:
        names = [name] if name else [key.partition("|")[2] for key in self._of(tenant, RELEASE)]
        return {each: self._one(tenant, each) for each in names if self._shelf.document(RELEASE, f"{tenant}|{each}") is not None}

    def _one(self, tenant: str, name: str) -> dict[str, Any]:
        begin = f"{tenant}|{name}|"
        release = self._shelf.document(RELEASE, f"{tenant}|{name}")
        outcomes = {key.removeprefix(begin): [good for _, good in body] for key, body in self._of(tenant, OUTCOMES, name).items()}
        cards = {key.removeprefix(begin): card for key, card in self._of(tenant, CARD, name).items()}
        return {"release": json.loads(release or b"{}"), "cards": cards, "outcomes": outcomes}

    def _note(self, tenant: str, request: NoteOutcome, key: str) -> bool:
        name = f"{tenant}|{request.name}|{request.version}"
        known = json.loads(self._shelf.document(OUTCOMES, name) or b"[]")
        if all(key != step for step, _ in known):
            self._put(OUTCOMES, name, [*known, [key, request.good]][-MAX_OUTCOMES:])
        return request.good

    def _of(self, tenant: str, kind: str, name: str = "") -> Mapping[str, Any]:
        begin = f"{tenant}|{name}|" if name else f"{tenant}|"
        return {key: json.loads(body) for key, body in self._shelf.documents(kind) if key.startswith(begin)}

    def _put(self, kind: str, key: str, body: Any) -> None:
        self._shelf.put_document(kind, key, json.dumps(body).encode(), self._now_us())
