"""The one writer of an engine: a task that takes everything queued, writes it as one transaction, and tells all who wait.

    idle --commit or chore--> writing          at once, never on a timer: a lone caller waits for one flush and nothing else
    idle --behind-----------> lingering        until BEHIND_ROWS rows wait or BEHIND_S has passed since the first
    lingering --commit------> writing          what was handed over earlier goes out earlier, in the same transaction
    writing --done----------> idle             while it wrote, the queue filled: the next group is as large as the server was slow
    writing --server lost---> stopped          for good: whether the failed commit is on disk is unknown, so nothing is tried again

A chore (claim, renew, release) is a transaction of its own between two groups: holding the locks of a group while waiting for another
engine's line would be half of a deadlock. A batch that is refused for itself does not harm its neighbours: refusals that are seen before
anything is written drop only the batch; others undo the group, which is then written one batch at a time. A refused `behind`
batch leaves a gap, so later batches of the same execution and epoch are refused too.

`submit` may be called from any thread; the rest runs in the link's loop.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence

from omega.adapters.postgres.ledger import Ledger, SpoiledError
from omega.adapters.postgres.link import Connection, Link, failed, failures, is_own_fault, is_retried, let_go
from omega.adapters.sql.queue import BEHIND_ROWS, BEHIND_S, MAX_PENDING_BYTES, MAX_PENDING_ROWS, Counts, Entry, Queue, Refusals, tell
from omega.kernel.errors import OmegaError, StorageError

MAX_ATTEMPTS = 5
"""How often one batch is written that the server gave up in favour of another's: a deadlock is broken once, not five times."""


class Writer:
    """Owns the writing connection and its task."""

    def __init__(self, link: Link, connection: Connection, ledger: Ledger) -> None:
        self.counts = Counts()
        self._link = link
        self._connection = connection
        self._ledger = ledger
        self._refusals = Refusals()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._wake = asyncio.Event()
        self._queue = Queue()
        self._closing = False
        self._broken = ""
        self._task = link.run(self._start())

    def submit(self, entry: Entry) -> None:
        """Queue `entry`. Blocks while more than MAX_PENDING_BYTES or MAX_PENDING_ROWS wait.

        Raises StorageError (OMG-S004) when the store has stopped.
        """
        with self._lock:
            while (self._queue.size > MAX_PENDING_BYTES or self._queue.rows > MAX_PENDING_ROWS) and not self._stopped:
                self._room.wait()
            if self._stopped:
                raise self._failure()
            pressing, first = self._queue.pressing(BEHIND_ROWS), not self._queue.entries
            self._queue.add(entry, time.monotonic(), BEHIND_S)
            if first or self._queue.pressing(BEHIND_ROWS) is not pressing:
                self._link.soon(self._wake.set)

    def close(self) -> None:
        """Write what waits, give back what the engine holds, end the task and close the connection; later submissions are refused."""
        with self._lock:
            self._closing = True
            self._room.notify_all()
        self._link.soon(self._wake.set)
        self._link.run(self._finish())

    @property
    def lost(self) -> str:
        """Why nothing is written any more, and never will be by this one; empty while it writes."""
        return self._broken

    @property
    def _stopped(self) -> bool:
        return self._closing or bool(self._broken)

    def _failure(self) -> StorageError:
        return StorageError("OMG-S004", self._broken or "the store is closed")

    async def _start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._serve_all())

    async def _finish(self) -> None:
        await self._task
        if not self._broken:
            try:
                await self._ledger.release(None)
            except failures():  # the leases then end by themselves
                self._broken = "the store is closed"
        await let_go(self._connection)

    async def _serve_all(self) -> None:
        while entries := await self._take():
            await self._serve(entries)

    async def _take(self) -> list[Entry]:
        """Everything queued, once it is time to write; empty when the writer shall end."""
        while True:
            with self._lock:
                now = time.monotonic()
                patience = self._queue.patience(now)
                if self._stopped or self._queue.pressing(BEHIND_ROWS) or patience == 0.0:
                    taken, self._queue = self._queue, Queue()
                    self._room.notify_all()
                    return [] if self._broken else taken.entries
                self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), patience)
            except TimeoutError:
                continue

    async def _serve(self, entries: list[Entry]) -> None:
        """Write `entries` in their order: runs of batches as groups, chores between them."""
        left = list(entries)
        try:
            for is_chore, run in itertools.groupby(entries, key=lambda entry: entry.chore is not None):
                group = list(run)
                for part in [[entry] for entry in group] if is_chore else [group]:
                    await (self._do(part[0]) if is_chore else self._write(part))
                    del left[: len(part)]
                    tell(part)
            if self._ledger.cramped:
                await self._ledger.extend()
        except failures() as error:
            self._stop(failed(error).cause, left)
        except Exception as error:  # noqa: BLE001 - whatever went wrong: nobody may wait for ever, nothing more may be acknowledged
            self._stop(f"the writer failed: {type(error).__name__}", left)

    async def _do(self, entry: Entry, attempt: int = 1) -> None:
        try:
            entry.result = await entry.chore(self._ledger) if entry.chore is not None else None
        except OmegaError as error:
            entry.error = error
        except failures() as error:
            if self._connection.is_closed() or not is_retried(error) or attempt > MAX_ATTEMPTS:
                raise
            await self._do(entry, attempt + 1)
        else:
            self.counts.commits += entry.result != []  # a look that took nothing wrote nothing

    async def _write(self, entries: Sequence[Entry], attempt: int = 1) -> None:
        """One transaction for all of `entries`; when one of them spoils it, one for each."""
        if all(entry.batch is None for entry in entries):
            return
        try:
            leaves = await self._ledger.write(entries, self._refusals)
        except failures() + (OmegaError, SpoiledError) as error:  # noqa: RUF005 - mypy knows no starred tuples here
            again = is_retried(error) or isinstance(error, SpoiledError)
            if self._connection.is_closed() or not (again or is_own_fault(error)) or attempt > MAX_ATTEMPTS:
                raise
            await self._ledger.rollback()
            if len(entries) == 1 and not again:
                self._refusals.note(entries[0], _refusal(entries[0], error))
                return
            for entry in entries:
                entry.error = None
                await self._write([entry], attempt + 1)
            return
        self._count(entries, leaves)

    def _count(self, entries: Sequence[Entry], leaves: int) -> None:
        written = [entry.batch for entry in entries if entry.batch is not None and entry.error is None]
        counts = self.counts
        counts.commits += bool(written)
        counts.batches += len(written)
        counts.rows += sum(len(batch.rows) for batch in written)
        counts.leaves += leaves

    def _stop(self, cause: str, entries: Sequence[Entry]) -> None:
        """Refuse everything from now on: those not yet written, those who wait, those who come."""
        with self._lock:
            self._broken = cause
            waiting, self._queue = self._queue, Queue()
            self._room.notify_all()
        lost = [*entries, *waiting.entries]
        for entry in lost:
            entry.error = self._failure()
        tell(lost)


def _refusal(entry: Entry, error: BaseException) -> OmegaError:
    if isinstance(error, OmegaError):
        return error
    name = entry.batch.execution if entry.batch is not None else "a change"
    if getattr(error, "constraint_name", None) == "journal_pkey":
        return StorageError("OMG-S006", f"a row of {name} was already written by somebody else")
    cause = f"a batch of {name} cannot be stored: {type(error).__name__}"
    return StorageError("OMG-S006", cause, advice="report this: a value does not fit its column")
