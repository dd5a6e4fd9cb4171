"""What may be taken up from a data folder, found by jumping through an index (see `adapters.sql.rota`).

The indexes are named: without statistics SQLite would believe that any index over `ready_us` is as good, and read the whole queue.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice

from omega.adapters.sql.rota import ALL_KEYS, MAX_GROUPS, Group, Pair, Rota, keyed, rated
from omega.kernel.ports import Want
from omega.kernel.queueing import Load, Waiting

_GROUP = (
    "SELECT priority, tenant, {key} FROM executions INDEXED BY {index} WHERE queue = ? AND digest = ? AND due_us > 0 AND {behind}"
    " ORDER BY {order} LIMIT 1"
)
_NEXT_GROUP = tuple(
    (_GROUP.format(key="NULL", index="executions_by_turn", behind=behind, order="priority DESC, tenant DESC"), given)
    for behind, given in (("priority = ? AND tenant < ?", 2), ("priority < ?", 1))
)
_NEXT_GROUP_BY_KEY = tuple(
    (_GROUP.format(key="key", index="executions_by_key", behind=behind, order="priority DESC, tenant DESC, key DESC"), given)
    for behind, given in (("priority = ? AND tenant = ? AND key < ?", 3), ("priority = ? AND tenant < ?", 2), ("priority < ?", 1))
)
_READY = (
    "SELECT execution, key, ready_us FROM executions INDEXED BY {index}"
    " WHERE queue = ?1 AND digest = ?2 AND priority = ?3 AND tenant = ?4{key} AND due_us > 0 AND ready_us <= ?5 ORDER BY ready_us LIMIT ?6"
)
_READY_OF_ALL = _READY.format(index="executions_by_turn", key="")
_READY_OF_KEY = _READY.format(index="executions_by_key", key=" AND key = ?7")
_RUNNING = (
    "SELECT key, tenant, count(*) FROM executions WHERE queue = ? AND status = 'running' AND queue <> '' AND lease_us > ? GROUP BY 1, 2"
)
_BEGUN = "SELECT count(*) FROM begun WHERE queue = ? AND at_us > ?"


class Turns:
    """Looks for work on the writing connection, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self.rota = Rota()

    def waiting(self, want: Want) -> Iterator[Waiting]:
        """What `want` could take up now: of each group the `most` that have been ready for longest."""
        for queue in sorted(set(want.queues)):
            for digest in sorted(set(want.digests)):
                pair = (queue, digest)
                groups = list(islice(self._groups(pair, by_key=keyed(want, queue)), MAX_GROUPS))
                self.rota.note(pair, groups)
                for group in groups:
                    yield from self._ready(pair, group, want)

    def loads(self, want: Want) -> dict[str, Load]:
        """What runs in each queue of `want`, and what was begun within the time that its rate speaks of."""
        since = rated(want)
        loads = {}
        for queue in want.queues:
            load = loads[queue] = Load()
            for key, tenant, count in self._execute(_RUNNING, (queue, want.now_us)):
                load.running += count
                load.by_key[key] = load.by_key.get(key, 0) + count
                load.by_tenant[tenant] = load.by_tenant.get(tenant, 0) + count
            if queue in since:
                (load.begun,) = self._execute(_BEGUN, (queue, since[queue])).fetchone()
        return loads

    def _groups(self, pair: Pair, *, by_key: bool) -> Iterator[Group]:
        """The groups behind the place where the look begins, each found by its own seek.

        One comparison of the whole row, `(priority, tenant) < (?, ?)`, would begin at the group before and read through all of it.
        """
        last: Group | None = self.rota.behind(pair)
        while last is not None:
            last = self._next(pair, last, _NEXT_GROUP_BY_KEY if by_key else _NEXT_GROUP)
            if last is not None:
                yield last

    def _next(self, pair: Pair, last: Group, statements: tuple[tuple[str, int], ...]) -> Group | None:
        for sql, given in statements:
            found: Group | None = self._execute(sql, (*pair, *last[:given])).fetchone()
            if found is not None:
                return found
        return None

    def _ready(self, pair: Pair, group: Group, want: Want) -> Iterator[Waiting]:
        (queue, digest), (priority, tenant, key) = pair, group
        values: tuple[str | int, ...] = (queue, digest, priority, tenant, want.now_us, want.most)
        found = self._execute(_READY_OF_ALL, values) if key is ALL_KEYS else self._execute(_READY_OF_KEY, (*values, key))
        for execution, own, ready in found.fetchall():
            yield Waiting(execution=execution, tenant=tenant, queue=queue, key=own, priority=priority, due_us=ready)
