"""Putting a caller into quarantine, and releasing them: flows of the host, gated, on record.

One person locks a caller out, or the watch over usage does; two different people let it in again, each in person. The first release is
written into the document, the second takes it away. Who releases is read from the execution's own line, so nobody can speak for somebody
else.

The list lies in the store, one document per caller, under a name that follows from tenant and principal. The gate is told of it at once,
and engines that share the store within half a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from omega.host.arrangements import Documents, Shelf
from omega.host.settings import TENANT
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.ports import Line
from omega.kernel.verdict import Permit
from omega.warden.approvals import same_person
from omega.warden.quarantine import Quarantine

QUARANTINE = "quarantine"
"""The kind of the documents."""

RELEASERS = 2
"""How many different people release a caller."""

MOST_OWN = 1_024
"""Most callers that a hosted tenant has in quarantine: they need not exist, so nothing else bounds how many it names."""

Aliases = Callable[[], Mapping[str, str]]


class Lines(Protocol):
    """Where it is read who started an execution."""

    def line(self, execution: str) -> Line | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolate(Request):
    """Lock `principal` of the permit's tenant out; the installation's own may name another `tenant`."""

    port: ClassVar[str] = "quarantine"
    principal: str
    reason: str
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Request):
    """Let `principal` of the permit's tenant in again."""

    port: ClassVar[str] = "quarantine"
    principal: str


class QuarantineEffector:
    """Serves `Isolate` and `Release` on the documents of a store. The tenant comes from the permit; only that of the installation names
    another in a request."""

    port = Isolate.port

    def __init__(self, shelf: Shelf, lines: Lines, aliases: Aliases, now_us: Callable[[], int]) -> None:
        self._shelf, self._lines, self._aliases, self._now_us = shelf, lines, aliases, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives who is locked out; after a release, `released` (whether they are in again) and `by`, who has released them so far.

        Raises InputError: OMG-I001 for who cannot be, OMG-I003 for a release of who is not; Denied: OMG-W007 for the same person again,
        OMG-W012 for one more than a hosted tenant may lock out.
        """
        permit.spend(self.port)
        line = self._lines.line(execution)
        person = "" if line is None else line.principal
        if isinstance(request, Isolate):
            tenant = request.tenant or permit.tenant
            if permit.tenant not in (tenant, TENANT):
                raise Denied("OMG-W001", "a tenant locks out callers of its own", advice="have whoever runs the installation do it")
            return self.lock_out(tenant, request.principal, request.reason, person), Receipt()
        if not isinstance(request, Release):
            raise InputError("OMG-I001", f"a quarantine is set or lifted, there is no {type(request).__name__}")
        return self._released(permit.tenant, request.principal, person), Receipt()

    def lock_out(self, tenant: str, principal: str, reason: str, by: str) -> dict[str, Any]:
        """Lock `principal` of `tenant` out; gives who is. Raises InputError (OMG-I001), Denied (OMG-W012)."""
        found = Quarantine.read({"tenant": tenant, "principal": principal, "reason": reason, "by": by, "since_us": self._now_us()})
        self._demand_room(tenant, principal)
        self._keep(tenant, principal, found.record())
        return found.record()

    def _released(self, tenant: str, principal: str, person: str) -> dict[str, Any]:
        kept = self._shelf.document(QUARANTINE, name_of(tenant, principal))
        if kept is None:
            raise InputError("OMG-I003", f"{principal[:80]} is not in quarantine", advice="omega quarantine list")
        body = json.loads(kept)
        by = [str(name) for name in body.get("released_by", ())]
        known = {same_person(name, self._aliases()) for name in by}
        if not person.startswith("person:") or same_person(person, self._aliases()) in known:
            raise Denied("OMG-W007", f"{RELEASERS} different people release a caller, each in person", advice="ask a second person")
        by.append(person)
        if len(by) >= RELEASERS:
            self._shelf.drop_document(QUARANTINE, name_of(tenant, principal))
        else:
            self._keep(tenant, principal, body | {"released_by": by})
        return {"released": len(by) >= RELEASERS, "by": by}

    def _demand_room(self, tenant: str, principal: str) -> None:
        if tenant == TENANT or self._shelf.document(QUARANTINE, name_of(tenant, principal)) is not None:
            return
        if sum(each.tenant == tenant for each in isolated(self._shelf)) >= MOST_OWN:
            raise Denied("OMG-W012", f"{tenant} has {MOST_OWN:,} callers in quarantine already", advice="release one that has gone")

    def _keep(self, tenant: str, principal: str, body: Mapping[str, Any]) -> None:
        self._shelf.put_document(QUARANTINE, name_of(tenant, principal), json.dumps(body).encode(), self._now_us())


@flow(name="quarantine", effect="write", needs="quarantine:use")
async def isolate(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Lock a caller out: `principal`, `reason`; `tenant` where the installation does it for one that it hosts."""
    request = Isolate(principal=str(wanted["principal"]), reason=str(wanted["reason"]), tenant=str(wanted.get("tenant", "")))
    kept: dict[str, Any] = await ctx.touch(request)
    return kept


@flow(name="release_from_quarantine", effect="write", needs="quarantine:use")
async def release(ctx: Context, principal: str) -> dict[str, Any]:
    """Let a caller in again; it is in once two people have."""
    if ctx.scope.delegated:
        raise Denied("OMG-W007", "a caller is released in person, not by whoever acts for somebody")
    done: dict[str, Any] = await ctx.touch(Release(principal=principal))
    return done


def name_of(tenant: str, principal: str) -> str:
    """The name of the document of one caller."""
    return hashlib.sha256(f"{len(tenant)}:{tenant}{principal}".encode()).hexdigest()[:40]


def isolated(documents: Documents) -> list[Quarantine]:
    """Everybody in quarantine, in every tenant."""
    return [Quarantine.read(json.loads(body)) for _, body in documents.documents(QUARANTINE)]
