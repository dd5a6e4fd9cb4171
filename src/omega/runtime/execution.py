"""One execution under way: the driver that journals, gates and touches.

The rules, per leaf:

    recorded and settled      its recorded outcome is used; nothing runs again
    pure                      run; the result is written behind, and is on disk before anything that depends on it leaves
    anything else             the gate is asked once; the decision and the intent are on disk before the request leaves;
                              the outcome of whatever cannot be repeated is on disk before anybody sees it
    begun, end unknown        a read or idempotent touch is made again; a write is in doubt and waits for a person

A branch runs in a task of its own; within it steps follow one another, which makes positions the same in every run. A write under way is
never cut short: cancellation and time limits wait for its answer (its own request limit bounds that), because half a write is a doubt.
What must not happen here: a touch without a permit, a permit without an ALLOW, an ALLOW that is not on disk.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from omega.kernel.budget import NOTHING, Budget, Spent
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Task, Tool
from omega.kernel.direct import as_failure, call_task
from omega.kernel.effects import Effect, ModelCall, Receipt, Request, ToolCall
from omega.kernel.errors import Denied, FlowError, OmegaError, Suspended, UpstreamError
from omega.kernel.evaluate import has_outcome
from omega.kernel.journal import Kind, Note, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.people import Awaited, Person
from omega.kernel.ports import Effector
from omega.kernel.scope import Scope
from omega.kernel.trail import Trail, shown
from omega.kernel.verdict import Ask, Decision, Gate, Permit, Verdict
from omega.runtime.adaptive import meter
from omega.runtime.book import Book
from omega.runtime.children import Child, Nursery
from omega.runtime.ending import counted, meet_cancellation, unbroken
from omega.runtime.faults import at_step, brief, denied, is_doubtful
from omega.runtime.guarding import MAX_NOTE, incoming, outgoing
from omega.runtime.lease import Lease
from omega.runtime.operations import Driving, Operations
from omega.runtime.people import answered, asked_role, asking, asks, due_of, halted, in_force, overdue
from omega.runtime.undoing import Standing, begun_before
from omega.runtime.world import Moment, World, unwatched
from omega.warden.mint import permit

SLOW_US = 1_000_000
"""A result that took longer than this (microseconds) is on disk before it is used: working it out again would hurt."""

REVOKED = "revoked"
"""The rule that a denial names when the caller's passport was revoked."""

MAX_PERMITS = 3
"""Permits for one touch: an engine that was held up gets another one, as long as the execution is still its own."""

MAX_TOUCHES = 64
"""Most touches of one step: a step that needs more is several steps."""


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


class Execution(Driving):
    """Runs one flow once, from its past on. A `Driver` for `omega.kernel.evaluate`.

    `parent` and `queue` are those of its line, empty where there is none. `leaving` is set by the engine before it lets the execution go.
    """

    def __init__(
        self,
        world: World,
        book: Book,
        past: Past,
        *,
        budget: Budget,
        lease: Lease,
        nursery: Nursery,
        deadline: float | None = None,
    ) -> None:
        self.world = world
        self.book = book
        self.past = past
        self.budget = budget
        self.lease = lease
        self.nursery = nursery
        self.deadline = deadline
        self.spent = past.spent
        self.offspring: dict[str, Child] = {}
        self.scattered: dict[str, list[str]] = {}
        self.unfinished: list[OmegaError] = []
        self.unmet = begun_before(past)
        self.standing: dict[str, Standing] = {}
        self.touching = 0
        self.leaving = False
        self.parent = ""
        self.queue = ""

    # -- leaves

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail, ctx: Context | None = None) -> Any:
        """One step: recalled if it is settled, else run as its effect demands."""
        if isinstance(flow.body, Tool) and not flow.body.pin:
            flow = self.world.bind(flow)
        position = trail.step(flow.name)
        value, commitment = self._input(flow, value, trail)  # first: a step that does not take its input leaves no row to be met
        recorded = self.past.meet(trail, position, flow.name, flow.where)
        if recorded is not None:
            self._check(flow, recorded, commitment)
            if recorded.settled is not None or recorded.denied is not None:
                if recorded.settled is not None and self.book.lies_elsewhere(recorded.settled):
                    await self.book.bring(recorded.settled)
                return self._recall(flow, trail, recorded)
        if recorded is None or not (_is_open(recorded) or (trail.whole and _is_begun(flow, recorded))):
            self.go_on(trail)
        scope = self.book.scope if ctx is None else ctx.scope
        budget = self.budget if ctx is None else ctx.budget
        if flow.effect is Effect.PURE:
            return await self._pure(Turn(flow, value, trail, position, commitment, scope, budget))
        return await Touching(self, Turn(flow, value, trail, position, commitment, scope, budget)).run(recorded)

    def _input(self, flow: AnyFlow, value: Any, trail: Trail) -> tuple[Any, bytes]:
        """The value as the flow takes it, and its commitment. What a typed step has just stored need not be read and encoded again."""
        last = trail.last
        if last is not None and last[0] is value and (flow.input.loose or not last[3].loose):
            return value, last[2]
        if not flow.input.loose:
            value = flow.input.read(value)
        data, value = flow.input.encode(value)
        commitment = self.book.commitment(data)
        trail.last = (value, data, commitment, flow.input)
        return value, commitment

    def _check(self, flow: AnyFlow, recorded: Recorded, commitment: bytes) -> None:
        """Compare fingerprints: the same step must be the same version on the same input. Raises FlowError (OMG-R014)."""
        was = recorded.meta.step
        migrated = self.past.migrated
        if was is not None and migrated is not None and recorded.rows[-1].seq < migrated.seq and was.input in (commitment, b""):
            return  # recorded by the version before: compared when it was carried over
        if was is None or (
            was.version == flow.version and was.effect == flow.effect.value and was.code == flow.code and was.input in (commitment, b"")
        ):
            return
        if was.version != flow.version or was.effect != flow.effect.value:
            difference = f"it was {was.version} ({was.effect}), now it is {flow.version} ({flow.effect.value})"
        elif was.code != flow.code:
            difference = "same name and version, other code"
        else:
            difference = f"its input differs: {was.input.hex()[:12]}..., now {commitment.hex()[:12]}..."
        step = shown(recorded.position)
        raise FlowError(
            "OMG-R014",
            f"recorded {step} ({was.where or 'no source'}), now {step} ({flow.where or 'no source'}): {difference}",
            details={
                "recorded": {"step": step, "flow": was.flow, "version": was.version, "where": was.where},
                "now": {"step": step, "flow": flow.name, "version": flow.version, "where": flow.where},
            },
        )

    def _recall(self, flow: AnyFlow, trail: Trail, recorded: Recorded) -> Any:
        row = recorded.settled or recorded.denied
        assert row is not None  # noqa: S101 - the caller has just looked
        self._tell("recalled", recorded.position, flow)
        self.past.covered.add(recorded.position)
        if row.kind in (Kind.FAILED, Kind.DENIED):
            raise self.book.error(row)
        data = self.book.open(row)
        meta = decode_meta(row)
        value = flow.output.decode(data)
        trail.last = (value, data, meta.output if isinstance(meta, Step) else b"", flow.output)
        return value

    async def _pure(self, turn: Turn) -> Any:
        flow, trail, position, commitment = turn.flow, turn.trail, turn.position, turn.commitment
        body = flow.body
        if not isinstance(body, Task):
            raise FlowError("OMG-R013", f"{flow.name} is a {body.kind} and cannot be pure")
        began = self.world.clock.now_us()
        try:
            operations = Operations(self, trail.inside(position), None) if body.takes_context else None
            result = call_task(body, self._context(turn, operations) if operations is not None else None, turn.value)
            if hasattr(result, "__await__"):
                result = await result
            if operations is not None:
                operations.still_going()
            data, result = flow.output.encode(result)
        except (Exception, SystemExit) as error:  # whatever the author's code raises is that step's failure
            raise self._failed(flow, position, commitment, began, at_step(as_failure(flow, error), flow, position)) from error
        took = self.world.clock.now_us() - began
        output = self.book.commitment(data)
        meta = self._meta(flow, commitment, began, took, output=output)
        plain = await self.book.stowed(data, position) if self.book.is_large(data) else data
        row = self.book.row(Kind.DONE, position, meta, plain)
        if took > SLOW_US:
            await self.book.commit(row)
        else:
            self.book.behind(row)
        trail.last = (result, data, output, flow.output)
        self._tell("ended", position, flow, took)
        return result

    def _failed(self, flow: AnyFlow, position: str, commitment: bytes, began: int, error: OmegaError) -> OmegaError:
        """Record a pure step's failure, unless the error says that the step has no outcome yet."""
        if not has_outcome(error):
            return error
        took = self.world.clock.now_us() - began
        meta = self._meta(flow, commitment, began, took, error=brief(error))
        self.book.behind(self.book.row(Kind.FAILED, position, meta, json.dumps(error.record()).encode()))
        self._tell("failed", position, flow, took, error.code)
        return error

    def _meta(self, flow: AnyFlow, commitment: bytes, began: int, took: int, **facts: Any) -> Step:
        return Step(
            flow=flow.name,
            version=flow.version,
            effect=flow.effect.value,
            where=flow.where,
            code=flow.code,
            kind=flow.body.kind,
            input=commitment,
            at_us=began,
            took_us=took,
            **facts,
        )

    # -- what contexts need

    def _context(self, turn: Turn, operations: Operations) -> Context:
        scope = turn.scope
        return Context(scope, turn.budget, self.book.execution, self.deadline, self.book.trace, scope.region, operations)

    def left(self, budget: Budget) -> Budget:
        """What may still be spent under `budget`."""
        return budget.spend(self.spent)

    def _tell(self, kind: str, position: str, flow: AnyFlow, took_us: int = 0, note: str = "") -> None:
        if self.world.watch is unwatched:
            return
        self.world.watch(
            Moment(
                kind=kind,
                execution=self.book.execution,
                position=shown(position),
                flow=flow.name,
                effect=flow.effect.value,
                took_s=took_us / 1_000_000,
                note=note,
            )
        )


class Touching:
    """One gated step: ask, write down, do, write down."""

    def __init__(self, run: Execution, turn: Turn) -> None:
        self.execution = run
        self.world = run.world
        self.book = run.book
        self.turn = turn
        self.flow = turn.flow
        self.trail = turn.trail
        self.position = turn.position
        self.receipt = Receipt()
        self.touches = 0
        self.held = 0
        self.over = False
        self.began = 0
        self.made = False
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
                self.world.warden.settle(self.ask, Spent(self.receipt.cost_micros, self.receipt.tokens), made=self.made)

    async def _admitted(self, recorded: Recorded | None) -> Any:
        await self._admit(recorded)
        self.made = True
        self.execution._tell("began", self.position, self.flow)
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
        self.execution._tell("denied", self.position, self.flow, note=verdict.policies[0] if verdict.policies else "")
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
        self.execution._tell("waiting", self.position, self.flow, note=verdict.role)
        return halted(self.flow, self.position, verdict, due_of(self.flow, recorded, self.began))

    async def _attempt(self) -> Any:
        try:
            result = await self._do()
        except (Exception, SystemExit) as error:  # whatever the author's code raises is that step's failure
            raise await self._ended_badly(as_failure(self.flow, error)) from error
        finally:
            self.over = True
            self.execution.touching -= self.held
        return await self._done(result)

    async def _do(self) -> Any:
        body = self.flow.body
        if isinstance(body, Tool):
            request = ToolCall(server=body.server, tool=body.tool, arguments=self.turn.value or {}, timeout_s=body.timeout_s)
            return await self.touch(request)
        if isinstance(body, Person):
            return await self._answer(body)
        if not isinstance(body, Task):
            raise FlowError("OMG-R013", f"a {body.kind} cannot be run here")
        operations, context = None, None
        if body.takes_context:
            operations = Operations(self.execution, self.trail.inside(self.position, asyncio.current_task()), self)
            context = self.execution._context(self.turn, operations)
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
        if self.touches > MAX_TOUCHES:
            raise FlowError("OMG-R016", f"{self.flow.name} touches the world more than {MAX_TOUCHES} times in one step")
        effector = self.world.effectors.get(request.port)
        if effector is None:
            known = ", ".join(sorted(self.world.effectors))
            raise FlowError("OMG-R019", f"nothing here serves the port {request.port or type(request).__name__} (served: {known})")
        if self.ask is None or self.verdict is None:
            raise FlowError("OMG-R013", f"{self.flow.name} was not admitted")
        reserved = Spent(tokens=request.max_tokens) if isinstance(request, ModelCall) else NOTHING
        if not self.execution.left(self.turn.budget).allows(reserved):
            raise Denied("OMG-W005", f"{self.flow.name} may use {reserved.tokens} tokens, which is more than the budget has left")
        full = self.world.warden.reserve(self.ask, reserved)
        if full is not None:
            raise denied(self.flow, self.position, self.book.execution, full)
        tenant = self.book.scope.tenant
        request = outgoing(self.world.guards, request, tenant=tenant, notes=self.notes)
        return incoming(self.world.guards, request, await self._permitted(effector, request, reserved), tenant=tenant, notes=self.notes)

    async def _permitted(self, effector: Effector, request: Request, reserved: Spent) -> Any:
        for permits_left in reversed(range(MAX_PERMITS)):
            try:
                return await self._perform(effector, await self._permit(request), request, reserved)
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
        return permit(self.ask, self.verdict, request.port, self.world.clock.monotonic, request=request, lasts_s=lease.left_s)

    async def _perform(self, effector: Effector, leave: Permit, request: Request, reserved: Spent) -> Any:
        if not self.held:
            self.held = 1
            self.execution.touching += 1
        self.execution.spent += reserved
        receipt = Receipt()
        try:
            result, receipt = await effector.perform(leave, request, execution=self.book.execution, step=self.position)
        except OmegaError:
            raise
        except Exception as error:  # an effector that says nothing about its failure: the request may have left
            raise UpstreamError(
                "OMG-P007",
                f"the effector {request.port} failed: {type(error).__name__}",
                details={"sent": True, "port": request.port},
            ) from error
        finally:
            self.execution.spent += Spent(receipt.cost_micros, receipt.tokens) - reserved
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
        if self.flow.effect is Effect.READ and meta.took_us <= SLOW_US and not meta.tokens and not meta.cost_micros:
            self.book.behind(row, leaves=(leaf,))
        else:
            await self.book.commit(row, leaves=(leaf,))
        self.trail.last = (result, data, output, self.flow.output)
        self.execution._tell("ended", self.position, self.flow, meta.took_us)
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
        self.execution._tell("failed", self.position, self.flow, meta.took_us, error.code)
        return error

    def _found(self) -> dict[str, Any]:
        """What the guards found, for the step's leaf."""
        return {"reason": "; ".join(dict.fromkeys(self.notes))[:MAX_NOTE]} if self.notes else {}

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
        return self.execution._meta(self.flow, self.turn.commitment, self.began, elapsed, **facts)


def _is_open(recorded: Recorded) -> bool:
    """Whether a touch that must not be repeated may have been made, or was: that is settled before anything else is decided."""
    if recorded.in_doubt:
        return True
    note = None if recorded.resolved is None else decode_meta(recorded.resolved)
    return recorded.intent is not None and isinstance(note, Note) and note.status == "done"


def _is_begun(flow: AnyFlow, recorded: Recorded) -> bool:
    """Whether a touch that can be repeated may have been made: where it is to be undone, its end is found out first."""
    return recorded.intent is not None and flow.effect is Effect.IDEMPOTENT
