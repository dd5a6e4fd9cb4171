"""The engine: starts executions, takes them up again, listens to what people decide about them, and leaves nothing running behind.

    start      entry gate -> start record -> run -> end
    enqueue    entry gate -> start record -> a worker's `take_up`, when it is due
    resume     claim (epoch + 1) -> check the flow against the sealed start record -> run from the recorded past -> end
    take_up    the same for what a worker took from a queue, with its tries counted
    letters    cancel, approve, resolve, signal: written by any process into the inbox, carried out here, recorded as rows and leaves

An execution ends done, failed or cancelled; or it stands still (waiting, in doubt, dead) until it is due, or somebody acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Task
from omega.kernel.effects import Effect
from omega.kernel.errors import Denied, FlowError, InputError, IntegrityError, OmegaError, StorageError, Suspended
from omega.kernel.evaluate import evaluate
from omega.kernel.ids import EXECUTION, is_chosen_id, new_id
from omega.kernel.journal import Kind, Note, Status
from omega.kernel.past import TIMED, Past
from omega.kernel.ports import NEVER, Batch, Head, Outcome, Taken
from omega.kernel.queueing import DEFAULT
from omega.kernel.scope import Scope
from omega.kernel.trail import Trail
from omega.runtime.admission import MAX_DELAY_S, Line, Order, When, admit
from omega.runtime.book import Book
from omega.runtime.cancelling import cancel, cancel_children, cancelled_by
from omega.runtime.conclusion import die, end, hand_back, hint, put_off, stand_still
from omega.runtime.ending import to_its_end
from omega.runtime.execution import Execution
from omega.runtime.halts import together
from omega.runtime.lease import Lease
from omega.runtime.recovery import StartRecord, check_unchanged, load, read_outcome
from omega.runtime.supervision import DIVERGED, Restart, has_waited, is_hopeless, tries_of
from omega.runtime.world import Moment, World

MAX_RUNNING = 10_000
"""Most executions one engine runs at the same time."""


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[Outcome]
    execution: Execution
    cancelled_by: str = ""
    lost: StorageError | None = None
    cancelling: asyncio.Task[None] | None = None


class Engine:
    """Runs executions over one world. Close it with `close`; whatever still runs then is left as it is recorded and can be resumed."""

    def __init__(self, world: World, *, executes: type[Execution] = Execution) -> None:
        self.world = world
        self._executes = executes
        self._running: dict[str, _Running] = {}
        self.freed: Callable[[], Any] = _nobody_waits
        """Called whenever an execution does not run here any more: whoever takes up others has room again."""

    # -- starting

    async def start(  # noqa: PLR0913 - what a call may say about its run, each named by its caller
        self,
        flow: AnyFlow,
        value: Any,
        scope: Scope,
        *,
        execution: str = "",
        target: str = "",
        budget: Budget | None = None,
        timeout_s: float | None = None,
        labels: Mapping[str, str] | None = None,
        trace: str = "",
        origin: Mapping[str, str] | None = None,
        soon: bool = False,
    ) -> str:
        """Admit `flow` for `value` and set it going; gives the execution's id. `trace` is the one that it goes on with, `origin` where the
        call came from (see `kernel.ports.Call`). `soon` has the start written with whatever is written next, before anything leaves: for
        a caller that waits for the outcome and tells nobody the id before.

        Raises InputError (OMG-I001) for an input that does not fit, Denied when the entry is refused (recorded all the same),
        InputError (OMG-R010) for an id that is taken.
        """
        execution, line = self._name(execution), Line(labels=labels or {})
        value, data = _read(flow, value)
        deadline = None if timeout_s is None else self.world.clock.now_us() / 1_000_000 + timeout_s
        order = Order(
            execution=execution,
            flow=flow,
            data=data,
            scope=scope,
            budget=budget or Budget(),
            target=target,
            deadline=deadline,
            line=line,
            trace=trace,
            origin=origin or {},
        )
        await self.launch(order, value, soon=soon)
        return execution

    async def launch(self, order: Order, value: Any, *, soon: bool = False) -> None:
        """Admit `order` and run it here, on `value`; for `soon` see `start`. Raises Denied, InputError (OMG-R010), FlowError (OMG-R016)
        when too many run."""
        if len(self._running) >= MAX_RUNNING:
            raise FlowError("OMG-R016", f"{MAX_RUNNING:,} executions are running already")
        since = self.world.clock.monotonic()
        book = await admit(self.world, order, when=_when(order, soon=soon))
        run = self._execution(book, Past(()), since, budget=order.budget, deadline=order.deadline)
        run.parent = order.line.parent
        if not order.flow.children:
            run.stored = (value, order.data, book.commitment(order.data), order.flow.input)
        self._launch(order.flow, value, run)

    async def enqueue(  # noqa: PLR0913 - the flow, its value, whose it is, and where and when it is worked off
        self,
        flow: AnyFlow,
        value: Any,
        scope: Scope,
        *,
        queue: str = DEFAULT,
        key: str = "",
        priority: int = 0,
        delay_s: float = 0.0,
        at_us: int = NEVER,
        execution: str = "",
        target: str = "",
        budget: Budget | None = None,
        timeout_s: float | None = None,
        labels: Mapping[str, str] | None = None,
        trace: str = "",
        origin: Mapping[str, str] | None = None,
    ) -> str:
        """Admit `flow` for `value` and leave it to the workers of `queue`; gives the execution's id, which is on disk then.

        It is due in `delay_s` seconds, or at `at_us` (Unix microseconds). `timeout_s` counts from when it is begun. Raises what `start`
        raises, InputError (OMG-I001) for a queue, key, priority or delay that cannot be.
        """
        if not 0 <= delay_s <= MAX_DELAY_S:
            raise InputError("OMG-I001", f"a delayed start is 0 to {MAX_DELAY_S:.0f} seconds away, not {delay_s!r}")
        if not queue:
            raise InputError("OMG-I001", "a queue needs a name")
        execution = self._name(execution)
        _, data = _read(flow, value)
        due_us = at_us or self.world.clock.now_us() + int(delay_s * 1_000_000)
        order = Order(
            execution=execution,
            flow=flow,
            data=data,
            scope=scope,
            budget=budget or Budget(),
            target=target,
            deadline=None if timeout_s is None else due_us / 1_000_000 + timeout_s,
            line=Line(queue=queue, key=key, priority=priority, due_us=due_us, labels=labels or {}),
            trace=trace,
            origin=origin or {},
        )
        await self.commission(order)
        return execution

    async def commission(self, order: Order) -> None:
        """Admit `order` and leave it to the workers of its queue. Raises Denied, InputError (OMG-R010) for an id that is taken."""
        await admit(self.world, order)
        if self.world.wakeups is not None:
            await self.world.wakeups.hint(order.line.queue)

    def _name(self, execution: str) -> str:
        if not execution:
            return new_id(EXECUTION, now_ms=self.world.clock.now_us() // 1_000, entropy=self.world.entropy.take(10))
        if not is_chosen_id(execution):
            raise InputError("OMG-I003", f"{execution[:80]!r} cannot be the id of an execution")
        if execution in self._running or self.world.reader.line(execution) is not None:
            raise InputError(
                "OMG-R010", f"{execution} exists already", advice=f"take it up with omega resume {execution}, or choose another id"
            )
        return execution

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
        now, since = self.world.clock.now_us(), self.world.clock.monotonic()
        epoch = await self.world.store.claim(execution, owner=self.world.owner, lease_us=now + self.world.lease_us, now_us=now)
        past, book, record = load(self.world, execution)
        book.epoch = epoch
        self._go_on(flow, past, book, record, since)
        return execution

    async def take_up(self, taken: Taken, flow: AnyFlow, restart: Restart, since: float) -> None:
        """Go on with what a worker took at the monotonic moment `since`: run it, or write down why it cannot be.

        A flow that is not the one it was started with leaves it as it is (FlowError OMG-R014). Raises StorageError.
        """
        try:
            past, book, record = load(self.world, taken.execution)
        except (IntegrityError, Denied, InputError):  # damaged, of an authority or a form that does not stand here
            await self._set_aside(taken)
            return
        except StorageError as error:
            if error.code != "OMG-S003":
                raise
            raise FlowError("OMG-R014", f"{taken.execution} was started by a newer release") from error  # whose workers take it up
        book.epoch = taken.epoch
        if past.finished is not None:
            return
        if past.dead:  # woken, but not redriven
            await self._set_aside(taken)
            return
        tries = tries_of(taken, past)
        poison = restart.poisoned(taken.execution, tries)
        if poison is not None:
            await die(self.world, book, poison)
            return
        check_unchanged(record, flow, taken.execution)
        delay_s = 0.0 if has_waited(past) else restart.delay_s(tries)
        if delay_s:
            await put_off(self.world, book, delay_s)
            return
        try:
            run = self._go_on(flow, past, book, record, since)
        except InputError:  # the recorded input no longer fits the type
            await self._set_aside(taken)
            return
        run.queue = taken.queue

    async def _set_aside(self, taken: Taken) -> None:
        """What cannot even be read, no worker takes up again; nothing of it is changed."""
        line = self.world.reader.line(taken.execution)
        if line is not None:
            head = Head(status=Status.DEAD, at_us=self.world.clock.now_us(), due_us=NEVER)
            await self.world.store.commit(Batch(tenant=line.tenant, execution=taken.execution, epoch=taken.epoch, head=head))

    def _go_on(self, flow: AnyFlow, past: Past, book: Book, record: StartRecord, since: float) -> Execution:
        now = self.world.clock.now_us()
        taken = Note(by=self.world.owner, at_us=now, value=book.epoch)
        book.behind(book.row(Kind.RESUMED, "", taken), head=Head(status=Status.RUNNING, at_us=now))
        paused = past.paused_us + (max(0, now - past.paused_at) if past.paused_at else 0)
        deadline = None if record.deadline is None else record.deadline + paused / 1_000_000
        run = self._execution(book, past, since, budget=Budget(**record.budget), deadline=deadline)
        line = self.world.reader.line(book.execution)
        run.parent, run.queue = (line.parent, line.queue) if line is not None else ("", "")
        self._launch(flow, flow.input.restore(record.input), run)
        return run

    def _execution(self, book: Book, past: Past, since: float, *, budget: Budget, deadline: float | None) -> Execution:
        world = self.world
        lease = Lease(world.store, world.clock, execution=book.execution, epoch=book.epoch, length_us=world.lease_us, since=since)
        return self._executes(world, book, past, budget=budget, deadline=deadline, lease=lease, nursery=self)

    # -- running

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
        execution.single = not flow.children
        task = asyncio.create_task(self._run(flow, value, execution), name=name)
        running = self._running[name] = _Running(task, execution)
        task.add_done_callback(lambda _: self._over(name, running, flow))

    def _over(self, execution: str, running: _Running, flow: AnyFlow) -> None:
        if self._running.get(execution) is running:
            del self._running[execution]
        tenant = running.execution.book.scope.tenant
        running.execution.book.let_go()  # here, since a task that is cancelled before it began runs nothing of its own
        try:
            self.freed()
        finally:
            self.world.rested(tenant, execution, flow)
            self.world.streams.end(tenant, execution)

    async def _run(self, flow: AnyFlow, value: Any, run: Execution) -> Outcome:
        self.world.watch(Moment(kind="started", execution=run.book.execution, flow=flow.name, effect=flow.effect.value))
        try:
            return await self._stretch(flow, value, run)
        except StorageError as error:  # where it stands could not be written: it stands where it stood, and is gone on with
            return _left(run, error)

    async def _stretch(self, flow: AnyFlow, value: Any, run: Execution) -> Outcome:
        """Run it until it ends or stands still, and write that down."""
        trail = Trail(owner=asyncio.current_task(), stop=_cancellation(run.past))
        trail.last = run.stored
        try:
            self.world.authority.check(run.book.scope)
            result = await self._in_time(flow, value, trail, run)
            await self._leave_no_child(run)
            return await end(run, Status.DONE, flow=flow, result=result, last=trail.last)
        except Suspended as halt:
            return await self._halted(run, halt)
        except OmegaError as error:
            return await self._failed(run, error)
        except asyncio.CancelledError:
            running = self._running[run.book.execution]
            if running.lost is not None:
                return _left(run, running.lost)
            if run.leaving or not running.cancelled_by:
                raise  # the engine closes: what is recorded stands, and can be resumed
            return await self._cancelled(run, running.cancelled_by)

    async def _halted(self, run: Execution, halt: Suspended) -> Outcome:
        outcome = await stand_still(run, halt)
        running = self._running.get(run.book.execution)  # from that commit on another, even this engine, may have taken it up
        by = running.cancelled_by if running is not None and running.execution is run else ""
        if by and not run.unfinished:
            return await self._cancelled(run, by)
        return outcome

    async def _cancelled(self, run: Execution, by: str) -> Outcome:
        """The end of what was cancelled, unless undoing it is not through: then it waits for that, or has failed in it."""
        waits = [error for error in run.unfinished if isinstance(error, Suspended)]
        if waits:
            return await stand_still(run, together(waits))
        if run.unfinished:
            return await end(run, Status.FAILED, error=run.unfinished[0], by=by)
        await cancel_children(self, run.book.execution, by)
        return await end(run, Status.CANCELLED, error=FlowError("OMG-R005", f"cancelled by {by}"), by=by)

    async def _failed(self, run: Execution, error: OmegaError) -> Outcome:
        book = run.book
        if run.queue and is_hopeless(error):
            return await die(self.world, book, error)
        if isinstance(error, (StorageError, IntegrityError)) or error.code in DIVERGED:
            return _left(run, error)
        by = cancelled_by(run.past)
        if by and error.code == "OMG-R005":
            return await self._cancelled(run, by)
        await self._leave_no_child(run)
        return await end(run, Status.FAILED, error=error)

    async def _leave_no_child(self, run: Execution) -> None:
        """Cancel the children that have not ended, before the end of `run` is written: they do not outlive it."""
        if run.may_have_children:
            await to_its_end(cancel_children(self, run.book.execution, run.book.scope.principal))

    async def _in_time(self, flow: AnyFlow, value: Any, trail: Trail, run: Execution) -> Any:
        if run.deadline is None:
            result = await evaluate(flow, value, trail, run)
        else:
            remaining = run.deadline - self.world.clock.now_us() / 1_000_000
            late = FlowError("OMG-R004", f"{flow.name} did not end within the time of its run")
            if remaining <= 0 and run.past.undoable and trail.stop is None:
                trail.stop = late  # nothing new, but its records are walked over: what was done is to be undone
                return await evaluate(flow, value, trail, run)
            try:
                async with asyncio.timeout(max(0.0, remaining)) as limit:
                    result = await evaluate(flow, value, trail, run)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise late from None
            except Suspended as halt:
                if remaining > 0 or halt.code not in TIMED:
                    raise
                raise late from None
        left_over = run.past.left_over(trail)
        if left_over is not None:
            raise run.past.diverged(left_over, "", flow.name, flow.where)
        return result

    # -- letting go

    async def close(self) -> None:
        """Stop what runs, without an end: everything recorded stays and can be resumed. A write under way is waited for."""
        for running in self._running.values():
            _abandon(running)
        if self._running:
            await asyncio.wait([running.task for running in self._running.values()])

    async def hand_back(self) -> None:
        """Stop what runs, and let other workers go on at once with what came from a queue. Raises nothing: a lease that cannot be given
        back runs out."""
        runs = [running.execution for running in self._running.values() if running.execution.queue or running.execution.parent]
        tasks = {running.execution.book.execution: running.task for running in self._running.values()}
        await self.close()
        for run in runs:
            if tasks[run.book.execution].cancelled():  # the others have come to an end, or stand still
                with suppress(OmegaError):
                    await hand_back(run)

    async def renew(self) -> None:
        """Renew the leases of everything that runs here; call it several times per lease. What somebody else owns by now is let go.

        Raises StorageError: OMG-S006 when something was lost; anything else when the store cannot be reached, and then nothing here
        touches the world any more once its lease is over.
        """
        held = [running for running in self._running.values() if not running.execution.book.unborn]
        refused = await asyncio.gather(*(running.execution.lease.renew() for running in held), return_exceptions=True)
        for running, error in zip(held, refused, strict=True):
            if isinstance(error, StorageError) and error.code == "OMG-S006":
                running.lost = error
                _abandon(running)
        troubles = [error for error in refused if isinstance(error, BaseException)]
        if troubles:
            raise min(troubles, key=lambda error: isinstance(error, StorageError) and error.code == "OMG-S006")

    # -- what decisions and children need

    @property
    def running(self) -> int:
        """How many executions run here."""
        return len(self._running)

    def runs(self, execution: str) -> bool:
        """Whether `execution` runs here."""
        return execution in self._running

    def cancel(self, execution: str, by: str) -> bool:
        """Ask what runs here to stop; False when it does not run here."""
        running = self._running.get(execution)
        if running is None:
            return False
        running.cancelled_by = by
        running.cancelling = asyncio.create_task(_cancel(running))
        return True

    async def cancel_child(self, execution: str, by: str) -> None:
        """Cancel a child, wherever it is. Raises nothing: one that has ended, or that nobody can reach now, is left."""
        with suppress(OmegaError):
            await cancel(self, execution, by)

    def book_of(self, execution: str) -> tuple[Book, Past] | None:
        """The book and past of what runs here."""
        running = self._running.get(execution)
        return None if running is None else (running.execution.book, running.execution.past)

    async def hint(self, *executions: str) -> None:
        """Tell the workers of these executions' queues to look."""
        await hint(self.world, executions)


def _cancellation(past: Past) -> FlowError | None:
    by = cancelled_by(past)
    return FlowError("OMG-R005", f"cancelled by {by}") if by else None


def _left(run: Execution, error: OmegaError) -> Outcome:
    """What is said of an execution that is neither ended nor standing still: somebody goes on with it."""
    return Outcome(execution=run.book.execution, status=Status.RUNNING, error=error.record(), tenant=run.book.scope.tenant)


async def _cancel(running: _Running) -> None:
    """Cancel what runs, once it is known what is to be undone in it.

    Its task has begun by then: one that never did would not be there to record its end.
    """
    await running.execution.caught_up("")
    running.task.cancel()


def _abandon(running: _Running) -> None:
    running.execution.leaving = True
    running.task.cancel()


def _nobody_waits() -> None:
    """No worker takes anything up."""


def _read(flow: AnyFlow, value: Any) -> tuple[Any, bytes]:
    data, value = flow.input.encode(flow.input.read(value))
    return value, data


def _when(order: Order, *, soon: bool) -> When:
    """When the start of `order` goes to disk: at once where whoever has seen its id may want to resume it.

    What only computes is over before a commit would be, and a single touch writes down its leave to touch next: these take it along. A
    child's is handed over before its parent's row about it, which is on disk no earlier then.
    """
    flow = order.flow
    if not may_last(flow):
        return When.SOON if order.line.parent else When.WITH_THE_NEXT
    if not soon:
        return When.NOW
    return When.SOON if flow.children or flow.effect is Effect.PURE else When.WITH_THE_NEXT


def may_last(flow: AnyFlow) -> bool:
    """Whether `flow` may touch or wait."""
    if flow.effect is not Effect.PURE:
        return True
    if _waits(flow):
        return True
    bodies = [leaf.body for leaf in flow.leaves()]
    return any(not isinstance(body, Task) or body.takes_context or iscoroutinefunction(body.function) for body in bodies)


def _waits(flow: AnyFlow) -> bool:
    """Whether a combinator inside stands still by itself: a delay, a scatter."""
    return flow.body.waits or any(_waits(child) for child in flow.children)
