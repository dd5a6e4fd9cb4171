"""Flows that heed what happened before: a rate limit, a circuit breaker, and the choice among equivalent flows.

    rate_limited   a.rate_limited("10/s")            waits its turn, durably, or fails when that would take too long
    breaker        a.breaker(failures=5)             after many failures, nobody asks for a while
    optimize       optimize(a, b, goal="cost")       the one that did best so far, now and then another

What happened before is remembered in the engine's process (`Memory`), apart for each tenant; several engines remember apart. It decides
what happens next only once: every decision is a row of the journal, so recovery and replay repeat it whatever is remembered by then.

The decisions themselves are the pure functions of `Pace`, `Circuit` and `Arms`: state in, state out; time and chance are handed in.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from omega.kernel.budget import NOTHING, Spent
from omega.kernel.choosing import Arm, Arms, Goal, Measure, goal_of, reason
from omega.kernel.compose import AnyFlow, common_input, composite, either, flows_of, seconds
from omega.kernel.definition import Body
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError, FlowError, OmegaError
from omega.kernel.evaluate import Driver, evaluate, is_failure, label_of, rule, work_of
from omega.kernel.expressions import Expression
from omega.kernel.trail import Trail
from omega.kernel.types import assignable

MAX_REMEMBERED = 10_000
"""Most states of one kind that an engine keeps; the one unused for longest is forgotten, which can only let more through."""

MAX_KEY = 256
"""Longest partition key of a rate limit, in characters."""

PER = ("tenant", "flow", "key")
"""What a rate limit counts apart."""

State = TypeVar("State")


# -- what is remembered


class Shelf(Generic[State]):
    """States of one kind by key, bounded."""

    __slots__ = ("_fresh", "_kept")

    def __init__(self, fresh: Callable[[], State]) -> None:
        self._kept: OrderedDict[str, State] = OrderedDict()
        self._fresh = fresh

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def get(self, key: str) -> State:
        """The state under `key`, or a fresh one."""
        return self._kept.get(key) or self._fresh()

    def put(self, key: str, state: State) -> None:
        """Keep `state` under `key`."""
        self._kept[key] = state
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_REMEMBERED:
            self._kept.popitem(last=False)


class Memory:
    """What one engine remembers of earlier calls. Nothing in it is truth: losing it all costs some calls that would have been spared."""

    __slots__ = ("arms", "circuits", "paces")

    def __init__(self) -> None:
        self.paces: Shelf[Pace] = Shelf(Pace)
        self.circuits: Shelf[Circuit] = Shelf(Circuit)
        self.arms: Shelf[Arms] = Shelf(Arms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Where and when something is decided: `now_us` Unix microseconds, `chance` drawn evenly from [0, 1), `history` the measurements
    of an `optimize` (by the digest of its flow) that earlier engines recorded, as (index of the flow, measure)."""

    memory: Memory
    tenant: str
    now_us: int
    chance: float
    history: Callable[[str], Iterable[tuple[int, Measure]]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A decision that is on record. `fresh` tells whether it was made just now, and not read from the journal."""

    value: int
    text: str
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How a piece of work went: its result or its error, how long it took (microseconds), what its touches cost."""

    result: Any = None
    error: OmegaError | None = None
    took_us: int = 0
    spent: Spent = NOTHING

    @property
    def failed(self) -> bool | None:
        """Whether it failed; None for what is neither a success nor a failure: a denial, a doubt, a wait."""
        if self.error is None:
            return False
        return True if is_failure(self.error) else None

    def unwrap(self) -> Any:
        """The result. Raises the error."""
        if self.error is not None:
            raise self.error
        return self.result


class Adapting(Driver, Protocol):
    """A driver that also decides by what is remembered."""

    async def chosen(self, position: str, trail: Trail, choose: Callable[[Here], tuple[int, str]]) -> Chosen:
        """What `choose` gives (a number, and why), recorded at `position`; what is recorded there where something is."""
        ...

    async def observed(self, work: Awaitable[Any]) -> Observation:
        """How `work` went. Cancellation is let through."""
        ...

    async def learned(self, position: str, learn: Callable[[Here], str]) -> None:
        """Let `learn` take in what happened; what it says of it, if anything, is recorded at `position`."""
        ...


# -- rate limit


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` calls in `per_s` seconds, all of which may come at once after a time of rest."""

    count: int
    per_s: float

    @property
    def gap_us(self) -> float:
        """Microseconds between two calls at the full rate."""
        return self.per_s * 1_000_000 / self.count

    def __str__(self) -> str:
        return f"{self.count} in {self.per_s:g} s"


@dataclass(frozen=True, slots=True)
class Pace:
    """When the next call is due at the full rate, in Unix microseconds.

    This one figure is a whole token bucket: the generic cell rate algorithm (ITU-T I.371, annex A) with a tolerance of `count - 1` gaps.
    """

    due_us: float = 0.0

    def take(self, rate: Rate, now_us: int, patience_s: float) -> tuple[Pace, int]:
        """The pace after one more call, and how long it must wait (microseconds); the same pace and -1 when that is past `patience_s`."""
        wait_us = max(0, round(self.due_us - (rate.count - 1) * rate.gap_us - now_us))
        if wait_us > patience_s * 1_000_000:
            return self, -1
        return Pace(max(self.due_us, now_us) + rate.gap_us), wait_us


@dataclass(frozen=True, slots=True)
class RateLimited(Body):
    """At most `rate`, counted `per` tenant, per flow (all tenants together) or per key of the input within a tenant."""

    kind: ClassVar[str] = "rate_limited"
    flow: AnyFlow
    rate: Rate
    per: str
    key: Expression | None
    patience_s: float

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        key = "" if self.key is None else self.key.source
        return {"count": self.rate.count, "per_s": self.rate.per_s, "per": self.per, "key": key, "patience_s": self.patience_s}

    def book(self, key: str, here: Here) -> tuple[int, str]:
        """How long (microseconds) the next call waits for its turn, which it is given; -1 when it would have to wait too long."""
        who = "" if self.per == "flow" else f"{len(here.tenant)} {here.tenant}"
        name = f"{self.flow.digest} {self.rate} {self.per} {who} {key}"
        pace, wait_us = here.memory.paces.get(name).take(self.rate, here.now_us, self.patience_s)
        here.memory.paces.put(name, pace)
        return wait_us, "refused" if wait_us < 0 else f"after {wait_us / 1_000_000:g} s"


_RATE = re.compile(r"(\d{1,9})\s*/\s*(\d*(?:\.\d+)?)\s*(ms|s|m|h|d)")


def rate_of(text: str) -> Rate:
    """The rate that a text such as "10/s", "300/m" or "1/5s" names. Raises DefinitionError (OMG-F003)."""
    match = _RATE.fullmatch(text.strip())
    if match is None or int(match[1]) < 1:
        raise DefinitionError("OMG-F003", f"{text!r} is no rate", advice='write it as "10/s", "300/m" or "1/5s"')
    return Rate(int(match[1]), seconds(f"{match[2] or 1}{match[3]}"))


def rate_limited(flow: AnyFlow, rate: str, *, per: str = "tenant", key: str = "", patience: float | str = "1h") -> AnyFlow:
    """`flow`, begun at most as often as `rate` says ("10/s", "300/m", "1/5s"); after a rest, that many may begin at once.

    Counted `per` "tenant", "flow" (all tenants together) or "key" (`key` is a CEL expression over the input, counted within the tenant),
    in this engine's process. A call waits its turn, durably, for up to `patience` (0: not at all); past that it fails with OMG-R040.
    """
    flows_of("rate_limited", (flow,), least=1)
    if per not in PER:
        raise DefinitionError("OMG-F003", f"rate_limited counts per {', '.join(PER)}, not per {per!r}")
    if (per == "key") != bool(key):
        raise DefinitionError("OMG-F003", 'a rate limit per "key" takes key="an expression over out", and no other does')
    patience_s = 0.0 if patience in (0, "0", "0s") else seconds(patience)
    body = RateLimited(flow, rate_of(rate), per, Expression(key) if key else None, patience_s)
    return composite(body, flow.input, flow.output)


@rule(RateLimited)
async def _rate_limited(flow: AnyFlow, body: RateLimited, value: Any, trail: Trail, driver: Adapting) -> Any:
    aside = trail.aside(label_of(flow, body.flow))
    key = "" if body.key is None else str(body.key.value(flow.input.plain(value)))[:MAX_KEY]
    turn = await driver.chosen(aside.step("rate"), aside, partial(body.book, key))
    if turn.value < 0:
        raise FlowError("OMG-R040", f"{body.flow.name} may begin {body.rate}, and a turn within {body.patience_s:g} s is not to be had")
    if turn.value:
        await driver.pause(aside.step("pause"), lambda _: turn.value / 1_000_000, aside)
    return await evaluate(body.flow, value, trail, driver)


# -- circuit breaker


CLOSED, PROBE, OPEN = 0, 1, 2
"""How a call meets a circuit: let through; let through to see whether things are better; not let through."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit breaker: closed, open since `opened_us`, or half open while one probe, begun at `probe_us`, is under way.

    States and names after M. Nygard, Release It, 2nd edition, section 5.2. All times are Unix microseconds.
    """

    failures: tuple[int, ...] = ()
    opened_us: int = 0
    probe_us: int = 0

    def admit(self, now_us: int, open_us: int) -> tuple[Circuit, int]:
        """The circuit after one more call asks to go through, and what it is told (CLOSED, PROBE, OPEN).

        A probe that has not reported after `open_us` is given up: its execution may be gone.
        """
        if not self.opened_us:
            return self, CLOSED
        if now_us < self.opened_us + open_us or (self.probe_us and now_us < self.probe_us + open_us):
            return self, OPEN
        return replace(self, probe_us=now_us), PROBE

    def ended(self, now_us: int, *, told: int, failed: bool | None, most: int, within_us: int) -> Circuit:
        """The circuit after a call that was told CLOSED or PROBE has ended; `failed` is None when it proves nothing.

        What was let through before the circuit opened neither closes nor opens it any more.
        """
        if told == PROBE:
            if failed is None:
                return replace(self, probe_us=0)
            return Circuit(opened_us=now_us) if failed else Circuit()
        if self.opened_us or not failed:
            return self
        recent = (*(at for at in self.failures if at > now_us - within_us), now_us)
        return Circuit(opened_us=now_us) if len(recent) >= most else Circuit(recent)


@dataclass(frozen=True, slots=True)
class Breaker(Body):
    """Not tried for `open_s` seconds once it has failed `failures` times within `within_s` seconds; then `otherwise`, or OMG-R041."""

    kind: ClassVar[str] = "breaker"
    flow: AnyFlow
    failures: int
    within_s: float
    open_s: float
    otherwise: AnyFlow | None

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,) if self.otherwise is None else (self.flow, self.otherwise)

    def parameters(self) -> Mapping[str, Any]:
        return {"failures": self.failures, "within_s": self.within_s, "open_s": self.open_s, "otherwise": self.otherwise is not None}

    def admit(self, here: Here) -> tuple[int, str]:
        """Whether the next call goes through."""
        key = self._key(here)
        circuit, told = here.memory.circuits.get(key).admit(here.now_us, _us(self.open_s))
        here.memory.circuits.put(key, circuit)
        return told, ("closed", "half open: one is let through to see", "open")[told]

    def ended(self, told: int, failed: bool | None, here: Here) -> str:
        """Take in how a call that went through has ended."""
        key = self._key(here)
        circuit = here.memory.circuits.get(key)
        here.memory.circuits.put(
            key, circuit.ended(here.now_us, told=told, failed=failed, most=self.failures, within_us=_us(self.within_s))
        )
        return ""

    def _key(self, here: Here) -> str:
        return f"{self.flow.digest} {self.failures} {self.within_s} {self.open_s} {here.tenant}"


MAX_FAILURES = 1_000
"""Most failures that a breaker counts: each is remembered by its time."""


def breaker(
    flow: AnyFlow, *, failures: int = 5, within: float | str = "1m", open_for: float | str = "30s", otherwise: AnyFlow | None = None
) -> AnyFlow:
    """`flow`, not called for `open_for` once it has failed `failures` times within `within`; then one call is let through to see.

    Meanwhile `otherwise` on the same input, or OMG-R041. Counted per tenant in this engine's process. Denials, waits and steps in doubt
    are no failures.
    """
    flows_of("breaker", (flow,), least=1)
    if not 1 <= failures <= MAX_FAILURES:
        raise DefinitionError("OMG-F003", f"breaker of {flow.name}: failures must be between 1 and {MAX_FAILURES:,}")
    body = Breaker(flow, failures, seconds(within), seconds(open_for), otherwise)
    if otherwise is None:
        return composite(body, flow.input, flow.output)
    flows_of("breaker", (otherwise,), least=1)
    return composite(body, common_input("breaker", body.children), either(body.children))


@rule(Breaker)
async def _breaker(flow: AnyFlow, body: Breaker, value: Any, trail: Trail, driver: Adapting) -> Any:
    aside = trail.aside(label_of(flow, body.flow))
    turn = await driver.chosen(aside.step("breaker"), aside, body.admit)
    if turn.value == OPEN:
        if body.otherwise is not None:
            return await evaluate(body.otherwise, value, trail, driver)
        raise FlowError(
            "OMG-R041", f"{body.flow.name} failed {body.failures} times within {body.within_s:g} s and is left alone for a while"
        )
    work = work_of(body.flow, value, driver)
    if not turn.fresh:  # what it came to was counted when it came
        return await work(trail)
    seen = await driver.observed(work(trail))
    await driver.learned("", partial(body.ended, turn.value, seen.failed))
    return seen.unwrap()


# -- the choice among equivalent flows


@dataclass(frozen=True, slots=True)
class Optimize(Body):
    """One of `flows`, which mean the same: the one nearest to `goal` by what was measured, in at most `explore` of all calls another.

    `score` (a pure flow from the output to a number in [0, 1]) measures quality.
    """

    kind: ClassVar[str] = "optimize"
    flows: tuple[AnyFlow, ...]
    goal: Goal
    explore: float
    score: AnyFlow | None

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return self.flows if self.score is None else (*self.flows, self.score)

    def parameters(self) -> Mapping[str, Any]:
        return {"goal": self.goal.record(), "explore": self.explore, "score": self.score is not None}

    def choose(self, digest: str, here: Here) -> tuple[int, str]:
        """The flow to take now, by its index, and why."""
        known = self._known(digest, here)
        after, index, exploring = known.begin(self.goal, self.explore, here.chance)
        here.memory.arms.put(f"{digest} {here.tenant}", after)
        return index, reason([part.name for part in self.flows], known, index, exploring, self.goal)

    def take(self, digest: str, index: int, measure: Measure, here: Here) -> str:
        """Take in how the flow `index` went; gives the measurement as it is recorded."""
        known = self._known(digest, here).take(index, measure)
        here.memory.arms.put(f"{digest} {here.tenant}", known)
        return measure.record(digest, index)

    def _known(self, digest: str, here: Here) -> Arms:
        """What is remembered; the first time, what earlier engines recorded."""
        key = f"{digest} {here.tenant}"
        if key in here.memory.arms:
            return here.memory.arms.get(key)
        arms = [Arm()] * len(self.flows)
        for index, measure in here.history(digest):
            if 0 <= index < len(arms):
                arms[index] = replace(arms[index].take(measure), begun=arms[index].begun + 1)
        return Arms(tuple(arms), sum(arm.begun for arm in arms))


def optimize(*flows: AnyFlow, goal: str | Mapping[str, float] = "cost", explore: float = 0.1, score: AnyFlow | None = None) -> AnyFlow:
    """One of `flows`, all of the same types: the best by measured "cost", "latency" or "quality", or by weights of these.

    Each is taken once; then the best one, but in at most `explore` of all calls another, for what was measured grows old. `score`, a pure
    flow from their output to a number in [0, 1], says what quality is; a goal that weighs quality needs one. Which was taken, and why, is
    on record; measurements are remembered per tenant, and read back from the journal by the next engine.
    """
    flows_of("optimize", flows, least=2)
    if len(flows) > MAX_CHOICES:
        raise DefinitionError("OMG-F003", f"optimize chooses among 2 to {MAX_CHOICES} flows, not {len(flows)}")
    for part in flows[1:]:
        _same_types(flows[0], part)
    wanted = goal_of(goal)
    if not 0 <= explore <= 1:
        raise DefinitionError("OMG-F003", f"optimize explores a share between 0 and 1, not {explore!r}")
    if wanted.quality and score is None:
        raise DefinitionError("OMG-F003", "a goal that weighs quality takes score=, a pure flow from the output to a number in [0, 1]")
    if score is not None:
        _is_score(flows[0], score)
    return composite(Optimize(flows, wanted, explore, score), flows[0].input, flows[0].output)


MAX_CHOICES = 64
"""Most flows that one `optimize` chooses among: each takes a share of the calls before anything is known of it."""


@rule(Optimize)
async def _optimize(flow: AnyFlow, body: Optimize, value: Any, trail: Trail, driver: Adapting) -> Any:
    aside = trail.aside(flow.name)
    turn = await driver.chosen(aside.step("optimize"), aside, partial(body.choose, flow.digest))
    work = evaluate(body.flows[turn.value], value, trail, driver)
    seen = await driver.observed(work) if turn.fresh else Observation(result=await work)
    quality = None
    if body.score is not None and seen.error is None:
        quality = await evaluate(body.score, seen.result, aside, driver)
        if not 0 <= quality <= 1:
            raise FlowError("OMG-R001", f"{body.score.name} scored {quality:g}, which is not between 0 and 1")
    if turn.fresh and seen.failed is not None:
        measure = Measure(failed=seen.failed, cost_micros=seen.spent.cost_micros, took_us=seen.took_us, quality=quality)
        await driver.learned(aside.step("measured"), partial(body.take, flow.digest, turn.value, measure))
    return seen.unwrap()


# -- what fits


def _same_types(first: AnyFlow, other: AnyFlow) -> None:
    for left, right, what in ((first.input, other.input, "takes"), (first.output, other.output, "gives")):
        if not (left.fits(right) and right.fits(left)):
            raise DefinitionError(
                "OMG-F001",
                f"optimize chooses among flows that mean the same: {first.name} {what} {left.name}, {other.name} {what} {right.name}",
                details={"left": first.name, "left_at": first.where, "right": other.name, "right_at": other.where},
            )


def _is_score(first: AnyFlow, score: AnyFlow) -> None:
    flows_of("optimize", (score,), least=1)
    if score.effect is not Effect.PURE:
        raise DefinitionError("OMG-F003", f"{score.name} scores but is a {score.effect.value}: measuring must not touch anything")
    if not first.output.fits(score.input) or not assignable(score.output.annotation, float):
        raise DefinitionError(
            "OMG-F001",
            f"{first.name} gives {first.output.name}; {score.name} scores {score.input.name} with {score.output.name}, not float",
            details={"left": first.name, "right": score.name},
        )


def _us(seconds_: float) -> int:
    return round(seconds_ * 1_000_000)
