"""What people decide about an execution: cancel it, approve a step, say what became of a step in doubt, send it a signal.

Each decision is a gated act of its own kind, recorded as a row of the execution and as a leaf, whether the execution runs here or stands
still.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.journal import Kind, Note, Status, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.ports import Head
from omega.kernel.scope import Scope
from omega.kernel.trail import shown
from omega.runtime.book import Book
from omega.runtime.engine import Engine
from omega.runtime.recovery import LEASE_US, load
from omega.warden.approvals import OWNER, approve

MAX_NAME = 64
"""Longest name of a signal, in characters."""


async def decide(engine: Engine, execution: str, verb: str, body: Mapping[str, Any], scope: Scope) -> None:
    """Carry out `verb` (cancel, approve, resolve, signal) on `execution` for the person of `scope`.

    Raises InputError: OMG-I003 unknown execution, OMG-I004 unknown or ambiguous step, OMG-I005 nothing to decide;
    Denied: OMG-W007 when this person may not approve, OMG-W001 when they may not decide.
    """
    rule = _VERBS.get(verb)
    if rule is None:
        raise InputError("OMG-X001", f"{verb[:40]!r} is no decision: cancel, approve, resolve or signal")
    await rule(engine, execution, body, scope)


async def _cancel(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    book, _ = await _take(engine, execution, scope, _entitled)
    if engine.cancel(execution, scope.principal):
        return
    now = engine.world.clock.now_us()
    error = OmegaError("OMG-R005", f"cancelled by {scope.principal}")
    rows = (
        book.row(Kind.CANCEL, "", Note(by=scope.principal, at_us=now)),
        book.row(Kind.FINISHED, "", Note(by=scope.principal, at_us=now, status=Status.CANCELLED), json.dumps(error.record()).encode()),
    )
    leaf = book.leaf("cancel", at_us=now, status=Status.CANCELLED, reason=f"by {scope.principal}")
    await book.commit(*rows, leaves=(leaf,), head=Head(status=Status.CANCELLED, at_us=now))


async def _approve(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    book, past = await _take(engine, execution, scope)
    step = one_step(past, str(body.get("step", "")), past.waits(), "waits for an approval")
    known = {note.by for note in step.approvals}
    meta = step.waiting and decode_meta(step.waiting)
    decision = meta.decision if isinstance(meta, Step) and meta.decision else {}
    by = approve(scope, role=str(decision.get("role", "")), requester=book.scope)
    if by in known:
        raise InputError("OMG-I005", f"{shown(step.position)} is approved already by {by}", advice=f"omega resume {execution}")
    now = engine.world.clock.now_us()
    row = book.row(Kind.APPROVED, step.position, Note(by=by, at_us=now))
    leaf = book.leaf("approve", at_us=now, step=step.position, reason=f"by {by}")
    await book.commit(row, leaves=(leaf,))


async def _resolve(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    book, past = await _take(engine, execution, scope, _entitled)
    step = one_step(past, str(body.get("step", "")), past.doubts(), "is in doubt")
    now = engine.world.clock.now_us()
    done = bool(body.get("done"))
    plain = json.dumps(body.get("value")).encode() if done else None
    note = Note(by=scope.principal, at_us=now, status="done" if done else "not done", output=book.commitment(plain) if plain else b"")
    row = book.row(Kind.RESOLVED, step.position, note, plain)
    leaf = book.leaf("resolve", at_us=now, step=step.position, status=note.status, output=note.output.hex(), reason=f"by {scope.principal}")
    await book.commit(row, leaves=(leaf,))


async def _signal(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    name = str(body.get("name", ""))
    if not 0 < len(name) <= MAX_NAME:
        raise InputError("OMG-I001", f"a signal needs a name of 1 to {MAX_NAME} characters")
    book, _ = await _take(engine, execution, scope, _entitled)
    now = engine.world.clock.now_us()
    plain = json.dumps(body.get("value")).encode()
    row = book.row(Kind.SIGNAL, name, Note(by=scope.principal, at_us=now, output=book.commitment(plain)), plain)
    leaf = book.leaf("admin", at_us=now, step=name, output=book.commitment(plain).hex(), reason=f"signal by {scope.principal}")
    await book.commit(row, leaves=(leaf,))
    live = engine.book_of(execution)
    if live is not None:
        live[1].signals.setdefault(name, []).append(row)


def _anybody(scope: Scope, requester: Scope) -> str:
    """An approval is judged by its role (`omega.warden.approvals`), once the step is known."""
    return ""


def _entitled(scope: Scope, requester: Scope) -> str:
    """Why `scope` may not decide about an execution of `requester`; empty when it may: an owner, or whoever started it, in person."""
    if not scope.principal.startswith("person:") or scope.actors:
        return "only a person acting themself decides about an execution"
    if scope.principal != requester.principal and OWNER not in scope.groups:
        return f"{scope.principal} neither started it nor is an owner"
    return ""


async def _take(engine: Engine, execution: str, scope: Scope, rule: Callable[[Scope, Scope], str] = _anybody) -> tuple[Book, Past]:
    """The book of `execution`: the live one while it runs here, else one of its own under a new epoch.

    What `rule` says against it is a denial, recorded; an execution of another tenant is not there at all.
    """
    live = engine.book_of(execution)
    past, book = (live[1], live[0]) if live is not None else load(engine.world, execution)[:2]
    if book.scope.tenant != scope.tenant:
        raise InputError("OMG-I003", f"{execution} is not recorded here")
    refusal = rule(scope, book.scope)
    if refusal:
        leaf = book.leaf("deny", at_us=engine.world.clock.now_us(), code="OMG-W001", decision="deny", reason=refusal)
        await book.commit(leaves=(leaf,))
        raise Denied("OMG-W001", refusal, advice="have an owner, or whoever started it, decide with their own passport")
    if live is not None:
        return book, Past(engine.world.reader.rows(execution))
    if past.finished is not None:
        raise InputError("OMG-I005", f"{execution} has ended")
    now = engine.world.clock.now_us()
    epoch = await engine.world.store.claim(execution, owner=engine.world.owner, lease_us=now + LEASE_US, now_us=now)
    past, book, _ = load(engine.world, execution)  # again: rows that were handed over but not yet on disk are there now
    book.epoch = epoch
    return book, past


def one_step(past: Past, text: str, open_steps: list[Recorded], state: str) -> Recorded:
    """The step that a person means by `text` among those that are open; with no text the only one there is."""
    meant = [step for step in (past.find(text) if text else open_steps) if step in open_steps]
    if len(meant) == 1:
        return meant[0]
    choices = ", ".join(shown(step.position) for step in (meant or open_steps)[:10])
    if not open_steps:
        raise InputError("OMG-I005", f"no step of it {state}")
    if not meant:
        raise InputError("OMG-I004", f"{text[:80]!r} is no step that {state}; these are: {choices}")
    raise InputError("OMG-I004", f"{text[:80] or 'that'!r} could be any of: {choices}")


_VERBS = {"cancel": _cancel, "approve": _approve, "resolve": _resolve, "signal": _signal}
