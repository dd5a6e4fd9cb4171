"""Streams as definitions: what a generator must look like, and what its parts reduce to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from omega import Context, DefinitionError, FlowError, flow, stream
from omega.kernel.streams import MAX_PARTS


@flow
def total(numbers: list[int]) -> int:
    return sum(numbers)


@flow(effect="read")
def looks(numbers: list[int]) -> int:
    return 0


@stream(reduce="text")
async def spell(word: str) -> AsyncIterator[str]:
    """One letter after the other."""
    for letter in word:
        yield letter


@stream()
async def count(ctx: Context, n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


def counting(**facts: Any) -> Any:
    @stream(name="counting", **facts)
    async def again(n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    return again


def test_called_directly_a_stream_gives_its_reduced_value() -> None:
    assert spell("abc") == "abc" and spell("") == ""
    assert count(3) == [0, 1, 2]
    assert counting(reduce=total)(4) == 6
    assert counting(reduce="last")(4) == 3
    with pytest.raises(FlowError, match="without a part"):
        counting(reduce="last")(0)


def test_a_stream_is_a_flow_of_its_reduced_type() -> None:
    assert (spell.input.name, spell.output.name, spell.description) == ("str", "str", "One letter after the other.")
    assert count.output.name == "list[int]" and counting(reduce=total).output.name == "int"
    assert (spell | spell)("ab") == "ab"
    assert spell.where.startswith("test_streams.py:") and "stream" in spell.document()["kind"]


def test_the_source_and_the_reducer_decide_what_it_is() -> None:
    made = [counting(), counting(reduce="last"), counting(reduce=total)]
    assert len({each.digest for each in made}) == 3
    assert spell.code != count.code and counting().code == counting().code


@pytest.mark.parametrize("facts", [{"reduce": "text"}, {"reduce": "first"}, {"reduce": spell}, {"reduce": looks}])
def test_a_reducer_that_does_not_fit_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError) as refused:
        counting(**facts)
    assert refused.value.code in ("OMG-F001", "OMG-F003")


def test_what_is_no_async_generator_is_refused() -> None:
    async def late(n: int) -> int:
        return n

    async def bare(n: int):  # type: ignore[no-untyped-def]
        yield n

    async def odd(n: int) -> int:  # type: ignore[misc]
        yield n

    for function in (late, bare, odd):
        with pytest.raises(DefinitionError, match="OMG-F002"):
            stream()(function)


def test_a_stream_that_never_ends_is_ended() -> None:
    with pytest.raises(FlowError, match="OMG-R003"):
        count(MAX_PARTS + 1)

    @stream(reduce="text")
    async def flood(n: int) -> AsyncIterator[str]:
        while True:
            yield "x" * n

    with pytest.raises(FlowError, match="OMG-R003"):
        flood(1 << 20)


def test_a_part_of_another_type_fails_the_step() -> None:
    @stream()
    async def wrong(n: int) -> AsyncIterator[int]:
        yield "no"  # type: ignore[misc]

    with pytest.raises(FlowError, match="OMG-R002"):
        wrong(1)
