"""Waiting for people: what a step does until somebody has approved it, answered it or sent what it waits for.

    asked            a row says what is asked, of whom, until when; the execution stands still
    answered         the step is admitted like any other and gives the answer
    time is over     the step fails, once and for all; what comes later is refused

The time runs from the first row on, by the wall clock: neither a crash nor standing still makes it longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import FlowError, InputError, Suspended
from omega.kernel.journal import Row, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.people import Approval, Awaited, Form, Person, Question, question_of
from omega.kernel.trail import shown
from omega.kernel.verdict import Decision, Verdict
from omega.warden.approvals import LASTS_S, PROVEN


def in_force(recorded: Recorded | None, now_us: int) -> tuple[str, ...]:
    """The approvals of a step that still count at `now_us` (Unix microseconds)."""
    if recorded is None:
        return ()
    oldest = now_us - LASTS_S * 1_000_000
    return tuple(note.by for note in recorded.approvals if note.at_us >= oldest)


def answered(flow: AnyFlow, position: str, recorded: Recorded | None, past: Past) -> bool:
    """Whether what the step asks for, beyond an approval, is there."""
    body = flow.body
    if isinstance(body, Form):
        return recorded is not None and recorded.answer is not None
    if isinstance(body, Awaited):
        return bool(past.signals.get(body.signal)) or taken(position, body.signal) in past.at
    return True


def taken(position: str, signal: str) -> str:
    """Where it is recorded that the step at `position` has used a signal up."""
    return f"{position}/signal.{signal}"


def asking(flow: AnyFlow, verdict: Verdict, execution: str, position: str) -> Verdict:
    """What the gate allows, put off until a person has answered."""
    body = flow.body
    if isinstance(body, Awaited):
        how, reason = f"omega signal {execution} {body.signal} VALUE", f"the flow {flow.name} waits for the signal {body.signal!r}"
    else:
        how, reason = f"omega answer {execution} {shown(position)}", f"the flow {flow.name} asks a person"
    role = body.role if isinstance(body, Person) else ""
    return replace(verdict, decision=Decision.NEEDS, role=role, how=how, reason=reason)


def asks(flow: AnyFlow, asked_us: int) -> dict[str, Any]:
    """What the row of a step that begins to wait at `asked_us` says beside the decision, for `question_of`."""
    body = flow.body
    if not isinstance(body, Person):
        return {}
    schema = flow.output.schema() if isinstance(body, Form) else {}
    asked: dict[str, Any] = {"kind": body.kind, "role": body.role, "due_us": body.due_us(asked_us), "schema": schema}
    return {"asks": asked | ({"signal": body.signal} if isinstance(body, Awaited) else {})}


def asked_role(waiting: Row) -> str:
    """The role that a row of a step which waits asks for; a step that needs several asks for them one after the other."""
    meta = decode_meta(waiting)
    return str((meta.decision or {}).get("role", "")) if isinstance(meta, Step) else ""


def overdue(position: str, recorded: Recorded | None, now_us: int) -> FlowError | None:
    """The failure of a step that asked and got no answer in time; None while there is time."""
    question = None if recorded is None else question_of(recorded)
    if question is None or not question.due_us or now_us < question.due_us:
        return None
    return FlowError("OMG-R043", f"{shown(position)} asked, and nobody answered in time", details={"step": shown(position)})


def halted(flow: AnyFlow, position: str, verdict: Verdict, due_us: int) -> Suspended:
    """Why the execution stands still, for whoever is to act. `due_us` (0: never) is when the step gives up."""
    step, body = shown(position), flow.body
    details: dict[str, Any] = {"step": step, "role": verdict.role, "flow": flow.name, "rule": list(verdict.policies)}
    details |= {"how": verdict.how.replace(position, step)} | ({"due_us": due_us} if due_us else {})
    if isinstance(body, Awaited):
        return Suspended("OMG-R018", f"{step} waits for the signal {body.signal!r}", details=details | {"signal": body.signal})
    if isinstance(body, Form):
        who = f"a person of role {body.role}" if body.role else "whoever started the run"
        return Suspended("OMG-R042", f"{step} asks {who} for {flow.output.name}", details=details | {"message": body.message})
    message = {"message": body.message} if isinstance(body, Approval) and body.message else {}
    persons = int(verdict.details.get("persons", 1))
    if verdict.role in PROVEN:
        return Suspended("OMG-R011", f"{step} needs the second factor of whoever asked for it", details=details, advice=details["how"])
    who = "one person" if persons == 1 else f"{persons} different persons ({verdict.details.get('have', 0)} so far)"
    return Suspended("OMG-R011", f"{step} needs the approval of {who} of role {verdict.role}", details=details | message)


def due_of(flow: AnyFlow, recorded: Recorded | None, now_us: int) -> int:
    """When a step that waits gives up (Unix microseconds; 0: never), counted from when it first asked."""
    body = flow.body
    if not isinstance(body, Person):
        return 0
    first = decode_meta(recorded.waiting) if recorded is not None and recorded.waiting is not None else None
    return body.due_us(first.at_us if isinstance(first, Step) else now_us)


def in_time(step: Recorded, now_us: int) -> Question:
    """What `step` asks. Raises InputError (OMG-I005) when it asks nothing, or its time is over."""
    question = question_of(step)
    if question is None:
        raise InputError("OMG-I005", f"{shown(step.position)} asks nothing")
    if question.due_us and now_us >= question.due_us:
        raise InputError("OMG-I005", f"the time to answer {shown(step.position)} is over", advice="resume the run: the step gives up")
    return question
