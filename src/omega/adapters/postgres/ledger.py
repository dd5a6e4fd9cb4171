"""Batches applied to the tables: the fence, the line, the rows and the leaves of a group, in one transaction.

The fence. Appending locks the line of each execution FOR KEY SHARE and reads its epoch in the same statement; claiming locks it FOR UPDATE
before it raises the epoch. The two locks exclude each other, so a batch is either on disk before a new owner reads the journal, or it sees
the new epoch and is refused. (An UPDATE alone would not do: its lock goes together with KEY SHARE, and a former owner could still append
after the claim.) Appends of different engines never wait for each other here. Nothing is remembered between transactions: any other engine
may have claimed anything meanwhile.

The log. A tenant's leaves get their places while the tenant's line in `logs` is locked FOR UPDATE, so one engine at a time extends a
log, and holds it for as long as it writes and flushes. That is the one point where engines wait for each other, and only those that add
leaves for the same tenant. Locks on logs are taken after those on executions and in the order of their names; lines that are changed, one's
own and those that are woken, are locked after that and in the order of their numbers; a claim holds one lock only: there is no circle.

Pauses. The server ends a transaction whose client falls silent between two statements, but not one whose client falls silent between the
two messages that prepare a statement and run it. So every statement is prepared before the first transaction, and each is one message.

Wake-ups. Whatever makes an execution due announces its queue in the same transaction (`NOTIFY`), so that it is heard when it can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omega.adapters.postgres import partitions
from omega.adapters.postgres.link import Connection
from omega.adapters.postgres.turns import MAX_LOOKS, Turns, less
from omega.adapters.postgres.turns import STATEMENTS as TURN_STATEMENTS
from omega.adapters.postgres.wakeups import WORK_CHANNEL
from omega.adapters.sql.batches import ENDED, stale, unknown
from omega.adapters.sql.families import Member, parted
from omega.adapters.sql.forks import MAX_FORK_DEPTH, check_origin
from omega.adapters.sql.lines import COLUMNS, born, values_of
from omega.adapters.sql.queue import Entry, Refusals
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.ports import Batch, Committed, Erased, Head, Sequencer, Taken, Want

WRITE_S = 60.0
"""Longest wait for one statement of the writer, in seconds. What became of it is then unknown, so the store stops."""

_NAMED = ("flow", "version", "principal", "target", "digest")
_TYPES = {"priority": "int", "tries": "int", "labels": "text"} | dict.fromkeys(
    ("epoch", "lease_us", "started_us", "updated_us", "due_us", "origin_rows"), "bigint"
)
_GIVEN = ", ".join(f"${place}::{_TYPES.get(name, 'text')}[]" for place, name in enumerate(COLUMNS, 1))
_PICKED = ", ".join(f"h.{name}::jsonb" if name == "labels" else f"h.{name}" for name in COLUMNS)
_CREATE = f"""
INSERT INTO executions ({", ".join(COLUMNS)}) SELECT {_PICKED} FROM unnest({_GIVEN}) AS h ({", ".join(COLUMNS)})
ON CONFLICT (execution) DO NOTHING RETURNING execution, number"""  # noqa: S608 - names are ours
_FENCE = """
SELECT execution, number, executions.tenant, epoch, coalesce(logs.size, 0) AS size, queue
FROM executions LEFT JOIN logs ON logs.tenant = executions.tenant
WHERE execution = ANY($1::text[]) FOR KEY SHARE OF executions"""
_ORIGINS = """
WITH RECURSIVE line AS (
    SELECT execution, tenant, origin, 1 AS depth FROM executions WHERE execution = ANY($1::text[])
    UNION ALL
    SELECT e.execution, e.tenant, e.origin, line.depth + 1 FROM line JOIN executions AS e ON e.execution = line.origin
    WHERE line.origin <> '' AND line.depth <= $2)
SELECT execution, tenant, origin FROM line"""
_IN_ORDER = """
SELECT FROM executions WHERE number = ANY($1::bigint[]) OR execution = ANY($2::text[]) ORDER BY number FOR NO KEY UPDATE"""
_CHANGE = """
WITH held AS MATERIALIZED (SELECT number FROM executions WHERE number = ANY($1::bigint[]) ORDER BY number FOR NO KEY UPDATE)
UPDATE executions AS e SET status = h.status, updated_us = h.at_us,
    flow = coalesce(nullif(h.flow, ''), e.flow), version = coalesce(nullif(h.version, ''), e.version),
    principal = coalesce(nullif(h.principal, ''), e.principal), target = coalesce(nullif(h.target, ''), e.target),
    digest = coalesce(nullif(h.digest, ''), e.digest),
    owner = CASE WHEN h.status = 'running' THEN e.owner ELSE '' END, lease_us = CASE WHEN h.status = 'running' THEN e.lease_us ELSE 0 END,
    tries = CASE WHEN h.status = 'running' THEN e.tries ELSE 0 END,
    due_us = CASE WHEN h.ended THEN 0 WHEN h.due_us IS NULL THEN e.due_us
        WHEN e.woken_us > 0 AND (h.due_us = 0 OR h.due_us > e.woken_us) THEN e.woken_us ELSE h.due_us END
FROM held JOIN unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[],
    $10::bigint[]) AS h (number, status, at_us, flow, version, principal, target, digest, ended, due_us) ON h.number = held.number
WHERE e.number = held.number"""
_WAKE = """
WITH held AS MATERIALIZED (
    SELECT number, w.now_us FROM executions AS e JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS w (execution, tenant, now_us)
        ON e.execution = w.execution AND (w.tenant IS NULL OR e.tenant = w.tenant)
    WHERE e.status NOT IN ('done', 'failed', 'cancelled') ORDER BY number FOR NO KEY UPDATE OF e)
UPDATE executions AS e SET due_us = CASE WHEN e.due_us = 0 OR e.due_us > held.now_us THEN held.now_us ELSE e.due_us END,
    woken_us = CASE WHEN e.woken_us = 0 OR e.woken_us > held.now_us THEN held.now_us ELSE e.woken_us END
FROM held WHERE e.number = held.number RETURNING e.queue"""
_HINT = "SELECT pg_notify($1, queue) FROM unnest($2::text[]) AS queue"
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
_OWN = "UPDATE executions SET epoch = epoch + 1, owner = $2, lease_us = $3, woken_us = 0 WHERE number = $1"
_RENEW = "UPDATE executions SET lease_us = $3 WHERE execution = $1 AND epoch = $2 RETURNING 1"
_RELEASE = """
WITH given AS (
    UPDATE executions SET owner = '', lease_us = 0 WHERE owner = $1 AND ($2::text IS NULL OR execution = $2) RETURNING queue, due_us)
SELECT pg_notify($3, queue) FROM (SELECT DISTINCT queue FROM given WHERE due_us > 0 AND queue <> '') AS queues"""
_COMPACTABLE = """
SELECT number FROM executions AS e
WHERE tenant = $1 AND updated_us < $2 AND status IN ('done', 'failed', 'cancelled') AND NOT compacted
    AND NOT EXISTS (SELECT FROM executions AS f WHERE f.origin = e.execution AND f.origin <> '' AND NOT f.compacted)
    AND NOT EXISTS (SELECT FROM executions AS p WHERE p.execution = e.parent AND p.status NOT IN ('done', 'failed', 'cancelled'))
ORDER BY updated_us LIMIT $3 FOR UPDATE SKIP LOCKED"""
_COMPACT = (
    "UPDATE journal SET payload = NULL WHERE execution = ANY($1::bigint[]) AND payload IS NOT NULL",
    "DELETE FROM keys WHERE execution = ANY($1::bigint[])",
    "UPDATE executions SET compacted = true WHERE number = ANY($1::bigint[])",
)
_FAMILY = """
WITH RECURSIVE family (execution) AS (
    SELECT execution FROM executions WHERE tenant = $1 AND execution = ANY($2::text[])
    UNION
    SELECT next.execution FROM family AS f CROSS JOIN LATERAL (
        SELECT e.execution FROM executions AS e WHERE e.origin = f.execution AND e.origin <> ''
        UNION ALL SELECT e.execution FROM executions AS e WHERE e.parent = f.execution AND e.parent <> '') AS next)
SELECT number, execution, origin, status,
    coalesce((SELECT p.status FROM executions AS p WHERE p.execution = e.parent AND e.parent <> ''), '')
FROM executions AS e WHERE tenant = $1 AND execution IN (SELECT execution FROM family) ORDER BY number FOR UPDATE"""
_PURGED = "SELECT number, execution FROM executions WHERE tenant = $1 ORDER BY number FOR UPDATE"
_PURGE = (
    "DELETE FROM journal WHERE execution = ANY($1::bigint[])",
    "DELETE FROM keys WHERE execution = ANY($1::bigint[])",
)
_PURGE_INBOX = "DELETE FROM inbox WHERE execution = ANY($1::text[])"
_PURGE_DOCUMENTS = (
    "DELETE FROM documents WHERE kind <> 'revoked'"
    " AND (position($1::text in name) > 0 OR position(convert_to('\"tenant\": \"' || $1::text || '\"', 'UTF8') in body) > 0"
    " OR position(convert_to('\"tenant\":\"' || $1::text || '\"', 'UTF8') in body) > 0)"
)
_PURGE_LOG = tuple(f"DELETE FROM {table} WHERE tenant = $1" for table in ("leaves", "checkpoints", "logs", "executions"))  # noqa: S608
_REDACTABLE = """
SELECT number FROM executions AS e
WHERE execution = $1 AND tenant = $2 AND status IN ('done', 'failed', 'cancelled') AND NOT compacted AND origin = ''
    AND NOT EXISTS (SELECT FROM executions AS f WHERE f.origin = e.execution AND f.origin <> '' AND NOT f.compacted)
    AND NOT EXISTS (SELECT FROM executions AS p WHERE p.execution = e.parent AND p.status NOT IN ('done', 'failed', 'cancelled'))
FOR UPDATE"""
_REDACT = """
UPDATE journal SET payload = given.payload
FROM journal AS old LEFT JOIN unnest($2::bigint[], $3::bytea[]) AS given (seq, payload) ON given.seq = old.seq
WHERE journal.execution = $1 AND old.execution = $1 AND old.seq = journal.seq"""
_REKEY = "UPDATE keys SET wrapped = $2 WHERE execution = $1"
_DROP_LABEL = "UPDATE executions SET labels = labels - $2::text WHERE number = $1"
_PRUNE = """
UPDATE leaves SET body = given.body FROM unnest($2::bigint[], $3::bytea[]) AS given (idx, body)
WHERE leaves.tenant = $1 AND leaves.idx = given.idx"""
_UNLABEL = "UPDATE executions SET labels = '{}', key = '' WHERE number = ANY($1::bigint[])"
_EPOCH = "SELECT epoch FROM executions WHERE execution = $1"

_STATEMENTS = (
    *(_CREATE, _FENCE, _ORIGINS, _IN_ORDER, _CHANGE, _WAKE, _HINT, _KEYS, _JOURNAL, _NEW_LOGS, _LOGS, _LEAVES),
    *(_HELD, _OWN, _RENEW, _EPOCH, _RELEASE, _COMPACTABLE, *_COMPACT, _FAMILY, _UNLABEL),
    *(_REDACTABLE, _REDACT, _REKEY, _DROP_LABEL, _PRUNE, *TURN_STATEMENTS),
)


class SpoiledError(Exception):
    """The group cannot be written as it is, but each of its batches can be judged alone."""


@dataclass(slots=True)
class Fence:
    """What a transaction knows of an execution whose line it has locked. `born` while this group makes it and its turn has not come."""

    number: int
    tenant: str
    epoch: int
    size: int = 0
    queue: str = ""
    born: bool = False


@dataclass(slots=True)
class Log:
    """Where a tenant's log stands, and the leaves that the running transaction adds."""

    state: bytes
    size: int
    fresh: list[bytes] = field(default_factory=list)


class Ledger:
    """One transaction at a time on the writer's connection; used by the writer's task alone."""

    def __init__(
        self, connection: Connection, *, owner: str, sequencer: Sequencer, now_us: Callable[[], int], room: partitions.Room, lease_us: int
    ) -> None:
        self._connection = connection
        self._prepared: dict[str, Any] = {}
        self._owner = owner
        self._sequencer = sequencer
        self._now_us = now_us
        self._lease_us = lease_us
        self._turns = Turns(self._fetch)
        self._orphans: dict[str, OmegaError] = {}
        self._room = room
        self._newest = 0

    async def prepare(self) -> None:
        """Prepare every statement, outside of any transaction. To be called once, before anything else."""
        for sql in _STATEMENTS:
            self._prepared[sql] = await self._connection.prepare(sql, timeout=WRITE_S)

    @property
    def cramped(self) -> bool:
        """Whether the journal should be extended before long; see `partitions`."""
        return self._newest >= self._room.extend_at

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

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Move the end of a lease. Raises StorageError (OMG-S006) when the epoch is no longer ours, InputError (OMG-I003)."""
        if not await self._fetch(_RENEW, execution, epoch, lease_us):
            found = await self._fetch(_EPOCH, execution)
            raise stale(execution, epoch, found[0][0]) if found else unknown(execution)

    async def release(self, execution: str | None) -> None:
        """Give back an execution, or all, that this ledger's owner holds, and announce it; nothing happens when it holds none."""
        await self._fetch(_RELEASE, self._owner, execution, WORK_CHANNEL)

    async def take(self, want: Want) -> list[Taken]:
        """Own what may run now, chosen fairly and within the limits; see `kernel.ports.Store.take`."""
        taken: list[Taken] = []
        again = True
        for _ in range(MAX_LOOKS):
            if not again or not want.digests or len(taken) >= want.most:
                break
            async with self._connection.transaction():
                more, again = await self._turns.take(less(want, taken))
            taken += more
        return taken

    async def wake(self, executions: Sequence[str], now_us: int) -> None:
        """Make each due, see `kernel.ports.Store.wake`."""
        async with self._connection.transaction():
            count = len(executions)
            await self._hint(await self._wake(list(executions), [None] * count, [now_us] * count))

    async def compact(self, tenant: str, ended_before_us: int, limit: int) -> int:
        """Destroy payloads and keys, see `kernel.ports.Store.compact`."""
        async with self._connection.transaction():
            numbers = [number for (number,) in await self._fetch(_COMPACTABLE, tenant, ended_before_us, limit)]
            for statement in _COMPACT if numbers else ():
                await self._fetch(statement, numbers)
        return len(numbers)

    async def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        """Destroy whole families, see `kernel.ports.Store.erase`."""
        async with self._connection.transaction():
            found = await self._fetch(_FAMILY, tenant, list(executions))
            erased, numbers = parted([Member(*each) for each in found])
            for statement in (*_COMPACT, _UNLABEL) if numbers else ():
                await self._fetch(statement, numbers)
        return erased

    async def purge(self, tenant: str) -> int:
        """Remove everything of a tenant. Its lines are locked first, so what another engine still writes comes before or nowhere."""
        async with self._connection.transaction():
            found = await self._connection.fetch(_PURGED, tenant, timeout=WRITE_S)
            for statement in _PURGE:
                await self._connection.execute(statement, [number for number, _ in found], timeout=WRITE_S)
            await self._connection.execute(_PURGE_INBOX, [execution for _, execution in found], timeout=WRITE_S)
            for statement in (_PURGE_DOCUMENTS, *_PURGE_LOG):
                await self._connection.execute(statement, tenant, timeout=WRITE_S)
        return len(found)

    async def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        """Put other payloads and another key in place, see `kernel.ports.Store.redact`."""
        async with self._connection.transaction():
            found = await self._fetch(_REDACTABLE, execution, tenant)
            for (number,) in found:
                await self._fetch(_REDACT, number, list(payloads), list(payloads.values()))
                await self._fetch(_REKEY, number, key)
                await self._fetch(_DROP_LABEL, number, label)
        return bool(found)

    async def prune(self, tenant: str, leaves: Mapping[int, bytes]) -> None:
        """Put what stays in the place of leaves, see `kernel.ports.Store.prune`."""
        async with self._connection.transaction():
            await self._fetch(_PRUNE, tenant, list(leaves), list(leaves.values()))

    async def retire(self, ended_before_us: int) -> int:
        """Drop whole partitions of the journal, see `partitions.drop`."""
        return await partitions.drop(self._connection, ended_before_us)

    async def extend(self) -> None:
        """Make room in the journal for the executions to come."""
        async with self._connection.transaction():
            self._room = await partitions.extend(self._connection, self._newest)

    async def _look(self, entries: Sequence[Entry], refusals: Refusals) -> dict[str, Fence]:
        """Make the lines of new executions, lock those of the others; gives what is known of each."""
        births: dict[str, Batch] = {}
        names: set[str] = set()
        self._orphans = await self._check_origins([entry.batch for entry in entries if entry.batch is not None])
        for batch in (entry.batch for entry in entries if entry.batch is not None):
            if batch.head is not None and batch.head.create and not (refusals.refused(batch) or batch.execution in self._orphans):
                births.setdefault(batch.execution, batch)
            names.add(batch.execution)
        known: dict[str, Fence] = {}
        if births:
            for name, number in await self._create(births):
                batch = births[name]
                known[name] = Fence(number, batch.tenant, batch.epoch, queue=batch.head.queue if batch.head else "", born=True)
                self._newest = max(self._newest, number)
            if self._newest >= self._room.end:  # more births in one group than there was room for: rare, and only slower
                self._room = await partitions.extend(self._connection, self._newest)
        if asked := sorted(names - known.keys()):
            for name, number, tenant, epoch, size, queue in await self._fetch(_FENCE, asked):
                known[name] = Fence(number, tenant, epoch, size, queue)
        return known

    async def _check_origins(self, batches: Sequence[Batch]) -> dict[str, OmegaError]:
        """The forks among `batches` that may not be made, and why."""
        forks = [(batch, head) for batch in batches if (head := batch.head) is not None and head.create and head.origin]
        if not forks:
            return {}
        found = await self._fetch(_ORIGINS, [head.origin for _, head in forks], MAX_FORK_DEPTH)
        lines = {execution: (tenant, origin) for execution, tenant, origin in found}
        refused: dict[str, OmegaError] = {}
        for batch, head in forks:
            try:
                check_origin(batch, head, lines.get)
            except OmegaError as error:
                refused[batch.execution] = error
        return refused

    async def _create(self, births: dict[str, Batch]) -> list[Any]:
        lines = [
            born(batch, batch.head, owner=self._owner, at_us=batch.head.at_us or self._now_us(), lease_us=self._lease_us)
            for batch in births.values()
            if batch.head is not None
        ]
        return await self._fetch(_CREATE, *map(list, zip(*map(values_of, lines), strict=True)))

    def _judge(self, entry: Entry, known: dict[str, Fence], refusals: Refusals) -> Fence | None:
        """The fence of a batch that may be written; None, with the error noted, for one that may not."""
        if entry.batch is None:
            return None
        try:
            refusals.check(entry.batch)
            if entry.batch.execution in self._orphans and entry.batch.head is not None and entry.batch.head.create:
                raise self._orphans[entry.batch.execution]
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
        woken = [(name, batch.tenant, self._now_us()) for batch, _ in batches for name in batch.wake]
        due = {fence.queue for batch, fence in batches if batch.head is not None and batch.head.due_us}
        if woken:
            await self._fetch(_IN_ORDER, list(heads), [name for name, _, _ in woken])
        if heads:
            changes = [(number, *values) for number, values in heads.items()]
            await self._fetch(_CHANGE, *map(list, zip(*changes, strict=True)))
        if woken:
            due |= await self._wake(*map(list, zip(*woken, strict=True)))
        await self._hint(due)

    def _merge(self, before: tuple[Any, ...] | None, head: Head) -> tuple[Any, ...]:
        """Two changes of one line as one: (status, at_us, flow, version, principal, target, digest, ended, due_us)."""
        *named, ended, due_us = before[2:] if before else ("", "", "", "", "", False, None)
        names = [getattr(head, name) or old for name, old in zip(_NAMED, named, strict=True)]
        due_us = due_us if head.due_us is None else head.due_us
        return (head.status, head.at_us or self._now_us(), *names, ended or head.status in ENDED, due_us)

    async def _wake(self, executions: list[str], tenants: list[str | None], moments: list[int]) -> set[str]:
        """Make executions due; gives their queues."""
        return {queue for (queue,) in await self._fetch(_WAKE, executions, tenants, moments)}

    async def _hint(self, queues: set[str]) -> None:
        """Announce that something in `queues` became due, to be heard when this transaction is on disk."""
        if named := sorted(queues - {""}):
            await self._fetch(_HINT, WORK_CHANNEL, named)

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
        return list(await self._prepared[sql].fetch(*values, timeout=WRITE_S))

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
