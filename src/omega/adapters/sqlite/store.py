"""The SQLite store of one engine: the lock, the writer thread, and the ports `Store` and `Reader` on top."""

from __future__ import annotations

import concurrent.futures
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from omega.adapters.sql.batches import unknown
from omega.adapters.sql.desk import Desk
from omega.adapters.sql.letters import document_values, letter_values, letters_of
from omega.adapters.sql.queue import Entry
from omega.adapters.sqlite import inbox, schema
from omega.adapters.sqlite.folder import DATABASE, EngineLock, prepare
from omega.adapters.sqlite.ledger import Ledger
from omega.adapters.sqlite.records import Records
from omega.adapters.sqlite.writer import Counts, Writer
from omega.kernel.errors import IntegrityError, OmegaError
from omega.kernel.ids import new_id
from omega.kernel.ports import Letter, Sequencer

_LETTERS = (
    "SELECT i.number, i.execution, verb, body, at_us FROM inbox AS i LEFT JOIN executions AS e ON e.execution = i.execution"
    " WHERE i.number > ? AND (e.number IS NULL OR e.owner IN ('', ?) OR e.lease_us <= ?) ORDER BY i.number"
)
_END_LEASES = (
    "UPDATE executions SET owner = '', lease_us = 0 WHERE status IN ('running', 'waiting', 'in doubt', 'queued', 'dead') AND owner <> ''"
)


class SqliteStore(Desk, Records):
    """The system of record in one folder. One instance at a time, in one process; readers and letter writers may be many."""

    _writer: Writer

    def __init__(
        self,
        folder: Path,
        lock: EngineLock,
        reading: sqlite3.Connection,
        writer: Writer,
        *,
        owner: str,
        engine: int,
        now_us: Callable[[], int],
    ) -> None:
        super().__init__(reading, folder)
        self.owner = owner
        self._now_us = now_us
        self.engine = engine
        """The engine epoch: one higher each time the folder is opened for writing."""
        self._lock = lock
        self._writer = writer
        self._closed = False

    @property
    def counts(self) -> Counts:
        """What was written since this store was opened, and how often the write-ahead log was folded."""
        return self._writer.counts

    @classmethod
    def open(cls, folder: Path, *, sequencer: Sequencer, owner: str, now_us: Callable[[], int]) -> SqliteStore:
        """Become the engine of `folder`, making it when missing. Leases of earlier engines end here: the lock shows that they are gone.

        Raises StorageError: OMG-S001 another engine is at work, OMG-S002 not usable, OMG-S003 newer; IntegrityError OMG-S005 damaged.
        """
        folder = prepare(folder)
        lock = EngineLock.take(folder, owner)
        try:
            _ensure_database(folder, now_us)
            writing = schema.open_writing(folder)
            try:
                engine = _enter(writing, folder)
                reading = schema.open_reading(folder)
            except OmegaError:
                writing.close()
                raise
        except OmegaError:
            lock.release()
            raise
        ledger = Ledger(writing, engine=engine, owner=owner, sequencer=sequencer, now_us=now_us)
        return cls(folder, lock, reading, Writer(writing, ledger), owner=owner, engine=engine, now_us=now_us)

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int:
        """A letter from this process; as `SqliteInbox.post`."""
        values = letter_values(execution, verb, body, at_us)
        if self.line(execution) is None:
            raise unknown(execution)
        return int(self._wait(lambda ledger: ledger.run(inbox.POST, values)))

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after` about executions that this engine owns or nobody does, the oldest first."""
        return letters_of(self._ask(_LETTERS, (after, self.owner, self._now_us())))

    def settle(self, number: int) -> None:
        """Remove a letter that was acted on."""
        self._wait(lambda ledger: ledger.run(inbox.SETTLE, (number,)))

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        """Store a document in place of the one of that name."""
        values = document_values(kind, name, body, at_us)
        self._wait(lambda ledger: ledger.run(inbox.PUT, values))

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        """Store a document in the very place of `was` (None: of none); whether that was still there."""
        statement = inbox.swapping(kind, name, was, body, at_us)
        return int(self._wait(lambda ledger: ledger.change(*statement))) > 0

    def drop_document(self, kind: str, name: str) -> bool:
        """Remove a document; whether there was one."""
        there = self.document(kind, name) is not None
        self._wait(lambda ledger: ledger.run(inbox.DROP, (kind, name)))
        return there

    def close(self) -> None:
        """Write what waits, fold the log into the database, and let the next engine in. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._reading.close()
        self._writer.close()
        self._lock.release()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _wait(self, chore: Callable[[Ledger], Any]) -> Any:
        """Run a chore in the writer and wait for it here: for the rare small write whose caller is not a coroutine."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._writer.submit(Entry(chore=chore, future=future))
        return future.result()


def _ensure_database(folder: Path, now_us: Callable[[], int]) -> None:
    if (folder / DATABASE).exists():
        return
    if (folder / f"{DATABASE}-wal").exists():
        raise IntegrityError("OMG-S005", f"{folder / DATABASE} is missing, but its write-ahead log is there")
    schema.create(folder, installation=new_id("ins", now_ms=now_us() // 1000, entropy=os.urandom(10)))


def _enter(connection: sqlite3.Connection, folder: Path) -> int:
    """Check a small file, begin a new engine epoch, and end the leases of engines that are gone; gives the epoch."""
    try:
        schema.check_pages(connection, folder)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'engine'")
        connection.execute(_END_LEASES)
        (engine,) = connection.execute("SELECT value FROM meta WHERE key = 'engine'").fetchone()
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise schema.opening_error(error, folder) from error
    return int(engine)
