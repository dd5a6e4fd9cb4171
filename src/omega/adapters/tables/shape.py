"""How a feature's tables are made, migrated and put under lock, on either database.

Which version of which schema stands is noted in `omega_schemas`. Tables are made once, later versions are reached by their migrations one
after the other, and a version newer than this release knows is refused (OMG-S003) before anything is read. `omega_applied` holds the notes
of `turns`. Both are made with the first schema.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from omega.kernel.errors import DefinitionError, StorageError
from omega.kernel.ports import Schema

OWN = sa.MetaData()
APPLIED = sa.Table(
    "omega_applied",
    OWN,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("execution", sa.String, primary_key=True),
    sa.Column("step", sa.String, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("change", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
)
SCHEMAS = "omega_schemas"
STANDING = sa.table(SCHEMAS, sa.column("name"), sa.column("version"))
VIEW = "{}_own"
"""What a tenant's own rows of a table are called on SQLite."""

_PG_TENANT = "current_setting('omega.tenant', true)"


def check(schema: Schema) -> None:
    """Raise DefinitionError (OMG-F003) for a schema whose tables are not its own, or that could hold rows of nobody."""
    for table in schema.tables.sorted_tables:
        if not table.name.startswith(f"{schema.name}_") or not table.name.replace("_", "").isalnum() or table.schema is not None:
            raise DefinitionError("OMG-F003", f"the table {table.name} of {schema.name} is not called {schema.name}_...")
        if "tenant" not in table.c or table.c.tenant.nullable:
            raise DefinitionError("OMG-F003", f"the table {table.name} has no column tenant that is never null")


def made(connection: sa.Connection, schema: Schema) -> None:
    """Make or migrate the tables of `schema`, in the transaction of a connection that may. Raises StorageError (OMG-S003)."""
    check(schema)
    connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {SCHEMAS} (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    if not sa.inspect(connection).has_table(APPLIED.name):
        _make(connection, APPLIED)
    found = standing(connection, schema.name)
    if found > schema.version:
        cause = f"the tables of {schema.name} have version {found}, this release knows {schema.version}"
        raise StorageError("OMG-S003", cause, details={"found": found, "known": schema.version})
    if found == 0:
        for table in schema.tables.sorted_tables:
            _make(connection, table)
    for version in range(max(found, 1) + 1, schema.version + 1) if found else ():
        _migrate(connection, schema, version)
    if found != schema.version:
        connection.execute(sa.delete(STANDING).where(STANDING.c.name == schema.name))
        connection.execute(sa.insert(STANDING).values(name=schema.name, version=schema.version))


def standing(connection: sa.Connection, name: str) -> int:
    """The version of a schema's tables; 0 when there are none."""
    return _versions(connection).get(name, 0)


def tables_of(connection: sa.Connection) -> list[str]:
    """The tables that hold rows of tenants: those of features and the notes of what steps changed."""
    names = sa.inspect(connection).get_table_names()
    prefixes = tuple(f"{name}_" for name in _versions(connection))
    return sorted(name for name in names if name == APPLIED.name or (prefixes and name.startswith(prefixes)))


def _versions(connection: sa.Connection) -> dict[str, int]:
    rows = connection.exec_driver_sql(f"SELECT name, version FROM {SCHEMAS}").all()  # noqa: S608 - a constant
    return {str(name): int(version) for name, version in rows}


def _migrate(connection: sa.Connection, schema: Schema, version: int) -> None:
    before = set(sa.inspect(connection).get_table_names())
    for statement in schema.migrations.get(version, ()):
        connection.exec_driver_sql(statement)
    for table in schema.tables.sorted_tables:  # tables that are new in this version
        if table.name not in before and table.name not in set(sa.inspect(connection).get_table_names()):
            _make(connection, table)
        else:
            _lock(connection, table.name)


def _make(connection: sa.Connection, table: sa.Table) -> None:
    connection.execute(CreateTable(table))
    for index in table.indexes:
        index.create(connection)
    _lock(connection, table.name)


def _lock(connection: sa.Connection, table: str) -> None:
    """Put a table under the database's own lock, in place of an earlier one."""
    for statement in _sqlite(table) if connection.dialect.name == "sqlite" else _postgres(table):
        connection.exec_driver_sql(statement)


def _sqlite(table: str) -> Iterator[str]:
    """A view of one's own rows, made anew because it lists the columns, and triggers that refuse rows of others.

    `omega_tenant()` is a function of our connections: any other program fails at the first write.
    """
    view = VIEW.format(table)
    yield f"DROP VIEW IF EXISTS {view}"
    yield f"CREATE VIEW {view} AS SELECT * FROM {table} WHERE tenant = omega_tenant()"  # noqa: S608 - names checked by `check`
    for act, rows in {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}.items():
        strange = " OR ".join(f"{row}.tenant IS NOT omega_tenant()" for row in rows)
        name = f"{table}_{act.lower()}"
        yield f"DROP TRIGGER IF EXISTS {name}"
        yield f"CREATE TRIGGER {name} BEFORE {act} ON {table} WHEN {strange} BEGIN SELECT RAISE(ABORT, 'a row of another tenant'); END"


def _postgres(table: str) -> Iterator[str]:
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"DROP POLICY IF EXISTS tenants ON {table}"
    yield f"CREATE POLICY tenants ON {table} USING (tenant = {_PG_TENANT}) WITH CHECK (tenant = {_PG_TENANT})"
