"""Packing: every value comes out as it went in, small where it can be, and nothing that was tampered with comes out at all."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import IntegrityError
from omega.kernel.journal import MAX_PAYLOAD
from omega.kernel.packing import DEFLATED, DIFFERENCE, MAX_CHAIN, MAX_UNFOLDED, PACK_FROM, Base, base_of, next_base, pack, unpack

NOISE = random.Random(5).randbytes(200_000)


def words(count: int, seed: int = 0) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice("0123456789abcdefghijklmnopqrstuvwxyz ") for _ in range(count))


def stored(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.promise("STORE-01")
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=6_000), st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 900), st.binary(max_size=900)), max_size=6))
def test_whatever_is_packed_comes_out_again(seed: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    base = b"[" + (seed * 3 + NOISE)[: 3_000 + len(seed)]
    value = base
    for at, cut, put in edits:
        value = value[: at + 1] + put + value[at + 1 + cut :]
    value = b"[" + value[1:]
    packed, rests_on = pack(value, Base(7, base))
    assert base_of(packed) == (7 if rests_on is not None else None)
    assert unpack(packed, base) == value
    alone, nothing = pack(value)
    assert nothing is None and unpack(alone) == value


@pytest.mark.promise("STORE-01")
@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["messages"].append(words(1_000, 99)),
        lambda state: state.update(step=12),
        lambda state: (state.update(step=1234567), state["messages"].append(words(1_000, 98)), state["messages"].pop(20)),
        lambda state: state["messages"].insert(0, words(900, 97)),
    ],
)
def test_a_state_that_changes_a_little_costs_a_little(change: object) -> None:
    state = {"step": 11, "messages": [words(1_000, number) for number in range(100)], "last": "x"}
    before = stored(state)
    change(state)  # type: ignore[operator]
    after = stored(state)
    packed, rests_on = pack(after, Base(1, before))
    assert rests_on is not None and len(packed) < 2_300 and unpack(packed, before) == after


def test_what_has_nothing_in_common_is_stored_whole() -> None:
    packed, rests_on = pack(NOISE[:50_000], Base(1, NOISE[60_000:160_000]))
    assert rests_on is None and packed == NOISE[:50_000]


def test_only_what_pays_is_deflated() -> None:
    assert pack(b"[" + b"1," * 4_000 + b"1]")[0][:1] == DEFLATED
    assert pack(b"[" + NOISE[:9_000])[0][:1] == b"["
    small = b'"' + b"a" * (PACK_FROM - 3) + b'"'
    assert pack(small) == (small, None)


@pytest.mark.parametrize("size", [1, 40, 5_000])
@pytest.mark.parametrize("first", [0, 1, 2, 3, 4])
def test_bytes_that_are_no_json_come_out_again_too(first: int, size: int) -> None:
    value = bytes([first]) * size
    for packed, _ in (pack(value), pack(value, Base(1, value))):
        assert unpack(packed, value) == value


def test_chains_are_bounded_in_length_and_bytes() -> None:
    value = stored([words(3_000)])
    assert pack(value, Base(1, value, depth=MAX_CHAIN))[1] is None
    assert pack(value, Base(1, value, spent=2 * len(value)))[1] is None
    large = b'"' + random.Random(1).randbytes(300_000).hex().encode() + b'"'
    deepest = MAX_UNFOLDED // len(large)
    assert pack(large, Base(1, large, depth=deepest))[1] is not None and pack(large, Base(1, large, depth=deepest + 1))[1] is None
    base = next_base(5, value, b"x" * 40, Base(1, value, depth=3, spent=10))
    assert (base.seq, base.depth, base.spent) == (5, 4, 50) and next_base(6, value, value, None).depth == 0


@pytest.mark.promise("STORE-02")
def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = zlib.compress(bytes(300_000_000), 9)
    for size in (1_000, MAX_PAYLOAD + 1, 300_000_000):
        with pytest.raises(IntegrityError):
            unpack(DEFLATED + leb(size) + bomb)
    copies = leb(0) + leb(0) + leb(MAX_PAYLOAD)
    bombs = [
        DIFFERENCE + leb(1) + leb(MAX_PAYLOAD + 1) + bytes(4) + leb(1) + copies + b"\x00",
        DIFFERENCE + leb(1) + leb(10) + bytes(4) + leb(60) + copies * 60 + b"\x00",
        DIFFERENCE + leb(1) + leb(10) + bytes(4) + leb(1 << 30) + copies,
    ]
    for each in bombs:
        with pytest.raises(IntegrityError):
            unpack(each, bytes(MAX_PAYLOAD))


@pytest.mark.promise("STORE-02")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_never_gives_another_value(data: st.DataObject) -> None:
    before = stored([words(1_500, number) for number in range(3)])
    after = stored([words(1_500, number) for number in range(4)])
    packed = bytearray(pack(after, Base(1, before))[0])
    at = data.draw(st.integers(1, len(packed) - 1))
    packed[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unpack(bytes(packed), before)
    except IntegrityError:
        return
    assert found == after


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_noise_is_an_integrity_error(noise: bytes) -> None:
    for form in (DEFLATED, DIFFERENCE):
        try:
            unpack(form + noise, b"base")
        except IntegrityError:
            continue


def leb(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
