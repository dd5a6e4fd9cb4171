"""The flow that the soak kills: per item a pure step, an idempotent touch and a write, each leaving a line in a file outside of Omega.

A line is `<run> <step> <item>`: which start of the engine it came from, which step, which item. The pure step writes its line behind the
engine's back, which only a witness may do.
"""

from __future__ import annotations

import os

from omega import Command, Context, flow, foreach

WITNESS = "OMEGA_SOAK_WITNESS"
RUN = "OMEGA_SOAK_RUN"

SHELL = 'printf "%s\\n" "$1" >> "$2"'


def witness(step: str, item: int) -> tuple[str, str]:
    """The line to leave, and the file it belongs to."""
    return f"{os.environ[RUN]} {step} {item}", os.environ[WITNESS]


@flow
def compute(item: int) -> int:
    """Pure, but for its line."""
    line, path = witness("compute", item)
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    return item


@flow(effect="idempotent", needs="process:run")
async def note(ctx: Context, item: int) -> int:
    """A touch that may be repeated."""
    line, path = witness("note", item)
    await ctx.touch(Command(argv=("/bin/sh", "-c", SHELL, "sh", line, path)))
    return item


@flow(effect="write", needs="process:run")
async def send(ctx: Context, item: int) -> int:
    """A touch that must not be repeated."""
    line, path = witness("send", item)
    await ctx.touch(Command(argv=("/bin/sh", "-c", SHELL, "sh", line, path)))
    return item * item


main = foreach(compute | note | send, at_once=3)
