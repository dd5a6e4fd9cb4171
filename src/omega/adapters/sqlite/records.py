"""Everything that is read from a data folder: what a reader in another process and the store itself have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omega.adapters.sql.letters import LAST, letters_of
from omega.adapters.sql.lines import COLUMNS, Listing, conditions, line_of, wanted
from omega.adapters.sqlite.schema import damage, opening_error
from omega.kernel.journal import Row
from omega.kernel.ports import Letter, Line, Search

_LINE = f"SELECT {', '.join(COLUMNS)} FROM executions"  # noqa: S608 - names are ours
_LABEL = "EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = {} AND label.value = {})"
_EARLIEST = "SELECT min(ready_us) FROM executions WHERE queue = ? AND due_us > 0 AND ready_us > ?"
_ROWS = (
    "SELECT seq, kind, position, meta, coalesce(payload, body) FROM journal LEFT JOIN blobs ON blobs.id = journal.blob"
    " WHERE journal.execution = (SELECT number FROM executions WHERE execution = ?) ORDER BY seq"
)


class Records(Listing):
    """Queries on one read-only connection; each call is one statement and sees one moment. Implements `kernel.ports.Reader`.

    Every method raises IntegrityError (OMG-S005) on damaged pages and StorageError (OMG-S004) when the disk fails.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._reading = connection
        self.folder = folder
        self._seen_version = -1
        self._seen_letter = 0

    @property
    def installation(self) -> str:
        """The id that this folder got when it was made."""
        return str(self._ask("SELECT value FROM meta WHERE key = 'installation'")[0][0])

    def search(self, search: Search) -> list[Line]:
        """The executions of one page, the newest first; nothing when the page begins after an execution that is not there."""
        where = ""
        values: list[Any] = []
        for condition, wants in conditions(search, label=_LABEL):
            where += f"{' AND ' if where else ' WHERE '}{condition.replace('{}', '?')}"
            values += wants
        found = self._ask(f"{_LINE}{where} ORDER BY number DESC LIMIT ?", (*values, wanted(search)))
        return [_line(each) for each in found]

    def line(self, execution: str) -> Line | None:
        """The line of one execution."""
        found = self._ask(f"{_LINE} WHERE execution = ?", (execution,))
        return _line(found[0]) if found else None

    def rows(self, execution: str) -> list[Row]:
        """The journal of one execution in order, large payloads included; empty when there is none. A fork begins with its origin's."""
        found = self._ask(_ROWS, (execution,))
        own = [Row(execution, seq, kind, position, meta, payload) for seq, kind, position, meta, payload in found]
        origin = self._ask("SELECT origin, origin_rows FROM executions WHERE execution = ? AND origin <> ''", (execution,))
        return [*self.rows(origin[0][0])[: origin[0][1]], *own] if origin else own

    def key(self, execution: str) -> bytes | None:
        """The wrapped data key of an execution, or None when it has none (any more)."""
        sql = "SELECT wrapped FROM keys WHERE execution = (SELECT number FROM executions WHERE execution = ?)"
        found = self._ask(sql, (execution,))
        return bytes(found[0][0]) if found else None

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]:
        """The leaves `start` up to but not including `end` of a tenant's log."""
        sql = "SELECT body FROM leaves WHERE tenant = ?1 AND idx >= ?2 AND (?3 IS NULL OR idx < ?3) ORDER BY idx"
        return [body for (body,) in self._ask(sql, (tenant, start, end))]

    def checkpoints(self, tenant: str, after: int = -1) -> list[tuple[int, bytes]]:
        """Every signed note over more than `after` leaves of a tenant's log as (size, note), the oldest first."""
        sql = "SELECT size, note FROM checkpoints WHERE tenant = ? AND size > ? ORDER BY size"
        return [(size, note) for size, note in self._ask(sql, (tenant, after))]

    def tenants(self) -> list[str]:
        """All tenants that have a log or an execution, sorted."""
        return [name for (name,) in self._ask("SELECT tenant FROM logs UNION SELECT tenant FROM executions ORDER BY 1")]

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after`, the oldest first."""
        sql = "SELECT number, execution, verb, body, at_us FROM inbox WHERE number > ? ORDER BY number"
        return letters_of(self._ask(sql, (after,)))

    def inbox_changed(self) -> bool:
        """Whether a letter came since the last call: one pragma while nothing was written, one look at the end of the inbox otherwise."""
        version = self._ask("PRAGMA data_version")[0][0]
        if version == self._seen_version:
            return False
        self._seen_version = version
        newest = int(self._ask("SELECT coalesce(max(number), 0) FROM inbox")[0][0])
        changed = newest > self._seen_letter
        self._seen_letter = max(newest, self._seen_letter)
        return changed

    async def next_due(self, queues: Sequence[str], now_us: int) -> int | None:
        """See `kernel.ports.Store.next_due`."""
        moments = [self._ask(_EARLIEST, (queue, now_us))[0][0] for queue in set(queues)]
        return min((moment for moment in moments if moment is not None), default=None)

    def document(self, kind: str, name: str) -> bytes | None:
        """One document, or None."""
        found = self._ask("SELECT body FROM documents WHERE kind = ? AND name = ?", (kind, name))
        return bytes(found[0][0]) if found else None

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """The documents of a kind whose names begin with `prefix` as (name, body), sorted by name."""
        asked = "SELECT name, body FROM documents WHERE kind = ? AND name >= ? AND name < ? ORDER BY name"
        return [(name, body) for name, body in self._ask(asked, (kind, prefix, prefix + LAST))]

    def damage(self) -> list[str]:
        """What is wrong with the pages and indexes of the file, one sentence each; empty when sound. Reads the whole file."""
        return damage(self._reading)

    def _ask(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._reading.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise opening_error(error, self.folder) from error


def _line(values: tuple[Any, ...]) -> Line:
    return line_of(dict(zip(COLUMNS, values, strict=True)))
