"""Virtual time: an event loop that jumps to the next deadline instead of waiting for it.

asyncio asks its selector to wait until the earliest timer is due. Here the selector never waits: when nothing is ready, it moves the
loop's clock by what it was asked to wait. `asyncio.sleep(3600)` takes microseconds, `asyncio.timeout` passes exactly when it should
relative to everything else, and the order of events is the same in every run. Threads and sockets have no place in it: time would run
away while they work.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from omega.testing.clock import START_US

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Every task waits for something that nothing in the loop will bring about."""


class _JumpingSelector(selectors.DefaultSelector):
    """Reports what is ready now, and turns waiting into a jump of `now`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("nothing is due and nothing is ready: a task waits for what never comes")
        self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which starts at 0. Raises Deadlock where a real loop would wait for ever."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return float(self._jumping.now)


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work` on a fresh `VirtualLoop`. Raises what it raises, Deadlock when it can never end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class LoopClock:
    """`kernel.ports.Clock` on the running event loop: on a `VirtualLoop` all its time is virtual."""

    def __init__(self, start_us: int = START_US) -> None:
        self._start_us = start_us

    def now_us(self) -> int:
        """Wall time in Unix microseconds: the start, what has passed since, and all jumps."""
        return self._start_us + round(self.monotonic() * 1_000_000)

    def monotonic(self) -> float:
        """Seconds of the loop's own clock; 0 outside a loop."""
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    async def sleep(self, seconds: float) -> None:
        """Wait until the loop's clock has moved by `seconds`."""
        await asyncio.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Set wall time forward or back without anything having passed."""
        self._start_us += round(seconds * 1_000_000)
