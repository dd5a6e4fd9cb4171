"""Children: started once, joined with what they gave, woken for, cancelled with their parent, paid for by it; and compensation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from omega import Budget, Command, Context, WriteFiles, flow, foreach, parallel
from omega.kernel.errors import StorageError
from omega.kernel.journal import Kind, Status
from omega.kernel.ports import Search
from omega.kernel.sagas import saga
from omega.runtime.children import child_of
from omega.testing import Crash, Lab, run_virtual
from runtime.flows import broken, code, double, look, slow, touched
from runtime.test_worker import host, serve, stop


@flow
async def here(ctx: Context, n: int) -> int:
    """Starts a child in this very engine."""
    child = await ctx.start(double | look, n)
    return int(await ctx.join(child)) + 100


@flow
async def elsewhere(ctx: Context, n: int) -> int:
    """Starts two children on a queue, and joins them."""
    first = await ctx.start(slow, n, queue="work")
    second = await ctx.start(look, n, queue="work", priority=3)
    return int(await ctx.join(first)) + int(await ctx.join(second))


def children(lab: Lab, name: str) -> list[Any]:
    return lab.store.search(Search(parent=name))


def test_a_child_in_the_same_engine() -> None:
    async def run() -> None:
        lab = host(park_s=None)
        done = await lab.run(here, 3, execution="run")
        assert done.value == 107
        (line,) = children(lab, "run")
        assert line.execution == child_of("run", "here/sequence") and line.queue == "" and line.status == Status.DONE
        assert lab.verify().sound and (await lab.replay("run", here)).identical

    run_virtual(run())


@pytest.mark.promise("RUN-84")
@pytest.mark.parametrize("park_s", [None, 5.0])
def test_children_on_a_queue_are_worked_off_by_any_worker_and_wake_their_parent(park_s: float | None) -> None:
    async def run() -> None:
        first = host(owner="first", park_s=park_s)
        second = host(first, owner="second")
        tasks = [serve(first, elsewhere)[1], serve(second, slow, look, queues=("work",))[1]]
        name = await first.enqueue(elsewhere, 4)
        await first.until(name)
        assert (await first.engine.outcome(name)).value == 9 and 10.0 <= first.clock.monotonic() < 11.5
        assert [row.kind for row in first.store.rows(name)].count(Kind.CHILD) == 2
        assert len(children(first, name)) == 2 and len(second.effectors["process"].touches) == 2
        await stop(*tasks)
        assert first.verify().sound and (await first.replay(name, elsewhere)).identical

    run_virtual(run())


@pytest.mark.promise("RUN-84")
def test_a_child_is_started_once_whenever_its_parent_dies() -> None:
    async def run(die_at: int) -> bool:
        lab = host()
        name = await lab.enqueue(elsewhere, 4, execution="parent")
        appends = 0

        def crash(batch: Any) -> None:
            nonlocal appends
            appends += 1
            if appends == die_at:
                _bury(lab)
                raise Crash

        lab.store.on_append = crash
        _, task = serve(lab, elsewhere, slow, look, queues=("default", "work"))
        await asyncio.sleep(30.0)
        await stop(task)
        next_one = host(lab, owner="next")
        _, task = serve(next_one, elsewhere, slow, look, queues=("default", "work"))
        await next_one.until(name)
        assert (await next_one.engine.outcome(name)).value == 9 and len(children(next_one, name)) == 2
        await stop(task)
        return appends >= die_at

    async def everywhere() -> None:
        at = 1
        while await run(at):
            at += 1
        assert at > 8

    run_virtual(everywhere())


def _bury(lab: Lab) -> None:
    """Nothing of this engine reaches the store any more."""
    lab.store.release = lab.store.commit = _gone
    lab.store.behind = _refused


async def _gone(*_: Any, **__: Any) -> Any:
    _refused()


def _refused(*_: Any) -> None:
    raise StorageError("OMG-S004", "this process is dead")


def test_the_failure_of_a_child_is_its_parents_error() -> None:
    @flow
    async def hopes(ctx: Context, n: int) -> int:
        return int(await ctx.join(await ctx.start(broken, n, queue="work")))

    async def run() -> None:
        lab = host()
        _, task = serve(lab, hopes, broken, queues=("default", "work"))
        name = await lab.enqueue(hopes, 4)
        await lab.until(name)
        outcome = await lab.engine.outcome(name)
        assert outcome.status == Status.FAILED and code(outcome) == "OMG-R001" and "broken" in str(outcome.error)
        await stop(task)

    run_virtual(run())


def test_only_ones_own_children_can_be_joined() -> None:
    @flow
    async def peeks(ctx: Context, name: str) -> int:
        return int(await ctx.join(name))

    async def run() -> None:
        lab = host(park_s=None)
        await lab.run(double, 21, execution="other")
        outcome = await lab.run(peeks, "other")
        assert code(outcome) == "OMG-I003"

    run_virtual(run())


@pytest.mark.promise("RUN-84")
def test_cancelling_a_parent_cancels_its_children_wherever_they_are() -> None:
    async def run() -> None:
        first = host(owner="first")
        second = host(first, owner="second")
        tasks = [serve(first, elsewhere)[1], serve(second, slow, queues=("work",))[1]]
        name = await first.enqueue(elsewhere, 4)
        await first.until(name, Status.WAITING)
        await asyncio.sleep(1.0)
        lines = {line.flow: line for line in children(first, name)}
        assert lines["slow"].status == Status.RUNNING and lines["look"].status == Status.QUEUED
        await first.decide(name, "cancel")
        assert first.store.line(name).status == first.store.line(lines["look"].execution).status == Status.CANCELLED
        (letter,) = second.store.letters()
        assert (letter.verb, letter.execution) == ("cancel", lines["slow"].execution)
        await second.decide(letter.execution, letter.verb)
        await first.until(lines["slow"].execution, Status.CANCELLED)
        await stop(*tasks)
        assert first.verify().sound

    run_virtual(run())


@flow
async def leaves(ctx: Context, how: str) -> int:
    """Ends before the children that it started."""
    detached = how == "detached"
    await ctx.start(slow, 1, queue="work", detached=detached)
    if not detached:
        await ctx.start(endless, 2)
    if how == "fails":
        raise ValueError(how)
    return 7


@flow(effect="read", needs="process:run")
async def endless(ctx: Context, n: int) -> int:
    await asyncio.sleep(1_000_000.0)
    return n


@pytest.mark.promise("RUN-84")
@pytest.mark.parametrize(("how", "status"), [("ends", Status.DONE), ("fails", Status.FAILED)])
def test_no_child_outlives_its_parent(how: str, status: Status) -> None:
    """Also when the parent's engine dies at any of its appends: whoever ends the parent ends them."""

    async def run(die_at: int) -> bool:
        lab = host()
        name = await lab.enqueue(leaves, how, execution="parent")
        appends = 0

        def crash(batch: Any) -> None:
            nonlocal appends
            appends += 1
            if appends == die_at:
                _bury(lab)
                raise Crash

        lab.store.on_append = crash
        _, task = serve(lab, leaves)
        await asyncio.sleep(30.0)
        await stop(task)
        next_one = host(lab, owner="next")
        _, task = serve(next_one, leaves)
        assert (await next_one.until(name)).status == status
        await asyncio.sleep(60.0)  # what the dead engine owned is nobody's now
        for letter in next_one.store.letters():
            await next_one.decide(letter.execution, letter.verb)
        assert [line.status for line in children(next_one, name)] == [Status.CANCELLED] * 2
        await stop(task)
        assert next_one.verify().sound
        return appends >= die_at

    async def everywhere() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # a dead engine's children have nobody to tell
        at = 1
        while await run(at):
            at += 1
        assert at > 4

    run_virtual(everywhere())


@pytest.mark.promise("RUN-84")
def test_a_detached_execution_outlives_who_started_it() -> None:
    async def run() -> None:
        lab = host()
        name = await lab.enqueue(leaves, "detached", timeout_s=5.0)
        _, task = serve(lab, leaves)
        await lab.until(name, Status.DONE)
        child = child_of(name, "leaves/slow")
        line = lab.store.line(child)
        assert (line.status, line.parent, line.principal) == (Status.QUEUED, "", lab.store.line(name).principal)
        _, other = serve(host(lab, owner="other"), slow, queues=("work",))
        assert (await lab.until(child)).status == Status.DONE
        await stop(task, other)
        assert (await lab.replay(name, leaves)).identical

    run_virtual(run())


def test_what_is_detached_needs_a_queue_and_cannot_be_joined() -> None:
    @flow
    async def wants(ctx: Context, queue: str) -> int:
        return int(await ctx.join(await ctx.start(double, 1, queue=queue, detached=True)))

    async def run() -> None:
        lab = host(park_s=None)
        assert code(await lab.run(wants, "")) == "OMG-I001"
        assert code(await lab.run(wants, "work")) == "OMG-I005"

    run_virtual(run())


def test_a_child_has_no_more_rights_and_its_entry_is_asked() -> None:
    @flow
    async def tries(ctx: Context, n: int) -> int:
        return int(await ctx.join(await ctx.isolate().start(look, n)))

    async def run() -> None:
        lab = host(park_s=None)
        outcome = await lab.run(tries, 1, execution="run")
        assert outcome.status == Status.FAILED and code(outcome) == "OMG-W008"
        assert touched(lab, "process") == []

    run_virtual(run())


@pytest.mark.promise("RUN-84")
def test_children_spend_no_more_than_their_parent_has() -> None:
    @flow
    async def thrifty(ctx: Context, n: int) -> int:
        child = await ctx.start(look | look, n, budget=Budget(calls=2))
        try:
            await ctx.start(look, n)
        finally:
            await ctx.join(child)
        return n

    @flow
    async def twice(ctx: Context, n: int) -> int:
        await ctx.join(await ctx.start(look | look, n, budget=Budget(calls=2)))
        return int(await ctx.call(look, n))

    async def run() -> None:
        lab = host(park_s=None)
        outcome = await lab.run(twice, 1, budget=Budget(calls=2))
        assert code(outcome) == "OMG-W005", "what the child has spent is spent"
        outcome = await lab.run(twice, 1, budget=Budget(calls=3))
        assert outcome.value == 2
        await lab.run(thrifty, 1, execution="thrifty", budget=Budget(calls=2))
        (second,) = [line for line in children(lab, "thrifty") if line.flow == "look"]
        while not Status(lab.store.line(second.execution).status).ended:
            await asyncio.sleep(0.1)
        assert lab.store.line(second.execution).status == Status.FAILED, "what the first has set aside is not there for the second"

    run_virtual(run())


def test_scattered_children_come_back_in_order_and_few_at_a_time() -> None:
    from omega.kernel.repeat import scatter

    async def run() -> None:
        lab = host()
        whole = scatter(slow, queue="work", at_once=3)
        _, task = serve(lab, whole, slow, queues=("default", "work"))
        name = await lab.enqueue(whole, list(range(7)))
        most = 0
        while not Status(lab.store.line(name).status).ended:
            most = max(most, sum(not Status(line.status).ended for line in children(lab, name)))
            await asyncio.sleep(0.3)
        assert (await lab.engine.outcome(name)).value == list(range(7)) and most == 3
        assert 30.0 <= lab.clock.monotonic() < 32.0
        await stop(task)
        assert (await lab.replay(name, whole)).identical

    run_virtual(run())


def test_the_first_failure_of_a_scatter_cancels_the_other_children() -> None:
    from omega.kernel.repeat import scatter

    @flow(effect="read", needs="process:run")
    async def picky(ctx: Context, n: int) -> int:
        if n == 1:
            raise ValueError("not this one")
        return int(await ctx.touch(Command(argv=("slow", str(n)))))

    async def run() -> None:
        lab = host()
        whole = scatter(picky, queue="work")
        _, task = serve(lab, whole, picky, queues=("default", "work"))
        name = await lab.enqueue(whole, [0, 1, 2])
        line = await lab.until(name)
        assert line.status == Status.FAILED
        for child in children(lab, name):
            await lab.until(child.execution)
        assert sorted(child.status for child in children(lab, name)) == ["cancelled", "cancelled", "failed"]
        await stop(task)

    run_virtual(run())


@pytest.mark.parametrize("queue", ["", "work"])
def test_a_scatter_that_had_failed_before_a_crash_still_cancels_the_other_children(queue: str) -> None:
    from omega.kernel.repeat import scatter

    @flow(effect="read", needs="process:run")
    async def picky(ctx: Context, n: int) -> int:
        if n == 1:
            raise ValueError("not this one")
        return int(await ctx.touch(Command(argv=("slow", str(n)))))

    async def run() -> None:
        lab = host(park_s=None)
        whole = scatter(picky, queue=queue)

        async def dies(execution: str, by: str) -> None:
            known = lab.engine.book_of("run")
            assert known is not None
            await known[0].commit()  # that it failed is on disk, and nobody has been cancelled
            raise Crash

        lab.engine.cancel_child = dies  # type: ignore[method-assign]
        parent = asyncio.ensure_future(lab.run(whole, [0, 1, 2], execution="run"))
        await asyncio.sleep(0.5)
        if queue:
            for child in children(lab, "run"):
                await lab.engine.resume(child.execution, picky)
        with pytest.raises(Crash):
            await parent
        again = host(start=lab.store.snapshot(), clock=lab.clock, owner="next")
        assert code(await again.resume("run", whole)) == "OMG-R001"
        assert sorted(child.status for child in children(again, "run")) == ["cancelled", "cancelled", "failed"]

    run_virtual(run())


def test_a_scatter_that_stands_still_beside_a_branch_that_fails_cancels_its_children() -> None:
    from omega.kernel.repeat import scatter

    @flow
    async def late(ctx: Context, items: list[int]) -> int:
        await ctx.sleep(3)
        raise ValueError("too late")

    async def run() -> None:
        lab = host()
        whole = parallel(scatter(slow, queue="nobody"), late)
        _, task = serve(lab, whole)
        name = await lab.enqueue(whole, [1, 2])
        assert (await lab.until(name)).status == Status.FAILED
        assert [child.status for child in children(lab, name)] == ["cancelled", "cancelled"]
        await stop(task)

    run_virtual(run())


@pytest.mark.parametrize("park_s", [None, 1.0])
def test_a_scatter_that_is_given_up_cancels_its_children(park_s: float | None) -> None:
    """In memory, and where its parent stands still until the time is over."""
    from omega.kernel.repeat import scatter

    async def run() -> None:
        lab = host(park_s=park_s)
        whole = scatter(slow, queue="nobody").timeout("30s").fallback(foreach(double))
        _, task = serve(lab, whole)
        name = await lab.enqueue(whole, [1, 2])
        assert (await lab.until(name)).status == Status.DONE
        assert (await lab.engine.outcome(name)).value == [2, 4]
        assert [child.status for child in children(lab, name)] == ["cancelled", "cancelled"]
        await stop(task)
        assert (await lab.replay(name, whole)).identical

    run_virtual(run())


# -- compensation

DONE: list[str] = []


def _step(name: str) -> Any:
    @flow(name=name, effect="idempotent", needs="files:write")
    async def step(ctx: Context, n: int) -> int:
        await ctx.touch(WriteFiles(files={name: b"1"}))
        DONE.append(name)
        return n + 1

    return step


def _undo(name: str) -> Any:
    @flow(name=name, effect="idempotent", needs="files:write")
    async def undo(ctx: Context, pair: tuple[int, int]) -> None:
        await ctx.touch(WriteFiles(files={name: b"0"}))
        DONE.append(name)

    return undo


BOOK, PAY, SHIP = _step("book"), _step("pay"), _step("ship")
CANCEL_BOOK, CANCEL_PAY = _undo("unbook"), _undo("unpay")


@flow
async def waits(ctx: Context, n: int) -> int:
    await ctx.signal("go")
    return n


TRIP = saga((BOOK, CANCEL_BOOK), (PAY, CANCEL_PAY), waits, SHIP)


@pytest.mark.promise("RUN-85")
def test_a_queued_saga_that_is_cancelled_is_taken_up_once_more_to_undo_what_it_did() -> None:
    async def run() -> None:
        lab = host()
        DONE.clear()
        _, task = serve(lab, TRIP)
        name = await lab.enqueue(TRIP, 1)
        await lab.until(name, Status.WAITING)
        await lab.decide(name, "cancel")
        line = await lab.until(name)
        assert line.status == Status.CANCELLED and DONE == ["book", "pay", "unpay", "unbook"]
        assert lab.store.rows(name)[-1].kind == Kind.FINISHED
        await stop(task)
        assert lab.verify().sound

    run_virtual(run())


@pytest.mark.promise("RUN-85")
def test_a_running_saga_that_is_cancelled_undoes_and_is_not_cut_short() -> None:
    async def run() -> None:
        lab = host()
        DONE.clear()
        whole = saga((BOOK, CANCEL_BOOK), (PAY, CANCEL_PAY), slow)
        _, task = serve(lab, whole)
        name = await lab.enqueue(whole, 1)
        while "pay" not in DONE:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        await lab.decide(name, "cancel")
        await asyncio.sleep(0.05)
        await lab.decide(name, "cancel")
        line = await lab.until(name)
        assert line.status == Status.CANCELLED and DONE == ["book", "pay", "unpay", "unbook"]
        await stop(task)

    run_virtual(run())


@pytest.mark.promise("RUN-85")
def test_a_crash_in_the_middle_of_undoing_goes_on_undoing() -> None:
    async def run(die_at: int) -> bool:
        first = host(owner="first")
        DONE.clear()
        whole = saga((BOOK, CANCEL_BOOK), (PAY, CANCEL_PAY), broken)
        name = await first.enqueue(whole, 1)
        appends = 0

        def crash(batch: Any) -> None:
            nonlocal appends
            appends += 1
            if appends == die_at:
                _bury(first)
                raise Crash

        first.store.on_append = crash
        _, task = serve(first, whole)
        await asyncio.sleep(20.0)
        await stop(task)
        second = host(first, owner="second")
        _, task = serve(second, whole)
        line = await second.until(name)
        assert line.status == Status.FAILED and code(await second.engine.outcome(name)) == "OMG-R001"
        assert list(dict.fromkeys(DONE)) == ["book", "pay", "unpay", "unbook"], (die_at, DONE)
        await stop(task)
        assert second.verify().sound
        return appends >= die_at

    async def everywhere() -> None:
        at = 1
        while await run(at):
            at += 1
        assert at > 12

    run_virtual(everywhere())


def test_a_queued_execution_without_anything_to_undo_is_cancelled_at_once() -> None:
    async def run() -> None:
        lab = host()
        name = await lab.enqueue(TRIP, 1)
        await lab.decide(name, "cancel")
        assert lab.store.line(name).status == Status.CANCELLED

    run_virtual(run())
