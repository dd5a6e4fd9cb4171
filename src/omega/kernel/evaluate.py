"""What may happen next: the meaning of every combinator, written once.

`evaluate` walks a flow with a `Driver`, which does what needs a world: run a leaf, open branches, wait. The runtime's driver journals and
gates (`omega.runtime.execution`), the direct one just runs (`omega.kernel.direct`), a replaying one only reads. No clock, no randomness,
no I/O here: whatever could come out differently a second time is decided by the driver, which records it and repeats it ever after.

The meaning of one kind of body is a *rule*, registered beside the body with `@rule(Body)`; the rules of `omega.kernel.compose` are here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from omega.kernel import compose
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Body
from omega.kernel.errors import FlowError, InputError, IntegrityError, OmegaError, StorageError, Suspended, UpstreamError
from omega.kernel.expressions import Expression
from omega.kernel.trail import Trail

NOT_TRIED_AGAIN = frozenset(
    {"OMG-R002", "OMG-R003", "OMG-R005", "OMG-R006", "OMG-R008", "OMG-R009", "OMG-R013", "OMG-R014", "OMG-R015", "OMG-R016", "OMG-R031"}
)
"""Failures that a second attempt cannot mend, or must not hide."""

Branch = Callable[[Trail], Awaitable[Any]]
"""Work to be done in a branch of its own."""


class Driver(Protocol):
    """What evaluation needs of the world around it."""

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail) -> Any:
        """Run one leaf as a step of `trail`."""
        ...

    async def all_of(self, position: str, branches: Sequence[Branch], trail: Trail, at_once: int) -> list[Any]:
        """Run all branches, at most `at_once` at a time; their results in order. The first failure cancels the rest and is raised."""
        ...

    async def first_of(self, position: str, branches: Sequence[Branch], trail: Trail) -> Any:
        """The result of the first branch to succeed; the others are cancelled. Raises OMG-R007 when every one failed."""
        ...

    async def within(self, position: str, limit_s: float, work: Branch, trail: Trail, aside: Trail) -> tuple[bool, Any]:
        """(True, result) of `work` in the branch `aside`, or (False, None) when it took longer than `limit_s`."""
        ...

    async def pause(self, position: str, delay: Callable[[float], float], trail: Trail) -> None:
        """Wait `delay(chance)` seconds, durably: `chance` in [0, 1) is drawn once and recorded."""
        ...

    async def cached(self, position: str, flow: AnyFlow, value: Any, ttl_s: float, work: Branch, trail: Trail) -> Any:
        """The kept result of `flow` for `value`, else that of `work` in `trail` itself, which is kept."""
        ...

    async def children(self, position: str, flow: AnyFlow, values: Sequence[Any], queue: str, at_once: int, trail: Trail) -> list[Any]:
        """`flow` on each of `values` as an execution of its own, worked off from `queue` (empty: here); at most `at_once` at a time.
        Results in order; the first failure is raised, and the other children are cancelled."""
        ...

    async def undoable(self, position: str, work: Branch, undo: Branch, trail: Trail, aside: Trail, back: Trail) -> Any:
        """The result of `work` in the branch `aside`.

        When it fails, or is cancelled, that is decided once and for all; then `undo` runs in the branch `back`, to its end whatever is
        cancelled meanwhile, and the failure is raised again. After a crash in between, `work` is walked over its records alone before
        `undo` goes on. Raises what `undo` raises where that fails too.
        """
        ...


Rule = Callable[[AnyFlow, Any, Any, Trail, Any], Awaitable[Any]]
"""The meaning of one kind of body: (flow, its body, value, trail, driver) to the result. A rule says which `Driver` it takes."""

AnyRule = TypeVar("AnyRule", bound=Rule)

_RULES: dict[type[Body], Rule] = {}


def rule(body: type[Body]) -> Callable[[AnyRule], AnyRule]:
    """Register the decorated coroutine function as the meaning of `body`, which stands in the same module or below it.

    A body without a rule is a leaf. Raises TypeError for a second rule: a body means one thing.
    """

    def register(function: AnyRule) -> AnyRule:
        if body in _RULES:
            raise TypeError(f"{body.__name__} already has a rule")
        _RULES[body] = function
        return function

    return register


async def evaluate(flow: AnyFlow, value: Any, trail: Trail, driver: Driver) -> Any:
    """The result of `flow` for `value`, with `driver` doing what touches the world. Raises what the flow raises."""
    meaning = _RULES.get(type(flow.body))
    if meaning is None:
        return await driver.leaf(flow, value, trail)
    return await meaning(flow, flow.body, value, trail, driver)


def is_failure(error: OmegaError) -> bool:
    """Whether `error` is an ordinary failure, which retries and fallbacks may answer; denials, waits and doubts are not."""
    return isinstance(error, (FlowError, UpstreamError)) and error.code not in NOT_TRIED_AGAIN


def is_repairable(error: OmegaError) -> bool:
    """Whether a fallback may stand in: every failure, and bad input that the flow itself produced."""
    return is_failure(error) or isinstance(error, InputError)


def has_outcome(error: OmegaError) -> bool:
    """Whether `error` settles a step: waits, doubts, a lost lease, a broken store and a changed flow leave it open."""
    return not isinstance(error, (Suspended, StorageError, IntegrityError)) and error.code not in ("OMG-R014", "OMG-R015", "OMG-R009")


def work_of(part: AnyFlow, value: Any, driver: Driver) -> Branch:
    """`part` on `value` as the work of a branch."""

    async def work(trail: Trail) -> Any:
        return await evaluate(part, value, trail, driver)

    return work


def label_of(flow: AnyFlow, part: AnyFlow) -> str:
    """A wrapper without a name of its own goes by what it wraps: `bandit`, not `retry`."""
    return part.name if flow.name == flow.body.kind else flow.name


@rule(compose.Sequence)
async def _sequence(flow: AnyFlow, body: compose.Sequence, value: Any, trail: Trail, driver: Driver) -> Any:
    for part in body.flows:
        value = await evaluate(part, value, trail, driver)
    return value


@rule(compose.Parallel)
async def _parallel(flow: AnyFlow, body: compose.Parallel, value: Any, trail: Trail, driver: Driver) -> Any:
    branches = [work_of(part, value, driver) for part in body.flows]
    return tuple(await driver.all_of(trail.step(flow.name), branches, trail, len(branches)))


@rule(compose.Race)
async def _race(flow: AnyFlow, body: compose.Race, value: Any, trail: Trail, driver: Driver) -> Any:
    return await driver.first_of(trail.step(flow.name), [work_of(part, value, driver) for part in body.flows], trail)


@rule(compose.When)
async def _when(flow: AnyFlow, body: compose.When, value: Any, trail: Trail, driver: Driver) -> Any:
    if isinstance(body.predicate, Expression):
        holds = body.predicate.holds(flow.input.plain(value))
    else:
        holds = await evaluate(body.predicate, value, trail, driver)
    chosen = body.then if holds else body.otherwise
    return value if chosen is None else await evaluate(chosen, value, trail, driver)


@rule(compose.Switch)
async def _switch(flow: AnyFlow, body: compose.Switch, value: Any, trail: Trail, driver: Driver) -> Any:
    if isinstance(body.selector, Expression):
        name = body.selector.value(flow.input.plain(value))
    else:
        name = await evaluate(body.selector, value, trail, driver)
    chosen = dict(body.cases).get(str(name), body.default)
    if chosen is None:
        known = ", ".join(sorted(case for case, _ in body.cases))
        raise FlowError("OMG-R001", f"{flow.name} has no case {str(name)[:80]!r} and no default (cases: {known[:200]})")
    return await evaluate(chosen, value, trail, driver)


@rule(compose.Foreach)
async def _foreach(flow: AnyFlow, body: compose.Foreach, value: Any, trail: Trail, driver: Driver) -> Any:
    if len(value) > compose.MAX_ITEMS:
        raise FlowError("OMG-R016", f"{flow.name} got {len(value):,} items, the limit is {compose.MAX_ITEMS:,}")
    branches = [work_of(body.flow, item, driver) for item in value]
    return await driver.all_of(trail.step(flow.name), branches, trail, body.at_once)


@rule(compose.Retry)
async def _retry(flow: AnyFlow, body: compose.Retry, value: Any, trail: Trail, driver: Driver) -> Any:
    """The first attempt is made in the trail itself, each later one beside it."""
    aside = trail.aside(label_of(flow, body.flow))
    attempt = trail
    for failures in range(1, body.attempts):
        try:
            return await evaluate(body.flow, value, attempt, driver)
        except OmegaError as error:
            if not is_failure(error):
                raise
        attempt = aside.branch(aside.path, failures)
        await driver.pause(attempt.step("pause"), partial(body.delay_s, failures), attempt)
    return await evaluate(body.flow, value, attempt, driver)


@rule(compose.Timeout)
async def _timeout(flow: AnyFlow, body: compose.Timeout, value: Any, trail: Trail, driver: Driver) -> Any:
    aside = trail.aside(label_of(flow, body.flow))
    in_time, result = await driver.within(trail.step("timeout"), body.limit_s, work_of(body.flow, value, driver), trail, aside)
    if in_time:
        return result
    if body.otherwise is None:
        raise FlowError("OMG-R004", f"{body.flow.name} took longer than {body.limit_s:g} s")
    return await evaluate(body.otherwise, value, trail, driver)


@rule(compose.Fallback)
async def _fallback(flow: AnyFlow, body: compose.Fallback, value: Any, trail: Trail, driver: Driver) -> Any:
    for part in body.flows[:-1]:
        try:
            return await evaluate(part, value, trail, driver)
        except OmegaError as error:
            if not is_repairable(error):
                raise
    return await evaluate(body.flows[-1], value, trail, driver)


@rule(compose.Cache)
async def _cache(flow: AnyFlow, body: compose.Cache, value: Any, trail: Trail, driver: Driver) -> Any:
    aside = trail.aside(label_of(flow, body.flow))
    return await driver.cached(aside.step("cache"), body.flow, value, body.ttl_s, work_of(body.flow, value, driver), aside)
