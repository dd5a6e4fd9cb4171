"""What a simulated fleet is asked to do: one small flow for each thing that can go wrong over a crash.

Pure bodies tell the listener that they started, with the execution they belong to; each name stands once in an errand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.effects import Command, WriteFiles
from omega.kernel.flow import flow
from omega.kernel.journal import Status
from omega.kernel.sagas import saga


@dataclass(frozen=True, slots=True, eq=False)
class Errand:
    """A flow, its input, and how an undisturbed run of it ends. `children` are the flows that it starts as executions of their own,
    `offspring` how many of them, `undone` how many steps it undoes."""

    flow: AnyFlow
    value: Any
    result: Any = None
    status: str = Status.DONE
    children: tuple[AnyFlow, ...] = ()
    offspring: int = 0
    undone: int = 0


_LISTENER: list[Callable[[str, str], None]] = [lambda execution, name: None]


def listen(ran: Callable[[str, str], None]) -> None:
    """Tell `ran` (execution, name) of every pure body that starts from now on. Fleets run one after the other."""
    _LISTENER[0] = ran


def _ran(ctx: Context, name: str) -> None:
    _LISTENER[0](ctx.execution, name)


@flow
async def first(ctx: Context, n: int) -> int:
    """Pure."""
    _ran(ctx, "first")
    return n * 2


@flow
async def last(ctx: Context, n: int) -> int:
    """Pure."""
    _ran(ctx, "last")
    return n + 100


@flow(effect="read", needs="process:run")
async def look(ctx: Context, n: int) -> int:
    """A quick read."""
    return int(await ctx.touch(Command(argv=("look", str(n)))))


@flow(effect="read", needs="process:run")
async def ponder(ctx: Context, n: int) -> int:
    """A read that takes its time."""
    return int(await ctx.touch(Command(argv=("slow", str(n)))))


@flow(effect="write", needs="files:write")
async def save(ctx: Context, n: int) -> int:
    """A write that must not be repeated."""
    await ctx.touch(WriteFiles(files={"save": str(n).encode()}))
    return 1


@flow
async def nap(ctx: Context, n: int) -> int:
    """A wait that is not held in memory."""
    await ctx.sleep(20.0)
    return n


@flow
async def asks(ctx: Context, n: int) -> int:
    """Waits for a signal."""
    return n + int(await ctx.signal("go"))


@flow
async def refuses(ctx: Context, n: int) -> int:
    """Fails."""
    raise ValueError("no room on the ship")


@flow(effect="idempotent", needs="files:write")
async def undo(ctx: Context, pair: tuple[int, int]) -> None:
    """Takes a step back."""
    await ctx.touch(WriteFiles(files={"undo": str(pair).encode()}))


@flow
async def family(ctx: Context, n: int) -> int:
    """Starts three children and joins them."""
    begun = [await ctx.start(CHILD, n, queue="work"), await ctx.start(NAPPING, n, queue="default"), await ctx.start(save, n, queue="work")]
    return sum([int(await ctx.join(child)) for child in begun])


@flow
async def hurry(ctx: Context, n: int) -> int:
    """Joins a child that has ended before one has looked twice."""
    return int(await ctx.join(await ctx.start(QUICK, n, queue="work")))


QUICK = (first | last).named("quick")
CHILD = (first | ponder).named("child")
NAPPING = (first | nap).named("napping")

ERRANDS = (
    Errand((first | look | ponder | last).named("plain"), 3, 108),
    Errand((first | save | last).named("writes"), 3, 101),
    Errand((first | nap | look | last).named("sleeps"), 3, 107),
    Errand(asks, 3, 8),
    Errand(family, 3, 14, children=(CHILD, NAPPING, save), offspring=3),
    Errand(hurry, 3, 106, children=(QUICK,), offspring=1),
    Errand(saga((look, undo), (ponder, undo), refuses).named("trip"), 3, status=Status.FAILED, undone=2),
)
"""One of each: pure, read, write, wait, signal, children, saga."""
