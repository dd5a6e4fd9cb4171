"""What waits for a store's writer: entries, when they are due, who is told, and which executions have lost a batch.

Nothing here locks or wakes anybody: the writer that owns the queue does, with a thread's means or a task's.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.ports import Batch

BEHIND_ROWS = 128
"""Rows written behind that wake the writer: one fsync per this many pure steps is the most a sequential flow pays."""

BEHIND_S = 0.05
"""Longest time a row written behind waits, in seconds: a bound on what a crash runs again."""

MAX_PENDING_BYTES = 64 << 20
"""Most that may wait in the queue. Past it the caller blocks until the disk has caught up: memory is bounded, nothing is dropped."""

MAX_PENDING_ROWS = 1_024
"""Most rows that may wait for a writer in a thread: many flows at once would keep the interpreter from it until they are through."""


@dataclass(slots=True)
class Counts:
    """What a writer did since it was opened: transactions (one flush to disk each), batches, rows, leaves."""

    commits: int = 0
    batches: int = 0
    rows: int = 0
    leaves: int = 0


class Entry:
    """One thing in the queue: a batch, or a chore (a change that is no batch, called with the writer's ledger), and who waits for it."""

    __slots__ = ("batch", "chore", "error", "future", "loop", "result", "size")

    def __init__(
        self,
        *,
        batch: Batch | None = None,
        chore: Callable[[Any], Any] | None = None,
        future: asyncio.Future[Any] | concurrent.futures.Future[Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        size: int = 0,
    ) -> None:
        self.batch = batch
        self.chore = chore
        self.future = future
        self.loop = loop
        self.size = size
        self.result: Any = None
        self.error: OmegaError | None = None


@dataclass(slots=True)
class Queue:
    """Entries in the order they came. `due` is the monotonic time in seconds by which the first must be written."""

    entries: list[Entry] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    urgent: bool = False
    due: float = 0.0

    def add(self, entry: Entry, now: float, linger_s: float) -> None:
        """Append `entry`, due in `linger_s` if it is the first; somebody who waits for it makes everything urgent."""
        if not self.entries:
            self.due = now + linger_s
        self.entries.append(entry)
        self.size += entry.size
        if entry.batch is not None:
            self.rows += len(entry.batch.rows)
        if entry.future is not None:
            self.urgent = True

    def pressing(self, rows: int) -> bool:
        """Whether it is time to write, whatever the clock says: somebody waits, or so many rows do."""
        return self.urgent or self.rows >= rows

    def patience(self, now: float) -> float | None:
        """Seconds until the first entry is due; None when nothing waits."""
        return max(0.0, self.due - now) if self.entries else None


class Refusals:
    """Executions that lost a batch nobody waits for: what follows it would leave a gap, so it is refused too."""

    def __init__(self) -> None:
        self._lost: dict[tuple[str, int], OmegaError] = {}

    def check(self, batch: Batch) -> None:
        """Raises StorageError (OMG-S006) when an earlier batch of that execution and epoch was refused unseen."""
        earlier = self._lost.get((batch.execution, batch.epoch)) if self._lost else None
        if earlier is not None:
            raise StorageError("OMG-S006", f"an earlier batch of {batch.execution} was refused: {earlier.cause}", details=earlier.details)

    def refused(self, batch: Batch) -> bool:
        """Whether `check` would refuse."""
        return (batch.execution, batch.epoch) in self._lost

    def note(self, entry: Entry, error: OmegaError) -> None:
        """Refuse `entry`; when nobody waits for it, its successors as well."""
        entry.error = error
        if entry.batch is not None and entry.future is None:
            self._lost[entry.batch.execution, entry.batch.epoch] = error


def tell(entries: Iterable[Entry]) -> None:
    """Wake all who wait: one call into each event loop, however many entries it has."""
    loops: dict[asyncio.AbstractEventLoop, list[Entry]] = {}
    for entry in entries:
        if entry.loop is not None:
            loops.setdefault(entry.loop, []).append(entry)
        elif entry.future is not None:
            _settle([entry])
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, waiting)
        except RuntimeError:  # the loop was closed: nobody waits there any more
            continue


def _settle(entries: list[Entry]) -> None:
    for entry in entries:
        future = entry.future
        if future is None or future.done():  # a caller that was cancelled no longer asks
            continue
        if entry.error is not None:
            future.set_exception(entry.error)
        else:
            future.set_result(entry.result)
