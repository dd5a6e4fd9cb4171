"""The flow that drills run: pure steps, a read, a write, a child, a timer, a signal; each step leaves its line with the witness.

Items are numbers, all different, so that a line says which execution it belongs to without asking Omega. The result is known beforehand
(`result_of`).
"""

from __future__ import annotations

from witness import Note, leave

from omega import Context, flow

QUEUE = "load"
CHILDREN = "children"
SIGNAL = "go"
SHORT_S, LONG_S = 0.05, 0.6
"""The timers: one that is held in memory and one for which an execution stands still."""

SIGNALLED = 4
"""One item in so many waits for a signal."""


@flow
def compute(item: int) -> int:
    """A pure step."""
    leave("call", "compute", str(item))
    return item + 1


@flow(effect="read", needs="drill:use")
async def look(ctx: Context, item: int) -> int:
    """A read."""
    await ctx.touch(Note(kind="read", step="look", item=str(item)))
    return item


@flow(effect="write", needs="drill:use")
async def send(ctx: Context, item: int) -> int:
    """A write: it must never happen twice."""
    await ctx.touch(Note(kind="write", step="send", item=str(item)))
    return item * 2


@flow(effect="write", needs="drill:use")
async def deliver(ctx: Context, item: int) -> int:
    """The write of a child."""
    await ctx.touch(Note(kind="write", step="deliver", item=str(item)))
    return item * 3


@flow
def finish(total: int) -> int:
    """A pure step at the end."""
    leave("call", "finish", str(total // 5))
    return total


@flow
async def main(ctx: Context, item: int) -> int:
    """One execution of the mixed load."""
    await ctx.call(compute, item)
    await ctx.call(look, item)
    await ctx.sleep(SHORT_S if item % 2 else LONG_S)
    started = await ctx.start(deliver, item, queue=CHILDREN)
    if is_signalled(item):
        await ctx.signal(SIGNAL)
    sent = await ctx.call(send, item)
    delivered = await ctx.join(started)
    return int(await ctx.call(finish, sent + int(delivered)))


def is_signalled(item: int) -> bool:
    """Whether the execution of `item` waits for a signal."""
    return item % SIGNALLED == 0


def result_of(item: int) -> int:
    """What the execution of `item` gives."""
    return item * 5


STEPS = ("compute", "look", "deliver", "send", "finish")
"""Every step that leaves a line for each item."""
