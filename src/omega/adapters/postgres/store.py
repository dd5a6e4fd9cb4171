"""The PostgreSQL store of one engine among several: the writer, the wake-ups, and the ports `Store` and `Reader` on top."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from omega.adapters.postgres import schema
from omega.adapters.postgres.ledger import Ledger
from omega.adapters.postgres.link import Connection, Link, Session, connect, failed, failures, let_go, stalled_ms
from omega.adapters.postgres.partitions import SPAN, Room, extend
from omega.adapters.postgres.records import INBOX_CHANNEL, Correspondence
from omega.adapters.postgres.turns import PLANNING
from omega.adapters.postgres.writer import Writer
from omega.adapters.sql.desk import Desk
from omega.adapters.sql.letters import letters_of
from omega.kernel.errors import OmegaError
from omega.kernel.ids import new_id
from omega.kernel.ports import Letter, Sequencer

_LETTERS = """
SELECT i.number, i.execution, verb, body, at_us FROM inbox AS i LEFT JOIN executions AS e ON e.execution = i.execution
WHERE i.number > $1 AND (e.number IS NULL OR e.owner IN ('', $2) OR e.lease_us <= $3) ORDER BY i.number"""

_WALL = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

LEASE_US = 30_000_000
"""How long leases last unless an engine says otherwise, in microseconds."""

SWEEP_S = 1.0
"""How often somebody looks for letters or work without having been woken, in seconds: what the loss of every wake-up costs."""


class Hint:
    """Whether to look. Set from the link's thread when a wake-up arrives; due by itself every SWEEP_S seconds."""

    def __init__(self) -> None:
        self._heard = True
        self._next = 0.0

    def hear(self) -> None:
        """Somebody says that there is something."""
        self._heard = True

    def take(self) -> bool:
        """Whether it is time to look; asking resets it."""
        now = time.monotonic()
        if not self._heard and now < self._next:
            return False
        self._heard, self._next = False, now + SWEEP_S
        return True


class PostgresStore(Desk, Correspondence):
    """The system of record in one schema of one database, shared with any number of other engines.

    What is synchronous waits in the caller's thread. When the writer's connection is lost the store stops for good (OMG-S004), because
    whether its last commit is on disk is unknown. It is then closed and another one opened, which claims what the first one held once its
    leases are over; reads come back by themselves.
    """

    _writer: Writer

    def __init__(self, link: Link, session: Session, writer: Writer, hint: Hint, *, owner: str, now_us: Callable[[], int]) -> None:
        super().__init__(link, session)
        self.owner = owner
        self._writer = writer
        self._hint = hint
        self._now_us = now_us
        self._seen_letter = 0

    @classmethod
    def open(
        cls, dsn: str, *, sequencer: Sequencer, owner: str, now_us: Callable[[], int], span: int = SPAN, lease_us: int = LEASE_US
    ) -> PostgresStore:
        """Become one engine on the database at `dsn`, making the tables when there are none. `owner` must be this engine's alone.
        `span` is the number of executions per partition of the journal, for tables that this makes; `lease_us` how long this engine's
        leases last: it holds up others for no longer than a part of it.

        Across a network the address should say `sslmode=verify-full`: without it the connection is encrypted only if the server offers it.

        Raises StorageError: OMG-S002 not usable, OMG-S003 newer; IntegrityError OMG-S005 damaged.
        """
        hint = Hint()
        link = Link()
        session = Session(dsn, f"omega reads {owner}", on_connect=_listener(hint))
        try:
            connection, room = link.run(_enter(dsn, owner, now_us, span, lease_us))
            ledger = Ledger(connection, owner=owner, sequencer=sequencer, now_us=now_us, room=room, lease_us=lease_us)
            try:
                link.run(session.within(schema.check))
                link.run(_prepared(ledger))
            except OmegaError:
                link.run(let_go(connection))
                raise
        except OmegaError:
            link.run(session.close())
            link.close()
            raise
        return cls(link, session, Writer(link, connection, ledger), hint, owner=owner, now_us=now_us)

    async def retire(self, ended_before_us: int) -> int:
        """Drop whole partitions of the journal in which everything ended before that moment, with their lines and keys; leaves stay.

        Gives the number of executions that are gone. What a partition holds should have been exported before: nothing of it can be read.
        """
        count: int = await self._ask_writer(chore=lambda ledger: ledger.retire(ended_before_us))
        return count

    async def wall_us(self) -> int:
        """The server's wall clock in Unix microseconds: the one time that all engines on it have in common."""
        return int((await asyncio.to_thread(self._ask, _WALL))[0][0])

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after` about executions that this engine owns or nobody does, the oldest first."""
        return letters_of(self._ask(_LETTERS, after, self.owner, self._now_us()))

    def inbox_changed(self) -> bool:
        """Whether a letter came since the last call. Asks the server only after a wake-up, or once in SWEEP_S seconds.

        A letter posted by this store is seen at once: its session listens too, and hears itself before `post` returns.
        """
        if not self._hint.take():
            return False
        newest = int(self._ask("SELECT coalesce(max(number), 0) FROM inbox")[0][0])
        changed = newest > self._seen_letter
        self._seen_letter = max(newest, self._seen_letter)
        return changed

    def close(self) -> None:
        """Write what waits, give back what this engine holds, and let go of the connections. Safe to call twice."""
        if not self._link.closed:
            self._writer.close()
        super().close()


def _listener(hint: Hint) -> Callable[[Connection], Awaitable[None]]:
    """What a new session does first: listen, and take it that something was missed."""

    def hear(connection: Connection, process: int, channel: str, payload: object) -> None:
        hint.hear()

    async def listen(connection: Connection) -> None:
        await connection.add_listener(INBOX_CHANNEL, hear)
        hint.hear()

    return listen


async def _prepared(ledger: Ledger) -> None:
    try:
        await ledger.prepare()
    except failures() as error:
        raise failed(error) from error


async def _enter(dsn: str, owner: str, now_us: Callable[[], int], span: int, lease_us: int) -> tuple[Connection, Room]:
    """The writer's connection to a database that has its tables, and how far the partitions of its journal reach."""
    stalled = {"idle_in_transaction_session_timeout": str(stalled_ms(lease_us))}
    connection = await connect(dsn, f"omega writer {owner}", settings={**PLANNING, **stalled})
    try:
        await schema.prepare(connection, installation=new_id("ins", now_ms=now_us() // 1000, entropy=os.urandom(10)), span=span)
        async with connection.transaction():
            newest = await connection.fetchval("SELECT coalesce(max(number), 0) FROM executions")
            room = await extend(connection, newest)
    except failures() as error:
        await let_go(connection)
        raise failed(error) from error
    except OmegaError:
        await let_go(connection)
        raise
    return connection, room
