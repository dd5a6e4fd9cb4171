"""What may be taken up from the database, found by jumping through an index (see `adapters.sql.rota`), and how it is made one's own.

Workers look at once and without locks; whoever comes second finds a line locked and passes it over (`SKIP LOCKED`) or finds it taken, and
looks again. Over a queue with limits they must agree on what runs, so they look one after another: each holds an advisory lock of that
queue to the end of its transaction. The locks are taken in the order of the queues' names, and nothing else is waited for: no circle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from omega.adapters.sql.rota import ALL_KEYS, MAX_GROUPS, Group, Pair, Rota, keyed, limited, rated
from omega.kernel.ports import Taken, Want
from omega.kernel.queueing import Load, Waiting, choose

MAX_LOOKS = 4
"""How often one call looks again because other workers were faster."""

PLANNING = {"enable_bitmapscan": "off"}
"""Settings of a connection that takes up work. The planner knows nothing about policies and believes that they hide nearly all lines, so it
would rather gather and sort a whole group than read the few that are first in the index."""

QUEUES = 0x4F4D4551
"""Class of the advisory locks of queues; the other half is a hash of the queue's name."""

_LOCK = "SELECT pg_advisory_xact_lock($1, hashtext($2))"
_RUNNING = """
SELECT queue, key, tenant, count(*) AS count FROM executions
WHERE status = 'running' AND queue <> '' AND queue = ANY($1::text[]) AND lease_us > $2 GROUP BY 1, 2, 3"""
_BEGUN = "SELECT count(*) AS count FROM begun WHERE queue = $1 AND at_us > $2"
_FORGET = "DELETE FROM begun WHERE queue = $1 AND at_us <= $2"
_NOTE = "INSERT INTO begun (queue, at_us) SELECT $1, $2 FROM generate_series(1, $3::int)"
_BEGIN = """
WITH next AS MATERIALIZED (
    SELECT number FROM executions WHERE execution = ANY($1::text[]) AND due_us > 0 AND ready_us <= $4
    ORDER BY number FOR UPDATE SKIP LOCKED)
UPDATE executions SET status = 'running', epoch = epoch + 1, owner = $2, lease_us = $3, updated_us = $4, tries = tries + 1, woken_us = 0
FROM next WHERE executions.number = next.number
RETURNING execution, epoch, digest, queue, tries"""


def _look(columns: str) -> str:
    """The statement that gives, for each queue and digest, its groups in order and of each group what is ready, longest first."""
    places = ", ".join(f"e.{name}" for name in columns.split(", "))
    order = ", ".join(f"e.{name} DESC" for name in columns.split(", "))

    def after(row: str) -> str:
        last = ", ".join(f"{row}.{name}" for name in columns.split(", "))
        return f"""
            SELECT {places} FROM executions AS e
            WHERE e.queue = {row}.queue AND e.digest = {row}.digest AND e.due_us > 0 AND ({places}) < ({last})
            ORDER BY {order} LIMIT 1"""  # noqa: S608 - names are ours

    given = "unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[]) AS p (queue, digest, priority, tenant, key)"
    same = " AND ".join(f"e.{name} = l.{name}" for name in columns.split(", "))
    found = ", ".join(f"g.{name}" for name in columns.split(", "))
    return f"""
    WITH RECURSIVE looked AS (
        SELECT p.queue, p.digest, {found}, 1 AS place FROM {given} CROSS JOIN LATERAL ({after("p")}) AS g
        UNION ALL
        SELECT l.queue, l.digest, {found}, l.place + 1 FROM looked AS l CROSS JOIN LATERAL ({after("l")}) AS g WHERE l.place < $6)
    SELECT l.*, e.execution, e.key AS own, e.ready_us FROM looked AS l LEFT JOIN LATERAL (
        SELECT e.execution, e.key, e.ready_us FROM executions AS e
        WHERE e.queue = l.queue AND e.digest = l.digest AND {same} AND e.due_us > 0 AND e.ready_us <= $7
        ORDER BY e.ready_us LIMIT $8) AS e ON true
    ORDER BY l.queue, l.digest, l.place"""  # noqa: S608 - names are ours


LOOK = _look("priority, tenant")
"""For queues that do not limit keys."""

LOOK_BY_KEY = _look("priority, tenant, key")
"""For those that do."""

STATEMENTS = (_LOCK, _RUNNING, _BEGUN, _FORGET, _NOTE, _BEGIN, LOOK, LOOK_BY_KEY)
"""All that `Turns` runs."""

Fetch = Callable[..., Awaitable[list[Any]]]


class Turns:
    """Takes up work within a transaction of the writer's connection; `fetch` runs a statement in it."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.rota = Rota()

    async def take(self, want: Want) -> tuple[list[Taken], bool]:
        """What one look has taken, and whether another look may find more at once."""
        for queue in limited(want):
            await self._fetch(_LOCK, QUEUES, queue)
        chosen = choose(await self._waiting(want), await self._loads(want), want.limits, want.most)
        if not chosen:
            return [], self.rota.midway(want)
        begun = {row["execution"]: row for row in await self._fetch(_BEGIN, chosen, want.owner, want.lease_us, want.now_us)}
        taken = [Taken(**dict(begun[execution].items())) for execution in chosen if execution in begun]
        await self._note(want, taken)
        return taken, len(taken) < len(chosen) or (len(taken) < want.most and self.rota.midway(want))

    async def _waiting(self, want: Want) -> list[Waiting]:
        pairs: dict[bool, list[Pair]] = {False: [], True: []}
        for queue in set(want.queues):
            pairs[keyed(want, queue)] += [(queue, digest) for digest in set(want.digests)]
        waiting: list[Waiting] = []
        for by_key, asked in pairs.items():
            if asked:
                waiting += await self._ready(asked, want, by_key=by_key)
        return waiting

    async def _ready(self, pairs: list[Pair], want: Want, *, by_key: bool) -> list[Waiting]:
        starts = [(*pair, *self.rota.behind(pair)) for pair in pairs]
        columns = [list(column) for column in zip(*starts, strict=True)]
        found = await self._fetch(LOOK_BY_KEY if by_key else LOOK, *columns, MAX_GROUPS, want.now_us, want.most)
        seen: dict[Pair, list[Group]] = {pair: [] for pair in pairs}
        for row in found:
            groups = seen[row["queue"], row["digest"]]
            group = (row["priority"], row["tenant"], row["key"] if by_key else ALL_KEYS)
            if not groups or groups[-1] != group:
                groups.append(group)
        for pair, groups in seen.items():
            self.rota.note(pair, groups)
        return list(_found(found))

    async def _loads(self, want: Want) -> dict[str, Load]:
        loads = {queue: Load() for queue in want.queues}
        for queue, key, tenant, count in await self._fetch(_RUNNING, list(loads), want.now_us):
            load = loads[queue]
            load.running += count
            load.by_key[key] = load.by_key.get(key, 0) + count
            load.by_tenant[tenant] = load.by_tenant.get(tenant, 0) + count
        for queue, since_us in rated(want).items():
            loads[queue].begun = (await self._fetch(_BEGUN, queue, since_us))[0]["count"]
        return loads

    async def _note(self, want: Want, taken: list[Taken]) -> None:
        for queue, since_us in rated(want).items():
            count = sum(each.queue == queue for each in taken)
            if count:
                await self._fetch(_FORGET, queue, since_us)
                await self._fetch(_NOTE, queue, want.now_us, count)


def less(want: Want, taken: list[Taken]) -> Want:
    """What is still wanted after `taken`."""
    return replace(want, most=want.most - len(taken))


def _found(rows: list[Any]) -> Iterator[Waiting]:
    for row in rows:
        if row["execution"] is not None:
            yield Waiting(
                execution=row["execution"],
                tenant=row["tenant"],
                queue=row["queue"],
                key=row["own"],
                priority=row["priority"],
                due_us=row["ready_us"],
            )
