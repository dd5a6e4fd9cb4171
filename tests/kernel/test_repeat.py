"""Rounds, chunks, reductions, attempts and compensations: what they mean, and what they refuse to be made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import (
    Context,
    DefinitionError,
    Denied,
    Effect,
    Err,
    FlowError,
    InputError,
    Ok,
    OmegaError,
    StorageError,
    Suspended,
    UpstreamError,
    attempt,
    batch,
    delay,
    flow,
    foreach,
    gather,
    loop,
    parallel,
    reduce,
    saga,
    scatter,
    sequence,
    tool,
    when,
)
from omega.kernel.compose import MAX_ITEMS
from omega.kernel.definition import Flow
from omega.kernel.errors import CODES, Fault
from omega.kernel.evaluate import NOT_TRIED_AGAIN
from omega.kernel.repeat import MAX_ROUNDS

Any_Flow = Flow[Any, Any]


@flow
def more(n: int) -> int:
    return n + 1


@flow
def small(n: int) -> bool:
    return n < 5


@flow
def text(n: int) -> str:
    return str(n)


@flow
def doubles(ns: list[int]) -> list[int]:
    return [2 * n for n in ns]


@flow
def plus(pair: tuple[int, int]) -> int:
    return pair[0] + pair[1]


@flow
def joined(pair: tuple[str, int]) -> str:
    return f"{pair[0]}{pair[1]}"


@flow
def fails(n: int) -> int:
    raise ValueError("no")


@flow
def told(result: Ok[int] | Err) -> str:
    return str(result.value) if isinstance(result, Ok) else result.code


def acting(effect: str, name: str = "act") -> Any_Flow:
    @flow(effect=effect, name=name)
    async def act(ctx: Context, n: int) -> int:
        return n

    return act


def refused(make: Callable[[], Any], code: str, *words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        make()
    assert refusal.value.code == code, refusal.value
    for word in words:
        assert word in refusal.value.cause, refusal.value.cause


# -- loop


@settings(deadline=None)
@given(st.integers(-3, 8))
@pytest.mark.promise("FLOW-40")
def test_a_loop_is_a_while_statement(start: int) -> None:
    expected = start
    while expected < 5:
        expected += 1
    assert loop(more, while_="out < 5")(start) == loop(more, while_=small)(start) == expected


@pytest.mark.promise("FLOW-40")
def test_a_loop_that_does_not_end_fails_after_as_many_rounds_as_it_was_allowed() -> None:
    assert loop(more, while_="out < 3", most=3)(0) == 3
    with pytest.raises(FlowError) as failure:
        loop(more, while_="out < 4", most=3)(0)
    assert failure.value.code == "OMG-R016" and "3 rounds" in failure.value.cause


def test_what_is_no_loop() -> None:
    refused(lambda: loop(text, while_="true"), "OMG-F001", "text gives str, text takes int")
    refused(lambda: loop(more, while_=more), "OMG-F001", "more decides a loop and gives int")
    refused(lambda: loop(more, while_=told), "OMG-F001", "told")
    refused(lambda: loop(more, while_="out <"), "OMG-F004")
    refused(lambda: loop(more, while_=acting("read")), "OMG-F003", "act decides a loop")
    for most in (0, MAX_ROUNDS + 1):
        refused(partial(loop, more, while_="true", most=most), "OMG-F003", "most")


# -- batch


@pytest.mark.promise("FLOW-41")
@given(st.lists(st.integers(-9, 9), max_size=12), st.integers(1, 13))
def test_batches_of_any_size_give_what_the_whole_list_gives(items: list[int], size: int) -> None:
    assert batch(doubles, size=size)(items) == doubles(items)


@pytest.mark.promise("FLOW-41")
def test_a_batch_that_answers_for_another_number_is_refused() -> None:
    @flow
    def odd_ones(ns: list[int]) -> list[int]:
        return [n for n in ns if n % 2]

    with pytest.raises(FlowError) as failure:
        batch(odd_ones, size=2)([1, 3, 5, 6])
    assert failure.value.code == "OMG-R030" and "2 items and gave 1 results" in failure.value.cause


def test_what_is_no_batch() -> None:
    refused(lambda: batch(more, size=2), "OMG-F001", "more takes int")
    refused(lambda: batch(doubles | reduce(plus), size=2), "OMG-F001", "gives int")
    refused(lambda: batch(doubles, size=0), "OMG-F003", "size")
    refused(lambda: batch(doubles, size=MAX_ITEMS + 1), "OMG-F003", "size")
    refused(lambda: batch(doubles, size=1, at_once=0), "OMG-F003", "at_once")


# -- reduce, gather


@pytest.mark.promise("FLOW-42")
@given(st.lists(st.integers(-9, 9), min_size=1))
def test_a_reduction_goes_from_the_left(items: list[int]) -> None:
    expected = ""
    for item in items:
        expected += str(item)
    assert reduce(plus)(items) == sum(items) and reduce(joined, start="")(items) == expected


def test_a_reduction_of_nothing_needs_a_start() -> None:
    assert reduce(plus, start=7)([]) == 7 and reduce(plus)([7]) == 7
    with pytest.raises(FlowError) as failure:
        reduce(plus)([])
    assert failure.value.code == "OMG-R001" and failure.value.advice == "give it a start="


@pytest.mark.promise("FLOW-42")
@given(st.integers(-9, 9))
def test_gathering_is_folding_what_the_branches_gave(n: int) -> None:
    parts = [more, more | more, more | more | more]
    expected = sum(part(n) for part in parts)
    assert gather(*parts, reducer=plus)(n) == parallel(*parts).gather(plus)(n) == expected
    assert foreach(more).gather(plus)([n, n]) == 2 * (n + 1)
    assert foreach(more).gather(doubles)([n]) == [2 * (n + 1)]
    assert gather(more, text, reducer=swapped)(n) == (str(n), n + 1)
    assert gather(*parts, reducer=joined, start="=")(n) == f"={n + 1}{n + 2}{n + 3}"


@flow
def swapped(pair: tuple[int, str]) -> tuple[str, int]:
    return pair[1], pair[0]


def test_what_cannot_be_brought_together() -> None:
    refused(lambda: reduce(more), "OMG-F001", "more takes int")
    refused(lambda: reduce(joined), "OMG-F001", "joined takes str")
    refused(lambda: reduce(swapped), "OMG-F001", "swapped gives tuple[str, int]")
    refused(lambda: gather(more, text, reducer=plus), "OMG-F001", "tuple[int, str]", "plus takes tuple[int, int]")
    refused(lambda: gather(more, reducer=acting("read")), "OMG-F003", "act brings results together but is a read")
    refused(lambda: gather(more, more, reducer=plus_all, start=1), "OMG-F003", "needs no start")
    refused(lambda: more.gather(plus), "OMG-F001", "more gives int, plus takes tuple[int, int]")


@flow
def plus_all(pair: tuple[int, ...]) -> int:
    return sum(pair)


# -- scatter, delay


def test_scatter_means_foreach() -> None:
    assert scatter(more)([1, 2, 3]) == foreach(more)([1, 2, 3])
    whole = scatter(acting("write"), queue="render", at_once=3)
    assert (
        whole.effect is Effect.WRITE
        and whole.input.name == "list[int]"
        and dict(whole.body.parameters())
        == {
            "queue": "render",
            "at_once": 3,
        }
    )
    refused(lambda: scatter(more, at_once=0), "OMG-F003", "at_once")
    refused(lambda: scatter(more, queue="q" * 65), "OMG-F003", "queue")


def test_a_delay_changes_nothing_but_the_time() -> None:
    assert more.delayed("1h")(1) == 2 and delay(more, 5).input is more.input
    refused(lambda: more.delayed("soon"), "OMG-F003", "no duration")
    refused(lambda: more.delayed(0), "OMG-F003")


# -- attempt


@pytest.mark.promise("FLOW-43")
def test_an_attempt_gives_a_typed_value_or_a_typed_error() -> None:
    assert attempt(more)(1) == Ok(2)
    failed = fails.attempted()(1)
    assert isinstance(failed, Err) and not failed.ok
    assert (failed.code, failed.fault, failed.advice) == ("OMG-R001", Fault.FLOW, CODES["OMG-R001"].advice) and "ValueError" in failed.cause
    assert attempt(more).output.name == "Ok[int] | Err"
    assert (attempt(more) | told)(1) == "2" and (attempt(fails) | told)(1) == "OMG-R001"
    assert (attempt(more) | when("out.ok", then=told, otherwise=told))(1) == "2"
    refused(lambda: attempt(text) | told, "OMG-F001", "Ok[str] | Err", "told takes Ok[int] | Err")


ERRORS: tuple[type[OmegaError], ...] = (Denied, FlowError, InputError, StorageError, Suspended, UpstreamError)


@pytest.mark.promise("FLOW-43")
@given(st.sampled_from(ERRORS), st.sampled_from(sorted(CODES)))
def test_nothing_but_a_failure_becomes_a_value(family: type[OmegaError], code: str) -> None:
    @flow
    def ends(n: int) -> int:
        raise family(code, "so it was")

    is_failure = family is InputError or (family in (FlowError, UpstreamError) and code not in NOT_TRIED_AGAIN)
    if is_failure:
        assert attempt(ends)(1) == Err(code, "so it was", CODES[code].advice, CODES[code].fault)
    else:
        with pytest.raises(family):
            attempt(ends)(1)


def test_an_attempt_at_a_tool_is_read_back_as_what_it_is() -> None:
    whole = attempt(tool("crm", "find"))
    data, _ = whole.output.encode(Ok({"name": "ada"}))
    assert whole.output.decode(data) == Ok({"name": "ada"})
    failed = Err("OMG-M007", "no", "look", Fault.UPSTREAM)
    assert whole.output.decode(whole.output.encode(failed)[0]) == failed


# -- saga


class Shop:
    """Steps that write down what they did, with what takes them back."""

    def __init__(self, broken: tuple[str, ...] = ()) -> None:
        self.log: list[str] = []
        self.broken = broken

    def step(self, name: str) -> Any_Flow:
        @flow(name=name)
        def do(n: int) -> int:
            self._note(name)
            return n + 1

        return do

    def undo(self, name: str) -> Any_Flow:
        @flow(name=f"un{name}")
        def back(pair: tuple[int, int]) -> None:
            assert pair[1] == pair[0] + 1
            self._note(f"un{name}")

        return back

    def _note(self, name: str) -> None:
        if name in self.broken:
            raise ValueError(name)
        self.log.append(name)

    def saga(self, *names: str) -> Any_Flow:
        return saga(*((self.step(name), self.undo(name)) for name in names))


@pytest.mark.promise("FLOW-44")
@given(st.integers(1, 5), st.integers(0, 5))
def test_what_was_done_is_undone_last_first(count: int, failing: int) -> None:
    names = [f"s{index}" for index in range(count)]
    shop = Shop(broken=(f"s{failing}",))
    whole = shop.saga(*names)
    if failing >= count:
        assert whole(0) == count and shop.log == names
        return
    with pytest.raises(ValueError, match=f"s{failing}"):
        whole(0)
    assert shop.log == names[:failing] + [f"un{name}" for name in reversed(names[:failing])]


@pytest.mark.promise("FLOW-45")
def test_an_undo_that_fails_keeps_no_other_from_running_and_is_told() -> None:
    shop = Shop(broken=("c", "unb"))
    with pytest.raises(FlowError) as failure:
        shop.saga("a", "b", "c")(0)
    error = failure.value
    assert error.code == "OMG-R031" and shop.log == ["a", "b", "una"] and "could not be undone: b" in error.cause
    assert error.details["undone"] == ["a"] and error.details["not_undone"][0]["error"]["code"] == "OMG-R001"
    assert "ValueError" in error.details["because"]["cause"]


def test_a_saga_within_a_saga_is_part_of_it() -> None:
    shop = Shop(broken=("c",))
    inner = shop.saga("a", "b").named("inner")
    whole = saga(inner, (shop.step("c"), shop.undo("c")))
    assert whole.digest == shop.saga("a", "b", "c").digest
    with pytest.raises(ValueError, match="c"):
        whole(0)
    assert shop.log == ["a", "b", "unb", "una"]


def test_a_failed_undo_is_never_a_value_nor_worked_around() -> None:
    shop = Shop(broken=("b", "una"))
    for wrapped in (attempt(shop.saga("a", "b")), shop.saga("a", "b").fallback(more), shop.saga("a", "b").retry(2)):
        with pytest.raises(FlowError) as failure:
            wrapped(0)
        assert failure.value.code == "OMG-R031"


def test_what_is_no_saga() -> None:
    shop = Shop()
    step, undo = shop.step("a"), shop.undo("a")
    refused(saga, "OMG-F003", "1 to")
    refused(lambda: saga((step, more)), "OMG-F001", "undoing a hands on tuple[int, int]", "more takes int")
    refused(lambda: saga((step, undo), text, (step, undo)), "OMG-F001", "text gives str, undoable takes int")
    refused(lambda: step.undone_by(undo).undone_by(undo), "OMG-F003")
    refused(lambda: saga(parallel(shop.saga("x")), plus_all), "OMG-F003", "parallel holds a saga")
    places: list[Callable[[Any_Flow], Any]] = [lambda part: part | more, lambda part: parallel(part, more), foreach, attempt, Flow.retry]
    for elsewhere in places:
        refused(partial(elsewhere, step.undone_by(undo)), "OMG-F003", "is a step of a saga")
    assert saga(step.undone_by(undo), more).digest == saga((step, undo), more).digest


# -- as values


@pytest.mark.promise("FLOW-05")
def test_every_setting_is_part_of_the_digest() -> None:
    shop = Shop()
    made = [
        loop(more, while_="out < 5"),
        loop(more, while_="out < 6"),
        loop(more, while_="out < 5", most=7),
        loop(more, while_=small),
        batch(doubles, size=1),
        batch(doubles, size=2),
        batch(doubles, size=2, at_once=1),
        reduce(plus),
        reduce(plus, start=0),
        reduce(plus, start=1),
        scatter(more),
        scatter(more, queue="q"),
        scatter(more, at_once=1),
        more.delayed(1),
        more.delayed(2),
        attempt(more),
        saga(more),
        saga((shop.step("a"), shop.undo("a"))),
    ]
    assert len({each.digest for each in made}) == len(made)
    assert len({str(each.outline()) for each in made}) == len(made)


def test_they_are_drawn_as_trees() -> None:
    shop = Shop()
    whole = saga((shop.step("a"), shop.undo("a")), loop(more, while_="out < 5"), attempt(more))
    assert str(whole) == (
        "saga  int -> Ok[int] | Err  pure\n"
        "├─ undoable  int -> int  pure\n"
        "│  ├─ a  int -> int  pure\n"
        "│  └─ una  tuple[int, int] -> None  pure\n"
        "├─ loop  int -> int  pure\n"
        "│  └─ more  int -> int  pure\n"
        "└─ attempt  int -> Ok[int] | Err  pure\n"
        "   └─ more  int -> int  pure"
    )


def test_effects_and_needs_are_those_of_the_parts() -> None:
    write = flow(effect="write", needs="a:write", name="w")(_doing)
    undo = flow(effect="idempotent", needs="a:undo", name="u")(_undoing)
    for whole in (loop(write, while_="false"), attempt(write), write.delayed(1), scatter(write), sequence(saga(write))):
        assert whole.effect is Effect.WRITE and whole.needs == {"a:write"}
    assert saga((write, undo)).needs == {"a:write", "a:undo"}


async def _doing(ctx: Context, n: int) -> int:
    return n


async def _undoing(ctx: Context, pair: tuple[int, int]) -> None:
    return None


@pytest.mark.promise("FLOW-05")
def test_digests_are_the_same_in_every_release() -> None:
    """A digest that changes strands every execution that was started under it: change one only on purpose."""
    made = {
        "loop": loop(more, while_="out < 5", most=7),
        "batch": batch(doubles, size=2),
        "reduce": reduce(plus, start=0),
        "gather": gather(more, more, reducer=plus),
        "scatter": scatter(more, queue="q"),
        "delay": more.delayed("5m"),
        "attempt": attempt(more),
        "saga": saga((more, plus_both), more),
    }
    assert {name: each.digest[:12] for name, each in made.items()} == PINS


@flow
def plus_both(pair: tuple[int, int]) -> None:
    return None


PINS = {
    "loop": "52ee98e8c67d",
    "batch": "fd7b738d2221",
    "reduce": "04067a24bc08",
    "gather": "7426cd98d5ec",
    "scatter": "9f9c8fcf8ad6",
    "delay": "b1260089551b",
    "attempt": "c4c318bf1ac7",
    "saga": "cc8697d0791c",
}
