"""Everything that is read from the database, and what other processes may write: letters to an engine, and small documents.

Each read is one statement and sees one moment. Each call waits in the caller's thread (see `link`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from omega.adapters.postgres import schema
from omega.adapters.postgres.link import ALL_TENANTS, Connection, Link, Session
from omega.adapters.sql.batches import unknown
from omega.adapters.sql.letters import LAST, document_values, letter_values, letters_of
from omega.adapters.sql.lines import COLUMNS, Listing, conditions, line_of, wanted
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Row
from omega.kernel.ports import Letter, Line, Search

INBOX_CHANNEL = "omega_inbox"
"""Where a new letter is announced. The announcement says nothing: whoever hears it looks."""

_LINE = f"SELECT {', '.join(COLUMNS)} FROM executions"  # noqa: S608 - names are ours
_LABEL = "labels @> jsonb_build_object({}::text, {}::text)"
_EARLIEST = """
SELECT min(moment) FROM unnest($1::text[]) AS q (queue) CROSS JOIN LATERAL (
    SELECT min(ready_us) AS moment FROM executions AS e WHERE e.queue = q.queue AND due_us > 0 AND ready_us > $2) AS next"""
_ROWS = (
    "SELECT seq, kind, position, meta, payload FROM journal"
    " WHERE execution = (SELECT number FROM executions WHERE execution = $1) ORDER BY seq"
)
_POST = (
    "INSERT INTO inbox (execution, verb, body, at_us) SELECT $1::text, $2::text, $3::bytea, $4::bigint"
    " WHERE EXISTS (SELECT FROM executions WHERE execution = $1) RETURNING number"
)
_PUT = (
    "INSERT INTO documents (kind, name, body, at_us) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, at_us = excluded.at_us"
)
_SWAP = "UPDATE documents SET body = $3, at_us = $4 WHERE kind = $1 AND name = $2 AND body = $5 RETURNING 1"
_FIRST = "INSERT INTO documents (kind, name, body, at_us) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, name) DO NOTHING RETURNING 1"


class Records(Listing):
    """Queries on one session. Implements `kernel.ports.Reader`. Every method raises StorageError (OMG-S004) when the server fails."""

    def __init__(self, link: Link, session: Session) -> None:
        self._link = link
        self._session = session

    @property
    def installation(self) -> str:
        """The id that this database got when its tables were made."""
        return str(self._ask("SELECT value FROM meta WHERE key = 'installation'")[0][0])

    def search(self, search: Search) -> list[Line]:
        """The executions of one page, the newest first; nothing when the page begins after an execution that is not there."""
        values: list[Any] = []
        parts: list[str] = []
        for condition, wants in conditions(search, label=_LABEL):
            parts.append(condition.format(*(f"${place}" for place in range(len(values) + 1, len(values) + len(wants) + 1))))
            values += wants
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        found = self._ask(f"{_LINE}{where} ORDER BY number DESC LIMIT ${len(values) + 1}", *values, wanted(search))
        return [_line(each) for each in found]

    def line(self, execution: str) -> Line | None:
        """The line of one execution."""
        found = self._ask(f"{_LINE} WHERE execution = $1", execution)
        return _line(found[0]) if found else None

    def rows(self, execution: str) -> list[Row]:
        """The journal of one execution in order; empty when there is none of that id. A fork begins with its origin's."""
        own = [Row(execution, seq, kind, position, meta, payload) for seq, kind, position, meta, payload in self._ask(_ROWS, execution)]
        origin = self._ask("SELECT origin, origin_rows FROM executions WHERE execution = $1 AND origin <> ''", execution)
        return [*self.rows(origin[0][0])[: origin[0][1]], *own] if origin else own

    def key(self, execution: str) -> bytes | None:
        """The wrapped data key of an execution, or None when it has none (any more)."""
        found = self._ask("SELECT wrapped FROM keys WHERE execution = (SELECT number FROM executions WHERE execution = $1)", execution)
        return bytes(found[0][0]) if found else None

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]:
        """The leaves `start` up to but not including `end` of a tenant's log."""
        sql = "SELECT body FROM leaves WHERE tenant = $1 AND idx >= $2 AND ($3::bigint IS NULL OR idx < $3) ORDER BY idx"
        return [body for (body,) in self._ask(sql, tenant, start, end)]

    def checkpoints(self, tenant: str, after: int = -1) -> list[tuple[int, bytes]]:
        """Every signed note over more than `after` leaves of a tenant's log as (size, note), the oldest first."""
        sql = "SELECT size, note FROM checkpoints WHERE tenant = $1 AND size > $2 ORDER BY size"
        return [(size, note) for size, note in self._ask(sql, tenant, after)]

    def tenants(self) -> list[str]:
        """All tenants that have a log or an execution, sorted."""
        return [name for (name,) in self._ask("SELECT tenant FROM logs UNION SELECT tenant FROM executions ORDER BY 1")]

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after`, the oldest first."""
        found = self._ask("SELECT number, execution, verb, body, at_us FROM inbox WHERE number > $1 ORDER BY number", after)
        return letters_of(found)

    async def next_due(self, queues: Sequence[str], now_us: int) -> int | None:
        """See `kernel.ports.Store.next_due`."""
        found = await asyncio.wrap_future(self._link.start(self._session.ask(_EARLIEST, list(queues), now_us)))
        moment: int | None = found[0][0]
        return moment

    def document(self, kind: str, name: str) -> bytes | None:
        """One document, or None."""
        found = self._ask("SELECT body FROM documents WHERE kind = $1 AND name = $2", kind, name)
        return bytes(found[0][0]) if found else None

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """The documents of a kind whose names begin with `prefix` as (name, body), sorted by name."""
        asked = "SELECT name, body FROM documents WHERE kind = $1 AND name >= $2 AND name < $3 ORDER BY name"
        return [(name, body) for name, body in self._ask(asked, kind, prefix, prefix + LAST)]

    def check(self) -> None:
        """Whether this release can read the database; if not, closes and raises what `schema.check` raises."""
        try:
            self._link.run(self._session.within(schema.check))
        except OmegaError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection. Safe to call twice."""
        if not self._link.closed:
            self._link.run(self._session.close())
            self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, sql: str, *values: Any) -> list[Any]:
        return self._link.run(self._session.ask(sql, *values))


class Correspondence(Records):
    """Records, and the writing of letters and documents: one short transaction each, on the session that reads."""

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int:
        """Leave a letter about `execution`; gives its number. Raises InputError: OMG-I003 for an unknown execution, OMG-X001 for a verb."""
        values = letter_values(execution, verb, body, at_us)

        async def work(connection: Connection) -> int | None:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *schema.POSTING)
                number: int | None = await connection.fetchval(_POST, *values)
                await connection.execute("SELECT pg_notify($1, '')", INBOX_CHANNEL)
            return number

        number = self._link.run(self._session.within(work))
        if number is None:
            raise unknown(execution)
        return number

    def settle(self, number: int) -> None:
        """Remove a letter that was acted on."""
        self._ask("DELETE FROM inbox WHERE number = $1", number)

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        """Store a document in place of the one of that name."""
        self._ask(_PUT, *document_values(kind, name, body, at_us))

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        """Store a document in the very place of `was` (None: of none); whether that was still there. One statement, so one of two wins."""
        values = document_values(kind, name, body, at_us)
        return bool(self._ask(_FIRST, *values) if was is None else self._ask(_SWAP, *values, was))

    def drop_document(self, kind: str, name: str) -> bool:
        """Remove a document; whether there was one."""
        return bool(self._ask("DELETE FROM documents WHERE kind = $1 AND name = $2 RETURNING 1", kind, name))


class PostgresReader(Records):
    """A Reader on a connection of its own."""

    @classmethod
    def open(cls, dsn: str, *, tenant: str = ALL_TENANTS) -> PostgresReader:
        """Read the database at `dsn`, of one tenant or of all.

        Raises StorageError (OMG-S002, OMG-S003) or IntegrityError (OMG-S005), see `schema.check`.
        """
        link = Link()
        reader = cls(link, Session(dsn, "omega reader", tenant=tenant))
        reader.check()
        return reader


class PostgresInbox(Correspondence):
    """Writes letters and documents into a database that engines may be using."""

    @classmethod
    def open(cls, dsn: str, *, tenant: str = ALL_TENANTS) -> PostgresInbox:
        """Write to the executions of one tenant, or of all. Documents belong to no tenant: they are written by whoever may write to all.

        Raises what `PostgresReader.open` raises.
        """
        link = Link()
        inbox = cls(link, Session(dsn, "omega inbox", tenant=tenant))
        inbox.check()
        return inbox


def _line(values: Any) -> Line:
    return line_of(dict(values.items()))
