"""The clock and the entropy of a real machine."""

from __future__ import annotations

import asyncio
import os
import threading
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


DRAWN = 8_192
"""Random bytes that are asked of the operating system at once."""

MOST_DRAWN = 256
"""Largest piece that is handed out of the supply, in bytes."""


class SystemEntropy:
    """Implements `omega.kernel.ports.Entropy` with the operating system's generator.

    A call of a flow takes seven pieces of it, and each request to the system gives other threads the interpreter in the middle of the call;
    so a supply is drawn at once and handed out in pieces. No byte is given twice: pieces are taken under a lock, and a process that was
    forked off drops what it inherited.
    """

    def take(self, size: int) -> bytes:
        """`size` random bytes."""
        return os.urandom(size) if size > MOST_DRAWN else _SUPPLY.take(size)


class _Supply:
    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._drawn, self._at = bytearray(), 0

    def take(self, size: int) -> bytes:
        with self._lock:
            end = self._at + size
            if end > len(self._drawn):
                self._drawn, self._at, end = bytearray(os.urandom(DRAWN)), 0, size
            taken = bytes(self._drawn[self._at : end])
            self._drawn[self._at : end] = bytes(size)  # what was given out does not stay here: keys are made of it
            self._at = end
        return taken


_SUPPLY = _Supply()
