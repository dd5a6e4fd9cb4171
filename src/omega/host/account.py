"""An account of an execution: what its journal says, step by step, as data that a command prints or a program reads.

Readable without opening anything: names, effects, times, costs and decisions stand in the rows. Values and the words of errors are sealed,
and opened only when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from omega.host.reading import Archive
from omega.kernel.errors import Denied, IntegrityError, OmegaError
from omega.kernel.journal import Kind, Note, Row, Status, Step, decode_meta, name_of
from omega.kernel.past import Past, Recorded
from omega.kernel.people import question_of
from omega.kernel.ports import Line
from omega.kernel.trail import shown
from omega.runtime.book import Book
from omega.runtime.children import CHILD
from omega.runtime.recovery import load, read_outcome

DENIED = "denied"
"""How an execution stands in a list that ended because the gate refused it; its line says `failed`."""

ERASED = "erased: its key was destroyed"
_CHOICES = {Kind.VALUE: "value", Kind.TIMER: "timer", Kind.CHOSE: "choice"}


def moment(at_us: int) -> str:
    """Unix microseconds as ISO 8601 in UTC; empty for none."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at_us else ""


def moment_us(text: str) -> int:
    """Unix microseconds of what `moment` wrote; 0 for none, and for what is no moment."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000) if text else 0
    except ValueError:
        return 0


def summary(line: Line, *, in_hands: bool) -> dict[str, Any]:
    """One execution in a list. `interrupted` says that it stands as running and no engine has it in hand."""
    return {
        "execution": line.execution,
        "tenant": line.tenant,
        "flow": line.flow,
        "version": line.version,
        "status": line.status,
        "interrupted": line.status == Status.RUNNING and not in_hands,
        "principal": line.principal,
        "target": line.target,
        "started": moment(line.started_us),
        "updated": moment(line.updated_us),
        "took_s": round((line.updated_us - line.started_us) / 1_000_000, 3),
        "queue": line.queue,
        "key": line.key,
        "priority": line.priority,
        "due": moment(line.due_us),
        "tries": line.tries,
        "parent": line.parent,
        "labels": dict(line.labels),
        "origin": line.origin,
    }


def standing(archive: Archive, line: Line) -> dict[str, Any]:
    """One execution in a list as a person reads it: what the gate refused is `denied`, by the `policies` that said no, and has not failed.

    The end of a failed one is opened to tell; one that was erased stays what its line says.
    """
    told = summary(line, in_hands=archive.in_hands(line))
    if line.status != Status.FAILED:
        return told
    try:
        error = read_outcome(archive.world, line.execution).error
    except OmegaError:
        return told
    if error is None or error.get("family") != Denied.family:
        return told
    details = error.get("details")
    policies = details.get("policies") if isinstance(details, Mapping) else None
    return told | {"status": DENIED, "code": str(error.get("code", "")), "policies": list(policies or ())}


def account(archive: Archive, execution: str, *, values: bool = False) -> dict[str, Any]:
    """Everything recorded of `execution`; with `values` inputs, results and the words of errors too.

    Raises InputError (OMG-I003), IntegrityError (OMG-S005 damaged, OMG-T004 erased when values are asked for).
    """
    line, past, book = _opened(archive, execution, values=values)
    in_hands = archive.in_hands(line)
    steps = _steps(past, running=line.status == Status.RUNNING and in_hands, book=book)
    for step in steps:
        if "child" in step:
            step["status"] = _child_status(archive, step["child"])
    told = summary(line, in_hands=in_hands) | {
        "resumed": past.resumed,
        "cancelled": past.cancelled is not None,
        "calls": past.spent.calls,
        "cost_micros": past.spent.cost_micros,
        "tokens": past.spent.tokens,
        "decision": past.start.decision if past.start is not None else None,
        "steps": steps,
        "signals": [{"name": name, "by": note.by, "at": moment(note.at_us)} for name, note in _signals(past)],
        "error": _end_error(past),
    }
    if book is not None:
        told["input"] = json.loads(book.open(past.rows[0]))["input"]
        told |= _end_value(past, book)
    return told


def past_of(archive: Archive, execution: str) -> tuple[Line, Past]:
    """The line and the folded journal of `execution`. Raises InputError (OMG-I003), IntegrityError (OMG-S005)."""
    line, past, _ = _opened(archive, execution, values=False)
    return line, past


def _opened(archive: Archive, execution: str, *, values: bool) -> tuple[Line, Past, Book | None]:
    from omega.kernel.errors import InputError

    line = archive.reader.line(execution)
    if line is None:
        raise InputError("OMG-I003", f"{execution[:80]} is not recorded in {archive.settings.place}")
    if values:
        past, book, _ = load(archive.world, execution)
        return line, past, book
    return line, Past(archive.reader.rows(execution)), None


def _steps(past: Past, *, running: bool, book: Book | None) -> list[dict[str, Any]]:
    """The steps in the order in which they were begun; attempts at one step are one entry, told by the last of them."""
    groups: dict[str, list[Recorded]] = {}
    for recorded in past.at.values():
        groups.setdefault(f"{recorded.first.kind in _CHOICES} {shown(recorded.position)}", []).append(recorded)
    return [_entry(group, running=running, book=book) for group in groups.values()]


def _entry(group: list[Recorded], *, running: bool, book: Book | None) -> dict[str, Any]:
    last = group[-1]
    if last.first.kind in _CHOICES:
        return _choice(group)
    if last.first.kind == Kind.CHILD:
        return _child(last)
    view = last.meta
    step = view.step
    entry: dict[str, Any] = {"step": shown(last.position), "position": last.position, "status": _status(last, running=running)}
    if step is not None:
        entry |= {
            "flow": step.flow,
            "version": step.version,
            "effect": step.effect,
            "kind": step.kind,
            "where": step.where,
            "began": moment(step.at_us),
        }
    metas = [meta for recorded in group for meta in _metas(recorded)]
    entry |= {
        "attempts": sum(_attempts(recorded) for recorded in group),
        "took_s": round(sum(meta.took_us for meta in metas) / 1_000_000, 6),
        "cost_micros": sum(meta.cost_micros for meta in metas),
        "tokens": sum(meta.tokens for meta in metas),
        "decision": next((meta.decision for meta in reversed(metas) if meta.decision), None),
        "approved_by": [note.by for note in last.approvals],
        "error": _brief(last),
    }
    entry |= _asked(last)
    if entry["approved_by"] and entry["status"] == "waiting":
        entry["status"] = "approved"
    if book is not None:
        entry |= _sealed(last, book)
    return entry


def _asked(recorded: Recorded) -> dict[str, Any]:
    """What a step asks a person, and whether somebody has answered."""
    question = question_of(recorded)
    if question is None:
        return {}
    asks = question.record() | {"until": moment(question.due_us) if question.due_us else None}
    return {"asks": asks} | ({"status": "answered"} if recorded.answer is not None else {})


def _choice(group: list[Recorded]) -> dict[str, Any]:
    """A decision that the flow met: a drawn value, a timer, the winner of a race, a time limit that passed."""
    last = group[-1]
    note = decode_meta(last.first)
    assert isinstance(note, Note)  # noqa: S101 - every kind but a step and a start has one
    told = _CHOICES[Kind(last.first.kind)]
    said = note.status or note.text
    if last.first.kind == Kind.TIMER:
        said = f"until {moment(note.value)}"
    elif last.first.kind == Kind.VALUE and note.status == CHILD:
        said = "what the child gave"
    elif last.first.kind == Kind.CHOSE and note.status in ("won", "failed"):
        said = f"branch {note.value} {note.status}"
    return {"step": shown(last.position), "position": last.position, "record": told, "said": said, "at": moment(note.at_us)}


def _child(recorded: Recorded) -> dict[str, Any]:
    """The start of a child; how the child stands is on its own line, not in this journal."""
    note = decode_meta(recorded.first)
    assert isinstance(note, Note)  # noqa: S101 - the row of a child has one
    told = {"step": shown(recorded.position), "position": recorded.position, "record": "child"}
    return told | {"child": note.text, "queue": note.status, "said": note.text, "at": moment(note.at_us)}


def _child_status(archive: Archive, child: str) -> str:
    line = archive.reader.line(child)
    if line is None:
        return ""
    interrupted = line.status == Status.RUNNING and not archive.in_hands(line)
    return "interrupted" if interrupted else str(line.status)


def _status(recorded: Recorded, *, running: bool) -> str:
    if recorded.settled is not None:
        return {Kind.DONE: "done", Kind.OVERRIDE: "overridden"}.get(Kind(recorded.settled.kind), "failed")
    if recorded.denied is not None:
        return "denied"
    if recorded.intent is None:
        return "waiting" if recorded.waiting is not None else "begun"
    if running:
        return "running"
    if recorded.resolved is not None:
        return "resolved"
    return "in doubt" if recorded.in_doubt else "interrupted"


def _attempts(recorded: Recorded) -> int:
    """How often it was tried: once per intent; a pure step, which has none, once per outcome."""
    tried = sum(row.kind == Kind.INTENT for row in recorded.rows)
    return tried or int(recorded.settled is not None)


def _metas(recorded: Recorded) -> Iterable[Step]:
    for row in recorded.rows:
        meta = decode_meta(row)
        if isinstance(meta, Step):
            yield meta


def _brief(recorded: Recorded) -> dict[str, Any] | None:
    step = recorded.meta.step
    return step.error if step is not None else None


def _sealed(recorded: Recorded, book: Book) -> dict[str, Any]:
    row = recorded.settled or recorded.denied or recorded.resolved
    if row is None or row.payload is None:
        return {}
    found = _open(book, row)
    return {"error": found} if row.kind in (Kind.FAILED, Kind.DENIED) else {"value": found}


def _open(book: Book, row: Row) -> Any:
    try:
        return json.loads(book.open(row))
    except IntegrityError:
        return ERASED


def _end_error(past: Past) -> dict[str, Any] | None:
    note = decode_meta(past.finished) if past.finished is not None else None
    return note.error if isinstance(note, Note) else None


def _end_value(past: Past, book: Book) -> dict[str, Any]:
    if past.finished is None:
        return {}
    note = decode_meta(past.finished)
    done = isinstance(note, Note) and note.status == Status.DONE
    return {"value" if done else "error": _open(book, past.finished)}


def _signals(past: Past) -> Iterable[tuple[str, Note]]:
    for name, rows in past.signals.items():
        for row in rows:
            note = decode_meta(row)
            if isinstance(note, Note):
                yield name, note


def label_of(position: str) -> str:
    """The last word of a position, as a tree shows it."""
    return name_of(position)
