"""A store that dies on request, exactly before or exactly after a batch becomes durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from omega.adapters.memory import MemoryStore, Snapshot
from omega.kernel.ports import Batch, Committed, Sequencer
from omega.testing.effectors import Crash


class MortalStore(MemoryStore):
    """A MemoryStore whose process dies at append `die_at` (from 0; None: never), before or `after` it is durable. From then on every
    call dies too.

    `eager` makes what is handed to `behind` durable at once, as an idle disk would; otherwise it waits for the next commit, the longest
    that a disk may take. Both are lawful, and a crash meets them differently. `appends` counts the batches that became durable.
    """

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        owner: str,
        now_us: Callable[[], int],
        start: Snapshot | None = None,
        die_at: int | None = None,
        after: bool = False,
        eager: bool = False,
    ) -> None:
        super().__init__(sequencer=sequencer, owner=owner, now_us=now_us, start=start)
        self.appends = 0
        self.dead = False
        self._die_at = die_at
        self._after = after
        self._eager = eager

    def alive(self) -> None:
        """Raise Crash when this process is dead: whatever it would still do does not happen."""
        if self.dead:
            raise Crash

    async def commit(self, batch: Batch) -> Committed:
        """As the store does, while it lives."""
        self.alive()
        return await super().commit(batch)

    def behind(self, batch: Batch) -> None:
        """As the store does, while it lives."""
        self.alive()
        super().behind(batch)
        if self._eager:
            self._drain()

    async def claim(self, execution: str, **facts: Any) -> int:
        """As the store does, while it lives."""
        self.alive()
        return await super().claim(execution, **facts)

    def _append(self, batch: Batch) -> Committed:
        self.alive()
        number, self.appends = self.appends, self.appends + 1
        if number == self._die_at and not self._after:
            self._die()
        committed = super()._append(batch)
        if number == self._die_at:
            self._die()
        return committed

    def _die(self) -> NoReturn:
        self.dead = True
        raise Crash
