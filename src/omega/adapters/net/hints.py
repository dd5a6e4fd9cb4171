"""Hints that were heard and not yet acted on: what every adapter of `kernel.ports.Wakeups` keeps on the listening side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_HEARD = 10_000
"""Most queues that are remembered as heard; past it everything counts as heard, which costs a look too many."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    queues: frozenset[str]
    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event


class Heard:
    """The hints of one listener. `hear` and `hear_all` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: set[str] = set()
        self._all = False
        self._waiters: set[_Waiter] = set()

    def hear(self, queue: str) -> None:
        """Somebody says that there is something in `queue`."""
        with self._lock:
            self._queues.add(queue)
            if len(self._queues) > MAX_HEARD:
                self._all = True
                self._queues.clear()
            called = [waiter for waiter in self._waiters if self._all or queue in waiter.queues]
        _call(called)

    def hear_all(self) -> None:
        """Something may have been missed: there may be something in any queue."""
        with self._lock:
            self._all = True
            called = list(self._waiters)
        _call(called)

    async def wait(self, queues: Sequence[str], timeout_s: float) -> bool:
        """Whether something was heard of one of `queues`, since the last call or within `timeout_s`; asking forgets it."""
        waiter = _Waiter(frozenset(queues), asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            if self._forget(waiter.queues):
                return True
            self._waiters.add(waiter)
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await waiter.woken.wait()
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiters.discard(waiter)
        with self._lock:
            self._forget(waiter.queues)
        return True

    def _forget(self, queues: frozenset[str]) -> bool:
        """Whether something was heard of one of `queues`; it no longer counts."""
        heard = bool(queues) and (self._all or not self._queues.isdisjoint(queues))
        if heard:
            self._all = False
            self._queues -= queues
        return heard


def _call(waiters: Iterable[_Waiter]) -> None:
    for waiter in waiters:
        if _running() is waiter.loop:
            waiter.woken.set()
            continue
        try:
            waiter.loop.call_soon_threadsafe(waiter.woken.set)
        except RuntimeError:  # the loop was closed: nobody waits there any more
            continue


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
