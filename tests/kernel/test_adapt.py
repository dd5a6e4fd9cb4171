"""The decisions behind rate limits, breakers and the choice among flows, as laws; and what is refused when they are written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import DefinitionError, FlowError, flow, optimize
from omega.kernel.adapt import CLOSED, MAX_REMEMBERED, OPEN, PROBE, Circuit, Pace, Rate, Shelf, rate_limited, rate_of
from omega.kernel.choosing import MEMORY, Arm, Arms, Goal, Measure, goal_of, measure_of

S = 1_000_000


@flow
def half(n: int) -> float:
    return n / 2


@flow
def halved(n: int) -> float:
    return n * 0.5


@flow
def words(text: str) -> float:
    return float(len(text))


@flow(effect="read")
def looked(n: int) -> float:
    return float(n)


@flow
def failing(n: int) -> float:
    raise ValueError("no")


# -- rate


@given(
    count=st.integers(1, 20),
    per_s=st.floats(0.01, 100),
    arrivals=st.lists(st.integers(0, 30 * S), min_size=1, max_size=60).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_no_window_ever_begins_more_than_the_burst_and_the_rate_allow(count: int, per_s: float, arrivals: list[int]) -> None:
    rate, pace = Rate(count, per_s), Pace()
    begun: list[int] = []
    for at in arrivals:
        pace, wait_us = pace.take(rate, at, 1e9)
        begun.append(at + wait_us)
    assert begun == sorted(begun), "a later call overtook an earlier one"
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            allowed = count + (begun[last] - begun[first]) / rate.gap_us
            assert last - first + 1 <= allowed + 1e-6 * allowed + 2 / rate.gap_us


def test_after_a_rest_a_whole_burst_begins_at_once_and_the_next_waits() -> None:
    pace, waits = Pace(), []
    for _ in range(4):
        pace, wait_us = pace.take(Rate(3, 3.0), 10 * S, 60)
        waits.append(wait_us)
    assert waits == [0, 0, 0, S]


def test_a_refused_call_takes_no_turn() -> None:
    rate = Rate(1, 10.0)
    pace, _ = Pace().take(rate, 0, 0)
    refused, wait_us = pace.take(rate, S, 5)
    assert wait_us == -1 and refused == pace
    assert pace.take(rate, 10 * S, 0)[1] == 0


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", Rate(10, 1)), ("300/m", Rate(300, 60)), ("1/5s", Rate(1, 5)), ("2 / 500ms", Rate(2, 0.5))]
)
def test_a_rate_is_written_as_a_text(text: str, rate: Rate) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "10/day", "s/10"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="OMG-F003"):
        rate_of(text)


def test_a_rate_limit_per_key_says_which_key() -> None:
    for facts in ({"per": "key"}, {"per": "tenant", "key": "out"}, {"per": "planet"}):
        with pytest.raises(DefinitionError, match="OMG-F003"):
            rate_limited(half, "1/s", **facts)  # type: ignore[arg-type]


# -- breaker


@given(st.lists(st.tuples(st.integers(0, 20 * S), st.sampled_from([True, False, None])), max_size=40))
@settings(max_examples=80, deadline=None)
def test_a_circuit_opens_after_that_many_failures_and_lets_one_probe_through(events: list[tuple[int, bool | None]]) -> None:
    circuit, now = Circuit(), 0
    recent: list[int] = []
    for wait, failed in events:
        now += wait
        before = circuit
        circuit, told = circuit.admit(now, 30 * S)
        if told == OPEN:
            assert before.opened_us and (now < before.opened_us + 30 * S or before.probe_us)
            continue
        assert (told == CLOSED) == (not before.opened_us)
        if told == PROBE:
            assert circuit.admit(now + 1, 30 * S)[1] == OPEN, "two probes at once"
        circuit = circuit.ended(now, told=told, failed=failed, most=3, within_us=60 * S)
        recent = [at for at in recent if at > now - 60 * S] + ([now] if failed and told == CLOSED else [])
        if told == CLOSED:
            assert bool(circuit.opened_us) == (len(recent) >= 3)
        else:
            assert bool(circuit.opened_us) == (failed is not False)
        if circuit.opened_us or told == PROBE:
            recent = []


def test_what_was_let_through_before_the_circuit_opened_no_longer_counts() -> None:
    opened = Circuit(opened_us=100)
    for failed in (True, False, None):
        assert opened.ended(200, told=CLOSED, failed=failed, most=1, within_us=S) == opened


def test_a_probe_that_never_reports_is_given_up() -> None:
    circuit, told = Circuit(opened_us=1).admit(40 * S, 30 * S)
    assert told == PROBE
    assert circuit.admit(60 * S, 30 * S)[1] == OPEN
    assert circuit.admit(71 * S, 30 * S)[1] == PROBE


def test_a_shelf_forgets_what_was_unused_for_longest() -> None:
    shelf: Shelf[int] = Shelf(int)
    for number in range(MAX_REMEMBERED + 1):
        shelf.put(str(number), number)
    assert "0" not in shelf and str(MAX_REMEMBERED) in shelf


# -- choosing


@given(explore=st.floats(0, 1), chances=st.lists(st.floats(0, 0.999), min_size=1, max_size=80), flows=st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_exploring_never_takes_more_than_its_share(explore: float, chances: list[float], flows: int) -> None:
    known = Arms((Arm(),) * flows)
    for number, chance in enumerate(chances, 1):
        known, index, exploring = known.begin(Goal(cost=1), explore, chance)
        known = known.take(index, Measure(cost_micros=10 * index + 1))
        if number <= flows:
            assert index == number - 1 and not exploring, "each is begun once before any is preferred"
        elif not exploring:
            assert index == 0, "the cheapest is preferred"
    assert known.explored <= explore * known.choices
    assert known.choices == sum(arm.begun for arm in known.arms) == len(chances)


@pytest.mark.promise("FLOW-62")
@pytest.mark.parametrize(
    ("goal", "best"),
    [("cost", 0), ("latency", 1), ("quality", 2), ({"cost": 1, "latency": 1, "quality": 20}, 2)],
)
def test_the_goal_decides_which_flow_is_best(goal: object, best: int) -> None:
    arms = (
        Arm().take(Measure(cost_micros=1, took_us=900, quality=0.5)),
        Arm().take(Measure(cost_micros=90, took_us=10, quality=0.6)),
        Arm().take(Measure(cost_micros=100, took_us=1000, quality=0.9)),
    )
    known = Arms(tuple(replace(arm, begun=1) for arm in arms))
    assert known.begin(goal_of(goal), 0.0, 0.5)[1] == best  # type: ignore[arg-type]


def test_a_flow_that_fails_half_the_time_costs_twice_as_much() -> None:
    arm = Arm().take(Measure(cost_micros=10)).take(Measure(cost_micros=10, failed=True))
    assert arm.per_success(arm.cost_micros) == 20
    assert Arms((Arm().take(Measure(failed=True)), arm)).losses(Goal(cost=1)) == [float("inf"), 1.0]


def test_old_measurements_fade() -> None:
    arm = Arm()
    for _ in range(MEMORY):
        arm = arm.take(Measure(took_us=1000))
    for _ in range(MEMORY):
        arm = arm.take(Measure(took_us=10))
    assert arm.count < MEMORY + 1 and arm.per_success(arm.took_us) < 1000 * 0.35


@given(
    st.builds(
        Measure,
        failed=st.booleans(),
        cost_micros=st.integers(0, 10**12),
        took_us=st.integers(0, 10**12),
        quality=st.none() | st.floats(0, 1),
    )
)
@settings(max_examples=40, deadline=None)
def test_a_measure_is_read_back_as_it_was_recorded(measure: Measure) -> None:
    of = "ab" * 32
    assert measure_of(measure.record(of, 3), of) == (3, measure)
    assert measure_of(measure.record(of, 3), "cd" * 32) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"of":1}', "null", '{"of":"abababababababab","flow":"x"}'])
def test_a_measure_of_another_shape_is_left_out(text: str) -> None:
    assert measure_of(text, "ab" * 32) is None


def test_only_flows_that_mean_the_same_are_chosen_among() -> None:
    with pytest.raises(DefinitionError) as refused:
        optimize(half, words)
    assert refused.value.code == "OMG-F001" and "half takes int" in refused.value.cause and "words takes str" in refused.value.cause
    for facts in ({"goal": "beauty"}, {"goal": {"cost": -1, "latency": 2}}, {"goal": "quality"}, {"explore": 2.0}):
        with pytest.raises(DefinitionError, match="OMG-F003"):
            optimize(half, halved, **facts)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="OMG-F003"):
        optimize(half)
    with pytest.raises(DefinitionError, match="OMG-F003"):
        optimize(looked, looked, goal="quality", score=looked)
    with pytest.raises(DefinitionError, match="OMG-F001"):
        optimize(half, halved, goal="quality", score=words)


def test_called_directly_they_just_run() -> None:
    assert half.rate_limited("1/h", patience=0)(4) == 2
    assert half.breaker(failures=1)(4) == 2
    assert failing.breaker(failures=1, otherwise=None).fallback(half)(4) == 2
    assert optimize(half, halved)(4) == 2
    with pytest.raises(ValueError, match="no"):
        failing.breaker()(1)


def test_what_decides_their_meaning_is_in_their_digest() -> None:
    made = [half.rate_limited("1/s"), half.rate_limited("2/s"), half.breaker(), half.breaker(failures=2), optimize(half, halved)]
    made += [optimize(half, halved, goal="latency"), optimize(half, halved, explore=0.2)]
    assert len({each.digest for each in made}) == len(made)
    assert half.rate_limited("1/s").digest == half.rate_limited("1/s").digest


def test_a_refusal_in_a_direct_run_is_coded() -> None:
    twice = half.rate_limited("1/h", patience=0)

    @flow
    async def both(ctx, n: int) -> float:  # type: ignore[no-untyped-def]
        return float(await ctx.call(twice, n)) + float(await ctx.call(twice, n))

    with pytest.raises(FlowError, match="OMG-R040"):
        both(1)
