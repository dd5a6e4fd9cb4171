"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools

START_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z in Unix microseconds: where a fake clock starts."""

_TURNS = 8
"""Turns of the event loop given to those who were woken, so that what they do next (another sleep) is seen by the same `advance`."""


class FakeClock:
    """`kernel.ports.Clock` under a test's control.

    `advance` moves both clocks and wakes sleepers in the order of their deadlines, `jump` moves wall time alone, in either direction, as an
    operator or a bad time server would. `monotonic` starts at 0 and never goes back.
    """

    def __init__(self, start_us: int = START_US) -> None:
        self._wall_us = start_us
        self._elapsed_us = 0
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_us(self) -> int:
        """Wall time in Unix microseconds."""
        return self._wall_us

    def monotonic(self) -> float:
        """Seconds since the clock was made, jumps left out."""
        return self._elapsed_us / 1e6

    @property
    def sleeping(self) -> int:
        """How many sleepers wait: a test's condition that something has gone to sleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by `seconds`; zero or less gives way once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_us + round(seconds * 1e6), next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time forward, stopping at each deadline on the way to let its sleeper run. Raises ValueError for a negative step."""
        if seconds < 0:
            raise ValueError("time does not go back: use jump for the wall clock")
        end_us = self._elapsed_us + round(seconds * 1e6)
        while self._sleepers and self._sleepers[0][0] <= end_us:
            due_us, _, future = heapq.heappop(self._sleepers)
            self._move(due_us)
            if not future.done():  # a cancelled sleeper is gone
                future.set_result(None)
                await _let_run()
        self._move(end_us)
        await _let_run()

    def jump(self, seconds: float) -> None:
        """Set wall time forward or back without anything having passed."""
        self._wall_us += round(seconds * 1e6)

    def _move(self, to_us: int) -> None:
        passed = max(0, to_us - self._elapsed_us)
        self._elapsed_us += passed
        self._wall_us += passed


async def _let_run() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
