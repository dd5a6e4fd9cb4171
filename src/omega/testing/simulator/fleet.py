"""A fleet: several workers on one store, and everything that can befall them.

    killed          before or after an append is durable; another worker is born in its place
    paused          nothing it does reaches store or world for a while, also between check and send; then it goes on as if nothing were
    cut off         the store refuses, before or after having written; its host closes it and opens the store again
    stalled         paused with the tenant's log in its hands: nobody appends to it until the database ends its transaction, a lease later
    clocks          each host's wall clock is hours off, and is set forward and back
    hints           lost, doubled, late, and in another order
    people          send signals, and say truthfully what became of a write in doubt

Executions of every kind are put into queues meanwhile: pure steps, reads, writes, waits, signals, children, sagas. When no more befalls
the fleet, all of it must end within two leases, a sweep, and the time that its work takes, and this must hold:

    each execution ended once, with the result that an undisturbed run gives          no child was started twice
    no step with a durable result ran again          no write took place twice          what was to be undone was undone
    nothing was touched, and nothing appended, under an epoch that was not the execution's at that moment
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omega.adapters.memory import MemoryStore
from omega.adapters.net.hints import Heard
from omega.chronicle.record import Leaf
from omega.kernel.compose import AnyFlow
from omega.kernel.effects import Command, Receipt, Request, WriteFiles
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Kind, Status
from omega.kernel.ports import NEVER, Batch, Committed, Line, Search
from omega.kernel.verdict import Permit
from omega.runtime.steady import SteadyClock
from omega.runtime.supervision import Restart
from omega.testing.clock import START_US
from omega.testing.effectors import Crash
from omega.testing.lab import PORTS, Lab, sequencer
from omega.testing.simulator.errands import ERRANDS, Errand, listen
from omega.testing.simulator.invariants import check_rows
from omega.testing.virtual import LoopClock, run_virtual

LEASE_S = 10.0
SWEEP_S = 5.0
PARK_S = 3.0

LATENCY_S = 0.1
"""Longest time that a call takes to reach the store: much can happen between a look and what follows from it."""

STALLED_S = LEASE_S
"""How long a database lets a transaction stand still that holds what others wait for: as long as the lease of whoever began it."""

WORKERS = 3

PATIENCE_S = 2 * LEASE_S + SWEEP_S + 60.0
"""How long after the last misfortune everything may take: recovery, and the waits and the work of the slowest errand."""

MAX_SECONDS = 300.0
"""Virtual seconds after which a run is given up."""

MAX_EPOCH = 40
"""Owners that one execution may have had in a run: more is a tug of war."""

QUEUES = ("default", "work")

HELD = 3
"""Hints that are held back together, and then told the other way round."""


@dataclass(slots=True)
class Findings:
    """What a fleet showed: what befell it, what was touched, how long it took to come through, and every violation in words."""

    seed: int
    fates: Counter[str] = field(default_factory=Counter)
    touches: int = 0
    executions: int = 0
    recovered_s: float = 0.0
    problems: list[str] = field(default_factory=list)


class Outside:
    """The world outside, which outlives every worker: what was asked of it under which epoch, and what took place."""

    def __init__(self, findings: Findings, store: MemoryStore, dice: random.Random) -> None:
        self.findings = findings
        self.store = store
        self.dice = dice
        self.happened: Counter[tuple[str, str]] = Counter()
        self.undone: Counter[str] = Counter()

    def check(self, permit: Permit, execution: str, step: str) -> None:
        """What must hold when a request leaves."""
        line = self.store.line(execution)
        problems = self.findings.problems
        if line is None or line.epoch != permit.epoch:
            problems.append(f"{step} of {execution} was touched under epoch {permit.epoch}, its epoch is {line and line.epoch}")
        here = [row for row in self.store.rows(execution) if row.position == step]
        if any(row.kind in (Kind.DONE, Kind.FAILED) for row in here):
            problems.append(f"{step} of {execution} was touched again after its result was durable")
        if not any(row.kind == Kind.INTENT for row in here):
            problems.append(f"{step} of {execution} was touched without a durable intent")

    def takes_place(self, execution: str, step: str, request: Request) -> None:
        """A request has its effect. Writes must have it once."""
        self.happened[execution, step] += 1
        if isinstance(request, WriteFiles):
            if self.happened[execution, step] > 1 and "save" in request.files:
                self.findings.problems.append(f"{step} of {execution} took place {self.happened[execution, step]} times")
            self.undone[execution] += "undo" in request.files

    def ran(self, execution: str, name: str) -> None:
        """The body of a pure step starts; each name stands once in an errand."""
        for row in self.store.rows(execution):
            if row.kind in (Kind.DONE, Kind.FAILED) and row.position.rpartition("/")[2] == name:
                self.findings.problems.append(f"{name} of {execution} ran again after its result was durable")


class Process:
    """One worker's process: its store, clock, wake-ups and effectors, each of which can be taken from it."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet = fleet
        self.name = f"worker-{number}"
        dice = fleet.dice
        self.own = LoopClock(START_US + round(dice.uniform(-7.0, 7.0) * 3_600_000_000))
        self.awake = asyncio.Event()
        self.awake.set()
        self.cut = False
        self.store = fleet.store_of(self)
        self.clock = SteadyClock(self.own, self.store.wall_us)
        self.lab = Lab(
            seed=(fleet.findings.seed, number),
            store=self.store,
            clock=self.clock,
            effectors={port: Reaching(port, self) for port in PORTS},
            owner=self.name,
            park_s=PARK_S,
            lease_s=LEASE_S,
        )
        self.lab.world.wakeups = Hints(fleet)
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        await self.clock.sync()
        restart = Restart(backoff_s=0.1, longest_s=1.0)
        worker = self.lab.worker(*self.fleet.flows, queues=QUEUES, sweep_s=SWEEP_S, restart=restart)
        await worker.run()

    @property
    def over(self) -> bool:
        """Whether the process is dead, or its host has closed it."""
        return self.store.dead or self.task.done()

    async def bury(self) -> None:
        """End what is left of it in the loop: nothing of it reaches store or world any more."""
        self.store.dead = True
        self.awake.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Fated(MemoryStore):
    """The store as one process sees it."""

    def __init__(self, fleet: Fleet, process: Process) -> None:
        clock = fleet.clock
        super().__init__(sequencer=sequencer(), owner=process.name, now_us=clock.now_us, beside=fleet.store)
        self._process = process
        self._dice = fleet.dice
        self._found = fleet.findings.problems
        self._wall = clock.now_us
        self.dead = False
        self.dies_in = -1

    async def wall_us(self) -> int:
        """The store's wall clock."""
        told: int = await self._reach(self._told)
        return told

    async def commit(self, batch: Batch) -> Committed:
        """As the store does, unless something befalls it; the answer may get lost after it was written."""
        await self._reach()
        if batch.leaves:
            await self._process.fleet.log_free.wait()
            self.alive()
        committed = await super().commit(batch)
        self._refuse()
        return committed

    def behind(self, batch: Batch) -> None:
        """As the store does, while its process lives."""
        self.alive()
        super().behind(batch)

    async def claim(self, execution: str, **facts: Any) -> int:
        """As the store does."""
        epoch: int = await self._reach(super().claim, execution, **facts)
        return epoch

    async def renew(self, *about: Any) -> None:
        """As the store does."""
        await self._reach(super().renew, *about)

    async def release(self, execution: str) -> None:
        """As the store does."""
        await self._reach(super().release, execution)

    async def take(self, want: Any) -> Any:
        """As the store does; what is taken in vain is nobody's until the lease is over."""
        return await self._reach(super().take, want)

    async def wake(self, *about: Any) -> None:
        """As the store does."""
        await self._reach(super().wake, *about)

    async def next_due(self, *about: Any) -> int | None:
        """As the store does."""
        due: int | None = await self._reach(super().next_due, *about)
        return due

    async def _told(self) -> int:
        return self._wall()

    async def _reach(self, call: Callable[..., Awaitable[Any]] | None = None, *about: Any, **facts: Any) -> Any:
        await asyncio.sleep(self._dice.uniform(0.0, LATENCY_S))
        await self._process.awake.wait()
        self.alive()
        self._refuse()
        if call is None:
            return None
        result = await call(*about, **facts)
        self._refuse()
        return result

    def _append(self, batch: Batch) -> Committed:
        self.alive()
        self.dies_in -= 1
        if self.dies_in == 0 and self._dice.random() < 0.5:
            self._die()
        line, epoch = self.line(batch.execution), batch.epoch
        committed = super()._append(batch)
        if line is not None and line.epoch != epoch:
            self._found.append(f"{batch.execution} was appended to under epoch {epoch}, its epoch is {line.epoch}")
        if self.dies_in == 0:
            self._die()
        return committed

    def _die(self) -> None:
        self.dead = True
        raise Crash

    def alive(self) -> None:
        """Raise Crash when this process is dead: whatever it would still do does not happen."""
        if self.dead:
            raise Crash

    def _refuse(self) -> None:
        if self._process.cut:
            raise StorageError("OMG-S004", "the store cannot be reached")


class Reaching:
    """An effector of one process: it can be held before its permit is spent and before its answer comes."""

    def __init__(self, port: str, process: Process) -> None:
        self.port = port
        self._process = process

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """One touch, in a tenth of a second or in four."""
        process, outside = self._process, self._process.fleet.outside
        await process.own.sleep(outside.dice.uniform(0.0, 1.5))  # between check and send
        await process.awake.wait()
        process.store.alive()
        permit.spend(self.port)
        outside.check(permit, execution, step)
        outside.findings.touches += 1
        await process.own.sleep(4.0 if isinstance(request, Command) and request.argv[0] == "slow" else 0.1)
        if not process.store.dead or outside.dice.random() < 0.5:
            outside.takes_place(execution, step, request)
        await process.awake.wait()
        process.store.alive()
        return (int(request.argv[1]) + 1 if isinstance(request, Command) else []), Receipt()


class Hints:
    """Wake-ups half of which are lost; of the others some come twice, some late, and some in another order than they were sent in. All
    hear them alike in every run of a seed."""

    def __init__(self, fleet: Fleet) -> None:
        self._heard = Heard()
        self._all = fleet.hearing
        self._all.append(self._heard)
        self._dice = fleet.dice
        self._fates = fleet.findings.fates
        self._held: list[str] = []
        self._late: set[asyncio.Task[None]] = set()

    async def hint(self, queue: str) -> None:
        """Perhaps."""
        if self._dice.random() < 0.2 or self._held:
            self._reorder(queue)
            return
        for _ in range(self._dice.choice((0, 0, 0, 1, 1, 2))):
            if self._dice.random() < 0.3:
                late = asyncio.create_task(self._later(queue))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
            else:
                self._tell(queue)

    async def wait(self, queues: Sequence[str], timeout_s: float) -> bool:
        """See `kernel.ports.Wakeups.wait`."""
        return await self._heard.wait(queues, timeout_s)

    async def aclose(self) -> None:
        """Listen no longer."""
        self._all.remove(self._heard)

    def _reorder(self, queue: str) -> None:
        """Hold a hint back until others have come, then let them all out the other way round."""
        self._held.append(queue)
        if len(self._held) >= HELD:
            self._fates["hints in another order"] += 1
            for held in reversed(self._held):
                self._tell(held)
            self._held.clear()

    def _tell(self, queue: str) -> None:
        for heard in self._all:
            heard.hear(queue)

    async def _later(self, queue: str) -> None:
        await asyncio.sleep(self._dice.uniform(0.0, 20.0))
        self._tell(queue)


class Fleet:
    """One run of a fleet under one seed."""

    workers = WORKERS

    def __init__(self, seed: int, *, misfortunes: int = 8, errands: Sequence[Errand] = ERRANDS) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - dice, not keys
        self.findings = Findings(seed)
        self.clock = LoopClock()
        self.store = MemoryStore(sequencer=sequencer(), owner="nobody", now_us=self.clock.now_us)
        self.log_free = asyncio.Event()
        self.log_free.set()
        self.hearing: list[Heard] = []
        self.outside = Outside(self.findings, self.store, self.dice)
        self.flows: list[AnyFlow] = [flow for errand in errands for flow in (errand.flow, *errand.children)]
        self._errands = errands
        self._misfortunes = misfortunes
        self._born = 0
        self._fleet: list[Process] = []
        self._office = Lab(seed=(seed, "office"), owner="office", beside=None, store=self.store, clock=self.clock)
        listen(self.outside.ran)

    def run(self) -> Findings:
        """Live it, in virtual time."""
        run_virtual(self._live())
        return self.findings

    async def _live(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_unless_dead)
        self._fleet = [self._birth() for _ in range(self.workers)]
        chores = [asyncio.create_task(each) for each in (self._replace_the_dead(), self._people())]
        names: dict[str, Errand] = {}
        try:
            for misfortune in range(self._misfortunes):
                if self._at_war():
                    break
                names |= await self._send_errands() if misfortune % 2 == 0 else {}
                await asyncio.sleep(self.dice.uniform(0.2, 6.0))
                await self.befall(self.dice.choice(self._fleet))
            await self._come_through(names)
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            for process in self._fleet:
                await process.bury()
        self._judge(names)

    def _birth(self) -> Process:
        self._born += 1
        return Process(self, self._born)

    async def _send_errands(self) -> dict[str, Errand]:
        sent = {}
        for errand in self._errands:
            queue = self.dice.choice(QUEUES)
            name = await self._office.enqueue(errand.flow, errand.value, queue=queue, priority=self.dice.randrange(3))
            sent[name] = errand
            self.findings.executions += 1
        return sent

    # -- what befalls it

    def store_of(self, process: Process) -> Fated:
        """The store as `process` will see it."""
        return Fated(self, process)

    async def befall(self, process: Process) -> None:
        """The next misfortune, which meets `process`."""
        fate = self.dice.choice(("kill", "kill at append", "kill at append", "pause", "pause", "stall", "cut", "jump"))
        self.findings.fates[fate] += 1
        if fate == "kill":
            await process.bury()
        elif fate == "kill at append":
            process.store.dies_in = self.dice.randrange(1, 12)
        elif fate == "pause":
            await self._for_a_while(process, "pause")
        elif fate in ("cut", "stall"):
            await self._for_a_while(process, fate)
        else:
            process.own.jump(self.dice.uniform(-5.0, 5.0) * 3_600)

    async def _for_a_while(self, process: Process, fate: str) -> None:
        process.cut = fate == "cut"
        if fate != "cut":
            process.awake.clear()
        for_s = self.dice.choice((0.5, LEASE_S * 0.8, LEASE_S * 1.5, LEASE_S * 3))
        if fate == "stall":
            self.log_free.clear()
            await asyncio.sleep(min(for_s, STALLED_S))
            self.log_free.set()
            for_s = max(0.0, for_s - STALLED_S)
        await asyncio.sleep(for_s)
        process.cut = False
        process.awake.set()

    async def _replace_the_dead(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for index, process in enumerate(self._fleet):
                if process.over:
                    await process.bury()
                    self._fleet[index] = self._birth()

    async def _people(self) -> None:
        """Answer what stands still until somebody acts."""
        while True:
            await asyncio.sleep(1.0)
            for line in self.store.search(Search(status=(Status.WAITING, Status.IN_DOUBT), limit=1_000)):
                if line.due_us == NEVER:
                    with suppress(OmegaError):  # it may have gone on meanwhile
                        await self._decide(line)

    async def _decide(self, line: Line) -> None:
        past = self._office.past(line.execution)
        for step in past.doubts():
            done = bool(self.outside.happened[line.execution, step.position])
            await self._office.decide(line.execution, "resolve", step=step.position, done=done, value=1)
        if line.status == Status.WAITING and not past.doubts() and line.flow == "asks" and not past.signals:
            await self._office.decide(line.execution, "signal", name="go", value=5)

    # -- what must hold

    async def _come_through(self, names: Iterable[str]) -> None:
        for process in self._fleet:
            process.store.dies_in = -1
        began = self.clock.monotonic()
        while not all(Status(line.status).ended for line in map(self.store.line, names) if line is not None):
            if self.clock.monotonic() - began > MAX_SECONDS or self._at_war():
                break
            await asyncio.sleep(0.5)
        self.findings.recovered_s = self.clock.monotonic() - began
        if self.findings.recovered_s > PATIENCE_S:
            self.findings.problems.append(f"it took {self.findings.recovered_s:.0f} s to come through")

    def _at_war(self) -> bool:
        return any(line.epoch > MAX_EPOCH for line in self.store.search(Search(limit=1_000)))

    def _judge(self, names: dict[str, Errand]) -> None:
        problems = self.findings.problems
        if self._at_war():
            problems.append(f"an execution had more than {MAX_EPOCH} owners")
        leaves: dict[str, list[Leaf]] = {}
        for leaf in self._office.leaves():
            leaves.setdefault(leaf.execution, []).append(leaf)
        for name, errand in names.items():
            problems.extend(self._of(name, errand))
            found = check_rows(self._office, name, leaves.get(name, []))
            problems.extend(f"{name} ({errand.flow.name}): {problem}" for problem in found)
        report = self._office.verify()
        if not report.sound:
            problems.append(f"the log does not verify: {[finding.record() for finding in report.findings][:3]}")

    def _of(self, name: str, errand: Errand) -> Iterator[str]:
        line = self.store.line(name)
        if line is None or not Status(line.status).ended:
            yield f"{name} ({errand.flow.name}) is {line and line.status}, due {line and line.due_us}, tries {line and line.tries}"
            return
        past = self._office.past(name)
        finished = [row for row in past.rows if row.kind == Kind.FINISHED]
        if len(finished) != 1:
            yield f"{name} ended {len(finished)} times"
        if line.status != errand.status:
            yield f"{name} ({errand.flow.name}) ended as {line.status}"
        elif errand.status == Status.DONE and (value := _value(self._office, name)) != errand.result:
            yield f"{name} ({errand.flow.name}) gave {value!r}, not {errand.result!r}"
        if self.outside.undone[name] < errand.undone:
            yield f"{name}: {self.outside.undone[name]} steps were undone, not {errand.undone}"
        children = self.store.search(Search(parent=name, limit=100))
        if len(children) != errand.offspring:
            yield f"{name} has {len(children)} children, not {errand.offspring}"
        yield from (f"the child {child.execution} is {child.status}" for child in children if not Status(child.status).ended)


def _value(lab: Lab, name: str) -> Any:
    from omega.runtime.recovery import read_outcome

    return read_outcome(lab.world, name).value


def _unless_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a dead process leaves unfinished is nobody's fault."""
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)


def fleets(seeds: Iterable[int], *, misfortunes: int = 8) -> Iterator[Findings]:
    """One fleet per seed."""
    for seed in seeds:
        yield Fleet(seed, misfortunes=misfortunes).run()
