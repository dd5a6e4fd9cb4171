"""What the guard does by itself: only where it is arranged, within its bounds, each act on the road and once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omega import Context, flow
from omega.adapters.records import RecordsEffector
from omega.defence.guard.acting import BACKOFF_S, IN_A_ROW, Act, Facts, Orders, due
from omega.defence.guard.model import Swept
from omega.defence.guard.service import redrive
from omega.defence.guard.slo import Objective
from omega.host import guarding
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.host.guard_acts import ORDERS, GuardEffector
from omega.host.identity import Caller
from omega.host.quarantine import QuarantineEffector, isolated, release
from omega.host.queues import QUEUE
from omega.host.schedules import SCHEDULE, Schedule, Scheduler
from omega.kernel.calendars import Timing
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Line, Search
from omega.kernel.scope import SCHEDULER
from omega.runtime.letters import carry_out
from omega.runtime.supervision import Restart
from omega.testing import Lab, run_virtual
from omega.testing.lab import TENANT

NOW_S = 1_800_000_000
NOW_US = NOW_S * 1_000_000
HOUR_US = 3_600_000_000
ALL = Orders(redrive=3, isolate=True, pause=True)
SWEEP = find_method("guard.sweep")[0]


def line(number: int, status: str = Status.FAILED, **facts: Any) -> Line:
    """One that ended a minute ago, a second later for each `number`."""
    at_us = NOW_US - 60_000_000 + number * 1_000_000
    given = {
        "execution": f"exe_{number}",
        "tenant": "local",
        "flow": "triage",
        "version": "1.0.0",
        "principal": "person:ada",
        "target": "",
        "epoch": 1,
        "owner": "",
        "lease_us": 0,
        "started_us": at_us,
        "updated_us": at_us,
    }
    return Line(**{**given, "status": status, **facts})


def keys(lines: list[Line], facts: Facts) -> list[str]:
    return [act.key for act in due(lines, facts, Objective(), NOW_S)]


# -- which acts are due


@pytest.mark.promise("WATCH-04")
def test_nothing_is_due_where_nothing_is_arranged() -> None:
    lines = [line(0, Status.DEAD, queue="jobs", updated_us=1), *(line(number, principal="agent:bad", queue="q") for number in range(1, 20))]
    facts = Facts(tried={"exe_0": 0}, schedules=["nightly"], queues=True)
    assert keys(lines, facts) == []
    assert keys(lines, facts.model_copy(update={"orders": ALL}))[-1] == "redrive exe_0"


@pytest.mark.promise("WATCH-04")
@pytest.mark.parametrize(
    ("changed", "facts", "is_due"),
    [
        ({}, {}, True),
        ({"updated_us": NOW_US - round(BACKOFF_S * 1_000_000) + 1}, {}, False),
        ({"updated_us": NOW_US - round(BACKOFF_S * 2_000_000) + 1}, {"tried": {"exe_0": 1}}, False),
        ({"updated_us": NOW_US - round(BACKOFF_S * 2_000_000)}, {"tried": {"exe_0": 1}}, True),
        ({}, {"tried": {"exe_0": 3}}, False),
        ({}, {"tried": {}}, False),
        ({}, {"doubtful": ["exe_0"]}, False),
        ({"queue": ""}, {}, False),
        ({"status": Status.IN_DOUBT}, {}, False),
        ({"status": Status.FAILED}, {}, False),
    ],
)
def test_what_was_given_up_is_due_so_many_times_after_longer_and_longer_and_never_in_doubt(
    changed: dict[str, Any], facts: dict[str, Any], *, is_due: bool
) -> None:
    dead = replace(line(0, Status.DEAD, queue="jobs", updated_us=NOW_US - HOUR_US), **changed)
    assert keys([dead], Facts(**{"orders": Orders(redrive=3), "tried": {"exe_0": 0}, **facts})) == (["redrive exe_0"] if is_due else [])


@pytest.mark.promise("WATCH-04")
def test_an_agent_is_isolated_only_where_it_burns_the_budget_alone() -> None:
    facts = Facts(orders=Orders(isolate=True))
    bad = [line(number, principal="agent:bad") for number in range(10)]
    well = [line(number, Status.DONE, principal="person:ada") for number in range(10, 20)]
    assert keys([*bad, *well], facts) == ["isolate agent:bad"]
    assert keys(bad, facts) == [], "nobody else called it: that may be the flow's fault"
    assert keys([*bad, *(replace(each, flow="other") for each in well)], facts) == []
    assert keys([*bad, *(replace(each, status=Status.FAILED) for each in well)], facts) == [], "it fails for everybody"
    assert keys([replace(each, principal="person:bob") for each in bad] + well, facts) == []
    assert keys(bad[:9] + well, facts) == []
    assert keys([*bad, *well], facts.model_copy(update={"locked": ["agent:bad"]})) == []
    assert keys([*bad, *well], facts.model_copy(update={"noted": {"isolate agent:bad": NOW_US}})) == [], "judged by what it did since"


@pytest.mark.promise("WATCH-04")
def test_a_schedule_or_queue_is_paused_only_where_everything_fails() -> None:
    facts = Facts(orders=Orders(pause=True), schedules=["nightly"], queues=True)
    runs = [line(number, execution=f"nightly@{number}", labels={"schedule": "nightly"}) for number in range(IN_A_ROW)]
    assert keys(runs, facts) == ["schedule nightly"]
    assert keys([*runs[1:], replace(runs[0], status=Status.CANCELLED)], facts) == []
    assert keys([*runs[:-1], replace(runs[-1], status=Status.DONE)], facts) == []
    assert keys([replace(each, execution=f"mine-{each.execution}") for each in runs], facts) == [], "a label alone is anybody's"
    assert keys(runs, facts.model_copy(update={"noted": {"schedule nightly": NOW_US}})) == []
    jobs = [line(number, queue="jobs") for number in range(10)]
    assert keys(jobs, facts) == ["queue jobs"] and keys(jobs[1:], facts) == []
    assert keys([*jobs, line(11, Status.DONE, queue="jobs")], facts) == []
    assert keys([*jobs, line(11, Status.RUNNING, queue="jobs", flow="guard.sweep")], facts) == [], "the guard stands in it itself"
    assert keys(jobs, facts.model_copy(update={"paused": ["jobs"]})) == []
    assert keys(jobs, facts.model_copy(update={"queues": False})) == []


# -- on virtual time


@flow
async def deadly(ctx: Context, n: int) -> int:
    """Kills whoever runs it."""
    await asyncio.sleep(1_000_000.0)
    return n


@flow
def falls(n: int) -> int:
    raise ValueError("no")


@flow
def picky(n: int) -> int:
    """Fails for whoever asks for something negative."""
    if n < 0:
        raise ValueError("no")
    return n


async def _gone(*_: Any, **__: Any) -> Any:
    raise InputError("OMG-S004", "this process is gone")


def watched(orders: Orders) -> Lab:
    """A lab whose guard acts."""
    lab = Lab(park_s=5.0, lease_s=10.0)
    lab.store.put_document(ORDERS, TENANT, json.dumps(orders.model_dump()).encode(), 0)
    quarantine = QuarantineEffector(lab.store, lab.store, dict, lab.clock.now_us)
    lab.effectors["guard"] = GuardEffector(lab.world, lab.store, quarantine, lab.clock.now_us, home=TENANT)
    lab.effectors["records"] = RecordsEffector(lab.store)
    return lab


async def die(lab: Lab, name: str) -> Line:
    """A worker takes it up and is gone; the next one gives it up."""
    mortal = Lab(beside=lab, owner=f"mortal-{lab.clock.now_us()}", park_s=5.0, lease_s=10.0)
    task = asyncio.create_task(mortal.worker(deadly, restart=Restart(max_tries=1)).run())
    await lab.until(name, Status.RUNNING)
    await asyncio.sleep(1.0)
    mortal.store.release = mortal.store.commit = _gone
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    task = asyncio.create_task(lab.worker(deadly, restart=Restart(max_tries=1)).run())
    found = await lab.until(name, Status.DEAD)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found


async def swept(lab: Lab) -> Swept:
    """One sweep, started as a schedule of the owner's starts it, and the letters it left carried out."""
    outcome = await lab.run(SWEEP, {"target": 0.999}, scope=lab.scope().acting(SCHEDULER))
    assert outcome.error is None, outcome.error
    for letter in lab.store.letters():
        assert await carry_out(lab.engine, letter)
        lab.store.settle(letter.number)
    return Swept.model_validate(outcome.value)


@pytest.mark.promise("WATCH-04")
def test_what_was_given_up_is_redriven_as_often_as_arranged_and_then_left_to_people() -> None:
    async def run() -> None:
        lab = watched(Orders(redrive=2))
        name = await lab.enqueue(deadly, 1)
        dead = await die(lab, name)
        assert (await swept(lab)).did == [], "it has been dead for a moment only"
        for tried in range(2):
            await asyncio.sleep(BACKOFF_S * 2**tried)
            found = await swept(lab)
            assert found.did == [f"redrive {name}"] and found.new[0].key == f"did redrive {name}"
            assert lab.store.line(name).status == Status.QUEUED and lab.past(name).redriven == tried + 1
            assert (await swept(lab)).did == []
            act = Act(kind="redrive", about=name, why="again", since_us=dead.updated_us)
            assert (await lab.run(redrive, act)).value is False, "that death was redriven"
            dead = await die(lab, name)
        await asyncio.sleep(BACKOFF_S * 100)
        found = await swept(lab)
        assert found.did == [] and lab.store.line(name).status == Status.DEAD
        assert f"{name} deadly was given up" in [alert.key for alert in found.standing]
        assert [leaf.flow for leaf in lab.leaves() if leaf.kind == "outcome" and leaf.flow == "guard.redrive"] == ["guard.redrive"] * 4
        assert lab.verify().sound

    run_virtual(run())


@pytest.mark.promise("WATCH-04")
def test_two_sweeps_that_see_one_death_redrive_it_once_and_no_agent_does() -> None:
    async def run() -> None:
        lab = watched(Orders(redrive=2))
        name = await lab.enqueue(deadly, 1)
        dead = await die(lab, name)
        await asyncio.sleep(BACKOFF_S)
        act = Act(kind="redrive", about=name, why="it died", since_us=dead.updated_us)
        for scope in (lab.scope("agent:other"), lab.scope(actors=("agent:other",))):
            refused = await lab.run(redrive, act, scope=scope)
            assert refused.error is not None and refused.error["code"] == "OMG-W007"
        assert lab.store.letters() == []
        assert [(await lab.run(redrive, act)).value for _ in range(2)] == [True, False]
        for letter in lab.store.letters():
            assert await carry_out(lab.engine, letter)
        assert lab.past(name).redriven == 1

    run_virtual(run())


@pytest.mark.promise("WATCH-04")
def test_a_schedule_and_a_queue_that_fail_every_time_are_paused_and_stay_resumed() -> None:
    async def run() -> None:
        lab = watched(Orders(pause=True))
        made = Schedule(
            name="nightly",
            timing=Timing(cron="*/5 * * * *"),
            flow="falls",
            input=1,
            queue="timed",
            claims=lab.scope().claims(),
            since_us=lab.clock.now_us(),
        )
        lab.store.put_document(SCHEDULE, "nightly", json.dumps(made.seal(lab.world.keyring)).encode(), 0)
        tasks = [asyncio.create_task(lab.worker(falls, queues=("timed", "jobs")).run())]
        tasks.append(asyncio.create_task(Scheduler(lab.engine, lab.store, lambda wanted: falls).run()))
        for _ in range(10):
            await lab.until(await lab.enqueue(falls, 1, queue="jobs"))
        await asyncio.sleep(300.0 * (IN_A_ROW + 1))
        found = await swept(lab)
        assert found.did == ["schedule nightly", "queue jobs"] and [alert.severity for alert in found.new[:2]] == ["page", "page"]
        kept = lab.store.document(SCHEDULE, "nightly")
        assert replace(Schedule.open("nightly", json.loads(kept), lab.world.keyring), paused=False) == made
        assert json.loads(lab.store.document(QUEUE, "jobs"))["paused"] is True
        before = len(lab.store.search(Search(queue="timed", limit=100)))
        await asyncio.sleep(900.0)
        assert len(lab.store.search(Search(queue="timed", limit=100))) == before and (await swept(lab)).did == []
        lab.store.put_document(SCHEDULE, "nightly", json.dumps(made.seal(lab.world.keyring)).encode(), 0)
        lab.store.put_document(QUEUE, "jobs", b"{}", 0)
        assert (await swept(lab)).did == [], "what was resumed is judged by what it does then"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert lab.verify().sound

    run_virtual(run())


@pytest.mark.promise("WATCH-04")
def test_an_act_that_is_not_arranged_is_refused() -> None:
    async def run() -> None:
        lab = watched(Orders(pause=True))
        outcome = await lab.run(redrive, Act(kind="redrive", about="exe_1", why="I say so"))
        assert outcome.error is not None and outcome.error["code"] == "OMG-I005"

    run_virtual(run())


@pytest.mark.promise("WATCH-04")
def test_no_agent_has_the_guard_lock_out_another_and_what_the_gate_denies_holds_up_nothing() -> None:
    async def run() -> None:
        lab = watched(Orders(isolate=True, pause=True))
        bad, worker = lab.scope("agent:bad"), asyncio.create_task(lab.worker(falls).run())
        for _ in range(10):
            await lab.run(picky, -1, scope=bad)
            await lab.run(picky, 1)
            await lab.until(await lab.enqueue(falls, 1))
        sweep = await lab.run(SWEEP, {"target": 0.999}, scope=lab.scope("agent:other"))
        found = Swept.model_validate(sweep.value)
        assert found.undone == ["isolate agent:bad: OMG-W001"] and found.did == ["queue default"]
        assert (await swept(lab)).did == ["isolate agent:bad"]
        assert [each.principal for each in isolated(lab.store)] == ["agent:bad"]
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    run_virtual(run())


# -- on a real engine


async def _sweep(omega: Omega) -> Swept:
    outcome = await omega.run(SWEEP, {"target": 0.999})
    assert outcome.error is None, outcome.error
    return Swept.model_validate(outcome.value)


@pytest.mark.promise("WATCH-04")
@pytest.mark.slow
def test_an_agent_that_burns_the_budget_alone_is_locked_out_and_released_by_two_people(tmp_path: Path) -> None:
    async def run() -> None:
        async with Omega.open(tmp_path) as omega:
            for number in range(10):
                assert (await omega.run(picky, -1, principal="agent:bad")).status == Status.FAILED
                assert (await omega.run(picky, number)).value == number
            first = await _sweep(omega)
            assert first.did == [] and "slo picky page" in [alert.key for alert in first.new], "it advises"
            await omega.arrange(ORDERS, "local", {"redrive": 1, "isolate": True, "pause": True})
            found = await _sweep(omega)
            assert found.did == ["isolate agent:bad"] and found.undone == []
            assert found.new[0].do == "omega quarantine release agent:bad"
            refused = await omega.run(picky, 1, principal="agent:bad")
            assert refused.error is not None and refused.error["code"] == "OMG-W009"
            assert (await omega.run(picky, 1)).value == 1 and (await _sweep(omega)).did == []
            for person in ("person:ada", "person:bob"):
                done = await omega.ask(release, "agent:bad", Caller(person, groups=("owner",)))
            assert done["released"] is True
            assert (await omega.run(picky, 1, principal="agent:bad")).value == 1 and (await _sweep(omega)).did == []
        assert guarding.orders(tmp_path) == Orders(redrive=1, isolate=True, pause=True)

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.promise("WATCH-04")
@pytest.mark.parametrize("body", [{"redrive": 11}, {"redrive": -1}, {"isolate": "yes"}, {"redrive": "3"}])
def test_orders_that_cannot_be_meant_are_refused(body: dict[str, Any]) -> None:
    from omega.host.guard_acts import check

    with pytest.raises(InputError) as caught:
        check("local", body)
    assert caught.value.code == "OMG-I001"
