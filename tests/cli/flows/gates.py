"""Flows that wait: for a person, for a signal, for a file that a test makes."""

import asyncio
from pathlib import Path

from omega import Context, WriteFiles, flow


@flow(effect="write", needs="files:write")
async def publish(ctx: Context, folder: str) -> str:
    """Write one file."""
    await ctx.touch(WriteFiles(files={f"{folder}/out.txt": b"published"}))
    return "published"


@flow
def prepare(folder: str) -> str:
    """A pure step before the one that waits."""
    return folder


approved = prepare | publish.approved_by("owner")


@flow
async def signalled(ctx: Context, folder: str) -> str:
    """Wait for the signal `go`, then say what came with it."""
    got = await ctx.signal("go")
    return f"{folder} {got}"


@flow(effect="read")
async def held(ctx: Context, folder: str) -> str:
    """Go on once the file `go` is there; `held` says that it waits."""
    Path(folder, "held").touch()
    while not Path(folder, "go").exists():
        await asyncio.sleep(0.01)
    return "gone on"


held_between = prepare | held | prepare.named("after")


@flow(effect="write", needs="process:run")
async def stuck(ctx: Context, folder: str) -> str:
    """A write that is under way until it is killed."""
    Path(folder, "held").touch()
    while not Path(folder, "go").exists():
        await asyncio.sleep(0.01)
    return "written"


main = prepare | stuck
