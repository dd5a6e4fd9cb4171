"""What a transaction may say: SQLAlchemy Core, about its feature's tables, for its own tenant.

Three locks stand one behind the other, and each alone is enough:

    here        a statement holds no text and calls nothing that could change whose tenant a connection works for; updates and deletes get
                `tenant = ...` added; an insert names the tenant of the session
    compiling   on SQLite every table that is read is compiled to a view of the tenant's own rows
    database    SQLite: an authorizer lets nothing but these views read a table, and triggers refuse rows of others.
                PostgreSQL: row-level security that binds the owner of the tables too
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import Delete, Insert, Update, UpdateBase
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.functions import FunctionElement

from omega.kernel.errors import DefinitionError, InputError

CALLABLE = frozenset({"count", "sum", "min", "max", "lower", "upper", "length", "coalesce", "abs", "avg"})
"""The functions of SQL that a transaction may call: the same everywhere, and harmless."""

MAX_ROWS = 10_000
"""Most rows that one select gives."""


class Session:
    """Implements `kernel.ports.TableSession` on an open connection that is bound to `tenant`."""

    def __init__(self, connection: sa.Connection, tenant: str, tables: sa.MetaData, *, writing: bool) -> None:
        self._connection, self._tenant, self._tables, self._writing = connection, tenant, tables, writing

    def execute(self, statement: Any) -> int:
        """See the port. Raises DefinitionError (OMG-F003) for what a transaction may not say."""
        if not isinstance(statement, UpdateBase) or not self._writing:
            raise _misused("a question changes nothing, and a change is an insert, an update or a delete")
        self._check(statement)
        return max(self._run(self._own(statement)).rowcount, 0)

    def rows(self, statement: Any) -> list[dict[str, Any]]:
        """See the port. Raises DefinitionError (OMG-F003), InputError (OMG-I001) above `MAX_ROWS`."""
        if not isinstance(statement, sa.Select | sa.CompoundSelect):
            raise _misused("rows are selected")
        self._check(statement)
        found = [dict(row) for row in self._run(statement).mappings().fetchmany(MAX_ROWS + 1)]
        if len(found) > MAX_ROWS:
            raise InputError("OMG-I001", f"more than {MAX_ROWS:,} rows answer this", advice="narrow the question, or page through it")
        return found

    def row(self, statement: Any) -> dict[str, Any] | None:
        """See the port."""
        found = self.rows(statement)
        return found[0] if found else None

    def _run(self, statement: sa.Executable) -> sa.CursorResult[Any]:
        try:
            return self._connection.execute(statement)
        except (sa.exc.ArgumentError, sa.exc.CompileError, sa.exc.InvalidRequestError) as error:  # an insert of several rows, for one
            raise _misused(f"a statement cannot be made: {type(error).__name__}") from error

    def _check(self, statement: sa.ClauseElement) -> None:
        for part in visitors.iterate(statement):
            if isinstance(part, TextClause) or (isinstance(part, ColumnClause) and part.is_literal and part.name != "*"):
                raise _misused("a statement holds text of SQL: write it with SQLAlchemy Core")
            if isinstance(part, FunctionElement) and part.name.lower() not in CALLABLE:
                raise _misused(f"a statement calls {part.name}: these are known: {', '.join(sorted(CALLABLE))}")
            if isinstance(part, sa.TableClause) and not (isinstance(part, sa.Table) and part.metadata is self._tables):
                raise _misused(f"a statement names {part.name}, which is no table of this feature")

    def _own(self, statement: UpdateBase) -> UpdateBase:
        table = statement.table
        if isinstance(statement, Insert):
            if statement.select is not None:
                raise _misused("rows are inserted by value")
            return statement.values(tenant=self._tenant)
        if isinstance(statement, Update | Delete):
            return statement.where(table.c.tenant == self._tenant)
        raise _misused(f"a change is an insert, an update or a delete, not a {type(statement).__name__}")


def _misused(cause: str) -> DefinitionError:
    return DefinitionError("OMG-F003", cause, advice="see docs/extending.md for what a transaction may say")
