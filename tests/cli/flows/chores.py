"""Flows for queues: one that is quick, one that fails, one that waits for a signal, one that takes its time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from omega import Context, flow


@flow
def quick(n: int) -> int:
    """Doubles."""
    return n * 2


@flow
def flawed(n: int) -> int:
    """Fails unless the file MENDED is there."""
    if not Path(os.environ["OMEGA_HOME"], "mended").is_file():
        raise ValueError("not mended yet")
    return n


@flow
async def fails(ctx: Context, n: int) -> int:
    """A good step, then one that fails."""
    return int(await ctx.call(flawed, await ctx.call(quick, n)))


@flow
async def waits(ctx: Context, n: int) -> int:
    """Waits for the signal `go`."""
    await ctx.signal("go")
    return int(await ctx.call(quick, n))


@flow
async def slow(ctx: Context, n: int) -> int:
    """Takes its time, and says so with a file."""
    Path(os.environ["OMEGA_HOME"], f"slow-{n}").touch()
    await asyncio.sleep(0.5)
    return int(await ctx.call(quick, n))


main = quick
