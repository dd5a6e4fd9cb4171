"""Server-sent events: the framing of an event stream (WHATWG HTML, section 9.2), written and read.

    event: message
    id: 7
    data: {"jsonrpc": "2.0", ...}
    <empty line>

Lines end with LF, CR or CRLF; several `data` lines are joined with LF; a line that begins with a colon is a comment and keeps the
connection open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PING: Final = b": ping\n\n"
"""A comment: nobody reads it, and no proxy takes the connection for dead."""

MAX_DIGITS: Final = 9
"""Longest time to wait in digits; a longer one is no time that anybody means."""

_LINE: Final = re.compile(rb"\r\n|\n|\r(?!\n)")


class TooLarge(ValueError):
    """An event is larger than the limit."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type (`message` unless it says otherwise), its id (empty if none), its data."""

    kind: str
    id: str
    data: bytes


def event(data: bytes, *, kind: str = "message", id: str = "") -> bytes:
    """`data`, which has no line breaks (compact JSON has none), as one event."""
    mark = f"id: {id}\n".encode() if id else b""
    return b"event: " + kind.encode() + b"\n" + mark + b"data: " + data + b"\n\n"


class Reader:
    """Turns the bytes of a stream, in pieces of any size, into events. `limit` bounds one event in bytes.

    `last_id` is the id of the latest event (empty: none had one), `retry_ms` how long to wait before the stream is asked for again (None:
    nothing was said), in milliseconds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.retry_ms: int | None = None
        self._rest = b""
        self._kind, self._id = "message", ""
        self._data: list[bytes] = []
        self._size = 0

    @property
    def last_id(self) -> str:
        """The id with which a stream that broke off is asked for again (`Last-Event-ID`)."""
        return self._id

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes. Raises TooLarge."""
        found: list[Event] = []
        text = self._rest + chunk
        start = 0
        for match in _LINE.finditer(text):
            if match.group() == b"\r" and match.end() == len(text):
                break  # the LF of a CRLF may still be on its way
            self._line(text[start : match.start()], found)
            start = match.end()
        self._rest = text[start:]
        if self._size + len(self._rest) > self._limit:
            raise TooLarge(f"an event has more than {self._limit} bytes")
        return found

    def _line(self, line: bytes, found: list[Event]) -> None:
        if not line:
            if self._data:
                found.append(Event(self._kind, self._id, b"\n".join(self._data)))
            self._kind, self._data, self._size = "message", [], 0
            return
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._limit:
                raise TooLarge(f"an event has more than {self._limit} bytes")
            self._data.append(value)
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= MAX_DIGITS:
            self.retry_ms = int(value)
