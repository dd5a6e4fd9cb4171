"""How an outcome of a flow is drawn from what is recorded of its parts.

    leaf       one of its recorded outcomes, drawn at random: attempts that were needed are part of it
    sequence   the sum of its parts
    parallel   cost and tokens add up, the longest branch says how long it takes
    race       the quickest branch says how long it takes; all branches are paid for, since a loser may have spent before it was stopped
    when,      one branch, drawn with the frequencies that runs of this flow recorded
    switch
    foreach    as many items as such runs had, so many at a time
    retry      the pauses that the recorded attempts imply
    timeout    no longer than the limit, then its `otherwise`
    fallback   the others as often as they were needed
    cache      as often as it was not answered from what was kept
    delay      its pause, then what follows
    loop,      as many rounds, batches, items as such runs had; batches and scattered items so many at a time
    batch, reduce, scatter
    optimize   one of its flows, as often as each was taken
    saga       its steps; an undo as often as it was needed
    breaker    its flow, and its `otherwise` as often as that was needed
    agent      its questions and its tools, each as often as runs of this flow recorded it
    other      the same: each part as often as it was recorded, one after the other

Pure: `chance` gives numbers in [0, 1). What nobody has recorded is noted while the plan is made: steps without history, costs without a
price, branches and repetitions of unknown frequency.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omega.kernel import adapt, attempts, compose, learning, repeat, sagas
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Flow, Task
from omega.kernel.effects import Effect
from omega.kernel.poml.history import History, Key, Prices, Sample, Spread, spread

TRIALS = 1_000
"""Runs that are drawn: the 95th percentile then rests on fifty of them."""
MOST_DRAWS = 300_000
"""Steps that all trials together draw; a large flow is drawn less often."""
LEAST_TRIALS = 40


@dataclass(frozen=True, slots=True)
class Expected:
    """One step: how often per run, how many attempts, and what each outcome takes. None is what nothing is recorded of."""

    name: str
    version: str
    effect: str
    per_run: float
    attempts: float
    took_s: Spread | None
    tokens: Spread | None
    cost_micros: Spread | None


Draw = Callable[[], Sample]


class Plan:
    """Turns each part of a flow, once, into a function that draws an outcome of it."""

    def __init__(self, flow: AnyFlow, history: History, prices: Prices, chance: Callable[[], float]) -> None:
        self.history, self.prices, self.chance = history, prices, chance
        self.places = Counter(key_of(leaf) for leaf in flow.leaves())
        self.leaves = {key_of(leaf): leaf for leaf in flow.leaves()}
        self.drawn: Counter[Key] = Counter()
        self.unknown: set[str] = set()
        self.unpriced: set[str] = set()
        self.assumed: set[str] = set()

    def trials(self, flow: AnyFlow) -> list[Sample]:
        """Outcomes of the whole, drawn until there are enough or they took long enough."""
        draw = self.part(flow, len(self.history.runs) or None)
        outcomes: list[Sample] = []
        while len(outcomes) < LEAST_TRIALS or (len(outcomes) < TRIALS and self.drawn.total() < MOST_DRAWS):
            outcomes.append(draw())
        return outcomes

    def part(self, flow: AnyFlow, visits: float | None) -> Draw:
        """How to draw `flow`, which recorded runs came to `visits` times in all (None: not known)."""
        rule = _RULES.get(type(flow.body))
        if rule is not None:
            return rule(self, flow, flow.body, visits)
        return self.repeated(flow, visits) if flow.children else self.leaf(flow)

    # -- what is recorded

    def count(self, flow: AnyFlow) -> int | None:
        """How often recorded runs came to `flow`, told by the leaf it begins with; None where that leaf cannot tell."""
        entry = _entry(flow)
        if entry is None or not self.history.runs or self.places[key_of(entry)] != 1:
            return None
        return sum(run.steps.get(key_of(entry), 0) for run in self.history.runs)

    def choose(self, flow: AnyFlow, counts: Sequence[int | None], visits: float | None) -> Callable[[], int]:
        """Draws one of several alternatives by how often each was taken; equally often, and said so, where nobody knows."""
        missing = [index for index, count in enumerate(counts) if count is None]
        weights = [float(count or 0) for count in counts]
        if len(missing) == 1 and visits is not None:
            weights[missing[0]] = max(0.0, visits - sum(weights))
            missing = []
        if missing or not sum(weights):
            self.assumed.add(flow.name)
            weights = [1.0] * len(counts)
        total = sum(weights)

        def chosen() -> int:
            rest = self.chance() * total
            for index, weight in enumerate(weights):
                rest -= weight
                if rest < 0:
                    return index
            return len(weights) - 1

        return chosen

    def times(self, flow: AnyFlow, inner: AnyFlow, visits: float | None) -> Callable[[], int]:
        """Draws how often `inner` is done when `flow` is: from single runs where each came to it once, else from the average."""
        count = self.count(inner)
        if count is None or not visits:
            self.assumed.add(flow.name)
            return lambda: 1
        entry = _entry(inner)
        if entry is not None and visits == len(self.history.runs):
            each = [run.steps.get(key_of(entry), 0) for run in self.history.runs]
            return lambda: each[int(self.chance() * len(each))]
        whole, rest = divmod(count / visits, 1.0)
        return lambda: int(whole) + (self.chance() < rest)

    def priced(self, sample: Sample, model: str) -> Sample:
        """A sample with a cost from the list where the record has none."""
        if sample.priced:
            return sample
        price = self.prices.price(model, sample.tokens) if sample.tokens else None
        return sample if price is None else replace(sample, cost_micros=sample.cost_micros + price, priced=True)

    def leaf(self, flow: AnyFlow) -> Draw:
        key = key_of(flow)
        samples = self.samples(flow)
        if not samples:
            self.unknown.add(flow.name)
        if any(not sample.priced for sample in samples) or (not samples and not _idle(flow)):
            self.unpriced.add(flow.name)

        def draw() -> Sample:
            self.drawn[key] += 1
            if not samples:
                return Sample(priced=_idle(flow))
            return samples[int(self.chance() * len(samples))]

        return draw

    def samples(self, flow: AnyFlow) -> list[Sample]:
        model = str(getattr(flow.body, "model", ""))
        return [self.priced(sample, model) for sample in self.history.steps.get(key_of(flow), ())]

    def expected(self, trials: int) -> tuple[Expected, ...]:
        return tuple(self.step(leaf, self.drawn[key] / trials) for key, leaf in self.leaves.items())

    def forget(self, names: Iterable[str]) -> None:
        """What never happens need not be known."""
        self.unknown.difference_update(names)
        self.unpriced.difference_update(names)

    def step(self, leaf: AnyFlow, per_run: float) -> Expected:
        samples = self.samples(leaf)
        known = [float(sample.cost_micros) for sample in samples if sample.priced]
        idle = _idle(leaf)
        free = Spread(0.0, 0.0, 0.0, len(samples))
        return Expected(
            name=leaf.name,
            version=leaf.version,
            effect=leaf.effect.value,
            per_run=per_run,
            attempts=math.fsum(sample.attempts for sample in samples) / len(samples) if samples else 1.0,
            took_s=spread([sample.took_s for sample in samples]),
            tokens=spread([float(sample.tokens) for sample in samples]) or (free if idle else None),
            cost_micros=spread(known) if len(known) == len(samples) and samples else (free if idle else None),
        )

    # -- combinators

    def sequence(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        parts = [self.part(part, visits) for part in body.flows]
        return lambda: _add(draw() for draw in parts)

    def parallel(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        parts = [self.part(part, visits) for part in body.flows]
        return lambda: _beside([draw() for draw in parts], max)

    def race(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        parts = [self.part(part, visits) for part in body.flows]
        return lambda: _beside([draw() for draw in parts], min)

    def when(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        chains = [body.then, body.otherwise]
        return self.chosen(flow, body.predicate, chains, visits)

    def switch(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        chains = [part for _, part in body.cases] + ([body.default] if body.default is not None else [])
        return self.chosen(flow, body.selector, chains, visits)

    def chosen(self, flow: AnyFlow, asked: Any, branches: Sequence[AnyFlow | None], visits: float | None) -> Draw:
        question = self.part(asked, visits) if isinstance(asked, Flow) else Sample
        counts = [None if branch is None else self.count(branch) for branch in branches]
        index = self.choose(flow, counts, visits)
        draws = [Sample if branch is None else self.part(branch, count) for branch, count in zip(branches, counts, strict=True)]
        return lambda: _add((question(), draws[index()]()))

    def foreach(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        times, draw = self.times(flow, body.flow, visits), self.part(body.flow, self.count(body.flow))

        def drawn() -> Sample:
            items = [draw() for _ in range(times())]
            longest = max((item.took_s for item in items), default=0.0)
            total = _add(items)
            return replace(total, took_s=max(longest, total.took_s / body.at_once))

        return drawn

    def retry(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        draw = self.part(body.flow, visits)

        def drawn() -> Sample:
            found = draw()
            pauses = math.fsum(body.delay_s(failures, self.chance()) for failures in range(1, min(found.attempts, body.attempts)))
            return replace(found, took_s=found.took_s + pauses)

        return drawn

    def timeout(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        draw = self.part(body.flow, visits)
        other = None if body.otherwise is None else self.part(body.otherwise, self.count(body.otherwise))

        def drawn() -> Sample:
            found = draw()
            if found.took_s <= body.limit_s:
                return found
            cut = replace(found, took_s=body.limit_s)
            return cut if other is None else _add((cut, other()))

        return drawn

    def fallback(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        first, *others = body.flows
        draw = self.part(first, visits)
        rest = [(self.share(flow, part, visits, 0.0), self.part(part, self.count(part))) for part in others]
        return lambda: _add([draw(), *(other() for needed, other in rest if self.chance() < needed)])

    def cache(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        needed, draw = self.share(flow, body.flow, visits, 1.0), self.part(body.flow, self.count(body.flow))
        return lambda: draw() if self.chance() < needed else Sample()

    def share(self, flow: AnyFlow, part: AnyFlow, visits: float | None, unknown: float) -> float:
        """How often `part` was done when `flow` was, as a share."""
        count = self.count(part)
        if count is None or not visits:
            self.assumed.add(flow.name)
            return unknown
        return min(1.0, count / visits)

    def within(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        """A wrapper that changes nothing of what its flow takes and costs."""
        return self.part(body.flow, visits)

    def delay(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        draw = self.part(body.flow, visits)
        return lambda: _add((Sample(took_s=body.delay_s), draw()))

    def breaker(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        draw = self.part(body.flow, visits)
        if body.otherwise is None:
            return draw
        needed, other = self.share(flow, body.otherwise, visits, 0.0), self.part(body.otherwise, self.count(body.otherwise))
        return lambda: other() if self.chance() < needed else draw()

    def undoable(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        draw, back = self.part(body.flow, visits), self.part(body.undo, self.count(body.undo))
        needed = self.share(flow, body.undo, visits, 0.0)
        return lambda: _add([draw(), *([back()] if self.chance() < needed else [])])

    def optimize(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        counts = [self.count(part) for part in body.flows]
        index = self.choose(flow, counts, visits)
        draws = [self.part(part, count) for part, count in zip(body.flows, counts, strict=True)]
        score = Sample if body.score is None else self.part(body.score, visits)
        return lambda: _add((draws[index()](), score()))

    def rounds(self, flow: AnyFlow, body: Any, visits: float | None) -> Draw:
        """One after the other, as often as recorded."""
        times, draw = self.times(flow, body.flow, visits), self.part(body.flow, self.count(body.flow))
        return lambda: _add(draw() for _ in range(times()))

    def repeated(self, flow: AnyFlow, visits: float | None) -> Draw:
        parts = [(self.times(flow, part, visits), self.part(part, self.count(part))) for part in flow.children]
        return lambda: _add(draw() for times, draw in parts for _ in range(times()))


def key_of(flow: AnyFlow) -> Key:
    """Under which a step's outcomes are kept."""
    return flow.name, flow.version


def _idle(leaf: AnyFlow) -> bool:
    """Whether a step costs nothing whether it is recorded or not: it is pure and has no context, so it reaches neither world nor flows."""
    return leaf.effect is Effect.PURE and isinstance(leaf.body, Task) and not leaf.body.takes_context


def _add(samples: Iterable[Sample]) -> Sample:
    took, cost, tokens, priced, attempts = 0.0, 0, 0, True, 1
    for each in samples:
        took, cost, tokens, priced = took + each.took_s, cost + each.cost_micros, tokens + each.tokens, priced and each.priced
        attempts = max(attempts, each.attempts)
    return Sample(took, cost, tokens, priced, attempts)


def _beside(samples: Sequence[Sample], which: Callable[[Iterable[float]], float]) -> Sample:
    return replace(_add(samples), took_s=which(each.took_s for each in samples))


_WITHIN = (compose.Retry, compose.Timeout, repeat.Delay, adapt.RateLimited, attempts.Attempt, learning.Tuned, sagas.Undoable)
"""Bodies whose flow begins whenever they do."""


def _entry(flow: AnyFlow) -> AnyFlow | None:
    """The leaf that runs whenever `flow` does, and once; None where there is no such leaf."""
    while flow.children:
        body = flow.body
        if isinstance(body, (compose.Sequence, compose.Parallel, compose.Race, compose.Fallback, sagas.Saga)):
            flow = body.flows[0]
        elif isinstance(body, _WITHIN):
            flow = body.flow
        elif isinstance(body, compose.When) and isinstance(body.predicate, Flow):
            flow = body.predicate
        elif isinstance(body, compose.Switch) and isinstance(body.selector, Flow):
            flow = body.selector
        else:
            return None
    return flow


_RULES: dict[type, Callable[[Plan, AnyFlow, Any, float | None], Draw]] = {
    compose.Sequence: Plan.sequence,
    compose.Parallel: Plan.parallel,
    compose.Race: Plan.race,
    compose.When: Plan.when,
    compose.Switch: Plan.switch,
    compose.Foreach: Plan.foreach,
    compose.Retry: Plan.retry,
    compose.Timeout: Plan.timeout,
    compose.Fallback: Plan.fallback,
    compose.Cache: Plan.cache,
    repeat.Batch: Plan.foreach,
    repeat.Delay: Plan.delay,
    repeat.Loop: Plan.rounds,
    repeat.Reduce: Plan.rounds,
    repeat.Scatter: Plan.foreach,
    adapt.Breaker: Plan.breaker,
    adapt.Optimize: Plan.optimize,
    adapt.RateLimited: Plan.within,
    attempts.Attempt: Plan.within,
    learning.Tuned: Plan.within,
    sagas.Saga: Plan.sequence,
    sagas.Undoable: Plan.undoable,
}
