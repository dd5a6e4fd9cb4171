"""A small HTTP/1.1 client for one tool server: connections that stay open, answers that are bounded, nothing else (RFC 9112).

General clients cost several times the rest of a governed call, so this one does what streamable HTTP needs: POST, GET and DELETE to one
address, an answer of known length, in chunks, or until the connection closes, read whole or as it comes. Redirects are not followed:
headers hold credentials, and another address is another server. Compressed answers are refused: their size could not be bounded in time.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

CONNECT_S: Final = 10.0
"""Patience with a connection; answers have the timeout of the call."""

MAX_HEAD: Final = 64 << 10
"""Most bytes of status line and headers."""

IDLE: Final = 256
"""Most open connections kept for later calls."""

_CHUNK: Final = 64 << 10
_STATUS: Final = re.compile(r"[1-9][0-9]{2}")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class HttpFault(Exception):
    """The server cannot be reached, closed the connection too early, or said what is no HTTP. `sent` tells whether it may have heard us."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(slots=True)
class Answer:
    """An answer whose head has arrived. `headers` have lower-case names. Read its body with `Pool.whole` or `Pool.pieces`."""

    status: int
    headers: Mapping[str, str]
    line: _Line

    @property
    def kind(self) -> str:
        """The media type of the body, in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True, eq=False)
class _Line:
    """One connection, and how much of the answer on it is still to be read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    left: int | None = 0
    chunked: bool = False
    keep: bool = True

    @property
    def usable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing() and self.reader.exception() is None


@dataclass(slots=True)
class Pool:
    """Connections to `url`, with `headers` sent on every request; an answer has at most `limit` bytes."""

    url: str
    headers: Mapping[str, str]
    limit: int
    _idle: deque[_Line] = field(default_factory=deque)
    _live: set[_Line] = field(default_factory=set)
    _head: str = ""
    _place: tuple[str, int, bool] = ("", 0, False)
    _target: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        self._place = (parts.hostname or "", port, secure)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        own = {"Host": parts.netloc, "Accept-Encoding": "identity", "User-Agent": "omega", **self.headers}
        for name, value in own.items():
            if any(letter in name + value for letter in "\r\n\0"):
                raise HttpFault(f"the header {name[:40]!r} cannot be sent", sent=False)
        self._head = "".join(f"{name}: {value}\r\n" for name, value in own.items())

    async def ask(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one request; gives the answer when its head is there. Raises HttpFault, and TimeoutError when no connection comes about."""
        line = await self._line()
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {self._target} HTTP/1.1\r\n{self._head}{extra}Content-Length: {len(body)}\r\n\r\n"
        done = False
        try:
            line.writer.write(head.encode("latin-1", "replace") + body)
            if line.writer.transport.get_write_buffer_size():
                await line.writer.drain()
            answer = await _read_head(line)
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise HttpFault("it compressed its answer although it was asked not to", sent=True)
            done = True
            return answer
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise HttpFault(_words(error), sent=True) from error
        finally:
            if not done:
                self._drop(line)

    async def whole(self, answer: Answer) -> bytes:
        """The body of `answer`, after which its connection serves the next request. Raises HttpFault."""
        line, parts, size = answer.line, [], 0
        if not line.chunked and line.left is not None and line.left <= self.limit:
            try:
                body = await line.reader.readexactly(line.left) if line.left else b""
            except (OSError, EOFError) as error:
                self._drop(line)
                raise HttpFault(_words(error), sent=True) from error
            line.left = 0
            self._give_back(line)
            return body
        async for piece in self.pieces(answer):
            size += len(piece)
            if size > self.limit:
                self._drop(line)
                raise HttpFault(f"the answer has more than {self.limit} bytes", sent=True)
            parts.append(piece)
        return b"".join(parts)

    async def pieces(self, answer: Answer) -> AsyncIterator[bytes]:
        """The body of `answer` as it comes. Left early, its connection is closed: that tells the server to stop. Raises HttpFault."""
        line, complete = answer.line, False
        try:
            async for piece in _chunks(line) if line.chunked else _plain(line):
                yield piece
            complete = True
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise HttpFault(_words(error), sent=True) from error
        finally:
            if complete:
                self._give_back(line)
            else:
                self._drop(line)

    def drop(self, answer: Answer) -> None:
        """Close the connection of an answer whose body nobody wants."""
        self._drop(answer.line)

    def close(self) -> None:
        """Close every connection. Answers that are still being read break off."""
        for line in list(self._live):
            self._drop(line)
        self._idle.clear()

    async def _line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
            self._drop(line)
        host, port, secure = self._place
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    host, port, ssl=_trust() if secure else None, server_hostname=host if secure else None, limit=MAX_HEAD
                )
        except (OSError, TimeoutError) as error:
            raise HttpFault(f"no connection: {_words(error)}", sent=False) from error
        line = _Line(reader, writer)
        self._live.add(line)
        return line

    def _give_back(self, line: _Line) -> None:
        if line.keep and line.usable and len(self._idle) < IDLE:
            self._idle.append(line)
        else:
            self._drop(line)

    def _drop(self, line: _Line) -> None:
        self._live.discard(line)
        line.keep = False
        line.writer.close()


@lru_cache(1)
def _trust() -> ssl.SSLContext:
    """The machine's authorities: read once, because reading them takes longer than a hundred calls."""
    return ssl.create_default_context()


async def _read_head(line: _Line) -> Answer:
    while True:
        text = (await line.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = text[:-4].split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or _STATUS.fullmatch(parts[1]) is None:
            raise HttpFault("it does not speak HTTP", sent=True)
        if parts[1][0] != "1":  # an interim answer (100, 103) comes before the one that counts
            break
    headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    status, length = int(parts[1]), headers.get("content-length", "")
    if length and _LENGTH.fullmatch(length) is None:
        raise HttpFault("its answer has a length that is no number", sent=True)
    line.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    line.keep = headers.get("connection", "").lower() != "close" and parts[0] == "HTTP/1.1"
    line.left = 0 if status in (204, 304) else int(length) if length else None
    if line.left is None and not line.chunked:
        line.keep = False  # its end is the end of the connection
    return Answer(status, headers, line)


async def _plain(line: _Line) -> AsyncIterator[bytes]:
    while line.left is None or line.left > 0:
        piece = await line.reader.read(_CHUNK if line.left is None else min(_CHUNK, line.left))
        if not piece:
            if line.left is None:
                return
            raise EOFError("the connection was closed in the middle of an answer")
        if line.left is not None:
            line.left -= len(piece)
        yield piece


async def _chunks(line: _Line) -> AsyncIterator[bytes]:
    """RFC 9112, 7.1. Extensions and trailers are read and ignored."""
    while True:
        size = int((await line.reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16)
        if size < 0:
            raise ValueError("a chunk has a size below nothing")
        if size == 0:
            while (await line.reader.readuntil(b"\r\n")) != b"\r\n":
                continue
            return
        left = size
        while left:
            piece = await line.reader.read(min(_CHUNK, left))
            if not piece:
                raise EOFError("the connection was closed in the middle of an answer")
            left -= len(piece)
            yield piece
        await line.reader.readexactly(2)


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "nothing answered in time"
    if isinstance(error, EOFError):
        return "the connection was closed"
    return str(error).lower()[:300] or type(error).__name__
