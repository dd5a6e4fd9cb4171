"""Workers: what they take up, when, how often, and what becomes of it when they die, pause, drain or meet another version."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import Context, InputError, flow, parallel
from omega.adapters.sqlite import SqliteStore
from omega.kernel.errors import Denied, OmegaError, StorageError
from omega.kernel.journal import STEP_KINDS, Kind, Note, Row, Start, Status, Step, decode_meta, encode_meta
from omega.kernel.past import Past
from omega.kernel.ports import NEVER, Taken, Wakeups
from omega.kernel.queueing import Limits
from omega.runtime.recovery import load
from omega.runtime.supervision import Restart, has_waited, tries_of
from omega.runtime.worker import Worker
from omega.testing import Lab, run_virtual
from omega.testing.lab import sequencer
from omega.testing.virtual import LoopClock
from runtime.flows import RUNS, add, answer, double, look, note, save, slow, touched


def host(beside: Lab | None = None, **facts: Any) -> Lab:
    """One host with a worker's engine; with `beside` a second one on the same records."""
    made = Lab(beside=beside, **{"park_s": 5.0, "seed": facts.get("owner", "first"), **facts})
    for port in ("process", "files"):
        made.effectors[port].answer = answer
    return made


def serve(lab: Lab, *flows: Any, **facts: Any) -> tuple[Worker, asyncio.Task[None]]:
    worker = lab.worker(*flows, **facts)
    return worker, asyncio.create_task(worker.run())


async def stop(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Deaf:
    """Wake-ups that are all lost."""

    async def hint(self, queue: str) -> None: ...

    async def wait(self, queues: Any, timeout_s: float) -> bool:
        await asyncio.sleep(timeout_s)
        return False

    async def aclose(self) -> None: ...


@flow
async def naps(ctx: Context, n: int) -> int:
    RUNS.append("naps")
    await ctx.sleep(600.0)
    return n + 1


@flow
async def asked(ctx: Context, n: int) -> int:
    return n + int(await ctx.signal("go"))


# -- the way through a queue


@pytest.mark.promise("RUN-80")
def test_what_is_queued_is_run_by_a_worker_and_costs_three_commits() -> None:
    async def run() -> None:
        lab = host()
        name = await lab.enqueue(double | add, 3)
        assert lab.store.counts.commits == 1 and lab.store.line(name).status == Status.QUEUED
        _, task = serve(lab, double | add)
        await lab.until(name)
        assert (await lab.engine.outcome(name)).value == 7
        assert lab.store.counts.commits == 3, "admitted, taken, ended"
        await stop(task)
        assert lab.verify().sound and (await lab.replay(name, double | add)).identical

    run_virtual(run())


@pytest.mark.promise("RUN-83")
def test_a_hint_makes_it_quick_and_a_lost_one_costs_a_sweep_at_most() -> None:
    async def run(wakeups: Wakeups | None, longest_s: float) -> None:
        lab = host()
        if wakeups is not None:
            lab.world.wakeups = wakeups
        _, task = serve(lab, double, sweep_s=4.0)
        await asyncio.sleep(1.0)
        began = lab.clock.monotonic()
        await lab.until(await lab.enqueue(double, 3))
        assert lab.clock.monotonic() - began <= longest_s
        await stop(task)

    run_virtual(run(None, 0.2))
    run_virtual(run(Deaf(), 4.1))


def test_a_delayed_start_begins_when_it_is_due_and_its_time_counts_from_then() -> None:
    async def run() -> None:
        lab = host()
        _, task = serve(lab, slow)
        name = await lab.enqueue(slow, 3, delay_s=100.0, timeout_s=20.0)
        await asyncio.sleep(99.0)
        assert lab.store.line(name).status == Status.QUEUED
        line = await lab.until(name)
        assert line.status == Status.DONE and 109.0 < lab.clock.monotonic() < 112.0
        late = await lab.enqueue(slow, 3, delay_s=100.0, timeout_s=5.0)
        assert (await lab.until(late)).status == Status.FAILED
        await stop(task)

    run_virtual(run())


def test_limits_of_a_queue_hold_over_workers() -> None:
    async def run() -> None:
        first = host(owner="first")
        second = host(first, owner="second")
        limits = {"default": Limits(at_once=3)}
        tasks = [serve(lab, slow, limits=lambda: limits)[1] for lab in (first, second)]
        names = [await first.enqueue(slow, n) for n in range(9)]
        most = 0
        while any(first.store.line(name).status != Status.DONE for name in names):
            most = max(most, sum(first.store.line(name).status == Status.RUNNING for name in names))
            await asyncio.sleep(0.25)
        assert most == 3 and 29.0 < first.clock.monotonic() < 40.0
        await stop(*tasks)

    run_virtual(run())


def test_a_worker_takes_no_more_than_it_has_room_for() -> None:
    async def run() -> None:
        lab = host()
        names = [await lab.enqueue(slow, n) for n in range(5)]
        worker, task = serve(lab, slow, at_once=2)
        await asyncio.sleep(5.0)
        assert [lab.store.line(name).status for name in names].count(Status.RUNNING) == 2 and worker.counted.taken == 2
        for name in names:
            await lab.until(name)
        assert 29.0 < lab.clock.monotonic() < 32.0
        await stop(task)

    run_virtual(run())


def test_a_place_that_cannot_be_is_refused() -> None:
    async def run() -> None:
        lab = host()
        for where in ({"queue": ""}, {"queue": "q" * 65}, {"priority": 101}, {"delay_s": -1.0}, {"labels": {"a": "b" * 300}}):
            with pytest.raises(InputError) as refused:
                await lab.enqueue(double, 1, **where)
            assert refused.value.code == "OMG-I001"
        assert lab.store.lines() == []

    run_virtual(run())


# -- waiting


@pytest.mark.promise("RUN-81")
def test_a_long_wait_is_not_held_in_memory_and_goes_on_elsewhere() -> None:
    async def run() -> None:
        first = host(owner="first")
        name = await first.enqueue(naps, 3)
        _, task = serve(first, naps)
        line = await first.until(name, Status.WAITING)
        assert line.owner == "" and line.due_us > first.clock.now_us() and first.engine.running == 0
        await stop(task)
        second = host(first, owner="second")
        _, task = serve(second, naps, sweep_s=3_600.0)
        await second.until(name)
        assert 600.0 <= second.clock.monotonic() < 601.0 and (await second.engine.outcome(name)).value == 4
        await stop(task)
        assert second.verify().sound and (await second.replay(name, naps)).identical

    run_virtual(run())


def test_a_wait_of_branches_is_over_with_the_first_and_the_rest_go_on() -> None:
    @flow
    async def long(ctx: Context, n: int) -> int:
        await ctx.sleep(100.0 * n)
        return n

    @flow
    async def both(ctx: Context, n: int) -> int:
        return sum(await ctx.parallel((long, 1), (long, 3), (note, n)))

    async def run() -> None:
        lab = host()
        _, task = serve(lab, both)
        name = await lab.enqueue(both, 5)
        await lab.until(name)
        assert (await lab.engine.outcome(name)).value == 9 and 300.0 <= lab.clock.monotonic() < 301.0
        assert touched(lab) == ["both/parallel.2/note"]
        await stop(task)

    run_virtual(run())


@pytest.mark.promise("RUN-81")
def test_a_time_limit_runs_on_while_its_work_stands_still() -> None:
    async def run() -> None:
        lab = host()
        hasty = naps.timeout(60.0, otherwise=double)
        _, task = serve(lab, hasty)
        name = await lab.enqueue(hasty, 5)
        await lab.until(name)
        assert (await lab.engine.outcome(name)).value == 10 and 60.0 <= lab.clock.monotonic() < 61.0
        await stop(task)
        assert (await lab.replay(name, hasty)).identical

    run_virtual(run())


def test_the_time_of_a_run_runs_on_while_it_waits_for_a_clock_and_stands_still_for_a_person() -> None:
    async def run() -> None:
        lab = host()
        _, task = serve(lab, naps, asked)
        late = await lab.enqueue(naps, 5, timeout_s=60.0)
        patient = await lab.enqueue(asked, 5, timeout_s=60.0)
        line = await lab.until(late)
        assert line.status == Status.FAILED and 60.0 <= lab.clock.monotonic() < 61.0
        await asyncio.sleep(1_000.0)
        await lab.decide(patient, "signal", name="go", value=2)
        await lab.until(patient)
        assert (await lab.engine.outcome(patient)).value == 7
        await stop(task)

    run_virtual(run())


def test_a_step_that_has_touched_the_world_holds_its_wait_in_memory() -> None:
    from omega import WriteFiles

    @flow(effect="write", needs="files:write")
    async def slowly(ctx: Context, n: int) -> int:
        await ctx.touch(WriteFiles(files={"a": b"1"}))
        await ctx.sleep(100.0)
        await ctx.touch(WriteFiles(files={"b": b"2"}))
        return n

    async def run() -> None:
        lab = host()
        _, task = serve(lab, slowly)
        name = await lab.enqueue(slowly, 5)
        await lab.until(name)
        assert lab.store.line(name).status == Status.DONE and touched(lab) == ["slowly", "slowly"]
        await stop(task)

    run_virtual(run())


def test_a_signal_wakes_what_waits_for_it_whoever_sends_it() -> None:
    async def run() -> None:
        first = host(owner="first")
        second = host(first, owner="second")
        _, task = serve(first, asked)
        name = await first.enqueue(asked, 5)
        line = await first.until(name, Status.WAITING)
        assert line.due_us == NEVER
        began = first.clock.monotonic()
        await second.decide(name, "signal", name="go", value=2)
        await first.until(name)
        assert (await first.engine.outcome(name)).value == 7 and first.clock.monotonic() - began < 0.2
        await stop(task)

    run_virtual(run())


@pytest.mark.promise("RUN-90")
def test_a_letter_that_is_read_twice_is_one_signal() -> None:
    from omega.runtime.decisions import Sent, decide

    async def run() -> None:
        lab = host()
        _, task = serve(lab, asked)
        name = await lab.enqueue(asked, 5)
        await lab.until(name, Status.WAITING)
        await stop(task)
        for _ in range(2):
            await decide(lab.engine, name, "signal", {"name": "go", "value": 2}, lab.scope(), letter=Sent(7, "let_1"))
        rows = [row for row in lab.store.rows(name) if row.kind == Kind.SIGNAL]
        assert len(rows) == 1 and decode_meta(rows[0]).value == 7  # type: ignore[union-attr]

    run_virtual(run())


# -- dying, pausing, draining


@pytest.mark.promise("RUN-41")
@pytest.mark.promise("RUN-83")
@pytest.mark.parametrize("wakeups", [None, Deaf()])
def test_another_worker_goes_on_within_two_leases_and_a_sweep(wakeups: Wakeups | None) -> None:
    async def run() -> None:
        first = host(owner="first", lease_s=10.0)
        second = host(first, owner="second", lease_s=10.0)
        if wakeups is not None:
            second.world.wakeups = wakeups
        whole = double | look | slow | add
        name = await first.enqueue(whole, 3)
        _, dying = serve(first, whole)
        await first.until(name, Status.RUNNING)
        await asyncio.sleep(1.0)
        dying.cancel()  # dies: nothing of it reaches the store any more
        first.store._closed = True
        first.store.release = first.store.commit = _dead
        died = first.clock.monotonic()
        await asyncio.gather(dying, return_exceptions=True)
        RUNS.clear()
        _, living = serve(second, whole, sweep_s=3.0)
        await second.until(name)
        assert second.clock.monotonic() - died < 20.0 + 3.0 + 10.0, "lease, sweep, and the ten seconds that the slow step takes"
        assert (await second.engine.outcome(name)).value == 8
        assert RUNS == ["add"] and [touch.step for touch in second.effectors["process"].touches] == ["slow"]
        await stop(living)
        assert second.verify().sound

    run_virtual(run())


async def _dead(*_: Any, **__: Any) -> Any:
    raise StorageError("OMG-S004", "this process is dead")


@pytest.mark.promise("RUN-87")
def test_a_worker_that_drains_lets_run_what_is_short_and_hands_back_the_rest() -> None:
    @flow(effect="read", needs="process:run")
    async def endless(ctx: Context, n: int) -> int:
        await asyncio.sleep(1_000.0)
        return n

    async def run() -> None:
        first = host(owner="first")
        second = host(first, owner="second")
        worker, task = serve(first, endless, slow)
        short, long = await first.enqueue(slow, 1), await first.enqueue(endless, 2)
        await first.until(long, Status.RUNNING)
        queued = asyncio.create_task(worker.drain(30.0))
        await asyncio.sleep(0.1)
        later = await first.enqueue(slow, 3)
        await queued
        await task
        assert first.store.line(short).status == Status.DONE
        assert [first.store.line(name).status for name in (long, later)] == [Status.QUEUED, Status.QUEUED]
        assert first.store.line(long).owner == "" and first.store.line(long).tries == 0
        drained = first.clock.monotonic()
        assert 29.0 < drained < 32.0
        _, task = serve(second, endless, slow)
        await second.until(later)
        await second.until(long)
        assert second.clock.monotonic() - drained < 1_002.0
        await stop(task)

    run_virtual(run())


def test_what_is_lost_to_another_worker_is_let_go() -> None:
    async def run() -> None:
        first = host(owner="first", lease_s=9.0)
        name = await first.enqueue(slow, 3)
        _, task = serve(first, slow)
        await first.until(name, Status.RUNNING)
        await first.store.claim(name, owner="first", lease_us=first.clock.now_us() + 100_000_000, now_us=first.clock.now_us())
        await asyncio.sleep(4.0)
        assert first.engine.running == 0 and first.store.line(name).status == Status.RUNNING
        await stop(task)

    run_virtual(run())


# -- versions


@pytest.mark.promise("RUN-88")
def test_an_execution_is_only_taken_up_by_a_worker_with_its_code() -> None:
    def made(extra: int) -> Any:
        if extra == 1:

            @flow(name="count")
            def count(n: int) -> int:
                return n + 1

            return count

        @flow(name="count")
        def count(n: int) -> int:  # type: ignore[no-redef]
            return n + 2

        return count

    async def run() -> None:
        old, new = made(1), made(2)
        assert old.digest == new.digest
        first = host(owner="first")
        second = host(first, owner="second")
        name = await first.enqueue(old, 3)
        _, task = serve(second, new)
        await asyncio.sleep(60.0)
        assert first.store.line(name).status == Status.QUEUED and len(first.store.rows(name)) == 1
        _, other = serve(first, old)
        await first.until(name)
        assert (await first.engine.outcome(name)).value == 4
        await stop(task, other)

    run_virtual(run())


# -- supervision


@flow(effect="read", needs="process:run")
async def deadly(ctx: Context, n: int) -> int:
    """Kills whoever runs it."""
    RUNS.append("deadly")
    await asyncio.sleep(1_000_000.0)
    return n


async def _die_with(beside: Lab, number: int, name: str, restart: Restart) -> float:
    """A worker takes the execution up and is gone; gives the virtual second at which the body began."""
    lab = host(beside, owner=f"mortal-{number}", lease_s=10.0)
    RUNS.clear()
    _, task = serve(lab, deadly, restart=restart)
    while not RUNS and lab.store.line(name).status != Status.DEAD:
        await asyncio.sleep(0.1)
    began = lab.clock.monotonic()
    lab.store.release = lab.store.commit = _dead
    await stop(task)
    return began


@pytest.mark.promise("RUN-86")
def test_what_kills_its_workers_is_dead_after_so_many_tries_and_can_be_redriven() -> None:
    async def run() -> None:
        lab = host(lease_s=10.0)
        restart = Restart(max_tries=3, backoff_s=20.0, factor=2.0)
        name = await lab.enqueue(deadly, 1)
        began = [await _die_with(lab, number, name, restart) for number in range(3)]
        assert 28.0 < began[1] - began[0] < 35.0, "the lease and twenty seconds"
        assert 45.0 < began[2] - began[1] < 55.0, "what is left of the lease, and forty seconds"
        worker, task = serve(lab, deadly, restart=restart)
        line = await lab.until(name, Status.DEAD)
        assert line.due_us == NEVER and line.owner == ""
        assert lab.leaves()[-1].code == "OMG-R022"
        await lab.store.wake([name], lab.clock.now_us())
        await asyncio.sleep(100.0)
        assert lab.store.line(name).status == Status.DEAD, "a wake is no redrive"
        RUNS.clear()
        await lab.decide(name, "redrive")
        while not RUNS:
            await asyncio.sleep(0.1)
        assert lab.store.line(name).tries == 1
        await stop(task)
        with pytest.raises(InputError):
            await lab.decide(name, "redrive")
        assert lab.verify().sound and worker.counted.taken >= 2

    run_virtual(run())


@pytest.mark.promise("RUN-86")
def test_a_worker_that_dies_in_the_pause_between_two_tries_costs_no_try() -> None:
    """Nobody owns an execution that is only waiting for its next try; what took it up to say so has tried nothing."""

    async def run() -> None:
        lab = host(lease_s=10.0)
        restart = Restart(max_tries=2, backoff_s=100.0, longest_s=100.0)
        name = await lab.enqueue(deadly, 1)
        began = await _die_with(lab, 0, name, restart)
        RUNS.clear()
        for number in range(1, 6):  # each is gone before the pause is over
            patient = host(lab, owner=f"patient-{number}", lease_s=10.0)
            _, task = serve(patient, deadly, restart=restart)
            await asyncio.sleep(15.0)
            patient.store.release = patient.store.commit = _dead
            await stop(task)
        line = lab.store.line(name)
        assert (line.status, line.owner, line.tries) == (Status.RUNNING, "", 2) and not RUNS
        assert 100.0 < (line.due_us - lab.clock.now_us()) / 1e6 + lab.clock.monotonic() - began < 120.0
        second = await _die_with(lab, 6, name, restart)
        assert 100.0 < second - began < 120.0
        worker, task = serve(lab, deadly, restart=restart)
        await lab.until(name, Status.DEAD)
        assert "taken up 2 times" in _reason(lab, name)
        await stop(task)
        assert lab.verify().sound and worker.counted.taken == 1

    run_virtual(run())


def _reason(lab: Lab, name: str) -> str:
    _, book, _ = load(lab.world, name)
    return str(book.error(lab.store.rows(name)[-1]))


@pytest.mark.promise("RUN-86")
def test_what_gets_on_by_one_step_each_time_is_never_dead() -> None:
    """Seven steps, seven workers, each of which dies when one more step is durable: chance, and no poison."""

    async def run() -> None:
        lab = host(lease_s=10.0)
        steps = slow | slow | slow | slow | slow | slow | slow
        name = await lab.enqueue(steps, 1)
        for number in range(7):
            mortal = host(lab, owner=f"mortal-{number}", lease_s=10.0)
            _, task = serve(mortal, steps, restart=Restart(max_tries=2, backoff_s=0.5))
            while len(_settled(lab, name)) <= number:
                await asyncio.sleep(0.1)
            if number < 6:
                mortal.store.release = mortal.store.commit = _dead
            else:
                await lab.until(name)
            await stop(task)
        assert (await lab.engine.outcome(name)).value == 1 and lab.store.line(name).epoch == 8
        assert not [row for row in lab.store.rows(name) if row.kind == Kind.PAUSED], "what got on is gone on with at once"
        assert (await lab.replay(name, steps)).identical

    run_virtual(run())


def _settled(lab: Lab, name: str) -> list[Any]:
    return [row for row in lab.store.rows(name) if row.kind == Kind.DONE]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(("in vain", "intent", "step", "pause", "unseen", "stands still", "handed back")), max_size=14))
def test_tries_are_the_takes_since_the_last_step_that_began(lives: list[str]) -> None:
    """Against a count made as it happens. `unseen`: taken, and dead before a single row of it was durable."""
    rows = [_row(0, Kind.STARTED, Start(flow="f", version="1", digest="d", tenant="t", principal="p"))]
    epoch, tries, expected = 1, 0, 0

    def write(kind: Kind, **facts: Any) -> None:
        rows.append(_row(len(rows), kind, Step(flow="f", version="1", effect="read") if kind in STEP_KINDS else Note(**facts)))

    for life in lives:
        epoch, tries, expected = epoch + 1, tries + 1, expected + 1
        assert tries_of(_taken(epoch, tries), Past(rows)) == expected
        if life == "pause":
            expected -= 1
            write(Kind.RESUMED, value=epoch)
            write(Kind.PAUSED, status=Status.RUNNING, text="OMG-R020")
            assert has_waited(Past(rows))
        elif life != "unseen":
            write(Kind.RESUMED, value=epoch)
            assert not has_waited(Past(rows))
            if life == "intent":
                write(Kind.INTENT)
            elif life == "step":
                write(Kind.DONE)
                expected = 0
            elif life == "stands still":
                write(Kind.PAUSED, status=Status.WAITING, text="OMG-R020")
                tries = expected = 0
            elif life == "handed back":
                tries = expected = 0


def _taken(epoch: int, tries: int) -> Taken:
    return Taken(execution="exe", epoch=epoch, digest="", queue="default", tries=tries)


def _row(seq: int, kind: Kind, meta: Any) -> Row:
    return Row("exe", seq, int(kind), "step" if kind in STEP_KINDS else "", encode_meta(meta))


def test_a_flow_that_does_not_repeat_what_is_recorded_is_dead_at_once() -> None:
    turns: list[int] = []

    @flow
    async def fickle(ctx: Context, n: int) -> int:
        turns.append(n)
        await ctx.call(double if len(turns) == 1 else add, n)
        await ctx.sleep(60.0)
        return n

    async def run() -> None:
        lab = host()
        _, task = serve(lab, fickle)
        name = await lab.enqueue(fickle, 3)
        await lab.until(name, Status.DEAD)
        assert lab.leaves()[-1].code == "OMG-R014" and len(turns) == 2
        await stop(task)

    run_virtual(run())


def test_a_parallel_of_queued_work_is_fair_to_what_waits() -> None:
    async def run() -> None:
        lab = host()
        whole = parallel(look, note) | flow(name="first")(_first)
        _, task = serve(lab, whole, save)
        names = [await lab.enqueue(whole if n % 2 else save, n, priority=n % 3) for n in range(30)]
        for name in names:
            assert (await lab.until(name)).status == Status.DONE
        assert len(touched(lab)) == 30
        await stop(task)

    run_virtual(run())


def _first(pair: tuple[int, int]) -> int:
    return pair[0]


# -- on a real disk


@pytest.mark.promise("RUN-80")
def test_on_sqlite_a_queued_execution_costs_three_commits_and_a_wait_two_more(tmp_path: Path) -> None:
    """Admitted, taken, ended; standing still, taken again. Each is one transaction, with one fsync."""

    @flow
    async def dozes(ctx: Context, n: int) -> int:
        await ctx.sleep(0.3)
        return n + 1

    async def run() -> None:
        clock = LoopClock()
        store = SqliteStore.open(tmp_path, sequencer=sequencer(), owner="lab", now_us=clock.now_us)
        lab = Lab(store=store, clock=clock, park_s=0.1)
        _, task = serve(lab, double, dozes)
        await asyncio.sleep(0.05)
        before = store.counts.commits
        await lab.until(await lab.enqueue(double, 3))
        await store.flush()  # an end can be read a moment before it is counted
        assert store.counts.commits - before == 3
        before = store.counts.commits
        name = await lab.enqueue(dozes, 3)
        await lab.until(name)
        assert (await lab.engine.outcome(name)).value == 4
        await store.flush()
        assert store.counts.commits - before == 5
        await stop(task)
        assert lab.verify().sound
        store.close()

    asyncio.run(run())


def test_on_sqlite_many_at_once_share_their_commits(tmp_path: Path) -> None:
    async def run() -> None:
        clock = LoopClock()
        store = SqliteStore.open(tmp_path, sequencer=sequencer(), owner="lab", now_us=clock.now_us)
        lab = Lab(store=store, clock=clock, park_s=0.1)
        names = await asyncio.gather(*(lab.enqueue(double | add, n) for n in range(100)))
        _, task = serve(lab, double | add, at_once=100)
        for name in names:
            await lab.until(name)
        assert store.counts.commits < 200, "three hundred would be one for each admission, take and end"
        await stop(task)
        store.close()

    asyncio.run(run())


@flow
async def lasting(ctx: Context, n: int) -> int:
    await ctx.sleep(4.0)
    return n


def test_a_full_worker_waits_though_something_else_ended_in_its_engine() -> None:
    async def run() -> None:
        lab = host()
        worker, task = serve(lab, lasting, at_once=1)
        waits, wait = 0, worker._wait

        async def counted(queues: Any) -> None:
            nonlocal waits
            waits += 1
            if waits > 50:
                await asyncio.sleep(1.0)  # it spins: let time go by nevertheless, so that this ends
            await wait(queues)

        worker._wait = counted  # type: ignore[method-assign]
        name = await lab.enqueue(lasting, 3)
        await lab.until(name, Status.RUNNING)
        assert (await lab.run(double, 2)).value == 4
        await lab.until(name)
        await stop(task)
        assert waits <= 50

    run_virtual(run())


@pytest.mark.promise("RUN-86")
@pytest.mark.parametrize("refusal", [Denied("OMG-T001", "not of this authority"), InputError("OMG-I001", "no such form")])
def test_what_cannot_be_gone_on_with_downs_no_worker(monkeypatch: pytest.MonkeyPatch, refusal: OmegaError) -> None:
    async def run() -> None:
        lab = host()
        odd = await lab.enqueue(double, 1)
        fine = await lab.enqueue(add, 2)

        def refusing(world: Any, execution: str) -> Any:
            if execution == odd:
                raise refusal
            return load(world, execution)

        monkeypatch.setattr("omega.runtime.engine.load", refusing)
        _, task = serve(lab, double, add)
        await lab.until(fine)
        await lab.until(odd, Status.DEAD)
        assert not task.done()
        await stop(task)

    run_virtual(run())
