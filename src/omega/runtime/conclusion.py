"""How a stretch of running concludes: in an end, or standing still. Each is one commit, in which whoever waits for it is woken.

    end             FINISHED row, leaf, line ended; the parent that started it is due in the same transaction
    stand still     PAUSED row; due at the earliest moment that anything in it waits for, or not before it is woken
    dead            PAUSED row and leaf; never due: somebody has to redrive it
    between tries   RESUMED and PAUSED row; due when the pause is over, and nobody's meanwhile
    hand back       no row: the worker drains, another one takes it up

Whatever does not run any more has no owner from that commit on. A wake that comes while the execution runs is kept by the store and makes
it due the moment it stands still.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import OmegaError, Suspended
from omega.kernel.journal import Kind, Note, Status
from omega.kernel.ports import NEVER, Head, Outcome
from omega.kernel.trail import Stored
from omega.runtime.book import Book
from omega.runtime.ending import Written
from omega.runtime.execution import Execution
from omega.runtime.faults import brief
from omega.runtime.halts import due_of
from omega.runtime.world import Moment, World


async def end(
    run: Execution,
    status: Status,
    *,
    flow: AnyFlow | None = None,
    result: Any = None,
    error: OmegaError | None = None,
    by: str = "",
    last: Stored | None = None,
) -> Outcome:
    """Write the end of `run`: `result` of `flow`, or `error`. `last` is what its last step has stored: mostly that is the result, and need
    not be encoded again. Raises what encoding and the store raise."""
    book, world = run.book, run.world
    now = world.clock.now_us()
    plain = json.dumps(error.record()).encode() if flow is None and error is not None else b"null"
    fresh = False
    if flow is not None and last is not None and last[0] is result and last[3] is flow.output and last[2]:
        _, plain, output, _ = last
        fresh = run.single and flow.output.loose  # read from what was stored a moment ago, and in nobody's hands since
    else:
        plain = plain if flow is None else flow.output.encode(result)[0]
        output = book.commitment(plain)
    note = Note(by=by, at_us=now, status=status, output=output, error=None if error is None else brief(error))
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
    wake = (run.parent,) if run.parent else ()
    done = await Written(book.commit(row, leaves=(leaf,), head=Head(status=status, at_us=now), wake=wake))
    world.watch(Moment(kind="finished", execution=book.execution, note=status))
    await hint(world, wake)
    return Outcome(
        execution=book.execution,
        status=status,
        value=(result if fresh else json.loads(plain)) if flow is not None else None,
        error=None if error is None else error.record(),
        leaf=done.leaves[-1] if done.leaves else None,
        tenant=book.scope.tenant,
        cost_micros=run.spent.cost_micros,
    )


async def stand_still(run: Execution, halt: Suspended) -> Outcome:
    """Write down that `run` waits, and for what; it may be taken up again from the moment in `halt`, or once it is woken."""
    book, world = run.book, run.world
    status = Status.IN_DOUBT if halt.code == "OMG-R006" else Status.WAITING
    now = world.clock.now_us()
    due_us = due_of(halt, run.deadline) if run.queue else NEVER
    row = book.row(Kind.PAUSED, "", Note(at_us=now, status=status, text=halt.code, value=due_us))
    await Written(book.commit(row, head=Head(status=status, at_us=now, due_us=due_us)))
    await _tell_if_due(world, book, run.queue)
    world.watch(Moment(kind="finished", execution=book.execution, note=status))
    return Outcome(execution=book.execution, status=status, error=halt.record(), tenant=book.scope.tenant)


async def die(world: World, book: Book, error: OmegaError) -> Outcome:
    """Write down that an execution is dead of `error`: nothing takes it up until it is redriven."""
    now = world.clock.now_us()
    note = Note(at_us=now, status=Status.DEAD, text=error.code, error=brief(error))
    row = book.row(Kind.PAUSED, "", note, json.dumps(error.record()).encode())
    leaf = book.leaf("admin", at_us=now, status=Status.DEAD, code=error.code, reason="taken up no more")
    await Written(book.commit(row, leaves=(leaf,), head=Head(status=Status.DEAD, at_us=now, due_us=NEVER)))
    world.watch(Moment(kind="finished", execution=book.execution, note=Status.DEAD))
    return Outcome(execution=book.execution, status=Status.DEAD, error=error.record(), tenant=book.scope.tenant)


async def hand_back(run: Execution) -> None:
    """Let another worker go on with `run` at once; a child that runs in its parent's engine goes with its parent. That is no failed try of
    it: it is counted anew."""
    now = run.world.clock.now_us()
    if run.queue:
        await run.book.commit(head=Head(status=Status.QUEUED, at_us=now, due_us=now))
        await _tell_if_due(run.world, run.book, run.queue)
    else:
        await run.book.commit()
        await run.world.store.release(run.book.execution)


async def put_off(world: World, book: Book, delay_s: float) -> None:
    """Give an execution back before the try that was to begin: it is tried in `delay_s` seconds, by whoever takes it up then.

    Its line keeps the status `running`, so that what was tried before still counts (see `supervision`).
    """
    now = world.clock.now_us()
    due_us = now + int(delay_s * 1_000_000)
    rows = (
        book.row(Kind.RESUMED, "", Note(by=world.owner, at_us=now, value=book.epoch)),
        book.row(Kind.PAUSED, "", Note(at_us=now, status=Status.RUNNING, text="OMG-R020", value=due_us)),
    )
    await book.commit(*rows, head=Head(status=Status.RUNNING, at_us=now, due_us=due_us))
    await world.store.release(book.execution)


async def hint(world: World, executions: Sequence[str]) -> None:
    """Tell the workers of these executions' queues to look."""
    if world.wakeups is None:
        return
    lines = [world.reader.line(execution) for execution in executions]
    for queue in sorted({line.queue for line in lines if line is not None and line.queue}):
        await world.wakeups.hint(queue)


async def _tell_if_due(world: World, book: Book, queue: str) -> None:
    if queue and world.wakeups is not None:
        line = world.reader.line(book.execution)
        if line is not None and 0 < line.due_us <= world.clock.now_us():  # woken meanwhile
            await world.wakeups.hint(queue)
