"""Streams on the durable engine: watched while they run, slowed down by their watchers, and recorded as one value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from omega import Command, Context, FlowError, flow, stream
from omega.kernel.journal import Kind
from omega.runtime.streaming import MAX_WATCHERS, Part, Streams
from omega.testing import Crash, run_virtual
from omega.testing.lab import TENANT
from runtime.flows import code, double, lab, touched

MADE: list[int] = []


@stream()
async def numbers(ctx: Context, n: int) -> AsyncIterator[int]:
    for number in range(n):
        MADE.append(number)
        yield number


@stream(reduce="text", effect="read", needs="process:run")
async def read(ctx: Context, n: int) -> AsyncIterator[str]:
    for number in range(n):
        yield f"{await ctx.touch(Command(argv=('look', str(number))))};"


@flow
async def emits(ctx: Context, n: int) -> int:
    for number in range(n):
        await ctx.emit({"number": number})
    return await ctx.call(double, n)


async def watched(world: Any, whole: Any, value: Any, **facts: Any) -> tuple[list[Part], Any]:
    """The parts of a run and its outcome."""
    found: list[Part] = []

    async def look() -> None:
        async with world.world.streams.watch(TENANT, "run-1", **facts) as parts:
            async for part in parts:
                found.append(part)

    watching = asyncio.create_task(look())
    await asyncio.sleep(0)
    done = await world.run(whole, value, execution="run-1")
    await watching
    return found, done


def test_a_stream_touches_the_world_a_bounded_number_of_times_between_two_parts() -> None:
    @stream(effect="read", needs="process:run")
    async def idle(ctx: Context, n: int) -> AsyncIterator[int]:
        yield 0
        for number in range(n):
            await ctx.touch(Command(argv=("look", str(number))))

    async def run() -> None:
        assert (await lab().run(read, 100)).status == "done"
        assert (await lab().run(idle, 64)).status == "done"
        assert code(await lab().run(idle, 65)) == "OMG-R016"

    run_virtual(run())


@pytest.mark.promise("FLOW-66")
@pytest.mark.parametrize("whole", [numbers, emits, read])
def test_parts_are_seen_in_order_and_the_value_alone_is_recorded(whole: Any) -> None:
    async def run() -> None:
        world = lab()
        parts, done = await watched(world, whole, 3)
        assert [part.index for part in parts] == [0, 1, 2] and done.status == "done"
        assert {part.position for part in parts} == {whole.name}
        expected = {"numbers": [0, 1, 2], "emits": 6, "read": "1;2;3;"}
        assert done.value == expected[whole.name]
        assert [moment.note for moment in world.moments if moment.kind == "part"]
        kinds = [row.kind for row in world.store.rows("run-1")]
        assert kinds.count(Kind.DONE) == (2 if whole is emits else 1) and Kind.VALUE not in kinds
        before = len(world.moments)
        report = await world.replay("run-1", whole)
        assert report.identical, report.divergence
        assert not [moment for moment in world.moments[before:] if moment.kind == "part"]

    run_virtual(run())


@pytest.mark.promise("FLOW-66")
def test_the_producer_is_never_more_than_a_buffer_ahead_of_its_watcher() -> None:
    async def run() -> None:
        world = lab()
        MADE.clear()
        ahead: list[int] = []

        async def look() -> None:
            async with world.world.streams.watch(TENANT, "run-1", buffer=4) as parts:
                async for part in parts:
                    await asyncio.sleep(1)
                    ahead.append(len(MADE) - part.index)

        watching = asyncio.create_task(look())
        await asyncio.sleep(0)
        done = await world.run(numbers, 40, execution="run-1")
        await watching
        assert done.value == list(range(40)) and len(ahead) == 40
        assert max(ahead) <= 4 + 2, "the producer did not wait"
        assert world.clock.monotonic() >= 40

    run_virtual(run())


def test_a_watcher_that_takes_nothing_is_dropped_and_told_so() -> None:
    async def run() -> None:
        world = lab()
        parts = world.world.streams.watch(TENANT, "run-1", buffer=2)
        done = await world.run(numbers, 10, execution="run-1")
        assert done.value == list(range(10))
        assert 29 <= world.clock.monotonic() <= 31, "it held the run up for longer than the patience, or not at all"
        seen = []
        with pytest.raises(FlowError, match="OMG-R045"):
            async for part in parts:
                seen.append(part.index)
        assert seen == [0, 1]

    run_virtual(run())


def test_what_was_cut_short_begins_its_parts_again() -> None:
    async def run() -> None:
        world = lab()

        async def answer(touch: Any) -> Any:
            if len(world.effectors["process"].touches) == 3:
                raise Crash
            return int(touch.request.argv[1])

        world.effectors["process"].answer = answer
        with pytest.raises(Crash):
            await world.run(read, 4, execution="run-1")
        world.clock.jump(120)
        other = lab(store=world.store, seed=1)
        found: list[int] = []

        async def look() -> None:
            async with other.world.streams.watch(TENANT, "run-1") as parts:
                async for part in parts:
                    found.append(part.index)

        watching = asyncio.create_task(look())
        await asyncio.sleep(0)
        done = await other.resume("run-1", read)
        await watching
        assert done.value == "1;2;3;4;" and found == [0, 1, 2, 3]
        assert len(touched(world, "process")) == 3

    run_virtual(run())


def test_two_watchers_see_the_same_and_one_may_leave() -> None:
    async def run() -> None:
        world = lab()
        leaver, stayer = world.world.streams.watch(TENANT, "run-1"), world.world.streams.watch(TENANT, "run-1")

        async def leave() -> int:
            async with leaver as parts:
                async for part in parts:
                    return part.index
            return -1

        leaving = asyncio.create_task(leave())
        run = asyncio.create_task(world.run(numbers, 50, execution="run-1"))
        seen = [part.index async for part in stayer]
        done = await run
        assert done.value == list(range(50)) == seen and await leaving == 0

    run_virtual(run())


def test_a_part_that_is_too_large_or_no_data_fails_the_step() -> None:
    @flow
    async def floods(ctx: Context, n: int) -> int:
        await ctx.emit("x" * n)
        return n

    @flow
    async def strange(ctx: Context, n: int) -> int:
        await ctx.emit(object())
        return n

    async def run() -> None:
        assert code(await lab().run(floods, 1 << 20)) == "OMG-R003"
        assert code(await lab().run(strange, 1)) == "OMG-R002"

    run_virtual(run())


def test_there_are_only_so_many_watchers_and_none_is_left_behind() -> None:
    async def run() -> None:
        streams = Streams()
        watching = [streams.watch("a", "x") for _ in range(MAX_WATCHERS)]
        with pytest.raises(FlowError, match="OMG-R016"):
            streams.watch("a", "x")
        for each in watching:
            each.close()
        assert not streams._watchers
        late = streams.watch("a", "x")
        streams.end("a", "x")
        assert [part async for part in late] == []

    run_virtual(run())


def test_whoever_leaves_holds_nobody_up_and_another_tenant_sees_nothing() -> None:
    async def run() -> None:
        world = lab()
        leaver, stranger = world.world.streams.watch(TENANT, "run-1", buffer=2), world.world.streams.watch("other", "run-1")
        running = asyncio.create_task(world.run(numbers, 10, execution="run-1"))
        await asyncio.sleep(5)
        leaver.close()
        assert (await running).value == list(range(10))
        assert world.clock.monotonic() < 6, "it waited for somebody who had left"
        world.world.streams.end("other", "run-1")
        assert [part async for part in stranger] == []

    run_virtual(run())
