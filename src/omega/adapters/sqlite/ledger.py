"""Batches applied to the tables: the fence, the line, the rows and the leaves of a group, in one transaction.

The fence. A batch carries the epoch its author believes in; it is staged only when that is the execution's epoch at that point of the
transaction. Epochs are remembered between transactions: only the engine that holds the folder changes them, and each transaction first
checks that the folder's engine epoch is still ours. So one lookup fences a whole group, and a second engine that got in past the lock
(a copied folder, a file system that lies about `flock`) stops this one instead of mixing with it.

Rows go in by statements of up to 256 at a time, not one by one. Every step of SQLite gives up the interpreter's lock and must win it back,
which costs up to a switch interval (5 ms) while the event loop computes: 200 rows one by one took 1.3 s beside a busy
loop, in chunks 47 ms.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omega.adapters.sql.batches import CREATED_LEASE_US, ENDED, stale, unknown
from omega.adapters.sqlite.schema import INLINE_LIMIT
from omega.kernel.errors import StorageError
from omega.kernel.ports import Batch, Committed, Head, Sequencer

MAX_FENCES = 65_536
"""Executions whose epoch is remembered; past this all are looked up anew, so that memory stays bounded."""

PAGES_PER_COMMIT = 16 << 10
"""Bytes of pages that a commit writes to the log beside the rows themselves (index, tree and table pages), roughly."""

_CHUNKS = (256, 64, 16, 4, 1)


def _inserts(head: str, columns: int) -> dict[int, str]:
    group = "(" + ",".join("?" * columns) + ")"
    return {size: f"{head} VALUES {','.join([group] * size)}" for size in _CHUNKS}


_JOURNAL_WIDTH, _LEAF_WIDTH = 7, 3
_JOURNAL = _inserts("INSERT INTO journal (execution, seq, kind, position, meta, payload, blob)", _JOURNAL_WIDTH)
_LEAVES = _inserts("INSERT INTO leaves (tenant, idx, body)", _LEAF_WIDTH)


class OustedError(Exception):
    """Another engine works in this folder: this one must stop at once."""


@dataclass(slots=True)
class Fence:
    """What is known of an execution without asking the tables."""

    number: int
    tenant: str
    epoch: int


@dataclass(slots=True)
class Log:
    """Where a tenant's log stands, and the leaves that the running transaction adds."""

    state: bytes
    size: int
    fresh: list[bytes]


class Ledger:
    """One transaction at a time on the writing connection; used by the writer thread alone."""

    def __init__(self, connection: sqlite3.Connection, *, engine: int, owner: str, sequencer: Sequencer, now_us: Callable[[], int]) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._engine = engine
        self._owner = owner
        self._sequencer = sequencer
        self._now_us = now_us
        self._fences: dict[str, Fence] = {}
        self._logs: dict[str, Log] = {}
        self._rows: list[Any] = []
        self.grown = 0
        """Bytes that were added to the write-ahead log since it was last emptied, roughly."""

    def begin(self) -> None:
        """Open a transaction. Raises OustedError when the folder has a newer engine."""
        self._execute("BEGIN IMMEDIATE")
        if self._execute("SELECT value FROM meta WHERE key = 'engine'").fetchone() != (self._engine,):
            raise OustedError

    def rollback(self) -> None:
        """Forget the transaction and everything remembered from it."""
        self._fences.clear()
        self._logs.clear()
        self._rows.clear()
        if self._connection.in_transaction:
            self._execute("ROLLBACK")

    def stage(self, batch: Batch) -> Committed:
        """Take `batch` into the transaction. A refusal (OMG-S006, OMG-R010, OMG-I003) leaves nothing of it behind."""
        fence = self._admit(batch)
        if batch.head is not None and not batch.head.create:
            self._change(fence, batch.head)
        if batch.key is not None:
            self._execute("INSERT OR REPLACE INTO keys (execution, wrapped) VALUES (?, ?)", (fence.number, batch.key))
        number, rows, inline = fence.number, self._rows, INLINE_LIMIT
        for row in batch.rows:
            payload, blob = row.payload, None
            if payload is not None and len(payload) > inline:
                blob = self._execute("INSERT INTO blobs (execution, body) VALUES (?, ?)", (number, payload)).lastrowid
                self.grown += len(payload)
                payload = None
            rows += (number, row.seq, row.kind, row.position, row.meta, payload, blob)
            self.grown += 128 + len(row.meta) + (0 if payload is None else len(payload))
        log = self._log(batch.tenant)
        start = log.size + len(log.fresh)
        log.fresh += batch.leaves
        size = start + len(batch.leaves)
        return Committed(leaves=tuple(range(start, size)), size=size)

    def commit(self) -> int:
        """Write what was staged and make it durable; gives the number of leaves written."""
        self._insert(_JOURNAL, _JOURNAL_WIDTH, self._rows)
        leaves = sum(self._grow(tenant, log) for tenant, log in self._logs.items() if log.fresh)
        self._execute("COMMIT")
        self._rows.clear()
        self.grown += PAGES_PER_COMMIT
        if len(self._fences) > MAX_FENCES:
            self._fences.clear()
        return leaves

    def claim(self, execution: str, owner: str, lease_us: int, now_us: int) -> int:
        """Own `execution`: its new epoch. Raises StorageError (OMG-R010) while another owner's lease runs, InputError (OMG-I003)."""
        query = "SELECT number, tenant, epoch, owner, lease_us FROM executions WHERE execution = ?"
        found = self._execute(query, (execution,)).fetchone()
        if found is None:
            raise unknown(execution)
        number, tenant, epoch, holder, until = found
        if holder not in ("", owner) and until > now_us:
            raise StorageError("OMG-R010", f"{execution} is run by {holder}", details={"owner": holder, "lease_us": until})
        self._execute("UPDATE executions SET epoch = ?, owner = ?, lease_us = ? WHERE number = ?", (epoch + 1, owner, lease_us, number))
        self._fences[execution] = Fence(number, tenant, epoch + 1)
        return int(epoch) + 1

    def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Move the end of a lease. Raises StorageError (OMG-S006) when the epoch is no longer ours."""
        fence = self._known(execution)
        if fence.epoch != epoch:
            raise stale(execution, epoch, fence.epoch)
        self._execute("UPDATE executions SET lease_us = ? WHERE number = ?", (lease_us, fence.number))

    def release(self, execution: str, owner: str) -> None:
        """Give an execution back before its lease ends; nothing happens when `owner` does not hold it."""
        self._execute("UPDATE executions SET owner = '', lease_us = 0 WHERE execution = ? AND owner = ?", (execution, owner))

    def run(self, sql: str, values: tuple[Any, ...]) -> int:
        """One statement of the inbox or the documents inside the transaction; gives the last row id."""
        return self._execute(sql, values).lastrowid or 0

    def _admit(self, batch: Batch) -> Fence:
        head = batch.head
        if head is not None and head.create:
            if self._find(batch.execution) is not None:
                raise StorageError("OMG-R010", f"there is already an execution {batch.execution}", advice="choose another id")
            return self._create(batch, head)
        fence = self._known(batch.execution)
        if fence.tenant != batch.tenant:
            raise unknown(batch.execution)
        if fence.epoch != batch.epoch:
            raise stale(batch.execution, batch.epoch, fence.epoch)
        return fence

    def _create(self, batch: Batch, head: Head) -> Fence:
        at_us = head.at_us or self._now_us()
        names = (batch.execution, batch.tenant, head.flow, head.version, head.status, head.principal, head.target)
        ended = head.status in ENDED
        held = (batch.epoch, "" if ended else self._owner, 0 if ended else at_us + CREATED_LEASE_US, at_us, at_us)
        sql = (
            "INSERT INTO executions (execution, tenant, flow, version, status, principal, target, epoch, owner, lease_us, started_us,"
            " updated_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        number = self._execute(sql, (*names, *held)).lastrowid
        fence = self._fences[batch.execution] = Fence(number or 0, batch.tenant, batch.epoch)
        return fence

    def _change(self, fence: Fence, head: Head) -> None:
        """Set the status, and every other field that the head fills; an execution that ended is owned by nobody."""
        named = {"flow": head.flow, "version": head.version, "principal": head.principal, "target": head.target}
        fields: dict[str, Any] = {"status": head.status, "updated_us": head.at_us or self._now_us()}
        fields |= {name: value for name, value in named.items() if value}
        if head.status in ENDED:
            fields |= {"owner": "", "lease_us": 0}
        columns = ", ".join(f"{name} = ?" for name in fields)
        self._execute(f"UPDATE executions SET {columns} WHERE number = ?", (*fields.values(), fence.number))  # noqa: S608 - names are ours

    def _known(self, execution: str) -> Fence:
        fence = self._find(execution)
        if fence is None:
            raise unknown(execution)
        return fence

    def _find(self, execution: str) -> Fence | None:
        fence = self._fences.get(execution)
        if fence is None:
            found = self._execute("SELECT number, tenant, epoch FROM executions WHERE execution = ?", (execution,)).fetchone()
            if found is None:
                return None
            fence = self._fences[execution] = Fence(*found)
        return fence

    def _log(self, tenant: str) -> Log:
        log = self._logs.get(tenant)
        if log is None:
            found = self._execute("SELECT state, size FROM logs WHERE tenant = ?", (tenant,)).fetchone() or (b"", 0)
            log = self._logs[tenant] = Log(found[0], found[1], [])
        return log

    def _grow(self, tenant: str, log: Log) -> int:
        """Store the fresh leaves of a tenant and the checkpoint over them."""
        fresh, start = log.fresh, log.size
        grown = self._sequencer.grow(tenant, log.state, fresh, at_us=self._now_us())
        if grown.size != start + len(fresh):
            raise StorageError("OMG-S004", f"the log of {tenant} grew to {grown.size} instead of {start + len(fresh)}")
        values: list[Any] = []
        for index, body in enumerate(fresh, start):
            values += (tenant, index, body)
            self.grown += 64 + len(body)
        self._insert(_LEAVES, _LEAF_WIDTH, values)
        note = (tenant, grown.size, grown.checkpoint)
        stand = (*note, grown.state)
        self._execute("INSERT OR REPLACE INTO logs (tenant, size, checkpoint, state) VALUES (?, ?, ?, ?)", stand)
        self._execute("INSERT INTO checkpoints (tenant, size, note) VALUES (?, ?, ?)", note)
        log.state, log.size, log.fresh = grown.state, grown.size, []
        return len(fresh)

    def _insert(self, statements: dict[int, str], width: int, values: list[Any]) -> None:
        start, left = 0, len(values) // width
        for size in _CHUNKS:
            while left >= size:
                end = start + size * width
                self._execute(statements[size], values[start:end])
                start, left = end, left - size
