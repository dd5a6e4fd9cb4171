"""What a journal says has happened: the fold of an execution's rows, and the check that a flow repeats it.

Pure: rows in, answers out. Recovery, replay and `omega show` read the same fold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.budget import Spent
from omega.kernel.errors import FlowError
from omega.kernel.journal import STEP_KINDS, Kind, Note, Row, Start, Status, Step, branch_of, decode_meta, digest_of, name_of
from omega.kernel.trail import Trail, shown

UNDOABLE = "undoable"
"""The status of a choice that tells that work was begun which is undone when it fails or is cancelled."""

ANSWERED_OTHERWISE = frozenset({"form", "signal"})
"""Kinds of steps that wait for a person, but not for an approval."""

TIMED = frozenset({"OMG-R020", "OMG-R021"})
"""What an execution stands still for without anybody having to act: a moment, a child."""

_ORDERED = STEP_KINDS | {Kind.VALUE, Kind.TIMER, Kind.CHOSE, Kind.CHILD}
_SETTLED = frozenset({Kind.DONE, Kind.FAILED, Kind.OVERRIDE, Kind.VALUE, Kind.TIMER, Kind.CHOSE, Kind.CHILD})


@dataclass(slots=True)
class Recorded:
    """All that is recorded of one position: the row that settled it, the open intent before it, and what people said."""

    position: str
    first: Row
    settled: Row | None = None
    intent: Row | None = None
    denied: Row | None = None
    waiting: Row | None = None
    resolved: Row | None = None
    answer: Row | None = None
    approvals: list[Note] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take in the next row about this position."""
        self.rows.append(row)
        match row.kind:
            case Kind.INTENT:
                self.intent, self.denied, self.waiting, self.resolved = row, None, None, None
            case Kind.DENIED:
                self.denied = row
            case Kind.NEEDS:
                self.waiting = row
            case Kind.RESOLVED:
                self.resolved = row
            case Kind.ANSWERED:
                self.answer = row
            case Kind.APPROVED:
                note = decode_meta(row)
                if isinstance(note, Note):
                    self.approvals.append(note)
            case kind if kind in _SETTLED:
                self.settled = row

    @property
    def in_doubt(self) -> bool:
        """Whether a touch that must not be repeated was begun and nobody knows how it ended."""
        return self.settled is None and self.intent is not None and self.resolved is None and not self.meta.effect_repeatable

    @property
    def meta(self) -> StepView:
        """The step as last described by a row about it."""
        latest = self.settled or self.waiting or self.denied or self.intent or self.first
        meta = decode_meta(latest)
        return StepView(meta if isinstance(meta, Step) else None, latest)


@dataclass(frozen=True, slots=True)
class StepView:
    """A recorded step, readable whatever kind of row it came from."""

    step: Step | None
    row: Row

    @property
    def effect_repeatable(self) -> bool:
        """Whether the recorded effect may be repeated; a row without one is no touch."""
        return self.step is None or self.step.effect in ("pure", "read", "idempotent")

    @property
    def kind(self) -> str:
        """What kind of flow it is, as recorded."""
        return self.step.kind if self.step is not None else ""

    @property
    def name(self) -> str:
        """The flow's name as recorded, or the decision's."""
        return self.step.flow if self.step is not None else name_of(self.row.position)


class Past:
    """The recorded past of one execution, indexed by position and by branch."""

    __slots__ = (
        "at",
        "cancelled",
        "chosen",
        "covered",
        "dead",
        "digest",
        "finished",
        "migrated",
        "order",
        "paused_at",
        "paused_us",
        "redriven",
        "resumed",
        "rows",
        "signals",
        "spent",
        "start",
        "undoable",
        "visited",
    )

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self.digest = digest_of(self.rows)
        self.at: dict[str, Recorded] = {}
        self.order: dict[str, list[str]] = {}
        self.chosen: set[str] = set()
        self.covered: set[str] = set()
        self.signals: dict[str, list[Row]] = {}
        self.visited: set[str] = set()
        self.start: Start | None = None
        self.finished: Row | None = None
        self.cancelled: Row | None = None
        self.migrated: Row | None = None
        self.redriven = 0
        self.dead = False
        self.undoable = False
        self.resumed = 0
        self.paused_at = 0
        self.paused_us = 0
        self.spent = Spent()
        for row in self.rows:
            self._fold(row)

    def _fold(self, row: Row) -> None:
        match row.kind:
            case Kind.STARTED:
                meta = decode_meta(row)
                self.start = meta if isinstance(meta, Start) else None
                self.paused_at = self.start.due_us if self.start is not None else 0
            case Kind.FINISHED:
                self.finished = row
            case Kind.CANCEL:
                self.cancelled = row
            case Kind.PAUSED:
                self.dead = _status(row) == Status.DEAD
                self.paused_at = 0 if _is_timed(row) else _when(row)
            case Kind.RESUMED:
                self.resumed += 1
                self.dead = False
                self.paused_us += max(0, _when(row) - self.paused_at) if self.paused_at else 0
                self.paused_at = 0
            case Kind.FORKED:
                self._take_over(row)
            case Kind.MIGRATED:
                self.migrated = row
                self._ask_anew()
            case Kind.REDRIVEN:
                self.redriven += 1
                self.dead = False
            case Kind.SIGNAL:
                self.signals.setdefault(row.position, []).append(row)
            case _:
                self._fold_step(row)

    def _take_over(self, row: Row) -> None:
        """A fork goes on where its origin stood at `value`: the time in between runs down no deadline of it."""
        note = decode_meta(row)
        if isinstance(note, Note):
            self.paused_us += max(0, note.at_us - note.value)
            self.paused_at = 0
        self._ask_anew()

    def _ask_anew(self) -> None:
        """Whoever was asked, in a fork's origin or by the version before, is asked again: an approval is good for one touch of the code
        that asked for it, and a time to answer begins when it is asked."""
        for recorded in self.at.values():
            if recorded.settled is None:
                recorded.waiting = recorded.answer = None
                recorded.approvals.clear()

    def _fold_step(self, row: Row) -> None:
        known = self.at.get(row.position)
        if known is None:
            known = self.at[row.position] = Recorded(row.position, row)
            if row.kind in _ORDERED:
                self.order.setdefault(branch_of(row.position), []).append(row.position)
        known.add(row)
        if row.kind == Kind.CHOSE:
            self._choose(row)
        elif row.kind == Kind.VALUE:
            self._use_up(row)
        elif row.kind == Kind.INTENT:
            self.spent += Spent(calls=1)
        elif row.kind in (Kind.DONE, Kind.FAILED):
            step = decode_meta(row)
            if isinstance(step, Step):
                self.spent += Spent(step.cost_micros, step.tokens)

    def _choose(self, row: Row) -> None:
        note = decode_meta(row)
        if isinstance(note, Note) and note.status == UNDOABLE:
            self.undoable = True
        else:
            self.chosen.add(row.position)

    def _use_up(self, row: Row) -> None:
        """A value that came as a signal: the oldest one of its name is read, and not there for the next who waits."""
        note = decode_meta(row)
        if isinstance(note, Note) and note.status == "signal" and self.signals.get(note.text):
            self.signals[note.text].pop(0)

    # -- repeating it

    def meet(self, trail: Trail, position: str, name: str, where: str) -> Recorded | None:
        """What is recorded for the next step of `trail`, which must be at `position`; None past the end of what is recorded.

        Raises FlowError (OMG-R014) naming both steps, with file and line, when something else is recorded there.
        """
        recorded = self.order.get(trail.path)
        if recorded is None:
            self.visited.add(trail.path)
            return None
        self.visited.add(trail.path)
        if trail.cursor >= len(recorded):
            return None
        expected = recorded[trail.cursor]
        if expected != position:
            raise self.diverged(expected, position, name, where)
        trail.cursor += 1
        return self.at[position]

    def decided(self, trail: Trail, position: str) -> Recorded | None:
        """What was decided at `position`, where a decision is recorded only when it was needed (a winner, a time limit that passed)."""
        recorded = self.order.get(trail.path)
        if recorded is None or trail.cursor >= len(recorded) or recorded[trail.cursor] != position:
            return None
        self.visited.add(trail.path)
        trail.cursor += 1
        return self.at[position]

    def left_over(self, trail: Trail) -> str | None:
        """A recorded position of `trail` that the flow, now at its end, did not reach."""
        recorded = self.order.get(trail.path, ())
        return recorded[trail.cursor] if trail.cursor < len(recorded) else None

    def unvisited(self) -> str | None:
        """A recorded position in a branch that the flow never entered and that no decision explains."""
        for branch, positions in self.order.items():
            if branch in self.visited or any(branch.startswith((chosen, _aside(chosen))) for chosen in self.chosen):
                continue
            if not any(is_under(branch, position) for position in self.covered):
                return positions[0]
        return None

    def diverged(self, recorded: str, now: str, name: str, where: str) -> FlowError:
        """The error that names the recorded step and the present one. `now` is empty when the flow simply ends."""
        view = self.at[recorded].meta
        was = view.step
        then = f"{shown(recorded)} ({was.where or 'no source'}, {was.flow} {was.version})" if was else shown(recorded)
        present = f"{shown(now)} ({where or 'no source'})" if now else f"the end of {name}"
        return FlowError(
            "OMG-R014",
            f"recorded {then}, now {present}",
            details={
                "recorded": {
                    "step": shown(recorded),
                    "flow": view.name,
                    "where": was.where if was else "",
                    "version": was.version if was else "",
                },
                "now": {"step": shown(now), "flow": name, "where": where},
            },
        )

    # -- reading it

    def doubts(self) -> list[Recorded]:
        """The steps whose fate is unknown."""
        return [step for step in self.at.values() if step.in_doubt]

    def waits(self) -> list[Recorded]:
        """The steps that wait for the approval of a person."""
        return [step for step in self._asking() if step.meta.kind not in ANSWERED_OTHERWISE]

    def questions(self) -> list[Recorded]:
        """The steps that wait for a person to fill in a form, and have no answer yet."""
        return [step for step in self._asking() if step.meta.kind == "form" and step.answer is None]

    def _asking(self) -> list[Recorded]:
        return [step for step in self.at.values() if step.waiting is not None and step.settled is None]

    def find(self, text: str) -> list[Recorded]:
        """The steps that a person may mean by `text`: the exact position, the shown one, or its last words."""
        exact = self.at.get(text)
        if exact is not None:
            return [exact]
        matches = [step for position, step in self.at.items() if shown(position) == text]
        tail = text.replace("/", ":")
        return matches or [
            step
            for position, step in self.at.items()
            if shown(position).endswith((f"/{text}", f":{tail}", f"/{tail}")) or step.meta.name == text
        ]


def _when(row: Row) -> int:
    note = decode_meta(row)
    return note.at_us if isinstance(note, Note) else 0


def _status(row: Row) -> str:
    note = decode_meta(row)
    return note.status if isinstance(note, Note) else ""


def _is_timed(row: Row) -> bool:
    """Whether a pause is one that a clock ends: such a wait is the flow's own time, and runs down its deadline."""
    note = decode_meta(row)
    return isinstance(note, Note) and note.text in TIMED


def is_under(branch: str, position: str) -> bool:
    """Whether `branch` belongs to the step or branch at `position`."""
    return branch == position or (branch.startswith(position) and branch[len(position)] in "/.~")


def _aside(position: str) -> str:
    """The branch that a time limit at `position` sets apart begins with the path of its trail and a mark."""
    return f"{branch_of(position)}~"


def outline_change(recorded: list[list[str]], now: list[list[str]]) -> dict[str, Any] | None:
    """The first part in which two outlines differ, as {"recorded": ..., "now": ...}; None when they agree.

    Lines are `Flow.outline()`: name, version, effect, where, code digest. Where a part stands in its file does not matter, what it is does.
    """
    for index in range(max(len(recorded), len(now))):
        was = recorded[index] if index < len(recorded) else None
        here = now[index] if index < len(now) else None
        if was is None or here is None or [*was[:3], was[4]] != [*here[:3], here[4]]:
            return {"recorded": _leaf(was), "now": _leaf(here)}
    return None


def _leaf(line: list[str] | None) -> dict[str, str]:
    if line is None:
        return {"step": "nothing", "where": "", "version": "", "code": ""}
    return {"step": line[0], "version": line[1], "effect": line[2], "where": line[3], "code": line[4]}
