"""A worker: takes what is due from queues, runs it, and gives it back when it is told to stop.

    look      take what is due and fits, as much as there is room for          never more than it can run: what waits stays in the store
    wait      for a hint, a free place, the next due moment, or a sweep         hints may be lost, doubled or late: they only save time
    renew     three times per lease                                             what somebody else owns by now is let go
    drain     take nothing more, let it run for a while, hand the rest back     another worker goes on at once

Nothing is special about a worker and nothing sticks to it: whatever it held is due again when its leases are over, and the next one to look
takes it up under a higher epoch. Of two that believe to own an execution, only one can append, and only one can touch (`runtime.lease`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import FlowError, InputError, StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import Batch, Head, Taken, Want
from omega.kernel.queueing import DEFAULT, Limits
from omega.runtime.engine import Engine
from omega.runtime.recovery import pin_of
from omega.runtime.steady import SteadyClock
from omega.runtime.supervision import Restart

SWEEP_S = 5.0
"""Longest time between two looks, in seconds: what losing every hint costs."""

AT_ONCE = 64
"""Executions that a worker runs at the same time unless told otherwise."""

TAKEN_AT_ONCE = 100
"""Most executions taken in one transaction: others want some too."""

GRACE_S = 30.0
"""How long a draining worker lets its executions run, in seconds, unless told otherwise."""

LOOKS_APART_S = 0.005
"""Shortest time between two looks that found nothing: a flood of hints is not a flood of queries."""


RESTART = Restart()
"""How what others left is taken up again unless told otherwise."""


def default_queue() -> Sequence[str]:
    """The queue of work that names none."""
    return (DEFAULT,)


def no_limits() -> Mapping[str, Limits]:
    """No queue has a limit."""
    return {}


@dataclass(slots=True)
class Counted:
    """What a worker has done: looks at the store, executions taken, those let go because it serves another version of their flow."""

    looks: int = 0
    taken: int = 0
    refused: int = 0


class Worker:
    """Works off queues with one engine.

    `flows` are what it serves, by `runtime.recovery.pin_of`. `queues` and `limits` give the queues it serves and their limits as they are
    now (limits are the same on every worker). It runs at most `at_once` executions, looks at least every `sweep_s` seconds, and takes up
    again what others left as `restart` says, for all queues or per queue.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        flows: Mapping[str, AnyFlow],
        queues: Callable[[], Sequence[str]] = default_queue,
        limits: Callable[[], Mapping[str, Limits]] = no_limits,
        at_once: int = AT_ONCE,
        sweep_s: float = SWEEP_S,
        restart: Restart | Mapping[str, Restart] = RESTART,
    ) -> None:
        if at_once < 1 or sweep_s <= 0:
            raise InputError("OMG-I001", "a worker runs at least one execution at once, and looks more often than never")
        self.engine = engine
        self.world = engine.world
        self.counted = Counted()
        self._flows = dict(flows)
        self._queues = queues
        self._limits = limits
        self._at_once = at_once
        self._sweep_s = sweep_s
        self._restart = restart
        self._draining = asyncio.Event()
        self._drained = asyncio.Event()
        self._freed = asyncio.Event()
        engine.freed = self._freed.set

    @property
    def pins(self) -> tuple[str, ...]:
        """The versions of flows that it serves."""
        return tuple(self._flows)

    def serve(self, flow: AnyFlow) -> None:
        """Serve `flow` too, from the next look on."""
        self._flows[pin_of(flow)] = flow

    async def run(self) -> None:
        """Work until `drain` is through, or this is cancelled; what still runs then is handed back.

        Raises StorageError when the store is lost: what ran here is let go, and is taken up by another worker, or by this one once it has
        opened the store again.
        """
        work = [asyncio.create_task(each) for each in (self._look_on(), self._renew())]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    task.result()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self.engine.hand_back()

    async def drain(self, grace_s: float = GRACE_S) -> None:
        """Take nothing more, let what runs go on for at most `grace_s` seconds, and let `run` come to its end."""
        self._draining.set()
        ends = self.world.clock.monotonic() + grace_s
        while self.engine.running and (left_s := ends - self.world.clock.monotonic()) > 0:
            self._freed.clear()
            await self._first(self._freed.wait(), self.world.clock.sleep(left_s))
        self._drained.set()

    # -- looking

    async def _look_on(self) -> None:
        while not self._draining.is_set():
            self._freed.clear()  # before room is counted: what ended until now is in the count
            room, queues = self._at_once - self.engine.running, self._queues()
            wanted = min(room, TAKEN_AT_ONCE)
            if wanted <= 0 or not queues or await self.look(queues, wanted) < wanted:
                await self._wait(queues if wanted > 0 else ())
        await self._drained.wait()

    async def look(self, queues: Sequence[str], most: int) -> int:
        """Take at most `most` executions that are due and set them going; gives how many were taken. Raises StorageError."""
        clock = self.world.clock
        since, now = clock.monotonic(), clock.now_us()
        self._freed.clear()
        want = Want(
            owner=self.world.owner,
            digests=self.pins,
            queues=queues,
            limits=self._limits(),
            most=most,
            now_us=now,
            lease_us=now + self.world.lease_us,
        )
        self.counted.looks += 1
        found = await self.world.store.take(want)
        for taken in found:
            await self._begin(taken, since)
        return len(found)

    async def _begin(self, taken: Taken, since: float) -> None:
        self.counted.taken += 1
        flow = self._flows.get(taken.digest)
        try:
            if flow is None:
                raise FlowError("OMG-R014", f"{taken.execution} is of a version that is not served here")
            await self.engine.take_up(taken, flow, self._restart_of(taken.queue), since)
        except FlowError:
            self.counted.refused += 1
            await self._put_back(taken)
        except StorageError as error:
            if error.code != "OMG-S006":  # somebody else has it already
                raise

    async def _put_back(self, taken: Taken) -> None:
        """Leave an execution of another version as it is, for a worker that serves it, and not be offered it again at once."""
        line = self.world.reader.line(taken.execution)
        if line is None:
            return
        now = self.world.clock.now_us()
        head = Head(status=Status.QUEUED, at_us=now, due_us=now + int(self._sweep_s * 1_000_000))
        with suppress(StorageError):
            await self.world.store.commit(Batch(tenant=line.tenant, execution=taken.execution, epoch=taken.epoch, head=head))

    # -- waiting

    async def _wait(self, queues: Sequence[str]) -> None:
        """Until there is a reason to look again: a free place, a drain; for `queues` also a hint, a due moment, or a sweep."""
        if queues:
            await self._first(self._freed.wait(), self._draining.wait(), self._hinted(queues))
        elif self._at_once > self.engine.running:  # every queue is paused
            await self._first(self._draining.wait(), self.world.clock.sleep(self._sweep_s))
        else:
            await self._first(self._freed.wait(), self._draining.wait())

    async def _hinted(self, queues: Sequence[str]) -> None:
        now = self.world.clock.now_us()
        due = await self.world.store.next_due(queues, now)
        until_s = self._sweep_s if due is None else min(self._sweep_s, max(LOOKS_APART_S, (due - now) / 1_000_000))
        if self.world.wakeups is None:
            await self.world.clock.sleep(until_s)
        elif await self.world.wakeups.wait(queues, until_s):
            await self.world.clock.sleep(LOOKS_APART_S)

    async def _first(self, *waits: Coroutine[Any, Any, Any]) -> None:
        """Wait for the first of `waits`, and end the others. Raises what the one that is over raised."""
        tasks = [asyncio.create_task(each) for each in waits]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def _restart_of(self, queue: str) -> Restart:
        return self._restart if isinstance(self._restart, Restart) else self._restart.get(queue, RESTART)

    # -- staying the owner, and stopping to be it

    async def _renew(self) -> None:
        """Three times per lease. What was lost is let go; while the store cannot be reached leases run out, and nothing is touched."""
        every_s = self.world.lease_us / 3_000_000
        failing_since: float | None = None
        while True:
            await self.world.clock.sleep(every_s)
            try:
                await self.engine.renew()
                if isinstance(self.world.clock, SteadyClock):
                    await self.world.clock.sync()
                failing_since = None
            except StorageError as error:
                if error.code == "OMG-S006":
                    continue
                now = self.world.clock.monotonic()
                failing_since = now if failing_since is None else failing_since
                if now - failing_since >= self.world.lease_us / 1_000_000:
                    raise
