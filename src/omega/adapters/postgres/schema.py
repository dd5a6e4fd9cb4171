"""The tables of format 1, and how a schema is made and recognised.

    meta         format version, installation id
    executions   one line per execution; `number` is its short name inside this database
    begun        when executions of queues with a rate were taken up
    journal      the rows, in partitions by execution (see `partitions`); (execution, seq) is unique; large payloads lie in TOAST,
                 uncompressed: they are sealed
    keys         the wrapped data key of each execution: destroying it destroys the payloads
    leaves       the tenant logs; logs: where each one stands; checkpoints: every signed note
    inbox        letters from other processes; documents: small configuration

The tables lie in the first schema of the connection's search path, so that one database can hold several installations. Text that is
compared or sorted has the collation "C": bytes, on every server alike.

Row-level security is the second lock between tenants, behind the checks that the code above makes: each connection says for which tenant
it works (`omega.tenant`), and policies that bind the owner of the tables too hide the rest. An engine says ALL_TENANTS.
"""

from __future__ import annotations

from omega.adapters.postgres.link import ALL_TENANTS, Connection
from omega.kernel.errors import IntegrityError, StorageError
from omega.kernel.journal import FORMAT

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE executions (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution TEXT COLLATE "C" NOT NULL UNIQUE,
    tenant TEXT COLLATE "C" NOT NULL,
    flow TEXT COLLATE "C" NOT NULL,
    version TEXT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    target TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    lease_us BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    priority INTEGER NOT NULL,
    due_us BIGINT NOT NULL,
    tries INTEGER NOT NULL,
    parent TEXT COLLATE "C" NOT NULL,
    labels JSONB NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    origin_rows BIGINT NOT NULL,
    woken_us BIGINT NOT NULL DEFAULT 0,
    compacted BOOLEAN NOT NULL DEFAULT false,
    ready_us BIGINT GENERATED ALWAYS AS (greatest(due_us, lease_us)) STORED
);
CREATE INDEX executions_by_tenant ON executions (tenant, number);
CREATE INDEX executions_by_status ON executions (status, number);
CREATE INDEX executions_by_owner ON executions (owner) WHERE owner <> '';
CREATE INDEX executions_by_parent ON executions (parent, number) WHERE parent <> '';
CREATE INDEX executions_by_origin ON executions (origin) WHERE origin <> '';
CREATE INDEX executions_by_end ON executions (tenant, updated_us) WHERE status IN ('done', 'failed', 'cancelled') AND NOT compacted;
CREATE INDEX executions_running ON executions (queue, lease_us) WHERE status = 'running' AND queue <> '';
CREATE INDEX executions_by_turn ON executions (queue, digest, priority, tenant, ready_us) WHERE due_us > 0;
CREATE INDEX executions_by_key ON executions (queue, digest, priority, tenant, key, ready_us) WHERE due_us > 0;
CREATE INDEX executions_by_moment ON executions (queue, ready_us) WHERE due_us > 0;
CREATE TABLE begun (queue TEXT COLLATE "C" NOT NULL, at_us BIGINT NOT NULL);
CREATE INDEX begun_by_moment ON begun (queue, at_us);
CREATE TABLE journal (
    execution BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    position TEXT NOT NULL,
    meta BYTEA NOT NULL,
    payload BYTEA,
    PRIMARY KEY (execution, seq)
) PARTITION BY RANGE (execution);
ALTER TABLE journal ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE keys (execution BIGINT PRIMARY KEY, wrapped BYTEA NOT NULL);
CREATE TABLE leaves (tenant TEXT COLLATE "C" NOT NULL, idx BIGINT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (tenant, idx));
CREATE TABLE logs (tenant TEXT COLLATE "C" PRIMARY KEY, size BIGINT NOT NULL, state BYTEA NOT NULL);
CREATE TABLE checkpoints (tenant TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, note BYTEA NOT NULL, PRIMARY KEY (tenant, size));
CREATE TABLE inbox (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution TEXT COLLATE "C" NOT NULL,
    verb TEXT NOT NULL,
    body BYTEA NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE TABLE documents (
    kind TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, body BYTEA NOT NULL, at_us BIGINT NOT NULL, PRIMARY KEY (kind, name)
);
"""

_TENANT = "current_setting('omega.tenant', true)"
_ITS_OWN = f"{_TENANT} = tenant"
_ITS_EXECUTIONS = f"EXISTS (SELECT FROM executions AS e WHERE e.number = {{table}}.execution AND e.tenant = {_TENANT})"
_ITS_LETTERS = f"EXISTS (SELECT FROM executions AS e WHERE e.execution = inbox.execution AND e.tenant = {_TENANT})"
POLICIES = {
    "executions": _ITS_OWN,
    "leaves": _ITS_OWN,
    "logs": _ITS_OWN,
    "checkpoints": _ITS_OWN,
    "journal": _ITS_EXECUTIONS.format(table="journal"),
    "keys": _ITS_EXECUTIONS.format(table="keys"),
    "inbox": _ITS_LETTERS,
    "begun": "false",
    "documents": "false",
}
"""What a connection of one tenant sees of each table. The setting is missing on a connection that says nothing: it sees nothing."""

MAKING = (0x4F4D4547, 1)
"""Advisory lock of whoever makes the tables: `OMEG` and a number. Two engines may be the first at once."""

POSTING = (0x4F4D4547, 2)
"""Advisory lock of whoever posts a letter: numbers become visible in their order, so that nobody who has read up to one misses another."""

_TABLES = frozenset({"meta", "executions", "journal", "keys", "leaves", "logs", "checkpoints", "inbox", "documents", "begun"})


async def prepare(connection: Connection, *, installation: str, span: int) -> None:
    """Make the tables when there are none, then check them as `check` does. Raises StorageError (OMG-S002) without a schema to use.

    `span` is the number of executions in each partition of the journal that this makes.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *MAKING)
        if not await _tables(connection):
            await connection.execute(SCHEMA)
            await connection.execute(_secured())
            values = [("format", str(FORMAT)), ("installation", installation), ("span", str(span))]
            await connection.executemany("INSERT INTO meta (key, value) VALUES ($1, $2)", values)
    await check(connection)


def _secured() -> str:
    """The statements that put every table under its policy."""
    return ";".join(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        f" CREATE POLICY tenants ON {table} USING ({_TENANT} = '{ALL_TENANTS}' OR {seen})"
        for table, seen in POLICIES.items()
    )


async def check(connection: Connection) -> None:
    """Refuse what this release cannot read: StorageError OMG-S002 (nothing there), OMG-S003 (newer); IntegrityError OMG-S005 (damaged)."""
    tables = await _tables(connection)
    if not tables:
        raise StorageError("OMG-S002", "there is no data in the schema", advice="start an engine on it first, or correct the address")
    if missing := _TABLES - tables:
        raise IntegrityError("OMG-S005", "the schema lacks tables of omega", details={"tables": sorted(missing)})
    found = await connection.fetchval("SELECT value FROM meta WHERE key = 'format'")
    if found is None or not found.isdecimal():
        raise IntegrityError("OMG-S005", "the database does not say its format")
    if int(found) > FORMAT:
        cause = f"the database has format {found}, this release reads up to {FORMAT}"
        raise StorageError("OMG-S003", cause, details={"found": int(found), "known": FORMAT})


async def _tables(connection: Connection) -> set[str]:
    """Names of the tables in the schema that the connection uses."""
    if await connection.fetchval("SELECT current_schema()") is None:
        raise StorageError("OMG-S002", "the address names a schema that does not exist", advice="create it, or correct the address")
    found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in found}
