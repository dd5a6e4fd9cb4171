"""What people decide about an execution: cancel it, approve a step, say what became of a step in doubt, send it a signal.

Each decision is a gated act of its own kind, recorded as a row of the execution and as a leaf, whether the execution runs here or stands
still.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omega.kernel.errors import Denied, InputError
from omega.kernel.journal import Kind, Note, Row, Status, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.ports import NEVER, Head
from omega.kernel.scope import Scope
from omega.kernel.trail import shown
from omega.kernel.types import check_schema
from omega.kernel.verdict import Decision
from omega.runtime.book import Book
from omega.runtime.cancelling import cancel_live, cancel_standing
from omega.runtime.engine import Engine
from omega.runtime.people import in_time
from omega.runtime.recovery import load
from omega.trust.letter import refused
from omega.warden.admit import Act
from omega.warden.approvals import LASTS_S, PASSKEY, STEP_UP, answer, approve

MAX_ANSWER = 1 << 20
"""Largest answer to a form, in bytes as JSON."""

MAX_NAME = 64
"""Longest name of a signal, in characters."""


_BY_LETTER = frozenset({Kind.APPROVED, Kind.ANSWERED, Kind.RESOLVED, Kind.SIGNAL, Kind.REDRIVEN})
"""The rows that say by which letter they came. A cancellation comes but once."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The letter by which a decision came: its number in the inbox, and the id that its writer sealed into it."""

    number: int = 0
    id: str = ""


async def decide(engine: Engine, execution: str, verb: str, body: Mapping[str, Any], scope: Scope, *, letter: Sent | None = None) -> None:
    """Carry out `verb` (cancel, approve, answer, resolve, signal, redrive) on `execution` for the person of `scope`.

    What stands still and belongs to a queue is due then. `letter` is the one that asked for it, so that one read twice is carried out
    once.

    Raises InputError: OMG-I003 unknown execution, OMG-I004 unknown or ambiguous step, OMG-I005 nothing to decide;
    Denied: OMG-W007 when this person may not approve, OMG-W001 when they may not decide, OMG-T009 for a copy of a letter.
    """
    rule = _VERBS.get(verb)
    if rule is None:
        raise InputError("OMG-X001", f"{verb[:40]!r} is no decision: cancel, approve, answer, resolve, signal or redrive")
    letter = letter or Sent()
    if letter.id and _came(engine, execution, letter):
        return
    try:
        await rule(engine, execution, {**body, "letter": letter}, scope)
    finally:
        await _let_go(engine, execution)
    await engine.hint(execution)


def _came(engine: Engine, execution: str, letter: Sent) -> bool:
    """Whether `letter` was carried out, and only not settled. Raises Denied (OMG-T009) for a copy of one that was."""
    for row in engine.world.reader.rows(execution):
        note = decode_meta(row) if row.kind in _BY_LETTER else None
        if isinstance(note, Note) and note.letter == letter.id:
            if note.value != letter.number:
                raise refused("it is a copy of one that was carried out")
            return True
    return False


async def _let_go(engine: Engine, execution: str) -> None:
    """Give back what was claimed to decide about it: whoever goes on with it need not wait for the lease to end."""
    line = engine.world.reader.line(execution)
    if line is not None and line.owner == engine.world.owner and not engine.runs(execution):
        await engine.world.store.release(execution)


async def write(engine: Engine, book: Book, row: Row, leaf: bytes) -> None:
    """Write a decision down. In the same transaction the execution becomes due; one that is being run, when it next stands still."""
    execution = book.execution
    if engine.runs(execution):
        await book.commit(row, leaves=(leaf,), wake=(execution,))
        return
    line, now = engine.world.reader.line(execution), engine.world.clock.now_us()
    if line is None or line.status == Status.DEAD:
        await book.commit(row, leaves=(leaf,))
    elif line.queue:
        await book.commit(row, leaves=(leaf,), head=Head(status=line.status, at_us=now, due_us=now))
    else:  # a child that runs in its parent's engine goes on when its parent does
        await book.commit(row, leaves=(leaf,), wake=(line.parent,) if line.parent else ())
        await engine.hint(line.parent)


async def _cancel(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    book, past = await _take(engine, execution, scope, "cancel")
    await _proven(engine, book, scope, body, ("cancel", execution, ""))
    live = engine.book_of(execution)
    if live is not None:
        await cancel_live(engine, *live, scope.principal)
    else:
        await cancel_standing(engine, book, past, scope.principal)


async def _redrive(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    line = engine.world.reader.line(execution)
    if line is not None and line.tenant == scope.tenant and line.status != Status.DEAD:
        raise InputError("OMG-I005", f"{execution} is {line.status}, not dead", advice="only what was given up can be redriven")
    book, _ = await _take(engine, execution, scope, "redrive")
    now = engine.world.clock.now_us()
    row = book.row(Kind.REDRIVEN, "", _note(body, by=scope.principal, at_us=now))
    leaf = book.leaf("admin", at_us=now, reason=f"redriven by {scope.principal}")
    queued = line is not None and bool(line.queue)
    head = Head(status=Status.QUEUED if queued else Status.WAITING, at_us=now, due_us=now if queued else NEVER)
    await book.commit(row, leaves=(leaf,), head=head)


async def _approve(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    book, past = await _take(engine, execution, scope)
    step = one_step(past, str(body.get("step", "")), past.waits(), "waits for an approval")
    since = engine.world.clock.now_us() - LASTS_S * 1_000_000
    known = {note.by for note in step.approvals if note.at_us >= since}
    meta = step.waiting and decode_meta(step.waiting)
    decision = meta.decision if isinstance(meta, Step) and meta.decision else {}
    role = str(decision.get("role", ""))
    by = approve(scope, role=role, requester=book.scope, aliases=engine.world.warden.aliases)
    await _gate(engine, book, past, scope, "approve", step.position)
    shown_with = await _proven(engine, book, scope, body, ("approve", execution, step.position), role)
    in_time(step, engine.world.clock.now_us())
    if by in known:
        raise InputError("OMG-I005", f"{shown(step.position)} is approved already by {by}", advice=f"omega resume {execution}")
    now = engine.world.clock.now_us()
    row = book.row(Kind.APPROVED, step.position, _note(body, by=by, at_us=now))
    leaf = book.leaf("approve", at_us=now, step=step.position, reason=f"by {by}{shown_with}")
    await write(engine, book, row, leaf)


async def _proven(engine: Engine, book: Book, scope: Scope, body: Mapping[str, Any], about: tuple[str, str, str], role: str = "") -> str:
    """How the person of `scope` has proved once more that it is them, to be recorded; empty where nothing of it came and none is asked for.
    `about` is the verb, the execution and the step: a passkey answers for these alone. Whatever came must hold.

    Raises Denied, recorded: OMG-T011 and OMG-T012 for a passkey, OMG-W007 for what is missing or a code that does not hold.
    """
    world, person = engine.world, (scope.tenant, scope.principal)
    shown_with = ""
    try:
        if "passkey" in body:
            shown_with = f" with the passkey {world.passkey(*person, about, body['passkey'])}"
        elif role == PASSKEY:
            raise Denied("OMG-W007", "the step takes a passkey", advice=f"omega mfa page {book.execution}")
        if "code" in body or (role == STEP_UP and not shown_with):
            if not world.second_factor(*person, body):
                advice = "give a fresh code: omega approve ID STEP --code CODE, or a passkey: omega mfa page ID"
                raise Denied("OMG-W007", "the second factor does not hold", advice=advice)
            shown_with = shown_with or " with a code"
    except Denied as error:
        reason, now = f"{scope.principal}: {error.cause}", world.clock.now_us()
        await book.commit(leaves=(book.leaf("deny", at_us=now, step=about[2], decision="deny", reason=reason, code=error.code),))
        raise
    return shown_with


async def _answer(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    """Fill in the form that a step waits for. The answer is checked against its schema before anything is recorded."""
    book, past = await _take(engine, execution, scope)
    step = one_step(past, str(body.get("step", "")), past.questions(), "waits for an answer")
    now = engine.world.clock.now_us()
    question = in_time(step, now)
    by = answer(scope, role=question.role, requester=book.scope)
    await _gate(engine, book, past, scope, "answer", step.position)
    check_schema(question.schema, body.get("value"))
    plain = json.dumps(body.get("value")).encode()
    if len(plain) > MAX_ANSWER:
        raise InputError("OMG-I001", f"an answer of {len(plain):,} bytes is over the limit of {MAX_ANSWER:,}")
    note = _note(body, by=by, at_us=now, output=book.commitment(plain))
    row = book.row(Kind.ANSWERED, step.position, note, plain)
    leaf = book.leaf("approve", at_us=now, step=step.position, output=note.output.hex(), reason=f"answered by {by}")
    await write(engine, book, row, leaf)


async def _resolve(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    book, past = await _take(engine, execution, scope, "resolve")
    step = one_step(past, str(body.get("step", "")), past.doubts(), "is in doubt")
    now = engine.world.clock.now_us()
    done = bool(body.get("done"))
    plain = json.dumps(body.get("value")).encode() if done else None
    said = "done" if done else "not done"
    note = _note(body, by=scope.principal, at_us=now, status=said, output=book.commitment(plain) if plain else b"")
    row = book.row(Kind.RESOLVED, step.position, note, plain)
    leaf = book.leaf("resolve", at_us=now, step=step.position, status=note.status, output=note.output.hex(), reason=f"by {scope.principal}")
    await write(engine, book, row, leaf)


async def _signal(engine: Engine, execution: str, body: Mapping[str, Any], scope: Scope) -> None:
    name = str(body.get("name", ""))
    if not 0 < len(name) <= MAX_NAME:
        raise InputError("OMG-I001", f"a signal needs a name of 1 to {MAX_NAME} characters")
    book, _ = await _take(engine, execution, scope, "signal")
    now = engine.world.clock.now_us()
    plain = json.dumps(body.get("value")).encode()
    row = book.row(Kind.SIGNAL, name, _note(body, by=scope.principal, at_us=now, output=book.commitment(plain)), plain)
    leaf = book.leaf("admin", at_us=now, step=name, output=book.commitment(plain).hex(), reason=f"signal by {scope.principal}")
    await write(engine, book, row, leaf)
    live = engine.book_of(execution)
    if live is not None:
        live[1].signals.setdefault(name, []).append(row)


def _note(body: Mapping[str, Any], **facts: Any) -> Note:
    """The note of a decision, with the letter by which it came."""
    letter: Sent = body["letter"]
    return Note(**facts, value=letter.number, letter=letter.id)


async def _gate(engine: Engine, book: Book, past: Past, scope: Scope, verb: str, step: str = "") -> None:
    """Ask the policies whether `scope` may do that. Raises Denied, recorded, when they say no."""
    now, start = engine.world.clock.now_us(), past.start
    act = Act(
        verb=verb,
        scope=scope,
        requester=book.scope,
        execution=book.execution,
        flow=start.flow if start is not None else _flow_of(engine, book),
        now=now / 1_000_000,
        step=step,
    )
    verdict = engine.world.warden.decide(act)
    if verdict.decision is Decision.ALLOW:
        return
    await book.commit(leaves=(book.leaf("deny", at_us=now, step=step, verdict=verdict),))
    details = {"policies": list(verdict.policies), "where": verdict.where, "verb": verb}
    raise Denied(verdict.code or "OMG-W001", f"{scope.principal} may not {verb} it: {verdict.reason}", advice=verdict.how, details=details)


def _flow_of(engine: Engine, book: Book) -> str:
    """The flow of an execution that runs here from its beginning: its past holds no start. Its digest, while its line is on its way."""
    line = engine.world.reader.line(book.execution)
    return line.flow if line is not None else book.flow_digest


async def _take(engine: Engine, execution: str, scope: Scope, verb: str = "") -> tuple[Book, Past]:
    """The book of `execution`: the live one while it runs here, else one of its own under a new epoch.

    Before, the gate is asked about `verb`; an approval or an answer is asked about once the step is known (no verb). An execution of
    another tenant is not there at all.
    """
    live = engine.book_of(execution)
    past, book = (live[1], live[0]) if live is not None else load(engine.world, execution)[:2]
    if book.scope.tenant != scope.tenant:
        raise InputError("OMG-I003", f"{execution} is not recorded here")
    if verb:
        await _gate(engine, book, past, scope, verb)
    if live is not None:
        return book, Past(engine.world.reader.rows(execution))
    if past.finished is not None:
        raise InputError("OMG-I005", f"{execution} has ended")
    now = engine.world.clock.now_us()
    epoch = await engine.world.store.claim(execution, owner=engine.world.owner, lease_us=now + engine.world.lease_us, now_us=now)
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


_VERBS = {"cancel": _cancel, "approve": _approve, "answer": _answer, "resolve": _resolve, "signal": _signal, "redrive": _redrive}
