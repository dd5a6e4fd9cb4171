"""Legal holds: while one stands, nothing of its tenant is destroyed, neither by erasure nor by retention nor by content levels.

A hold is an arrangement of the kind `hold`, named after its tenant, with a reason. One person places it; two different ones release it,
each in person and on record. The first release is written into the hold, the second takes it away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from omega.host.arrangements import Documents, Shelf, arranged
from omega.host.settings import TENANT
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Line
from omega.kernel.verdict import Permit
from omega.warden.approvals import Aliases, same_person

HOLD = "hold"
"""The kind of the documents; the name of each is its tenant."""

RELEASERS = 2
"""How many different people release a hold."""

MAX_REASON = 500


class Lines(Protocol):
    """Where it is read who started an execution."""

    def line(self, execution: str) -> Line | None: ...


class Holding(Shelf, Lines, Protocol):
    """The documents, and the executions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Request):
    """Release the hold on `tenant` for the person who started this execution."""

    port: ClassVar[str] = "holds"
    tenant: str


class HoldEffector:
    """Serves `Release`. Who releases is read from the execution's own line, so nobody can speak for somebody else."""

    port = Release.port

    def __init__(self, store: Holding, aliases: Callable[[], Aliases], now_us: Callable[[], int]) -> None:
        self._store, self._aliases, self._now_us = store, aliases, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives `released` (whether the hold is gone) and `by`, those who have released it so far.

        Raises InputError (OMG-I003) when no hold stands, Denied (OMG-W007) for an agent or the same person again.
        """
        permit.spend(self.port)
        if not isinstance(request, Release):
            raise InputError("OMG-I001", f"holds are released here, there is no {type(request).__name__}")
        if permit.tenant not in (TENANT, request.tenant):
            raise Denied("OMG-W001", "a hold is released by people of its own tenant, or of the installation's")
        body = arranged(self._store, HOLD, request.tenant)
        if body is None:
            raise InputError("OMG-I003", f"no legal hold stands on {request.tenant[:80]}")
        line = self._store.line(execution)
        person = "" if line is None else line.principal
        by = [str(name) for name in body.get("released_by", [])]
        known = {same_person(name, self._aliases()) for name in by}
        if not person.startswith("person:") or same_person(person, self._aliases()) in known:
            raise Denied("OMG-W007", f"a hold is released by {RELEASERS} different people, each in person", advice="ask a second person")
        by.append(person)
        if len(by) >= RELEASERS:
            self._store.drop_document(HOLD, request.tenant)
        else:
            self._store.put_document(HOLD, request.tenant, json.dumps(body | {"released_by": by}).encode(), self._now_us())
        return {"released": len(by) >= RELEASERS, "by": by}, Receipt()


@flow(name="release_hold", effect="idempotent", needs="holds:use")
async def release_hold(ctx: Context, tenant: str) -> dict[str, Any]:
    """Release the legal hold on `tenant`; it is gone once two people have."""
    if ctx.scope.delegated:
        raise Denied("OMG-W007", "a hold is released in person, not by whoever acts for somebody")
    done: dict[str, Any] = await ctx.touch(Release(tenant=tenant))
    return done


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A hold's document as it is kept: why. Raises InputError (OMG-I001)."""
    reason = body.get("reason")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= MAX_REASON:
        raise InputError("OMG-I001", f"a hold says why, in at most {MAX_REASON} letters")
    return {"reason": reason.strip()}


def held(documents: Documents, tenant: str) -> str:
    """Why nothing of `tenant` may be destroyed; empty when it may."""
    found = arranged(documents, HOLD, tenant)
    return "" if found is None else str(found["reason"])


def demand_no_hold(documents: Documents, tenant: str) -> None:
    """Raise Denied (OMG-C004) while a hold stands on `tenant`."""
    reason = held(documents, tenant)
    if reason:
        raise Denied("OMG-C004", f"nothing of {tenant} is destroyed while a legal hold stands: {reason}")
