"""The stream on which a tool server tells of what changed: lists, and resources that somebody watches.

    2026-07-28           a POST of `subscriptions/listen`, which names the resources; for others a new one takes the place of the old
    up to 2025-11-25     a GET, which stands for the whole session; resources are named by requests of their own

A stream that ends is opened again after a pause that grows, and whatever could have changed meanwhile is told as changed. A server that
offers no stream is left alone: its lists are fetched again when they have grown old.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from omega.adapters.mcp.guests import Whose
from omega.adapters.mcp.http import HttpFault, Pool
from omega.adapters.mcp.messages import Lost, messages
from omega.wire.sse import Reader

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""The first and the longest pause before a stream that ended is opened again, in seconds; it doubles in between."""

SWITCH_S: Final = 10.0
"""Patience with a new stream that takes the place of an old one, in seconds."""

HEAD_S: Final = 0.5
"""Patience with the beginning of a stream, in seconds."""

MAX_WATCHED: Final = 10_000
"""Most resources of one conversation that are watched."""

MAX_WATCHED_OF_ONE: Final = 500
"""Most of them for one caller: nobody shuts out the others with whom they share the conversation."""

Opening = Callable[[], tuple[str, bytes, Mapping[str, str]]]
"""Method, body and headers of the request that opens the stream, as things stand."""


class Watchers:
    """Who wants to know of changes of which resources of one conversation, and how often each said so."""

    def __init__(self) -> None:
        self._all: Counter[str] = Counter()
        self._of: dict[Whose, Counter[str]] = {}

    def __iter__(self) -> Iterator[str]:
        """The resources that somebody watches."""
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, uri: str) -> bool:
        return uri in self._all

    def full(self, whose: Whose, uri: str) -> int:
        """The limit that stands in the way of `whose` watching `uri`; 0 where none does."""
        own = self._of.get(whose, ())
        if uri not in own and len(own) >= MAX_WATCHED_OF_ONE:
            return MAX_WATCHED_OF_ONE
        return MAX_WATCHED if uri not in self._all and len(self._all) >= MAX_WATCHED else 0

    def add(self, whose: Whose, uri: str) -> None:
        """`whose` wants to know of `uri`, once more."""
        self._all[uri] += 1
        self._of.setdefault(whose, Counter())[uri] += 1

    def drop(self, whose: Whose, uri: str) -> bool:
        """`whose` wants to know once less, if at all; whether nobody wants to know any more since."""
        own = self._of.get(whose)
        if not own or uri not in own:
            return False
        for counter in (own, self._all):
            counter[uri] -= 1
            if not counter[uri]:
                del counter[uri]
        if not own:
            del self._of[whose]
        return uri not in self._all


@dataclass(slots=True, eq=False)
class Watching:
    """The stream of one conversation. `heard` gets each message on it, `missed` is called when some may have been missed."""

    pool: Pool
    limit: int
    opening: Opening
    heard: Callable[[Mapping[str, Any]], None]
    missed: Callable[[], None]
    uris: set[str] = field(default_factory=set)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Open the stream, if it is not open yet."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(asyncio.Event()))

    async def begun(self) -> None:
        """Until the server has said whether it opens a stream, or for `HEAD_S`: some say nothing before they have something to say."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAD_S):
                await self._answered.wait()

    async def renew(self) -> None:
        """Open another stream, and close the old one when the new one is there: nothing is missed in between."""
        old, opened = self._task, asyncio.Event()
        self._task = asyncio.create_task(self._follow(opened))
        waiting = asyncio.create_task(opened.wait())
        try:
            await asyncio.wait([waiting, self._task], timeout=SWITCH_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await _ended(old)

    async def close(self) -> None:
        """Close the stream, and wait until it is."""
        await _ended(self._task)

    async def _follow(self, opened: asyncio.Event) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            with suppress(HttpFault, Lost, TimeoutError):
                if not await self._once(opened):
                    return
            self.missed()
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > LONGEST_PAUSE_S else min(2 * pause_s, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _once(self, opened: asyncio.Event) -> bool:
        """Listen until the stream ends; False where the server offers none. Raises HttpFault, Lost, TimeoutError."""
        method, body, headers = self.opening()
        try:
            answer = await self.pool.ask(method, body, headers)
        finally:
            self._answered.set()
        if answer.status != 200 or answer.kind != "text/event-stream":
            self.pool.drop(answer)
            return False
        pieces = self.pool.pieces(answer)
        try:
            async for message in messages(pieces, Reader(self.limit)):
                opened.set()
                self.heard(message)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        return True


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
