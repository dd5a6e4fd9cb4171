"""The flows whose records lie in the golden folders. Never changed once a folder was made: what is replayed must be what was recorded."""

from __future__ import annotations

from omega import Command, Context, flow, foreach


@flow(version="1.0.0")
def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


@flow(version="1.0.0")
def length(word: str) -> int:
    """The length of a word."""
    return len(word)


@flow(version="1.0.0")
def total(lengths: list[int]) -> int:
    """The sum of some lengths."""
    return sum(lengths)


@flow(effect="read", needs="process:run", version="1.0.0")
async def echoed(ctx: Context, text: str) -> str:
    """A text as an outside program prints it."""
    result = await ctx.touch(Command(argv=("printf", "%s", text)))
    return str(result.stdout.decode())


@flow(version="1.0.0")
def broken(text: str) -> int:
    """Fails on anything that is not a number."""
    return int(text)


measured = words | foreach(length) | total
touched = echoed | words | foreach(length) | total
