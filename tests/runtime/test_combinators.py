"""What the combinators do durably: under time, failure, cancellation and a second look at what is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from omega import Context, FlowError, cache, flow, foreach, parallel, race, switch, timeout, when
from omega.kernel.journal import Kind, Note, decode_meta
from omega.testing import run_virtual
from runtime.flows import RUNS, add, broken, code, double, fails, lab, look, note, save, slow, total, touched


def kinds(world: Any, execution: str, position: str = "") -> list[Kind]:
    return [Kind(row.kind) for row in world.store.rows(execution) if not position or row.position == position]


def test_a_sequence_writes_pure_steps_behind_and_touches_in_two() -> None:
    async def run() -> None:
        world = lab()
        done = await world.run(double | look | double, 3)
        assert done.value == 14 and done.status == "done"
        assert kinds(world, done.execution) == [Kind.STARTED, Kind.DONE, Kind.INTENT, Kind.DONE, Kind.DONE, Kind.FINISHED]
        assert [leaf.kind for leaf in world.leaves()] == ["entry", "admit", "outcome", "end"]
        assert world.verify().sound

    run_virtual(run())


@pytest.mark.promise("RUN-08")
def test_pure_steps_cost_far_fewer_commits_than_steps() -> None:
    async def run() -> None:
        world = lab()
        flow_of_many = add
        for _ in range(99):
            flow_of_many = flow_of_many | add
        assert (await world.run(flow_of_many, 0)).value == 100
        assert world.store.counts.rows == 102 and world.store.counts.commits <= 3

    run_virtual(run())


@pytest.mark.promise("FLOW-08")
def test_parallel_runs_at_the_same_time_and_keeps_the_order_written() -> None:
    async def run() -> None:
        world = lab()
        began = world.clock.monotonic()
        done = await world.run(parallel(slow, look, slow), 5)
        assert done.value == [5, 6, 5] and world.clock.monotonic() - began < 11

    run_virtual(run())


def test_a_failed_branch_cancels_the_others_but_lets_writes_finish() -> None:
    async def run() -> None:
        world = lab()
        failed = await world.run(parallel(slow, save, fails), 1)
        assert code(failed) == "OMG-P002"
        assert world.clock.monotonic() < 5, "the slow read was waited for"
        assert Kind.DONE in kinds(world, failed.execution, "parallel.1/save")
        assert Kind.DONE not in kinds(world, failed.execution, "parallel.0/slow")
        assert (await world.replay(failed.execution, parallel(slow, save, fails))).identical

    run_virtual(run())


def test_a_failure_in_parallel_is_met_again_as_the_same_failure() -> None:
    """Also where the input is joined to a wider type: what a branch was given then is what it is given now."""

    @flow
    def wide(x: float) -> float:
        raise ValueError("no")

    @flow
    def fine(x: float) -> float:
        return x

    @flow
    def first(pair: tuple[float, float]) -> float:
        return pair[0]

    async def run() -> None:
        world = lab()
        whole = add | parallel(wide, fine).fallback(parallel(fine, fine)) | first
        done = await world.run(whole, 2)
        assert done.value == 3
        report = await world.replay(done.execution, whole)
        assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.promise("FLOW-09")
def test_a_race_records_its_winner_and_cancels_the_rest() -> None:
    async def run() -> None:
        world = lab()
        whole = race(slow, look) | double
        done = await world.run(whole, 5)
        assert done.value == 12 and world.clock.monotonic() < 5
        chosen = [row for row in world.store.rows(done.execution) if row.kind == Kind.CHOSE]
        meta = decode_meta(chosen[0])
        assert isinstance(meta, Note) and meta.value == 1 and meta.status == "won"
        assert (await world.replay(done.execution, whole)).identical

    run_virtual(run())


def test_a_race_without_a_winner_lists_every_failure() -> None:
    async def run() -> None:
        failed = await lab().run(race(fails, fails), 1)
        assert code(failed) == "OMG-R007"
        assert failed.error is not None and [branch["code"] for branch in failed.error["details"]["branches"]] == ["OMG-P002"] * 2

    run_virtual(run())


@pytest.mark.promise("FLOW-10")
def test_a_race_beside_a_step_of_the_same_branch_is_replayed_identically() -> None:
    """The winner is decided in a branch of its own, which is met again although nothing of its losers was recorded."""

    async def run() -> None:
        world = lab()
        whole = parallel(look, race(look, slow).named("find")) | flow(name="both")(sum_of)
        done = await world.run(whole, 1, execution="run")
        assert done.value == 4
        assert (await world.replay("run", whole)).identical
        assert (await world.resume("run", whole)).value == 4

    run_virtual(run())


def sum_of(pair: tuple[int, int]) -> int:
    return sum(pair)


def test_when_and_switch_record_one_branch_only() -> None:
    async def run() -> None:
        world = lab()
        whole = when("out > 3", then=look, otherwise=double) | switch("out > 9 ? 'a' : 'b'", {"a": add, "b": double})
        done = await world.run(whole, 2)
        assert done.value == 8 and [step.position for step in world.past(done.execution).at.values()] == ["double", "double#2"]

    run_virtual(run())


@pytest.mark.promise("FLOW-11")
def test_foreach_runs_no_more_at_a_time_than_it_was_told() -> None:
    async def run() -> None:
        running, most = 0, 0

        @flow
        async def busy(ctx: Context, n: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await ctx.sleep(1)
            running -= 1
            return n

        world = lab()
        done = await world.run(foreach(busy, at_once=3), list(range(10)))
        assert done.value == list(range(10)) and most == 3 and world.clock.monotonic() == pytest.approx(4, abs=0.01)

    run_virtual(run())


def test_foreach_is_wide() -> None:
    async def run() -> None:
        world = lab()
        done = await world.run(foreach(add), list(range(10_000)))
        assert done.value is not None and done.value[-1] == 10_000
        too_many = await world.run(foreach(add), list(range(10_001)))
        assert code(too_many) == "OMG-R016"

    run_virtual(run())


@pytest.mark.promise("FLOW-12")
def test_a_retry_records_each_attempt_and_each_delay() -> None:
    async def run() -> None:
        world = lab()
        tries: list[str] = []

        async def third(touch: Any) -> int:
            tries.append(touch.step)
            if len(tries) < 3:
                raise FlowError("OMG-R001", "not yet")
            return 9

        world.effectors["process"].answer = third
        whole = look.retry(4, backoff_s=2.0)
        done = await world.run(whole, 1)
        assert done.value == 9 and tries == ["look", "~look.1/look", "~look.2/look"]
        assert [Kind(row.kind) for row in world.store.rows(done.execution)].count(Kind.TIMER) == 2
        assert world.clock.monotonic() >= 1 + 2
        assert (await world.replay(done.execution, whole)).identical and len(tries) == 3

    run_virtual(run())


@pytest.mark.parametrize("error", ["OMG-R002", "OMG-R013", "OMG-R016"])
def test_a_failure_that_no_second_attempt_mends_is_not_retried(error: str) -> None:
    async def run() -> None:
        world = lab()

        def fail(touch: Any) -> None:
            raise FlowError(error, "no")

        world.effectors["process"].answer = fail
        assert code(await world.run(look.retry(5).fallback(add), 1)) == error
        assert len(world.effectors["process"].touches) == 1

    run_virtual(run())


@pytest.mark.promise("FLOW-13")
def test_a_timeout_gives_up_or_goes_another_way() -> None:
    async def run() -> None:
        world = lab()
        assert code(await world.run(slow.timeout(2), 1)) == "OMG-R004"
        assert world.clock.monotonic() == pytest.approx(2, abs=0.1)
        whole = slow.timeout("2s", otherwise=double) | add
        done = await world.run(whole, 4)
        assert done.value == 9 and (await world.replay(done.execution, whole)).identical
        in_time = slow.timeout(20) | add
        done = await world.run(in_time, 4)
        assert done.value == 5 and (await world.replay(done.execution, in_time)).identical

    run_virtual(run())


def test_a_timeout_waits_for_a_write_that_is_under_way() -> None:
    async def run() -> None:
        world = lab()

        async def late(touch: Any) -> list[str]:
            await asyncio.sleep(8)
            return ["saved"]

        world.effectors["files"].answer = late
        whole = timeout(save, 1, otherwise=add)
        done = await world.run(whole, 1)
        assert world.clock.monotonic() >= 8 and done.value == 2
        assert Kind.DONE in kinds(world, done.execution, "~save/save")
        assert (await world.replay(done.execution, whole)).identical

    run_virtual(run())


@pytest.mark.promise("FLOW-14")
def test_a_fallback_does_not_stand_in_for_a_denial_or_a_wait() -> None:
    async def run() -> None:
        world = lab(policies={"no.cedar": '@id("no-look")\n@reason("not here")\nforbid (principal, action == Action::"read", resource);\n'})
        denied = await world.run(look.fallback(double), 1)
        assert (denied.error or {})["family"] == "denied"
        RUNS.clear()
        waits = await world.run(save.approved_by("owner").fallback(double), 1)
        assert waits.status == "waiting" and not RUNS
        fell = await lab().run(broken.fallback(double), 4)
        assert fell.value == 8

    run_virtual(run())


@pytest.mark.promise("FLOW-15")
def test_a_cache_answers_the_same_input_and_code_while_it_is_fresh() -> None:
    async def run() -> None:
        world = lab()
        RUNS.clear()
        whole = double.cached(ttl_s=60)
        assert [(await world.run(whole, n)).value for n in (4, 4, 5)] == [8, 8, 10] and RUNS.count("double") == 2
        await world.clock.sleep(61)
        assert (await world.run(whole, 4)).value == 8 and RUNS.count("double") == 3

        @flow(name="double")
        def other(n: int) -> int:
            return n * 20

        assert (await world.run(other.cached(), 4)).value == 80
        reads = cache(look, reads=True)
        first, second = await world.run(reads, 1), await world.run(reads, 1)
        assert (first.value, second.value) == (2, 2) and len(world.effectors["process"].touches) == 1
        for run in (first, second):
            assert (await world.replay(run.execution, reads)).identical

    run_virtual(run())


def test_a_failure_is_not_kept() -> None:
    async def run() -> None:
        world = lab()
        RUNS.clear()
        for _ in range(2):
            assert code(await world.run(broken.cached(), 1)) == "OMG-R001"
        assert RUNS.count("broken") == 2

    run_virtual(run())


@pytest.mark.promise("RUN-23")
def test_time_chance_and_ids_are_drawn_once() -> None:
    drawn: list[tuple[float, float, str]] = []

    @flow
    async def draws(ctx: Context, n: int) -> str:
        drawn.append((await ctx.now(), await ctx.random(), await ctx.uuid()))
        await ctx.sleep(3600)
        return await ctx.uuid()

    async def run() -> None:
        world = lab()
        done = await world.run(draws, 1)
        assert world.clock.monotonic() == pytest.approx(3600, abs=0.1)
        assert 0 <= drawn[0][1] < 1 and drawn[0][0] == pytest.approx(world.clock.now_us() / 1e6 - 3600, abs=1)
        assert drawn[0][2] != done.value and done.value[14] == "7"
        assert (await world.replay(done.execution, draws)).identical and drawn[0] == drawn[1]

    run_virtual(run())


@pytest.mark.promise("RUN-24")
def test_a_call_from_a_task_of_the_flows_own_is_refused_with_its_line() -> None:
    @flow
    async def own_task(ctx: Context, n: int) -> int:
        return int(await asyncio.create_task(ctx.call(double, n)))

    @flow
    async def gathers(ctx: Context, n: int) -> int:
        first, second = await asyncio.gather(ctx.call(double, n), ctx.call(add, n))
        return int(first) + int(second)

    async def run() -> None:
        for wrong in (own_task, gathers):
            failed = await lab().run(wrong, 1)
            assert code(failed) == "OMG-R008"
            assert failed.error is not None and "test_combinators.py:" in failed.error["cause"]

    run_virtual(run())


def test_branches_that_the_context_opens_are_fine_inside_each_other() -> None:
    @flow
    async def inner(ctx: Context, n: int) -> int:
        return total(await ctx.parallel((double, n), (look, n)))  # type: ignore[no-any-return]

    @flow
    async def outer(ctx: Context, n: int) -> list[int]:
        each = await ctx.foreach(inner, [n, n + 1, n + 2], at_once=2)
        return [*each, await ctx.race((slow, n), (inner, n)), await ctx.call(note, n)]

    async def run() -> None:
        world = lab()
        done = await world.run(outer, 1)
        assert done.value == [4, 7, 10, 4, 1]
        assert (await world.replay(done.execution, outer)).identical

    run_virtual(run())


def test_an_author_who_catches_everything_does_not_turn_a_wait_into_an_answer() -> None:
    @flow
    async def swallows(ctx: Context, n: int) -> int:
        try:
            return int(await ctx.signal("never"))
        except Exception:
            return -1

    async def run() -> None:
        waits = await lab().run(swallows, 1)
        assert waits.status == "waiting" and code(waits) == "OMG-R018"

    run_virtual(run())


def test_deep_nesting_runs_until_positions_are_too_long() -> None:
    def nested(depth: int) -> Any:
        whole = double
        for _ in range(depth):
            whole = parallel(whole) | first_of

        return whole

    async def run() -> None:
        done = await lab().run(nested(30), 1)
        assert done.value == 2
        assert code(await lab().run(nested(60), 1)) == "OMG-R016"

    run_virtual(run())


@flow
def first_of(one: tuple[int]) -> int:
    return one[0]


def test_a_suspended_branch_lets_the_others_finish() -> None:
    async def run() -> None:
        world = lab()
        whole = parallel(save.approved_by("owner"), look)
        waits = await world.run(whole, 1)
        assert waits.status == "waiting" and Kind.DONE in kinds(world, waits.execution, "parallel.1/look")
        await world.decide(waits.execution, "approve", step="save")
        done = await world.resume(waits.execution, whole)
        assert done.value == [1, 2] and touched(world) == ["parallel.0/save"]
        assert len(world.effectors["process"].touches) == 1

    run_virtual(run())
