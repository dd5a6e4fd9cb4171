"""Erasure: payloads and keys of what ended are destroyed down the road, so that the log itself holds the receipt; a legal hold blocks it.

An erasure is an execution like any other: its leaves say who asked for it, that the gate allowed it, when it was done and how it ended.
That is the receipt, sealed and never erased with what it is about. Rows, digests and leaves of the erased executions stay; every proof
still verifies, and says nothing, because all digests in them are salted under the keys that are gone.

A hold is an arrangement of the kind `hold`, named after its tenant: while it stands, neither an erasure nor retention destroys
anything of that tenant. It is placed and lifted on record as every arrangement is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.host.arrangements import Documents, arranged
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Store
from omega.kernel.verdict import Permit

HOLD = "hold"
"""The kind of the documents; the name of each is its tenant."""

AT_ONCE = 100
"""Executions erased in one commit, so that nobody waits long for the next one."""

MAX_ERASED = 1_000_000
"""Executions that one erasure destroys; a larger one is asked for again."""

MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase(Request):
    """Destroy payloads and keys of what the permit's own tenant ended before that moment (Unix microseconds)."""

    port: ClassVar[str] = "erasure"
    ended_before_us: int


class ErasureEffector:
    """Serves `Erase` on a store, unless a hold in its documents blocks it. The tenant comes from the permit, never from the request."""

    port = Erase.port

    def __init__(self, store: Store, documents: Documents, now_us: Callable[[], int]) -> None:
        self._store, self._documents, self._now_us = store, documents, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives how many executions were erased, and when it was done.

        Raises Denied (OMG-C004) while a hold stands, InputError (OMG-I001) for another request or a moment that has not come.
        """
        permit.spend(self.port)
        now_us = self._now_us()
        if not isinstance(request, Erase) or not 0 < request.ended_before_us <= now_us:
            raise InputError("OMG-I001", "an erasure names a moment that has passed")
        erased = 0
        while erased < MAX_ERASED:
            demand_no_hold(self._documents, permit.tenant)  # asked anew each time: a hold that is placed meanwhile saves what is left
            done = await self._store.compact(permit.tenant, request.ended_before_us, AT_ONCE)
            erased += done
            if done < AT_ONCE:
                break
        return {"erased": erased, "done_us": self._now_us()}, Receipt()


@flow(name="erase", effect="idempotent", needs="erasure:use")
async def erase(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Erase what the caller's tenant ended before `ended_before_us`. Twice is the same as once, so a crash in between does no harm."""
    before_us = wanted.get("ended_before_us")
    if type(before_us) is not int:
        raise InputError("OMG-I001", "an erasure names a moment that has passed")
    done: dict[str, Any] = await ctx.touch(Erase(ended_before_us=before_us))
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
