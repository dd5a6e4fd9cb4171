"""One gated step: ask, write down, do, write down.

    asked      the gate, once; the decision and the intent are on disk before the request leaves
    permitted  each request by a permit of its own, while the caller is not revoked and this engine owns the execution
    set aside  what a request can come to at most, in the budget of the run and in every limit, before it is made
    ended      the outcome of whatever cannot be repeated is on disk before anybody sees it

What must not happen here: a touch without a permit, a permit without an ALLOW, an ALLOW that is not on disk.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from omega.kernel.budget import NOTHING, Budget, Spent
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Task, Tool
from omega.kernel.direct import as_failure, call_task
from omega.kernel.effects import Effect, Receipt, Request, ToolCall
from omega.kernel.errors import Denied, FlowError, OmegaError, Suspended, UpstreamError
from omega.kernel.evaluate import has_outcome
from omega.kernel.journal import Kind, Note, Step, decode_meta
from omega.kernel.past import Recorded
from omega.kernel.people import Awaited, Person
from omega.kernel.ports import Effector
from omega.kernel.scope import Scope
from omega.kernel.trail import Trail, shown
from omega.kernel.verdict import Ask, Decision, Gate, Permit, Verdict
from omega.runtime.adaptive import meter
from omega.runtime.ending import counted, meet_cancellation, unbroken
from omega.runtime.faults import at_step, brief, denied, is_doubtful
from omega.runtime.guarding import MAX_NOTE, held_back, incoming, outgoing, reported
from omega.runtime.lease import Lease
from omega.runtime.operations import Driving, Operations
from omega.runtime.people import answered, asked_role, asking, asks, due_of, halted, in_force, overdue
from omega.runtime.reserving import check_budget, foretold, in_vain
from omega.warden.breakers import blamed
from omega.warden.mint import permit

SLOW_US = 1_000_000
"""A result that took longer than this (microseconds) is on disk before it is used: working it out again would hurt."""

REVOKED = "revoked"
"""The rule that a denial names when the caller's passport was revoked."""

MAX_PERMITS = 3
"""Permits for one touch: an engine that was held up gets another one, as long as the execution is still its own."""

MAX_TOUCHES = 64
"""Most touches of one step, or of a stream between two parts: a step that needs more is several steps."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A step about to be taken: the flow on its input, where in which branch, and with whose rights and budget."""

    flow: AnyFlow
    value: Any
    trail: Trail
    position: str
    commitment: bytes
    scope: Scope
    budget: Budget


class Stepping(Driving, ABC):
    """An execution as its gated steps see it. `spent` is what it has used so far, `touching` counts the touches under way; `single` tells
    that its flow is one leaf."""

    lease: Lease
    spent: Spent
    touching: int
    single: bool

    @abstractmethod
    def left(self, budget: Budget) -> Budget:
        """What may still be spent under `budget`."""

    @abstractmethod
    def context(self, turn: Turn, operations: Operations) -> Context:
        """The context of one step."""

    @abstractmethod
    def meta(self, flow: AnyFlow, commitment: bytes, began: int, took: int, **facts: Any) -> Step:
        """What stands in the open about one step. `began` and `took` in microseconds."""

    @abstractmethod
    def tell(self, kind: str, position: str, flow: AnyFlow, took_us: int = 0, note: str = "") -> None:
        """Tell whoever watches."""


class Touching:
    """One gated step: ask, write down, do, write down."""

    def __init__(self, run: Stepping, turn: Turn) -> None:
        self.execution = run
        self.world = run.world
        self.book = run.book
        self.turn = turn
        self.flow = turn.flow
        self.trail = turn.trail
        self.position = turn.position
        self.receipt = Receipt()
        self.touches = self.since_part = 0
        self.held = 0
        self.over = False
        self.began = 0
        self.made = False
        self.failed: bool | None = None
        self.notes: list[str] = []
        self.ask: Ask | None = None
        self.verdict: Verdict | None = None
        self.recorded: Recorded | None = None

    async def run(self, recorded: Recorded | None) -> Any:
        """The step's result. Raises Denied, Suspended, or the step's failure."""
        self.recorded = recorded
        if recorded is not None and recorded.intent is not None and not self.flow.effect.repeatable:
            known, result = self._fate(recorded)
            if known:
                return await self._done(result)
        await meet_cancellation()
        self.began = self.world.clock.now_us()
        try:
            return await self._admitted(recorded)
        finally:
            if self.ask is not None:
                spent, now = Spent(self.receipt.cost_micros, self.receipt.tokens), self.world.clock.now_us() / 1_000_000
                self.world.warden.settle(self.ask, spent, made=self.made, failed=self.failed, now=now)

    async def _admitted(self, recorded: Recorded | None) -> Any:
        await self._admit(recorded)
        self.made = True
        self.execution.tell("began", self.position, self.flow)
        if self.trail.whole and self.flow.effect is not Effect.READ:
            return await counted(self._attempt())
        if self.flow.effect.repeatable:
            return await self._attempt()
        return await unbroken(self._attempt())

    def _fate(self, recorded: Recorded) -> tuple[bool, Any]:
        """What became of a touch that was begun and must not be repeated: (True, result), or (False, None) when it was not done."""
        if recorded.resolved is None:
            step = shown(self.position)
            raise Suspended(
                "OMG-R006",
                f"{step} was begun and nobody knows how it ended",
                details={
                    "step": step,
                    "flow": self.flow.name,
                    "execution": self.book.execution,
                    "idempotency_key": f"{self.book.execution}/{self.position}",
                },
            )
        note = decode_meta(recorded.resolved)
        if isinstance(note, Note) and note.status == "done":
            return True, self.flow.output.read(json.loads(self.book.open(recorded.resolved)))
        return False, None

    async def _admit(self, recorded: Recorded | None) -> None:
        approvals = in_force(recorded, self.began)
        body = self.flow.body
        self.ask = Ask(
            gate=Gate.TOUCH,
            scope=self.turn.scope,
            execution=self.book.execution,
            step=self.position,
            epoch=self.book.epoch,
            flow=self.flow.name,
            flow_digest=self.flow.digest,
            effect=self.flow.effect,
            input_commitment=self.turn.commitment,
            now=self.began / 1_000_000,
            needs=self.flow.needs,
            kind=body.kind,
            approver_role=self.flow.approver_role,
            approvals=approvals,
            resource={"server": body.server, "tool": body.tool} if isinstance(body, Tool) else {},
            left=self.execution.left(self.turn.budget),
        )
        self.verdict = self._revoked() or self.world.warden.ask(self.ask)
        if self.verdict.decision is Decision.DENY:
            raise await self._denied(self.verdict)
        if self.verdict.decision is Decision.ALLOW and not answered(self.flow, self.position, recorded, self.execution.past):
            self.verdict = asking(self.flow, self.verdict, self.book.execution, self.position)
        if self.verdict.decision is Decision.NEEDS:
            raise await self._waits(self.verdict, recorded)
        meta = self._meta(decision=self.verdict.record())
        row = self.book.row(Kind.INTENT, self.position, meta)
        self.execution.spent += Spent(calls=1)
        leaf = self.book.leaf("admit", at_us=self.began, step=self.position, meta=meta, verdict=self.verdict)
        await self.book.commit(row, leaves=(leaf,))

    def _revoked(self) -> Verdict | None:
        """An admitted execution keeps its authority when its passport ends, but not when it is revoked."""
        try:
            self.world.authority.check(self.turn.scope)
        except Denied as refusal:
            return Verdict(
                decision=Decision.DENY,
                policies=(REVOKED,),
                where="the authority",
                reason=refusal.cause,
                how=refusal.advice,
                code=refusal.code,
            )
        return None

    async def _denied(self, verdict: Verdict) -> Denied:
        denial = denied(self.flow, self.position, self.book.execution, verdict)
        meta = self._meta(decision=verdict.record(), error=brief(denial))
        row = self.book.row(Kind.DENIED, self.position, meta, json.dumps(denial.record()).encode())
        leaf = self.book.leaf("deny", at_us=self.began, step=self.position, meta=self._meta(), verdict=verdict)
        await self.book.commit(row, leaves=(leaf,))
        self.execution.tell("denied", self.position, self.flow, note=verdict.policies[0] if verdict.policies else "")
        return denial

    async def _waits(self, verdict: Verdict, recorded: Recorded | None) -> OmegaError:
        late = overdue(self.position, recorded, self.began)
        if late is not None:
            return await self._ended_badly(late)
        if recorded is None or recorded.waiting is None or asked_role(recorded.waiting) != verdict.role:
            decision, message = verdict.record() | asks(self.flow, self.began), getattr(self.flow.body, "message", "")
            row = self.book.row(Kind.NEEDS, self.position, self._meta(decision=decision, note=message))
            leaf = self.book.leaf("deny", at_us=self.began, step=self.position, meta=self._meta(), verdict=verdict)
            await self.book.commit(row, leaves=(leaf,))
        self.execution.tell("waiting", self.position, self.flow, note=verdict.role)
        return halted(self.flow, self.position, verdict, due_of(self.flow, recorded, self.began))

    async def _attempt(self) -> Any:
        try:
            result = await self._do()
            self.failed = False if self.touches else None
        except (Exception, SystemExit) as error:  # whatever the author's code raises is that step's failure
            failure = as_failure(self.flow, error)
            self.failed = blamed(failure) if isinstance(failure, UpstreamError) else None
            raise await self._ended_badly(failure) from error
        finally:
            self.over = True
            self.execution.touching -= self.held
        return await self._done(result)

    async def _do(self) -> Any:
        body = self.flow.body
        if isinstance(body, Tool):
            given = self.turn.value or {}
            request = ToolCall(server=body.server, tool=body.tool, arguments=given, timeout_s=body.timeout_s, cwd=body.works_in(given))
            return await self.touch(request)
        if isinstance(body, Person):
            return await self._answer(body)
        if not isinstance(body, Task):
            raise FlowError("OMG-R013", f"a {body.kind} cannot be run here")
        operations, context = None, None
        if body.takes_context:
            operations = Operations(self.execution, self.trail.inside(self.position, asyncio.current_task()), self)
            context = self.execution.context(self.turn, operations)
        result = call_task(body, context, self.turn.value)
        if hasattr(result, "__await__"):
            result = await result
        if operations is not None:
            operations.still_going()
        return result

    async def _answer(self, body: Person) -> Any:
        """What a person answered or sent; what they approved is the input itself."""
        if isinstance(body, Awaited):
            inside, draw = self.trail.inside(self.position, asyncio.current_task()), self.execution.await_signal
            name = f"signal.{body.signal}"
            sent = await self.execution.recorded_value(inside, name, lambda: draw(body.signal), signal=body.signal)
            return self.flow.output.read(sent)
        row = self.recorded.answer if self.recorded is not None else None
        return self.turn.value if row is None else self.flow.output.read(json.loads(self.book.open(row)))

    async def touch(self, request: Request) -> Any:
        """One touch with a permit of its own. Raises what the effector raises, Denied (OMG-W...) when there is no permit to be had."""
        if self.over:
            raise FlowError(
                "OMG-R008", f"{self.flow.name} has ended: a task that it left behind wants to touch {request.port or 'the world'}"
            )
        self.touches += 1
        self.since_part += 1
        if self.since_part > MAX_TOUCHES:
            raise FlowError("OMG-R016", f"{self.flow.name} touches the world more than {MAX_TOUCHES} times in one step")
        effector = self.world.effectors.get(request.port)
        if effector is None:
            known = ", ".join(sorted(self.world.effectors))
            raise FlowError("OMG-R019", f"nothing here serves the port {request.port or type(request).__name__} (served: {known})")
        if self.ask is None or self.verdict is None:
            raise FlowError("OMG-R013", f"{self.flow.name} was not admitted")
        tenant = self.book.scope.tenant
        reserved = self._set_aside(self.ask, await foretold(effector, request, tenant))
        try:
            request = outgoing(self.world.guards, request, tenant=tenant, notes=self.notes)
            request, held = held_back(self.world.guards, request, tenant=tenant)
            answer = incoming(self.world.guards, request, await self._permitted(effector, request), tenant=tenant, notes=self.notes)
            if held is not None:
                await held.told(answer)
            return answer
        except UpstreamError as error:
            seen = reported(self.world.guards, request, error, tenant=tenant, notes=self.notes)
            if seen is error:
                raise
            raise seen from None  # the words that were taken out stay out
        finally:
            self._used(self.ask, NOTHING - reserved)

    def gave(self) -> None:
        """The step gave a part of its stream: its touches are bounded between two parts, because a stream may go on for long."""
        self.since_part = 0

    def _set_aside(self, ask: Ask, most: Receipt) -> Spent:
        """Set aside what a request can come to at most. Raises Denied where budget or limits do not cover it."""
        reserved = check_budget(self.execution.left(self.turn.budget), most, self.flow.name)
        full = self.world.warden.reserve(ask, reserved, priced=most.priced)
        if full is not None:
            raise denied(self.flow, self.position, self.book.execution, full)
        self.execution.spent += reserved
        return reserved

    def _used(self, ask: Ask, amount: Spent) -> None:
        """Count `amount` on the budget of the run, and on what the step has set aside of limits until it ends."""
        if amount != NOTHING:
            self.execution.spent += amount
            self.world.warden.amend(ask, amount)

    async def _permitted(self, effector: Effector, request: Request) -> Any:
        for permits_left in reversed(range(MAX_PERMITS)):
            try:
                return await self._perform(effector, await self._permit(request), request)
            except Denied as refusal:  # one that expired before it was spent: nothing was done
                if not (permits_left and refusal.code == "OMG-W006" and refusal.details.get("expired") is True):
                    raise
        raise FlowError("OMG-R009", f"{self.flow.name} never got to its touch in time")

    async def _permit(self, request: Request) -> Permit:
        """Leave to make one touch now: while the caller is not revoked, and this engine owns the execution."""
        assert self.ask is not None and self.verdict is not None  # noqa: S101 - the caller has just looked
        self.world.authority.check(self.turn.scope)
        lease = self.execution.lease
        await lease.assure()
        clock, trace = self.world.clock.monotonic, self.book.trace
        return permit(self.ask, self.verdict, request.port, clock, request=request, lasts_s=lease.left_s, trace=trace)

    async def _perform(self, effector: Effector, leave: Permit, request: Request) -> Any:
        assert self.ask is not None  # noqa: S101 - the caller has just looked
        if not self.held:
            self.held = 1
            self.execution.touching += 1
        receipt = Receipt()
        try:
            result, receipt = await effector.perform(leave, request, execution=self.book.execution, step=self.position)
        except OmegaError as error:
            receipt = in_vain(error)
            raise
        except Exception as error:  # an effector that says nothing about its failure: the request may have left
            raise UpstreamError(
                "OMG-P007",
                f"the effector {request.port} failed: {type(error).__name__}",
                details={"sent": True, "port": request.port},
            ) from error
        finally:
            self._used(self.ask, Spent(receipt.cost_micros, receipt.tokens))
            meter(Spent(receipt.cost_micros, receipt.tokens))
            self.receipt = self.receipt + receipt
        return result

    async def _done(self, result: Any) -> Any:
        try:
            data, result = self.flow.output.encode(result)
        except OmegaError as error:
            raise await self._ended_badly(error) from error
        output = self.book.commitment(data)
        meta = self._meta(took=True, output=output)
        plain = await self.book.stowed(data, self.position) if self.book.is_large(data) else data
        row = self.book.row(Kind.DONE, self.position, meta, plain)
        leaf = self.book.leaf("outcome", at_us=self.world.clock.now_us(), step=self.position, meta=meta, status="done", **self._found())
        brief_read = self.flow.effect is Effect.READ and meta.took_us <= SLOW_US and not meta.tokens and not meta.cost_micros
        if self.execution.single and not self.trail.path:  # its end is committed next, and is all that sees it
            self.book.hold(row, leaves=(leaf,))
        elif brief_read:
            self.book.behind(row, leaves=(leaf,))
        else:
            await self.book.commit(row, leaves=(leaf,))
        self.trail.last = (result, data, output, self.flow.output)
        self.execution.tell("ended", self.position, self.flow, meta.took_us)
        return result

    async def _ended_badly(self, error: OmegaError) -> OmegaError:
        error = at_step(error, self.flow, self.position)
        if isinstance(error, Suspended) and self.touches == 0:
            self._stood_still()
        if not has_outcome(error):
            return error
        if is_doubtful(error) and not self.flow.effect.repeatable:
            step = shown(self.position)
            details = {"step": step, "flow": self.flow.name, "execution": self.book.execution, "because": error.cause}
            return Suspended("OMG-R006", f"{step} may or may not have happened: {error.cause}", details=details)
        meta = self._meta(took=True, error=brief(error))
        row = self.book.row(Kind.FAILED, self.position, meta, json.dumps(error.record()).encode())
        leaf = self.book.leaf("outcome", at_us=self.world.clock.now_us(), step=self.position, meta=meta, status="failed", **self._found())
        await self.book.commit(row, leaves=(leaf,))
        self.execution.tell("failed", self.position, self.flow, meta.took_us, error.code)
        return error

    def _found(self) -> dict[str, Any]:
        """How much went and came, and what the guards found, for the step's leaf."""
        found: dict[str, Any] = {"bytes_in": self.receipt.bytes_in, "bytes_out": self.receipt.bytes_out}
        return found | {"reason": "; ".join(dict.fromkeys(self.notes))[:MAX_NOTE]} if self.notes else found

    def _stood_still(self) -> None:
        """Note that this step waits at a step it calls and has touched nothing itself: going on later is no repetition."""
        now, why = self.world.clock.now_us(), "waits, and has touched nothing itself"
        row = self.book.row(Kind.RESOLVED, self.position, Note(by="omega", at_us=now, status="not done", text=why))
        leaf = self.book.leaf("resolve", at_us=now, step=self.position, status="not done", reason=f"by omega: {why}")
        self.book.behind(row, leaves=(leaf,))

    def _meta(self, *, took: bool = False, **facts: Any) -> Step:
        elapsed = self.world.clock.now_us() - self.began if took and self.began else 0
        if took and self.notes:
            facts |= {"note": "; ".join(dict.fromkeys(self.notes))[:MAX_NOTE]}
        if took:
            facts |= {"cost_micros": self.receipt.cost_micros, "tokens": self.receipt.tokens, "priced": self.receipt.priced}
        return self.execution.meta(self.flow, self.turn.commitment, self.began, elapsed, **facts)
