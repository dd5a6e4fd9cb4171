"""Event streams: what is written is read, in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.wire.sse import PING, Event, Reader, TooLarge, event

LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=30).map(str.encode)


def read(data: bytes, sizes: list[int], limit: int = 1 << 16) -> list[Event]:
    reader, found, start = Reader(limit), [], 0
    for size in [*sizes, len(data)]:
        found += reader.feed(data[start : start + size])
        start += size
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(LINES, max_size=5), st.lists(st.integers(1, 20), max_size=30))
def test_events_survive_any_cut(texts: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(event(text, id=str(number)) + PING for number, text in enumerate(texts))
    found = read(stream, sizes)
    assert [(each.kind, each.id, each.data) for each in found] == [("message", str(number), text) for number, text in enumerate(texts)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_counts(end: bytes) -> None:
    lines = [b": hello", b"event: told", b"data: a", b"data:b", b"unknown: x", b"", b"data", b"", b"id: 1", b"", b"x"]
    found = read(end.join(lines), [1] * 200)
    assert [(each.kind, each.data) for each in found] == [("told", b"a\nb"), ("message", b"")]


def test_reader_knows_how_to_ask_for_a_stream_again() -> None:
    reader = Reader(1_000)
    assert (reader.last_id, reader.retry_ms) == ("", None)
    assert reader.feed(b"id: a7\nretry: 250\ndata: \n\nretry: soon\nretry: " + b"9" * 10 + b"\n") == [Event("message", "a7", b"")]
    assert (reader.last_id, reader.retry_ms) == ("a7", 250)


def test_stream_that_never_ends_an_event_is_cut_off() -> None:
    for flood in (b"data: " + b"x" * 200, b"data: x\n" * 200, b"x" * 200):
        with pytest.raises(TooLarge):
            read(flood, [], limit=100)
