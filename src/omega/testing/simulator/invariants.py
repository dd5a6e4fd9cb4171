"""What must hold of every run, however often the engine died in it. Each check adds one sentence per violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omega.chronicle.record import Leaf
from omega.kernel.errors import IntegrityError
from omega.kernel.journal import STEP_KINDS, Kind, Row, Status, Step, decode_meta, digest_of
from omega.testing.lab import Lab

_SETTLING = frozenset({Kind.DONE, Kind.FAILED, Kind.VALUE, Kind.TIMER, Kind.CHOSE, Kind.DENIED})


def settled_by_name(rows: Iterable[Row]) -> Counter[str]:
    """How many steps of each flow have a durable result."""
    found: Counter[str] = Counter()
    for row in rows:
        if row.kind in (Kind.DONE, Kind.FAILED):
            meta = decode_meta(row)
            if isinstance(meta, Step):
                found[meta.flow] += 1
    return found


def check_journal(lab: Lab, execution: str) -> Iterator[str]:
    """Rows without gaps, each position settled once, every gated row with its leaf, the log sound over the journals."""
    yield from check_rows(lab, execution, [leaf for leaf in lab.leaves() if leaf.execution == execution])
    report = lab.verify()
    if not report.sound:
        yield f"the log does not verify: {[finding.record() for finding in report.findings][:3]}"


def check_rows(lab: Lab, execution: str, leaves: list[Leaf]) -> Iterator[str]:
    """As `check_journal`, for one execution and its `leaves` alone."""
    rows = lab.store.rows(execution)
    try:
        digest_of(rows)
    except IntegrityError as error:
        yield error.cause
    twice = Counter(row.position for row in rows if row.kind in _SETTLING)
    yield from (f"{position} was settled {count} times" for position, count in twice.items() if count > 1)
    yield from _check_leaves(rows, leaves)
    line = lab.store.line(execution)
    last = rows[-1] if rows else None
    if line is not None and last is not None and (last.kind == Kind.FINISHED) != Status(line.status).ended:
        yield f"the line says {line.status}, the last row is {Kind(last.kind).name}"


def _check_leaves(rows: list[Row], leaves: list[Leaf]) -> Iterator[str]:
    """One leaf per gated decision and outcome, and per decision of a person, in both directions."""
    wanted: Counter[tuple[str, str]] = Counter()
    for row in rows:
        meta = decode_meta(row) if row.kind in STEP_KINDS else None
        gated = isinstance(meta, Step) and meta.effect != "pure"
        if row.kind == Kind.STARTED:
            wanted["entry", ""] += 1
        elif row.kind == Kind.FINISHED:
            wanted["end", ""] += 1
        elif gated:
            wanted[_LEAF_OF[row.kind], row.position] += 1
        elif row.kind in _DECIDED:
            wanted[_DECIDED[row.kind], row.position] += 1
    there = Counter((leaf.kind, leaf.step) for leaf in leaves)
    yield from (f"{count} leaves are missing: {kind} {step}" for (kind, step), count in (wanted - there).items())
    yield from (f"{count} leaves too many: {kind} {step}" for (kind, step), count in (there - wanted).items())


_DECIDED: dict[int, str] = {Kind.APPROVED: "approve", Kind.RESOLVED: "resolve", Kind.SIGNAL: "admin"}
_LEAF_OF: dict[int, str] = {Kind.INTENT: "admit", Kind.DONE: "outcome", Kind.FAILED: "outcome", Kind.NEEDS: "deny", Kind.DENIED: "deny"}


def check_work(started: Counter[str], before: Counter[str], now: Counter[str], idle: Mapping[str, int]) -> Iterator[str]:
    """Nothing with a durable result ran again in the last stretch of a run, from its last start or resume on.

    `started` are the bodies that started in it, `before` and `now` the durable results per flow at its start and end, `idle` how many
    bodies of a flow may start in a stretch without their result being used.
    """
    for name, count in started.items():
        used = now[name] - before[name]
        if count - used > idle.get(name, 0):
            yield f"{name} ran {count} times and gave {used} new results: something that was durable ran again"


def same(expected: Any, value: Any) -> Iterator[str]:
    """The result is that of the uninterrupted run."""
    if expected != value:
        yield f"the result is {value!r}, without interruption it is {expected!r}"
