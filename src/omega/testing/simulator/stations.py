"""Every station of an execution's way through a queue, visited by a crash: each change that a worker makes to the store, one after another.

A fleet leaves to dice when a worker dies. Here one errand goes through a queue once per change that its worker makes (an append, a take, a
claim, a wake, a lease given back, a timer's next life), and each time the worker dies at another one: right before it is durable, or right
after. Another worker takes over. What must hold is what must hold for a fleet (`Fleet`), with nothing left to chance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from omega.kernel.ports import Batch, Committed
from omega.testing.effectors import Crash
from omega.testing.simulator.errands import Errand
from omega.testing.simulator.fleet import LATENCY_S, Fated, Findings, Fleet, Process

MAX_STATIONS = 200
"""Most changes of one errand: more is an execution that does not end."""


def stations(errand: Errand, *, seed: int = 0) -> Iterator[Findings]:
    """One run per change and side of it, then one without a crash, which the last of them is."""
    for number in range(1, MAX_STATIONS):
        for after in (False, True):
            line = Stations(errand, seed=seed, number=number, after=after)
            yield line.run()
            if not line.crashed:
                return
    raise AssertionError(f"{errand.flow.name} makes more than {MAX_STATIONS} changes")


class Stations(Fleet):
    """One errand and one worker, which dies at its change number `number`; whoever is born in its place lives on."""

    workers = 1

    def __init__(self, errand: Errand, *, seed: int, number: int, after: bool) -> None:
        super().__init__(seed, misfortunes=1, errands=(errand,))
        self._number = number
        self._after = after
        self.crashed = ""
        self.findings.fates[f"{errand.flow.name}, change {number}, {'after' if after else 'before'}"] += 1

    def store_of(self, process: Process) -> Fated:
        """The first worker's store counts its changes; the others' are sound."""
        number = self._number if not self.crashed and not self._fleet else 0
        return _Station(self, process, number=number, after=self._after, crashed=self._note)

    async def befall(self, process: Process) -> None:
        """Nothing but the one crash."""

    def _note(self, what: str) -> None:
        self.crashed = what


class _Station(Fated):
    """A store at whose change number `number` its process dies."""

    def __init__(self, fleet: Fleet, process: Process, *, number: int, after: bool, crashed: Callable[[str], None]) -> None:
        super().__init__(fleet, process)
        self._made = 0
        self._number = number
        self._after = after
        self._crashed = crashed

    def _append(self, batch: Batch) -> Committed:
        self.alive()
        here = self._begin_change("append")
        committed = super()._append(batch)
        if here:
            self._crash("append")
        return committed

    async def _reach(self, call: Any = None, *about: Any, **facts: Any) -> Any:
        if call is None or call.__name__ not in CHANGES:
            return await super()._reach(call, *about, **facts)
        await asyncio.sleep(self._dice.uniform(0.0, LATENCY_S))
        self.alive()
        if call.__name__ == "take" and not list(self._durable.waiting(about[0])):  # a look that finds nothing changes nothing
            return await call(*about, **facts)
        here = self._begin_change(call.__name__)
        result = await call(*about, **facts)
        if here:
            self._crash(call.__name__)
        return result

    def _begin_change(self, what: str) -> bool:
        """Count one more change; whether to die after it. A take writes what was handed over before: changes lie within one another."""
        self._made += 1
        here = self._made == self._number
        if here and not self._after:
            self._crash(what)
        return here

    def _crash(self, what: str) -> None:
        self._crashed(what)
        self.dead = True
        raise Crash


CHANGES = frozenset({"take", "claim", "wake", "release"})
"""What changes the store without a batch. A renewal only moves the end of a lease: to die at one is to die a little later."""
