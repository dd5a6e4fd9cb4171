"""Flows that many tests of the runtime use, and a lab whose world answers them."""

from __future__ import annotations

import asyncio
from typing import Any

from omega import Command, Context, WriteFiles, flow
from omega.kernel.errors import UpstreamError
from omega.kernel.ports import Outcome
from omega.testing import Lab, Touch

RUNS: list[str] = []
"""Names of pure bodies in the order they ran: an outside witness. A test that reads it clears it first."""


@flow
def double(n: int) -> int:
    RUNS.append("double")
    return n * 2


@flow
def add(n: int) -> int:
    RUNS.append("add")
    return n + 1


@flow
def total(pair: tuple[int, int]) -> int:
    RUNS.append("total")
    return sum(pair)


@flow
def broken(n: int) -> int:
    RUNS.append("broken")
    raise ValueError("broken on purpose")


@flow(effect="read", needs="process:run")
async def look(ctx: Context, n: int) -> int:
    return int(await ctx.touch(Command(argv=("look", str(n)))))


@flow(effect="read", needs="process:run")
async def slow(ctx: Context, n: int) -> int:
    return int(await ctx.touch(Command(argv=("slow", str(n)))))


@flow(effect="read", needs="process:run")
async def fails(ctx: Context, n: int) -> int:
    return int(await ctx.touch(Command(argv=("fails", str(n)))))


@flow(effect="idempotent", needs="files:write")
async def note(ctx: Context, n: int) -> int:
    await ctx.touch(WriteFiles(files={"note": str(n).encode()}))
    return n


@flow(effect="write", needs="files:write")
async def save(ctx: Context, n: int) -> int:
    await ctx.touch(WriteFiles(files={"saved": str(n).encode()}))
    return n


@flow(effect="irreversible", needs="files:write")
async def wipe(ctx: Context, n: int) -> int:
    await ctx.touch(WriteFiles(files={"wiped": str(n).encode()}))
    return n


async def answer(touch: Touch) -> Any:
    """`look` gives one more, `slow` the same after ten seconds, `fails` fails, files are written in a tenth of a second."""
    request = touch.request
    if isinstance(request, WriteFiles):
        await asyncio.sleep(0.1)
        return sorted(request.files)
    assert isinstance(request, Command)
    what, value = request.argv
    if what == "fails":
        raise UpstreamError("OMG-P002", "it failed")
    await asyncio.sleep(10.0 if what == "slow" else 0.01)
    return int(value) + (what == "look")


def lab(**facts: Any) -> Lab:
    """A lab whose world answers these flows."""
    made = Lab(**facts)
    for port in ("process", "files"):
        made.effectors[port].answer = answer
    return made


def touched(world: Lab, port: str = "files") -> list[str]:
    """The steps whose requests reached `port`, in order."""
    return [touch.step for touch in world.effectors[port].touches]


def code(outcome: Outcome) -> str:
    """The error code of an outcome; empty where there is none."""
    return str((outcome.error or {}).get("code", ""))
