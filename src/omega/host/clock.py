"""The clock and the entropy of a real machine."""

from __future__ import annotations

import asyncio
import os
import time


class SystemClock:
    """Implements `omega.kernel.ports.Clock`.

    Microseconds of wall time never repeat or go back within a process, so that rows keep their order.
    """

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now_us(self) -> int:
        """Unix microseconds:

        the wall clock as it was at the start, carried on by the monotonic one, so a jump of the wall clock jumps nothing here.
        """
        return (self._offset + time.monotonic_ns()) // 1_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """Implements `omega.kernel.ports.Entropy` with the operating system's generator."""

    def take(self, size: int) -> bytes:
        """`size` random bytes."""
        return os.urandom(size)
