"""Search over the leaves of a log: which leaves say what is asked, newest first, page by page. Pure reading of a `Reader`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import msgspec

from omega.chronicle.pruned import is_pruned
from omega.chronicle.record import KINDS, Leaf, decode
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.ports import Reader

MAX_FOUND = 1000
"""Most leaves on one page."""

MAX_LOOKED = 200_000
"""Most leaves looked at for one page, so that a search for what is not there ends; the page says where to go on."""

BATCH = 2048
"""Leaves read from a store at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked: every field that is given must match, all of them whole, but for `text`, which any name, reason or note contains.

    Times are Unix microseconds, `since_us` included and `until_us` not. `before` is the index to go back from (0: the end of the log).
    """

    kind: str = ""
    principal: str = ""
    flow: str = ""
    execution: str = ""
    decision: str = ""
    text: str = ""
    since_us: int = 0
    until_us: int = 0
    before: int = 0
    limit: int = 100

    @classmethod
    def read(cls, wanted: Mapping[str, Any]) -> Query:
        """From plain data. Raises InputError (OMG-I001) for unknown fields, wrong types, and limits out of bounds."""
        types = {each.name: type(each.default) for each in fields(cls)}
        wrong = [name for name, value in wanted.items() if type(value) is not types.get(name)]
        if wrong:
            raise InputError("OMG-I001", f"a search of the log cannot ask for {wrong[0][:80]!r} (known: {', '.join(sorted(types))})")
        query = cls(**wanted)
        if not 0 < query.limit <= MAX_FOUND or min(query.before, query.since_us, query.until_us) < 0:
            raise InputError("OMG-I001", f"a page of the log holds 1 to {MAX_FOUND} leaves")
        if query.kind and query.kind not in KINDS:
            raise InputError("OMG-I001", f"no leaf is of the kind {query.kind[:80]!r} (known: {', '.join(sorted(KINDS))})")
        return query

    def matches(self, leaf: Leaf) -> bool:
        """Whether `leaf` is what is asked for."""
        if any(getattr(self, name) not in ("", getattr(leaf, name)) for name in ("kind", "principal", "flow", "execution", "decision")):
            return False
        if leaf.at_us < self.since_us or (self.until_us and leaf.at_us >= self.until_us):
            return False
        return not self.text or any(self.text in said for said in _said(leaf))


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, newest first: index and leaf; and the index to go on `before`, 0 when the log was read to its beginning."""

    found: tuple[tuple[int, Leaf], ...]
    before: int

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {"leaves": [{"index": index, **msgspec.to_builtins(leaf)} for index, leaf in self.found], "before": self.before}


def search(reader: Reader, tenant: str, query: Query) -> Page:
    """The newest leaves of `tenant` that match. Raises IntegrityError (OMG-S005) for a leaf that cannot be read."""
    points = reader.checkpoints(tenant)
    size = points[-1][0] if points else 0
    end = min(query.before or size, size)
    lowest = max(0, end - MAX_LOOKED)
    found: list[tuple[int, Leaf]] = []
    while end > lowest:
        start = max(lowest, end - BATCH)
        batch = reader.leaves(tenant, start, end)
        if len(batch) != end - start:
            raise IntegrityError("OMG-S005", f"leaves {start} to {end - 1} of {tenant} are not all there")
        for index in range(end - 1, start - 1, -1):
            if is_pruned(batch[index - start]):
                return Page(tuple(found), 0)  # nothing before it can be read either
            leaf = decode(batch[index - start])
            if query.matches(leaf):
                found.append((index, leaf))
                if len(found) == query.limit:
                    return Page(tuple(found), index)
        end = start
    return Page(tuple(found), end)


def _said(leaf: Leaf) -> tuple[str, ...]:
    """What a leaf says in words."""
    return (leaf.reason, leaf.note, leaf.step, leaf.flow, leaf.principal, leaf.code, leaf.status, *leaf.policies, *leaf.actors)
