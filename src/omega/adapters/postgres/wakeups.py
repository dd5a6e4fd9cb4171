"""Wake-ups by LISTEN and NOTIFY: a hint names a queue, and whoever waits for it looks into the database.

The stores of this package announce in the same transaction whatever they make due, so a hint given here as well is one too many at most.
A lost connection comes back by itself; what was announced meanwhile is lost, so the first wait after that is over at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from omega.adapters.net.hints import Heard
from omega.adapters.postgres.link import Connection, Link, Session
from omega.kernel.errors import OmegaError

WORK_CHANNEL = "omega_work"
"""Where a queue is announced in which something became due."""

_HINT = "SELECT pg_notify($1, $2)"


class PostgresWakeups:
    """Implements `kernel.ports.Wakeups` on a connection of its own; usable from one event loop."""

    def __init__(self, link: Link, session: Session, heard: Heard) -> None:
        self._link = link
        self._session = session
        self._heard = heard
        self._returning: concurrent.futures.Future[None] | None = None

    @classmethod
    def open(cls, dsn: str) -> PostgresWakeups:
        """Listen on the database at `dsn`. Raises StorageError (OMG-S002) when it cannot be reached."""
        link = Link()
        heard = Heard()
        session = Session(dsn, "omega wake-ups", on_connect=_listener(heard))
        wakeups = cls(link, session, heard)
        try:
            link.run(session.ask("SELECT 1"))
        except OmegaError:
            link.close()
            raise
        return wakeups

    async def hint(self, queue: str) -> None:
        """See `kernel.ports.Wakeups.hint`."""
        with contextlib.suppress(OmegaError):  # a hint that cannot be sent is lost: whoever waits looks at its next sweep
            await asyncio.wrap_future(self._link.start(self._session.ask(_HINT, WORK_CHANNEL, queue)))

    async def wait(self, queues: Sequence[str], timeout_s: float) -> bool:
        """See `kernel.ports.Wakeups.wait`."""
        if not (self._session.connected or self._link.closed) and (self._returning is None or self._returning.done()):
            self._returning = self._link.start(self._listen())
        return await self._heard.wait(queues, timeout_s)

    async def _listen(self) -> None:
        """Connect again, if that is possible; else the next wait tries."""
        with contextlib.suppress(OmegaError):
            await self._session.ask("SELECT 1")

    async def aclose(self) -> None:
        """Stop listening. Safe to call twice."""
        if not self._link.closed:
            await asyncio.wrap_future(self._link.start(self._session.close()))
            await asyncio.to_thread(self._link.close)


def _listener(heard: Heard) -> Callable[[Connection], Awaitable[None]]:
    """What a new connection does first: listen, and take it that something was missed."""

    def hear(connection: Connection, process: int, channel: str, payload: object) -> None:
        heard.hear(str(payload))

    async def listen(connection: Connection) -> None:
        await connection.add_listener(WORK_CHANNEL, hear)
        heard.hear_all()

    return listen
