"""Combinators that do the same again: in rounds, in chunks, in executions of their own, later; and those that bring many results together.

    loop       loop(a, while_="out.open > 0", most=20)   a on its own result, as long as the predicate holds
    batch      batch(a, size=100)                        a, which takes a list, on 100 items at a time
    reduce     reduce(a)                                 one value from a list, two at a time, from the left
    gather     gather(a, b, reducer=c)                   a and b on the same input, then c on what they gave
    scatter    scatter(a, queue="render")                a on each item of a list, each as an execution of its own
    delay      a.delayed("5m")                           a, after a while

Raises DefinitionError as `omega.kernel.compose` does: OMG-F001 for types that do not fit, OMG-F003 for what cannot be meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args, get_origin

from omega.kernel.compose import (
    AT_ONCE,
    MAX_ITEMS,
    AnyFlow,
    check_join,
    composite,
    flows_of,
    parallel,
    predicate_of,
    seconds,
    sequence,
    spelled,
    union_of,
)
from omega.kernel.definition import Body, Flow
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError, FlowError
from omega.kernel.evaluate import Branch, Driver, evaluate, rule
from omega.kernel.expressions import Expression
from omega.kernel.queueing import MAX_NAME
from omega.kernel.trail import Trail
from omega.kernel.types import Type, assignable, type_of

MAX_ROUNDS = 10_000
"""Most rounds that a loop may be allowed: each leaves its steps in the journal."""

ROUNDS = 100
"""Rounds of a loop unless told otherwise: a loop that should have ended costs little."""


@dataclass(frozen=True, slots=True)
class Loop(Body):
    """A flow on its own result as long as a predicate holds for it, at most `most` times."""

    kind: ClassVar[str] = "loop"
    predicate: Expression | AnyFlow
    flow: AnyFlow
    most: int

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.predicate, self.flow) if isinstance(self.predicate, Flow) else (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"while": spelled(self.predicate), "most": self.most}


@dataclass(frozen=True, slots=True)
class Batch(Body):
    """A flow from list to list on `size` items at a time."""

    kind: ClassVar[str] = "batch"
    flow: AnyFlow
    size: int
    at_once: int

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"size": self.size, "at_once": self.at_once}


@dataclass(frozen=True, slots=True)
class Reduce(Body):
    """One value from many, two at a time from the left. `start` holds the plain value to begin with, or nothing: the first item."""

    kind: ClassVar[str] = "reduce"
    flow: AnyFlow
    start: tuple[Any, ...]

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"start": list(self.start)}


@dataclass(frozen=True, slots=True)
class Scatter(Body):
    """The same flow on each item, each time as an execution of its own, taken up by the workers of `queue` (empty: right here)."""

    kind: ClassVar[str] = "scatter"
    waits: ClassVar[bool] = True
    flow: AnyFlow
    queue: str
    at_once: int

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"queue": self.queue, "at_once": self.at_once}


@dataclass(frozen=True, slots=True)
class Delay(Body):
    """A flow, begun `delay_s` seconds later."""

    kind: ClassVar[str] = "delay"
    waits: ClassVar[bool] = True
    flow: AnyFlow
    delay_s: float

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"delay_s": self.delay_s}


# -- making them


def loop(flow: AnyFlow, *, while_: str | AnyFlow, most: int = ROUNDS) -> AnyFlow:
    """`flow` on its own result, as long as `while_` (CEL over `out`, or a pure flow that gives a bool) holds for the value at hand.

    The predicate is asked before each round, so there may be none. Where it still holds after `most` rounds the loop fails (OMG-R016).
    """
    (part,) = flows_of("loop", (flow,), least=1)
    if not 1 <= most <= MAX_ROUNDS:
        raise DefinitionError("OMG-F003", f"loop of {part.name}: most must be between 1 and {MAX_ROUNDS:,}")
    check_join(part, part)
    asked = predicate_of("loop", while_, bool)
    if isinstance(asked, Flow):
        flows_of("loop", (asked,), least=1)
        _check_fits(part.name, "hands on", part.input, asked)
    return composite(Loop(asked, part, most), part.input, union_of(part.input, part.output))


def batch(flow: AnyFlow, *, size: int, at_once: int = AT_ONCE) -> AnyFlow:
    """`flow`, which takes a list and gives one of the same length, on `size` items at a time, `at_once` batches at the same time.

    The output is the list of all results in order, as if `flow` had been handed the whole list. A batch that is answered with another
    number of results than it has items fails (OMG-R030): nobody could tell which result belongs to which item.
    """
    (part,) = flows_of("batch", (flow,), least=1)
    for what, kind in (("takes", part.input), ("gives", part.output)):
        if _item(kind) is None:
            raise DefinitionError("OMG-F001", f"batch hands on lists, {part.name} {what} {kind.name}")
    for name, given in (("size", size), ("at_once", at_once)):
        if not 1 <= given <= MAX_ITEMS:
            raise DefinitionError("OMG-F003", f"batch of {part.name}: {name} must be between 1 and {MAX_ITEMS:,}")
    return composite(Batch(part, size, at_once), part.input, part.output)


FIRST: Any = object()
"""Begin with the first item: None could be a value to begin with."""


def reduce(flow: AnyFlow, *, start: Any = FIRST) -> AnyFlow:
    """One value from a list: `flow` takes the value so far and the next item, as a pair, and gives the next value.

    It goes from the left, in the order of the list, beginning with `start`, or with the first item where there is none; then an empty
    list fails (OMG-R001).
    """
    (part,) = flows_of("reduce", (flow,), least=1)
    pair = _pair(part.input)
    if pair is None:
        raise DefinitionError("OMG-F001", f"reduce hands on pairs, {part.name} takes {part.input.name}")
    return _folded("reduce", part, pair, pair[1], type_of(list[pair[1]]), start)  # type: ignore[valid-type]


def gather(*flows: AnyFlow, reducer: AnyFlow, start: Any = FIRST) -> AnyFlow:
    """`flows` at the same time on the same input, and what they gave brought together by the pure flow `reducer`; see `gathered`."""
    return gathered(parallel(*flows), reducer, start=start)


def gathered(whole: AnyFlow, reducer: AnyFlow, *, start: Any = FIRST) -> AnyFlow:
    """`whole`, which gives a tuple or list, and then `reducer`: on all of it at once, or two at a time if it takes a pair.

    `reducer` is pure. One that takes a pair is applied in the order of the results, from the left, whatever order they came in, so it
    need not be commutative. `start` is the value that it begins with.
    """
    whole, part = flows_of("gather", (whole, reducer), least=2)
    if part.effect is not Effect.PURE:
        raise DefinitionError("OMG-F003", f"{part.name} brings results together but is a {part.effect.value}: put it after, as a step")
    if start is FIRST and whole.output.fits(part.input):
        return sequence(whole, part).named("gather")
    pair, items = _pair(part.input), _items(whole.output)
    if pair is None or items is None:
        check_join(whole, part)
        raise DefinitionError("OMG-F003", f"{part.name} takes everything at once and needs no start")
    if not assignable(items.annotation, pair[1]):
        check_join(whole, part)
        raise DefinitionError("OMG-F001", f"{whole.name} gives {whole.output.name}, {part.name} takes {part.input.name}")
    return sequence(whole, _folded("gather", part, pair, items.annotation, whole.output, start)).named("gather")


def scatter(flow: AnyFlow, *, queue: str = "", at_once: int = AT_ONCE) -> AnyFlow:
    """`flow` on each item of a list, each as an execution of its own; the output is the list of results in the items' order.

    With `queue`, any worker of that queue takes them up, on whatever host, and this execution stands still until they have ended; without,
    they run in this very engine. At most `at_once` are under way at the same time. The first failure cancels the others and is raised.
    """
    (part,) = flows_of("scatter", (flow,), least=1)
    if not 1 <= at_once <= MAX_ITEMS:
        raise DefinitionError("OMG-F003", f"scatter of {part.name}: at_once must be between 1 and {MAX_ITEMS:,}")
    if len(queue) > MAX_NAME:
        raise DefinitionError("OMG-F003", f"scatter of {part.name}: the name of a queue has at most {MAX_NAME} characters")
    return composite(Scatter(part, queue, at_once), type_of(list[part.input.annotation]), type_of(list[part.output.annotation]))  # type: ignore[name-defined]


def delay(flow: AnyFlow, duration: float | str) -> AnyFlow:
    """`flow`, begun after `duration` (seconds, or "500ms", "30s", "2m", "1h"). The moment is recorded: a crash does not make it later."""
    (part,) = flows_of("delay", (flow,), least=1)
    return composite(Delay(part, seconds(duration)), part.input, part.output)


def _folded(kind: str, part: AnyFlow, pair: tuple[Any, Any], item: Any, source: Type, start: Any) -> AnyFlow:
    """The reduction of `source`, whose items are of the annotation `item`, by `part`, whose input is `pair`."""
    so_far = type_of(pair[0])
    _check_fits(part.name, "gives", part.output, part, so_far)
    if start is FIRST:
        _check_fits(f"{kind} without a start", "begins with", type_of(item), part, so_far)
        return composite(Reduce(part, ()), source, union_of(part.output, type_of(item)))
    return composite(Reduce(part, (part.output.plain(part.output.read(start)),)), source, part.output)


def _check_fits(left: str, how: str, given: Type, right: AnyFlow, wanted: Type | None = None) -> None:
    wanted = right.input if wanted is None else wanted
    if not given.fits(wanted):
        raise DefinitionError(
            "OMG-F001",
            f"{left} {how} {given.name}, {right.name} takes {wanted.name}",
            details={"left": left, "gives": given.name, "right": right.name, "right_at": right.where, "takes": wanted.name},
        )


def _item(kind: Type) -> Any:
    """The annotation of a list's items; None for what is no list."""
    if kind.annotation is Any or kind.annotation is list:
        return Any
    return get_args(kind.annotation)[0] if get_origin(kind.annotation) is list else None


def _items(kind: Type) -> Type | None:
    """What the items of a list or tuple have in common; None for what is neither."""
    if get_origin(kind.annotation) is tuple:
        return union_of(*(type_of(each) for each in get_args(kind.annotation) if each is not Ellipsis))
    item = _item(kind)
    return None if item is None else type_of(item)


def _pair(kind: Type) -> tuple[Any, Any] | None:
    """The annotations of a pair; None for what is none."""
    if kind.annotation is Any:
        return Any, Any
    parts = get_args(kind.annotation)
    return (parts[0], parts[1]) if get_origin(kind.annotation) is tuple and len(parts) == 2 and Ellipsis not in parts else None


# -- what they mean


@rule(Loop)
async def _loop(flow: AnyFlow, body: Loop, value: Any, trail: Trail, driver: Driver) -> Any:
    """Each round is a branch of its own: its steps have the same places whatever the rounds before it did."""
    position = trail.step(flow.name)
    for count in range(body.most + 1):
        inside = trail.branch(position, count)
        inside.last = trail.last
        if not await _holds(body.predicate, flow.input, value, inside, driver):
            return value
        if count < body.most:
            value = await evaluate(body.flow, value, inside, driver)
            trail.last = inside.last
    raise FlowError(
        "OMG-R016", f"{flow.name} of {body.flow.name} goes on after {body.most:,} rounds", advice="raise most=, or mend while_="
    )


async def _holds(predicate: Expression | AnyFlow, kind: Type, value: Any, trail: Trail, driver: Driver) -> bool:
    if isinstance(predicate, Expression):
        return predicate.holds(kind.plain(value))
    return bool(await evaluate(predicate, value, trail, driver))


@rule(Batch)
async def _batch(flow: AnyFlow, body: Batch, value: Any, trail: Trail, driver: Driver) -> Any:
    chunks = [value[start : start + body.size] for start in range(0, len(value), body.size)]
    if len(chunks) > MAX_ITEMS:
        raise FlowError("OMG-R016", f"{flow.name} got {len(chunks):,} batches, the limit is {MAX_ITEMS:,}")
    parts = await driver.all_of(trail.step(flow.name), [_chunk(body, chunk, driver) for chunk in chunks], trail, body.at_once)
    return [result for part in parts for result in part]


def _chunk(body: Batch, items: list[Any], driver: Driver) -> Branch:
    async def work(trail: Trail) -> Any:
        results = await evaluate(body.flow, items, trail, driver)
        got = len(results) if isinstance(results, list) else type(results).__name__
        if got != len(items):
            raise FlowError("OMG-R030", f"{body.flow.name} was handed {len(items)} items and gave {got} results")
        return results

    return work


@rule(Reduce)
async def _reduce(flow: AnyFlow, body: Reduce, value: Any, trail: Trail, driver: Driver) -> Any:
    items = list(value)
    if len(items) > MAX_ITEMS:
        raise FlowError("OMG-R016", f"{flow.name} got {len(items):,} items, the limit is {MAX_ITEMS:,}")
    if not items and not body.start:
        raise FlowError("OMG-R001", f"{flow.name} of {body.flow.name} got nothing to begin with", advice="give it a start=")
    inside = trail.branch(trail.step(flow.name), 0)
    so_far = body.flow.output.read(body.start[0]) if body.start else items.pop(0)
    for item in items:
        so_far = await evaluate(body.flow, (so_far, item), inside, driver)
    return so_far


@rule(Scatter)
async def _scatter(flow: AnyFlow, body: Scatter, value: Any, trail: Trail, driver: Driver) -> Any:
    if len(value) > MAX_ITEMS:
        raise FlowError("OMG-R016", f"{flow.name} got {len(value):,} items, the limit is {MAX_ITEMS:,}")
    return await driver.children(trail.step(flow.name), body.flow, list(value), body.queue, body.at_once, trail)


@rule(Delay)
async def _delay(flow: AnyFlow, body: Delay, value: Any, trail: Trail, driver: Driver) -> Any:
    await driver.pause(trail.step("delay"), lambda chance: body.delay_s, trail)
    return await evaluate(body.flow, value, trail, driver)
