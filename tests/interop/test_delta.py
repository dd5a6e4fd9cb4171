"""Differences of byte strings: whatever they are made of, the value comes back; and what is only moved is not written again."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.langgraph.delta import BLOCK, Value, difference

pieces = st.lists(st.binary(max_size=80) | st.sampled_from([b"a" * 70, b"ab" * 40, bytes(range(64))]), max_size=6).map(b"".join)


@given(st.lists(st.tuples(pieces, st.lists(pieces, max_size=3)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_every_version_of_a_chain_reads_as_what_was_stored(versions: list[tuple[bytes, list[bytes]]]) -> None:
    value: Value | None = None
    stored = []
    for plain, others in versions:
        value = Value.after(value, others, plain)
        stored.append((value, plain))
    assert [value.read() for value, _ in stored] == [plain for _, plain in stored]


@given(pieces, pieces)
@settings(max_examples=200, deadline=None)
def test_pieces_lie_within_the_base_and_make_the_value(base: bytes, new: bytes) -> None:
    made = b""
    for piece in difference(base, new):
        if not isinstance(piece, bytes):
            assert piece[1] >= BLOCK and piece[0] + piece[1] <= len(base)
            piece = base[piece[0] : piece[0] + piece[1]]
        made += piece
    assert made == new


@pytest.mark.parametrize("change", ["appended", "put first", "put in the middle", "taken out", "replaced"])
def test_only_what_is_new_is_written(change: str) -> None:
    old, added = os.urandom(100_000), os.urandom(500)
    new = {
        "appended": old + added,
        "put first": added + old,
        "put in the middle": old[:40_000] + added + old[40_000:],
        "taken out": old[:40_000] + old[41_000:],
        "replaced": old[:40_000] + added + old[41_000:],
    }[change]
    assert Value.after(Value.whole(old), (), new).written <= 600


def test_what_a_task_wrote_is_not_written_again() -> None:
    old, written = os.urandom(10_000), os.urandom(1_000)
    value = Value.after(Value.whole(old), [b"other", written], b"head" + old + written)
    assert value.written < BLOCK and value.read() == b"head" + old + written


def test_a_long_chain_is_read_in_the_time_of_its_size() -> None:
    value, plain = Value.whole(b""), b""
    for _ in range(3_000):
        added = os.urandom(100)
        value, plain = Value.after(value, (added,), plain + added, known=plain), plain + added
    began = time.perf_counter()
    assert value.read() == plain
    assert time.perf_counter() - began < 2, "300 kB in 3,000 versions: materialising each would be 450 MB"


def test_a_value_whose_pieces_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="came out with"):
        Value(((0, 50),), 50, Value.whole(b"short")).read()
