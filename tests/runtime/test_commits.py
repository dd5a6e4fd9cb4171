"""How often one governed call waits for the disk: a whole number, whatever the machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from omega import Context, ReadFile, WriteFiles, flow
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
