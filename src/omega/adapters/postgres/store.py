"""The PostgreSQL store of one engine among several: the writer, the wake-ups, and the ports `Store` and `Reader` on top."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from omega.adapters.postgres import schema
from omega.adapters.postgres.ledger import Ledger
from omega.adapters.postgres.link import Connection, Link, Session, connect, failed, failures, let_go
from omega.adapters.postgres.records import INBOX_CHANNEL, WORK_CHANNEL, Correspondence
from omega.adapters.postgres.writer import Writer
from omega.adapters.sql.batches import measure
from omega.adapters.sql.queue import Counts, Entry
from omega.kernel.errors import OmegaError
from omega.kernel.ids import new_id
from omega.kernel.ports import Batch, Committed, Sequencer

T = TypeVar("T")

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


class PostgresStore(Correspondence):
    """The system of record in one schema of one database, shared with any number of other engines.

    `commit`, `claim`, `claim_next`, `renew`, `release` and `flush` may be awaited from any event loop; the rest is synchronous and waits in
    the caller's thread. A cancelled `commit` is written nevertheless: only its answer is lost. When the writer's connection is lost the
    store stops for good (OMG-S004) and is opened anew; reads come back by themselves.
    """

    def __init__(self, link: Link, session: Session, writer: Writer, hints: dict[str, Hint], *, owner: str) -> None:
        super().__init__(link, session)
        self.owner = owner
        self._writer = writer
        self._hints = hints
        self._seen_letter = 0

    @classmethod
    def open(cls, dsn: str, *, sequencer: Sequencer, owner: str, now_us: Callable[[], int]) -> PostgresStore:
        """Become one engine on the database at `dsn`, making the tables when there are none. `owner` must be this engine's alone.

        Across a network the address should say `sslmode=verify-full`: without it the connection is encrypted only if the server offers it.

        Raises StorageError: OMG-S002 not usable, OMG-S003 newer; IntegrityError OMG-S005 damaged.
        """
        hints = {INBOX_CHANNEL: Hint(), WORK_CHANNEL: Hint()}
        link = Link()
        session = Session(dsn, f"omega reads {owner}", on_connect=_listener(hints))
        try:
            connection = link.run(_enter(dsn, owner, now_us))
            try:
                link.run(session.within(schema.check))
            except OmegaError:
                link.run(let_go(connection))
                raise
        except OmegaError:
            link.run(session.close())
            link.close()
            raise
        ledger = Ledger(connection, owner=owner, sequencer=sequencer, now_us=now_us)
        return cls(link, session, Writer(link, connection, ledger), hints, owner=owner)

    @property
    def counts(self) -> Counts:
        """What was written since this store was opened."""
        return self._writer.counts

    async def commit(self, batch: Batch) -> Committed:
        """See `kernel.ports.Store.commit`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed] = loop.create_future()
        self._writer.submit(Entry(batch=batch, future=future, loop=loop, size=measure(batch)))
        return await future

    def behind(self, batch: Batch) -> None:
        """See `kernel.ports.Store.behind`. Blocks only while the queue is full."""
        self._writer.submit(Entry(batch=batch, size=measure(batch)))

    async def claim(self, execution: str, *, owner: str, lease_us: int, now_us: int) -> int:
        """See `kernel.ports.Store.claim`."""
        return await self._chore(lambda ledger: ledger.claim(execution, owner, lease_us, now_us))

    async def claim_next(self, *, owner: str, lease_us: int, now_us: int) -> tuple[str, int] | None:
        """Own a running execution that nobody owns (any more), the one longest without an owner first: its id and new epoch.

        None when there is none. What another engine is claiming at this moment is passed over, never waited for.
        """
        return await self._chore(lambda ledger: ledger.claim_next(owner, lease_us, now_us))

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Own `execution` until `lease_us`. Raises StorageError (OMG-S006) when the epoch has moved on, InputError (OMG-I003)."""
        await self._chore(lambda ledger: ledger.renew(execution, epoch, lease_us))

    async def release(self, execution: str) -> None:
        """Give back what this store's owner holds; an execution that ends is given back by its last head."""
        await self._chore(lambda ledger: ledger.release(execution))

    async def flush(self) -> None:
        """Return when everything handed to `behind` so far is on disk or refused."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._writer.submit(Entry(future=future, loop=loop))
        await future

    def inbox_changed(self) -> bool:
        """Whether a letter came since the last call. Asks the server only after a wake-up, or once in SWEEP_S seconds.

        A letter posted by this store is seen at once: its session listens too, and hears itself before `post` returns.
        """
        if not self._hints[INBOX_CHANNEL].take():
            return False
        newest = int(self._ask("SELECT coalesce(max(number), 0) FROM inbox")[0][0])
        changed = newest > self._seen_letter
        self._seen_letter = max(newest, self._seen_letter)
        return changed

    def work_changed(self) -> bool:
        """Whether it is worth calling `claim_next`: an execution was given back since the last call, or SWEEP_S seconds have passed."""
        return self._hints[WORK_CHANNEL].take()

    def close(self) -> None:
        """Write what waits, give back what this engine holds, and let go of the connections. Safe to call twice."""
        if not self._link.closed:
            self._writer.close()
        super().close()

    async def _chore(self, chore: Callable[[Ledger], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(Entry(chore=chore, future=future, loop=loop))
        return await future


def _listener(hints: dict[str, Hint]) -> Callable[[Connection], Awaitable[None]]:
    """What a new session does first: listen, and take it that something was missed."""

    def hear(connection: Connection, process: int, channel: str, payload: object) -> None:
        hints[channel].hear()

    async def listen(connection: Connection) -> None:
        for channel, hint in hints.items():
            await connection.add_listener(channel, hear)
            hint.hear()

    return listen


async def _enter(dsn: str, owner: str, now_us: Callable[[], int]) -> Connection:
    """The writer's connection to a database that has its tables."""
    connection = await connect(dsn, f"omega writer {owner}")
    try:
        await schema.prepare(connection, installation=new_id("ins", now_ms=now_us() // 1000, entropy=os.urandom(10)))
    except failures() as error:
        await let_go(connection)
        raise failed(error) from error
    except OmegaError:
        await let_go(connection)
        raise
    return connection
