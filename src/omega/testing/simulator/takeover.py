"""Two live owners: an engine is held between check and send (its permit in hand) or between send and record, loses its lease to another
one that runs the execution to its end, and wakes. The old one must append nothing, and touch nothing that the gate's permit can prevent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from omega.kernel.errors import OmegaError
from omega.kernel.journal import Status, name_of
from omega.kernel.ports import Outcome
from omega.runtime.lease import LEASE_US
from omega.testing.lab import PORTS, Lab, sequencer
from omega.testing.simulator.invariants import check_journal, same
from omega.testing.simulator.life import EXECUTION, MAX_DECISIONS, Life, Plan, Told, bury, decide_for
from omega.testing.simulator.scenario import Scenario
from omega.testing.simulator.store import MortalStore
from omega.testing.simulator.witness import World
from omega.testing.virtual import LoopClock

ASLEEP_S = LEASE_US / 1_000_000 + 31
"""Virtual seconds that the first owner sleeps: past its lease, and past the life of the permit it holds."""


def takeovers(scenario: Scenario, expected: Told, *, seed: int, touches: Iterable[int]) -> Iterator[Told]:
    """One takeover at each of `touches` (numbers of touches of the uninterrupted run, from 0), held before and after the request."""
    for number in touches:
        for after in (False, True):
            yield Takeover(scenario, Plan(seed=seed), expected, number, after).run()


class Takeover(Life):
    """A run with two engines alive on one store. The first is held at its touch number `number`."""

    def __init__(self, scenario: Scenario, plan: Plan, expected: Told, number: int, after: bool) -> None:
        super().__init__(scenario, plan, expected)
        self._number = number
        self._after = after
        self._wake = asyncio.Event()
        self._asleep = asyncio.Event()
        self._touched = 0
        self._step = ""

    async def _live(self) -> None:
        clock = LoopClock()
        self.told.appends = [0, 0]
        store = MortalStore(sequencer=sequencer(), owner="first", now_us=clock.now_us)
        self.witness.store = store
        first = self._lab("first", clock, store, held=True)
        run = asyncio.create_task(self._to_the_end(first))
        await self._asleep_or_done(run)
        await clock.sleep(ASLEEP_S)
        if run.done():  # a time limit or a race let it go on without the touch that is held: it ended as the owner
            return
        self.witness.answered.clear()
        second = self._lab("second", clock, store, held=False)
        self._problem_unless_done(await self._until_done(second))
        rows = len(store.rows(EXECUTION))
        happened = self.witness.happened.copy()
        self._wake.set()
        await self._old_owner(run)
        if len(store.rows(EXECUTION)) != rows:
            self._problem("an engine whose lease was taken over appended rows")
        if not self._after and self.witness.happened != happened:
            self._problem("an engine whose lease was taken over touched the world with an old permit")
        self.told.problems.extend(check_journal(second, EXECUTION))
        await self._judge_replay(second)
        await bury()

    def _lab(self, owner: str, clock: LoopClock, store: MortalStore, *, held: bool) -> Lab:
        effectors: dict[str, Any] = {port: World(port, clock, self.witness, store) for port in PORTS}
        if held:
            effectors = {port: _Held(world, self._gate) for port, world in effectors.items()}
        return Lab(seed=(self.plan.seed, owner), store=store, clock=clock, effectors=effectors, owner=owner)

    async def _gate(self, moment: str, step: str) -> None:
        """Called by the first engine's effectors around every touch: sleeps at the chosen one."""
        if moment == "before":
            self._touched += 1
        if self._touched - 1 == self._number and (moment == "after") is self._after and not self._asleep.is_set():
            self._step = step
            self._asleep.set()
            await self._wake.wait()

    async def _asleep_or_done(self, run: asyncio.Task[Outcome]) -> None:
        asleep = asyncio.create_task(self._asleep.wait())
        await asyncio.wait([run, asleep], return_when=asyncio.FIRST_COMPLETED)
        asleep.cancel()

    async def _until_done(self, lab: Lab) -> Outcome:
        outcome = await lab.resume(EXECUTION, self.flow)
        for _ in range(MAX_DECISIONS):
            if outcome.status not in (Status.WAITING, Status.IN_DOUBT):
                return outcome
            await decide_for(lab, outcome, self.witness)
            outcome = await lab.resume(EXECUTION, self.flow)
        return outcome

    def _problem_unless_done(self, outcome: Outcome) -> None:
        self.told.value = outcome.value
        if outcome.status != Status.DONE:
            self._problem(f"the second owner ended as {outcome.status}: {(outcome.error or {}).get('cause')}")
        elif self.expected is not None and name_of(self._step) not in self.scenario.timed:
            self.told.problems.extend(same(self.expected.value, outcome.value))

    async def _old_owner(self, run: asyncio.Task[Outcome]) -> None:
        """What the first engine is told when it wakes: that another owns the execution now, by the epoch check itself."""
        try:
            error = (await run).error or {}
        except OmegaError as refusal:
            error = refusal.record()
        if error.get("code") != "OMG-S006" or "current" not in error.get("details", {}):
            self._problem(f"an engine whose lease was taken over was told {error.get('code')} {error.get('cause')}")

    def _problem(self, what: str) -> None:
        self.told.problems.append(f"held {'after' if self._after else 'before'} touch {self._number}: {what}")


class _Held:
    """An effector that can be held before its permit is spent, and again before its answer is given."""

    def __init__(self, world: World, gate: Any) -> None:
        self.port = world.port
        self._world = world
        self._gate = gate

    async def perform(self, permit: Any, request: Any, *, execution: str, step: str) -> Any:
        """As the effector inside, with the holds around it."""
        await self._gate("before", step)
        result = await self._world.perform(permit, request, execution=execution, step=step)
        await self._gate("after", step)
        return result
