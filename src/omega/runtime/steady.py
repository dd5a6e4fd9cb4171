"""One time for all: the store's wall clock, carried forward by one's own monotonic clock.

Hosts disagree about the time of day, some of them by hours, and any of them may be set forward or back while it runs. Leases, due moments
and time limits are compared between hosts, so they are all told by the clock that they have in common: the store's. Each engine asks for it
once in a while and counts on from there by a clock that never goes back; its own wall clock is never looked at. What remains is half the
time of a round trip, which a lease's margin covers many times (`runtime.lease.MARGIN`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from omega.kernel.errors import StorageError
from omega.kernel.ports import Clock

QUICK_S = 0.5
"""Longest round trip, in seconds, after which an answer is still worth having: half of it is the error."""

GOOD_S = 0.02
"""Round trip, in seconds, after which no better answer is asked for."""

MAX_QUESTIONS = 5
"""How often the time is asked for in a row; the answer that came quickest counts."""


class SteadyClock:
    """`kernel.ports.Clock` by the store's time. `ask` gives the store's wall clock in Unix microseconds. Call `sync` first."""

    def __init__(self, own: Clock, ask: Callable[[], Awaitable[int]]) -> None:
        self._own = own
        self._ask = ask
        self._then_us = own.now_us()
        self._at = own.monotonic()
        self._known = False

    async def sync(self) -> None:
        """Ask for the time anew. An answer that took long says little, so it is asked for again and the quickest one counts; where all took
        too long, the time told before goes on.

        Raises what asking raises, StorageError (OMG-S004) when no answer comes quickly enough the first time.
        """
        best = QUICK_S
        found = False
        for _ in range(MAX_QUESTIONS):
            before = self._own.monotonic()
            theirs = await self._ask()
            after = self._own.monotonic()
            if after - before <= best:
                best, found = after - before, True
                told_us, at = theirs + round(best * 500_000), after
            if best <= GOOD_S and found:
                break
        if found:
            self._then_us, self._at, self._known = told_us, at, True
            return
        if not self._known:
            raise StorageError("OMG-S004", f"the store does not tell the time within {QUICK_S:g} s")

    def now_us(self) -> int:
        """The store's wall time in Unix microseconds, as far as is known here."""
        return self._then_us + round((self._own.monotonic() - self._at) * 1_000_000)

    def monotonic(self) -> float:
        """Seconds of one's own clock that never goes back."""
        return self._own.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait by one's own clock."""
        await self._own.sleep(seconds)
