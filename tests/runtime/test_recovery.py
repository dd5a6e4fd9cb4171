"""Taking up again: after a crash, a doubt, an approval, a signal, a lost lease, a full disk. On memory, and on SQLite where the disk
matters."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from omega import Budget, Context, Denied, FlowError, InputError, StorageError, attempt, flow, parallel, race
from omega.adapters.sqlite import SqliteStore
from omega.kernel.journal import MAX_PAYLOAD, Kind, Row, Status
from omega.runtime.decisions import decide
from omega.testing import Crash, Lab, run_virtual
from omega.testing.lab import OWNER, sequencer
from omega.testing.virtual import LoopClock
from runtime.flows import RUNS, add, code, double, lab, look, note, save, slow, touched, wipe


def crashed(world: Lab, **facts: Any) -> Lab:
    """The next engine, on what was durable in `world`."""
    return lab(start=world.store.snapshot(), clock=world.clock, seed="next", **facts)


async def until_dead(world: Lab, whole: Any, value: Any, at: str, port: str = "files") -> str:
    """Run `whole` on an engine that dies when the request of the step `at` has left."""
    answer = world.effectors[port].answer

    def dies(touch: Any) -> Any:
        if touch.step == at:
            raise Crash
        return answer(touch)

    world.effectors[port].answer = dies
    with pytest.raises(Crash):
        await world.run(whole, value, execution="run")
    return "run"


@pytest.mark.promise("RUN-01")
def test_what_was_durable_does_not_run_again() -> None:
    async def run() -> None:
        whole = double | look | add | note | double
        world = lab()
        await until_dead(world, whole, 3, "note")
        RUNS.clear()
        again = crashed(world)
        done = await again.resume("run", whole)
        assert done.value == 16 and RUNS == ["double"]
        assert touched(again, "process") == [] and touched(again) == ["note"]
        assert again.verify().sound and (await again.replay("run", whole)).identical

    run_virtual(run())


@flow
def anything(n: int) -> Any:
    return "no number"


@pytest.mark.parametrize("whole", [(anything | double).fallback(add), attempt(anything | double)], ids=["fallback", "attempt"])
def test_a_step_that_did_not_take_its_input_is_passed_again_after_a_crash(whole: Any) -> None:
    """It leaves no row: what stands in for it is the next that is recorded."""

    @flow
    def told(outcome: Any) -> int:
        return 7

    async def run() -> None:
        steps = whole | told | note | double
        world = lab()
        await until_dead(world, steps, 3, "note")
        again = crashed(world)
        done = await again.resume("run", steps)
        assert done.value == 14 and again.verify().sound
        report = await again.replay("run", steps)
        assert report.identical, report.divergence

    run_virtual(run())


def test_a_run_that_failed_for_an_input_that_does_not_fit_replays() -> None:
    async def run() -> None:
        world = lab()
        failed = await world.run(anything | double, 3, execution="run")
        assert failed.status == "failed" and code(failed) == "OMG-I001"
        report = await world.replay("run", anything | double)
        assert report.identical, report.divergence

    run_virtual(run())


def test_a_run_whose_whole_result_is_too_large_replays() -> None:
    @flow
    def half(n: int) -> str:
        return "x" * (MAX_PAYLOAD // 2)

    async def run() -> None:
        world = lab()
        failed = await world.run(parallel(half, half), 3, execution="run")
        assert failed.status == "failed" and code(failed) == "OMG-R003"
        report = await world.replay("run", parallel(half, half))
        assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.parametrize("step", [look, note])
def test_what_may_be_repeated_is_asked_again_after_a_crash(step: Any) -> None:
    async def run() -> None:
        world = lab()
        await until_dead(world, step, 3, step.name, "process" if step is look else "files")
        again = crashed(world)
        assert (await again.resume("run", step)).status == "done"

    run_virtual(run())


@pytest.mark.promise("RUN-06")
@pytest.mark.parametrize("done", [True, False])
def test_a_write_of_unknown_fate_waits_for_a_person_and_is_never_repeated(done: bool) -> None:
    async def run() -> None:
        whole = double | save | add
        world = lab()
        await until_dead(world, whole, 3, "save")
        again = crashed(world)
        for _ in range(2):
            doubt = await again.resume("run", whole)
            assert doubt.status == "in doubt" and code(doubt) == "OMG-R006" and touched(again) == []
            assert doubt.error is not None and doubt.error["details"]["idempotency_key"] == "run/save"
        with pytest.raises(InputError) as unknown:
            await again.decide("run", "resolve", step="double", done=True)
        assert unknown.value.code == "OMG-I004"
        await again.decide("run", "resolve", step="save", done=done, value=100)
        with pytest.raises(InputError) as settled:
            await again.decide("run", "resolve", step="save", done=done, value=100)
        assert settled.value.code == "OMG-I005"
        ended = await again.resume("run", whole)
        assert ended.value == (101 if done else 7) and len(touched(again)) == (0 if done else 1)
        assert [leaf.reason for leaf in again.leaves() if leaf.kind == "resolve"] == ["by person:grace"]
        assert (await again.replay("run", whole)).identical and again.verify().sound

    run_virtual(run())


def test_a_value_that_does_not_fit_does_not_resolve_a_step() -> None:
    async def run() -> None:
        world = lab()
        await until_dead(world, save, 3, "save")
        again = crashed(world)
        await again.resume("run", save)
        await again.decide("run", "resolve", step="save", done=True, value="not a number")
        failed = await again.resume("run", save)
        assert failed.status == "failed" and code(failed) == "OMG-I001" and touched(again) == []

    run_virtual(run())


@pytest.mark.promise("GATE-10")
def test_an_irreversible_step_waits_for_another_owner() -> None:
    async def run() -> None:
        world = lab()
        waits = await world.run(wipe, 1, execution="run")
        assert waits.status == "waiting" and code(waits) == "OMG-R011"
        for nobody in (world.scope("person:eve", groups=()), world.scope("agent:reviewer"), world.scope(OWNER, actors=("agent:reviewer",))):
            with pytest.raises(Denied) as refused:
                await decide(world.engine, "run", "approve", {"step": "wipe"}, nobody)
            assert refused.value.code == "OMG-W007"
        assert (await world.resume("run", wipe)).status == "waiting"
        await world.decide("run", "approve", step="wipe")
        done = await world.resume("run", wipe)
        assert done.value == 1 and touched(world) == ["wipe"]
        with pytest.raises(InputError):
            await world.decide("run", "approve", step="wipe")

    run_virtual(run())


def test_signals_are_read_once_each_in_the_order_sent() -> None:
    @flow
    async def two(ctx: Context, n: int) -> list[int]:
        return [await ctx.signal("go"), await ctx.signal("go"), await ctx.signal("stop#2")]

    async def run() -> None:
        world = lab()
        assert code(await world.run(two, 1, execution="run")) == "OMG-R018"
        for name, value in (("go", 1), ("stop#2", 3)):
            await world.decide("run", "signal", name=name, value=value)
        assert code(await world.resume("run", two)) == "OMG-R018"
        again = crashed(world)
        await again.decide("run", "signal", name="go", value=2)
        done = await again.resume("run", two)
        assert done.value == [1, 2, 3] and (await again.replay("run", two)).identical

    run_virtual(run())


def test_a_wait_is_not_longer_for_a_crash_or_a_clock_set_back() -> None:
    @flow
    async def sleeps(ctx: Context, n: int) -> int:
        await ctx.sleep(100)
        return int(await ctx.call(note, n))

    async def run() -> None:
        world = lab()
        task = asyncio.create_task(world.run(parallel(sleeps, save), 1, execution="run"))
        await asyncio.sleep(40)
        await world.engine.close()
        with pytest.raises(FlowError):
            await task
        again = crashed(world)
        began = again.clock.monotonic()
        again.clock.jump(-1_000_000)
        assert (await again.resume("run", parallel(sleeps, save))).status == "done"
        assert again.clock.monotonic() - began <= 101
        again.clock.jump(-1_000_000)
        began = again.clock.monotonic()
        assert (await again.replay("run", parallel(sleeps, save))).identical and again.clock.monotonic() == began

    run_virtual(run())


@pytest.mark.promise("RUN-22")
def test_a_wall_clock_that_jumps_changes_no_order_and_no_replay() -> None:
    async def run() -> None:
        world = lab()
        sound = world.effectors["process"].answer

        async def jumping(touch: Any) -> Any:
            world.clock.jump(86_400 if len(world.effectors["process"].touches) % 2 else -7 * 86_400)
            return await sound(touch)

        world.effectors["process"].answer = jumping
        whole = double | parallel(look, look) | race(first, first)
        done = await world.run(whole, 1, execution="run")
        assert done.value == 3 and (await world.replay("run", whole)).identical
        rows: list[Row] = world.store.rows("run")
        assert [row.seq for row in rows] == list(range(len(rows))) and world.verify().sound

    run_virtual(run())


@flow
def first(pair: tuple[int, int]) -> int:
    return pair[0]


@pytest.mark.promise("RUN-14")
def test_a_deadline_ends_the_run_and_a_persons_time_does_not_count() -> None:
    async def run() -> None:
        world = lab()
        late = await world.run(slow | slow, 1, execution="late", timeout_s=15)
        assert late.status == "failed" and code(late) == "OMG-R004" and world.clock.monotonic() == pytest.approx(15, abs=0.1)
        assert (await world.replay("late", slow | slow)).identical
        whole = slow | save.approved_by("owner") | slow
        waits = await world.run(whole, 1, execution="run", timeout_s=30)
        assert waits.status == "waiting"
        await world.clock.sleep(3600)
        await world.decide("run", "approve", step="save")
        assert (await world.resume("run", whole)).status == "done"

    run_virtual(run())


@pytest.mark.promise("RUN-13")
def test_cancelling_what_runs_ends_it_and_says_by_whom() -> None:
    async def run() -> None:
        world = lab()
        task = asyncio.create_task(world.run(parallel(slow, slow), 1, execution="run"))
        await asyncio.sleep(1)
        await world.decide("run", "cancel")
        ended = await task
        assert ended.status == "cancelled" and code(ended) == "OMG-R005" and "person:grace" in (ended.error or {})["cause"]
        assert world.clock.monotonic() < 2 and world.store.line("run").status == "cancelled"
        assert [leaf.kind for leaf in world.leaves()][-1] == "end" and world.verify().sound
        assert await world.engine.resume("run", parallel(slow, slow)) == "run"
        assert (await world.engine.outcome("run")).status == "cancelled"
        with pytest.raises(InputError) as refused:
            await world.replay("run", parallel(slow, slow))
        assert refused.value.code == "OMG-R012"

    run_virtual(run())


def test_cancelling_a_write_waits_for_its_answer() -> None:
    async def run() -> None:
        world = lab()

        async def late(touch: Any) -> Any:
            await asyncio.sleep(5)
            return []

        world.effectors["files"].answer = late
        task = asyncio.create_task(world.run(save | double, 1, execution="run"))
        await asyncio.sleep(1)
        await world.decide("run", "cancel")
        assert (await task).status == "cancelled" and world.clock.monotonic() >= 5
        assert [Kind(row.kind) for row in world.store.rows("run") if row.position == "save"] == [Kind.INTENT, Kind.DONE]

    run_virtual(run())


def test_cancelling_what_stands_still_ends_it_too() -> None:
    async def run() -> None:
        world = lab()
        await world.run(wipe, 1, execution="run")
        await world.decide("run", "cancel")
        assert world.store.line("run").status == "cancelled"
        for verb in ("approve", "cancel", "resolve"):
            with pytest.raises(InputError) as refused:
                await world.decide("run", verb, step="wipe")
            assert refused.value.code == "OMG-I005"
        assert (await world.resume("run", wipe)).status == "cancelled" and touched(world) == []

    run_virtual(run())


@pytest.mark.promise("RUN-10")
def test_an_owner_whose_lease_was_taken_can_append_nothing() -> None:
    async def run() -> None:
        world = lab()
        task = asyncio.create_task(world.run(look | slow | look, 1, execution="run"))
        await asyncio.sleep(1)
        other = Lab(store=world.store, clock=world.clock, effectors=world.effectors, owner="other")
        with pytest.raises(StorageError) as owned:
            await other.engine.resume("run", look | slow | look)
        assert owned.value.code == "OMG-R010"
        line = world.store.line("run")
        await world.store.claim("run", owner="lab", lease_us=line.lease_us, now_us=world.clock.now_us())
        lost = await task
        assert lost.status == "running" and code(lost) == "OMG-S006"

    run_virtual(run())


def test_the_host_is_told_when_a_lease_is_lost() -> None:
    async def run() -> None:
        world = lab()
        task = asyncio.create_task(world.run(slow, 1, execution="run"))
        await asyncio.sleep(1)
        await world.engine.renew()
        await world.store.claim("run", owner="lab", lease_us=0, now_us=world.clock.now_us())
        with pytest.raises(StorageError):
            await world.engine.renew()
        await task

    run_virtual(run())


def test_an_id_is_taken_once() -> None:
    async def run() -> None:
        world = lab()
        await world.run(double, 1, execution="run")
        with pytest.raises(InputError) as taken:
            await world.run(double, 1, execution="run")
        assert taken.value.code == "OMG-R010"
        with pytest.raises(InputError) as odd:
            await world.run(double, 1, execution="../run")
        assert odd.value.code == "OMG-I003"
        for unknown in (world.resume("other", double), world.replay("other", double), world.decide("other", "cancel")):
            with pytest.raises(InputError) as missing:
                await unknown
            assert missing.value.code == "OMG-I003"

    run_virtual(run())


@pytest.mark.promise("RUN-27")
@pytest.mark.promise("GATE-12")
def test_a_budget_of_calls_is_spent_across_crashes() -> None:
    async def run() -> None:
        whole = look | look | note | look
        world = lab()
        answer = world.effectors["files"].answer

        def dies(touch: Any) -> Any:
            raise Crash

        world.effectors["files"].answer = dies
        with pytest.raises(Crash):
            await world.run(whole, 1, execution="run", budget=Budget(calls=4))
        again = crashed(world)
        again.effectors["files"].answer = answer
        over = await again.resume("run", whole)
        assert over.status == "failed" and code(over) == "OMG-W005", "two reads, the lost write and its repetition: four calls"
        assert "budget" in [leaf for leaf in again.leaves() if leaf.kind == "deny"][-1].policies

    run_virtual(run())


@pytest.mark.promise("RUN-19")
def test_a_store_that_fails_in_the_middle_loses_nothing_that_was_acknowledged() -> None:
    async def run() -> None:
        full = False

        def on_append(batch: Any) -> None:
            if full:
                raise StorageError("OMG-S004", "no space left on device")

        world = lab()
        world.store.on_append = on_append

        def fill(touch: Any) -> Any:
            nonlocal full
            full = touch.step == "note"
            return 5

        world.effectors["process"].answer = world.effectors["files"].answer = fill
        whole = look | note | double
        broken = await world.run(whole, 1, execution="run")
        assert broken.status == "running" and code(broken) == "OMG-S004"
        full = False
        again = crashed(world)
        assert (await again.resume("run", whole)).value == 10
        assert touched(again, "process") == [], "the read was acknowledged before the disk was full"

    run_virtual(run())


# -- on a real disk


def on_disk(home: Path, **facts: Any) -> Lab:
    clock = LoopClock()
    store = SqliteStore.open(home, sequencer=sequencer(), owner="lab", now_us=clock.now_us)
    return lab(store=store, clock=clock, **facts)


def test_on_sqlite_a_run_goes_on_where_its_rows_end(tmp_path: Path) -> None:
    whole = double | look | parallel(add, look) | both | save

    async def start() -> None:
        world = on_disk(tmp_path)

        def dies(touch: Any) -> Any:
            raise Crash

        world.effectors["files"].answer = dies
        with pytest.raises(Crash):
            await world.run(whole, 3, execution="run")
        world.store.close()

    async def go_on() -> None:
        world = on_disk(tmp_path, seed=1)
        RUNS.clear()
        assert (await world.resume("run", whole)).status == "in doubt" and RUNS == [] and touched(world, "process") == []
        await world.decide("run", "resolve", step="save", done=False)
        assert (await world.resume("run", whole)).value == 16
        await world.store.flush()
        assert world.verify().sound and (await world.replay("run", whole)).identical
        world.store.close()

    asyncio.run(start())
    asyncio.run(go_on())


@flow
def both(pair: tuple[int, int]) -> int:
    return sum(pair)


def test_on_sqlite_a_cancellation_at_the_very_end_ends_it_once(tmp_path: Path) -> None:
    """Whether the person or the end came first, there is one end."""

    async def run() -> None:
        world = on_disk(tmp_path)
        for number in range(12):
            name = f"run{number}"
            task = asyncio.create_task(world.run(double | look, 1, execution=name))
            await asyncio.sleep(0)
            while world.engine.book_of(name) is None and not task.done():
                await asyncio.sleep(0)
            for _ in range(number * 2):
                await asyncio.sleep(0.001)
            if world.engine.cancel(name, "person:grace"):
                pass
            outcome = await task
            await world.store.flush()
            ends = [row for row in world.store.rows(name) if row.kind == Kind.FINISHED]
            assert len(ends) == 1 and world.store.line(name).status == outcome.status
            assert Status(outcome.status).ended
        world.store.close()

    asyncio.run(run())


SECRET = "correct-horse-battery-staple"


@pytest.mark.promise("RUN-16")
@pytest.mark.promise("LOG-06")
def test_nothing_that_was_said_can_be_read_from_the_disk(tmp_path: Path) -> None:
    @flow
    def speaks(word: str) -> str:
        return f"{word} said {SECRET}"

    @flow(effect="write", needs="files:write")
    async def stores(ctx: Context, word: str) -> str:
        await ctx.touch(__import__("omega").WriteFiles(files={SECRET: word.encode()}))
        return word

    @flow
    def fails(word: str) -> str:
        raise ValueError(f"failed with {word} {SECRET}")

    @flow
    async def drawn(ctx: Context, word: str) -> str:
        return str(await ctx.signal("password"))

    whole = speaks | stores | fails.fallback(drawn) | speaks.cached() | speaks.cached()

    async def run() -> None:
        from io import BytesIO

        from omega.chronicle.export import write_export
        from omega.testing.lab import TENANT

        world = on_disk(tmp_path)
        await world.run(whole, SECRET, execution="run")
        await world.decide("run", "signal", name="password", value=SECRET)
        done = await world.resume("run", whole)
        assert done.status == "done" and SECRET in done.value
        failed = await world.run(fails, SECRET, execution="failed")
        assert SECRET in (failed.error or {})["cause"]
        await world.store.flush()
        export = BytesIO()
        write_export(world.store, TENANT, export, keys=[world.sequencer.key(TENANT)], executions=["run", "failed"])
        assert SECRET.encode() not in export.getvalue()
        assert not any(SECRET.encode() in leaf for leaf in world.store.leaves(TENANT))
        assert all(SECRET.encode() not in row.meta for row in world.store.rows("run"))
        world.store.close()

    asyncio.run(run())
    searched = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" for file in searched)
    for file in searched:
        assert SECRET.encode() not in file.read_bytes(), file.name
    with sqlite3.connect(next(file for file in searched if file.suffix == ".db")) as database:
        assert not [line for line in database.iterdump() if SECRET in line]
    database.close()
