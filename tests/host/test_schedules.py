"""Schedules: one execution per moment, whoever looks, however often, under whatever clock."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from omega import Context, Denied, InputError, IntegrityError, StorageError, WriteFiles, flow
from omega.adapters.memory import MemoryStore
from omega.host.arrangements import Shelf
from omega.host.schedules import LABEL, PROGRESS, SCHEDULE, Progress, Schedule, Scheduler, reading, schedules
from omega.kernel.calendars import SECOND_US, CatchUp, Overlap, Timing, stamp
from omega.kernel.ports import Search
from omega.runtime.decisions import decide
from omega.testing import Lab, run_virtual
from omega.testing.lab import OWNER, TENANT
from omega.warden.approvals import approve

HOUR_US = 3_600 * SECOND_US


@flow
def report(day: str) -> str:
    return f"report of {day}"


def schedule(world: Lab, **facts: Any) -> Schedule:
    """An hourly schedule of this lab's owner, from now on."""
    given = {
        "name": "nightly",
        "timing": Timing(cron="0 * * * *"),
        "flow": "report",
        "input": "today",
        "claims": world.scope().claims(),
        "since_us": world.clock.now_us(),
        **facts,
    }
    return Schedule(**given)


def keep(world: Lab, *wanted: Schedule) -> None:
    for each in wanted:
        world.store.put_document(SCHEDULE, each.name, json.dumps(each.seal(world.world.keyring)).encode(), world.clock.now_us())


def scheduler(world: Lab, **facts: Any) -> Scheduler:
    shelf: Shelf = world.store
    return Scheduler(world.engine, shelf, lambda wanted: report if wanted.flow == "report" else None, **facts)


def started(world: Lab, name: str = "nightly") -> list[str]:
    """What a schedule has started, the oldest first."""
    found = world.store.search(Search(tenant=TENANT, labels={LABEL: name}, limit=1_000))
    return sorted(line.execution for line in found)


@pytest.mark.promise("TIME-05")
def test_a_moment_makes_one_execution_named_after_it() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))
        at = scheduler(world)
        now = world.clock.now_us()
        first = Timing(cron="0 * * * *").next_after(now)
        assert first is not None and await at.tick(now) == first and started(world) == []
        following = await at.tick(first)
        assert following == first + HOUR_US and started(world) == [f"nightly@{stamp(first)}"]
        assert await at.tick(first) == following and await at.tick(first + 1) == following
        assert len(started(world)) == 1
        line = world.store.line(f"nightly@{stamp(first)}")
        assert line is not None and (line.status, line.queue, line.due_us) == ("queued", "default", first)

    run_virtual(run())


@pytest.mark.promise("TIME-05")
def test_many_schedulers_over_one_store_start_it_once() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))
        labs = [world, *(Lab(seed=number, store=second_store(world, number), clock=world.clock) for number in range(3))]
        first = Timing(cron="0 * * * *").next_after(world.clock.now_us())
        assert first is not None
        for moment in range(first, first + 3 * HOUR_US, HOUR_US):
            await asyncio.gather(*(scheduler(each).tick(moment) for each in labs))
        assert len(started(world)) == 3
        assert [leaf.kind for leaf in world.leaves()].count("entry") == 3

    run_virtual(run())


def second_store(world: Lab, number: int) -> MemoryStore:
    return MemoryStore(beside=world.store, sequencer=world.sequencer, owner=f"worker-{number}", now_us=world.clock.now_us)


@pytest.mark.promise("TIME-05")
def test_two_that_are_both_past_the_look_make_one() -> None:
    """Both have seen that there is none of that name yet: the store decides."""

    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))
        first = Timing(cron="0 * * * *").next_after(world.clock.now_us())
        assert first is not None
        one, other = scheduler(world), scheduler(world)
        line, world.store.line = world.store.line, lambda execution: None
        await one.tick(first)
        world.store.drop_document(PROGRESS, "nightly")
        await other.tick(first)
        world.store.line = line
        assert len(started(world)) == 1 and other.problems == {}

    run_virtual(run())


@pytest.mark.promise("TIME-06")
def test_it_acts_for_whoever_made_it_and_the_gate_is_asked_every_time() -> None:
    async def run() -> None:
        world = Lab()
        made = schedule(world)
        keep(world, made)
        at, now = scheduler(world), world.clock.now_us()
        await at.tick(now + HOUR_US)
        leaf = world.leaves()[-1]
        assert (leaf.kind, leaf.principal, leaf.actors) == ("entry", OWNER, ("service:scheduler",))
        world.authority.revoke(str(made.claims["passport"]))
        await at.tick(now + 2 * HOUR_US)
        assert len(started(world)) == 1 and isinstance(at.problems["nightly"], Denied)
        noted = Progress.of(world.store, "nightly").error
        assert noted is not None and noted["code"] == "OMG-T001"

    run_virtual(run())


@flow(effect="write", needs="files:write")
async def archive(ctx: Context, day: str) -> str:
    await ctx.touch(WriteFiles(files={day: b"archived"}))
    return day


@pytest.mark.promise("TIME-06")
def test_a_schedule_may_what_its_maker_may_and_no_more() -> None:
    """An owner's schedule writes, as the owner would; an agent's is held to what the agent may."""

    async def run() -> None:
        for maker, status in ((OWNER, "done"), ("agent:bot", "failed")):
            world = Lab()
            world.effectors["files"].answer = lambda touch: ["archived"]
            keep(world, schedule(world, flow="archive", claims=world.scope(maker).claims()))
            await Scheduler(world.engine, world.store, lambda _: archive).tick(world.clock.now_us() + HOUR_US)
            [name] = started(world)
            outcome = await world.resume(name, archive)
            assert outcome.status == status
            assert status == "done" or (outcome.error or {})["code"] == "OMG-W001"

    run_virtual(run())


@pytest.mark.promise("TIME-06")
def test_nobody_holds_a_passport_of_the_scheduler() -> None:
    world = Lab()
    with pytest.raises(Denied):
        world.passport(actors=("service:scheduler",))
    with pytest.raises(Denied):
        world.authority.delegate(
            world.scope(), actor="service:scheduler", capabilities=(), ttl_s=60, now=world.clock.now_us() / 1e6, jti="x"
        )
    ada = world.scope("person:eve", groups=("treasurer",))
    with pytest.raises(Denied):
        approve(ada, role="treasurer", requester=ada.acting("service:scheduler"))
    assert not ada.acting("service:scheduler").delegated and ada.acting("agent:bot").acting("service:scheduler").delegated


@pytest.mark.promise("TIME-06")
def test_a_refusal_of_the_gate_is_recorded_and_the_next_moment_is_another_one() -> None:
    async def run() -> None:
        frozen = '@id("no-reports")@reason("frozen")forbid (principal, action, resource) when { resource.name == "report" };'
        world = Lab(policies={"no.cedar": frozen})
        keep(world, schedule(world))
        at, now = scheduler(world), world.clock.now_us()
        for hours in (1, 2):
            await at.tick(now + hours * HOUR_US)
            assert at.problems["nightly"].code == "OMG-W001"
        assert [leaf.kind for leaf in world.leaves()] == ["deny", "deny"]
        lines = world.store.search(Search(tenant=TENANT, status=("failed",)))
        assert len(lines) == 2 and world.verify().sound

    run_virtual(run())


@pytest.mark.parametrize("broken", [{"input": 5}, {"budget": {"calls": -1}}])
def test_what_does_not_fit_is_noted_and_holds_nobody_up(broken: dict[str, Any]) -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, name="a-broken", **broken), schedule(world))
        at = scheduler(world)
        await at.tick(world.clock.now_us() + HOUR_US)
        assert len(started(world)) == 1 and "a-broken" in at.problems

    run_virtual(run())


@pytest.mark.promise("TIME-04")
@pytest.mark.parametrize(("catch_up", "count"), [(CatchUp.NONE, 0), (CatchUp.LAST, 1), (CatchUp.ALL, 6)])
def test_an_absence_is_made_up_for_as_asked(catch_up: CatchUp, count: int) -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, catch_up=catch_up, most=6))
        now = world.clock.now_us()
        await scheduler(world).tick(now + 50 * HOUR_US + 600 * SECOND_US)
        assert len(started(world)) == count

    run_virtual(run())


@pytest.mark.promise("TIME-07")
def test_a_clock_that_jumps_starts_nothing_twice_and_silences_nothing() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))
        at, now = scheduler(world), world.clock.now_us()
        await at.tick(now + HOUR_US)
        await at.tick(now)  # set back
        await at.tick(now + HOUR_US)
        assert len(started(world)) == 1
        await at.tick(now + 1_000 * HOUR_US)  # far ahead, and right again
        assert len(started(world)) == 2
        for hours in (2, 3):
            await at.tick(now + hours * HOUR_US)
        assert len(started(world)) == 4
        world.store.drop_document(PROGRESS, "nightly")  # the note is lost
        await at.tick(now + 3 * HOUR_US)
        assert len(started(world)) == 4

    run_virtual(run())


@pytest.mark.promise("TIME-08")
@pytest.mark.parametrize(
    ("overlap", "counts"), [(Overlap.ALLOW, [1, 2, 3]), (Overlap.SKIP, [1, 1, 2]), (Overlap.QUEUE, [1, 1, 2]), (Overlap.CANCEL, [1, 2, 3])]
)
def test_overlap(overlap: Overlap, counts: list[int]) -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, overlap=overlap))
        at, now = scheduler(world), world.clock.now_us()
        seen = []
        for hours in (1, 2, 3):
            if hours == 3:
                await ended(world)
            await at.tick(now + hours * HOUR_US)
            seen.append(len(started(world)))
        assert seen == counts and at.problems == {}
        states = [world.store.line(name).status for name in started(world)]
        if overlap is Overlap.CANCEL:
            assert states == ["cancelled", "done", "queued"]
        if overlap is Overlap.SKIP:
            assert Progress.of(world.store, "nightly").left_out == 1

    run_virtual(run())


@pytest.mark.promise("TIME-08")
@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_run_that_only_bears_the_label_holds_no_schedule_up(overlap: Overlap) -> None:
    """Anybody may give a run of theirs any label."""

    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, overlap=overlap))
        await world.enqueue(report, "mine", scope=world.scope("person:eve"), queue="elsewhere", labels={LABEL: "nightly"}, execution="mine")
        first = Timing(cron="0 * * * *").next_after(world.clock.now_us())
        assert first is not None
        at = scheduler(world)
        await at.tick(first)
        assert started(world) == ["mine", f"nightly@{stamp(first)}"] and at.problems == {}
        line = world.store.line("mine")
        assert line is not None and line.status == "queued"

    run_virtual(run())


@pytest.mark.promise("TIME-08")
def test_what_runs_on_another_worker_is_cancelled_by_letter() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, overlap=Overlap.CANCEL))
        at, now = scheduler(world, post=world.store.post), world.clock.now_us()
        await at.tick(now + HOUR_US)
        [first] = started(world)
        other = second_store(world, 1)
        await other.claim(first, owner="worker-1", lease_us=now + 9 * HOUR_US, now_us=now)
        await at.tick(now + 2 * HOUR_US)
        assert [(letter.execution, letter.verb) for letter in other.letters()] == [(first, "cancel")]
        assert len(started(world)) == 2 and at.problems == {}

    run_virtual(run())


@pytest.mark.promise("TIME-08")
def test_what_waits_for_its_turn_is_not_lost() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, overlap=Overlap.QUEUE))
        at, now = scheduler(world), world.clock.now_us()
        for hours in range(1, 5):
            await at.tick(now + hours * HOUR_US)
        for expected in (1, 2, 3, 4):
            assert len(started(world)) == expected
            await ended(world)
            await at.tick(now + 4 * HOUR_US)
        assert len(started(world)) == 4

    run_virtual(run())


async def ended(world: Lab) -> None:
    """Everything that stands in the queue has run to its end."""
    for line in world.store.search(Search(tenant=TENANT, status=("queued",))):
        await world.resume(line.execution, report)


def test_paused_and_foreign_schedules_are_left_alone() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world, paused=True), schedule(world, name="other", flow="elsewhere"))
        assert await scheduler(world).tick(world.clock.now_us() + 5 * HOUR_US) is None
        assert started(world) == started(world, "other") == []

    run_virtual(run())


def test_a_schedule_that_is_not_due_costs_one_read_for_all() -> None:
    async def run() -> None:
        world, asked = Lab(), []
        keep(world, schedule(world), schedule(world, name="weekly", timing=Timing(cron="@weekly")))

        class Counting:
            def __getattr__(self, name: str) -> Any:
                asked.append(name)
                return getattr(world.store, name)

        at, now = Scheduler(world.engine, Counting(), lambda _: report), world.clock.now_us()
        await at.tick(now)
        asked.clear()
        for second in range(1, 60):
            await at.tick(now + second * SECOND_US)
        assert asked == ["documents"] * 59
        await at.tick(now - SECOND_US)  # set back: looked at anew
        await at.tick(now + HOUR_US)
        assert len(started(world)) == 1
        keep(world, schedule(world, timing=Timing(every_s=60)))
        await at.tick(now + HOUR_US + 61 * SECOND_US)
        assert len(started(world)) == 2, "a schedule that was changed is looked at anew"

    run_virtual(run())


def test_jitter_delays_the_start_and_not_the_name() -> None:
    async def run() -> None:
        world = Lab()
        timing = Timing(cron="0 * * * *", jitter_s=600)
        keep(world, schedule(world, timing=timing))
        first = timing.next_after(world.clock.now_us())
        assert first is not None
        await scheduler(world).tick(first)
        line = world.store.line(f"nightly@{stamp(first)}")
        assert line is not None and line.due_us == first + timing.delay_us("nightly", first) != first

    run_virtual(run())


def test_it_runs_by_itself_and_sees_new_schedules() -> None:
    async def run() -> None:
        world = Lab()
        task = asyncio.create_task(scheduler(world).run())
        await world.clock.sleep(60)
        keep(world, schedule(world, timing=Timing(every_s=60)))
        await world.clock.sleep(600)
        assert len(started(world)) in (9, 10)
        task.cancel()
        await asyncio.wait([task])

    run_virtual(run())


@pytest.mark.promise("TIME-06")
def test_a_document_that_was_not_sealed_here_carries_no_authority() -> None:
    async def run() -> None:
        world = Lab()
        good = schedule(world).seal(world.world.keyring)
        bodies = [
            {},
            {**good, "format": 2},
            {**good, "key": "!"},
            {**good, "key": "\u00e9"},
            {**good, "sealed": good["sealed"][:-8] + "AAAAAAA="},
            {"format": 1, "key": good["sealed"], "sealed": good["key"]},
        ]
        for body in bodies:
            with pytest.raises(IntegrityError):
                Schedule.open("nightly", body, world.world.keyring)
            with pytest.raises(InputError):
                reading(world.world.keyring)("nightly", body)
        with pytest.raises(IntegrityError):
            Schedule.open("weekly", good, world.world.keyring)
        assert reading(world.world.keyring)("nightly", good) == good
        opened = Schedule.open("nightly", good, world.world.keyring)
        assert opened == schedule(world, claims=opened.claims)
        world.store.put_document(SCHEDULE, "forged", json.dumps({**good, "name": "forged"}).encode(), 1)
        world.store.put_document(SCHEDULE, "noise", b"\x00", 1)
        keep(world, schedule(world))
        at = scheduler(world)
        await at.tick(world.clock.now_us() + HOUR_US)
        assert started(world) and sorted(at.problems) == ["forged", "noise"]
        found, problems = schedules(world.store, world.world.keyring)
        assert [each.name for each in found] == ["nightly"] and "forged" in problems

    run_virtual(run())


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "Nightly"},
        {"name": "a@b"},
        {"name": ""},
        {"most": 0},
        {"most": 10**6},
        {"priority": 5_000},
        {"queue": "x" * 100},
        {"timing": Timing(at_us=1)},
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        schedule(Lab(), **facts)


def test_nobody_can_take_the_name_of_a_moment() -> None:
    async def run() -> None:
        world = Lab()
        for call in (world.engine.start, world.engine.enqueue):
            with pytest.raises(InputError) as caught:
                await call(report, "x", world.scope(), execution="nightly@2026-11-21T06.00Z")
            assert caught.value.code == "OMG-I003"

    run_virtual(run())


def test_only_the_schedule_itself_cancels_in_a_persons_name() -> None:
    """The scheduler decides about what it started for the same person, and about nothing else."""

    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))
        await world.engine.enqueue(report, "x", world.scope(), execution="mine")
        acting = world.scope().acting("service:scheduler")
        with pytest.raises(Denied):
            await decide(world.engine, "mine", "cancel", {}, acting)

    run_virtual(run())


@pytest.mark.parametrize("body", [b'{"last_us": "x"}', b"[]", b"null", b"\xff", b'{"last_us": 1e400}'])
def test_a_note_of_progress_that_cannot_be_read_counts_for_nothing(body: bytes) -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))
        world.store.put_document(PROGRESS, "nightly", body, 1)
        at = scheduler(world)
        await at.tick(world.clock.now_us() + HOUR_US)
        assert len(started(world)) == 1 and at.problems == {}

    run_virtual(run())


def test_a_store_that_fails_is_not_taken_for_a_schedule_that_does() -> None:
    async def run() -> None:
        world = Lab()
        keep(world, schedule(world))

        def fails(batch: Any) -> None:
            raise StorageError("OMG-S004", "the disk is gone")

        world.store.on_append = fails
        with pytest.raises(StorageError):
            await scheduler(world).tick(world.clock.now_us() + HOUR_US)
        world.store.on_append = None
        await scheduler(world).tick(world.clock.now_us() + HOUR_US)
        assert len(started(world)) == 1

    run_virtual(run())
