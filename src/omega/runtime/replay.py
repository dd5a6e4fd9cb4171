"""Replay: the same flow over the same records, offline, with nothing written and nothing touched.

Pure steps run again and must give the same bytes; everything that touched the world gives its recorded outcome. The first difference ends
it: a step that is not recorded, a recorded step that does not come, an input, a version or a result that is not the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Task, Tool
from omega.kernel.direct import as_failure, call_task
from omega.kernel.effects import Effect
from omega.kernel.errors import FlowError, InputError, IntegrityError, OmegaError
from omega.kernel.evaluate import Branch, evaluate
from omega.kernel.journal import Kind, Note, Status, Step, decode_meta
from omega.kernel.past import Past
from omega.kernel.trail import Trail, shown
from omega.runtime.book import Book
from omega.runtime.execution import Execution
from omega.runtime.lease import Lease
from omega.runtime.operations import Operations
from omega.runtime.recovery import StartRecord, check_unchanged, demand_whole, load
from omega.runtime.touching import Turn
from omega.runtime.world import World


@dataclass(slots=True)
class Report:
    """What a replay found. `divergence` is an `OmegaError.record()`; None when the run is identical."""

    execution: str
    steps: int = 0
    again: int = 0
    recalled: int = 0
    status: str = ""
    divergence: dict[str, Any] | None = None
    positions: list[str] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether everything came out as recorded."""
        return self.divergence is None


class _Closed(Book):
    """A book that can be read but not written: a row that a replay wants to add is a difference."""

    __slots__ = ()

    def row(self, kind: Kind, position: str, *_: Any) -> NoReturn:
        raise FlowError(
            "OMG-R014",
            f"recorded nothing at {shown(position)}, now {kind.name.lower()}",
            details={"recorded": {"step": "nothing", "where": ""}, "now": {"step": shown(position), "where": ""}},
        )

    def behind(self, *_: Any, **__: Any) -> NoReturn:
        raise FlowError("OMG-R014", "a replay writes nothing")

    async def commit(self, *_: Any, **__: Any) -> NoReturn:
        raise FlowError("OMG-R014", "a replay writes nothing")


class _Nobody:
    """Stands where the engine would: a replay starts nothing, every child it meets is recorded."""

    async def launch(self, *_: Any) -> NoReturn:
        raise FlowError("OMG-R014", "a replay starts nothing")

    commission = resume = outcome = launch

    async def cancel_child(self, execution: str, by: str) -> None:
        """Whoever failed then has cancelled it then."""

    def runs(self, execution: str) -> bool:
        """Nothing runs here."""
        return False


class Replay(Execution):
    """An execution that only repeats. `record` gives its contexts the budget and the deadline that they had."""

    def __init__(self, world: World, book: Book, past: Past, report: Report, record: StartRecord) -> None:
        lease = Lease(world.store, world.clock, execution=book.execution, epoch=0, length_us=0, since=0.0)
        deadline = None if record.deadline is None else record.deadline + past.paused_us / 1_000_000
        budget = Budget(**record.budget)
        super().__init__(world, book, past, budget=budget, lease=lease, nursery=_Nobody(), deadline=deadline)
        self.report = report

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail, ctx: Context | None = None) -> Any:
        """Recall what touched the world; run again what is pure, and compare."""
        if isinstance(flow.body, Tool) and not flow.body.pin:
            flow = self.world.bind(flow)
        position = trail.step(flow.name)
        value, commitment = self._input(flow, value, trail)
        recorded = self.past.meet(trail, position, flow.name, flow.where)
        if recorded is None or (recorded.settled is None and recorded.denied is None):
            raise FlowError(
                "OMG-R014",
                f"recorded nothing after the last step of {trail.path or 'the flow'}, now {shown(position)} ({flow.where or 'no source'})",
                details={
                    "recorded": {"step": "nothing", "where": ""},
                    "now": {"step": shown(position), "flow": flow.name, "where": flow.where},
                },
            )
        self._check(flow, recorded, commitment)
        self.report.steps += 1
        self.report.positions.append(shown(position))
        overridden = recorded.settled is not None and recorded.settled.kind == Kind.OVERRIDE
        if flow.effect is not Effect.PURE or not isinstance(flow.body, Task) or overridden:
            self.report.recalled += 1
            return self._recall(flow, trail, recorded)
        self.report.again += 1
        return await self._again(flow, value, trail, position, ctx)

    async def _again(self, flow: AnyFlow, value: Any, trail: Trail, position: str, ctx: Context | None) -> Any:
        settled = self.past.at[position].settled
        assert settled is not None and isinstance(flow.body, Task)  # noqa: S101 - the caller has just looked
        context = None
        if flow.body.takes_context:
            scope = self.book.scope if ctx is None else ctx.scope
            turn = Turn(flow, value, trail, position, b"", scope, self.budget if ctx is None else ctx.budget)
            context = self.context(turn, Operations(self, trail.inside(position), None))
        try:
            result = call_task(flow.body, context, value)
            if hasattr(result, "__await__"):
                result = await result
            data, result = flow.output.encode(result)
        except (Exception, SystemExit) as error:  # whatever the author's code raises is compared with what is recorded
            raise self._failed_again(flow, position, as_failure(flow, error)) from error
        if settled.kind != Kind.DONE or data != self.book.open(settled):
            raise self._differs(flow, position, "its result" if settled.kind == Kind.DONE else "it failed then and succeeds now")
        meta = decode_meta(settled)
        trail.last = (result, data, meta.output if isinstance(meta, Step) else b"", flow.output)
        return result

    def _failed_again(self, flow: AnyFlow, position: str, error: OmegaError) -> OmegaError:
        settled = self.past.at[position].settled
        if error.code in ("OMG-R014", "OMG-R015"):
            return error
        if settled is None or settled.kind != Kind.FAILED:
            return self._differs(flow, position, f"it succeeded then and fails now ({error.code})")
        was = self.book.error(settled)
        return was if was.code == error.code else self._differs(flow, position, f"it failed with {was.code} then, with {error.code} now")

    def _differs(self, flow: AnyFlow, position: str, what: str) -> FlowError:
        step = self.past.at[position].meta.step
        where = step.where if step is not None else ""
        return FlowError(
            "OMG-R015",
            f"{shown(position)} ({flow.where or where}) is not what was recorded: {what} differs"
            if what == "its result"
            else f"{shown(position)} ({flow.where or where}): {what}",
            details={
                "recorded": {"step": shown(position), "where": where, "version": step.version if step else ""},
                "now": {"step": shown(position), "where": flow.where, "version": flow.version},
            },
        )

    async def within(self, position: str, limit_s: float, work: Branch, trail: Trail, aside: Trail) -> tuple[bool, Any]:
        """A time limit passes where it passed, and nowhere else."""
        if self.past.decided(trail, position) is not None:
            return False, None
        aside.last = trail.last
        limits = Trail(f"{aside.path}~limit")
        self.past.meet(limits, f"{limits.path}/limit", "limit", "")
        return True, await work(aside)

    async def emitted(self, position: str, index: int, value: Any) -> None:
        """Nobody watches what happened long ago."""

    async def pause(self, position: str, delay: Callable[[float], float], trail: Trail) -> None:
        """A wait that is recorded is over."""
        if self.past.meet(trail, position, "pause", "") is None:
            self.book.row(Kind.TIMER, position, Note())


async def replay(world: World, execution: str, flow: AnyFlow) -> Report:
    """Repeat `execution` from its records.

    Raises InputError: OMG-I003 when it is not known, OMG-R012 when it has not ended in a result or a failure.
    """
    past, book, record = load(world, execution)
    demand_whole(past)
    line = world.reader.line(execution)
    if past.finished is None or line is None or line.status == Status.CANCELLED:
        raise InputError("OMG-R012", f"{execution} has not ended in a result or a failure")
    report = Report(execution, status=line.status)
    try:
        check_unchanged(record, flow, execution)
        run = Replay(world, closed(book), past, report, record)
        await _repeat(run, flow, record.input, line.status)
    except (FlowError, IntegrityError) as error:
        report.divergence = error.record()
    return report


async def _repeat(run: Replay, flow: AnyFlow, given: Any, status: str) -> None:
    past = run.past
    finished = past.finished
    assert finished is not None  # noqa: S101 - the caller has just looked
    trail = Trail(owner=asyncio.current_task())
    try:
        result = await evaluate(flow, flow.input.restore(given), trail, run)
        data = flow.output.encode(result)[0]  # a whole that is too large to be stored failed for that
    except OmegaError as error:
        was = run.book.error(finished) if status == Status.FAILED else None
        if was is not None and (_cut_short(past, was, error) or (error.code == was.code and error.code not in ("OMG-R014", "OMG-R015"))):
            return
        raise (
            error
            if isinstance(error, (FlowError, IntegrityError))
            else FlowError("OMG-R015", f"it ends with {error.code} now: {error.cause}")
        ) from error
    if status != Status.DONE:
        raise FlowError("OMG-R015", f"{run.book.execution} failed then and succeeds now")
    if data != run.book.open(finished):
        raise FlowError("OMG-R015", f"the result of {flow.name} differs")
    missed = past.left_over(trail) or past.unvisited()
    if missed is not None:
        raise past.diverged(missed, "", flow.name, flow.where)


def _cut_short(past: Past, was: OmegaError, error: OmegaError) -> bool:
    """Whether a run ended from outside, refused at its entry or past its time, and `error` is only that its records end there."""
    records_end = error.code == "OMG-R014" and error.details.get("recorded", {}).get("step") == "nothing"
    return records_end and (was.code == "OMG-R004" or not past.at)


def closed(book: Book) -> Book:
    """`book`, which from now on cannot be written."""
    sealed = _Closed.__new__(_Closed)
    for name in Book.__slots__:
        setattr(sealed, name, getattr(book, name))
    return sealed
