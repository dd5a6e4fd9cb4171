"""Forks: the same past up to a step, a future of its own, and nothing copied."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import Context, Denied, FlowError, InputError, IntegrityError, approval, flow, form, parallel
from omega.adapters.sqlite import SqliteStore
from omega.chronicle.export import write_export
from omega.chronicle.verifier import verify_export
from omega.host.clock import SystemClock
from omega.kernel.journal import Kind
from omega.kernel.ports import Batch, Want
from omega.runtime.decisions import decide
from omega.runtime.forking import failed_step, fork
from omega.testing import Lab, run_virtual
from omega.testing.lab import OWNER, SECOND, TENANT, sequencer
from runtime.flows import RUNS, add, broken, code, double, lab, look, note, save, slow, touched, wipe

STEPS = 1_000


@flow
async def count(ctx: Context, steps: int) -> int:
    value = 0
    for _ in range(steps):
        value = await ctx.call(add, value)
    return value


async def go_on(world: Lab, whole: Any, origin: str, at: str, **facts: Any) -> Any:
    """A fork, run to its end."""
    name = await fork(world.engine, origin, whole, world.scope(), at=at, **facts)
    return await world.resume(name, whole)


@pytest.mark.promise("FORK-01")
def test_a_fork_goes_on_from_the_step_and_its_origin_stays_as_it_was() -> None:
    async def run() -> None:
        world, whole = lab(), double | look | add | note | double
        await world.run(whole, 3, execution="run")
        before = world.store.rows("run")
        RUNS.clear()
        done = await go_on(world, whole, "run", "add", name="again")
        assert done.value == 16 and done.execution == "again"
        assert RUNS == ["add", "double"] and touched(world) == ["note", "note"] and touched(world, "process") == ["look"]
        assert world.store.rows("run") == before
        assert world.past("again").rows[: len(before)][:3] == before[:3] and world.store.key("again") is None

    run_virtual(run())


@pytest.mark.promise("FORK-02")
def test_a_value_given_for_the_step_stands_for_it_with_who_gave_it() -> None:
    async def run() -> None:
        world, whole = lab(), double | look | add | double
        await world.run(whole, 3, execution="run")
        RUNS.clear()
        done = await go_on(world, whole, "run", "add", name="edited", value=100)
        assert done.value == 200 and RUNS == ["double"]
        past = world.past("edited")
        step = past.at["add"].meta.step
        assert step is not None and step.note == f"by {OWNER}"
        assert [row.kind for row in past.rows if row.execution == "edited"][:2] == [Kind.FORKED, Kind.OVERRIDE]
        report = await world.replay("edited", whole)
        assert report.identical and world.verify().sound

    run_virtual(run())


@pytest.mark.promise("FORK-02")
@pytest.mark.parametrize("value", ["many", None, {"n": 1}, 1.5])
def test_a_value_that_is_not_of_the_steps_type_is_refused(value: Any) -> None:
    async def run() -> None:
        world, whole = lab(), double | add
        await world.run(whole, 3, execution="run")
        with pytest.raises(InputError) as caught:
            await fork(world.engine, "run", whole, world.scope(), at="add", value=value)
        assert caught.value.code == "OMG-I001"

    run_virtual(run())


@pytest.mark.promise("FORK-03")
@pytest.mark.parametrize("at", [1, 2, 500, STEPS])
def test_a_fork_costs_one_commit_and_less_than_a_kilobyte_wherever_it_is_cut(at: int) -> None:
    async def run() -> None:
        batches: list[Batch] = []
        world = lab()
        origin = (await world.run(count, STEPS)).execution
        commits, world.store.on_append = world.store.counts.commits, batches.append
        step = "count/add" if at == 1 else f"count/add#{at}"
        name = await fork(world.engine, origin, count, world.scope(), at=step)
        assert world.store.counts.commits - commits <= 2
        assert sum(map(size_of, batches)) + len(world.store.checkpoints("lab")[-1][1]) <= 1_024
        assert (await world.resume(name, count)).value == STEPS
        batches.clear()
        await fork(world.engine, origin, count, world.scope(), at=step, value=at)
        assert len(batches) == 1 and sum(map(size_of, batches)) <= 1_280, "the value itself and who gave it come on top"

    run_virtual(run())


def size_of(batch: Batch) -> int:
    """What a batch brings to disk: rows, leaves, key, and the texts of its head."""
    rows = sum(len(row.meta) + len(row.payload or b"") + len(row.position) + 16 for row in batch.rows)
    head = batch.head
    texts = [] if head is None else [getattr(head, name) for name in head.__slots__ if isinstance(getattr(head, name), str)]
    return rows + sum(map(len, batch.leaves)) + len(batch.key or b"") + len(batch.execution) + sum(map(len, texts))


@pytest.mark.promise("FORK-03")
@pytest.mark.parametrize("at", [1, 999])
def test_on_sqlite_too(at: int, tmp_path: Path) -> None:
    async def run() -> None:
        clock = SystemClock()
        store = SqliteStore.open(tmp_path, sequencer=sequencer(), owner="lab", now_us=clock.now_us)
        world = lab(store=store, clock=clock)
        await world.run(count, STEPS, execution="run")
        commits = store.counts.commits
        name = await fork(world.engine, "run", count, world.scope(), at="count/add" if at == 1 else f"count/add#{at}")
        assert store.counts.commits - commits <= 2
        assert (await world.resume(name, count)).value == STEPS
        assert world.verify().sound and (await world.replay(name, count)).identical
        store.close()

    asyncio.run(run())


@pytest.mark.promise("FORK-01")
def test_forks_of_forks_share_one_key_and_all_verify() -> None:
    async def run() -> None:
        world, whole = lab(), double | look | add | note | double
        await world.run(whole, 3, execution="run")
        await go_on(world, whole, "run", "add", name="first", value=10)
        done = await go_on(world, whole, "first", "double#2", name="second")
        assert done.value == 20
        done = await go_on(world, whole, "second", "note", name="third", value=7)
        assert done.value == 14
        assert world.verify().sound
        for name in ("run", "first", "second", "third"):
            assert (await world.replay(name, whole)).identical
        erased = world.store.snapshot()
        del erased.keys["run"]
        left = lab(start=erased, clock=world.clock, seed="next")
        for name in ("run", "first", "third"):
            with pytest.raises(IntegrityError):
                await left.engine.outcome(name)

    run_virtual(run())


@pytest.mark.promise("FORK-04")
def test_only_who_started_it_or_an_owner_forks_in_person() -> None:
    async def run() -> None:
        policies = {"eve.cedar": '@id("eve-runs")@reason("she may")permit (principal == Person::"eve", action, resource);'}
        world, whole = lab(policies=policies), double | add
        await world.run(whole, 3, execution="run", scope=world.scope("person:eve", groups=()))
        strangers = [
            world.scope("person:mallory", groups=()),
            world.scope("agent:bot", actors=()),
            world.scope(OWNER, actors=("agent:bot",)),
        ]
        for stranger in strangers:
            with pytest.raises(Denied):
                await fork(world.engine, "run", whole, stranger, at="add")
        assert [leaf.kind for leaf in world.leaves()].count("deny") == len(strangers)
        for allowed in (world.scope("person:eve", groups=()), world.scope(SECOND)):
            await fork(world.engine, "run", whole, allowed, at="add")
        last = world.leaves()[-1]
        assert last.principal == "person:eve" and (last.reason, last.step) == (f"fork by {SECOND}", "add")

    run_virtual(run())


@pytest.mark.promise("FORK-04")
def test_the_gate_is_asked_for_the_entry_and_for_every_touch_anew() -> None:
    async def run() -> None:
        world, whole = lab(), look | double | save
        await world.run(whole, 3, execution="run")
        frozen = '@id("no-save")@reason("frozen")forbid (principal, action, resource) when { resource.name == "save" };'
        strict = lab(start=world.store.snapshot(), clock=world.clock, seed="next", policies={"no.cedar": frozen})
        name = await fork(strict.engine, "run", whole, strict.scope(), at="double")
        done = await strict.resume(name, whole)
        assert done.status == "failed" and code(done) == "OMG-W001"

    run_virtual(run())


@pytest.mark.promise("FORK-01")
def test_an_execution_that_stands_still_or_runs_is_forked_from_what_is_on_disk() -> None:
    async def run() -> None:
        world, whole = lab(), double | add | wipe
        waits = await world.run(whole, 3, execution="run")
        assert waits.status == "waiting"
        assert (await go_on(world, whole, "run", "add", value=50)).status == "waiting"
        name = await world.engine.start(double | slow | add, 3, world.scope(), execution="live")
        while "slow" not in world.past(name).at:
            await world.clock.sleep(0.001)
        fresh = await fork(world.engine, name, double | slow | add, world.scope(), at="double", value=8)
        assert (await world.resume(fresh, double | slow | add)).value == 9
        assert (await world.engine.outcome(name)).value == 7

    run_virtual(run())


@pytest.mark.promise("FORK-01")
def test_the_export_of_a_fork_is_checked_by_a_stranger() -> None:
    async def run() -> None:
        world, whole = lab(), double | look | add
        await world.run(whole, 3, execution="run")
        await go_on(world, whole, "run", "add", name="fork", value=9)
        key = world.sequencer.key(TENANT)
        for journals in (["run", "fork"], ["fork"]):
            out = io.BytesIO()
            write_export(world.store, TENANT, out, keys=[key], executions=journals)
            report = verify_export(io.BytesIO(out.getvalue()), keys=[key.text()])
            assert report.sound and report.executions == len(journals)
        broken = out.getvalue().replace(b'"p":"look"', b'"p":"lock"')
        assert broken != out.getvalue() and not verify_export(io.BytesIO(broken), keys=[key.text()]).sound

    run_virtual(run())


def test_a_fork_of_what_came_from_a_queue_is_due_there() -> None:
    async def run() -> None:
        world, whole = lab(), double | add
        name = await world.engine.enqueue(whole, 3, world.scope(), queue="slow-lane", key="k", priority=3, labels={"case": "7"})
        await world.resume(name, whole)
        fresh = await fork(world.engine, name, whole, world.scope(), at="add")
        line = world.store.line(fresh)
        assert line is not None and (line.queue, line.key, line.priority, line.status) == ("slow-lane", "k", 3, "queued")
        assert line.labels == {"case": "7"} and line.due_us == world.clock.now_us() and line.origin == name
        now = world.clock.now_us()
        want = Want(owner="w", digests=[line.digest], queues=["slow-lane"], limits={}, most=5, now_us=now, lease_us=now + 10**7)
        assert [taken.execution for taken in await world.store.take(want)] == [fresh]

    run_virtual(run())


def test_what_cannot_be_forked_says_why() -> None:
    async def run() -> None:
        world, whole = lab(), double | add
        await world.run(whole, 3, execution="run")
        await world.run(whole, 3, execution="other")
        cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
            (InputError, "OMG-I003", {"execution": "nobody"}),
            (InputError, "OMG-I004", {"at": "nowhere"}),
            (InputError, "OMG-I003", {"name": "no name"}),
            (InputError, "OMG-R010", {"name": "other"}),
            (FlowError, "OMG-R014", {"flow": double | double}),
        ]
        for kind, expected, facts in cases:
            given = {"execution": "run", "flow": whole, "at": "add", **facts}
            with pytest.raises(kind) as caught:
                await fork(world.engine, given.pop("execution"), given.pop("flow"), world.scope(), **given)
            assert caught.value.code == expected  # type: ignore[attr-defined]

    run_virtual(run())


def test_a_failed_run_is_tried_again_from_its_failed_step() -> None:
    async def run() -> None:
        world, whole = lab(), double | look | broken
        failed = await world.run(whole, 3, execution="run")
        assert failed.status == "failed"
        RUNS.clear()
        step = failed_step(world.past("run"))
        assert step == "broken"
        again = await go_on(world, whole, "run", step)
        assert again.status == "failed" and RUNS == ["broken"]
        mended = await go_on(world, whole, "run", step, value=5)
        assert mended.value == 5

    run_virtual(run())


def test_time_between_origin_and_fork_runs_down_no_deadline() -> None:
    async def run() -> None:
        world, whole = lab(), double | add
        await world.run(whole, 3, execution="run", timeout_s=60)
        await world.clock.sleep(3_600)
        assert (await go_on(world, whole, "run", "add")).value == 7

    run_virtual(run())


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_fork_at_any_row_of_a_branching_flow_ends_as_its_origin_did(data: st.DataObject) -> None:
    whole = parallel(double | add, look | double, add) | TOTAL

    async def run() -> None:
        world = lab()
        origin = await world.run(whole, 3, execution="run")
        at = data.draw(st.sampled_from(sorted(world.past("run").at)))
        done = await go_on(world, whole, "run", at)
        assert done.value == origin.value and world.verify().sound
        assert (await world.replay(done.execution, whole)).identical

    run_virtual(run())


@flow(name="sum-all")
def TOTAL(values: tuple[int, int, int]) -> int:
    return sum(values)


STAFF = {"staff.cedar": '@id("staff-act")\n@reason("staff may")\npermit (principal is Person in Group::"staff", action, resource);'}
EVE = "person:eve"


@flow
async def opened(ctx: Context, n: int) -> int:
    await ctx.signal("go")
    return n


@pytest.mark.promise("FORK-01")
def test_an_approval_is_good_for_one_touch_not_for_one_in_every_fork() -> None:
    async def run() -> None:
        world, whole = lab(), parallel(opened | look, wipe)
        await world.run(whole, 3, execution="run")
        await world.decide("run", "approve")
        await world.decide("run", "signal", name="go", value=1)
        assert (await world.resume("run", whole)).value == [4, 3] and len(touched(world)) == 1
        halt = await go_on(world, whole, "run", "look", name="again")  # cut between the approval and the touch it was for
        assert halt.status == "waiting" and code(halt) == "OMG-R011" and len(touched(world)) == 1
        assert [step.position for step in world.past("again").waits()] == ["parallel.1/wipe"]
        await world.decide("again", "approve")
        assert (await world.resume("again", whole)).value == [4, 3] and len(touched(world)) == 2
        assert (await world.replay("again", whole)).identical and world.verify().sound

    run_virtual(run())


@pytest.mark.promise("FORK-02")
@pytest.mark.parametrize("asked", [form(int, message="how much?", role="clerk"), approval("clerk", name="form")])
def test_what_a_role_decides_is_not_given_by_whoever_forks(asked: Any) -> None:
    async def run() -> None:
        world, whole = lab(policies=STAFF), add | asked | note
        eve = world.scope(EVE, groups=("staff",))
        assert (await world.run(whole, 3, execution="run", scope=eve)).status == "waiting"
        with pytest.raises(Denied) as refused:
            await fork(world.engine, "run", whole, eve, at="form", value=1_000)
        assert refused.value.code == "OMG-W007" and touched(world) == []
        again = await fork(world.engine, "run", whole, eve, at="form")  # to be asked anew harms nobody
        assert (await world.resume(again, whole)).status == "waiting"
        before = await fork(world.engine, "run", whole, eve, at="add", value=7)
        assert (await world.resume(before, whole)).status == "waiting"
        by_owner = await fork(world.engine, "run", whole, world.scope(SECOND), at="form", value=5)
        assert (await world.resume(by_owner, whole)).value == 5

    run_virtual(run())


@pytest.mark.promise("FORK-02")
def test_what_comes_after_an_approval_is_not_changed_behind_it() -> None:
    async def run() -> None:
        world, whole = lab(policies=STAFF), approval("clerk") | add | note
        eve, clerk = world.scope(EVE, groups=("staff",)), world.scope("person:carl", groups=("staff", "clerk"))
        assert (await world.run(whole, 3, execution="run", scope=eve)).status == "waiting"
        await decide(world.engine, "run", "approve", {}, clerk)
        assert (await world.resume("run", whole)).value == 4
        with pytest.raises(Denied) as refused:
            await fork(world.engine, "run", whole, eve, at="add", value=1_000)
        assert refused.value.code == "OMG-W007"
        assert (await go_on(world, whole, "run", "add", value=5)).value == 5  # an owner may

    run_virtual(run())


@pytest.mark.promise("FORK-01")
@pytest.mark.parametrize(
    "now", [{"groups": ()}, {"groups": ("staff",), "capabilities": ("files:read", "flows:run")}], ids=["group", "capability"]
)
def test_rights_that_were_lost_are_not_found_again_in_an_old_run(now: Any) -> None:
    async def run() -> None:
        world, whole = lab(policies=STAFF), add | note
        then = {"groups": ("staff",), "capabilities": ("files:*", "flows:run")}
        assert (await world.run(whole, 3, execution="run", scope=world.scope(EVE, **then))).value == 4
        with pytest.raises(Denied, match="does not hold now") as refused:
            await fork(world.engine, "run", whole, world.scope(EVE, **now), at="note")
        assert refused.value.code == "OMG-W001" and world.leaves()[-1].decision == "deny"
        await fork(world.engine, "run", whole, world.scope(EVE, **then), at="note")
        await fork(world.engine, "run", whole, world.scope(SECOND, groups=("owner",), capabilities=("files:read",)), at="note")

    run_virtual(run())
