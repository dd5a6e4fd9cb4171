"""The flows that Omega runs in the bench. A module of its own, so that a driver can time its import of Omega first."""

from __future__ import annotations

from omega import Context, ReadFile, flow

EVERY = 10
"""One step in this many of `mixed` is a touch."""


@flow
def step(value: int) -> int:
    """A trivial pure step."""
    return value + 1


@flow(effect="read", needs="files:read")
async def look(ctx: Context, path: str) -> int:
    """A touch: one small file through the gate."""
    return len(await ctx.touch(ReadFile(path=path)))


@flow
async def pure(ctx: Context, steps: int) -> int:
    """`steps` pure steps, one after the other."""
    value = 0
    for _ in range(steps):
        value = await ctx.call(step, value)
    return value


@flow
async def mixed(ctx: Context, work: tuple[int, str]) -> int:
    """Steps of which every tenth is a touch. The input is (steps, path of the file)."""
    value = 0
    for number in range(work[0]):
        value = await ctx.call(look, work[1]) if number % EVERY == EVERY - 1 else await ctx.call(step, value)
    return value


@flow
async def touching(ctx: Context, work: tuple[int, str]) -> int:
    """Touches only. The input is (steps, path of the file)."""
    value = 0
    for _ in range(work[0]):
        value += await ctx.call(look, work[1])
    return value
