"""Forks: another execution with the same past up to a step, and a future of its own.

    origin   STARTED  load  parse  rank  report  FINISHED
    fork     └────── shared ──────┘ FORKED  OVERRIDE(rank)  report  FINISHED

A fork copies nothing: its line names the origin and how many of its rows it shares, its own rows are numbered on from there, its digest is
chained on, and what it seals it seals with the origin's data key (docs/adr/0011). So it costs one commit of a few hundred bytes wherever it
is cut, and destroying the origin's key destroys what the fork took over.

The cut lies before the first row about a step: that step and all that came after it happen anew, each touch of them through the gate again.
A value given for the step is recorded in place of what it did, with who gave it. A write that another branch had begun at the cut is in
doubt in the fork, as it would be after a crash at that moment.

Making one is a decision about the origin: of an owner, or of whoever started it and still holds the rights it was started with, in
person, with a passport that lasts. The fork keeps the origin's grant, limits and what was spent by then, also beyond the end of the
passport that the origin was admitted with; the entry is asked for anew, under the policies of now. What people decided goes no further than
it was meant: an approval that was not used up by the cut counts for the origin alone, and a value for a step that asks a role, or for one
after a step that asked it, is given by those who may decide in that role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import Denied, InputError
from omega.kernel.ids import EXECUTION, is_chosen_id, new_id
from omega.kernel.journal import Kind, Note, Row, Status, Step, decode_meta
from omega.kernel.past import ANSWERED_OTHERWISE, Past, Recorded, is_under
from omega.kernel.ports import NEVER, Head, Line
from omega.kernel.scope import Scope
from omega.kernel.trail import shown
from omega.kernel.types import ANY
from omega.kernel.verdict import Ask, Decision, Gate, Verdict
from omega.runtime.book import Book
from omega.runtime.engine import Engine
from omega.runtime.faults import denied
from omega.runtime.recovery import StartRecord, check_unchanged, demand_whole, load
from omega.warden.approvals import OWNER, answer, approve, entitled

_KEEP: Any = object()


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where a fork leaves its origin: the step, and what lies before it."""

    step: Recorded
    past: Past
    last_us: int


async def fork(
    engine: Engine,
    execution: str,
    flow: AnyFlow,
    scope: Scope,
    *,
    at: str,
    value: Any = _KEEP,
    name: str = "",
    labels: Mapping[str, str] | None = None,
) -> str:
    """Fork `execution` before its step `at`; gives the id of the fork (`name`, or a fresh one), which is on disk then and does not run yet.

    `flow` is the origin's, `at` a step as `omega show` prints it. With `value` (plain data or an instance of the step's output type) the
    step is not taken again: that is its result. When the origin came from a queue a worker goes on with the fork; else `Engine.resume`.

    Raises InputError: OMG-I003 unknown execution, OMG-I004 unknown or ambiguous step, OMG-I005 a step after a cancellation, OMG-I001 a
    value that does not fit, OMG-R010 a taken name; Denied: OMG-T001 when the passport of `scope` has ended or was revoked, OMG-W001 when
    this person may not decide or the entry is refused, OMG-W007 when the value would stand for what a role decides, or come after it, and
    this person may not decide in that role; FlowError: OMG-R014 when
    `flow` is not what the origin started with, OMG-R016 for a fork of too many forks.
    """
    world = engine.world
    past, book, record = load(world, execution)
    demand_whole(past)
    if book.scope.tenant != scope.tenant:
        raise InputError("OMG-I003", f"{execution} is not recorded here")
    await permitted(engine, book, scope)
    world.authority.check(book.scope)
    check_unchanged(record, flow, execution)
    cut = _cut(past, at)
    if value is not _KEEP:
        _entitled_to_say(past, cut, scope, book.scope)
    plain = None if value is _KEEP else _result(flow, cut.step, value)
    now = world.clock.now_us()
    line = world.reader.line(execution)
    assert line is not None  # noqa: S101 - it was just loaded
    name = _free(engine, name) if name else new_id(EXECUTION, now_ms=now // 1_000, entropy=world.entropy.take(10))
    verdict = await _entry(engine, book, flow, record, name, now)
    fresh = book.onward(name, cut.past)
    rows = _rows(fresh, cut, execution, scope.principal, plain, now)
    told = replace(verdict, reason=f"fork by {scope.principal}")  # of what, the FORKED row says, which the leaf covers
    leaf = fresh.leaf("entry", at_us=now, step=cut.step.position, verdict=told, flow=flow.name)
    await fresh.commit(*rows, leaves=(leaf,), head=_head(line, len(cut.past.rows), now, labels))
    return name


def failed_step(past: Past) -> str:
    """The position of the step whose failure ended an execution: where a second try forks it. Raises InputError (OMG-I005) for none.

    A step that calls others fails with the one it called: what is tried again is the innermost.
    """
    failed = []
    for recorded in past.at.values():
        last = recorded.settled or recorded.denied
        if last is not None and last.kind in (Kind.FAILED, Kind.DENIED):
            failed.append(recorded.position)
    if not failed:
        raise InputError("OMG-I005", "no step of it failed")
    found = failed[-1]
    while inner := [position for position in failed if position.startswith(f"{found}/")]:
        found = inner[-1]
    return found


async def permitted(engine: Engine, book: Book, scope: Scope) -> None:
    """Raises Denied unless `scope` may decide about the execution of `book` and still holds its rights: OMG-T001 when its passport has
    ended or was revoked, OMG-W001, recorded, for all else."""
    engine.world.authority.check(scope)
    if engine.world.clock.now_us() >= scope.expires_at * 1_000_000:
        raise Denied("OMG-T001", "the passport has expired")
    refusal = entitled(scope, book.scope)
    lost = book.scope.groups - scope.groups | scope.missing(book.scope.capabilities)
    if not refusal and lost and OWNER not in scope.groups:
        refusal = f"it was admitted with rights that {scope.principal} does not hold now: {', '.join(sorted(lost)[:10])}"
    if not refusal:
        return
    live = engine.book_of(book.execution)
    writing = book if live is None else live[0]
    leaf = writing.leaf("deny", at_us=engine.world.clock.now_us(), code="OMG-W001", decision="deny", reason=refusal)
    await writing.commit(leaves=(leaf,))
    raise Denied("OMG-W001", refusal, advice="have an owner, or whoever started it and still holds its rights, decide")


def _cut(past: Past, text: str) -> _Cut:
    found = past.find(text)
    if len(found) != 1:
        choices = ", ".join(shown(each.position) for each in (found or list(past.at.values()))[:10]) or "none"
        problem = "could be any of" if found else "is no step of it; these are"
        raise InputError("OMG-I004", f"{text[:80]!r} {problem}: {choices}")
    shared = past.rows[: found[0].first.seq]
    if any(row.kind == Kind.CANCEL for row in shared):
        step = shown(found[0].position)
        raise InputError("OMG-I005", f"{step} came after the execution was cancelled", advice="fork before an earlier step")
    return _Cut(found[0], Past(shared), max(map(_moment, shared)))


def _entitled_to_say(past: Past, cut: _Cut, scope: Scope, requester: Scope) -> None:
    """Raises Denied (OMG-W007) unless `scope` may decide what the step decides, and what was decided on the way to it."""
    last = cut.step.first.seq
    for recorded in past.at.values():
        inside = is_under(recorded.position, cut.step.position)
        for row in recorded.rows:
            meta = decode_meta(row) if row.kind == Kind.NEEDS and (inside or row.seq < last) else None
            decision = meta.decision or {} if isinstance(meta, Step) else {}
            role, person = str(decision.get("role", "")), (decision.get("asks") or {}).get("kind", "")
            if not role or not (inside or person):  # an approval of a touch is good for that touch, whatever is said later
                continue
            if person in ANSWERED_OTHERWISE:
                answer(scope, role=role, requester=requester)
            else:
                approve(scope, role=role, requester=requester)


def _moment(row: Row) -> int:
    """When a row was written, about."""
    meta = decode_meta(row)
    return meta.at_us + meta.took_us if isinstance(meta, Step) else meta.at_us


def _result(flow: AnyFlow, step: Recorded, value: Any) -> bytes:
    """`value` as the result of `step`, as its flow would have stored it."""
    known = step.meta.step
    if known is None:
        raise InputError("OMG-I004", f"{shown(step.position)} is a choice, not a step with a result", advice="give a value for a step")
    leaf = next((each for each in flow.leaves() if each.name == known.flow and each.version == known.version), None)
    if leaf is None:  # called by name inside an imperative flow: its type shows when the value is read
        return ANY.encode(value)[0]
    return leaf.output.encode(leaf.output.read(value))[0]


def _free(engine: Engine, name: str) -> str:
    if not is_chosen_id(name):
        raise InputError("OMG-I003", f"{name[:80]!r} cannot be the id of an execution")
    if engine.world.reader.line(name) is not None:
        raise InputError("OMG-R010", f"{name} exists already", advice="choose another id")
    return name


async def _entry(engine: Engine, book: Book, flow: AnyFlow, record: StartRecord, name: str, now: int) -> Verdict:
    """What the gate says of the fork's entry. A refusal is recorded with the origin, and raised.

    An admitted execution keeps its authority beyond the end of the passport, as at every touch.
    """
    verdict = engine.world.warden.ask(
        Ask(
            gate=Gate.ENTRY,
            scope=replace(book.scope, expires_at=max(book.scope.expires_at, now // 1_000_000 + 1)),
            execution=name,
            step="",
            epoch=1,
            flow=flow.name,
            flow_digest=flow.digest,
            effect=flow.effect,
            input_commitment=book.commitment(flow.input.encode(flow.input.restore(record.input))[0]),
            now=now / 1_000_000,
            needs=flow.needs,
            kind=flow.body.kind,
            left=Budget(**record.budget),
        )
    )
    if verdict.decision is not Decision.ALLOW:
        live = engine.book_of(book.execution)
        writing = book if live is None else live[0]
        await writing.commit(leaves=(writing.leaf("deny", at_us=now, verdict=verdict, flow=flow.name),))
        raise denied(flow, "", name, verdict)
    return verdict


def _rows(fresh: Book, cut: _Cut, origin: str, by: str, plain: bytes | None, now: int) -> Sequence[Row]:
    """FORKED, which says who forked what; OVERRIDE, which stands for the step as if it had given `plain`."""
    rows = [fresh.row(Kind.FORKED, "", Note(by=by, at_us=now, text=origin, value=cut.last_us))]
    was = cut.step.meta.step
    if plain is not None and was is not None:
        meta = Step(
            flow=was.flow,
            version=was.version,
            effect=was.effect,
            where=was.where,
            code=was.code,
            kind=was.kind,
            input=was.input,
            output=fresh.commitment(plain),
            at_us=now,
            note=f"by {by}",
        )
        rows.append(fresh.row(Kind.OVERRIDE, cut.step.position, meta, plain))
    return rows


def _head(line: Line, shared: int, now: int, labels: Mapping[str, str] | None) -> Head:
    return Head(
        status=Status.QUEUED,
        flow=line.flow,
        version=line.version,
        principal=line.principal,
        target=line.target,
        at_us=now,
        create=True,
        digest=line.digest,
        queue=line.queue,
        key=line.key,
        priority=line.priority,
        due_us=now if line.queue else NEVER,
        labels=line.labels if labels is None else labels,
        origin=line.execution,
        origin_rows=shared,
    )
