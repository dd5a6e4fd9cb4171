"""Serving: an engine that works off queues, for as long as it is wanted, through restarts of its database.

    serving --stop--> draining --everything ended, or drain_s is over--> stopped
       |  ^
       |  └── opened again, after a back-off
       v
    store lost: the engine is closed as it is; what it owned others take over once their leases end, or it does itself

Beside the work each worker carries out what is arranged: schedules fire, payloads that are over their time are destroyed. Every worker does
both, and no harm comes of it: a firing has an id of its own, and what is destroyed is gone.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from omega.host.chores import Chore
from omega.host.embedded import Omega, Tuning
from omega.host.nodes import announced, is_telling
from omega.host.queues import Queues
from omega.host.retention import SWEEP_S as RETENTION_S
from omega.host.retention import Keeper
from omega.host.schedules import Schedule, Scheduler
from omega.host.settings import Settings
from omega.host.showing import shown
from omega.host.targets import Target
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import Search
from omega.runtime.recovery import pin_of
from omega.runtime.supervision import Restart
from omega.runtime.worker import Worker
from omega.runtime.world import Moment

PARK_S = 5.0
"""Waits longer than this are not held in memory by a worker: the execution stands still, and any worker goes on with it."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.2, 3.0
"""How long a worker waits before it opens a lost store again: doubled each time, with some chance so that workers do not come together."""

LOST = ("OMG-S002", "OMG-S004")
"""Errors after which a shared store is opened again: it cannot be reached, or it failed."""

IDLE_LOOKED_AT = 1_000
"""How many executions that wait are looked at for one that goes on by itself."""

SCHEDULE_RETRY_S = 5.0
"""How long after a failure of the store schedules are looked at again; the worker notices the failure by itself."""

IDLE_LOOK_S = 0.2
"""How often a worker that is to stop when nothing is left looks whether that is so."""

Tell = Callable[[str, Mapping[str, Any]], None]
"""Is told each event of a worker: its name and its facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a worker serves: flows, queues, and within which limits. Times are seconds; `wakeups` is an address (empty: the store's own)."""

    targets: Sequence[Target]
    queues: Sequence[str]
    at_once: int
    lease_s: float = 30.0
    drain_s: float = 30.0
    sweep_s: float = 1.0
    park_s: float = PARK_S
    wakeups: str = ""
    until_idle: bool = False
    restart: Restart = field(default_factory=Restart)

    @property
    def facts(self) -> dict[str, Any]:
        """What is told of it when it begins."""
        flows = dict.fromkeys(f"{target.flow.name} {target.flow.version}" for target in self.targets)
        return {"flows": ", ".join(flows), "queues": f"from {', '.join(self.queues)}", "at_once": self.at_once}

    @property
    def tuning(self) -> Tuning:
        """How its engine is opened. No wait is held for longer than a lease: it would be lost with the process."""
        park_s = min(self.park_s, self.lease_s)
        return Tuning(works=True, wakeups=self.wakeups, lease_us=int(self.lease_s * 1_000_000), park_s=park_s)


class Stop:
    """Whether and how a worker is to stop: asked to drain first, told to stop now the second time."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._now = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Whether it is to stop."""
        return self._asked.is_set()

    @property
    def at_once(self) -> bool:
        """Whether it is to stop without waiting for what runs."""
        return self._now.is_set()

    def ask(self) -> None:
        """Take nothing more, and stop once what runs has ended."""
        self._asked.set()

    def now(self) -> None:
        """Stop now."""
        self._asked.set()
        self._now.set()

    async def wait(self) -> None:
        """Return when it is asked."""
        await self._asked.wait()

    async def wait_now(self) -> None:
        """Return when it is told to stop now."""
        await self._now.wait()

    async def within(self, seconds: float) -> bool:
        """Whether it is asked within so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), seconds)
        return self.asked


class Counting:
    """Tells of each execution that ended or stands still, and counts them by how."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._flows: dict[str, str] = {}
        self.ended: Counter[str] = Counter()

    def watch(self, moment: Moment) -> None:
        """Take in a moment of the engine."""
        if is_telling(moment.execution):
            return
        if moment.kind == "started":
            self._flows[moment.execution] = moment.flow
        elif moment.kind == "finished":
            self.ended[moment.note] += 1
            self._tell(moment.note, {"execution": moment.execution, "flow": self._flows.pop(moment.execution, "")})


async def serve(home: str | os.PathLike[str] | None, service: Service, tell: Tell, stop: Stop) -> dict[str, int]:
    """Work until `stop` says so; gives how many executions ended or stood still, by status.

    A shared store that is lost is opened again and again. Raises StorageError for one that is lost otherwise, and whatever opening raises
    the first time.
    """
    counting, waits, opened = Counting(tell), backing_off(), False
    while not stop.asked:
        try:
            opening = Omega.open(home, watch=counting.watch, tuning=service.tuning)
            async with opening as omega, announced(omega, ("worker",)), shown(omega):
                tell(*(("reopened", {"store": omega.settings.place}) if opened else ("serving", service.facts)))
                opened, waits = True, backing_off()
                await work(omega, service, tell, stop)
                break
        except StorageError as error:
            if error.code not in LOST or not opened or not _shared(home):
                raise
            wait_s = next(waits)
            tell("lost", {"code": error.code, "cause": error.cause, "again_s": round(wait_s, 2)})
            await stop.within(wait_s)
    return dict(counting.ended)


def backing_off() -> Iterator[float]:
    """How long (seconds) to wait before a lost store is opened again, time after time."""
    wait_s = FIRST_RETRY_S
    while True:
        yield wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - to keep processes apart, not to keep a secret
        wait_s = min(LONGEST_RETRY_S, wait_s * 2)


async def work(omega: Omega, service: Service, tell: Tell, stop: Stop) -> None:
    """One stretch of working on an open store, up to a stop. Raises StorageError when the store is lost."""
    queues, flows = Queues(omega.store), await _flows(omega, service.targets)
    worker = Worker(
        omega.engine,
        flows=flows,
        queues=lambda: queues.open_of(service.queues),
        limits=queues.limits,
        at_once=service.at_once,
        sweep_s=service.sweep_s,
        restart=service.restart,
    )
    beside: dict[str, Chore] = {"retention": partial(_retain, omega), "schedules": partial(_schedule, omega, flows, service.queues)}
    if service.until_idle:
        beside["idle"] = partial(_when_idle, omega, service, worker.pins, stop)
    chores = [asyncio.create_task(omega.chores.keep(name, chore)) for name, chore in beside.items()]
    try:
        await _until(stop, worker, service.drain_s)
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


async def _until(stop: Stop, worker: Worker, drain_s: float) -> None:
    """Work until asked to stop, then drain; told to stop at once, do not wait for that. Raises what `Worker.run` raises."""
    running = asyncio.create_task(worker.run())
    draining = asyncio.create_task(_drain(stop, worker, drain_s))
    now = asyncio.create_task(stop.wait_now())
    try:
        await asyncio.wait({running, now}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (draining, now, running):
            task.cancel()
        await asyncio.gather(draining, now, return_exceptions=True)
        ended = (await asyncio.gather(running, return_exceptions=True))[0]
    if isinstance(ended, Exception):
        raise ended


async def _drain(stop: Stop, worker: Worker, drain_s: float) -> None:
    await stop.wait()
    await worker.drain(drain_s)


async def _when_idle(omega: Omega, service: Service, pins: Collection[str], stop: Stop) -> None:
    """Ask to stop once nothing runs here, and nothing that is served here is due, now or later, without somebody acting."""
    while True:
        await asyncio.sleep(IDLE_LOOK_S)
        if not omega.engine.running and not any(_left(omega, queue, pin) for queue in service.queues for pin in pins):
            stop.ask()
            return


def _left(omega: Omega, queue: str, pin: str) -> bool:
    """Whether anything in `queue` that is pinned to `pin` goes on by itself."""
    if omega.store.search(Search(queue=queue, digest=pin, status=(Status.QUEUED, Status.RUNNING), limit=1)):
        return True
    waiting = omega.store.search(Search(queue=queue, digest=pin, status=(Status.WAITING,), limit=IDLE_LOOKED_AT))
    return any(line.due_us for line in waiting)


async def _flows(omega: Omega, targets: Sequence[Target]) -> dict[str, AnyFlow]:
    """The flows that are served, by what executions of them are pinned to; their parts too, which combinators may start as children."""
    found: dict[str, AnyFlow] = {}
    for target in targets:
        bound = await omega.prepare(target.flow, target.servers)
        found |= {pin_of(part): part for part in _parts(bound)}
    return found


def _parts(flow: AnyFlow) -> Iterator[AnyFlow]:
    yield flow
    for child in flow.children:
        yield from _parts(child)


async def _schedule(omega: Omega, flows: Mapping[str, AnyFlow], queues: Collection[str]) -> None:
    """Start what is due by a schedule and served here, for as long as the store is there.

    A schedule names its flow, and workers of other queues may serve another of that name: theirs is not started in its maker's name.
    """
    names = {flow.name: flow for flow in reversed([*flows.values()])}  # of two of a name the first that was asked for

    def served(schedule: Schedule) -> AnyFlow | None:
        return names.get(schedule.flow) if schedule.queue in queues else None

    scheduler = Scheduler(omega.engine, omega.store, served, post=omega.store.post)
    while True:
        with suppress(StorageError):
            await scheduler.run()
        await asyncio.sleep(SCHEDULE_RETRY_S)


async def _retain(omega: Omega) -> None:
    """Destroy payloads that are over their time, now and then."""
    keeper = Keeper(omega)
    while True:
        with suppress(OmegaError):
            await keeper.round()
        await asyncio.sleep(RETENTION_S)


def _shared(home: str | os.PathLike[str] | None) -> bool:
    return Settings.load(home).store.shared
