"""Tables on SQLite: `tables.db` beside the records, one connection in one thread, a transaction per call.

The file is a second database on purpose: the writer of the records commits for two hundred executions at once and must never wait for a
feature. What both must agree on is a step's change, and that is noted here with the change itself (`turns`).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.pool import StaticPool

from omega.adapters.tables import shape, turns
from omega.adapters.tables.place import DATABASE
from omega.kernel.errors import InputError, OmegaError, StorageError
from omega.kernel.ports import Schema, Turn

FILE_MODE = 0o600
BUSY_S = 30.0
_NOBODY = ""

_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_RECURSIVE})
_WRITING = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})

T = TypeVar("T")


class OwnRows(SQLiteCompiler):
    """Compiles each table that is read to the view of the tenant's own rows; the table that a change is made to stays itself."""

    def visit_table(self, table: Any, asfrom: Any = False, iscrud: Any = False, **kw: Any) -> str:  # type: ignore[override]
        """See `SQLCompiler.visit_table`."""
        text = super().visit_table(table, asfrom=asfrom, iscrud=iscrud, **kw)  # type: ignore[no-untyped-call]
        if not asfrom or iscrud or not text:
            return str(text)
        alias = kw.get("enclosing_alias")
        name = "" if alias is not None and alias.element is table else f" AS {self.preparer.quote(table.name)}"
        return self.preparer.quote(shape.VIEW.format(table.name)) + name


class SqliteTables:
    """Implements `kernel.ports.Tables` in one file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATABASE
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="omega-tables")
        self._engine: sa.Engine | None = None
        self._tenant = _NOBODY
        self._guarded = False
        self._target = ""
        self._ready: set[str] = set()
        self._sweeping = turns.Sweeping()

    async def change(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn) -> Any:
        """See the port."""
        return await self._within(schema, turn.tenant, lambda connection: self._sweeping.changed(connection, schema, name, values, turn))

    async def look(self, schema: Schema, name: str, values: Mapping[str, Any], tenant: str) -> Any:
        """See the port."""
        return await self._within(schema, tenant, lambda connection: turns.looked(connection, schema, name, values, tenant))

    async def stands(self) -> bool:
        """See the port."""
        return self._path.exists()

    async def erase(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn, executions: Sequence[str] = ()) -> Any:
        """See the port. The pages are overwritten (`secure_delete`) and the write-ahead log is emptied into the file."""
        erased = await self._within(
            schema, turn.tenant, lambda connection: turns.erased(connection, schema, name, values, turn, executions)
        )
        await self._in_thread(self._empty_log)
        return erased

    async def purge(self, tenant: str) -> int:
        """See the port. The pages are overwritten (`secure_delete`) and the write-ahead log is emptied into the file."""
        if not self._path.exists():
            return 0

        def work(connection: sa.Connection) -> int:
            if not sa.inspect(connection).has_table(shape.SCHEMAS):
                return 0
            return sum(
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE tenant = ?", (tenant,)).rowcount  # noqa: S608 - our own names
                for table in shape.tables_of(connection)
            )

        return await self._in_thread(lambda: self._purged(tenant, work))

    async def aclose(self) -> None:
        """Close the file. Safe to call twice."""
        if self._engine is not None:
            await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    async def _within(self, schema: Schema, tenant: str, work: Callable[[sa.Connection], T]) -> T:
        return await self._in_thread(lambda: self._transaction(schema, tenant, work))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """`work` in the thread of the connection. Raises InputError (OMG-I001) for what the tables refuse, StorageError (OMG-S004)."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError as error:
            raise StorageError("OMG-S004", "the tables are closed") from error

    def _transaction(self, schema: Schema, tenant: str, work: Callable[[sa.Connection], T]) -> T:
        try:
            engine = self._opened()
            if schema.name not in self._ready:
                with engine.begin() as connection:
                    shape.made(connection, schema)
                self._ready.add(schema.name)
            with engine.begin() as connection:
                return self._bound(tenant, connection, work)
        except OmegaError:
            raise
        except sa.exc.IntegrityError as error:
            raise InputError("OMG-I001", "a rule of the tables refuses this change", details={"rule": _words(error)}) from error
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StorageError("OMG-S004", f"the tables failed: {_words(error)}") from error

    def _bound(self, tenant: str, connection: sa.Connection, work: Callable[[sa.Connection], T]) -> T:
        self._tenant, self._guarded, self._target = tenant, True, ""
        try:
            return work(connection)
        finally:
            self._tenant, self._guarded = _NOBODY, False

    def _purged(self, tenant: str, work: Callable[[sa.Connection], int]) -> int:
        try:
            with self._opened().begin() as connection:
                self._tenant = tenant
                try:
                    count = work(connection)
                finally:
                    self._tenant = _NOBODY
            self._empty_log()
            return count
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise StorageError("OMG-S004", f"the tables failed: {_words(error)}") from error

    def _empty_log(self) -> None:
        """Bring what the write-ahead log holds into the file. Raises StorageError (OMG-S004) where others read for too long."""
        try:
            with self._opened().connect() as connection:
                cursor = connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
                busy = cursor.fetchone()[0]
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise StorageError("OMG-S004", f"the tables failed: {_words(error)}") from error
        if busy:
            raise StorageError("OMG-S004", "the log of writes of the tables is in use and keeps what was destroyed", advice="ask again")

    def _opened(self) -> sa.Engine:
        if self._engine is None:
            engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=StaticPool)
            engine.dialect.statement_compiler = OwnRows
            sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            sa.event.listen(engine, "before_execute", self._note_target)
            sa.event.listen(engine, "after_execute", self._forget_target)
            self._engine = engine
        return self._engine

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
        connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("omega_tenant", 0, lambda: self._tenant or None)
        connection.set_authorizer(self._authorise)
        return connection

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _note_target(self, connection: sa.Connection, statement: Any, *_: Any) -> None:
        """Which table the next statement changes: it may be read as it is, by that statement."""
        table = getattr(statement, "table", None)
        self._target = table.name if isinstance(table, sa.Table) else ""

    def _forget_target(self, *_: Any) -> None:
        self._target = ""

    def _authorise(self, action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
        """SQLite's question while it prepares a statement (sqlite3_set_authorizer). `source` is the view or trigger that reads."""
        if not self._guarded or action in _READING or action in _WRITING:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            own = source is not None or first == self._target or (first or "").endswith(shape.VIEW.format(""))
            return sqlite3.SQLITE_OK if own else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_DENY


def _words(error: BaseException) -> str:
    """The error in one line, without statement and values."""
    return str(getattr(error, "orig", None) or type(error).__name__).lower()[:200]
