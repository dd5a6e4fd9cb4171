"""One execution under way: the driver that journals, gates and touches.

The rules, per leaf:

    recorded and settled      its recorded outcome is used; nothing runs again
    pure                      run; the result is written behind, and is on disk before anything that depends on it leaves
    anything else             the gate is asked once; the decision and the intent are on disk before the request leaves;
                              the outcome of whatever cannot be repeated is on disk before anybody sees it
    begun, end unknown        a read or idempotent touch is made again; a write is in doubt and waits for a person

A branch runs in a task of its own; within it steps follow one another, which makes positions the same in every run. A write under way is
never cut short: cancellation and time limits wait for its answer (its own request limit bounds that), because half a write is a doubt.
What is gated is done in `touching`.
"""

from __future__ import annotations

import json
from typing import Any

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Task, Tool
from omega.kernel.direct import as_failure, call_task
from omega.kernel.effects import Effect
from omega.kernel.errors import FlowError, OmegaError
from omega.kernel.evaluate import has_outcome
from omega.kernel.journal import Kind, Note, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.trail import Stored, Trail, shown
from omega.kernel.types import UNCHANGING
from omega.runtime.book import Book
from omega.runtime.children import Child, Nursery
from omega.runtime.faults import at_step, brief
from omega.runtime.lease import Lease
from omega.runtime.operations import Operations
from omega.runtime.touching import SLOW_US, Stepping, Touching, Turn
from omega.runtime.undoing import Standing, begun_before
from omega.runtime.world import Moment, World, unwatched


class Execution(Stepping):
    """Runs one flow once, from its past on. A `Driver` for `omega.kernel.evaluate`.

    `parent` and `queue` are those of its line, empty where there is none. `single` tells that the flow is one leaf, whose end is the end of
    the execution; `stored` is then its input as it was just stored. `leaving` is set by the engine before it lets the execution go.
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
        self.single = False
        self.stored: Stored | None = None
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
        """The value as the flow takes it, and its commitment. What a typed step has just stored need not be encoded again.

        Each step is given what was committed, read anew: a branch, an earlier attempt or whoever made the value may still hold the object
        and change it, and what a step does must be what the gate was asked about.
        """
        last = trail.last
        if last is not None and last[0] is value and (flow.input.loose or not last[3].loose):
            return value if type(value) in UNCHANGING else last[3].decode(last[1]), last[2]
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
        self.tell("recalled", recorded.position, flow)
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
            result = call_task(body, self.context(turn, operations) if operations is not None else None, turn.value)
            if hasattr(result, "__await__"):
                result = await result
            if operations is not None:
                operations.still_going()
            data, result = flow.output.encode(result)
        except (Exception, SystemExit) as error:  # whatever the author's code raises is that step's failure
            raise self._failed(flow, position, commitment, began, at_step(as_failure(flow, error), flow, position)) from error
        took = self.world.clock.now_us() - began
        output = self.book.commitment(data)
        meta = self.meta(flow, commitment, began, took, output=output)
        plain = await self.book.stowed(data, position) if self.book.is_large(data) else data
        row = self.book.row(Kind.DONE, position, meta, plain)
        if self.single and not trail.path:
            self.book.hold(row)
        elif took > SLOW_US:
            await self.book.commit(row)
        else:
            self.book.behind(row)
        trail.last = (result, data, output, flow.output)
        self.tell("ended", position, flow, took)
        return result

    def _failed(self, flow: AnyFlow, position: str, commitment: bytes, began: int, error: OmegaError) -> OmegaError:
        """Record a pure step's failure, unless the error says that the step has no outcome yet."""
        if not has_outcome(error):
            return error
        took = self.world.clock.now_us() - began
        meta = self.meta(flow, commitment, began, took, error=brief(error))
        self.book.behind(self.book.row(Kind.FAILED, position, meta, json.dumps(error.record()).encode()))
        self.tell("failed", position, flow, took, error.code)
        return error

    def meta(self, flow: AnyFlow, commitment: bytes, began: int, took: int, **facts: Any) -> Step:
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

    def context(self, turn: Turn, operations: Operations) -> Context:
        scope = turn.scope
        return Context(scope, turn.budget, self.book.execution, self.deadline, self.book.trace, scope.region, operations)

    def left(self, budget: Budget) -> Budget:
        """What may still be spent under `budget`."""
        return budget.spend(self.spent)

    def tell(self, kind: str, position: str, flow: AnyFlow, took_us: int = 0, note: str = "") -> None:
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


def _is_open(recorded: Recorded) -> bool:
    """Whether a touch that must not be repeated may have been made, or was: that is settled before anything else is decided."""
    if recorded.in_doubt:
        return True
    note = None if recorded.resolved is None else decode_meta(recorded.resolved)
    return recorded.intent is not None and isinstance(note, Note) and note.status == "done"


def _is_begun(flow: AnyFlow, recorded: Recorded) -> bool:
    """Whether a touch that can be repeated may have been made: where it is to be undone, its end is found out first."""
    return recorded.intent is not None and flow.effect is Effect.IDEMPOTENT
