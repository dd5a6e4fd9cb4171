"""The one writer: a thread that takes everything queued, writes it as one transaction, and tells all who wait.

    idle --commit or chore--> writing          at once, never on a timer: a lone caller waits for one fsync and nothing else
    idle --behind-----------> lingering        until BEHIND_ROWS rows wait or BEHIND_S has passed since the first (the loop reminds)
    lingering --commit------> writing          what was handed over earlier goes out earlier, in the same transaction
    writing --done----------> idle             while it wrote, the queue filled: the next group is as large as the disk was slow
    writing --disk error----> stopped          for good: whether the failed commit is on disk is unknown, so nothing is tried again

A batch that is refused for itself (stale epoch, a row written before, an id in use, a value that does not fit its column) does not harm its
neighbours: refusals that are seen before anything is written drop only the batch; others undo the group, which is then written one batch at
a time. A refused `behind` batch leaves a gap, so later batches of the same execution and epoch are refused too.

The thread must not know: flows, sealing, the event loop (beyond `call_soon_threadsafe`), or the meaning of a row.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from dataclasses import dataclass

from omega.adapters.sql.queue import BEHIND_ROWS, BEHIND_S, MAX_PENDING_BYTES, MAX_PENDING_ROWS, Entry, Queue, Refusals, tell
from omega.adapters.sql.queue import Counts as WriterCounts
from omega.adapters.sqlite.ledger import Ledger, OustedError
from omega.adapters.sqlite.schema import BUSY_S
from omega.kernel.errors import OmegaError, StorageError

FOLD_BYTES = 16 << 20
"""Size of the write-ahead log at which it is folded into the database when the writer is idle; at four times this it is done regardless."""

_OWN_FAULTS = (
    OmegaError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    UnicodeError,
    OverflowError,
)
"""What a batch can be refused for without the store being at fault."""


@dataclass(slots=True)
class Counts(WriterCounts):
    """What the writer did since it was opened, and how often it folded the write-ahead log."""

    folds: int = 0


class Writer:
    """Owns the writing connection and its thread."""

    def __init__(self, connection: sqlite3.Connection, ledger: Ledger) -> None:
        self.counts = Counts()
        self._connection = connection
        self._ledger = ledger
        lock = threading.Lock()
        self._wake = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._queue = Queue()
        self._waiting = False
        self._closing = False
        self._broken = ""
        self._refusals = Refusals()
        self._thread = threading.Thread(target=self._run, name="omega-store", daemon=True)
        self._thread.start()

    def submit(self, entry: Entry) -> None:
        """Queue `entry`. Blocks while more than MAX_PENDING_BYTES or MAX_PENDING_ROWS wait.

        Raises StorageError (OMG-S004) when the store has stopped.
        """
        with self._wake:
            while (self._queue.size > MAX_PENDING_BYTES or self._queue.rows > MAX_PENDING_ROWS) and not self._stopped:
                self._room.wait()
            if self._stopped:
                raise self._failure()
            queue = self._queue
            first = not queue.entries
            queue.add(entry, time.monotonic(), BEHIND_S)
            if self._waiting:
                if queue.pressing(BEHIND_ROWS):
                    self._wake.notify()
                elif first:
                    self._remind()

    def _remind(self) -> None:
        """Have the writer woken once what was just written behind is due.

        Waking it at once only to have it wait costs the event loop the interpreter lock, in the middle of somebody's flow; so the loop
        reminds it later. Without a loop it is woken now, and waits by itself.
        """
        try:
            asyncio.get_running_loop().call_later(BEHIND_S, self._nudge)
        except RuntimeError:
            self._wake.notify()

    def _nudge(self) -> None:
        with self._wake:
            if self._waiting:
                self._wake.notify()

    def close(self) -> None:
        """Write what waits, end the thread and close the connection; later submissions are refused."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._connection.close()

    @property
    def lost(self) -> str:
        """Why nothing is written any more, and never will be by this one; empty while it writes."""
        return self._broken

    @property
    def _stopped(self) -> bool:
        return self._closing or bool(self._broken)

    def _failure(self) -> StorageError:
        return StorageError("OMG-S004", self._broken or "the store is closed")

    def _run(self) -> None:
        while entries := self._take():
            self._serve(entries)
            self._fold()

    def _take(self) -> list[Entry]:
        """Everything queued, once it is time to write; empty when the writer shall end."""
        with self._wake:
            while not self._due():
                self._waiting = True
                self._wake.wait(self._queue.patience(time.monotonic()))
                self._waiting = False
            taken, self._queue = self._queue, Queue()
            self._room.notify_all()
        return [] if self._broken else taken.entries

    def _due(self) -> bool:
        queue = self._queue
        if self._stopped or queue.pressing(BEHIND_ROWS):
            return True
        return bool(queue.entries) and time.monotonic() >= queue.due

    def _serve(self, entries: list[Entry]) -> None:
        try:
            self._write(entries)
        except OustedError:
            self._stop("another engine has taken this folder", entries)
        except sqlite3.Error as error:
            self._stop(f"the disk or database failed: {error}", entries)
        except Exception as error:  # noqa: BLE001 - whatever went wrong: nobody may wait for ever, nothing more may be acknowledged
            self._stop(f"the writer failed: {type(error).__name__}", entries)
        else:
            tell(entries)

    def _write(self, entries: list[Entry]) -> None:
        """One transaction for all of `entries`; when one of them spoils it, one for each."""
        ledger = self._ledger
        staged: list[Entry] = []
        ledger.begin()
        try:
            for entry in entries:
                self._stage(entry, staged)
            leaves = ledger.commit()
            changed = ledger.changed
        except _OWN_FAULTS as error:
            ledger.rollback()
            if len(entries) == 1:
                self._refuse(entries[0], error)
            else:
                for entry in entries:
                    entry.error = None
                    self._write([entry])
            return
        self._count(staged, leaves, changed=changed)

    def _stage(self, entry: Entry, staged: list[Entry]) -> None:
        try:
            if entry.batch is None:
                entry.result = entry.chore(self._ledger) if entry.chore is not None else None
            else:
                self._refusals.check(entry.batch)
                entry.result = self._ledger.stage(entry.batch)
        except OmegaError as error:
            self._refuse(entry, error)
        else:
            staged.append(entry)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        self._refusals.note(entry, error if isinstance(error, OmegaError) else _refusal(entry, error))

    def _count(self, staged: list[Entry], leaves: int, *, changed: bool) -> None:
        counts = self.counts
        counts.commits += changed
        batches = [entry.batch for entry in staged if entry.batch is not None]
        counts.batches += len(batches)
        counts.rows += sum(len(batch.rows) for batch in batches)
        counts.leaves += leaves

    def _fold(self) -> None:
        """Empty the write-ahead log into the database between two groups; a reader in the way puts it off to the next time.

        After an erasure at once, and cut to nothing: keys that were destroyed must not stand in it until they are written over.
        """
        grown, erased = self._ledger.grown, self._ledger.erased
        if not erased and (grown < FOLD_BYTES or (self._queue.entries and grown < 4 * FOLD_BYTES)):
            return
        try:
            self._connection.execute("PRAGMA busy_timeout=0")
            busy, *_ = self._connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if erased else 'RESTART'})").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")
        except sqlite3.Error as error:
            self._stop(f"the write-ahead log cannot be folded: {error}", [])
            return
        self._ledger.grown = FOLD_BYTES // 2 if busy else 0
        self._ledger.erased = erased and bool(busy)
        self.counts.folds += 1

    def _stop(self, cause: str, entries: list[Entry]) -> None:
        """Refuse everything from now on: those in the failed group, those who wait, those who come."""
        with self._wake:
            self._broken = cause
            waiting, self._queue = self._queue, Queue()
            self._room.notify_all()
        for entry in (*entries, *waiting.entries):
            entry.error = self._failure()
        tell([*entries, *waiting.entries])


def _refusal(entry: Entry, error: Exception) -> OmegaError:
    name = entry.batch.execution if entry.batch is not None else "a change"
    if isinstance(error, sqlite3.IntegrityError) and "journal" in str(error):
        return StorageError("OMG-S006", f"a row of {name} was already written by somebody else")
    return StorageError("OMG-S006", f"a batch of {name} cannot be stored: {error}", advice="report this: a value does not fit its column")
