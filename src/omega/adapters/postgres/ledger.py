"""Batches applied to the tables: the fence, the line, the rows and the leaves of a group, in one transaction.

The fence. Appending locks the line of each execution FOR KEY SHARE and reads its epoch in the same statement; claiming locks it FOR UPDATE
before it raises the epoch. The two locks exclude each other, so a batch is either on disk before a new owner reads the journal, or it sees
the new epoch and is refused. (An UPDATE alone would not do: its lock goes together with KEY SHARE, and a former owner could still append
after the claim.) Appends of different engines never wait for each other here. Nothing is remembered between transactions: any other engine
may have claimed anything meanwhile.

The log. A tenant's leaves get their places while the tenant's line in `logs` is locked FOR UPDATE, so one engine at a time extends a
log, and holds it for as long as it writes and flushes. That is the one point where engines wait for each other, and only those that add
leaves for the same tenant. Locks on logs are taken after those on executions and in the order of their names; a claim holds one lock only:
there is no circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from omega.adapters.postgres.link import Connection
from omega.adapters.postgres.records import WORK_CHANNEL
from omega.adapters.sql.batches import CREATED_LEASE_US, ENDED, stale, unknown
from omega.adapters.sql.queue import Entry, Refusals
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.ports import Batch, Committed, Head, Sequencer

WRITE_S = 60.0
"""Longest wait for one statement of the writer, in seconds. What became of it is then unknown, so the store stops."""

_CREATE = """
INSERT INTO executions (execution, tenant, flow, version, status, principal, target, epoch, owner, lease_us, started_us, updated_us)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[],
    $10::bigint[], $11::bigint[], $12::bigint[])
ON CONFLICT (execution) DO NOTHING RETURNING execution, number"""
_FENCE = """
SELECT execution, number, executions.tenant, epoch, coalesce(logs.size, 0) AS size
FROM executions LEFT JOIN logs ON logs.tenant = executions.tenant
WHERE execution = ANY($1::text[]) FOR KEY SHARE OF executions"""
_CHANGE = """
UPDATE executions SET status = h.status, updated_us = h.at_us,
    flow = coalesce(nullif(h.flow, ''), executions.flow), version = coalesce(nullif(h.version, ''), executions.version),
    principal = coalesce(nullif(h.principal, ''), executions.principal), target = coalesce(nullif(h.target, ''), executions.target),
    owner = CASE WHEN h.ended THEN '' ELSE executions.owner END, lease_us = CASE WHEN h.ended THEN 0 ELSE executions.lease_us END
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[])
    AS h (number, status, at_us, flow, version, principal, target, ended)
WHERE executions.number = h.number"""
_KEYS = """
INSERT INTO keys (execution, wrapped) SELECT * FROM unnest($1::bigint[], $2::bytea[])
ON CONFLICT (execution) DO UPDATE SET wrapped = excluded.wrapped"""
_JOURNAL = """
INSERT INTO journal (execution, seq, kind, position, meta, payload)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bytea[], $6::bytea[])"""
_NEW_LOGS = "INSERT INTO logs (tenant, size, state) SELECT name, 0, '' FROM unnest($1::text[]) AS name ORDER BY 1 ON CONFLICT DO NOTHING"
_LOGS = "SELECT tenant, size, state FROM logs WHERE tenant = ANY($1::text[]) ORDER BY tenant FOR UPDATE"
_LEAVES = """
WITH added AS (INSERT INTO leaves (tenant, idx, body) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])),
    noted AS (INSERT INTO checkpoints (tenant, size, note) SELECT * FROM unnest($4::text[], $5::bigint[], $6::bytea[]))
UPDATE logs SET size = g.size, state = g.state FROM unnest($4::text[], $5::bigint[], $7::bytea[]) AS g (tenant, size, state)
WHERE logs.tenant = g.tenant"""

_HELD = "SELECT number, epoch, owner, lease_us FROM executions WHERE execution = $1 FOR UPDATE"
_OWN = "UPDATE executions SET epoch = epoch + 1, owner = $2, lease_us = $3 WHERE number = $1"
_NEXT = """
WITH next AS MATERIALIZED (
    SELECT number FROM executions WHERE status = 'running' AND lease_us <= $3 ORDER BY lease_us, number LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE executions SET epoch = epoch + 1, owner = $1, lease_us = $2 FROM next WHERE executions.number = next.number
RETURNING execution, epoch"""
_RENEW = "UPDATE executions SET lease_us = $3 WHERE execution = $1 AND epoch = $2 RETURNING 1"
_RELEASE = """
WITH given AS (UPDATE executions SET owner = '', lease_us = 0 WHERE owner = $1 AND ($2::text IS NULL OR execution = $2) RETURNING 1)
SELECT pg_notify($3, '') WHERE EXISTS (SELECT FROM given)"""


class SpoiledError(Exception):
    """The group cannot be written as it is, but each of its batches can be judged alone."""


@dataclass(slots=True)
class Fence:
    """What a transaction knows of an execution whose line it has locked. `born` while this group makes it and its turn has not come."""

    number: int
    tenant: str
    epoch: int
    size: int = 0
    born: bool = False


@dataclass(slots=True)
class Log:
    """Where a tenant's log stands, and the leaves that the running transaction adds."""

    state: bytes
    size: int
    fresh: list[bytes] = field(default_factory=list)


class Ledger:
    """One transaction at a time on the writer's connection; used by the writer's task alone."""

    def __init__(self, connection: Connection, *, owner: str, sequencer: Sequencer, now_us: Callable[[], int]) -> None:
        self._connection = connection
        self._owner = owner
        self._sequencer = sequencer
        self._now_us = now_us

    async def write(self, entries: Sequence[Entry], refusals: Refusals) -> int:
        """One transaction for the batches of `entries`; gives the number of leaves written.

        What is refused for itself gets its error and is left out, the others get their `Committed`. Any exception but OmegaError and
        SpoiledError is the database's or a value's; whichever it is, nothing was written unless it came from COMMIT.
        """
        await self._run("BEGIN")
        known = await self._look(entries, refusals)
        admitted = [(entry, fence) for entry in entries if (fence := self._judge(entry, known, refusals)) is not None]
        if any(fence.born for fence in known.values()):
            raise SpoiledError  # a line was made for a batch that is refused after all
        logs = await self._lock_logs(entry.batch.tenant for entry, _ in admitted if entry.batch is not None and entry.batch.leaves)
        for entry, fence in admitted:
            if entry.batch is not None:
                entry.result = _place(entry.batch, fence, logs)
        await self._apply([(entry.batch, fence) for entry, fence in admitted if entry.batch is not None])
        leaves = await self._grow(logs)
        if await self._run("COMMIT") != "COMMIT":
            raise SpoiledError
        return leaves

    async def rollback(self) -> None:
        """Forget the transaction."""
        await self._run("ROLLBACK")

    async def claim(self, execution: str, owner: str, lease_us: int, now_us: int) -> int:
        """Own `execution`: its new epoch. Raises StorageError (OMG-R010) while another owner's lease runs, InputError (OMG-I003)."""
        async with self._connection.transaction():
            found = await self._fetch(_HELD, execution)
            if not found:
                raise unknown(execution)
            number, epoch, holder, until = found[0]
            if holder not in ("", owner) and until > now_us:
                raise StorageError("OMG-R010", f"{execution} is run by {holder}", details={"owner": holder, "lease_us": until})
            await self._fetch(_OWN, number, owner, lease_us)
        return int(epoch) + 1

    async def claim_next(self, owner: str, lease_us: int, now_us: int) -> tuple[str, int] | None:
        """Own the running execution that has been without an owner for longest: its id and new epoch, or None when there is none."""
        found = await self._fetch(_NEXT, owner, lease_us, now_us)
        return (found[0][0], found[0][1]) if found else None

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Move the end of a lease. Raises StorageError (OMG-S006) when the epoch is no longer ours, InputError (OMG-I003)."""
        if not await self._fetch(_RENEW, execution, epoch, lease_us):
            found = await self._fetch("SELECT epoch FROM executions WHERE execution = $1", execution)
            raise stale(execution, epoch, found[0][0]) if found else unknown(execution)

    async def release(self, execution: str | None) -> None:
        """Give back an execution, or all, that this ledger's owner holds, and announce it; nothing happens when it holds none."""
        await self._fetch(_RELEASE, self._owner, execution, WORK_CHANNEL)

    async def _look(self, entries: Sequence[Entry], refusals: Refusals) -> dict[str, Fence]:
        """Make the lines of new executions, lock those of the others; gives what is known of each."""
        births: dict[str, Batch] = {}
        names: set[str] = set()
        for batch in (entry.batch for entry in entries if entry.batch is not None):
            if batch.head is not None and batch.head.create and not refusals.refused(batch):
                births.setdefault(batch.execution, batch)
            names.add(batch.execution)
        known: dict[str, Fence] = {}
        if births:
            for name, number in await self._create(births.values()):
                known[name] = Fence(number, births[name].tenant, births[name].epoch, born=True)
        if asked := sorted(names - known.keys()):
            for name, number, tenant, epoch, size in await self._fetch(_FENCE, asked):
                known[name] = Fence(number, tenant, epoch, size)
        return known

    async def _create(self, births: Iterable[Batch]) -> list[Any]:
        rows = [self._line(batch, batch.head) for batch in births if batch.head is not None]
        return await self._fetch(_CREATE, *map(list, zip(*rows, strict=True)))

    def _line(self, batch: Batch, head: Head) -> tuple[Any, ...]:
        at_us = head.at_us or self._now_us()
        ended = head.status in ENDED
        names = (batch.execution, batch.tenant, head.flow, head.version, head.status, head.principal, head.target)
        return (*names, batch.epoch, "" if ended else self._owner, 0 if ended else at_us + CREATED_LEASE_US, at_us, at_us)

    def _judge(self, entry: Entry, known: dict[str, Fence], refusals: Refusals) -> Fence | None:
        """The fence of a batch that may be written; None, with the error noted, for one that may not."""
        if entry.batch is None:
            return None
        try:
            refusals.check(entry.batch)
            return _admit(entry.batch, known.get(entry.batch.execution))
        except OmegaError as error:
            refusals.note(entry, error)
            return None

    async def _lock_logs(self, named: Iterable[str]) -> dict[str, Log]:
        tenants = sorted(set(named))
        if not tenants:
            return {}
        found = await self._fetch(_LOGS, tenants)
        if len(found) < len(tenants):
            await self._fetch(_NEW_LOGS, tenants)
            found = await self._fetch(_LOGS, tenants)
        return {tenant: Log(state, size) for tenant, size, state in found}

    async def _apply(self, batches: Sequence[tuple[Batch, Fence]]) -> None:
        """Write rows, keys and heads."""
        rows = [
            (fence.number, row.seq, int(row.kind), row.position, row.meta, row.payload) for batch, fence in batches for row in batch.rows
        ]
        keys = {fence.number: batch.key for batch, fence in batches if batch.key is not None}
        heads: dict[int, tuple[Any, ...]] = {}
        for batch, fence in batches:
            if batch.head is not None and not batch.head.create:
                heads[fence.number] = self._merge(heads.get(fence.number), batch.head)
        if rows:
            await self._fetch(_JOURNAL, *map(list, zip(*rows, strict=True)))
        if keys:
            await self._fetch(_KEYS, list(keys), list(keys.values()))
        if heads:
            changes = [(number, *values) for number, values in heads.items()]
            await self._fetch(_CHANGE, *map(list, zip(*changes, strict=True)))

    def _merge(self, before: tuple[Any, ...] | None, head: Head) -> tuple[Any, ...]:
        """Two changes of one line as one: (status, at_us, flow, version, principal, target, ended)."""
        _, _, flow, version, principal, target, ended = before or ("", 0, "", "", "", "", False)
        names = (head.flow or flow, head.version or version, head.principal or principal, head.target or target)
        return (head.status, head.at_us or self._now_us(), *names, ended or head.status in ENDED)

    async def _grow(self, logs: dict[str, Log]) -> int:
        """Store the fresh leaves of each tenant and the checkpoint over them; gives their number."""
        leaves: list[tuple[str, int, bytes]] = []
        grown: list[tuple[str, int, bytes, bytes]] = []
        for tenant, log in logs.items():
            after = self._sequencer.grow(tenant, log.state, log.fresh, at_us=self._now_us())
            if after.size != log.size + len(log.fresh):
                raise StorageError("OMG-S004", f"the log of {tenant} grew to {after.size} instead of {log.size + len(log.fresh)}")
            leaves += ((tenant, index, body) for index, body in enumerate(log.fresh, log.size))
            grown.append((tenant, after.size, after.checkpoint, after.state))
        if leaves:
            await self._fetch(_LEAVES, *map(list, zip(*leaves, strict=True)), *map(list, zip(*grown, strict=True)))
        return len(leaves)

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        return list(await self._connection.fetch(sql, *values, timeout=WRITE_S))

    async def _run(self, sql: str) -> str:
        return str(await self._connection.execute(sql, timeout=WRITE_S))


def _admit(batch: Batch, fence: Fence | None) -> Fence:
    """The fence of `batch` if it may be written. Raises OMG-R010, OMG-I003 or OMG-S006."""
    if batch.head is not None and batch.head.create:
        if fence is None or not fence.born:
            raise StorageError("OMG-R010", f"there is already an execution {batch.execution}", advice="choose another id")
        fence.born = False
        return fence
    if fence is None or fence.born or fence.tenant != batch.tenant:
        raise unknown(batch.execution)
    if fence.epoch != batch.epoch:
        raise stale(batch.execution, batch.epoch, fence.epoch)
    return fence


def _place(batch: Batch, fence: Fence, logs: dict[str, Log]) -> Committed:
    """Where the leaves of `batch` come to lie."""
    log = logs.get(batch.tenant)
    if log is None:
        return Committed(size=fence.size)
    start = log.size + len(log.fresh)
    log.fresh += batch.leaves
    size = start + len(batch.leaves)
    return Committed(leaves=tuple(range(start, size)), size=size)
