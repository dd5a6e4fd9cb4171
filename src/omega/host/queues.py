"""Queues as an operator arranges them: limits and whether they are paused. A queue nobody arranged has no limits and is simply there.

The limits hold over all workers together, because the store applies them where it hands work out (`kernel.queueing`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from omega.host.arrangements import Documents, all_arranged
from omega.host.storage import Archives
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Line, Search
from omega.kernel.queueing import MAX_NAME, Limits

QUEUE = "queue"
"""The kind of the documents."""

FRESH_S = 1.0
"""How long a worker goes by what it has read: a changed limit or a pause holds everywhere within this time."""

MAX_COUNTED = 10_000
"""Most executions of one status that are looked at to tell how deep a queue is."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RATE = re.compile(r"(?P<count>\d{1,9})/(?P<number>\d{1,5})?(?P<unit>s|min|h)")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3_600.0}


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue as arranged."""

    name: str
    limits: Limits = field(default_factory=Limits)
    paused: bool = False

    def record(self) -> dict[str, Any]:
        """As kept; `Queue.read` makes it again."""
        return {"limits": self.limits.record(), "paused": self.paused}

    @classmethod
    def read(cls, name: str, body: Mapping[str, Any]) -> Queue:
        """From a document. Raises InputError (OMG-I001) for a name or a limit that cannot be."""
        limits = body.get("limits", {})
        if not isinstance(limits, Mapping) or not set(limits) <= set(Limits.__slots__):
            raise InputError("OMG-I001", f"the limits of a queue are {', '.join(Limits.__slots__)}")
        return cls(queue_name(name), Limits(**limits), bool(body.get("paused", False)))

    def with_limits(self, changed: Mapping[str, Any]) -> Queue:
        """The queue with some limits changed: those that are not named stay."""
        return replace(self, limits=replace(self.limits, **changed))


@dataclass(frozen=True, slots=True)
class Depth:
    """What is in a queue now: `queued` are those due or waiting for their time, `oldest_us` since when the longest has been due (0: none).

    Counts stop at MAX_COUNTED per status; `more` says that they did.
    """

    name: str
    queued: int = 0
    running: int = 0
    waiting: int = 0
    dead: int = 0
    oldest_us: int = 0
    more: bool = False


class Queues:
    """The queues of an installation as a worker goes by them, read anew once they are FRESH_S old."""

    def __init__(self, documents: Documents, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._documents, self._monotonic = documents, monotonic
        self._read_at = float("-inf")
        self._known: dict[str, Queue] = {}

    def known(self) -> dict[str, Queue]:
        """All that are arranged, by name."""
        now = self._monotonic()
        if now - self._read_at > FRESH_S:
            self._known = arranged_queues(self._documents)
            self._read_at = now
        return self._known

    def limits(self) -> dict[str, Limits]:
        """The limits per queue that has any."""
        return {name: queue.limits for name, queue in self.known().items()}

    def open_of(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Those of `wanted` that are not paused."""
        known = self.known()
        return tuple(name for name in wanted if name not in known or not known[name].paused)


def arranged_queues(documents: Documents) -> dict[str, Queue]:
    """Every arranged queue by name."""
    return {name: Queue.read(name, body) for name, body in all_arranged(documents, QUEUE).items()}


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A queue's document as it is kept (see `arrangements.Reading`)."""
    return Queue.read(name, body).record()


def queue_name(name: str) -> str:
    """`name`, if it can name a queue. Raises InputError (OMG-I001)."""
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", f"{name[:MAX_NAME]!r} cannot name a queue", advice="use up to 64 letters, digits, '.', '-' and '_'")
    return name


def read_rate(text: str) -> dict[str, Any]:
    """The limits `rate` and `per_s` from "10/s", "100/min", "5/10s" or "1000/h"; "none" lifts it. Raises InputError (OMG-X001)."""
    if text == "none":
        return {"rate": None, "per_s": 1.0}
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise InputError("OMG-X001", f"{text[:40]!r} is no rate", advice='write it as "10/s", "100/min" or "5/10s"; "none" lifts it')
    return {"rate": int(match["count"]), "per_s": _UNITS[match["unit"]] * int(match["number"] or 1)}


def spoken_rate(limits: Limits) -> str:
    """The rate as `read_rate` takes it; empty for none."""
    if limits.rate is None:
        return ""
    for unit, seconds in reversed(_UNITS.items()):
        if limits.per_s == seconds:
            return f"{limits.rate}/{unit}"
    return f"{limits.rate}/{limits.per_s:g}s"


def depths(reader: Archives, names: Iterable[str] = ()) -> dict[str, Depth]:
    """How deep each queue is: those of `names`, and every other in which something is queued, runs, waits or is dead."""
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    oldest: dict[str, int] = {}
    more = False
    for status in (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.DEAD):
        lines = reader.search(Search(status=(status,), limit=MAX_COUNTED))
        more = more or len(lines) == MAX_COUNTED
        for line in lines:
            if line.queue:
                _count(line, counts.setdefault(line.queue, {}), oldest)
    found = {}
    for name in sorted(counts):
        each = counts[name]
        found[name] = Depth(
            name,
            queued=each.get(Status.QUEUED, 0),
            running=each.get(Status.RUNNING, 0),
            waiting=each.get(Status.WAITING, 0),
            dead=each.get(Status.DEAD, 0),
            oldest_us=oldest.get(name, 0),
            more=more,
        )
    return found


def _count(line: Line, counts: dict[str, int], oldest: dict[str, int]) -> None:
    counts[line.status] = counts.get(line.status, 0) + 1
    if line.status == Status.QUEUED and line.due_us:
        oldest[line.queue] = min(oldest.get(line.queue, line.due_us), line.due_us)
