"""What the guard does by itself, where a tenant has arranged that: which acts are due, told from the record. Pure.

    redrive     what was given up, stands in a queue and is not in doubt: at most so many times, after a longer wait each time
    isolate     an agent that burns a budget alone: it pages, and the same flows keep their level for everybody else
    pause       a schedule whose last runs all ended badly; a queue in which for an hour nothing ended well

Nothing is arranged at first: then the guard advises. An act counts what happened since the guard last did the same (`Facts.noted`), so that
what a person releases or resumes is judged by what it does then, and not locked out again for what it did before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, Field

from omega.defence.guard.health import OWN, events_of
from omega.defence.guard.slo import CALM, HOUR_S, MIN_EVENTS, PAGE, TICKET, Objective, judge
from omega.kernel.effects import Request
from omega.kernel.journal import Status
from omega.kernel.ports import Line

MOST_REDRIVES: Final = 10
"""Most times that one execution may be redriven by the guard."""

BACKOFF_S: Final = 300.0
"""How long (seconds) something has been dead before it is redriven first: twice as long each further time."""

MOST_ACTS: Final = 20
"""Most acts of one sweep: whatever the record says, a sweep changes no more than this."""

IN_A_ROW: Final = 5
"""How many runs of a schedule in a row end badly before it is paused."""

LABEL: Final = "schedule"
"""The label that names its schedule on an execution; the execution's own name begins with the schedule's and `@`."""

AGENT: Final = "agent:"

Kind = Literal["redrive", "isolate", "schedule", "queue"]
"""What is done; `schedule` and `queue` are paused."""


class Orders(BaseModel):
    """What the guard may do by itself: redrive so many times (0: never), put into quarantine, pause."""

    redrive: int = Field(default=0, ge=0, le=MOST_REDRIVES)
    isolate: bool = False
    pause: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything that it may do."""
        return bool(self.redrive or self.isolate or self.pause)


class Facts(BaseModel):
    """What the guard goes by beside the record, all of one tenant.

    `tried` says how often each dead execution was redriven, `doubtful` which of them have a step in doubt; `schedules` are those that are
    not paused; `paused` are queues; `queues` says whether the tenant may pause any; `noted` when (Unix microseconds) the guard last did an
    act, by its `Act.key`.
    """

    orders: Orders = Orders()
    tried: dict[str, int] = {}
    doubtful: list[str] = []
    schedules: list[str] = []
    paused: list[str] = []
    queues: bool = False
    locked: list[str] = []
    noted: dict[str, int] = {}


class Act(BaseModel):
    """Something that is due: what, about which execution, agent, schedule or queue, and why. `since_us` is when an execution died."""

    kind: Kind
    about: str
    why: str
    since_us: int = 0

    @property
    def key(self) -> str:
        """What the act is, so that the same one is told apart."""
        return f"{self.kind} {self.about}"

    @property
    def severity(self) -> str:
        """Who is told: a retry can wait until morning, what was stopped cannot."""
        return TICKET if self.kind == "redrive" else PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(Request):
    """Read `Facts` of the caller's tenant."""

    port: ClassVar[str] = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Do(Request):
    """Carry out one act in the caller's tenant, if it is still arranged and still due; gives whether it was done."""

    port: ClassVar[str] = "guard"
    kind: str
    about: str
    why: str
    since_us: int = 0


def due(lines: Sequence[Line], facts: Facts, objective: Objective, now_s: float) -> list[Act]:
    """What to do at `now_s`, at most MOST_ACTS: what stops harm first."""
    orders, found = facts.orders, []
    if orders.isolate:
        found += list(_to_isolate(lines, facts, objective, now_s))
    if orders.pause:
        found += [*_schedules(lines, facts), *_queues(lines, facts, now_s)]
    if orders.redrive:
        found += list(_to_redrive(lines, facts, now_s))
    return found[:MOST_ACTS]


def rested(tried: int, since_us: int, now_us: int) -> bool:
    """Whether something that died at `since_us`, and was redriven `tried` times, has been left alone for long enough."""
    return now_us - since_us >= BACKOFF_S * 2.0 ** min(tried, MOST_REDRIVES) * 1_000_000


def _to_redrive(lines: Iterable[Line], facts: Facts, now_s: float) -> Iterator[Act]:
    doubtful = set(facts.doubtful)
    for line in lines:
        tried = facts.tried.get(line.execution, MOST_REDRIVES)  # what was not looked at is left alone
        if line.status != Status.DEAD or not line.queue or line.execution in doubtful or tried >= facts.orders.redrive:
            continue
        since_us = max(line.updated_us, facts.noted.get(f"redrive {line.execution}", 0))
        if rested(tried, since_us, round(now_s * 1_000_000)):
            why = f"{line.flow} was given up; time {tried + 1} of {facts.orders.redrive}"
            yield Act(kind="redrive", about=line.execution, why=why, since_us=line.updated_us)


def _to_isolate(lines: Sequence[Line], facts: Facts, objective: Objective, now_s: float) -> Iterator[Act]:
    """Agents whose own calls page, while the same flows keep their level for others: without others nothing says whose fault it is."""
    counted = [line for line in lines if not line.flow.startswith(OWN)]
    for principal, own in _by(counted, lambda line: line.principal).items():
        if not principal.startswith(AGENT) or principal in facts.locked:
            continue
        since = facts.noted.get(f"isolate {principal}", 0)
        own = [line for line in own if line.started_us > since]
        flows = {line.flow for line in own}
        others = [line for line in counted if line.principal != principal and line.flow in flows]
        mine, theirs = judge(events_of(own), objective, now_s), judge(events_of(others), objective, now_s)
        lately = sum(now_s - HOUR_S < event.at_s <= now_s for event in events_of(others))
        if mine.severity == PAGE and theirs.severity == CALM and lately >= MIN_EVENTS:
            why = f"{mine.bad} of its {mine.events} calls ended badly, and the same flows end well for others"
            yield Act(kind="isolate", about=principal, why=why)


def _schedules(lines: Iterable[Line], facts: Facts) -> Iterator[Act]:
    runs = _by((line for line in lines if not line.flow.startswith(OWN)), _schedule_of)
    for name in facts.schedules:
        since = facts.noted.get(f"schedule {name}", 0)
        last = sorted((line for line in runs.get(name, ()) if line.started_us > since and _counts(line)), key=lambda each: -each.started_us)
        if len(last) >= IN_A_ROW and all(map(_bad, last[:IN_A_ROW])):
            yield Act(kind="schedule", about=name, why=f"the last {IN_A_ROW} runs of {last[0].flow} ended badly")


def _queues(lines: Sequence[Line], facts: Facts, now_s: float) -> Iterator[Act]:
    """Queues in which nothing ends well. Never one that the guard itself stands in; what a schedule started counts for the schedule."""
    if not facts.queues:
        return
    own = {line.queue for line in lines if line.flow.startswith(OWN)}
    for name, inside in sorted(_by(lines, lambda line: line.queue).items()):
        if not name or name in own or name in facts.paused:
            continue
        since_us = max(facts.noted.get(f"queue {name}", 0), round((now_s - HOUR_S) * 1_000_000))
        lately = [line for line in inside if line.started_us > since_us and _counts(line) and not _schedule_of(line)]
        if len(lately) >= MIN_EVENTS and all(map(_bad, lately)):
            yield Act(kind="queue", about=name, why=f"all {len(lately)} that ended in the last hour ended badly")


def _schedule_of(line: Line) -> str:
    """The schedule that started `line`: anybody may give a run of theirs the label, nobody the name."""
    name = line.labels.get(LABEL, "")
    return name if name and line.execution.startswith(f"{name}@") else ""


def _counts(line: Line) -> bool:
    return _bad(line) or line.status == Status.DONE


def _bad(line: Line) -> bool:
    return line.status in (Status.FAILED, Status.DEAD)


def _by(lines: Iterable[Line], key: Callable[[Line], str]) -> Mapping[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(key(line), []).append(line)
    return found
