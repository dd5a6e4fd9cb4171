"""A store without a disk, made to be crashed.

What is *durable* lives in a `Snapshot`; what was handed to `behind` waits outside it until the next `commit` or `flush`, the longest that a
real disk may take. `on_append` is called with each batch just before it becomes durable and may raise whatever stands for the crash: the
batch is then not written, and the exception goes up through whoever was committing. A simulator takes `snapshot()` of what was durable at
that moment and starts the next engine with `from_snapshot`. No threads, no clock, no randomness: the same calls give the same store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import msgspec

from omega.adapters.memory.state import Log, Snapshot
from omega.adapters.sql.batches import measure, stale, unknown
from omega.adapters.sql.forks import check_origin
from omega.adapters.sql.letters import document_values, letter_values
from omega.adapters.sql.lines import Listing, born, changed, matches, ready_us, unowned, wanted
from omega.adapters.sql.queue import Counts
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Row, Status
from omega.kernel.ports import Batch, Committed, Erased, Letter, Line, Search, Sequencer, Taken, Want
from omega.kernel.queueing import choose


class MemoryStore(Listing):
    """Store and Reader in one, for one engine. `owner` names that engine in lines and leases, `now_us` is its wall clock."""

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        owner: str,
        now_us: Callable[[], int],
        on_append: Callable[[Batch], None] | None = None,
        start: Snapshot | None = None,
        beside: MemoryStore | None = None,
    ) -> None:
        """Begin with a copy of `start`, whose engine is gone, or share everything with the live store `beside`, as engines on one
        database do."""
        self.owner = owner
        self.counts = Counts()
        self.on_append = on_append
        self._sequencer = sequencer
        self._now_us = now_us
        self._durable: Snapshot = beside._durable if beside is not None else start.copy() if start is not None else Snapshot()
        if beside is None:
            self._durable.lines = {name: unowned(line) for name, line in self._durable.lines.items()}
        self._durable.engine += 1
        self._waiting: list[Batch] = []
        self._poisoned: dict[tuple[str, int], OmegaError] = {}
        self._seen_letter = 0
        self._closed = False

    @classmethod
    def from_snapshot(
        cls,
        snapshot: Snapshot,
        *,
        sequencer: Sequencer,
        owner: str,
        now_us: Callable[[], int],
        on_append: Callable[[Batch], None] | None = None,
    ) -> MemoryStore:
        """A new engine on what an earlier one made durable; leases of that engine are over. `snapshot` is copied."""
        return cls(sequencer=sequencer, owner=owner, now_us=now_us, on_append=on_append, start=snapshot)

    def snapshot(self) -> Snapshot:
        """A copy of what is durable now: without anything that still waits behind."""
        return self._durable.copy()

    @property
    def installation(self) -> str:
        """The id of this data."""
        return self._durable.installation

    @property
    def engine(self) -> int:
        """The engine epoch: one higher for each store on the same data."""
        return self._durable.engine

    # Store

    async def commit(self, batch: Batch) -> Committed:
        """See `kernel.ports.Store.commit`."""
        self._admit(batch)
        self._drain()
        earlier = self._poisoned.get((batch.execution, batch.epoch))
        if earlier is not None:
            raise StorageError("OMG-S006", f"an earlier batch of {batch.execution} was refused: {earlier.cause}", details=earlier.details)
        committed = self._append(batch)
        self.counts.commits += 1
        return committed

    def behind(self, batch: Batch) -> None:
        """See `kernel.ports.Store.behind`; here *soon* is the next commit or flush."""
        self._admit(batch)
        self._waiting.append(batch)

    async def flush(self) -> None:
        """Make what waits durable."""
        self._check_open()
        if self._waiting:
            self._drain()
            self.counts.commits += 1

    async def claim(self, execution: str, *, owner: str, lease_us: int, now_us: int) -> int:
        """See `kernel.ports.Store.claim`."""
        self._drain()
        line = self._line(execution)
        if line.owner not in ("", owner) and line.lease_us > now_us:
            details = {"owner": line.owner, "lease_us": line.lease_us}
            raise StorageError("OMG-R010", f"{execution} is run by {line.owner}", details=details)
        self._durable.woken.pop(execution, None)
        self._keep(replace(line, epoch=line.epoch + 1, owner=owner, lease_us=lease_us))
        return line.epoch + 1

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Own `execution` until `lease_us`. Raises StorageError (OMG-S006) when the epoch has moved on, InputError (OMG-I003)."""
        line = self._line(execution)
        if line.epoch != epoch:
            raise stale(execution, epoch, line.epoch)
        self._keep(replace(line, lease_us=lease_us))

    async def release(self, execution: str) -> None:
        """Give back what this store's owner holds."""
        line = self._durable.lines.get(execution)
        if line is not None and line.owner == self.owner:
            self._keep(unowned(line))

    async def take(self, want: Want) -> list[Taken]:
        """See `kernel.ports.Store.take`."""
        self._drain()
        chosen = choose(self._durable.waiting(want), self._durable.loads(want), want.limits, want.most)
        taken = [self._begin(execution, want) for execution in chosen]
        self.counts.commits += bool(taken)
        return taken

    def _begin(self, execution: str, want: Want) -> Taken:
        line = self._line(execution)
        tries, epoch = line.tries + 1, line.epoch + 1
        self._durable.lines[execution] = replace(
            line, status=str(Status.RUNNING), epoch=epoch, owner=want.owner, lease_us=want.lease_us, tries=tries, updated_us=want.now_us
        )
        self._durable.woken.pop(execution, None)
        limits = want.limits.get(line.queue)
        if limits is not None and limits.rate is not None:
            self._durable.begun.setdefault(line.queue, []).append(want.now_us)
        return Taken(execution=execution, epoch=epoch, digest=line.digest, queue=line.queue, tries=tries)

    async def wake(self, executions: Sequence[str], now_us: int) -> None:
        """See `kernel.ports.Store.wake`."""
        self._drain()
        for execution in executions:
            self._durable.wake(execution, now_us)
        self.counts.commits += bool(executions)

    async def next_due(self, queues: Sequence[str], now_us: int) -> int | None:
        """See `kernel.ports.Store.next_due`."""
        moments = (ready_us(line) for line in self._durable.lines.values() if line.queue in queues)
        return min((moment for moment in moments if moment > now_us), default=None)

    async def compact(self, tenant: str, ended_before_us: int, limit: int) -> int:
        """See `kernel.ports.Store.compact`."""
        self._drain()
        chosen = list(self._durable.compactable(tenant, ended_before_us))[:limit]
        for execution in chosen:
            self._durable.destroy(execution)
        self.counts.commits += bool(chosen)
        return len(chosen)

    async def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        """See `kernel.ports.Store.erase`."""
        self._drain()
        erased = self._durable.erase(tenant, executions)
        self.counts.commits += bool(erased.gone)
        return erased

    async def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        """See `kernel.ports.Store.redact`."""
        self._drain()
        done = self._durable.redact(tenant, execution, payloads, key, label)
        self.counts.commits += done
        return done

    async def prune(self, tenant: str, leaves: Mapping[int, bytes]) -> None:
        """See `kernel.ports.Store.prune`."""
        self._drain()
        held = self._durable.logs[tenant].leaves
        for index, body in leaves.items():
            held[index] = body
        self.counts.commits += bool(leaves)

    # Reader

    def search(self, search: Search) -> list[Line]:
        """The executions of one page, the newest first; nothing when the page begins after an execution that is not there."""
        names = list(self._durable.lines)
        if search.older_than:
            names = names[: names.index(search.older_than)] if search.older_than in self._durable.lines else []
        found = (self._durable.lines[name] for name in reversed(names))
        return list(islice((line for line in found if matches(line, search)), wanted(search)))

    def line(self, execution: str) -> Line | None:
        """The line of one execution."""
        return self._durable.lines.get(execution)

    def rows(self, execution: str) -> list[Row]:
        """The journal of one execution in order, a fork's with the rows it shares first; empty when there is none of that id."""
        return self._durable.history(execution)

    def key(self, execution: str) -> bytes | None:
        """The wrapped data key of an execution."""
        return self._durable.keys.get(execution)

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]:
        """The leaves `start` up to but not including `end` of a tenant's log."""
        log = self._durable.logs.get(tenant)
        return [] if log is None else log.leaves[start:end]

    def checkpoints(self, tenant: str, after: int = -1) -> list[tuple[int, bytes]]:
        """Every signed note over more than `after` leaves of a tenant's log as (size, note), the oldest first."""
        log = self._durable.logs.get(tenant)
        return [] if log is None else [(size, note) for size, note in log.notes if size > after]

    def tenants(self) -> list[str]:
        """All tenants that have a log or an execution, sorted."""
        return sorted(self._durable.logs.keys() | {line.tenant for line in self._durable.lines.values()})

    # Inbox and documents

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int:
        """Leave a letter about `execution`; gives its number. Raises InputError: OMG-I003 for an unknown execution, OMG-X001 for a verb."""
        _, _, text, _ = letter_values(execution, verb, body, at_us)
        self._line(execution)
        number = self._durable.last_letter = self._durable.last_letter + 1
        plain = msgspec.json.decode(text, type=dict[str, Any])  # as it comes from a disk
        self._durable.inbox[number] = Letter(number=number, execution=execution, verb=verb, body=plain, at_us=at_us)
        return number

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after` about executions that this engine owns or nobody does, the oldest first."""
        now_us = self._now_us()
        return [
            letter
            for number, letter in sorted(self._durable.inbox.items())
            if number > after and _may_answer(self._durable.lines.get(letter.execution), self.owner, now_us)
        ]

    def settle(self, number: int) -> None:
        """Remove a letter that was acted on."""
        self._durable.inbox.pop(number, None)

    def inbox_changed(self) -> bool:
        """Whether a letter came since the last call."""
        newest = max(self._durable.inbox, default=0)
        changed = newest > self._seen_letter
        self._seen_letter = max(newest, self._seen_letter)
        return changed

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        """Store a document in place of the one of that name. Raises FlowError (OMG-R003) when it is too large."""
        document_values(kind, name, body, at_us)
        self._durable.documents[kind, name] = bytes(body)

    def document(self, kind: str, name: str) -> bytes | None:
        """One document, or None."""
        return self._durable.documents.get((kind, name))

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """The documents of a kind whose names begin with `prefix` as (name, body), sorted by name."""
        return sorted((name, body) for (held, name), body in self._durable.documents.items() if held == kind and name.startswith(prefix))

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        """Store a document in the very place of `was` (None: of none); whether that was still there."""
        if self.document(kind, name) != was:
            return False
        self.put_document(kind, name, body, at_us)
        return True

    def drop_document(self, kind: str, name: str) -> bool:
        """Remove a document; whether there was one."""
        return self._durable.documents.pop((kind, name), None) is not None

    def close(self) -> None:
        """Make what waits durable and refuse everything after; a store that is dropped without this has crashed."""
        if not self._closed:
            self._drain()
            self._closed = True

    # Inside

    def _admit(self, batch: Batch) -> None:
        """Refuse what could never be written, before anything waits."""
        self._check_open()
        measure(batch)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("OMG-S004", "the store is closed")

    def _drain(self) -> None:
        """Write what waits, in order; a refused batch poisons its execution, a crash leaves the rest unwritten."""
        waiting, self._waiting = self._waiting, []
        for batch in waiting:
            key = (batch.execution, batch.epoch)
            if key in self._poisoned:
                continue
            try:
                self._append(batch)
            except OmegaError as error:
                self._poisoned[key] = error

    def _append(self, batch: Batch) -> Committed:
        """Make one batch durable: all checks first, then the crash hook, then all changes."""
        line = self._fence(batch)
        fresh = _fresh_rows(batch, self._durable.rows.get(batch.execution, {}))
        log = self._durable.logs.get(batch.tenant) or Log()
        start = len(log.leaves)
        grown = None
        if batch.leaves:
            grown = self._sequencer.grow(batch.tenant, log.state, list(batch.leaves), at_us=self._now_us())
            if grown.size != start + len(batch.leaves):
                raise StorageError("OMG-S004", f"the log of {batch.tenant} grew to {grown.size} instead of {start + len(batch.leaves)}")
        if self.on_append is not None:
            self.on_append(batch)
        self._durable.lines[batch.execution] = line
        self._durable.rows.setdefault(batch.execution, {}).update(fresh)
        for execution in batch.wake:
            woken = self._durable.lines.get(execution)
            if woken is not None and woken.tenant == batch.tenant:
                self._durable.wake(execution, self._now_us())
        if batch.key is not None:
            self._durable.keys[batch.execution] = batch.key
        if grown is not None:
            self._durable.logs[batch.tenant] = log
            log.leaves.extend(batch.leaves)
            log.state = grown.state
            log.notes.append((grown.size, grown.checkpoint))
        self.counts.batches += 1
        self.counts.rows += len(batch.rows)
        self.counts.leaves += len(batch.leaves)
        return Committed(leaves=tuple(range(start, len(log.leaves))), size=len(log.leaves))

    def _fence(self, batch: Batch) -> Line:
        """The line of the batch's execution as it will be. Raises OMG-R010, OMG-I003 or OMG-S006."""
        head = batch.head
        if head is not None and head.create:
            if batch.execution in self._durable.lines:
                raise StorageError("OMG-R010", f"there is already an execution {batch.execution}", advice="choose another id")
            check_origin(batch, head, self._origin)
            return born(batch, head, owner=self.owner, at_us=head.at_us or self._now_us())
        line = self._line(batch.execution)
        if line.tenant != batch.tenant:
            raise unknown(batch.execution)
        if line.epoch != batch.epoch:
            raise stale(batch.execution, batch.epoch, line.epoch)
        if head is None:
            return line
        return changed(line, head, woken_us=self._durable.woken.get(batch.execution, 0), at_us=head.at_us or self._now_us())

    def _origin(self, execution: str) -> tuple[str, str] | None:
        line = self._durable.lines.get(execution)
        return None if line is None else (line.tenant, line.origin)

    def _keep(self, line: Line) -> None:
        self._durable.lines[line.execution] = line
        self.counts.commits += 1

    def _line(self, execution: str) -> Line:
        line = self._durable.lines.get(execution)
        if line is None:
            raise unknown(execution)
        return line


def _fresh_rows(batch: Batch, held: Mapping[int, Row]) -> dict[int, Row]:
    fresh = {row.seq: row for row in batch.rows}
    if len(fresh) < len(batch.rows) or not held.keys().isdisjoint(fresh.keys()):
        raise StorageError("OMG-S006", f"a row of {batch.execution} was already written by somebody else")
    return fresh


def _may_answer(line: Line | None, owner: str, now_us: int) -> bool:
    return line is None or line.owner in ("", owner) or line.lease_us <= now_us
