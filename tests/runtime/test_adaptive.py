"""Rate limits, breakers and the choice among flows on the durable engine: one decision each, on record, repeated ever after."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from omega import Context, Effect, flow, foreach, optimize
from omega.kernel.effects import Command, Receipt
from omega.kernel.errors import UpstreamError
from omega.kernel.journal import Kind, Note, decode_meta
from omega.kernel.ports import Outcome
from omega.runtime.adaptive import MEASURED
from omega.testing import Lab, Touch, run_virtual
from runtime.flows import add, code, double, fails, lab, look, save


def choices(world: Lab, execution: str) -> list[Note]:
    notes = [decode_meta(row) for row in world.store.rows(execution) if row.kind == Kind.CHOSE]
    return [note for note in notes if isinstance(note, Note)]


async def again(world: Lab, done: Outcome, whole: Any) -> None:
    report = await world.replay(done.execution, whole)
    assert report.identical, report.divergence


@pytest.mark.promise("FLOW-60")
def test_calls_over_the_rate_wait_their_turn_durably() -> None:
    async def run() -> None:
        world = lab()
        whole = foreach(add.rate_limited("2/s"))
        done = await world.run(whole, [1, 2, 3, 4, 5, 6])
        assert done.value == [2, 3, 4, 5, 6, 7]
        assert world.clock.monotonic() == pytest.approx(2.0)
        assert sum(row.kind == Kind.TIMER for row in world.store.rows(done.execution)) == 4
        await again(world, done, whole)

    run_virtual(run())


def test_a_call_that_would_wait_too_long_fails_and_fails_again() -> None:
    async def run() -> None:
        world = lab()
        impatient = add.rate_limited("1/m", patience="10s")
        assert (await world.run(impatient, 1)).value == 2
        refused = await world.run(impatient, 1)
        assert code(refused) == "OMG-R040" and world.clock.monotonic() < 1
        await again(world, refused, impatient)
        assert (await world.run(impatient.fallback(double), 4)).value == 8

    run_virtual(run())


def test_a_rate_limit_counts_apart_for_keys_and_together_within_one() -> None:
    async def run() -> None:
        world = lab()
        per_key = add.rate_limited("1/h", per="key", key="string(out % 2)", patience=0)
        assert [code(await world.run(per_key, n)) for n in (1, 2, 3, 4)] == ["", "", "OMG-R040", "OMG-R040"]

    run_virtual(run())


@pytest.mark.promise("FLOW-61")
def test_a_breaker_leaves_a_failing_flow_alone_and_tries_it_again() -> None:
    async def run() -> None:
        world = lab()
        working: list[bool] = []

        async def answer(touch: Touch) -> Any:
            if not working:
                raise UpstreamError("OMG-P002", "it failed")
            return 7

        world.effectors["process"].answer = answer
        guarded = look.breaker(failures=3, open_for="30s")
        assert [code(await world.run(guarded, 1)) for _ in range(5)] == ["OMG-P002"] * 3 + ["OMG-R041"] * 2
        assert len(world.effectors["process"].touches) == 3
        world.clock.jump(31)
        probe = await world.run(guarded, 1)
        assert code(probe) == "OMG-P002", "one is let through, and fails"
        assert code(await world.run(guarded, 1)) == "OMG-R041"
        world.clock.jump(31)
        working.append(True)
        assert (await world.run(guarded, 1)).value == 7
        assert (await world.run(guarded, 1)).value == 7
        await again(world, probe, guarded)

    run_virtual(run())


def test_an_open_circuit_takes_the_other_flow_and_says_so_on_record() -> None:
    async def run() -> None:
        world = lab()
        guarded = fails.breaker(failures=1, otherwise=double)
        assert code(await world.run(guarded, 4)) == "OMG-P002"
        done = await world.run(guarded, 4)
        assert done.value == 8
        assert [note.text for note in choices(world, done.execution)] == ["open"]
        await again(world, done, guarded)

    run_virtual(run())


def test_a_denial_does_not_open_a_circuit() -> None:
    async def run() -> None:
        world = lab()
        guarded = save.breaker(failures=1)
        for _ in range(2):
            assert code(await world.run(guarded, 1, scope=world.scope("agent:bot"))) == "OMG-W001"
        assert (await world.run(guarded, 1)).value == 1

    run_virtual(run())


def test_what_was_decided_is_repeated_by_another_engine_that_remembers_nothing() -> None:
    """The circuit is open in the first engine. The second one has never seen it fail, and goes on as if it knew."""

    @flow
    async def waits(ctx: Context, n: int) -> int:
        first = await ctx.call(fails.breaker(failures=1, otherwise=double), n)
        await ctx.signal("go")
        return int(first)

    async def run() -> None:
        world = lab()
        await world.run(fails.breaker(failures=1, otherwise=double), 4)
        halted = await world.run(waits, 4)
        assert halted.status == "waiting"
        other = lab(store=world.store, seed=1)
        await other.decide(halted.execution, "signal", name="go", value=1)
        done = await other.resume(halted.execution, waits)
        assert done.value == 8 and not other.effectors["process"].touches
        await again(other, done, waits)

    run_virtual(run())


def priced(name: str) -> Any:
    @flow(name=name, effect="read", needs="process:run")
    async def ask(ctx: Context, n: int) -> int:
        return int(await ctx.touch(Command(argv=(name, str(n)))))

    return ask


CHEAP, DEAR = priced("cheap"), priced("dear")


def market() -> Lab:
    async def answer(touch: Touch) -> Any:
        assert isinstance(touch.request, Command)
        what, value = touch.request.argv
        await world.clock.sleep(5.0 if what == "cheap" else 0.5)
        return int(value), Receipt(cost_micros=10 if what == "cheap" else 1_000)

    world = lab()
    world.effectors["process"].answer = answer
    return world


@pytest.mark.promise("FLOW-62")
@pytest.mark.parametrize(("goal", "best"), [("cost", "cheap"), ("latency", "dear")])
def test_the_flow_that_did_best_is_taken_and_the_reason_is_on_record(goal: str, best: str) -> None:
    async def run() -> None:
        world = market()
        either = optimize(DEAR, CHEAP, goal=goal, explore=0.0)
        runs = [await world.run(either, 1) for _ in range(6)]
        asked = [touch.request.argv[0] for touch in world.effectors["process"].touches]
        assert asked == ["dear", "cheap"] + [best] * 4
        notes = choices(world, runs[-1].execution)
        assert notes[0].text.startswith(f"{best}: best so far (") and "others:" in notes[0].text
        assert notes[1].status == MEASURED
        for done in runs:
            await again(world, done, either)
        assert either.effect is Effect.READ

    run_virtual(run())


def test_another_engine_reads_the_measurements_back() -> None:
    async def run() -> None:
        world = market()
        either = optimize(DEAR, CHEAP, goal="cost", explore=0.0)
        for _ in range(3):
            await world.run(either, 1)
        other = lab(store=world.store, seed=2)
        other.effectors["process"].answer = world.effectors["process"].answer
        await other.run(either, 1)
        assert [touch.request.argv[0] for touch in other.effectors["process"].touches] == ["cheap"], "it began from nothing"

    run_virtual(run())


def test_quality_is_scored_by_a_pure_flow_and_what_costs_counts_branches_too() -> None:
    @flow
    def near_ten(n: int) -> float:
        return max(0.0, 1 - abs(10 - n) / 10)

    async def run() -> None:
        world = lab()
        either = optimize(add, double, goal={"quality": 1}, explore=0.0, score=near_ten)
        runs = [await world.run(either, 5) for _ in range(4)]
        assert [done.value for done in runs] == [6, 10, 10, 10]
        for done in runs:
            await again(world, done, either)

        dear = market()
        both = optimize(foreach(CHEAP), foreach(DEAR), goal="cost")
        done = await dear.run(both, [1, 2, 3])
        assert '"cost_micros":30' in choices(dear, done.execution)[-1].text

    run_virtual(run())


def test_a_long_turn_is_waited_for_without_an_engine() -> None:
    async def run() -> None:
        world = lab(park_s=5.0)
        whole = add.rate_limited("1/m")
        ids = [await world.enqueue(whole, n) for n in range(3)]
        work = asyncio.create_task(world.worker(whole).run())
        began = world.clock.now_us()
        for each in ids:
            await world.until(each)
        assert sorted([(await world.engine.outcome(each)).value for each in ids]) == [1, 2, 3]
        assert 119 <= (world.clock.now_us() - began) / 1_000_000 <= 150
        kinds = [row.kind for each in ids for row in world.store.rows(each)]
        assert kinds.count(Kind.PAUSED) == 2, "the waits were held in memory"
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    run_virtual(run())
