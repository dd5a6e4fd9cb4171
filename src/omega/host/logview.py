"""What of a log is shown to a person or a program: leaves as data, each with its flags, found from its end on.

Whoever looks says so first (`omega.host.logbook.note_access`); this only reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from omega.chronicle.flags import Flag, flags_of
from omega.chronicle.record import Leaf
from omega.chronicle.search import MAX_FOUND, MAX_LOOKED, Query, search
from omega.host.settings import TENANT
from omega.kernel.ports import Reader

READERS = ("read_log", "log_access", "log.search", "log.flags", "log.checkpoint", "log.proof", "log.export", "log.follow")
"""The flows that stand for a look at the log."""

PAGE = MAX_FOUND
"""Most leaves that are shown at once."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One leaf as it is shown."""

    index: int
    leaf: Leaf
    flags: tuple[Flag, ...]

    @classmethod
    def of(cls, index: int, leaf: Leaf) -> Shown:
        """`leaf` with its flags."""
        return cls(index, leaf, flags_of(leaf))

    @classmethod
    def read(cls, found: dict[str, Any]) -> Shown:
        """From a leaf as `read_log` gives it."""
        leaf = msgspec.convert({name: value for name, value in found.items() if name != "index"}, Leaf)
        return cls.of(int(found["index"]), leaf)

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {"index": self.index, **msgspec.to_builtins(self.leaf), "flags": [flag.record() for flag in self.flags]}


def size_of(reader: Reader, tenant: str) -> int:
    """How many leaves the log of `tenant` has."""
    points = reader.checkpoints(tenant)
    return points[-1][0] if points else 0


def newest(reader: Reader, tenant: str, count: int, *, flagged: bool = False) -> list[Shown]:
    """The newest leaves, oldest first; with `flagged` those alone that have flags. Raises IntegrityError (OMG-S005)."""
    found: list[Shown] = []
    before = 0
    while len(found) < count:
        page = search(reader, tenant, Query(before=before, limit=PAGE if flagged else min(PAGE, count)))
        shown = [Shown.of(index, leaf) for index, leaf in page.found]
        found += [each for each in shown if each.flags or not flagged]
        before = page.before
        if not before:
            break
    return found[:count][::-1]


def flagged(reader: Reader, tenant: str, *, before: int, limit: int, alarming: bool) -> tuple[list[Shown], int]:
    """A page of flagged leaves, newest first, and the index to go on before, 0 at the beginning of the log.

    At most `MAX_LOOKED` leaves and a page are looked at for it. Raises IntegrityError (OMG-S005).
    """
    found: list[Shown] = []
    size = size_of(reader, tenant)
    lowest = max(0, min(before or size, size) - MAX_LOOKED)
    while True:
        page = search(reader, tenant, Query(before=before, limit=PAGE))
        for index, leaf in page.found:
            shown = Shown.of(index, leaf)
            if any(flag.alarming or not alarming for flag in shown.flags):
                found.append(shown)
                if len(found) == limit:
                    return found, index
        before = page.before
        if before <= lowest:
            return found, before


def since(reader: Reader, tenant: str, seen: int, *, flagged: bool = False) -> tuple[list[Shown], int]:
    """The leaves from the index `seen` on, at most `PAGE`, oldest first, and the index to go on with."""
    size = min(size_of(reader, tenant), seen + PAGE)
    if size <= seen:
        return [], seen
    page = search(reader, tenant, Query(before=size, limit=size - seen))
    found = [Shown.of(index, leaf) for index, leaf in reversed(page.found) if index >= seen]
    return [shown for shown in found if shown.flags or not flagged], size


def accesses(reader: Reader, count: int) -> list[Shown]:
    """Who looked at the log of this installation: the newest looks, oldest first."""
    pages = [search(reader, TENANT, Query(flow=flow, kind="entry", limit=count)) for flow in READERS]
    found = [Shown.of(index, leaf) for page in pages for index, leaf in page.found]
    return sorted(found, key=lambda shown: shown.index)[-count:]
