"""Combinators: the laws they keep, and what they refuse to join."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega import (
    Context,
    DefinitionError,
    Effect,
    FlowError,
    cache,
    fallback,
    flow,
    foreach,
    parallel,
    race,
    retry,
    sequence,
    switch,
    timeout,
    when,
)
from omega.kernel.compose import MAX_ATTEMPTS, MAX_BRANCHES, MAX_ITEMS, Retry, rebuilt, seconds
from omega.kernel.definition import Flow

Any_Flow = Flow[Any, Any]


@flow
def add(n: int) -> int:
    return n + 1


@flow
def square(n: int) -> int:
    return n * n % 1009


@flow
def negate(n: int) -> int:
    return -n


@flow
def text(n: int) -> str:
    return str(n)


@flow
def length(word: str) -> int:
    return len(word)


@flow
def fails(n: int) -> int:
    raise ValueError("no")


@flow
def even(n: int) -> bool:
    return n % 2 == 0


def leaf(effect: str, *needs: str) -> Any_Flow:
    @flow(effect=effect, needs=needs, name=effect)
    async def act(ctx: Context, n: int) -> int:
        return n

    return act


LEAVES = st.sampled_from([add, square, negate])


@given(LEAVES, LEAVES, LEAVES, st.integers(0, 50))
@pytest.mark.promise("FLOW-07")
def test_sequence_is_associative_and_is_composition(a: Any_Flow, b: Any_Flow, c: Any_Flow, n: int) -> None:
    assert ((a | b) | c).digest == (a | (b | c)).digest == sequence(a, b, c).digest
    assert (a | b | c)(n) == c(b(a(n)))


def test_a_named_sequence_stays_whole() -> None:
    inner = (add | square).named("inner")
    assert len((inner | add).children) == 2 and (inner | add)(2) == 10


def test_one_flow_alone_is_its_own_sequence() -> None:
    assert sequence(add) is add


@given(st.integers(0, 100))
@pytest.mark.promise("FLOW-08")
def test_parallel_gives_all_in_the_order_written(n: int) -> None:
    assert parallel(add, square, negate)(n) == (add(n), square(n), negate(n))


@pytest.mark.promise("FLOW-09")
def test_race_gives_a_success_and_lists_every_failure() -> None:
    assert race(fails, add)(1) == 2
    with pytest.raises(FlowError) as failure:
        race(fails, fails)(1)
    assert failure.value.code == "OMG-R007" and len(failure.value.details["branches"]) == 2


@pytest.mark.promise("FLOW-10")
def test_when_and_switch_take_one_branch() -> None:
    for predicate in ("out % 2 == 0", even):
        assert when(predicate, then=add, otherwise=negate)(4) == 5
        assert when(predicate, then=add, otherwise=negate)(3) == -3
        assert when(predicate, then=add)(3) == 3
    chosen = switch("out > 9 ? 'large' : 'small'", {"large": negate, "small": add})
    assert chosen(10) == -10 and chosen(1) == 2
    with pytest.raises(FlowError) as failure:
        switch(text, {"1": add})(2)
    assert failure.value.code == "OMG-R001" and "no case '2'" in failure.value.cause
    assert switch(text, {"1": add}, default=negate)(2) == -2


@given(st.lists(st.integers(-50, 50), max_size=30), st.integers(1, 40))
@pytest.mark.promise("FLOW-11")
def test_foreach_keeps_the_order(items: list[int], at_once: int) -> None:
    assert foreach(add, at_once=at_once)(items) == [item + 1 for item in items]


def test_foreach_takes_no_more_than_its_limit() -> None:
    with pytest.raises(FlowError) as failure:
        foreach(add)(list(range(MAX_ITEMS + 1)))
    assert failure.value.code == "OMG-R016"


@pytest.mark.promise("FLOW-14")
def test_fallback_takes_the_first_that_does_not_fail() -> None:
    assert fails.fallback(fails, add)(1) == 2
    with pytest.raises(ValueError, match="no"):
        fails.fallback(fails)(1)


def test_retry_tries_again_and_then_gives_the_last_failure() -> None:
    tries: list[int] = []

    @flow
    def third(n: int) -> int:
        tries.append(n)
        if len(tries) < 3:
            raise ValueError("not yet")
        return n

    assert third.retry(3)(7) == 7 and len(tries) == 3
    with pytest.raises(ValueError, match="no"):
        fails.retry(4)(1)


@given(st.integers(1, 20), st.floats(0, 0.999), st.floats(0, 10), st.floats(1, 5))
def test_a_retry_waits_longer_each_time_up_to_its_limit(failures: int, chance: float, backoff: float, factor: float) -> None:
    body = Retry(add, 3, backoff, factor, 30.0)
    wait = body.delay_s(failures, chance)
    assert 0 <= wait <= 30.0 and wait >= min(30.0, backoff * factor ** (failures - 1)) / 2 - 1e-9


EFFECTS = st.sampled_from([leaf(effect.value, f"{effect.value}:use") if effect is not Effect.PURE else add for effect in Effect])
GROUPS: list[Callable[[Any_Flow, Any_Flow], Any_Flow]] = [
    lambda a, b: a | b,
    parallel,
    lambda a, b: when("true", then=a, otherwise=b),
    lambda a, b: switch("'a'", {"a": a}, default=b),
    fallback,
    lambda a, b: timeout(a, 1, otherwise=b),
    lambda a, b: foreach(a | b),
]


@given(EFFECTS, EFFECTS, st.sampled_from(GROUPS))
@pytest.mark.promise("FLOW-16")
def test_a_composite_has_the_strongest_effect_and_all_needs_of_its_parts(a: Any_Flow, b: Any_Flow, group: Callable[..., Any_Flow]) -> None:
    whole = group(a, b)
    assert whole.effect.rank == max(a.effect.rank, b.effect.rank)
    assert whole.needs == a.needs | b.needs


@given(EFFECTS)
def test_what_must_not_be_repeated_is_not_retried_raced_or_cached(part: Any_Flow) -> None:
    def allowed(make: Callable[[], Any_Flow]) -> bool:
        try:
            make()
        except DefinitionError as error:
            assert error.code == "OMG-F003" and part.name in error.cause
            return False
        return True

    assert allowed(lambda: retry(part)) is part.effect.repeatable
    assert allowed(lambda: race(part, add)) is part.effect.repeatable
    assert allowed(lambda: cache(part)) is (part.effect is Effect.PURE)
    assert allowed(lambda: cache(part, reads=True)) is (part.effect.rank <= Effect.READ.rank)


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda: text | add, "OMG-F001", "text gives str, add takes int"),
        (lambda: parallel(add, length), "OMG-F001", "add takes int, length takes str"),
        (lambda: race(add, length), "OMG-F001", "no input fits both"),
        (lambda: add.fallback(length), "OMG-F001", "length takes str"),
        (lambda: when(text, then=add), "OMG-F001", "gives str, not bool"),
        (lambda: switch(even, {"a": add}), "OMG-F001", "gives bool, not str"),
        (lambda: when(leaf("read"), then=add), "OMG-F003", "decides a when but is a read"),
        (lambda: when("out >", then=add), "OMG-F004", "out >"),
        (lambda: when(3, then=add), "OMG-F003", "not int"),  # type: ignore[arg-type]
        (parallel, "OMG-F003", "takes 1 to"),
        (lambda: parallel(*[add] * (MAX_BRANCHES + 1)), "OMG-F003", "takes 1 to"),
        (lambda: parallel(add, print), "OMG-F003", "takes flows"),  # type: ignore[arg-type]
        (sequence, "OMG-F003", "takes 1 to"),
        (lambda: fallback(add), "OMG-F003", "takes 2 to"),
        (lambda: foreach(add, at_once=0), "OMG-F003", "at_once"),
        (lambda: retry(add, 0), "OMG-F003", "attempts"),
        (lambda: retry(add, MAX_ATTEMPTS + 1), "OMG-F003", "attempts"),
        (lambda: retry(add, backoff_s=-1), "OMG-F003", "negative"),
        (lambda: retry(add, factor=0.5), "OMG-F003", "factor"),
        (lambda: timeout(add, 0), "OMG-F003", "between 0 and a year"),
        (lambda: timeout(add, "soon"), "OMG-F003", "no duration"),
        (lambda: timeout(add, float("nan")), "OMG-F003", "between 0 and a year"),
        (lambda: timeout(add, 10**9), "OMG-F003", "between 0 and a year"),
    ],
)
@pytest.mark.promise("FLOW-03")
def test_what_cannot_be_meant_is_refused_where_it_is_written(make: Callable[[], Any_Flow], code: str, says: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        make()
    assert refusal.value.code == code and says in refusal.value.cause


def test_a_refused_join_tells_where_both_ends_stand() -> None:
    with pytest.raises(DefinitionError) as refusal:
        text | add
    details = refusal.value.details
    assert (details["left"], details["right"], details["gives"], details["takes"]) == ("text", "add", "str", "int")
    assert details["left_at"].startswith("test_compose.py:") and details["right_at"].startswith("test_compose.py:")


@pytest.mark.parametrize(("limit", "wanted"), [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("1.5s", 1.5), (7, 7.0)])
def test_durations(limit: str | float, wanted: float) -> None:
    assert seconds(limit) == wanted


def test_rebuilding_with_nothing_changed_gives_the_very_same() -> None:
    whole = add | parallel(square.retry(2), when("out > 1", then=negate))
    assert rebuilt(whole, lambda each: each) is whole
    changed = rebuilt(whole, lambda each: leaf("write", "a:b") if each is negate else each)
    assert changed.effect is Effect.WRITE and changed.needs == {"a:b"} and changed.digest != whole.digest
