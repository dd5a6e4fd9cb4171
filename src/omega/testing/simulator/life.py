"""One execution from its start to its end, through as many engines as it takes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from omega.adapters.memory import Snapshot
from omega.kernel.compose import AnyFlow
from omega.kernel.journal import Status
from omega.kernel.ports import Outcome
from omega.kernel.trail import shown
from omega.testing.effectors import Crash
from omega.testing.lab import PORTS, Lab, sequencer
from omega.testing.simulator.invariants import check_journal, check_work, same, settled_by_name
from omega.testing.simulator.scenario import Scenario
from omega.testing.simulator.store import MortalStore
from omega.testing.simulator.witness import Witness, World
from omega.testing.virtual import LoopClock, run_virtual

EXECUTION = "simulated"

MAX_LIVES = 20
"""Engines that one run may use up: more means that it makes no progress."""

MAX_DECISIONS = 50
"""Decisions that one engine may ask for."""


@dataclass(frozen=True, slots=True)
class Death:
    """The engine dies at its append number `at` (from 0), before or `after` it is durable."""

    at: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} append {self.at}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What befalls a run: its deaths, one per life, and whether the disk is `eager`. `seed` decides everything else that could differ."""

    deaths: tuple[Death, ...] = ()
    eager: bool = False
    seed: int = 0

    def __str__(self) -> str:
        ends = ", then ".join(map(str, self.deaths)) or "no crash"
        return f"seed {self.seed}, {'eager' if self.eager else 'lazy'} disk, {ends}"


@dataclass(slots=True)
class Told:
    """What a run showed: its value, the appends of each life, and every violation in words."""

    plan: Plan
    value: Any = None
    appends: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    touches: int = 0


_LISTENING: dict[Scenario, Witness] = {}
"""Who is told of the bodies that start: the witness of the run under way. Runs come one after the other."""


@lru_cache(maxsize=16)
def _flow_of(scenario: Scenario) -> AnyFlow:
    """The scenario's flow, made once: making it takes longer than a run of many scenarios."""

    def tell(name: str) -> None:
        _LISTENING[scenario].ran(name)

    return scenario.build(tell)


class Life:
    """A run under one plan. `expected` is the uninterrupted run that it must equal; None when it is that run itself."""

    def __init__(self, scenario: Scenario, plan: Plan, expected: Told | None) -> None:
        self.scenario = scenario
        self.plan = plan
        self.expected = expected
        self.told = Told(plan)
        self.witness = Witness(scenario, random.Random(plan.seed))  # noqa: S311 - dice, not keys
        self.flow = _flow_of(scenario)
        _LISTENING[scenario] = self.witness
        self._before: Counter[str] = Counter()

    def run(self) -> Told:
        """Live it, in virtual time."""
        run_virtual(self._live())
        self.told.problems.extend(self.witness.problems)
        self.told.touches = sum(self.witness.sent.values())
        return self.told

    async def _live(self) -> None:
        snapshot: Snapshot | None = None
        for number in range(MAX_LIVES):
            lab = self.born(number, snapshot)
            self.witness.answered.clear()
            try:
                outcome = await self._to_the_end(lab)
            except (Crash, Exception) as error:  # noqa: BLE001 - whatever the engine lets out is a violation, unless it has just died
                if not lab.store.dead:
                    self.told.problems.append(f"the engine gave up: {error!r}")
                    return
            if lab.store.dead:
                await bury()
                snapshot = lab.store.snapshot()
                self.told.appends.append(lab.store.appends)
                continue
            self.told.appends.append(lab.store.appends)
            await self._judge(lab, outcome)
            return
        self.told.problems.append(f"no end after {MAX_LIVES} engines")

    def born(self, number: int, snapshot: Snapshot | None) -> Lab:
        """The engine of life `number`, on what is durable."""
        clock = LoopClock()
        death = self.plan.deaths[number] if number < len(self.plan.deaths) else None
        store = MortalStore(
            sequencer=sequencer(),
            owner=f"engine-{number}",
            now_us=clock.now_us,
            start=snapshot,
            die_at=None if death is None else death.at,
            after=death is not None and death.after,
            eager=self.plan.eager,
        )
        self.witness.store = store
        effectors = {port: World(port, clock, self.witness, store) for port in PORTS}
        return Lab(seed=(self.plan.seed, number), store=store, clock=clock, effectors=effectors, owner=store.owner)

    async def _to_the_end(self, lab: Lab) -> Outcome:
        self._turn_over(lab)
        if lab.store.line(EXECUTION) is None:
            outcome = await lab.run(self.flow, self.scenario.value, execution=EXECUTION)
        else:
            outcome = await lab.resume(EXECUTION, self.flow)
        for _ in range(MAX_DECISIONS):
            if outcome.status not in (Status.WAITING, Status.IN_DOUBT):
                return outcome
            await decide_for(lab, outcome, self.witness)
            self._turn_over(lab)
            outcome = await lab.resume(EXECUTION, self.flow)
        return outcome

    def _turn_over(self, lab: Lab) -> None:
        """A new stretch begins, at a start or a resume: what runs in it is counted against what is durable now."""
        self._before = settled_by_name(lab.store.rows(EXECUTION))
        self.witness.started.clear()

    async def _judge(self, lab: Lab, outcome: Outcome) -> None:
        problems = self.told.problems
        self.told.value = outcome.value
        if outcome.status != Status.DONE:
            problems.append(f"it ended as {outcome.status}: {(outcome.error or {}).get('code')} {(outcome.error or {}).get('cause')}")
            return
        rows = lab.store.rows(EXECUTION)
        problems.extend(check_journal(lab, EXECUTION))
        problems.extend(check_work(self.witness.started, self._before, settled_by_name(rows), self.scenario.idle))
        if self.expected is not None:
            problems.extend(same(self.expected.value, outcome.value))
        await self._judge_replay(lab)

    async def _judge_replay(self, lab: Lab) -> None:
        appends, self.witness.listening = lab.store.appends, False
        report = await lab.replay(EXECUTION, self.flow)
        if not report.identical:
            divergence = report.divergence or {}
            self.told.problems.append(f"the replay differs: {divergence.get('code')} {divergence.get('cause')}")
        await lab.store.flush()
        if lab.store.appends != appends:
            self.told.problems.append("the replay wrote something")


async def decide_for(lab: Lab, outcome: Outcome, witness: Witness) -> None:
    """The person who looks after the run: approves, sends the signal, and says truthfully what became of a step in doubt."""
    error = outcome.error or {}
    details = error.get("details", {})
    if error.get("code") == "OMG-R018":
        await lab.decide(EXECUTION, "signal", name=details["signal"], value=witness.scenario.signals[details["signal"]])
    elif error.get("code") == "OMG-R011":
        await lab.decide(EXECUTION, "approve", step=details["step"])
    else:
        await _resolve(lab, details["step"], witness)


async def _resolve(lab: Lab, step: str, witness: Witness) -> None:
    position = next(known.position for known in lab.past(EXECUTION).doubts() if step in (known.position, shown(known.position)))
    if position in witness.found:
        await lab.decide(EXECUTION, "resolve", step=position, done=True, value=witness.found[position])
    else:
        await lab.decide(EXECUTION, "resolve", step=position, done=False)


async def bury() -> None:
    """End what a dead engine left in the loop: nothing of it reaches store or world any more."""
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
