"""The mathematics of estimates: on histories that the test wrote, against figures worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.poml.leaves import add, counted, double, send, total, word
from omega.kernel.agents import agent
from omega.kernel.compose import AnyFlow, cache, fallback, foreach, parallel, race, retry, switch, timeout, when
from omega.kernel.poml.estimate import ENOUGH_RUNS, Estimate, estimate
from omega.kernel.poml.history import History, Key, Prices, Run, Sample, spread
from omega.kernel.repeat import loop

ADD, DOUBLE, SEND, COUNTED, TOTAL = ("add", "1.0.0"), ("double", "2.1.0"), ("send", "1.0.0"), ("counted", "1.0.0"), ("total", "1.0.0")


def took(*seconds: float) -> list[Sample]:
    return [Sample(took_s=each) for each in seconds]


def runs(*counts: dict[Key, int]) -> list[Run]:
    return [Run(Sample(), each) for each in counts]


def made(flow: AnyFlow, steps: dict[Key, list[Sample]], known: Sequence[Run] = (), prices: Prices | None = None) -> Estimate:
    return estimate(flow, History(known, steps), prices or Prices(), random.Random(1).random)


def average(flow: AnyFlow, steps: dict[Key, list[Sample]], known: Sequence[Run] = ()) -> float:
    found = made(flow, steps, known).took_s
    assert found is not None
    return found.average


# -- averages and percentiles


def test_a_spread_by_hand() -> None:
    found = spread([float(each) for each in range(1, 101)])
    assert found is not None
    assert (found.average, found.p95, found.samples) == (50.5, 95.0, 100)
    assert found.width == pytest.approx(1.96 * 29.011 / 10, rel=1e-3), "standard deviation of 1..100 is 29.011"
    assert spread([]) is None
    assert spread([3.0]) is not None and spread([3.0]).width is None  # type: ignore[union-attr]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_a_percentile_is_one_of_the_values_and_not_below_most(values: list[float]) -> None:
    found = spread(values)
    assert found is not None and found.p95 in values
    assert sum(value <= found.p95 for value in values) >= 0.95 * len(values)


# -- combinators


@pytest.mark.promise("POML-10")
def test_a_sequence_adds_up_and_branches_run_beside_each_other() -> None:
    steps = {ADD: took(2.0), DOUBLE: took(5.0)}
    assert average(add | double, steps) == pytest.approx(7)
    assert average(parallel(add, double), steps) == pytest.approx(5)
    assert average(race(add, double), steps) == pytest.approx(2)


def test_every_branch_is_paid_for() -> None:
    steps = {ADD: [Sample(cost_micros=10, tokens=1)], DOUBLE: [Sample(cost_micros=20, tokens=2)]}
    for flow in (parallel(add, double), race(add, double), add | double):
        found = made(flow, steps)
        assert found.cost_micros is not None and found.tokens is not None
        assert (found.cost_micros.average, found.tokens.average) == (30, 3)


@pytest.mark.promise("POML-10")
def test_branches_count_as_often_as_they_were_taken() -> None:
    steps = {ADD: took(1.0), DOUBLE: took(9.0)}
    known = runs({ADD: 1}, {ADD: 1}, {ADD: 1}, {DOUBLE: 1})
    both = when("out > 3", then=double, otherwise=add)
    assert average(both, steps, known) == pytest.approx(3, rel=0.15), "a quarter of 9 and three quarters of 1"
    assert average(when("out > 3", then=double), steps, runs({DOUBLE: 1}, {}, {}, {})) == pytest.approx(9 / 4, rel=0.2), "else nothing"
    found = made(both, steps)
    assert found.assumed == ("when",) and found.took_s is not None
    assert found.took_s.average == pytest.approx(5, rel=0.1), "without runs each as often as the other, and it says so"
    chosen = switch(word, {"odd": add, "even": double})
    assert average(chosen, steps | {("word", "1.0.0"): took(0.0)}, runs({("word", "1.0.0"): 1, DOUBLE: 1})) == pytest.approx(9)


def test_items_count_as_many_as_there_were_and_so_many_at_a_time() -> None:
    steps = {COUNTED: took(0.0), ADD: took(2.0), TOTAL: took(0.0)}
    known = runs({COUNTED: 1, ADD: 6, TOTAL: 1}, {COUNTED: 1, ADD: 2, TOTAL: 1})
    assert average(counted | foreach(add, at_once=2) | total, steps, known) == pytest.approx((6 + 2) / 2, rel=0.1), (
        "6 items in pairs, 2 in one"
    )
    assert average(counted | foreach(add, at_once=64) | total, steps, known) == pytest.approx(2, rel=0.01)
    found = made(counted | foreach(add) | total, steps, known)
    assert next(step.per_run for step in found.steps if step.name == "add") == pytest.approx(4, rel=0.1)


def test_rounds_of_a_loop_count_as_many_as_there_were() -> None:
    assert average(loop(add, while_="out < 9"), {ADD: took(1.0)}, runs({ADD: 3}, {ADD: 5})) == pytest.approx(4, rel=0.1)


@pytest.mark.promise("POML-10")
def test_attempts_bring_their_pauses() -> None:
    flow = retry(add, 3, backoff_s=8, factor=1)
    assert average(flow, {ADD: [Sample(took_s=1.0, attempts=2)]}) == pytest.approx(1 + 8 * 0.75, rel=0.05), (
        "a pause is shortened by up to half"
    )
    assert average(flow, {ADD: took(1.0)}) == pytest.approx(1)


def test_a_time_limit_ends_what_takes_longer() -> None:
    steps = {ADD: took(9.0), DOUBLE: took(1.0)}
    assert average(timeout(add, 2), steps) == pytest.approx(2)
    assert average(timeout(add, 2, otherwise=double), steps, runs({ADD: 1, DOUBLE: 1})) == pytest.approx(3)


def test_what_stands_in_counts_as_often_as_it_was_needed() -> None:
    steps = {ADD: took(1.0), DOUBLE: took(8.0)}
    known = runs({ADD: 1, DOUBLE: 1}, {ADD: 1}, {ADD: 1}, {ADD: 1})
    assert average(fallback(add, double), steps, known) == pytest.approx(3, rel=0.2)


def test_what_is_kept_costs_nothing() -> None:
    known = runs({DOUBLE: 1, ADD: 1}, {DOUBLE: 1}, {DOUBLE: 1}, {DOUBLE: 1})
    assert average(double | cache(add), {ADD: took(8.0), DOUBLE: took(0.0)}, known) == pytest.approx(2, rel=0.2)


# -- what is not known


@pytest.mark.promise("POML-10")
def test_a_step_without_history_is_named_and_makes_it_a_lower_bound() -> None:
    found = made(add | send, {ADD: took(1.0)})
    assert (found.unknown, found.unpriced, found.confidence) == (("send",), ("send",), "low")
    assert found.took_s is not None and found.took_s.average == 1
    assert found.cost_micros is None, "nothing that costs something is known: not 0"
    assert made(send, {}).took_s is None


def test_a_pure_step_is_free_whether_it_is_recorded_or_not() -> None:
    found = made(add, {})
    assert found.took_s is None and found.unpriced == () and found.confidence == "none"
    assert found.cost_micros is not None and found.cost_micros.average == 0


@pytest.mark.promise("POML-10")
def test_a_cost_without_a_price_is_unpriced_until_a_list_says_what_it_is() -> None:
    sort = agent("sort", instructions="Sort.", input=int, model="small")
    steps = {("sort", "1.0.0"): [Sample(tokens=1_500_000, priced=False)]}
    bare = made(add | sort, steps | {ADD: took(1.0)}, runs({ADD: 1, ("sort", "1.0.0"): 1}))
    assert bare.unpriced == ("sort",) and bare.cost_micros is None
    assert bare.tokens is not None and bare.tokens.average == 1_500_000
    prices = Prices("2026-11-01", "EUR", {"small": 600_000, "*": 9_000_000})
    listed = made(add | sort, steps | {ADD: took(1.0)}, runs({ADD: 1, ("sort", "1.0.0"): 1}), prices)
    assert listed.unpriced == () and listed.cost_micros is not None
    assert listed.cost_micros.average == 900_000
    assert prices.price("other", 1) == 9 and Prices().price("other", 1) is None


@pytest.mark.promise("POML-10")
def test_enough_whole_runs_are_the_estimate() -> None:
    known = [Run(Sample(took_s=float(each), cost_micros=each), {ADD: 1}) for each in range(1, ENOUGH_RUNS + 1)]
    found = made(add, {ADD: took(100.0)}, known)
    assert found.measured and found.took_s is not None and found.cost_micros is not None
    assert found.took_s.average == found.cost_micros.average == (ENOUGH_RUNS + 1) / 2
    assert found.took_s.p95 == ENOUGH_RUNS
    assert not made(add, {ADD: took(100.0)}, known[1:]).measured


def test_confidence_grows_with_samples_and_narrowness() -> None:
    def level(count: int, values: tuple[float, ...]) -> str:
        return made(add, {ADD: took(*values) * count}).confidence

    assert [level(count, (1.0,)) for count in (1, 9, 10, 29, 30)] == ["low", "low", "medium", "medium", "high"]
    assert level(15, (0.1, 9.0)) == "medium", "thirty that lie far apart"


@pytest.mark.promise("POML-10")
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.floats(0.001, 10), min_size=1, max_size=8))
def test_the_same_chance_gives_the_same_estimate(seed: int, values: list[float]) -> None:
    flow = retry(add, 3) | when("out > 3", then=double)
    history = History(runs({ADD: 1, DOUBLE: 1}, {ADD: 1}), {ADD: took(*values), DOUBLE: took(1.0)})
    first, second = (estimate(flow, history, Prices(), random.Random(seed).random) for _ in range(2))
    assert first == second


def test_a_large_flow_is_drawn_soon() -> None:
    flow: Any = parallel(*[add] * 500) | total
    found = made(flow, {ADD: took(1.0), TOTAL: took(0.0)})
    assert found.took_s is not None and found.took_s.average == pytest.approx(1)
