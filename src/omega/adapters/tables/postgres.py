"""Tables on PostgreSQL, in the schema of the records: one transaction per call, bound to one tenant by `omega.tenant`.

Row-level security binds the owner of the tables too (FORCE), and a transaction that names no tenant sees nothing. Nothing else keeps
tenants apart here, so a role that no policy binds (a superuser, one with BYPASSRLS), or a table that somebody has taken out from under the
lock, is refused before anything is read. A transaction that lost a
race for a lock, or for the note of its step, is tried again: the second time it finds what the first one noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from omega.adapters.tables import shape, turns
from omega.kernel.errors import InputError, OmegaError, StorageError
from omega.kernel.ports import Schema, Turn

CONNECT_S = 10.0
ANSWER_S = 30.0
"""Longest wait for a connection and for the answer to one statement, in seconds."""

MAX_CONNECTIONS = 4
MAX_TRIES = 3

MAKING = 0x4F4D4547_0003
"""Advisory lock of whoever makes or migrates tables: `OMEG` and a number of our own."""

_RETRIED = ("40001", "40P01", "55P03", "23505")
_BIND = "SELECT set_config('omega.tenant', $1, true)"

_ROLE = "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
_LOCKED = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass($1)"
_ROLE_ADVICE = "connect as a role made with NOSUPERUSER NOBYPASSRLS, see docs/stores.md"
_TABLE_ADVICE = "find out who changed it, then ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"

T = TypeVar("T")


class PostgresTables:
    """Implements `kernel.ports.Tables` in a database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._engine: AsyncEngine | None = None
        self._ready: set[str] = set()
        self._sweeping = turns.Sweeping()
        self._making = asyncio.Lock()

    async def change(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn) -> Any:
        """See the port."""
        return await self._within(schema, turn.tenant, lambda connection: self._sweeping.changed(connection, schema, name, values, turn))

    async def look(self, schema: Schema, name: str, values: Mapping[str, Any], tenant: str) -> Any:
        """See the port."""
        return await self._within(schema, tenant, lambda connection: turns.looked(connection, schema, name, values, tenant))

    async def stands(self) -> bool:
        """See the port. Which tables a server has is asked for with the first of them."""
        return True

    async def erase(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn, executions: Sequence[str] = ()) -> Any:
        """See the port. What the server keeps of deleted rows until it vacuums is the server's."""
        return await self._within(schema, turn.tenant, lambda connection: turns.erased(connection, schema, name, values, turn, executions))

    async def purge(self, tenant: str) -> int:
        """See the port. What the server keeps of deleted rows until it vacuums is the server's."""

        def work(connection: sa.Connection) -> int:
            if not sa.inspect(connection).has_table(shape.SCHEMAS):
                return 0
            return sum(
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE tenant = $1", (tenant,)).rowcount  # noqa: S608 - our own names
                for table in shape.tables_of(connection)
            )

        return await self._transaction(tenant, work)

    async def aclose(self) -> None:
        """Let go of the connections. Safe to call twice."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    async def _within(self, schema: Schema, tenant: str, work: Callable[[sa.Connection], T]) -> T:
        async with self._making:
            if schema.name not in self._ready:
                await self._transaction("", lambda connection: _made(connection, schema))
                self._ready.add(schema.name)
        return await self._transaction(tenant, work)

    async def _transaction(self, tenant: str, work: Callable[[sa.Connection], T]) -> T:
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                async with self._opened().begin() as connection:
                    await connection.exec_driver_sql(_BIND, (tenant,))
                    return await connection.run_sync(work)
            except OmegaError:
                raise
            except sa.exc.DBAPIError as error:
                if not (tries_left and _state(error) in _RETRIED):
                    raise _meaning(error) from error
            except (sa.exc.SQLAlchemyError, OSError, TimeoutError) as error:
                raise StorageError("OMG-S004", f"the tables failed: {type(error).__name__.lower()}") from error
        raise StorageError("OMG-S004", "the tables were never free")

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            self._engine = create_async_engine(
                "postgresql+asyncpg://", async_creator=self._connect, pool_size=MAX_CONNECTIONS, max_overflow=0, pool_pre_ping=True
            )
        return self._engine

    async def _connect(self) -> Any:
        import asyncpg

        settings = {"application_name": "omega tables", "synchronous_commit": "on", "lock_timeout": str(int(ANSWER_S * 1_000))}
        return await asyncpg.connect(self._dsn, timeout=CONNECT_S, command_timeout=ANSWER_S, server_settings=settings)


def _made(connection: sa.Connection, schema: Schema) -> None:
    _check_role(connection)
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (MAKING,))
    shape.made(connection, schema)
    _check_locks(connection)


def _check_role(connection: sa.Connection) -> None:
    """Raise StorageError (OMG-S007) for a role that row-level security does not bind (PostgreSQL, 5.9)."""
    role, exempt = connection.exec_driver_sql(_ROLE).one()
    if exempt:
        cause = f"the role {role} is beyond row-level security, which alone keeps tenants apart in these tables"
        raise StorageError("OMG-S007", cause, advice=_ROLE_ADVICE, details={"role": role})


def _check_locks(connection: sa.Connection) -> None:
    """Raise StorageError (OMG-S007) where a table of features is not under a lock that binds its owner too."""
    open_ones = [name for name in shape.tables_of(connection) if not connection.exec_driver_sql(_LOCKED, (name,)).scalar()]
    if open_ones:
        cause = f"row-level security is not forced on {', '.join(open_ones[:5])}"
        raise StorageError("OMG-S007", cause, advice=_TABLE_ADVICE, details={"tables": open_ones})


def _state(error: sa.exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")


def _meaning(error: sa.exc.DBAPIError) -> OmegaError:
    """A rule of the tables (class 23), row-level security (42501), or the database itself; never with statement and values."""
    state = _state(error)
    if state.startswith("23") or state == "42501":
        return InputError("OMG-I001", "a rule of the tables refuses this change", details={"rule": state})
    return StorageError("OMG-S004", f"the tables failed ({state or type(error.orig).__name__.lower()})")
