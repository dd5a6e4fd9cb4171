"""People on the durable engine: forms, approvals and signals that wait, are answered once, and give up in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from omega import Denied, InputError, approval, flow, form, parallel, wait_for
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Kind
from omega.kernel.people import question_of
from omega.kernel.ports import Outcome
from omega.testing import Crash, Lab, run_virtual
from runtime.flows import add, code, double, lab, look

HOUR = 3600.0


class Reply(BaseModel):
    """What a person fills in."""

    account: str
    amount: int


@flow
def amount(reply: Reply) -> int:
    return reply.amount


ASK = form(Reply, message="which account?", role="clerk")
GOOD = {"account": "a-1", "amount": 7}


async def halted(world: Lab, whole: Any, value: Any = 1, **facts: Any) -> Outcome:
    outcome = await world.run(whole, value, **facts)
    assert outcome.status == "waiting", outcome
    return outcome


async def refused(work: Any) -> OmegaError:
    with pytest.raises(OmegaError) as error:
        await work
    return error.value


@pytest.mark.promise("FLOW-64")
def test_a_form_waits_shows_its_schema_and_gives_the_answer_as_a_value() -> None:
    async def run() -> None:
        world = lab()
        whole = add | ASK | amount
        halt = await halted(world, whole)
        assert code(halt) == "OMG-R042" and "which account?" in str(halt.error)
        (step,) = world.past(halt.execution).questions()
        question = question_of(step)
        assert question is not None and question.role == "clerk" and question.message == "which account?"
        assert set(question.schema["properties"]) == {"account", "amount"}
        assert (await world.resume(halt.execution, whole)).status == "waiting", "it went on without an answer"
        await world.decide(halt.execution, "answer", by="person:bob", value=GOOD)
        done = await world.resume(halt.execution, whole)
        assert done.value == 7
        report = await world.replay(halt.execution, whole)
        assert report.identical, report.divergence
        assert world.verify().sound
        assert [leaf.reason for leaf in world.leaves() if leaf.kind == "approve"] == ["answered by person:bob#clerk"]

    run_virtual(run())


@pytest.mark.promise("FLOW-64")
@pytest.mark.parametrize("value", [{}, {"account": "a", "amount": "x"}, None, [1], {"account": 1, "amount": 1}])
def test_an_answer_that_does_not_fit_is_refused_and_not_recorded(value: Any) -> None:
    async def run() -> None:
        world = lab()
        halt = await halted(world, ASK)
        before = len(world.store.rows(halt.execution))
        error = await refused(world.decide(halt.execution, "answer", value=value))
        assert isinstance(error, InputError) and error.code == "OMG-I001"
        assert len(world.store.rows(halt.execution)) == before
        await world.decide(halt.execution, "answer", value=GOOD)
        assert (await world.resume(halt.execution, ASK)).value == GOOD

    run_virtual(run())


def test_only_a_person_of_the_role_answers_and_only_once() -> None:
    async def run() -> None:
        world = lab()
        halt = await halted(world, ASK)
        from omega.runtime.decisions import decide

        for scope in (
            world.scope("person:eve", groups=("staff",)),
            world.scope("agent:bot"),
            world.scope("person:ada", actors=("agent:bot",)),
        ):
            error = await refused(decide(world.engine, halt.execution, "answer", {"value": GOOD}, scope))
            assert isinstance(error, Denied) and error.code == "OMG-W007"
        await decide(world.engine, halt.execution, "answer", {"value": GOOD}, world.scope("person:cleo", groups=("clerk",)))
        error = await refused(world.decide(halt.execution, "answer", value=GOOD))
        assert error.code == "OMG-I005"
        mine = await halted(world, form(int), scope=world.scope("person:eve", groups=("owner",)))
        error = await refused(decide(world.engine, mine.execution, "answer", {"value": 1}, world.scope("person:fay", groups=("staff",))))
        assert error.code == "OMG-W007"
        await decide(world.engine, mine.execution, "answer", {"value": 1}, world.scope("person:eve", groups=("staff",)))
        assert (await world.resume(mine.execution, form(int))).value == 1

    run_virtual(run())


def test_an_approval_lets_its_input_through_once_somebody_has_said_yes() -> None:
    async def run() -> None:
        world = lab()
        whole = add | approval("owner", "go on?") | double
        halt = await halted(world, whole)
        assert code(halt) == "OMG-R011" and (halt.error or {})["details"]["message"] == "go on?"
        assert [step.meta.kind for step in world.past(halt.execution).waits()] == ["approval"]
        await world.decide(halt.execution, "approve")
        done = await world.resume(halt.execution, whole)
        assert done.value == 4
        assert (await world.replay(halt.execution, whole)).identical

    run_virtual(run())


def test_an_answer_is_no_approval_and_an_approval_no_answer() -> None:
    async def run() -> None:
        world = lab()
        both = parallel(ASK, approval("owner"))
        halt = await halted(world, both)
        await world.decide(halt.execution, "approve")
        still = await world.resume(halt.execution, both)
        assert code(still) == "OMG-R042"
        assert not world.past(halt.execution).waits()
        await world.decide(halt.execution, "answer", value=GOOD)
        assert (await world.resume(halt.execution, both)).value == [GOOD, 1]

    run_virtual(run())


def test_a_signal_is_taken_with_its_type_also_one_that_came_before() -> None:
    async def run() -> None:
        world = lab()
        whole = wait_for("paid", Reply) | amount
        halt = await halted(world, whole)
        assert code(halt) == "OMG-R018"
        await world.decide(halt.execution, "signal", name="paid", value=GOOD)
        assert (await world.resume(halt.execution, whole)).value == 7
        assert (await world.replay(halt.execution, whole)).identical

        early = wait_for("go", int) | wait_for("paid", int) | add
        first = await halted(world, early)
        await world.decide(first.execution, "signal", name="paid", value=4)
        await world.decide(first.execution, "signal", name="go", value=1)
        assert (await world.resume(first.execution, early)).value == 5

        odd = await halted(world, wait_for("paid", Reply))
        await world.decide(odd.execution, "signal", name="paid", value="nothing")
        assert code(await world.resume(odd.execution, wait_for("paid", Reply))) == "OMG-I001"

    run_virtual(run())


@pytest.mark.promise("FLOW-65")
@pytest.mark.parametrize("step", [form(int, within="1h"), approval("owner", within="1h"), wait_for("paid", int, within="1h")])
def test_a_question_that_nobody_answers_in_time_fails_once_and_for_all(step: Any) -> None:
    async def run() -> None:
        world = lab()
        whole = step.fallback(double)
        halt = await halted(world, whole)
        due = (halt.error or {})["details"]["due_us"]
        assert due == world.clock.now_us() + HOUR * 1_000_000
        world.clock.jump(HOUR - 1)
        again = await world.resume(halt.execution, whole)
        assert again.status == "waiting" and (again.error or {})["details"]["due_us"] == due, "the time began anew"
        world.clock.jump(2)
        for verb, facts in (("answer", {"value": 1}), ("approve", {})):
            error = await refused(world.decide(halt.execution, verb, **facts))
            assert error.code == "OMG-I005"
        done = await world.resume(halt.execution, whole)
        assert done.value == 2
        report = await world.replay(halt.execution, whole)
        assert report.identical, report.divergence
        alone = await halted(world, step)
        world.clock.jump(HOUR + 1)
        assert code(await world.resume(alone.execution, step)) == "OMG-R043"

    run_virtual(run())


@pytest.mark.promise("FLOW-65")
def test_an_answer_in_time_counts_however_late_the_run_is_taken_up() -> None:
    async def run() -> None:
        world = lab()
        step = form(int, within="1h")
        halt = await halted(world, step)
        await world.decide(halt.execution, "answer", value=3)
        world.clock.jump(2 * HOUR)
        assert (await world.resume(halt.execution, step)).value == 3

    run_virtual(run())


def test_a_crash_between_the_answer_and_its_use_asks_nobody_twice() -> None:
    async def run() -> None:
        world = lab()
        whole = ASK | amount | look
        halt = await halted(world, whole)
        await world.decide(halt.execution, "answer", value=GOOD)

        def dies(touch: Any) -> Any:
            raise Crash

        world.effectors["process"].answer = dies
        with pytest.raises(Crash):
            await world.resume(halt.execution, whole)
        world.clock.jump(120)
        other = lab(store=world.store, seed=3)
        done = await other.resume(halt.execution, whole)
        assert done.value == 8
        assert sum(row.kind == Kind.ANSWERED for row in world.store.rows(halt.execution)) == 1

    run_virtual(run())


@pytest.mark.promise("FLOW-65")
def test_a_worker_takes_up_what_nobody_answered_when_its_time_is_over_and_what_was_answered_at_once() -> None:
    async def run() -> None:
        world = lab(park_s=5.0)
        whole = form(int, within="1h").fallback(double)
        slow, quick = await world.enqueue(whole, 4), await world.enqueue(whole, 4)
        work = asyncio.create_task(world.worker(whole).run())
        began = world.clock.now_us()
        await world.until(slow, "waiting")
        await world.until(quick, "waiting")
        await world.clock.sleep(60)
        await world.decide(quick, "answer", value=9)
        await world.until(quick)
        assert (await world.engine.outcome(quick)).value == 9
        assert world.clock.now_us() - began < 120 * 1_000_000, "the answer woke nobody"
        await world.until(slow)
        assert (await world.engine.outcome(slow)).value == 8
        assert HOUR <= (world.clock.now_us() - began) / 1_000_000 < HOUR + 60
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    run_virtual(run())


TWO_ROLES = """@id("books") @reason("finance looks first") @approval("finance")
forbid(principal, action, resource == Flow::"transfer") unless { context.approved.contains("finance") };
@id("law") @reason("legal looks too") @approval("legal")
forbid(principal, action, resource == Flow::"transfer") unless { context.approved.contains("legal") };
"""


def test_a_step_that_needs_two_roles_asks_one_after_the_other() -> None:
    @flow(effect="write", needs="process:run")
    def transfer(n: int) -> int:
        return n

    async def run() -> None:
        world = lab(policies={"two.cedar": TWO_ROLES})
        whole = (double | transfer).named("two_roles")
        halt = await halted(world, whole)
        roles = []
        for _ in range(2):
            (step,) = world.past(halt.execution).waits()
            question = question_of(step)
            assert question is not None
            roles.append(question.role)
            await world.decide(halt.execution, "approve")
            done = await world.resume(halt.execution, whole)
        assert roles == ["finance", "legal"] and done.status == "done"
        assert world.verify().sound and (await world.replay(halt.execution, whole)).identical

    run_virtual(run())
