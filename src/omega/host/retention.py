"""Retention: how long the payloads of executions that ended are kept. Then they and their keys are destroyed; digests and leaves stay.

What an operator arranges per tenant, every worker carries out, a few executions at a time, so that it never holds up a commit for long.
Whenever something was destroyed, that is put on record (`omega.host.erasing.retained`): who asked for it, the arrangement's own leaves say.

Blobs that nothing refers to any more go the same way, by sweeps of which each round does one page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from omega.host.arrangements import Documents, all_arranged
from omega.host.erasing import retained
from omega.host.holds import HOLD, held
from omega.host.pruning import is_due, log_rules, prune
from omega.host.storage import EngineStore
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError
from omega.kernel.ports import Store
from omega.runtime.payloads import Sweep
from omega.runtime.world import World

RETENTION = "retention"
"""The kind of the documents; the name of each is its tenant."""

SHORTEST_S = 60.0
"""Least time that payloads are kept, in seconds: an end must be seen before it is compacted."""

AT_ONCE = 100
"""Most executions compacted in one go."""

SWEEP_S = 60.0
"""How often a worker looks for something to compact, in seconds."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Payloads of `tenant` are kept for `after_s` seconds from the end of their execution."""

    tenant: str
    after_s: float

    def record(self) -> dict[str, Any]:
        """As kept."""
        return {"after_s": self.after_s}

    @classmethod
    def read(cls, tenant: str, body: Mapping[str, Any]) -> Retention:
        """From a document. Raises InputError (OMG-I001)."""
        after_s = body.get("after_s")
        if not isinstance(after_s, (int, float)) or isinstance(after_s, bool) or not after_s >= SHORTEST_S:
            raise InputError(
                "OMG-I001",
                f"payloads are kept for at least {SHORTEST_S:.0f} seconds, not {after_s!r}",
                advice="give a time such as 30d or 12h",
            )
        return cls(tenant, float(after_s))


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A retention's document as it is kept (see `arrangements.Reading`)."""
    return Retention.read(name, body).record()


def retentions(documents: Documents) -> list[Retention]:
    """What is arranged, by tenant; a tenant under a legal hold is left out, for nothing of it is destroyed."""
    rules = [Retention.read(tenant, body) for tenant, body in all_arranged(documents, RETENTION).items()]
    return [rule for rule in rules if not held(documents, rule.tenant)]


SWEEP_EVERY_US = 86_400_000_000
"""How long after one sweep of the blobs the next begins, in microseconds; also how young a blob is left alone."""


class Keeper:
    """Carries retention out for one worker: `round` now and then."""

    def __init__(self, omega: Retaining) -> None:
        self._omega = omega
        self._sweep: Sweep | None = None
        self._swept_us = 0
        self._pruned: dict[str, int] = {}

    async def round(self) -> dict[str, int]:
        """Destroy what is over its time, a few executions of each tenant, sweep a page, and put it on record; gives what was destroyed.

        Raises StorageError, Denied (the receipt is gated like every call).
        """
        store, now_us = self._omega.store, self._omega.world.clock.now_us()
        done: dict[str, int] = {}
        for rule in retentions(store):
            count = await compact(store, [rule], now_us)
            if count:
                done[rule.tenant] = count
        await self._prune(now_us)
        blobs = await self._swept(now_us)
        if done or blobs:
            await self._omega.ask(retained, {"executions": done, "blobs": blobs, "at_us": now_us})
        return done

    async def _prune(self, now_us: int) -> None:
        """Prune each log that has leaves over their time; the call that does it is its own receipt."""
        for tenant, after_s in log_rules(self._omega.store).items():
            before_us, start = now_us - int(after_s * 1_000_000), self._pruned.get(tenant, 0)
            if is_due(self._omega.store, tenant, before_us, start):
                done = await self._omega.ask(prune, {"tenant": tenant, "before_us": before_us, "start": start})
                self._pruned[tenant] = int(done["upto"])

    async def _swept(self, now_us: int) -> int:
        """Go on with a sweep, or begin one when it is time; gives how many blobs went. While any hold stands nothing goes."""
        world = self._omega.world
        if world.blobs is None or all_arranged(self._omega.store, HOLD):
            self._sweep = None
            return 0
        if self._sweep is None:
            if now_us - self._swept_us < SWEEP_EVERY_US:
                return 0
            self._sweep = Sweep(world.reader, world.blobs, before_us=now_us - SWEEP_EVERY_US)
        gone = await self._sweep.step()
        if gone is None:
            return 0
        self._sweep, self._swept_us = None, now_us
        return gone


class Retaining(Protocol):
    """What a keeper needs of an open engine."""

    @property
    def store(self) -> EngineStore: ...

    @property
    def world(self) -> World: ...

    async def ask(self, flow: AnyFlow, value: Any) -> Any: ...


async def compact(store: Store, rules: list[Retention], now_us: int) -> int:
    """Destroy what is over its time: at most AT_ONCE executions per tenant; gives how many. Raises StorageError."""
    done = 0
    for rule in rules:
        done += await store.compact(rule.tenant, now_us - int(rule.after_s * 1_000_000), AT_ONCE)
    return done
