"""Topics and patterns as NATS has them (docs.nats.io, "Subject-based messaging"), and the buffer in which a subscriber's messages wait."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Final

from omega.kernel.errors import InputError

MAX_TOPIC: Final = 255
"""Longest topic in characters."""

MAX_BODY: Final = 64 << 10
"""Largest message in bytes: the size that every carrier of CloudEvents forwards."""

BUFFER: Final = 1_024
"""Messages that wait for one subscriber; further ones push out the oldest, and are counted as missed."""

_WORD = r"[A-Za-z0-9_=:@/+-]+"
_TOPIC = re.compile(rf"{_WORD}(?:\.{_WORD})*")
_PATTERN = re.compile(rf"(?:(?:{_WORD}|\*)\.)*(?:{_WORD}|\*|>)")


def checked_topic(topic: str) -> str:
    """`topic`, if it can be published on. Raises InputError (OMG-I001)."""
    if len(topic) > MAX_TOPIC or _TOPIC.fullmatch(topic) is None:
        raise InputError("OMG-I001", f"{topic[:80]!r} is no topic: words of letters, digits and -_=:@/+ joined by dots")
    return topic


def checked_pattern(pattern: str) -> str:
    """`pattern`, if it can be subscribed to. Raises InputError (OMG-I001)."""
    if len(pattern) > MAX_TOPIC or _PATTERN.fullmatch(pattern) is None:
        raise InputError(
            "OMG-I001", f"{pattern[:80]!r} is no pattern of topics", advice="words joined by dots; * is one word, a last > the rest"
        )
    return pattern


def checked_body(body: bytes) -> bytes:
    """`body`, if a bus carries it. Raises InputError (OMG-I001)."""
    if len(body) > MAX_BODY:
        raise InputError("OMG-I001", f"a message of {len(body):,} bytes is over the limit of {MAX_BODY:,}")
    return body


def fits(pattern: str, topic: str) -> bool:
    """Whether a message on `topic` is for a subscriber to `pattern`."""
    wanted, words = pattern.split("."), topic.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(words) <= len(wanted):
            return False
    elif len(wanted) != len(words):
        return False
    return all(each in ("*", word) for each, word in zip(wanted, words, strict=False))


class Waiting:
    """The messages of one subscriber, oldest first; belongs to one event loop."""

    def __init__(self, size: int = BUFFER) -> None:
        self.missed = 0
        self._messages: deque[tuple[str, bytes]] = deque(maxlen=size)
        self._came = asyncio.Event()

    def put(self, topic: str, body: bytes) -> None:
        """One more, in place of the oldest when there is no room."""
        if len(self._messages) == self._messages.maxlen:
            self.missed += 1
        self._messages.append((topic, body))
        self._came.set()

    async def next(self, timeout_s: float) -> tuple[str, bytes] | None:
        """See `kernel.ports.Subscription.next`."""
        if not self._messages:
            self._came.clear()
            try:
                async with asyncio.timeout(max(0.0, timeout_s)):
                    await self._came.wait()
            except TimeoutError:
                return None
        return self._messages.popleft() if self._messages else None
