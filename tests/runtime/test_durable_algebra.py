"""The laws of the combinators, in durable runs: random flows mean the same as in a direct run, and their replay is identical."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega import (
    Budget,
    Denied,
    Err,
    Ok,
    OmegaError,
    attempt,
    batch,
    cache,
    flow,
    foreach,
    gather,
    loop,
    parallel,
    race,
    reduce,
    saga,
    scatter,
    switch,
    timeout,
    when,
)
from omega.kernel.definition import Flow
from omega.kernel.direct import run_direct
from omega.kernel.errors import UpstreamError
from omega.kernel.expressions import Expression
from omega.kernel.journal import Kind
from omega.kernel.ports import Outcome
from omega.testing import run_virtual
from runtime.flows import add, broken, code, double, fails, lab, look, touched

Any_Flow = Flow[Any, Any]

FEW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@flow
def wrap(n: int) -> int:
    return n % 97


@flow
def spread(n: int) -> list[int]:
    return [n, n + 1, n + 2]


@flow
def total(items: list[int]) -> int:
    return sum(items) % 1009


@flow
def plus(pair: tuple[int, int]) -> int:
    return (pair[0] + pair[1]) % 1009


@flow
def each(items: list[int]) -> list[int]:
    return [n + 3 for n in items]


@flow
def value_of(result: Ok[int] | Err) -> int:
    return result.value if isinstance(result, Ok) else -1


@flow
def undone(pair: tuple[int, int]) -> None:
    return None


EVEN, LARGE, LOW = Expression("out % 2 == 0"), Expression("out > 5 ? 'a' : 'b'"), Expression("out < 30")
"""Compiled here, since loading the library of expressions draws random numbers, which a strategy must not."""

LEAVES = st.sampled_from([add, double, wrap, look, broken, fails])


def composites(parts: st.SearchStrategy[Any_Flow]) -> st.SearchStrategy[Any_Flow]:
    """One more combinator around flows from int to int, again from int to int."""
    pair = st.tuples(parts, parts)
    return st.one_of(
        pair.map(lambda two: two[0] | two[1]),
        pair.map(lambda two: parallel(*two) | plus),
        pair.map(lambda two: gather(*two, reducer=plus)),
        pair.map(lambda two: when(EVEN.source, then=two[0], otherwise=two[1])),
        pair.map(lambda two: switch(LARGE.source, {"a": two[0], "b": two[1]})),
        pair.map(lambda two: two[0].fallback(two[1])),
        pair.map(lambda two: saga((two[0], undone), two[1])),
        parts.map(race),
        parts.map(lambda part: part.retry(2, backoff_s=0.1)),
        parts.map(lambda part: timeout(part, 1_000)),
        parts.map(lambda part: cache(part) if part.effect.rank == 0 else part),
        parts.map(lambda part: loop(part | wrap, while_=LOW.source, most=3) | wrap),
        parts.map(lambda part: spread | foreach(part, at_once=2) | total),
        parts.map(lambda part: spread | foreach(part) | reduce(plus, start=1)),
        parts.map(lambda part: spread | batch(each, size=2) | total | part),
        parts.map(lambda part: attempt(part) | value_of),
        parts.map(lambda part: part.delayed("1s")),
    )


FLOWS = st.recursive(LEAVES, composites, max_leaves=6)


def answer(flow_name: str, n: int) -> int:
    if flow_name == "fails":
        raise UpstreamError("OMG-P002", "it failed")
    return n + 1


FAILED = object()
"""What a run gives that gives nothing: which of several branches fails first is a matter of time, and a direct run has none."""


def directly(whole: Any_Flow, value: int) -> Any:
    """What a direct run gives."""
    try:
        return run_direct(whole, value, {name: partial(answer, name) for name in ("look", "fails")})
    except (OmegaError, ValueError):
        return FAILED


def given_by(outcome: Outcome) -> Any:
    """What a durable run gave."""
    assert outcome.status in ("done", "failed"), outcome
    return outcome.value if outcome.status == "done" else FAILED


@pytest.mark.promise("FLOW-48")
@FEW
@given(FLOWS, st.integers(0, 40))
def test_a_durable_run_means_what_a_direct_one_means_and_replays(whole: Any_Flow, value: int) -> None:
    expected = directly(whole, value)

    async def run() -> None:
        world = lab()
        done = await world.run(whole, value)
        assert given_by(done) == expected, list(world.past(done.execution).at)
        report = await world.replay(done.execution, whole)
        assert report.identical, report.divergence

    run_virtual(run())


@FEW
@given(FLOWS, st.integers(0, 40), st.integers(0, 12))
def test_a_run_that_died_anywhere_ends_as_if_it_had_not(whole: Any_Flow, value: int, lived: int) -> None:
    """The machine dies after `lived` rows of the journal are on disk; another engine goes on from there."""
    expected = directly(whole, value)

    async def run() -> None:
        world = lab()
        kept = [world.store.snapshot()]
        commit = world.store.commit

        async def remembered(batch: Any) -> Any:
            done = await commit(batch)
            kept.append(world.store.snapshot())
            return done

        world.store.commit = remembered
        await world.run(whole, value, execution="run")
        for snapshot in kept[1 : lived + 2][-1:]:
            again = lab(start=snapshot, clock=world.clock, seed="next")
            if again.store.line("run") is None:
                continue
            done = await again.resume("run", whole)
            assert given_by(done) == expected
            report = await again.replay("run", whole)
            assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.promise("FLOW-46")
@FEW
@given(st.sampled_from([add, look, add | double, add.retry(2)]), st.lists(st.integers(0, 9), max_size=5), st.integers(1, 3))
def test_scatter_gives_what_foreach_gives(part: Any_Flow, items: list[int], at_once: int) -> None:
    async def run() -> None:
        world = lab()
        done = await world.run(scatter(part, at_once=at_once), items, execution="run")
        assert done.status == "done", done.error
        assert done.value == (await world.run(foreach(part), items)).value
        assert sum(row.kind == Kind.CHILD for row in world.store.rows("run")) == len(items)
        report = await world.replay("run", scatter(part, at_once=at_once))
        assert report.identical, report.divergence

    run_virtual(run())


@FEW
@given(FLOWS, FLOWS, st.integers(0, 20))
def test_sequence_is_associative_in_its_records(one: Any_Flow, other: Any_Flow, value: int) -> None:
    async def run() -> None:
        here, there = lab(), lab()
        left, right = ((one | wrap) | other), (one | (wrap | other))
        first, second = await here.run(left, value), await there.run(right, value)
        assert (code(first), first.value) == (code(second), second.value)
        assert list(here.past(first.execution).at) == list(there.past(second.execution).at) and left.digest == right.digest

    run_virtual(run())


@pytest.mark.promise("FLOW-17")
@FEW
@given(FLOWS, st.integers(0, 20), st.integers(1, 6))
def test_no_combinator_spends_more_than_the_budget_of_the_run(whole: Any_Flow, value: int, calls: int) -> None:
    async def run() -> None:
        world = lab()
        done = await world.run(whole, value, budget=Budget(calls=calls))
        assert len(touched(world, "process")) <= calls
        if len(touched(world, "process")) < calls:
            assert given_by(done) == directly(whole, value)

    run_virtual(run())


@pytest.mark.promise("FLOW-17")
@FEW
@given(FLOWS, st.integers(0, 20))
def test_no_combinator_does_what_its_caller_may_not(whole: Any_Flow, value: int) -> None:
    """A caller without the capability touches nothing, whatever stands around the step: a denial is never tried again or worked around."""

    async def run() -> None:
        world = lab()
        may_not = world.scope(capabilities=("flows:run", "files:write"))
        if whole.needs:
            with pytest.raises(Denied):
                await world.run(whole, value, scope=may_not)
        else:
            assert given_by(await world.run(whole, value, scope=may_not)) == directly(whole, value)
        assert touched(world, "process") == []

    run_virtual(run())


@pytest.mark.promise("FLOW-09")
@FEW
@given(st.lists(st.integers(1, 50), min_size=1, max_size=5, unique=True), st.booleans())
def test_a_race_takes_as_long_as_its_winner_and_cancels_the_losers(delays: list[int], with_a_loser_that_fails: bool) -> None:
    async def run() -> None:
        world = lab()
        runners = [tagged(index).delayed(seconds) for index, seconds in enumerate(delays)]
        whole = race(*runners, *([broken] if with_a_loser_that_fails else []))
        done = await world.run(whole, 0)
        assert done.value == delays.index(min(delays)) and world.clock.monotonic() == pytest.approx(min(delays), abs=0.1)
        ran = [position for position in world.past(done.execution).at if position.endswith("/tagged")]
        assert len(ran) == 1 and (await world.replay(done.execution, whole)).identical

    run_virtual(run())


@pytest.mark.promise("FLOW-13")
@FEW
@given(st.integers(1, 20), st.integers(1, 20))
def test_a_time_limit_bounds_what_stands_inside(takes: int, limit: int) -> None:
    async def run() -> None:
        world = lab()
        whole = timeout(add.delayed(takes), limit + 0.5, otherwise=double)
        done = await world.run(whole, 10)
        assert done.value == (11 if takes <= limit else 20)
        assert world.clock.monotonic() == pytest.approx(min(takes, limit + 0.5), abs=0.1)
        assert (await world.replay(done.execution, whole)).identical

    run_virtual(run())


@pytest.mark.promise("FLOW-12")
@FEW
@given(st.integers(0, 6), st.integers(1, 6))
def test_a_retry_tries_as_often_as_it_must_and_no_more_than_it_may(failures: int, attempts: int) -> None:
    tries: list[int] = []

    @flow
    def moody(n: int) -> int:
        tries.append(n)
        if len(tries) <= failures:
            raise ValueError("not yet")
        return n

    async def run() -> None:
        world = lab()
        done = await world.run(moody.retry(attempts, backoff_s=1, factor=1), 7)
        assert len(tries) == min(failures + 1, attempts) and (done.status == "done") == (failures < attempts)
        assert world.clock.monotonic() <= len(tries) - 1

    run_virtual(run())


def tagged(index: int) -> Any_Flow:
    @flow
    def tagged(n: int) -> int:
        return index

    return tagged


def test_a_loop_leaves_the_rows_of_its_rounds_written_out() -> None:
    async def run() -> None:
        world = lab()
        looped = await world.run(loop(look | double, while_="out < 20"), 1)
        unrolled = await world.run(look | double | look | double | look | double, 1)
        assert looped.value == unrolled.value == 22
        names = [position.rpartition("/")[2] for position in world.past(looped.execution).at]
        assert names == ["look", "double"] * 3 and {path.partition("/")[0] for path in world.past(looped.execution).at} == {
            "loop.0",
            "loop.1",
            "loop.2",
        }

    run_virtual(run())


@pytest.mark.promise("FLOW-42")
def test_gathering_takes_results_in_the_order_written_whatever_order_they_came_in() -> None:
    @flow
    def joined(pair: tuple[str, int]) -> str:
        return f"{pair[0]}{pair[1]}"

    async def run() -> None:
        world = lab()
        whole = gather(look.delayed(3), add.delayed(2), double.delayed(1), reducer=joined, start="")
        done = await world.run(whole, 4)
        assert done.value == "558" and (await world.replay(done.execution, whole)).identical

    run_virtual(run())


def test_a_delay_is_not_made_longer_by_a_crash() -> None:
    async def run() -> None:
        world = lab()
        whole = look | add.delayed("1h")
        began = world.clock.monotonic()
        await world.engine.start(whole, 1, world.scope(), execution="run")
        await world.clock.sleep(1_800)
        await world.engine.close()
        await world.store.flush()
        again = lab(start=world.store.snapshot(), clock=world.clock, seed="next")
        assert (await again.resume("run", whole)).value == 3
        assert 3_600 <= world.clock.monotonic() - began < 3_602

    run_virtual(run())
