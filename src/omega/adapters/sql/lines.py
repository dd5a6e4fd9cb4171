"""The line of an execution: how it is made, what a head changes in it, and which lines a search wants. No database here.

What a wake does, in one place. `woken_us` is the moment of the first wake since the execution was last claimed or taken, 0 for none:

    claim, take                      woken_us = 0: whoever comes sees everything that was written before
    wake                             due_us and woken_us become that moment, where they are later or NEVER
    a head with a due_us             due_us = the earlier of it and woken_us; NEVER is later than anything
    a head that ends                 due_us = NEVER

So a wake that falls between an owner's last look and its standing still makes the execution due at once instead of getting lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import msgspec

from omega.adapters.sql.batches import CREATED_LEASE_US, ENDED
from omega.kernel.journal import Status
from omega.kernel.ports import NEVER, Batch, Head, Line, Search

MAX_LINES = 10_000
"""Most executions one call of `lines` or `search` gives."""

COLUMNS = tuple(field.name for field in fields(Line))
"""The columns of a line, in the order of `Line`."""

_SET_WHEN_NAMED = ("flow", "version", "principal", "target", "digest")
_EXACT = ("tenant", "flow", "digest", "queue", "key", "principal", "parent")


def born(batch: Batch, head: Head, *, owner: str, at_us: int, lease_us: int = CREATED_LEASE_US) -> Line:
    """The line of a new execution. Its maker owns it for `lease_us` when it is running: one that is queued waits for a worker."""
    running = head.status == Status.RUNNING
    return Line(
        execution=batch.execution,
        tenant=batch.tenant,
        flow=head.flow,
        version=head.version,
        status=str(head.status),
        principal=head.principal,
        target=head.target,
        epoch=batch.epoch,
        owner=owner if running else "",
        lease_us=at_us + lease_us if running else 0,
        started_us=head.started_us or at_us,
        updated_us=at_us,
        digest=head.digest,
        queue=head.queue,
        key=head.key,
        priority=head.priority,
        due_us=NEVER if head.status in ENDED else head.due_us or NEVER,
        parent=head.parent,
        labels=dict(head.labels),
        origin=head.origin,
        origin_rows=head.origin_rows,
    )


def named(head: Head) -> dict[str, Any]:
    """The fields that a later head changes because it fills them."""
    return {name: value for name in _SET_WHEN_NAMED if (value := getattr(head, name))}


def changed(line: Line, head: Head, *, woken_us: int, at_us: int) -> Line:
    """`line` after a later head. One that is not running stands still: nobody owns it, and its tries are counted anew."""
    after = replace(line, status=str(head.status), updated_us=at_us, **named(head))
    if head.status in ENDED:
        return replace(unowned(after), due_us=NEVER, tries=0)
    due_us = line.due_us if head.due_us is None else earlier(head.due_us, woken_us)
    after = replace(after, due_us=due_us)
    return after if head.status == Status.RUNNING else replace(unowned(after), tries=0)


def earlier(one: int, other: int) -> int:
    """The earlier of two moments, of which 0 is NEVER."""
    return min(one, other) if one and other else one or other


def unowned(line: Line) -> Line:
    """`line` without an owner."""
    return replace(line, owner="", lease_us=0)


def ready_us(line: Line) -> int:
    """The moment from which a worker may take `line` up: it is due and its lease is over; NEVER while it is not due at all."""
    return max(line.due_us, line.lease_us) if line.due_us else NEVER


def encode_labels(labels: Mapping[str, str]) -> str:
    """Labels as stored: a JSON object, sorted by name."""
    return msgspec.json.encode(dict(labels), order="sorted").decode()


def values_of(line: Line) -> tuple[Any, ...]:
    """`line` as the values of COLUMNS."""
    return tuple(encode_labels(line.labels) if name == "labels" else getattr(line, name) for name in COLUMNS)


def line_of(values: Mapping[str, Any]) -> Line:
    """The line that was stored as `values`."""
    return Line(**{**values, "labels": msgspec.json.decode(values["labels"], type=dict[str, str])})


class Listing(ABC):
    """The short list that every reader gives, by way of its search."""

    @abstractmethod
    def search(self, search: Search) -> list[Line]:
        """See `kernel.ports.Reader.search`."""

    def lines(self, *, tenant: str | None = None, status: str | None = None, limit: int = 50) -> list[Line]:
        """Executions, the newest first, at most `limit`. No execution has an empty tenant or status: to ask for one gives nothing."""
        if tenant == "" or status == "":
            return []
        return self.search(Search(tenant=tenant or "", status=(status,) if status else (), limit=limit))


def wanted(search: Search) -> int:
    """How many lines a search may give."""
    return max(0, min(search.limit, MAX_LINES))


def conditions(search: Search, *, label: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What the lines of `search` fulfil, as SQL with `{}` for each value, and the values.

    `label` is the database's way to ask for one label; it holds two `{}`, for its name and its value.
    """
    for name in _EXACT:
        if value := getattr(search, name):
            yield f"{name} = {{}}", (value,)
    if search.status:
        yield f"status IN ({', '.join(['{}'] * len(search.status))})", tuple(search.status)
    if search.after_us:
        yield "started_us >= {}", (search.after_us,)
    if search.before_us:
        yield "started_us < {}", (search.before_us,)
    if search.older_than:
        yield "number < (SELECT number FROM executions WHERE execution = {})", (search.older_than,)
    for pair in search.labels.items():
        yield label, pair


def matches(line: Line, search: Search) -> bool:
    """Whether `line` fulfils everything in `search` but its page."""
    return (
        all(getattr(line, name) == value for name in _EXACT if (value := getattr(search, name)))
        and (not search.status or line.status in search.status)
        and search.after_us <= line.started_us
        and (not search.before_us or line.started_us < search.before_us)
        and all(line.labels.get(name) == value for name, value in search.labels.items())
    )
