"""How often one governed call waits for the disk: a whole number, whatever the machine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omega import Context, ReadFile, WriteFiles, flow, parallel
from omega.host.embedded import Omega
from omega.kernel.journal import Kind
from omega.kernel.ports import Call
from omega.runtime.ending import Written


@flow(effect="read", needs="files:read")
async def peek(ctx: Context, path: str) -> int:
    return len(await ctx.touch(ReadFile(path=path)))


@flow(effect="write", needs="files:write")
async def keep(ctx: Context, path: str) -> int:
    await ctx.touch(WriteFiles(files={path: b"kept"}))
    return 1


@flow
def double(value: int) -> int:
    return 2 * value


@flow
def triple(value: int) -> int:
    return 3 * value


@flow
def takes_a_moment(value: int) -> int:
    until = time.monotonic() + 0.01
    while time.monotonic() < until:
        pass
    return value


HERE: dict[str, Any] = {}
"""What the flows of these tests see of them."""


@pytest.mark.promise("RUN-91")
def test_a_call_whose_id_nobody_knows_waits_for_the_disk_once_before_its_touch_and_once_after_it(tmp_path: Path) -> None:
    """The start goes to disk with the leave to touch, the result with the end; one that touches nothing has one commit in all."""
    note, made = tmp_path / "note.txt", tmp_path / "made.txt"
    note.write_text("a line\n")

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            passport = omega.passport()
            await omega.run(double, 1)  # the pages that a first run makes
            for of, value, commits in ((double, 2, 1), (peek, str(note), 2), (keep, str(made), 2)):
                call, before = Call(passport=passport, flow=of, input=value), omega.store.counts.commits
                outcome = await omega.road.call(call)
                assert (outcome.status, omega.store.counts.commits - before) == ("done", commits), outcome.error
                before = omega.store.counts.commits
                named = await omega.road.call(replace(call, execution=f"named-{of.name}"))
                assert named.status == "done"
                assert omega.store.counts.commits - before == commits + (of is not double), "a name that others may know is on disk first"
                kinds = [row.kind for row in omega.store.rows(outcome.execution)]
                assert kinds == [row.kind for row in omega.store.rows(named.execution)]
                assert kinds == ([Kind.STARTED] + [Kind.INTENT] * (of is not double) + [Kind.DONE, Kind.FINISHED])

    asyncio.run(whole())


@flow(effect="write", needs="files:write")
async def keep_slowly(ctx: Context, path: str) -> int:
    await ctx.touch(WriteFiles(files={path: b"kept"}))
    HERE["touched"].set()
    await HERE["go"].wait()
    return 1


def test_what_was_done_while_the_engine_closed_is_recorded(tmp_path: Path) -> None:
    async def first() -> str:
        HERE.update(touched=asyncio.Event(), go=asyncio.Event())
        async with Omega.open(tmp_path / "home") as omega:
            call = asyncio.create_task(omega.road.call(Call(passport=omega.passport(), flow=keep_slowly, input=str(tmp_path / "made.txt"))))
            await HERE["touched"].wait()
            (execution,) = omega.engine._running
            asyncio.get_running_loop().call_soon(HERE["go"].set)
        closed = await call
        assert closed.error is not None and closed.error["code"] == "OMG-R005"
        return execution

    async def then(execution: str) -> None:
        async with Omega.open(tmp_path / "home") as omega:
            assert [row.kind for row in omega.store.rows(execution)] == [Kind.STARTED, Kind.INTENT, Kind.DONE]
            await omega.engine.resume(execution, keep_slowly)
            assert (await omega.engine.outcome(execution)).status == "done"

    asyncio.run(then(asyncio.run(first())))


def test_what_was_begun_when_the_engine_closed_is_there_to_be_resumed(tmp_path: Path) -> None:
    """Also where its task never got to its first step."""

    async def first() -> str:
        async with Omega.open(tmp_path / "home") as omega:
            execution = await omega.road.start(Call(passport=omega.passport(), flow=double, input=4))
            await omega.engine.close()
            return execution

    async def then(execution: str) -> None:
        async with Omega.open(tmp_path / "home") as omega:
            assert [row.kind for row in omega.store.rows(execution)] == [Kind.STARTED]
            await omega.engine.resume(execution, double)
            assert (await omega.engine.outcome(execution)).value == 8

    asyncio.run(then(asyncio.run(first())))


@flow
def crunch(value: int) -> int:
    """Runs in the loop's thread: the writer goes on beside it."""
    store = HERE["omega"].store
    while not any(row.kind == Kind.CHILD for row in store.rows("parent")):
        time.sleep(0.001)
    HERE["child"] = [line.execution for line in store.lines() if line.parent == "parent"]
    return 2 * value


@flow
async def parent(ctx: Context, path: str) -> int:
    child = await ctx.start(crunch, 4)
    return await ctx.call(peek, path) + await ctx.join(child)


def test_a_child_is_on_disk_no_later_than_what_its_parent_says_of_it(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("abc")

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            HERE["omega"] = omega
            assert (await omega.run(parent, str(note), execution="parent")).value == 11
            assert len(HERE["child"]) == 1

    asyncio.run(whole())


def test_what_the_store_does_not_know_yet_has_no_lease_to_renew(tmp_path: Path) -> None:
    apart = parallel(double, triple)

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.run(double, 1)
            call = asyncio.create_task(omega.road.call(Call(passport=omega.passport(), flow=apart, input=1)))
            renewing = asyncio.create_task(omega.engine.renew())
            outcome = await call
            await renewing
            assert outcome.value == [2, 3]

    asyncio.run(whole())


def test_a_run_of_one_batch_lasted_as_long_as_it_took(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            outcome = await omega.run(takes_a_moment, 1)
            line = omega.store.line(outcome.execution)
            assert line is not None and line.updated_us - line.started_us >= 10_000

    asyncio.run(whole())


def test_what_is_written_at_the_end_is_written_to_its_end_in_the_task_that_writes_it() -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        disk: asyncio.Future[int] = loop.create_future()
        seen: list[str] = []

        async def commit() -> int:
            await asyncio.sleep(0)
            try:
                return await disk
            except asyncio.CancelledError:
                seen.append("cut short")
                raise

        async def end() -> int:
            return await Written(commit())

        writing = asyncio.create_task(end())
        for _ in range(3):
            await asyncio.sleep(0)
            writing.cancel()
        loop.call_soon(disk.set_result, 7)
        assert await writing == 7 and seen == []

        broken: asyncio.Future[int] = loop.create_future()

        async def fails() -> int:
            return await Written(_wait(broken))

        failing = asyncio.create_task(fails())
        await asyncio.sleep(0)
        failing.cancel()
        await asyncio.sleep(0)
        broken.set_exception(OSError("the disk is full"))
        with pytest.raises(OSError, match="full"):
            await failing

    asyncio.run(whole())


async def _wait(disk: asyncio.Future[int]) -> int:
    return await disk
