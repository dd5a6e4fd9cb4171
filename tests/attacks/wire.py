"""The attacker's side of a connection: sends any bytes, and reads what comes back without trusting it."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

PATIENCE_S = 60.0
"""How long an answer may take: longer than the gateway waits by itself for the end of a call."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes of WebSocket frames (RFC 6455, 11.8)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer over HTTP; `whole` says whether its body was read to its end (a stream's is not)."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = True

    @property
    def document(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def code(self) -> str:
        """Our code, wherever the entrance puts it; empty where there is none."""
        document = self.document
        found = document if isinstance(document, dict) else {}
        error: Any = found.get("error", found)
        if isinstance(error, dict) and isinstance(error.get("data"), dict):
            error = error["data"]
        return str(error.get("code", "")) if isinstance(error, dict) else ""


@dataclass(slots=True)
class Line:
    """A connection to a house, opened anew whenever the other side has closed it."""

    url: str
    _socket: socket.socket | None = None
    _heard: bytes = b""

    @property
    def name(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    def say(self, data: bytes) -> None:
        """Send bytes as they are; a connection that breaks meanwhile shows when the answer is read."""
        if self._socket is None:
            parts = urlsplit(self.url)
            self._socket, self._heard = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S), b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def ask(self, data: bytes) -> Answer | None:
        """The answer to `data`; None when the connection was closed without one."""
        self.say(data)
        return self.answer()

    def answer(self) -> Answer | None:
        """The next answer on this connection; None when it was closed instead. One that does not end by itself is left, and closed."""
        while b"\r\n\r\n" not in self._heard:
            if not self._more():
                return None
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if "content-length" not in headers:
            if status not in (204, 304):
                self.close()
            return Answer(status, headers, whole=status in (204, 304))
        length = int(headers["content-length"])
        while len(self._heard) < length and self._more():
            pass
        body, self._heard = self._heard[:length], self._heard[length:]
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, body, whole=len(body) == length)

    def answers(self) -> list[Answer]:
        """Everything that comes until the other side closes."""
        found: list[Answer] = []
        while self._socket is not None and (next_one := self.answer()) is not None:
            found.append(next_one)
        return found

    def closed(self) -> bool:
        """Whether the other side closes, within the patience of a test."""
        while self._more():
            self._heard = b""
        return True

    def end(self) -> None:
        """Say that nothing more will come, and go on listening."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close this side."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _more(self) -> bool:
        if self._socket is None:
            return False
        with contextlib.suppress(ConnectionResetError):
            chunk = self._socket.recv(65_536)
            if chunk:
                self._heard += chunk
                return True
        self.close()
        return False

    # -- WebSocket

    def upgrade(self, path: str, headers: str) -> Answer | None:
        """Open a WebSocket on this connection, as far as the other side lets it."""
        key = base64.b64encode(os.urandom(16)).decode()
        asked = f"GET {path} HTTP/1.1\r\nhost: {self.name}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        self.say(f"{asked}sec-websocket-key: {key}\r\n{headers}\r\n".encode("latin-1"))
        while b"\r\n\r\n" not in self._heard:
            if not self._more():
                return None
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        return Answer(int(head.split(b" ")[1]), {})

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame of the other side, as opcode and payload; None when it closed the connection."""
        while (found := _frame_of(self._heard)) is None:
            if not self._more():
                return None
        opcode, payload, size = found
        self._heard = self._heard[size:]
        return opcode, payload


def _frame_of(data: bytes) -> tuple[int, bytes, int] | None:
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    if size >= 126:
        form = ">H" if size == 126 else ">Q"
        at += struct.calcsize(form)
        if len(data) < at:
            return None
        size = struct.unpack_from(form, data, 2)[0]
    return (data[0] & 15, data[at : at + size], at + size) if len(data) >= at + size else None


def framed(payload: bytes, opcode: int = TEXT, *, final: bool = True, masked: bool = True, reserved: int = 0, claimed: int = -1) -> bytes:
    """One frame of a client (RFC 6455, 5.2), or one that breaks its rules; `claimed` is the length that it says it has."""
    length = len(payload) if claimed < 0 else claimed
    first = (0x80 if final else 0) | (reserved & 7) << 4 | (opcode & 15)
    mask = 0x80 if masked else 0
    if length < 126:
        head = struct.pack(">BB", first, mask | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", first, mask | 126, length)
    else:
        head = struct.pack(">BBQ", first, mask | 127, length)
    if not masked:
        return head + payload
    key = b"\x11\x22\x33\x44"
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


@dataclass
class Requested:
    """A request as an attacker writes it: every part may be anything."""

    method: str = "POST"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def raw(self, name: str) -> bytes:
        """Its bytes, with the header `host` of the house `name` and the length of the body, unless it says others."""
        lines = {"host": name, "content-length": str(len(self.body)), **self.headers}
        head = "".join(f"{key}: {value}\r\n" for key, value in lines.items() if value is not None)
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace") + self.body


@contextmanager
def dialled(url: str) -> Iterator[Line]:
    """A connection for as long as the context lasts."""
    line = Line(url)
    try:
        yield line
    finally:
        line.close()
