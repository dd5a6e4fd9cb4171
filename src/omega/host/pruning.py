"""How long the log itself is kept: leaves over their time give way to their hashes, segment by segment, and every proof still holds.

A rule is an arrangement of the kind `log`, named after its tenant. A segment is what one bundle of tiles holds, 256 leaves; it goes when
all of it is over its time, from the beginning of the log on, never past a leaf that is not. Workers do it, by a gated call that is the
receipt; a legal hold blocks it. What a pruned leaf said is then only where it was taken before: in exports and archives
(`omega.host.archiving`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.chronicle.pruned import is_pruned
from omega.chronicle.pruned import prune as pruned
from omega.chronicle.record import decode
from omega.chronicle.tiles import WIDTH
from omega.host.arrangements import Documents, all_arranged
from omega.host.holds import demand_no_hold, held
from omega.host.settings import TENANT
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Reader, Store
from omega.kernel.verdict import Permit

LOG = "log"
"""The kind of the documents; the name of each is its tenant."""

DAY_S = 86_400.0
SHORTEST_S = 30 * DAY_S
"""Least time that leaves are kept: incidents are looked into weeks after they happened."""

SEGMENTS = 64
"""Most segments that one call prunes, so that it never holds up a commit for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Request):
    """Prune the log of `tenant` from the index `start` (a multiple of 256) on: leaves written before that moment (Unix microseconds)."""

    port: ClassVar[str] = "pruning"
    tenant: str
    before_us: int
    start: int


class PruningEffector:
    """Serves `Prune` on a store, unless a hold blocks it."""

    port = Prune.port

    def __init__(self, store: Store, reader: Reader, documents: Documents, now_us: Callable[[], int]) -> None:
        self._store, self._reader, self._documents, self._now_us = store, reader, documents, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives how many leaves were `pruned`, and `upto` which index.

        Raises Denied: OMG-C004 while a hold stands, OMG-W001 for another tenant's log; InputError (OMG-I001) for a request that makes no
        sense, or a moment that no rule allows.
        """
        permit.spend(self.port)
        if not isinstance(request, Prune) or request.start % WIDTH or request.start < 0:
            raise InputError("OMG-I001", f"logs are pruned by whole segments of {WIDTH} leaves")
        if permit.tenant not in (TENANT, request.tenant):
            raise Denied("OMG-W001", "a log is pruned by its own tenant, or by the installation's")
        demand_no_hold(self._documents, request.tenant)
        after_s = log_rules(self._documents).get(request.tenant)
        if after_s is None or request.before_us > self._now_us() - int(after_s * 1_000_000):
            raise InputError("OMG-I001", "no rule says that leaves of that age may go")
        upto, gone = request.start, 0
        for _ in range(SEGMENTS):
            demand_no_hold(self._documents, request.tenant)
            segment = self._reader.leaves(request.tenant, upto, upto + WIDTH)
            if not _is_over(segment, request.before_us):
                break
            changed = {upto + at: pruned(leaf) for at, leaf in enumerate(segment) if pruned(leaf) != leaf}
            if changed:
                await self._store.prune(request.tenant, changed)
            upto, gone = upto + WIDTH, gone + len(changed)
        return {"tenant": request.tenant, "pruned": gone, "upto": upto}, Receipt()


@flow(name="prune", effect="idempotent", needs="pruning:use")
async def prune(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Prune a log as its rule allows: `tenant`, `before_us`, `start`; gives how many leaves went and how far."""
    done: dict[str, Any] = await ctx.touch(
        Prune(tenant=str(wanted["tenant"]), before_us=int(wanted["before_us"]), start=int(wanted["start"]))
    )
    return done


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rule's document as it is kept: seconds from when a leaf was written. Raises InputError (OMG-I001)."""
    after_s = body.get("after_s")
    if not isinstance(after_s, (int, float)) or isinstance(after_s, bool) or not after_s >= SHORTEST_S:
        raise InputError("OMG-I001", f"leaves are kept for at least {SHORTEST_S / DAY_S:.0f} days", advice="give a time such as 90d or 7y")
    return {"after_s": float(after_s)}


def log_rules(documents: Documents) -> dict[str, float]:
    """For how many seconds leaves are kept, by tenant; whoever is not named keeps all of them for ever."""
    return {tenant: float(body["after_s"]) for tenant, body in all_arranged(documents, LOG).items() if not held(documents, tenant)}


def is_due(reader: Reader, tenant: str, before_us: int, start: int) -> bool:
    """Whether the segment that begins at `start` is over its time."""
    return _is_over(reader.leaves(tenant, start, start + WIDTH), before_us)


def _is_over(segment: list[bytes], before_us: int) -> bool:
    """Whether a whole segment may go. Leaves stand in their order, so the last one is nearly always the youngest: it is asked first."""
    return len(segment) == WIDTH and all(is_pruned(leaf) or decode(leaf).at_us < before_us for leaf in reversed(segment))
