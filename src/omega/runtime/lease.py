"""Leases: for how long this engine owns an execution, by its own monotonic clock.

The store fences what is *written*: every append carries an epoch and is refused when somebody else has claimed the execution since. It
cannot fence what leaves for the world. So an owner also asks itself, right before each touch, whether its lease still runs:

    it runs          the touch gets a permit that ends with the lease, so that an owner held between check and send sends nothing
    it is over       the store is asked to renew it: nobody has taken over, and it goes on; or it is refused (OMG-S006), as is the touch

The moment a lease ends is counted from before the store was asked, on a clock that never goes back, and `MARGIN` of it is never used: a
store's clock that runs ahead of ours by less than that takes nothing away from under us.
"""

from __future__ import annotations

from omega.kernel.ports import Clock, Store

LEASE_US = 30_000_000
"""How long an execution is owned without a sign of life, in microseconds, unless the host says otherwise."""

MARGIN = 0.1
"""The last part of a lease, which its owner does not rely on."""


class Lease:
    """The ownership of one execution under one epoch. `since` is the monotonic moment (seconds) before the store was asked for it."""

    __slots__ = ("_clock", "_ends", "_store", "epoch", "execution", "length_us")

    def __init__(self, store: Store, clock: Clock, *, execution: str, epoch: int, length_us: int, since: float) -> None:
        self._store = store
        self._clock = clock
        self.execution = execution
        self.epoch = epoch
        self.length_us = length_us
        self._ends = since + self._usable_s

    @property
    def left_s(self) -> float:
        """Seconds for which it can still be relied on; negative when it is over."""
        return self._ends - self._clock.monotonic()

    async def renew(self) -> None:
        """Own it for a whole length from now. Raises StorageError: OMG-S006 when somebody else does."""
        since = self._clock.monotonic()
        await self._store.renew(self.execution, self.epoch, self._clock.now_us() + self.length_us)
        self._ends = since + self._usable_s

    async def assure(self) -> None:
        """Make sure that it runs now. Raises what `renew` raises."""
        if self.left_s <= 0:
            await self.renew()

    @property
    def _usable_s(self) -> float:
        return self.length_us / 1_000_000 * (1 - MARGIN)
