"""The engine: starts executions, takes them up again, listens to what people decide about them, and leaves nothing running behind.

    start      entry gate -> start record -> run -> end
    resume     claim (epoch + 1) -> check the flow against the sealed start record -> run from the recorded past -> end
    letters    cancel, approve, resolve, signal: written by any process into the inbox, carried out here, recorded as rows and leaves

An execution ends done, failed or cancelled; or it stands still (waiting, in doubt) until somebody acts and it is resumed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Task
from omega.kernel.effects import Effect
from omega.kernel.errors import FlowError, InputError, IntegrityError, OmegaError, StorageError, Suspended
from omega.kernel.evaluate import evaluate
from omega.kernel.ids import EXECUTION, is_chosen_id, new_id
from omega.kernel.journal import FORMAT, Kind, Note, Start, Status
from omega.kernel.past import Past
from omega.kernel.ports import Head, Outcome
from omega.kernel.scope import Scope
from omega.kernel.trail import Trail
from omega.kernel.verdict import Ask, Decision, Gate, Verdict
from omega.runtime.book import Book
from omega.runtime.execution import Execution
from omega.runtime.faults import brief, denied
from omega.runtime.recovery import LEASE_US, StartRecord, check_unchanged, load, read_outcome
from omega.runtime.world import Moment, World

T = TypeVar("T")

MAX_RUNNING = 10_000
"""Most executions one engine runs at the same time."""


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[Outcome]
    execution: Execution
    cancelled_by: str = ""


class Engine:
    """Runs executions over one world. Close it with `close`; whatever still runs then is left as it is recorded and can be resumed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._running: dict[str, _Running] = {}

    # -- starting

    async def start(
        self,
        flow: AnyFlow,
        value: Any,
        scope: Scope,
        *,
        execution: str = "",
        target: str = "",
        budget: Budget | None = None,
        timeout_s: float | None = None,
    ) -> str:
        """Admit `flow` for `value` and set it going; gives the execution's id.

        Raises InputError (OMG-I001) for an input that does not fit, Denied when the entry is refused (recorded all the same),
        InputError (OMG-R010) for an id that is taken.
        """
        now = self.world.clock.now_us()
        if len(self._running) >= MAX_RUNNING:
            raise FlowError("OMG-R016", f"{MAX_RUNNING:,} executions are running already")
        execution = self._free(execution) if execution else new_id(EXECUTION, now_ms=now // 1_000, entropy=self.world.entropy.take(10))
        value = flow.input.read(value)
        data, value = flow.input.encode(value)
        budget = budget or Budget()
        record = StartRecord(
            format=FORMAT,
            digest=flow.digest,
            outline=flow.outline(),
            claims=scope.claims(),
            budget=budget.record(),
            deadline=None if timeout_s is None else now / 1_000_000 + timeout_s,
            trace=self.world.entropy.take(16).hex(),
            input=json.loads(data),
            target=target,
        )
        wrapped, sealer = self.world.keyring.create(execution)
        book = Book(self.world.store, sealer, execution=execution, epoch=1, scope=scope, flow_digest=flow.digest, trace=record.trace)
        verdict = self._entry(flow, scope, book.commitment(data), execution, budget, now)
        await self._open(book, flow, record, verdict, wrapped, now)
        past = Past(())
        self._launch(flow, value, Execution(self.world, book, past, budget=budget, deadline=record.deadline))
        return execution

    def _free(self, execution: str) -> str:
        if not is_chosen_id(execution):
            raise InputError("OMG-I003", f"{execution[:80]!r} cannot be the id of an execution")
        if execution in self._running or self.world.reader.line(execution) is not None:
            raise InputError(
                "OMG-R010", f"{execution} exists already", advice=f"take it up with omega resume {execution}, or choose another id"
            )
        return execution

    def _entry(self, flow: AnyFlow, scope: Scope, commitment: bytes, execution: str, budget: Budget, now: int) -> Verdict:
        return self.world.warden.ask(
            Ask(
                gate=Gate.ENTRY,
                scope=scope,
                execution=execution,
                step="",
                epoch=1,
                flow=flow.name,
                flow_digest=flow.digest,
                effect=flow.effect,
                input_commitment=commitment,
                now=now / 1_000_000,
                needs=flow.needs,
                kind=flow.body.kind,
                left=budget,
            )
        )

    async def _open(self, book: Book, flow: AnyFlow, record: StartRecord, verdict: Verdict, wrapped: bytes, now: int) -> None:
        scope = book.scope
        start = Start(
            flow=flow.name,
            version=flow.version,
            digest=flow.digest,
            tenant=scope.tenant,
            principal=scope.principal,
            target=record.target,
            at_us=now,
            decision=verdict.record(),
            record=book.commitment(record.encode()),
        )
        admitted = verdict.decision is Decision.ALLOW
        rows = [book.row(Kind.STARTED, "", start, record.encode())]
        leaves = [book.leaf("entry" if admitted else "deny", at_us=now, verdict=verdict, flow=flow.name, effect=flow.effect.value)]
        error = None if admitted else denied(flow, "", book.execution, verdict)
        if error is not None:
            rows.append(
                book.row(Kind.FINISHED, "", Note(at_us=now, status=Status.FAILED, error=brief(error)), json.dumps(error.record()).encode())
            )
        head = Head(
            status=Status.RUNNING if admitted else Status.FAILED,
            flow=flow.name,
            version=flow.version,
            principal=scope.principal,
            target=record.target,
            at_us=now,
            create=True,
        )
        if error is None and not may_last(flow):
            book.behind(*rows, leaves=tuple(leaves), head=head, key=wrapped)
            return
        await book.commit(*rows, leaves=tuple(leaves), head=head, key=wrapped)
        if error is not None:
            raise error

    # -- taking up again

    async def resume(self, execution: str, flow: AnyFlow) -> str:
        """Go on with `execution` from what is recorded of it. `flow` must be the one it was started with.

        Raises InputError: OMG-I003 when it is not known, OMG-R010 while it runs here or elsewhere, FlowError: OMG-R014 when the flow
        changed. An execution that ended is not run again: its outcome is simply there.
        """
        if execution in self._running:
            raise InputError("OMG-R010", f"{execution} is running in this engine")
        past, book, record = load(self.world, execution)
        if past.finished is not None:
            return execution
        self.world.authority.check(book.scope)
        check_unchanged(record, flow, execution)
        epoch = await self.world.store.claim(
            execution, owner=self.world.owner, lease_us=self.world.clock.now_us() + LEASE_US, now_us=self.world.clock.now_us()
        )
        past, book, record = load(self.world, execution)
        book.epoch = epoch
        now = self.world.clock.now_us()
        book.behind(book.row(Kind.RESUMED, "", Note(at_us=now, value=epoch)), head=Head(status=Status.RUNNING, at_us=now))
        paused = past.paused_us + (now - past.paused_at if past.paused_at else 0)
        deadline = None if record.deadline is None else record.deadline + paused / 1_000_000
        value = flow.input.read(record.input)
        self._launch(flow, value, Execution(self.world, book, past, budget=Budget(**record.budget), deadline=deadline))
        return execution

    # -- ending

    async def outcome(self, execution: str) -> Outcome:
        """How `execution` ended or stands; waits while it runs here. Raises InputError (OMG-I003) when it is not known."""
        running = self._running.get(execution)
        if running is not None:
            try:
                return await asyncio.shield(running.task)
            except asyncio.CancelledError:
                if running.task.cancelled():
                    raise FlowError(
                        "OMG-R005", f"the engine was closed while {execution} ran", advice=f"omega resume {execution}"
                    ) from None
                raise
        return read_outcome(self.world, execution)

    def _launch(self, flow: AnyFlow, value: Any, execution: Execution) -> None:
        name = execution.book.execution
        task = asyncio.create_task(self._run(flow, value, execution), name=name)
        self._running[name] = _Running(task, execution)
        task.add_done_callback(lambda _: self._running.pop(name, None))

    async def _run(self, flow: AnyFlow, value: Any, run: Execution) -> Outcome:
        self.world.watch(Moment(kind="started", execution=run.book.execution, flow=flow.name, effect=flow.effect.value))
        trail = Trail(owner=asyncio.current_task())
        try:
            result = await self._in_time(flow, value, trail, run)
            return await self._finish(run, Status.DONE, flow=flow, result=result)
        except Suspended as halt:
            return await self._stand_still(run, halt)
        except OmegaError as error:
            if isinstance(error, (StorageError, IntegrityError)) or error.code in ("OMG-R014", "OMG-R015"):
                return Outcome(execution=run.book.execution, status=Status.RUNNING, error=error.record(), tenant=run.book.scope.tenant)
            return await self._finish(run, Status.FAILED, error=error)
        except asyncio.CancelledError:
            by = self._running[run.book.execution].cancelled_by
            if not by:
                raise  # the engine closes: what is recorded stands, and can be resumed
            return await self._finish(run, Status.CANCELLED, error=FlowError("OMG-R005", f"cancelled by {by}"), by=by)

    async def _in_time(self, flow: AnyFlow, value: Any, trail: Trail, run: Execution) -> Any:
        if run.deadline is None:
            result = await evaluate(flow, value, trail, run)
        else:
            remaining = run.deadline - self.world.clock.now_us() / 1_000_000
            try:
                async with asyncio.timeout(max(0.0, remaining)) as limit:
                    result = await evaluate(flow, value, trail, run)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise FlowError("OMG-R004", f"{flow.name} did not end within the time of its run") from None
        left_over = run.past.left_over(trail)
        if left_over is not None:
            raise run.past.diverged(left_over, "", flow.name, flow.where)
        return result

    async def _finish(
        self,
        run: Execution,
        status: Status,
        *,
        flow: AnyFlow | None = None,
        result: Any = None,
        error: OmegaError | None = None,
        by: str = "",
    ) -> Outcome:
        book, now = run.book, self.world.clock.now_us()
        plain = json.dumps(error.record()).encode() if flow is None and error is not None else b"null"
        if flow is not None:
            plain, result = flow.output.encode(result)
        note = Note(by=by, at_us=now, status=status, output=book.commitment(plain), error=None if error is None else brief(error))
        row = book.row(Kind.FINISHED, "", note, plain)
        leaf = book.leaf(
            "end",
            at_us=now,
            status=status,
            output=note.output.hex(),
            cost_micros=run.spent.cost_micros,
            tokens=run.spent.tokens,
            code=error.code if error else "",
            reason=f"by {by}" if by else "",
        )
        done = await to_its_end(book.commit(row, leaves=(leaf,), head=Head(status=status, at_us=now)))
        self.world.watch(Moment(kind="finished", execution=book.execution, note=status))
        return Outcome(
            execution=book.execution,
            status=status,
            value=json.loads(plain) if flow is not None else None,
            error=None if error is None else error.record(),
            leaf=done.leaves[0] if done.leaves else None,
            tenant=book.scope.tenant,
            cost_micros=run.spent.cost_micros,
        )

    async def _stand_still(self, run: Execution, halt: Suspended) -> Outcome:
        status = Status.IN_DOUBT if halt.code == "OMG-R006" else Status.WAITING
        now = self.world.clock.now_us()
        row = run.book.row(Kind.PAUSED, "", Note(at_us=now, status=status, text=halt.code))
        await to_its_end(run.book.commit(row, head=Head(status=status, at_us=now)))
        by = self._running[run.book.execution].cancelled_by
        if by:
            return await self._finish(run, Status.CANCELLED, error=FlowError("OMG-R005", f"cancelled by {by}"), by=by)
        self.world.watch(Moment(kind="finished", execution=run.book.execution, note=status))
        return Outcome(execution=run.book.execution, status=status, error=halt.record(), tenant=run.book.scope.tenant)

    async def close(self) -> None:
        """Stop what runs, without an end: everything recorded stays and can be resumed. A write under way is waited for."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- what decisions need

    def cancel(self, execution: str, by: str) -> bool:
        """Ask what runs here to stop; False when it does not run here."""
        running = self._running.get(execution)
        if running is None:
            return False
        running.cancelled_by = by
        # After its first step, which is due already: a task that never began would not be there to record its end.
        asyncio.get_running_loop().call_soon(running.task.cancel)
        return True

    def book_of(self, execution: str) -> tuple[Book, Past] | None:
        """The book and past of what runs here."""
        running = self._running.get(execution)
        return None if running is None else (running.execution.book, running.execution.past)

    async def renew(self) -> None:
        """Renew the leases of everything that runs here; the host calls it several times per `LEASE_US`."""
        until = self.world.clock.now_us() + LEASE_US
        for execution, running in list(self._running.items()):
            await self.world.store.renew(execution, running.execution.book.epoch, until)


def may_last(flow: AnyFlow) -> bool:
    """Whether `flow` may touch or wait: then its start is on disk before anything else, so that whoever has seen its id can resume it.

    What only computes is over before a commit would be; its start is written behind, with its end.
    """
    if flow.effect is not Effect.PURE:
        return True
    bodies = [leaf.body for leaf in flow.leaves()]
    return any(not isinstance(body, Task) or body.takes_context or iscoroutinefunction(body.function) for body in bodies)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which writes where an execution stands: a cancellation that comes meanwhile is too late to stop it."""
    writing = asyncio.create_task(work)
    while not writing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([writing])
    return writing.result()
