"""Erasure: payloads and keys of what ended are destroyed down the road, so that the log itself holds the receipt; a legal hold blocks it.

What is erased is said by age (everything that ended before a moment), by execution, or by subject (`omega.host.subjects`): then every
execution that is about it, with its forks and children, and what features keep about it in tables of their own (`omega.host.personal`);
what an erased execution has kept there goes with it. An erasure is an execution like any other: its leaves say who asked for it, that
the gate allowed it, when it was done and how it ended. That is the receipt, sealed and never erased with what it is about; it names a
subject by its mark alone. Rows, digests and leaves of the erased executions stay; every proof still verifies, and says nothing, because all
digests in them are salted under the keys that are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar

from omega.host.holds import demand_no_hold
from omega.host.personal import PersonalData, merged
from omega.host.storage import Archives
from omega.host.subjects import about
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Store, Turn
from omega.kernel.verdict import Permit
from omega.trust.sealing import Keyring

AT_ONCE = 100
"""Executions erased in one commit, so that nobody waits long for the next one."""

MAX_ERASED = 1_000_000
"""Executions that one erasure destroys; a larger one is asked for again."""

MAX_NAMED = 10_000
"""Executions that one erasure may name."""

MAX_LEFT = 100
"""Executions that the receipt names among those which could not be erased yet; it counts all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase(Request):
    """Destroy payloads and keys of the permit's own tenant: of what ended before that moment (Unix microseconds), of the executions named,
    or of everything about the subject with that mark. Exactly one of the three is given."""

    port: ClassVar[str] = "erasure"
    ended_before_us: int = 0
    executions: Sequence[str] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained(Request):
    """Note what retention destroyed: of which tenant, of how many executions, of what ended before which moment, how many blobs."""

    port: ClassVar[str] = "erasure"
    facts: dict[str, Any]


class ErasureEffector:
    """Serves `Erase` on a store, unless a hold in its documents blocks it. The tenant comes from the permit, never from the request."""

    port = Erase.port

    def __init__(self, store: Store, archives: Archives, personal: PersonalData, keyring: Keyring, now_us: Callable[[], int]) -> None:
        self._store, self._archives, self._personal, self._keyring, self._now_us = store, archives, personal, keyring, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives how many executions were `erased`, how many had to be `left` because they have not ended (and the first of them), when;
        what each feature erased of its own (`features`), and which of them cannot be searched for anybody (`unsaid`).

        Raises Denied (OMG-C004) while a hold stands, InputError (OMG-I001) for another request or one that makes no sense.
        """
        permit.spend(self.port)
        if isinstance(request, Retained):
            return dict(request.facts), Receipt()
        if not isinstance(request, Erase) or sum(map(bool, (request.ended_before_us, request.executions, request.mark))) != 1:
            raise InputError("OMG-I001", "an erasure says what: a moment that has passed, executions, or a subject")
        if request.ended_before_us:
            return await self._by_age(permit.tenant, request.ended_before_us), Receipt()
        if len(request.executions) > MAX_NAMED:
            count = len(request.executions)
            raise InputError("OMG-I001", f"{count:,} executions are named; an erasure takes {MAX_NAMED:,}: ask again for the rest")
        if not all(isinstance(name, str) for name in request.executions):
            raise InputError("OMG-I001", "executions are named by their ids")
        turn = Turn(tenant=permit.tenant, execution=execution, step=step, epoch=permit.epoch, at_us=self._now_us())
        return await self._by_name(turn, request), Receipt()

    async def aclose(self) -> None:
        """Let go of the tables of features."""
        await self._personal.aclose()

    async def _by_age(self, tenant: str, before_us: int) -> dict[str, Any]:
        if not 0 < before_us <= self._now_us():
            raise InputError("OMG-I001", "an erasure names a moment that has passed")
        erased = 0
        while erased < MAX_ERASED:
            demand_no_hold(self._archives, tenant)  # asked anew each time: a hold that is placed meanwhile saves what is left
            done = await self._store.compact(tenant, before_us, AT_ONCE)
            erased += done
            if done < AT_ONCE:
                break
        return {"erased": erased, "left": 0, "waiting": [], "done_us": self._now_us(), "features": {}, "unsaid": []}

    async def _by_name(self, turn: Turn, request: Erase) -> dict[str, Any]:
        """Erase one after the other, past those that have to be left: nothing older is kept because something newer still runs.

        What features keep goes first, while an execution can still be found by its mark: a crash in between leaves nothing behind that
        the erasure would not find when it goes on.
        """
        gone: set[str] = set()
        left: set[str] = set()
        kept: list[dict[str, dict[str, int]]] = []
        names = iter(request.executions or about(self._archives, turn.tenant, request.mark))
        demand_no_hold(self._archives, turn.tenant)
        if request.mark:
            kept.append(await self._personal.erase_subject(turn, request.mark, partial(self._keyring.subject, turn.tenant)))
        while len(gone) < MAX_ERASED and (some := list(islice(names, AT_ONCE))):
            demand_no_hold(self._archives, turn.tenant)
            kept.append(await self._personal.erase_made(turn, some))
            erased = await self._store.erase(turn.tenant, some)
            kept.append(await self._personal.erase_made(turn, sorted(set(erased.gone) - set(some))))
            gone.update(erased.gone)
            left.update(erased.left)
        demand_no_hold(self._archives, turn.tenant)
        waiting = sorted(left - gone)
        done = {"erased": len(gone), "left": len(waiting), "waiting": waiting[:MAX_LEFT], "done_us": self._now_us()}
        return done | {"features": merged(kept), "unsaid": self._personal.unsaid()}


@flow(name="erase", effect="idempotent", needs="erasure:use")
async def erase(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Erase of the caller's tenant what `wanted` says (see `Erase`). Twice is the same as once, so a crash in between does no harm."""
    types = {"ended_before_us": int, "executions": list, "mark": str}
    if not wanted or any(type(value) is not types.get(name) for name, value in wanted.items()):
        raise InputError("OMG-I001", "an erasure says what: a moment that has passed, executions, or a subject")
    done: dict[str, Any] = await ctx.touch(Erase(**wanted))
    return done


@flow(name="retained", effect="idempotent", needs="erasure:use")
async def retained(ctx: Context, facts: dict[str, Any]) -> dict[str, Any]:
    """Put on record what retention destroyed."""
    noted: dict[str, Any] = await ctx.touch(Retained(facts=facts))
    return noted
