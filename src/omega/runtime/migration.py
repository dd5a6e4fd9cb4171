"""Migration: executions that were begun on one version of a flow, carried over to another on purpose.

By itself an execution ends on the version it began with: its line is pinned to it, and only workers that serve it take it up. Where that is
not wanted, a migration is planned first and carried out after. For each execution the new flow is walked over what is recorded, offline
and without running or touching anything:

    unaffected     it has nothing recorded that the new version could contradict
    mapped         the new version arrives at every recorded step, in the same order and with the same input
    refused        it does not; the reason names the first step that differs. It ends on its own version

Carrying out makes it the next owner of each, checks the plan again under that epoch, asks the gate whether whoever started it may run the
new version, and writes one row and one leaf: from there the new version is what it continues with. Steps that are recorded keep what they
gave; the new code runs for what is still to come. What people approved or answered, and no step has used yet, was said about the old code:
they are asked again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Task, Tool
from omega.kernel.direct import call_task
from omega.kernel.effects import Effect
from omega.kernel.errors import FlowError, InputError, OmegaError, Suspended
from omega.kernel.evaluate import evaluate
from omega.kernel.journal import Kind, Note, Status
from omega.kernel.past import Past, Recorded
from omega.kernel.ports import Head
from omega.kernel.scope import Scope
from omega.kernel.trail import Trail, shown
from omega.kernel.verdict import Ask, Decision, Gate, Verdict
from omega.runtime.book import Book
from omega.runtime.engine import Engine
from omega.runtime.faults import denied
from omega.runtime.forking import permitted
from omega.runtime.operations import Operations
from omega.runtime.recovery import StartRecord, load, pin_of
from omega.runtime.replay import Replay, Report, closed
from omega.runtime.touching import Turn
from omega.runtime.world import World

UNAFFECTED, MAPPED, REFUSED = "unaffected", "mapped", "refused"

MOVABLE = (Status.QUEUED, Status.WAITING, Status.IN_DOUBT, Status.DEAD)
"""The statuses in which an execution can be carried over: nobody runs it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one execution: `verdict` is unaffected, mapped or refused, `steps` how many recorded steps were met, `reason` why
    it is refused."""

    execution: str
    verdict: str
    steps: int = 0
    reason: str = ""


class _Walk(Replay):
    """A replay that runs nothing anew: recorded steps give what is recorded, and a branch is over at the first that is not."""

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail, ctx: Context | None = None) -> Any:
        """The recorded outcome. Raises Suspended where the record ends, FlowError (OMG-R014) where something else is recorded."""
        if isinstance(flow.body, Tool) and not flow.body.pin:
            flow = self.world.bind(flow)
        position = trail.step(flow.name)
        value, commitment = self._input(flow, value, trail)
        recorded = self.past.meet(trail, position, flow.name, flow.where)
        if recorded is not None:
            self.report.steps += 1
            _compare(flow, recorded, commitment)
            if recorded.settled is not None or recorded.denied is not None:
                return self._recall(flow, trail, recorded)
        body = flow.body
        if isinstance(body, Task) and body.takes_context and flow.effect is Effect.PURE and position in self.past.order:
            await self._inside(Turn(flow, value, trail, position, b"", self.book.scope, self.budget), body)
        self.past.covered.add(position)  # begun: what is inside is met when it goes on
        raise _over(position)

    async def _inside(self, turn: Turn, body: Task) -> None:
        """A pure imperative flow that has not ended is walked through its own steps, which are recorded before it is."""
        context = self.context(turn, Operations(self, turn.trail.inside(turn.position), None))
        result = call_task(body, context, turn.value)
        if hasattr(result, "__await__"):
            await result

    async def pause(self, position: str, delay: Callable[[float], float], trail: Trail) -> None:
        """A wait that is recorded is over, for a walk; what comes after one that is not is not recorded either."""
        if self.past.meet(trail, position, "pause", "") is None:
            raise _over(position)

    def go_on(self, trail: Trail) -> None:
        """Something new: the record of this branch ends here."""
        raise _over(trail.path)


def _compare(flow: AnyFlow, recorded: Recorded, commitment: bytes) -> None:
    was = recorded.meta.step
    if was is None:
        return
    if was.effect != flow.effect.value:
        raise _differs(recorded.position, f"it was {was.effect}, now it is {flow.effect.value}")
    if was.input not in (commitment, b""):
        raise _differs(recorded.position, "its input differs")


def _over(position: str) -> Suspended:
    return Suspended("OMG-R020", f"the record ends at {shown(position)}")


async def plan(world: World, executions: Iterable[str], to: AnyFlow) -> list[Step]:
    """What would become of each of `executions` under the flow `to`. Changes nothing. Raises InputError (OMG-I003) for an unknown one."""
    return [await _judge(world, execution, to) for execution in executions]


async def migrate(engine: Engine, execution: str, to: AnyFlow, scope: Scope) -> Step:
    """Carry `execution` over to `to` for the person of `scope`; gives what became of it.

    Raises InputError: OMG-I003 unknown, OMG-I005 when it runs or has ended; Denied: OMG-W001 when this person may not decide, OMG-T001 when
    their passport has ended or was revoked, or that of whoever started it was revoked, what the gate says when the latter may not run `to`;
    FlowError (OMG-R023) when it is refused; StorageError (OMG-R010) while somebody else owns it.
    """
    world = engine.world
    _, book, _ = load(world, execution)
    line = world.reader.line(execution)
    if book.scope.tenant != scope.tenant:
        raise InputError("OMG-I003", f"{execution} is not recorded here")
    await permitted(engine, book, scope)
    world.authority.check(book.scope)
    if line is None or engine.runs(execution) or line.status not in MOVABLE:
        raise InputError("OMG-I005", f"{execution} is {line.status if line else 'unknown'}: only what stands still is carried over")
    now = world.clock.now_us()
    epoch = await world.store.claim(execution, owner=world.owner, lease_us=now + world.lease_us, now_us=now)
    try:
        _, book, record = load(world, execution)
        book.epoch = epoch
        step = await _judge(world, execution, to)
        if step.verdict == REFUSED:
            raise FlowError("OMG-R023", f"{execution} cannot go on as {to.name} {to.version}: {step.reason}", details={"step": step.reason})
        await _write(world, book, to, scope.principal, await _entry(world, book, record, to))
    finally:
        await world.store.release(execution)
    await engine.hint(execution)
    return step


async def _entry(world: World, book: Book, record: StartRecord, to: AnyFlow) -> Verdict:
    """What the gate says of running `to` for whoever started the execution. A refusal is recorded, and raised.

    An admitted execution keeps its authority beyond the end of the passport, as at every touch.
    """
    now = world.clock.now_us()
    ask = Ask(
        gate=Gate.ENTRY,
        scope=replace(book.scope, expires_at=max(book.scope.expires_at, now // 1_000_000 + 1)),
        execution=book.execution,
        step="",
        epoch=book.epoch,
        flow=to.name,
        flow_digest=to.digest,
        effect=to.effect,
        input_commitment=book.commitment(to.input.encode(to.input.restore(record.input))[0]),
        now=now / 1_000_000,
        needs=to.needs,
        kind=to.body.kind,
        left=Budget(**record.budget),
    )
    verdict = world.warden.ask(ask)
    if verdict.decision is not Decision.ALLOW:
        await book.commit(leaves=(book.leaf("deny", at_us=now, verdict=verdict, flow=to.name),))
        raise denied(to, "", book.execution, verdict)
    return verdict


async def _write(world: World, book: Book, to: AnyFlow, by: str, verdict: Verdict) -> None:
    line = world.reader.line(book.execution)
    assert line is not None  # noqa: S101 - it has just been claimed
    now = world.clock.now_us()
    plain = json.dumps({"digest": to.digest, "outline": to.outline()}).encode()
    note = Note(by=by, at_us=now, text=to.version, status=to.digest, output=book.commitment(plain))
    row = book.row(Kind.MIGRATED, "", note, plain)
    told = replace(verdict, reason=f"carried over to {to.digest[:12]} by {by}")
    leaf = book.leaf("admin", at_us=now, output=note.output.hex(), verdict=told)
    asks_again = bool(line.queue) and line.status in (Status.WAITING, Status.IN_DOUBT)  # whoever was asked is, once it is taken up
    head = Head(status=line.status, at_us=now, digest=pin_of(to), version=to.version, due_us=now if asks_again else None)
    await book.commit(row, leaves=(leaf,), head=head)


async def _judge(world: World, execution: str, to: AnyFlow) -> Step:
    past, book, record = load(world, execution)
    if past.finished is not None:
        return Step(execution, REFUSED, reason="it has ended")
    if past.start is not None and past.start.flow != to.name:
        return Step(execution, REFUSED, reason=f"it is an execution of {past.start.flow}, and {to.name} is another flow")
    report = Report(execution)
    run = _Walk(world, closed(book), past, report, record)
    try:
        await _walk(run, to, to.input.restore(record.input))
    except OmegaError as error:
        return Step(execution, REFUSED, report.steps, error.cause)
    return Step(execution, MAPPED if past.at else UNAFFECTED, report.steps)


async def _walk(run: _Walk, to: AnyFlow, given: Any) -> None:
    past: Past = run.past
    trail = Trail(owner=asyncio.current_task())
    with suppress(Suspended):
        await evaluate(to, given, trail, run)
    missed = past.left_over(trail) or past.unvisited()
    if missed is not None:
        raise past.diverged(missed, "", to.name, to.where)


def _differs(position: str, how: str) -> FlowError:
    return FlowError("OMG-R014", f"{shown(position)}: {how}")
