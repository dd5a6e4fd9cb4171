"""A store without a disk, made to be crashed.

What is *durable* lives in a `Snapshot`; what was handed to `behind` waits outside it until the next `commit` or `flush`, the longest that a
real disk may take. `on_append` is called with each batch just before it becomes durable and may raise whatever stands for the crash: the
batch is then not written, and the exception goes up through whoever was committing. A simulator takes `snapshot()` of what was durable at
that moment and starts the next engine with `from_snapshot`. No threads, no clock, no randomness: the same calls give the same store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from omega.kernel.errors import FlowError, InputError, OmegaError, StorageError
from omega.kernel.journal import MAX_PAYLOAD, MAX_POSITION, Row, Status
from omega.kernel.ports import Batch, Committed, Head, Letter, Line, Sequencer

CREATED_LEASE_US = 60_000_000
"""How long the maker of an execution owns it before it renews, in microseconds."""

SEAL_OVERHEAD = 1 << 10
"""Bytes by which a sealed payload may exceed MAX_PAYLOAD: nonce, tag and header of the seal."""

VERBS = frozenset({"approve", "cancel", "resolve", "signal"})
"""What an engine can be asked for by letter."""

MAX_LETTER = 1 << 20
MAX_DOCUMENT = 4 << 20

_ENDED = frozenset(status.value for status in Status if status.ended)


@dataclass(slots=True)
class Counts:
    """What became durable: commits (calls that a disk would have synchronised once), batches, rows, leaves."""

    commits: int = 0
    batches: int = 0
    rows: int = 0
    leaves: int = 0


@dataclass(slots=True)
class Log:
    """One tenant's log: its leaves, the sequencer's state, and every signed note as (size, note)."""

    leaves: list[bytes] = field(default_factory=list)
    state: bytes = b""
    notes: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Snapshot:
    """Everything durable, as plain data."""

    installation: str = "ins_memory"
    engine: int = 0
    lines: dict[str, Line] = field(default_factory=dict)
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, Log] = field(default_factory=dict)
    inbox: dict[int, Letter] = field(default_factory=dict)
    last_letter: int = 0
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def copy(self) -> Snapshot:
        """A copy that shares nothing which changes: rows, lines and letters are immutable, what holds them is copied."""
        return replace(
            self,
            lines=dict(self.lines),
            rows={name: dict(rows) for name, rows in self.rows.items()},
            keys=dict(self.keys),
            logs={name: Log(list(log.leaves), log.state, list(log.notes)) for name, log in self.logs.items()},
            inbox=dict(self.inbox),
            documents=dict(self.documents),
        )


class MemoryStore:
    """Store and Reader in one, for one engine. `owner` names that engine in lines and leases, `now_us` is its wall clock."""

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        owner: str,
        now_us: Callable[[], int],
        on_append: Callable[[Batch], None] | None = None,
        start: Snapshot | None = None,
    ) -> None:
        self.owner = owner
        self.counts = Counts()
        self.on_append = on_append
        self._sequencer = sequencer
        self._now_us = now_us
        self._durable = Snapshot() if start is None else start.copy()
        self._durable.engine += 1
        self._durable.lines = {name: _unowned(line) for name, line in self._durable.lines.items()}
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
        self._durable.lines[execution] = replace(line, epoch=line.epoch + 1, owner=owner, lease_us=lease_us)
        return line.epoch + 1

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Own `execution` until `lease_us`. Raises StorageError (OMG-S006) when the epoch has moved on, InputError (OMG-I003)."""
        line = self._line(execution)
        if line.epoch != epoch:
            raise _stale(execution, epoch, line.epoch)
        self._durable.lines[execution] = replace(line, lease_us=lease_us)

    async def release(self, execution: str) -> None:
        """Give back what this store's owner holds."""
        line = self._durable.lines.get(execution)
        if line is not None and line.owner == self.owner:
            self._durable.lines[execution] = _unowned(line)

    # Reader

    def lines(self, *, tenant: str | None = None, status: str | None = None, limit: int = 50) -> list[Line]:
        """Executions, the newest first, at most `limit`."""
        found = [
            line
            for line in reversed(self._durable.lines.values())
            if (tenant is None or line.tenant == tenant) and (status is None or line.status == status)
        ]
        return found[: max(0, limit)]

    def line(self, execution: str) -> Line | None:
        """The line of one execution."""
        return self._durable.lines.get(execution)

    def rows(self, execution: str) -> list[Row]:
        """The journal of one execution in order; empty when there is none of that id."""
        return [row for _, row in sorted(self._durable.rows.get(execution, {}).items())]

    def key(self, execution: str) -> bytes | None:
        """The wrapped data key of an execution."""
        return self._durable.keys.get(execution)

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]:
        """The leaves `start` up to but not including `end` of a tenant's log."""
        log = self._durable.logs.get(tenant)
        return [] if log is None else log.leaves[start:end]

    def checkpoints(self, tenant: str) -> list[tuple[int, bytes]]:
        """Every signed note of a tenant's log as (size, note), the oldest first."""
        log = self._durable.logs.get(tenant)
        return [] if log is None else list(log.notes)

    def tenants(self) -> list[str]:
        """All tenants that have a log or an execution, sorted."""
        return sorted(self._durable.logs.keys() | {line.tenant for line in self._durable.lines.values()})

    # Inbox and documents

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int:
        """Leave a letter about `execution`; gives its number. Raises InputError: OMG-I003 for an unknown execution, OMG-X001 for a verb."""
        if verb not in VERBS:
            raise InputError("OMG-X001", f"an engine cannot be asked to {verb!r}", details={"verbs": sorted(VERBS)})
        plain = _plain(body)
        self._line(execution)
        number = self._durable.last_letter = self._durable.last_letter + 1
        self._durable.inbox[number] = Letter(number=number, execution=execution, verb=verb, body=plain, at_us=at_us)
        return number

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after`, the oldest first."""
        return [letter for number, letter in sorted(self._durable.inbox.items()) if number > after]

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
        if len(body) > MAX_DOCUMENT:
            raise FlowError("OMG-R003", f"the document {kind}/{name} has {len(body)} bytes, {MAX_DOCUMENT} are allowed")
        self._durable.documents[kind, name] = bytes(body)

    def document(self, kind: str, name: str) -> bytes | None:
        """One document, or None."""
        return self._durable.documents.get((kind, name))

    def documents(self, kind: str) -> list[tuple[str, bytes]]:
        """All documents of a kind as (name, body), sorted by name."""
        return sorted((name, body) for (held, name), body in self._durable.documents.items() if held == kind)

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
        for row in batch.rows:
            if row.execution != batch.execution:
                raise StorageError("OMG-S006", f"a row of {row.execution} cannot be written with a batch of {batch.execution}")
            if row.payload is not None and len(row.payload) > MAX_PAYLOAD + SEAL_OVERHEAD:
                raise FlowError("OMG-R003", f"the value of {row.position} has {len(row.payload)} bytes, {MAX_PAYLOAD} are allowed")
            if len(row.position) > MAX_POSITION:
                cause = f"a position of {batch.execution} has {len(row.position)} characters, {MAX_POSITION} are allowed"
                raise FlowError("OMG-R016", cause)

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
            return self._made(batch, head)
        line = self._line(batch.execution)
        if line.tenant != batch.tenant:
            raise _unknown(batch.execution)
        if line.epoch != batch.epoch:
            raise _stale(batch.execution, batch.epoch, line.epoch)
        return line if head is None else self._changed(line, head)

    def _made(self, batch: Batch, head: Head) -> Line:
        at_us = head.at_us or self._now_us()
        line = Line(
            execution=batch.execution,
            tenant=batch.tenant,
            flow=head.flow,
            version=head.version,
            status=str(head.status),
            principal=head.principal,
            target=head.target,
            epoch=batch.epoch,
            owner=self.owner,
            lease_us=at_us + CREATED_LEASE_US,
            started_us=at_us,
            updated_us=at_us,
        )
        return _unowned(line) if head.status in _ENDED else line

    def _changed(self, line: Line, head: Head) -> Line:
        changed = replace(
            line,
            status=str(head.status),
            flow=head.flow or line.flow,
            version=head.version or line.version,
            principal=head.principal or line.principal,
            target=head.target or line.target,
            updated_us=head.at_us or self._now_us(),
        )
        return _unowned(changed) if head.status in _ENDED else changed

    def _line(self, execution: str) -> Line:
        line = self._durable.lines.get(execution)
        if line is None:
            raise _unknown(execution)
        return line


def _fresh_rows(batch: Batch, held: Mapping[int, Row]) -> dict[int, Row]:
    fresh = {row.seq: row for row in batch.rows}
    if len(fresh) < len(batch.rows) or not held.keys().isdisjoint(fresh.keys()):
        raise StorageError("OMG-S006", f"a row of {batch.execution} was already written by somebody else")
    return fresh


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as it comes out of JSON, so that a letter read here is the letter read from a disk."""
    try:
        text = msgspec.json.encode(dict(body))
    except (TypeError, ValueError) as error:
        raise FlowError("OMG-R002", f"the body of a letter is not plain data: {error}") from error
    if len(text) > MAX_LETTER:
        raise FlowError("OMG-R003", f"the letter has {len(text)} bytes, {MAX_LETTER} are allowed")
    return msgspec.json.decode(text, type=dict[str, Any])


def _unowned(line: Line) -> Line:
    return replace(line, owner="", lease_us=0)


def _unknown(execution: str) -> InputError:
    return InputError("OMG-I003", f"there is no execution {execution}")


def _stale(execution: str, epoch: int, current: int) -> StorageError:
    return StorageError("OMG-S006", f"{execution} is at epoch {current}, not {epoch}", details={"epoch": epoch, "current": current})
