"""The journal's partitions: each holds the rows of `span` executions with successive numbers, and is dropped whole when none is needed.

They are made ahead of need, by whichever engine first sees an execution with a number in the last one but one. A new one is made beside the
journal and then attached, which disturbs nobody; `journal_7` holds the executions from 7 * span.
"""

from __future__ import annotations

from dataclasses import dataclass

from omega.adapters.postgres.link import Connection

SPAN = 1_000_000
"""Executions per partition of a new database."""

AHEAD = 2
"""Partitions that are ready beyond the one in use."""


@dataclass(frozen=True, slots=True)
class Room:
    """How far the partitions reach: `end` is the first execution without a place, `extend_at` the one at which more should be made."""

    end: int
    extend_at: int


MAKING = (0x4F4D4547, 3)
"""Advisory lock of whoever makes or drops partitions."""

_NEEDED = """
SELECT count(*) FROM executions AS e WHERE number >= $1 AND number < $2 AND (
    status NOT IN ('done', 'failed', 'cancelled') OR updated_us >= $3
    OR EXISTS (SELECT FROM executions AS p WHERE p.execution = e.parent AND p.status NOT IN ('done', 'failed', 'cancelled'))
    OR EXISTS (SELECT FROM executions AS f WHERE f.origin = e.execution AND f.origin <> '' AND (f.number < $1 OR f.number >= $2)))"""
_KNOWN = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'journal'::regclass ORDER BY length(c.relname), c.relname"""


async def extend(connection: Connection, number: int) -> Room:
    """Within a transaction, make what is missing up to AHEAD partitions beyond the one for execution `number`."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *MAKING)
    span = await _span(connection)
    there = [_index(name) for (name,) in await connection.fetch(_KNOWN)]
    last = number // span + AHEAD
    for index in range(max(there, default=-1) + 1, last + 1):
        await _make(connection, f"journal_{index}", index * span, (index + 1) * span)
    return Room(end=(last + 1) * span, extend_at=(last - AHEAD + 1) * span)


async def drop(connection: Connection, ended_before_us: int) -> int:
    """Drop every full partition whose executions all ended before that moment, in which no fork outside it has its origin, and
    no execution that has not ended has a child.

    The lines and keys of these executions go with it; their leaves stay. Gives the number of executions that are gone.
    """
    gone = 0
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *MAKING)
        span = await _span(connection)
        newest = await connection.fetchval("SELECT coalesce(max(number), 0) FROM executions")
        for (name,) in await connection.fetch(_KNOWN):
            start = _index(name) * span
            end = start + span
            if end > newest or await connection.fetchval(_NEEDED, start, end, ended_before_us):
                continue
            await connection.execute(f"ALTER TABLE journal DETACH PARTITION {name}; DROP TABLE {name}")
            await connection.execute("DELETE FROM keys WHERE execution >= $1 AND execution < $2", start, end)
            deleted = await connection.execute("DELETE FROM executions WHERE number >= $1 AND number < $2", start, end)
            gone += int(deleted.rpartition(" ")[2])
    return gone


async def _span(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT value FROM meta WHERE key = 'span'"))


def _index(name: str) -> int:
    return int(name.rpartition("_")[2])


async def _make(connection: Connection, name: str, start: int, end: int) -> None:
    """One partition. Its own row-level security has no policy: only by way of the journal is it read."""
    await connection.execute(
        f"CREATE TABLE {name} (LIKE journal INCLUDING STORAGE);"
        f" ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY;"
        f" ALTER TABLE journal ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
    )
