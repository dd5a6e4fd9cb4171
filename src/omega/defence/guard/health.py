"""Health from the record: who works, what stands still that should not, and what keeps ending badly. Pure.

worker       alive while it holds leases that last; lost when one of its leases ran out and nobody has gone on
execution    stuck when it is due, or its owner is lost, for longer than GRACE_S; dead when it was given up
repeat       an execution that was taken up again and again without getting on: restart advice, never a restart by itself
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omega.defence.guard.slo import Event
from omega.kernel.journal import Status
from omega.kernel.ports import Line

GRACE_S = 120.0
"""How late something may be before it counts as stuck, in seconds: two leases and a sweep lie well below."""

TRIES = 3
"""Tries in a row without getting on from which on a restart is advised."""

OTHER = "other"
FLOW, WORKER = "flow", "worker"

OWN = "guard."
"""How the names of the guard's own flows begin."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process as its leases show it: `holds` executions, the last sign of life (Unix seconds), whether it is alive."""

    name: str
    holds: int
    seen_s: float
    alive: bool


@dataclass(frozen=True, slots=True)
class Advice:
    """What somebody should do about an execution or a worker, with the command for it."""

    about: str
    what: str
    do: str


def workers(lines: Iterable[Line], now_s: float) -> list[Worker]:
    """Every owner of something unfinished, by name."""
    held: dict[str, list[Line]] = {}
    for line in lines:
        if line.owner and not Status(line.status).ended:
            held.setdefault(line.owner, []).append(line)
    found = []
    for name, mine in sorted(held.items()):
        latest = max(line.lease_us for line in mine) / 1_000_000
        seen = max(line.updated_us for line in mine) / 1_000_000
        found.append(Worker(name, len(mine), seen, latest > now_s))
    return found


def advised(lines: Iterable[Line], now_s: float) -> list[Advice]:
    """What should be done, the most urgent first: dead executions, lost workers, what is stuck, what is tried over and over."""
    lines = list(lines)
    dead = [Advice(line.execution, f"{line.flow} was given up", f"omega redrive {line.execution}") for line in lines if _dead(line)]
    lost = [
        Advice(each.name, f"the worker is gone with {each.holds} executions", "start a worker: omega worker")
        for each in workers(lines, now_s)
        if not each.alive and now_s - each.seen_s > GRACE_S
    ]
    stuck = [Advice(line.execution, f"{line.flow} is due and nobody takes it up", "omega worker") for line in lines if _stuck(line, now_s)]
    tried = [
        Advice(line.execution, f"{line.flow} was taken up {line.tries} times without getting on", f"omega show {line.execution}")
        for line in lines
        if line.tries >= TRIES and not Status(line.status).ended
    ]
    return [*dead, *lost, *stuck, *tried]


def events_of(lines: Iterable[Line]) -> list[Event]:
    """The executions that ended, as a service level counts them. One that somebody cancelled is nobody's failure."""
    counted = []
    for line in lines:
        if Status(line.status).ended and line.status != Status.CANCELLED:
            took = (line.updated_us - line.started_us) / 1_000_000
            counted.append(Event(line.updated_us / 1_000_000, line.status == Status.DONE, took))
        elif _dead(line):
            counted.append(Event(line.updated_us / 1_000_000, False))
    return counted


def by_flow(lines: Iterable[Line]) -> dict[str, Sequence[Line]]:
    """Lines by flow, without those of the guard itself: what watches does not count towards what it watches."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if not line.flow.startswith(OWN):
            found.setdefault(line.flow, []).append(line)
    return dict(sorted(found.items()))


def _dead(line: Line) -> bool:
    return line.status == Status.DEAD


def _stuck(line: Line, now_s: float) -> bool:
    if Status(line.status).ended or line.status == Status.DEAD or not line.due_us:
        return False
    free = not line.owner or line.lease_us / 1_000_000 < now_s - GRACE_S
    return free and line.due_us / 1_000_000 < now_s - GRACE_S
