"""Connections, and the thread they live in.

A connection of asyncpg belongs to one event loop. The ports are called from whichever loop the caller has, and partly without one (`Reader`
is synchronous, and its callers hold no `await` at that point). So each store or reader owns one thread with one loop: every connection, the
writer's task and the listener for wake-ups live there. A synchronous call hands a coroutine over and waits for it, which costs its caller
one round trip to the server and two thread switches (0.2 to 0.4 ms here); a `commit` only waits on a future of its own loop.

    caller (any loop, any thread) --coroutine or queue entry--> link thread: [session for reads and letters] [writer's connection]

What the server's errors mean is decided here and nowhere else:

    class 22, 23, 54, or asyncpg's own refusal of a value     the batch is at fault, its neighbours are not
    40001, 40P01, 55P03                                       nobody is at fault (a lock was not to be had): the transaction is tried again
    everything else                                           the database failed (OMG-S004), or cannot be used when opening (OMG-S002)
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeAlias, TypeVar

from omega.kernel.errors import OmegaError, StorageError

T = TypeVar("T")

Connection: TypeAlias = Any
"""An `asyncpg.Connection`; the library has no types of its own."""

CONNECT_S = 10.0
"""Longest wait for a connection, in seconds."""

READ_S = 30.0
"""Longest wait for the answer to one query, in seconds."""

STALLED_MS = 10_000
"""Longest time that the server lets a transaction sit idle before it ends it: an engine that is paused with a tenant's log locked holds up
all others for no longer than this, and learns of it when it wakes (OMG-S004). Engines with short leases have less (`stalled_ms`)."""

SHORTEST_STALL_MS = 500
"""Least such time: a busy machine takes that long between two statements."""

LOCK_MS = 25_000
"""How long a statement waits for a lock: longer than STALLED_MS, so that a paused neighbour is ended first."""

ALL_TENANTS = "*"
"""The tenant of a connection that may see them all: an engine's, which writes for every tenant of its installation."""

_MAX_NAME = 63
_VALUE_CLASSES = ("22", "23", "54")
_RETRIED = ("40001", "40P01", "55P03")
_EXTRA = "install the extra `server` of this package: it brings asyncpg"
_DSN_ADVICE = "correct the address of the database, or start its server"


class Link:
    """One thread with one event loop, for as long as a store or reader is open."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="omega-postgres", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and wait for it here. Raises StorageError (OMG-S004) when the link is closed."""
        return self.start(work).result()

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run `work` there. Raises StorageError (OMG-S004) when the link is closed."""
        if self._loop.is_closed():
            work.close()
            raise StorageError("OMG-S004", "the store is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return self._loop.is_closed()

    def soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` there, soon."""
        self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Session:
    """One connection that comes back by itself: for reads, letters and documents, one statement at a time. Used in the link's loop."""

    def __init__(
        self, dsn: str, name: str, *, tenant: str = ALL_TENANTS, on_connect: Callable[[Connection], Awaitable[None]] | None = None
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._tenant = tenant
        self._on_connect = on_connect
        self._connection: Connection = None
        self._reached = False
        self._lock = asyncio.Lock()

    async def ask(self, sql: str, *values: Any) -> list[Any]:
        """The rows of one statement. Raises StorageError (OMG-S004) when the server fails."""
        return await self.within(lambda connection: connection.fetch(sql, *values, timeout=READ_S))

    async def within(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """`work` with the connection to itself. A lost connection fails this call; the next one makes a new one.

        Raises StorageError: OMG-S004 when the server fails, also when one that was reached before cannot be reached now: it comes back.
        """
        async with self._lock:
            try:
                return await work(await self._ready())
            except failures() as error:
                raise failed(error) from error

    @property
    def connected(self) -> bool:
        """Whether there is a connection that nobody has ended, as far as is known here."""
        return self._connection is not None and not self._connection.is_closed()

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await let_go(connection)

    async def _ready(self) -> Connection:
        if not self.connected:
            connection = await self._connect()
            if self._on_connect is not None:
                await self._on_connect(connection)
            self._connection, self._reached = connection, True
        return self._connection

    async def _connect(self) -> Connection:
        try:
            return await connect(self._dsn, self._name, tenant=self._tenant)
        except StorageError as error:
            if error.code == "OMG-S002" and self._reached:
                raise StorageError("OMG-S004", error.cause, advice="mend or restart the server, then resume") from error
            raise


async def connect(dsn: str, name: str, *, tenant: str = ALL_TENANTS, settings: Mapping[str, str] | None = None) -> Connection:
    """A connection on which a COMMIT that returns is on disk. Raises StorageError (OMG-S002) when there is none to be had.

    `name` is what the server's list of sessions shows, `tenant` whose lines the connection sees (see `schema`), `settings` what else the
    session is told. A server that does not flush at all, or only follows another one, is refused.
    """
    asyncpg = library()
    settings = {
        "idle_in_transaction_session_timeout": str(STALLED_MS),
        **(settings or {}),
        "application_name": name[:_MAX_NAME],
        "lock_timeout": str(LOCK_MS),
        "jit": "off",
        "omega.tenant": tenant,
    }
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_S, command_timeout=READ_S, server_settings=settings)
    except failures() + (ValueError,) as error:  # noqa: RUF005 - mypy knows no starred tuples here
        raise _unusable(error) from error
    try:
        await _demand_durability(connection)
    except OmegaError:
        await let_go(connection)
        raise
    except failures() as error:
        raise _unusable(error) from error
    return connection


def stalled_ms(lease_us: int) -> int:
    """How long a writer whose leases last `lease_us` may hold a transaction idle, in milliseconds: a third of a lease, so that whoever
    takes over what it ran is held up by less than the lease that it had to wait for."""
    return min(STALLED_MS, max(SHORTEST_STALL_MS, lease_us // 3_000))


async def let_go(connection: Connection) -> None:
    """Close a connection, in order when the server still answers."""
    try:
        await connection.close(timeout=CONNECT_S)
    except failures():
        connection.terminate()


async def _demand_durability(connection: Connection) -> None:
    fsync, follower, commit = await connection.fetchrow(
        "SELECT current_setting('fsync'), pg_is_in_recovery(), current_setting('synchronous_commit')"
    )
    if fsync != "on":
        raise StorageError("OMG-S002", "the server has fsync off: nothing it confirms is on disk", advice="turn fsync on")
    if follower:
        raise StorageError("OMG-S002", "the server follows another one and cannot be written", advice="give the address of the primary")
    if commit == "off":
        await connection.execute("SET synchronous_commit = on")


def library() -> Any:
    """The module asyncpg, loaded on first use. Raises StorageError (OMG-S002) when it is not installed."""
    try:
        import asyncpg
    except ImportError as error:
        raise StorageError("OMG-S002", "the PostgreSQL store needs asyncpg", advice=_EXTRA) from error
    return asyncpg


def failed(error: BaseException) -> StorageError:
    """What an error of a working connection means to whoever called."""
    return StorageError("OMG-S004", f"the database failed: {_words(error)}", advice="mend or restart the server, then resume")


def is_own_fault(error: BaseException) -> bool:
    """Whether `error` is about the values of one batch and not about the database."""
    if isinstance(error, OmegaError | UnicodeError | OverflowError):
        return True
    asyncpg = library()
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "")[:2] in _VALUE_CLASSES
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)  # a value that the wire format cannot carry


def is_retried(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is tried again."""
    return getattr(error, "sqlstate", None) in _RETRIED


def failures() -> tuple[type[Exception], ...]:
    """Everything that a call of asyncpg raises when the server, the network or a value is at fault."""
    asyncpg = library()
    return (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, UnicodeError, OverflowError)


def _unusable(error: BaseException) -> StorageError:
    return StorageError("OMG-S002", f"the database cannot be opened: {_words(error)}", advice=_DSN_ADVICE)


def _words(error: BaseException) -> str:
    """The error in one line, with its SQLSTATE; never with the address, which holds a password, nor with values (they are in DETAIL)."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    tls = _tls_words(error)
    if tls:
        return tls
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return f"{getattr(error, 'message', None) or type(error).__name__} ({state})".lower()
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return type(error).__name__


def _tls_words(error: BaseException) -> str:
    """What went wrong with TLS, as the address asks for it (sslmode and its kin); empty where it was something else."""
    text = str(error).lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.lower()}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection came about: {(error.reason or type(error).__name__).lower().replace('_', ' ')}"
    if isinstance(error, ConnectionError) and "ssl" in text:  # asyncpg, when the server answers the request for TLS with no
        return "the address asks for TLS (sslmode), and the server offers none"
    if isinstance(error, ValueError | library().InterfaceError) and ("ssl" in text or "certificate" in text):
        return "the TLS options of the address cannot be used: sslmode, sslrootcert, sslcert, sslkey"
    return ""
