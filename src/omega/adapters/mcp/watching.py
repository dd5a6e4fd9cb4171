"""The stream on which a tool server tells of what changed: lists, and resources that somebody watches.

    2026-07-28           a POST of `subscriptions/listen`, which names the resources; for others a new one takes the place of the old
    up to 2025-11-25     a GET, which stands for the whole session; resources are named by requests of their own

A stream that ends is opened again after a pause that grows, and whatever could have changed meanwhile is told as changed. A server that
offers no stream is left alone: its lists are fetched again when they have grown old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

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

MAX_WATCHED: Final = 1_000
"""Most resources of one conversation that are watched."""

Opening = Callable[[], tuple[str, bytes, Mapping[str, str]]]
"""Method, body and headers of the request that opens the stream, as things stand."""


def updates_of(server: str, uri: str) -> str:
    """The name under which changes of a resource are counted."""
    return f"updated {server} {uri}"


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
