"""Which of several equivalent flows comes next: measurements in, one index out.

The rule is epsilon-greedy (R. Sutton and A. Barto, Reinforcement Learning, 2nd edition, section 2.2) with two bounds: each flow is begun
once before any is preferred, and after that at most `explore` of all choices go to another than the best.

How good a flow is counts per success: a flow that costs little and fails half the time costs twice as much. Old measurements fade: when
a flow has `MEMORY` of them, all of them count half from then on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omega.kernel.errors import DefinitionError

MEMORY = 256
"""Measurements of one flow that count in full."""

KINDS = ("cost", "latency", "quality")
"""What a goal can weigh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How one call went: `cost_micros` as in budgets, `took_us` microseconds, `quality` in [0, 1] where it was scored."""

    failed: bool = False
    cost_micros: int = 0
    took_us: int = 0
    quality: float | None = None

    def record(self, of: str, index: int) -> str:
        """The measure as the text of a journal row: of the `optimize` with the digest `of`, its flow number `index`."""
        facts: dict[str, Any] = {
            "of": of[:16],
            "flow": index,
            "failed": self.failed,
            "cost_micros": self.cost_micros,
            "took_us": self.took_us,
        }
        if self.quality is not None:
            facts["quality"] = self.quality
        return json.dumps(facts, separators=(",", ":"))


def measure_of(text: str, of: str) -> tuple[int, Measure] | None:
    """What `Measure.record` wrote for the `optimize` with the digest `of`; None for the measure of another one."""
    try:
        facts = json.loads(text)
        if facts["of"] != of[:16]:
            return None
        quality = facts.get("quality")
        measure = Measure(
            failed=bool(facts["failed"]),
            cost_micros=int(facts["cost_micros"]),
            took_us=int(facts["took_us"]),
            quality=None if quality is None else float(quality),
        )
        return int(facts["flow"]), measure
    except (ValueError, TypeError, KeyError):  # a row of another release: a measurement less
        return None


@dataclass(frozen=True, slots=True)
class Goal:
    """What counts, and how much: weights that add up to 1."""

    cost: float = 0.0
    latency: float = 0.0
    quality: float = 0.0

    def record(self) -> dict[str, float]:
        """The weights as data."""
        return {name: getattr(self, name) for name in KINDS}


def goal_of(given: str | Mapping[str, float]) -> Goal:
    """The goal named by one of `KINDS`, or given as weights. Raises DefinitionError (OMG-F003)."""
    weights = {given: 1.0} if isinstance(given, str) else dict(given)
    total = sum(weights.values())
    if not weights.keys() <= set(KINDS) or not total > 0 or min(weights.values()) < 0:
        raise DefinitionError("OMG-F003", f"{given!r} is no goal", advice='one of "cost", "latency", "quality", or weights of these')
    return Goal(**{name: weight / total for name, weight in weights.items()})


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the flows: how often it was begun, and its measurements as faded sums."""

    begun: int = 0
    count: float = 0.0
    successes: float = 0.0
    cost_micros: float = 0.0
    took_us: float = 0.0
    quality: float = 0.0
    scored: float = 0.0

    def take(self, measure: Measure) -> Arm:
        """The arm with one more measurement."""
        arm = self if self.count < MEMORY else self._faded()
        return replace(
            arm,
            count=arm.count + 1,
            successes=arm.successes + (not measure.failed),
            cost_micros=arm.cost_micros + measure.cost_micros,
            took_us=arm.took_us + measure.took_us,
            quality=arm.quality + (measure.quality or 0.0),
            scored=arm.scored + (measure.quality is not None or measure.failed),
        )

    def _faded(self) -> Arm:
        halves = {name: getattr(self, name) / 2 for name in ("count", "successes", "cost_micros", "took_us", "quality", "scored")}
        return replace(self, **halves)

    def per_success(self, total: float) -> float:
        """A sum over all calls, per call that succeeded; infinite where none did."""
        return total / self.successes if self.successes else float("inf")

    @property
    def worth(self) -> float:
        """The mean quality, a failure counting as none; 0 where nothing was scored."""
        return self.quality / self.scored if self.scored else 0.0


@dataclass(frozen=True, slots=True)
class Arms:
    """What is known of the flows of one `optimize`: one arm each, and how many choices were made and spent on exploring."""

    arms: tuple[Arm, ...] = ()
    choices: int = 0
    explored: int = 0

    def begin(self, goal: Goal, explore: float, chance: float) -> tuple[Arms, int, bool]:
        """The next flow by its index, whether it is explored rather than preferred, and what is known once it has begun."""
        index, exploring = self._pick(goal, explore, chance)
        arms = tuple(replace(arm, begun=arm.begun + 1) if each == index else arm for each, arm in enumerate(self.arms))
        return Arms(arms, self.choices + 1, self.explored + exploring), index, exploring

    def _pick(self, goal: Goal, explore: float, chance: float) -> tuple[int, bool]:
        least = min(range(len(self.arms)), key=lambda index: self.arms[index].begun)
        if not self.arms[least].begun:
            return least, False
        losses = self.losses(goal)
        best = min(range(len(losses)), key=lambda index: losses[index])
        if chance >= explore or self.explored + 1 > explore * (self.choices + 1) or len(self.arms) == 1:
            return best, False
        return min((index for index in range(len(self.arms)) if index != best), key=lambda index: self.arms[index].begun), True

    def take(self, index: int, measure: Measure) -> Arms:
        """What is known after one more measurement of the flow `index`."""
        return replace(self, arms=tuple(arm.take(measure) if each == index else arm for each, arm in enumerate(self.arms)))

    def losses(self, goal: Goal) -> list[float]:
        """How far each flow is from the goal: 0 is best. Cost and latency count against the dearest and the slowest of them."""
        costs = [arm.per_success(arm.cost_micros) for arm in self.arms]
        times = [arm.per_success(arm.took_us) for arm in self.arms]
        parts = zip(_shares(costs), _shares(times), self.arms, strict=True)
        return [
            _weighed(goal.cost, cost) + _weighed(goal.latency, latency) + goal.quality * (1 - arm.worth) if arm.count else float("inf")
            for cost, latency, arm in parts
        ]


def _weighed(weight: float, share: float) -> float:
    return weight * share if weight else 0.0


def _shares(amounts: Sequence[float]) -> list[float]:
    most = max((amount for amount in amounts if amount != float("inf")), default=0.0)
    return [amount if amount == float("inf") else amount / most if most else 0.0 for amount in amounts]


def reason(names: Sequence[str], known: Arms, index: int, exploring: bool, goal: Goal) -> str:
    """Why the flow `index` was chosen, for whoever reads the journal: figures per success, and what it was weighed against."""
    arm = known.arms[index]
    if not arm.count:
        return f"{names[index]}: not measured yet"
    figures = [
        f"cost {arm.per_success(arm.cost_micros):.0f} micros" if goal.cost else "",
        f"latency {arm.per_success(arm.took_us) / 1000:.1f} ms" if goal.latency else "",
        f"quality {arm.worth:.3f}" if goal.quality else "",
    ]
    losses = known.losses(goal)
    others = ", ".join(f"{names[each]} {losses[each]:.3f}" for each in range(len(names)) if each != index)
    why = "explored" if exploring else "best so far"
    said = "; ".join(figure for figure in figures if figure)
    text = f"{names[index]}: {why} ({said} over {arm.count:g} calls); loss {losses[index]:.3f}, others: {others}"
    return text[:MAX_REASON]


MAX_REASON = 400
"""Longest reason on record, in characters."""
