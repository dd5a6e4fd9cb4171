"""What the drill of several gateways has them run: a flow of a few steps that leaves a line with the witness, and takes a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator

from witness import Note

from omega import Context, flow, stream

ANSWER_S = 0.3
"""How long a write takes after it has happened, in seconds: what is killed meanwhile leaves it in doubt."""

PAUSE_S = 0.03
"""Long enough that a kill finds many of them under way."""


@flow
def triple(item: int) -> int:
    """A pure step."""
    return item * 3


@stream(reduce="last", effect="read")
async def count(ctx: Context, item: int) -> AsyncIterator[int]:
    """Three parts, a moment apart, of which the last is what it gives."""
    for times in range(1, 4):
        await ctx.sleep(PAUSE_S)
        yield item * times


@flow(effect="read", needs="drill:use")
async def ask(ctx: Context, item: int) -> int:
    """One call of the load: it gives three times its number."""
    await ctx.touch(Note(kind="read", step="ask", item=str(item)))
    await ctx.sleep(PAUSE_S)
    return int(await ctx.call(triple, item))


@flow(effect="write", needs="drill:use")
async def book(ctx: Context, item: int) -> int:
    """One write that must happen once: it gives three times its number. One that is in doubt is settled by whoever looks at the witness."""
    await ctx.touch(Note(kind="write", step="book", item=str(item), takes_s=ANSWER_S))
    return item * 3
