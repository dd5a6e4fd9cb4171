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

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omega.adapters.sql.batches import ENDED, stale, unknown
from omega.adapters.sql.families import Member, parted
from omega.adapters.sql.forks import check_origin
from omega.adapters.sql.lines import COLUMNS, born, named, values_of
from omega.adapters.sql.rota import rated
from omega.adapters.sqlite.schema import INLINE_LIMIT
from omega.adapters.sqlite.turns import Turns
from omega.kernel.errors import StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import NEVER, Batch, Committed, Erased, Head, Sequencer, Taken, Want
from omega.kernel.queueing import choose

MAX_FENCES = 65_536
"""Executions whose epoch is remembered; past this all are looked up anew, so that memory stays bounded."""

PAGES_PER_COMMIT = 16 << 10
"""Bytes of pages that a commit writes to the log beside the rows themselves (index, tree and table pages), roughly."""

_CHUNKS = (256, 64, 16, 8, 4, 3, 2, 1)


def _inserts(head: str, columns: int) -> dict[int, str]:
    group = "(" + ",".join("?" * columns) + ")"
    return {size: f"{head} VALUES {','.join([group] * size)}" for size in _CHUNKS}


_JOURNAL_WIDTH, _LEAF_WIDTH = 7, 3
_JOURNAL = _inserts("INSERT INTO journal (execution, seq, kind, position, meta, payload, blob)", _JOURNAL_WIDTH)
_LEAVES = _inserts("INSERT INTO leaves (tenant, idx, body)", _LEAF_WIDTH)
_BORN = f"INSERT INTO executions ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names are ours
_SET_DUE = "UPDATE executions SET due_us = CASE WHEN woken_us > 0 AND (?1 = 0 OR ?1 > woken_us) THEN woken_us ELSE ?1 END WHERE number = ?2"
_BEGIN = (
    "UPDATE executions SET status = 'running', epoch = epoch + 1, owner = ?2, lease_us = ?3, updated_us = ?4, tries = tries + 1,"
    " woken_us = 0"
    " WHERE execution = ?1 RETURNING number, tenant, epoch, digest, queue, tries"
)
_WAKE = (
    "UPDATE executions SET due_us = CASE WHEN due_us = 0 OR due_us > ?2 THEN ?2 ELSE due_us END,"
    " woken_us = CASE WHEN woken_us = 0 OR woken_us > ?2 THEN ?2 ELSE woken_us END"
    " WHERE execution = ?1 AND status NOT IN ('done', 'failed', 'cancelled') AND (?3 IS NULL OR tenant = ?3)"
)
_COMPACTABLE = (
    "SELECT number FROM executions AS e WHERE tenant = ? AND updated_us < ? AND status IN ('done', 'failed', 'cancelled') AND compacted = 0"
    " AND NOT EXISTS (SELECT 1 FROM executions AS f WHERE f.origin = e.execution AND f.origin <> '' AND f.compacted = 0)"
    " AND NOT EXISTS (SELECT 1 FROM executions AS p WHERE p.execution = e.parent AND p.status NOT IN ('done', 'failed', 'cancelled'))"
    " ORDER BY updated_us LIMIT ?"
)
_FAMILY = (
    "WITH RECURSIVE family (execution) AS ("
    " SELECT execution FROM executions WHERE tenant = ?1 AND execution IN (SELECT value FROM json_each(?2))"
    " UNION SELECT e.execution FROM executions AS e JOIN family AS f ON e.origin = f.execution WHERE e.origin <> ''"
    " UNION SELECT e.execution FROM executions AS e JOIN family AS f ON e.parent = f.execution WHERE e.parent <> '')"
    " SELECT e.number, e.execution, e.origin, e.status,"
    " coalesce((SELECT p.status FROM executions AS p WHERE p.execution = e.parent AND e.parent <> ''), '')"
    " FROM executions AS e JOIN family AS f ON e.execution = f.execution WHERE e.tenant = ?1 ORDER BY e.number"
)
_PURGE = (
    "DELETE FROM blobs WHERE execution IN (SELECT number FROM executions WHERE tenant = ?1)",
    "DELETE FROM journal WHERE execution IN (SELECT number FROM executions WHERE tenant = ?1)",
    "DELETE FROM keys WHERE execution IN (SELECT number FROM executions WHERE tenant = ?1)",
    "DELETE FROM inbox WHERE execution IN (SELECT execution FROM executions WHERE tenant = ?1)",
    "DELETE FROM leaves WHERE tenant = ?1",
    "DELETE FROM checkpoints WHERE tenant = ?1",
    "DELETE FROM logs WHERE tenant = ?1",
    (
        "DELETE FROM documents WHERE kind <> 'revoked' AND (instr(name, ?1) > 0"
        " OR instr(body, CAST('\"tenant\": \"' || ?1 || '\"' AS BLOB)) > 0 OR instr(body, CAST('\"tenant\":\"' || ?1 || '\"' AS BLOB)) > 0)"
    ),
    "DELETE FROM executions WHERE tenant = ?1",
)
"""Everything of a tenant, with the documents named after it and those whose field `tenant` it is, unless they refuse it. A document that
only mentions it belongs to others. The lines go last, by which the others are found."""

_REDACTABLE = (
    "SELECT number FROM executions AS e WHERE execution = ? AND tenant = ? AND status IN ('done', 'failed', 'cancelled') AND compacted = 0"
    " AND origin = '' AND NOT EXISTS (SELECT 1 FROM executions AS f WHERE f.origin = e.execution AND f.origin <> '' AND f.compacted = 0)"
    " AND NOT EXISTS (SELECT 1 FROM executions AS p WHERE p.execution = e.parent AND p.status NOT IN ('done', 'failed', 'cancelled'))"
)


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
        self._turns = Turns(connection)
        self._changes = 0
        self.grown = 0
        self.erased = False
        """Bytes that were added to the write-ahead log since it was last emptied, roughly."""

    @property
    def changed(self) -> bool:
        """Whether the transaction has changed anything, so that its end waits for the disk."""
        return self._connection.total_changes > self._changes

    def begin(self) -> None:
        """Open a transaction. Raises OustedError when the folder has a newer engine."""
        self._execute("BEGIN IMMEDIATE")
        self._changes = self._connection.total_changes
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
        for execution in batch.wake:
            self._execute(_WAKE, (execution, self._now_us(), batch.tenant))
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
        self._execute(
            "UPDATE executions SET epoch = ?, owner = ?, lease_us = ?, woken_us = 0 WHERE number = ?", (epoch + 1, owner, lease_us, number)
        )
        self._fences[execution] = Fence(number, tenant, epoch + 1)
        return int(epoch) + 1

    def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Move the end of a lease. Raises StorageError (OMG-S006) when the epoch is no longer ours."""
        fence = self._known(execution)
        if fence.epoch != epoch:
            raise stale(execution, epoch, fence.epoch)
        self._execute("UPDATE executions SET lease_us = ? WHERE number = ?", (lease_us, fence.number))

    def release(self, execution: str) -> None:
        """Give an execution back before its lease ends; nothing happens when this engine does not hold it."""
        self._execute("UPDATE executions SET owner = '', lease_us = 0 WHERE execution = ? AND owner = ?", (execution, self._owner))

    def take(self, want: Want) -> list[Taken]:
        """Own what may run now, chosen fairly and within the limits; see `kernel.ports.Store.take`."""
        taken = self._take(want)
        if len(taken) < want.most and self._turns.rota.midway(want):
            taken += self._take(replace(want, most=want.most - len(taken)))
        return taken

    def wake(self, executions: Sequence[str], now_us: int) -> None:
        """Make each due, see `kernel.ports.Store.wake`."""
        for execution in executions:
            self._execute(_WAKE, (execution, now_us, None))

    def compact(self, tenant: str, ended_before_us: int, limit: int) -> int:
        """Destroy payloads and keys, see `kernel.ports.Store.compact`."""
        numbers = self._execute(_COMPACTABLE, (tenant, ended_before_us, limit)).fetchall()
        for number in numbers:
            self._destroy(number)
        return len(numbers)

    def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        """Destroy whole families, see `kernel.ports.Store.erase`."""
        found = self._execute(_FAMILY, (tenant, json.dumps(list(executions)))).fetchall()
        erased, numbers = parted([Member(*each) for each in found])
        for number in numbers:
            self._destroy((number,))
            self._execute("UPDATE executions SET labels = '{}', key = '' WHERE number = ?", (number,))
        return erased

    def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        """Put other payloads and another key in place, see `kernel.ports.Store.redact`."""
        number: tuple[int] | None = self._execute(_REDACTABLE, (execution, tenant)).fetchone()
        if number is None:
            return False
        self._destroy(number)
        for seq, payload in payloads.items():
            self._execute("UPDATE journal SET payload = ? WHERE execution = ? AND seq = ?", (payload, *number, seq))
            self.grown += len(payload)
        self._execute("INSERT INTO keys (execution, wrapped) VALUES (?, ?)", (*number, key))
        path = f'$."{label}"'
        self._execute("UPDATE executions SET compacted = 0, labels = json_remove(labels, ?) WHERE number = ?", (path, *number))
        return True

    def purge(self, tenant: str) -> int:
        """Remove everything of a tenant, what this transaction has staged of it too: a later batch of it finds no execution."""
        self._insert(_JOURNAL, _JOURNAL_WIDTH, self._rows)
        self._rows.clear()
        self._logs.pop(tenant, None)
        count = 0
        for statement in _PURGE:
            count = self._execute(statement, (tenant,)).rowcount
        self._fences = {name: fence for name, fence in self._fences.items() if fence.tenant != tenant}
        self.grown += PAGES_PER_COMMIT * (1 + count)
        self.erased = True
        return count

    def prune(self, tenant: str, leaves: Mapping[int, bytes]) -> None:
        """Put what stays in the place of leaves, see `kernel.ports.Store.prune`."""
        for index, body in leaves.items():
            self._execute("UPDATE leaves SET body = ? WHERE tenant = ? AND idx = ?", (body, tenant, index))
        self.grown += PAGES_PER_COMMIT * max(1, len(leaves) // 16)
        self.erased = True

    def _destroy(self, number: tuple[int]) -> None:
        """The payloads and the key of one execution, those included that the running transaction has yet to write."""
        self._insert(_JOURNAL, _JOURNAL_WIDTH, self._rows)
        self._rows.clear()
        self._execute("DELETE FROM blobs WHERE id IN (SELECT blob FROM journal WHERE execution = ? AND blob IS NOT NULL)", number)
        self._execute("UPDATE journal SET payload = NULL, blob = NULL WHERE execution = ?", number)
        self._execute("DELETE FROM keys WHERE execution = ?", number)
        self._execute("UPDATE executions SET compacted = 1 WHERE number = ?", number)
        self.grown += PAGES_PER_COMMIT
        self.erased = True

    def _take(self, want: Want) -> list[Taken]:
        chosen = choose(self._turns.waiting(want), self._turns.loads(want), want.limits, want.most)
        taken = [self._begin(execution, want) for execution in chosen]
        for queue, since_us in rated(want).items():
            begun = [(queue, want.now_us) for each in taken if each.queue == queue]
            if begun:
                self._execute("DELETE FROM begun WHERE queue = ? AND at_us <= ?", (queue, since_us))
                self._connection.executemany("INSERT INTO begun (queue, at_us) VALUES (?, ?)", begun)
        return taken

    def _begin(self, execution: str, want: Want) -> Taken:
        values = (execution, want.owner, want.lease_us, want.now_us)
        number, tenant, epoch, digest, queue, tries = self._execute(_BEGIN, values).fetchone()
        self._fences[execution] = Fence(number, tenant, epoch)
        return Taken(execution=execution, epoch=epoch, digest=digest, queue=queue, tries=tries)

    def run(self, sql: str, values: tuple[Any, ...]) -> int:
        """One statement of the inbox or the documents inside the transaction; gives the last row id."""
        return self._execute(sql, values).lastrowid or 0

    def change(self, sql: str, values: tuple[Any, ...]) -> int:
        """One statement of the documents inside the transaction; gives how many it changed."""
        return self._execute(sql, values).rowcount

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
        check_origin(batch, head, self._origin)
        line = born(batch, head, owner=self._owner, at_us=head.at_us or self._now_us())
        number = self._execute(_BORN, values_of(line)).lastrowid
        fence = self._fences[batch.execution] = Fence(number or 0, batch.tenant, batch.epoch)
        return fence

    def _origin(self, execution: str) -> tuple[str, str] | None:
        found: tuple[str, str] | None = self._execute("SELECT tenant, origin FROM executions WHERE execution = ?", (execution,)).fetchone()
        return found

    def _change(self, fence: Fence, head: Head) -> None:
        """Set the status, and every other field that the head fills, as `adapters.sql.lines.changed` does."""
        fields: dict[str, Any] = {"status": head.status, "updated_us": head.at_us or self._now_us(), **named(head)}
        if head.status != Status.RUNNING:
            fields |= {"owner": "", "lease_us": 0, "tries": 0}
        if head.status in ENDED:
            fields["due_us"] = NEVER
        columns = ", ".join(f"{name} = ?" for name in fields)
        self._execute(f"UPDATE executions SET {columns} WHERE number = ?", (*fields.values(), fence.number))  # noqa: S608 - names are ours
        if head.due_us is not None and head.status not in ENDED:
            self._execute(_SET_DUE, (head.due_us, fence.number))

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
