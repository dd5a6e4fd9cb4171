"""Who watches a run gets its parts as they are made; the producer waits for whoever reads slowly, but not for ever.

Nothing here is recorded and nothing here is truth: a part may be seen of a step that never ended, and one that begins again counts its
parts from 0 again. What a step is worth is its recorded result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from omega.kernel.errors import FlowError

BUFFER = 64
"""Parts that a watcher may lag behind before the producer waits for them."""

PATIENCE_S = 30.0
"""How long (seconds) a producer waits for one watcher; then the watching ends, and the flow goes on."""

MAX_WATCHERS = 64
"""Most watchers of one execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: of the step at `position`, its `index` (from 0; 0 again when the step begins again), its value as plain data."""

    execution: str
    position: str
    index: int
    value: Any


class Watching:
    """One watcher's parts, to iterate over until the execution ends or stands still. Raises FlowError (OMG-R045) when it was too slow."""

    def __init__(self, streams: Streams, tenant: str, execution: str, buffer: int) -> None:
        self._streams = streams
        self._tenant = tenant
        self._execution = execution
        self._parts: asyncio.Queue[Part] = asyncio.Queue(buffer)
        self._over = asyncio.Event()
        self._slow = False

    def __aiter__(self) -> AsyncIterator[Part]:
        return self

    async def __anext__(self) -> Part:
        part = await self._next()
        if part is not None:
            return part
        self.close()
        if self._slow:
            raise FlowError("OMG-R045", f"a watcher of {self._execution} took nothing for {self._streams.patience_s:g} s")
        raise StopAsyncIteration

    async def _next(self) -> Part | None:
        """The next part; None when there is none left and none will come."""
        if not self._parts.empty():
            return self._parts.get_nowait()
        if self._over.is_set():
            return None
        getting, ending = asyncio.create_task(self._parts.get()), asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((getting, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            getting.cancel()
            ending.cancel()
        if getting.done():
            return getting.result()
        return None if self._parts.empty() else self._parts.get_nowait()

    async def offer(self, part: Part, patience_s: float) -> None:
        """Hand `part` over, waiting for room; after `patience_s` seconds without room the watching is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._parts.put(part)
                return
        self._slow = True
        self.end()
        self._streams.drop(self._tenant, self._execution, self)

    def end(self) -> None:
        """Nothing more comes; what is there can still be read."""
        self._over.set()

    def close(self) -> None:
        """Stop watching. What is left is thrown away, so that no producer waits for room."""
        self.end()
        self._streams.drop(self._tenant, self._execution, self)
        while not self._parts.empty():
            self._parts.get_nowait()

    async def __aenter__(self) -> Watching:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Streams:
    """The watchers of one engine's executions. Nobody sees the parts of another tenant's, whatever id they name."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._watchers: dict[tuple[str, str], list[Watching]] = {}

    def watch(self, tenant: str, execution: str, *, buffer: int = BUFFER) -> Watching:
        """The parts of the tenant's `execution` from now on; begin before it runs to see them all.

        Close it, or use it as a context manager.

        Raises FlowError (OMG-R016) past `MAX_WATCHERS`.
        """
        known = self._watchers.setdefault((tenant, execution), [])
        if len(known) >= MAX_WATCHERS:
            raise FlowError("OMG-R016", f"{execution} has {MAX_WATCHERS} watchers already")
        watching = Watching(self, tenant, execution, buffer)
        known.append(watching)
        return watching

    def watched(self, tenant: str, execution: str) -> bool:
        """Whether anybody watches the tenant's `execution`."""
        return (tenant, execution) in self._watchers

    async def publish(self, tenant: str, part: Part) -> None:
        """Hand `part` to everyone who watches; returns when each of them has taken it in."""
        for watching in list(self._watchers.get((tenant, part.execution), ())):
            await watching.offer(part, self.patience_s)

    def drop(self, tenant: str, execution: str, watching: Watching) -> None:
        """Forget one watcher."""
        known = self._watchers.get((tenant, execution), [])
        if watching in known:
            known.remove(watching)
        if not known:
            self._watchers.pop((tenant, execution), None)

    def end(self, tenant: str, execution: str) -> None:
        """The execution has ended or stands still: no part comes any more."""
        for watching in self._watchers.pop((tenant, execution), []):
            watching.end()
