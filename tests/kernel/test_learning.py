"""Learning parameters from examples: deterministic, honest about what was not seen, and refused when it does not help."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from omega import Among, DefinitionError, Effect, FlowError, Grid, InputError, Shots, flow, learn, tuned
from omega.kernel.learning import MAX_CANDIDATES, MIN_HELD_OUT, Chance, Learned, candidates, interval, split

RUNS: list[float] = []


class Knobs(BaseModel):
    """What `high` leaves open."""

    threshold: Annotated[float, Grid(0, 1, 11)] = 0.9
    strict: Annotated[bool, Among(True, False)] = True


class Shown(BaseModel):
    """A few examples to go by, as a model."""

    shots: Annotated[list[tuple[int, str]], Shots(12, tries=4)] = []


@flow
def high(given: tuple[Knobs, float]) -> bool:
    knobs, value = given
    RUNS.append(value)
    return value > knobs.threshold if knobs.strict else value >= knobs.threshold


@flow
def nearest(given: tuple[Shown, int]) -> str:
    shown, value = given
    return min(shown.shots, key=lambda shot: abs(shot[0] - value))[1] if shown.shots else "small"


@flow
def stubborn(given: tuple[Knobs, float]) -> bool:
    return False


@flow
def breaks(given: tuple[Knobs, float]) -> bool:
    if given[0].threshold > 0.7:
        raise ValueError("too high")
    return given[1] > given[0].threshold


@flow(effect="read")
def looks(given: tuple[Knobs, float]) -> bool:
    return True


@flow
def near(pair: tuple[bool, bool]) -> float:
    return 1.0 if pair[0] == pair[1] else 0.25


@flow
def plain(n: int) -> int:
    return n


class Fixed(BaseModel):
    """Nothing to try."""

    threshold: float = 0.5


class Needy(BaseModel):
    """A parameter without a default."""

    threshold: Annotated[float, Grid(0, 1, 3)]


@flow
def fixed(given: tuple[Fixed, int]) -> int:
    return given[1]


@flow
def needy(given: tuple[Needy, int]) -> int:
    return given[1]


class Wide(BaseModel):
    """More combinations than are tried."""

    a: Annotated[float, Grid(0, 1, 40)] = 0.5
    b: Annotated[float, Grid(0, 1, 40)] = 0.5


@flow
def wide(given: tuple[Wide, int]) -> int:
    return given[1]


EXAMPLES = [(n / 100, n / 100 > 0.4) for n in range(0, 100, 2)]


@pytest.mark.promise("FLOW-63")
def test_a_threshold_is_found_and_scored_on_what_was_held_out() -> None:
    found: Learned = learn(high)(EXAMPLES)
    assert found.parameters == {"threshold": 0.4, "strict": True}
    report = found.report
    assert report.held_out == 15 and report.trained_on == 35 and report.candidates == 23
    assert report.held_out_score == report.train_score == 1.0 > report.held_out_baseline
    assert 0 < report.low <= report.gain <= report.high <= 1


@pytest.mark.promise("FLOW-63")
def test_the_same_examples_and_seed_give_the_same_answer() -> None:
    assert learn(high)(EXAMPLES) == learn(high)(EXAMPLES)
    other = learn(high, seed=1)(EXAMPLES)
    assert other.report.seed == 1 and other.parameters["threshold"] == 0.4
    assert split(EXAMPLES, 0.3, 0) == split(EXAMPLES, 0.3, 0) != split(EXAMPLES, 0.3, 1)


@pytest.mark.promise("FLOW-63")
@pytest.mark.parametrize("examples", [[(n / 100, True) for n in range(91, 121)], [(n / 60, n % 2 == 0) for n in range(60)]])
def test_what_does_not_surely_beat_the_defaults_is_refused_with_its_report(examples: list[tuple[float, bool]]) -> None:
    with pytest.raises(FlowError) as refused:
        learn(high)(examples)
    assert refused.value.code == "OMG-R044"
    report = refused.value.details["report"]
    assert report["low"] <= 0 and report["held_out"] >= MIN_HELD_OUT
    with pytest.raises(FlowError, match="OMG-R044"):
        learn(stubborn)(EXAMPLES)


def test_a_flow_that_fails_scores_nothing() -> None:
    found = learn(breaks)(EXAMPLES)
    assert found.parameters["threshold"] == 0.4
    assert found.report.train_baseline == 0.0


def test_few_shot_examples_are_chosen_from_those_trained_on_and_not_scored_on_themselves() -> None:
    examples = [(n, "large" if n > 20 else "small") for n in range(60)]
    found = learn(nearest)(examples)
    shots = [tuple(shot) for shot in found.parameters["shots"]]
    assert 0 < len(shots) <= 12 and set(shots) <= set(examples)
    assert found.report.held_out_score > found.report.held_out_baseline
    _, held = split(examples, 0.3, 0)
    assert not set(shots) & set(held)


def test_a_metric_may_be_a_pure_flow() -> None:
    found = learn(high, metric=near)(EXAMPLES)
    assert found.parameters["threshold"] == 0.4 and found.report.train_baseline > 0.25


@pytest.mark.promise("FLOW-63")
def test_what_was_learned_makes_a_flow_of_a_version_of_its_own() -> None:
    found = learn(high)(EXAMPLES)
    better, plain = tuned(high, found), tuned(high, {})
    assert (better(0.5), plain(0.5)) == (True, False)
    assert better.input.name == "float" and better.name == "high"
    assert better.version.startswith("1.0.0+") and better.version != plain.version
    assert len({better.digest, plain.digest, high.digest}) == 3
    assert tuned(high, Knobs(threshold=0.4)).digest == better.digest
    assert '"threshold":0.4' in better.body.settings
    with pytest.raises(DefinitionError, match="OMG-F003"):
        tuned(stubborn, found)
    with pytest.raises(InputError):
        tuned(high, {"threshold": "low"})


def test_what_cannot_be_learned_is_refused_where_it_is_written() -> None:
    for part in (plain, fixed, needy):
        with pytest.raises(DefinitionError, match="OMG-F003"):
            learn(part)
    for facts in ({"held_out": 1.0}, {"level": 0}, {"at_once": 0}, {"metric": "best"}, {"metric": looks}):
        with pytest.raises(DefinitionError, match="OMG-F003"):
            learn(high, **facts)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="OMG-F001"):
        learn(high, metric=plain)
    with pytest.raises(InputError, match="OMG-I001"):
        learn(high)(EXAMPLES[: 2 * MIN_HELD_OUT - 1])
    with pytest.raises(FlowError, match="OMG-R016"):
        learn(high)(EXAMPLES * 20)
    assert learn(looks).effect is Effect.READ


def test_of_very_many_settings_some_are_drawn_and_the_defaults_are_always_among_them() -> None:
    tried = list(candidates(wide, [], 0))
    assert tried[0] == Wide() and MAX_CANDIDATES * 0.8 < len(tried) <= MAX_CANDIDATES
    assert tried == list(candidates(wide, [], 0)) != list(candidates(wide, [], 1))


@given(size=st.integers(2 * MIN_HELD_OUT, 200), share=st.floats(0.05, 0.5), seed=st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_no_example_is_both_trained_on_and_held_out(size: int, share: float, seed: int) -> None:
    train, held = split(list(range(size)), share, seed)
    assert sorted(train + held) == list(range(size)) and len(held) >= MIN_HELD_OUT


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=10, max_size=60), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_mean_and_grows_with_the_level(differences: list[float], seed: int) -> None:
    mean = sum(differences) / len(differences)
    low, high = interval(differences, 0.95, seed)
    wide_low, wide_high = interval(differences, 0.99, seed)
    assert wide_low <= low <= mean + 1e-9 and mean - 1e-9 <= high <= wide_high


def test_chance_is_the_published_generator() -> None:
    """The first outputs of SplitMix64 from the state 0, as its authors' reference code prints them."""
    chance = Chance(0, "x")
    chance._state = 0
    assert [chance.below(1 << 64) for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.integers(0, 50), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_a_sample_has_no_number_twice(size: int, seed: int) -> None:
    assert sorted(Chance(seed, "s").sample(size, size)) == list(range(size))
