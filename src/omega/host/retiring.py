"""Dropping whole parts of the journal on PostgreSQL: what ended long ago goes with its lines and keys, a million executions at once.

A part holds executions of every tenant, so it is the installation's owner who drops it, by a gated call whose leaf says so, and while a
legal hold stands on anybody nothing goes. The leaves of what is gone stay where they are: the log still proves that and when it happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, runtime_checkable

from omega.host.arrangements import Documents, all_arranged
from omega.host.holds import HOLD, demand_no_hold
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow
from omega.kernel.service import INSTALLATION
from omega.kernel.verdict import Permit

DAY_S: Final = 86_400.0
SHORTEST_S: Final = 30 * DAY_S
"""Least time (seconds) since the end of everything in a part: incidents are looked into weeks after they happened."""


@runtime_checkable
class Parted(Protocol):
    """Records whose journal has parts that can be dropped."""

    async def retire(self, ended_before_us: int) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire(Request):
    """Drop every part of the journal in which everything ended before that moment (Unix microseconds)."""

    port: ClassVar[str] = "retiring"
    ended_before_us: int


class RetiringEffector:
    """Serves `Retire` on a store, unless a hold stands."""

    port = Retire.port

    def __init__(self, store: object, documents: Documents, now_us: Callable[[], int]) -> None:
        self._store, self._documents, self._now_us = store, documents, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[dict[str, int], Receipt]:
        """Gives how many executions are `gone`.

        Raises Denied: OMG-C004 while a hold stands on anybody, OMG-W001 for another tenant's call; InputError (OMG-I001) for records that
        have no parts, and a moment that is too near.
        """
        permit.spend(self.port)
        if permit.tenant != INSTALLATION:
            raise Denied("OMG-W001", "parts of the journal hold what is everybody's: the installation's owner drops them")
        if not isinstance(request, Retire) or not isinstance(self._store, Parted):
            raise InputError("OMG-I001", "only a journal on PostgreSQL has parts", advice="omega retain --after destroys payloads by age")
        if request.ended_before_us > self._now_us() - int(SHORTEST_S * 1_000_000):
            raise InputError("OMG-I001", f"what ended less than {SHORTEST_S / DAY_S:.0f} days ago stays", advice="give a longer time")
        for tenant in all_arranged(self._documents, HOLD):
            demand_no_hold(self._documents, tenant)
        return {"gone": await self._store.retire(request.ended_before_us)}, Receipt()


@flow(name="retire", effect="idempotent", needs="retiring:use")
async def retire(ctx: Context, after_s: float) -> dict[str, int]:
    """Drop the parts of the journal in which everything ended so many seconds ago; gives how many executions are `gone`."""
    before_us = int((await ctx.now() - float(after_s)) * 1_000_000)
    done: dict[str, int] = await ctx.touch(Retire(ended_before_us=before_us))
    return done
