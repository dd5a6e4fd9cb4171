"""What a memory store holds: everything durable as plain data, and how it is looked through for work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from omega.adapters.sql.batches import ENDED
from omega.adapters.sql.families import Member, parted
from omega.adapters.sql.lines import earlier, ready_us
from omega.kernel.journal import Row, Status
from omega.kernel.ports import Erased, Letter, Line, Want
from omega.kernel.queueing import Load, Waiting


@dataclass(slots=True)
class Log:
    """One tenant's log: its leaves, the sequencer's state, and every signed note as (size, note)."""

    leaves: list[bytes] = field(default_factory=list)
    state: bytes = b""
    notes: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Snapshot:
    """Everything durable. `woken` and `begun` are what `adapters.sql` calls `woken_us` and the table of that name."""

    installation: str = "ins_memory"
    engine: int = 0
    lines: dict[str, Line] = field(default_factory=dict)
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, Log] = field(default_factory=dict)
    inbox: dict[int, Letter] = field(default_factory=dict)
    last_letter: int = 0
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    woken: dict[str, int] = field(default_factory=dict)
    begun: dict[str, list[int]] = field(default_factory=dict)
    compacted: set[str] = field(default_factory=set)

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
            woken=dict(self.woken),
            begun={name: list(moments) for name, moments in self.begun.items()},
            compacted=set(self.compacted),
        )

    def history(self, execution: str) -> list[Row]:
        """The rows of an execution in order; those of a fork begin with its origin's."""
        own = [row for _, row in sorted(self.rows.get(execution, {}).items())]
        line = self.lines.get(execution)
        if line is None or not line.origin:
            return own
        return [*self.history(line.origin)[: line.origin_rows], *own]

    def wake(self, execution: str, now_us: int) -> None:
        """Make one execution due, if there is such a one that has not ended."""
        line = self.lines.get(execution)
        if line is not None and line.status not in ENDED:
            self.lines[execution] = replace(line, due_us=earlier(line.due_us, now_us))
            self.woken[execution] = earlier(self.woken.get(execution, 0), now_us)

    def waiting(self, want: Want) -> Iterator[Waiting]:
        """Everything that `want` could take up now."""
        for line in self.lines.values():
            ready = ready_us(line)
            if 0 < ready <= want.now_us and line.digest in want.digests and line.queue in want.queues:
                yield Waiting(
                    execution=line.execution,
                    tenant=line.tenant,
                    queue=line.queue,
                    key=line.key,
                    priority=line.priority,
                    due_us=ready,
                )

    def loads(self, want: Want) -> dict[str, Load]:
        """What runs in the queues of `want`, and what was begun within the time that their rates speak of."""
        loads = {queue: Load() for queue in want.queues}
        for line in self.lines.values():
            load = loads.get(line.queue)
            if load is not None and line.status == Status.RUNNING and line.lease_us > want.now_us:
                load.running += 1
                load.by_key[line.key] = load.by_key.get(line.key, 0) + 1
                load.by_tenant[line.tenant] = load.by_tenant.get(line.tenant, 0) + 1
        for queue, limits in want.limits.items():
            if queue in loads and limits.rate is not None:
                since = want.now_us - int(limits.per_s * 1_000_000)
                self.begun[queue] = [moment for moment in self.begun.get(queue, ()) if moment > since]
                loads[queue].begun = len(self.begun[queue])
        return loads

    def destroy(self, execution: str) -> None:
        """Destroy the payloads and the key of one execution."""
        held = self.rows.get(execution, {})
        self.rows[execution] = {seq: msgspec.structs.replace(row, payload=None) for seq, row in held.items()}
        self.keys.pop(execution, None)
        self.compacted.add(execution)

    def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        """Destroy whole families, see `kernel.ports.Store.erase`."""
        family = {name for name in executions if name in self.lines and self.lines[name].tenant == tenant}
        before = 0
        while before < len(family):
            before = len(family)
            family |= {line.execution for line in self.lines.values() if line.tenant == tenant and {line.origin, line.parent} & family}
        members = [Member(0, name, line.origin, line.status, self._above(line)) for name, line in self.lines.items() if name in family]
        erased, _ = parted(members)
        for name in erased.gone:
            self.destroy(name)
            self.lines[name] = replace(self.lines[name], labels={}, key="")
        return erased

    def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        """Put other payloads and another key in place, see `kernel.ports.Store.redact`."""
        line = self.lines.get(execution)
        forked = any(other.origin == execution and other.execution not in self.compacted for other in self.lines.values())
        if line is None or line.tenant != tenant or line.status not in ENDED or line.origin or forked or execution in self.compacted:
            return False
        if (above := self._above(line)) and above not in ENDED:
            return False
        held = self.rows.get(execution, {})
        self.rows[execution] = {seq: msgspec.structs.replace(row, payload=payloads.get(seq)) for seq, row in held.items()}
        self.keys[execution] = key
        self.lines[execution] = replace(line, labels={name: value for name, value in line.labels.items() if name != label})
        return True

    def _above(self, line: Line) -> str:
        parent = self.lines.get(line.parent)
        return "" if parent is None else parent.status

    def compactable(self, tenant: str, ended_before_us: int) -> Iterator[str]:
        """Executions that ended before that moment and still have their payloads, unless a fork that has them too rests on them, or their
        parent has not ended, which reads how they did. The oldest first.
        """
        needed = {line.origin for line in self.lines.values() if line.origin and line.execution not in self.compacted}
        for line in sorted(self.lines.values(), key=lambda each: each.updated_us):
            fit = line.tenant == tenant and line.status in ENDED and line.updated_us < ended_before_us
            above = self.lines.get(line.parent)
            fit = fit and (above is None or above.status in ENDED)
            if fit and line.execution not in needed and line.execution not in self.compacted:
                yield line.execution
