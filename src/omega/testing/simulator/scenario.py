"""What the simulator runs: a flow, its input, the world that answers it, and the people who decide about it.

The bundled scenario uses every combinator, every class of effect and every operation of a context. Its result does not depend on when it
is run or on which numbers are drawn, so that an interrupted run can be compared with an uninterrupted one; what is drawn goes through
steps whose inputs the engine compares, so a value that changes over a crash is found all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from omega.kernel import compose
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Tool
from omega.kernel.effects import Command, Effect, ModelCall, Receipt, Request, ToolCall, WriteFiles
from omega.kernel.errors import UpstreamError
from omega.kernel.flow import flow, tool

Ran = Callable[[str], None]
"""Told the name of every step body that starts: the witness of pure steps."""

MODEL_TOKENS = 7
"""Tokens that the scenario's model charges: a metered result is on disk before it is used."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How the world answers one touch: after `delay_s` seconds with `value`, or with `error`. A write takes place half way."""

    value: Any = None
    error: UpstreamError | None = None
    delay_s: float = 0.02
    receipt: Receipt = field(default_factory=Receipt)


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """`build(ran)` makes the flow, `answer(request, step)` is the world, `signals` what people send when the flow waits for it.

    `answer` may depend on nothing but its arguments: a request that is made again after a crash gets the same answer. `found(request)` is
    what a person who looks at the target of a write gives as the result of its step. `timed` are the flows whose quickness decides a race,
    and with it the result; `idle` says how often a body may start, between two stops of a run, without its result being used: losers of
    races, what a time limit cuts short, what waits.
    """

    name: str
    build: Callable[[Ran], AnyFlow]
    value: Any
    answer: Callable[[Request, str], Reply]
    found: Callable[[Request], Any]
    signals: Mapping[str, Any] = field(default_factory=dict)
    timed: frozenset[str] = frozenset()
    idle: Mapping[str, int] = field(default_factory=dict)


def everything(ran: Ran) -> AnyFlow:
    """A flow of all ten combinators, all five effects and all of the context."""
    steps = _Steps(ran)
    lookup = pinned(tool("crm", "lookup", effect="read"))
    graph = (
        steps.double
        | compose.parallel(steps.look, steps.double | steps.look, steps.ask)
        | steps.total
        | steps.flaky.retry(3, backoff_s=0.2)
        | steps.slow.timeout(5.0, otherwise=steps.double)
        | compose.race(steps.quick, steps.lazy)
        | steps.broken.fallback(steps.double)
        | steps.square.cached()
        | steps.square.cached()
        | compose.when("out > 10", then=steps.double, otherwise=steps.total_of_one)
        | compose.when(steps.is_even, then=steps.keep)
        | compose.switch(steps.kind, {"small": steps.double, "large": steps.halve})
        | steps.spread
        | compose.foreach(steps.double | steps.look, at_once=2)
        | steps.add_up
        | steps.arguments
        | lookup
        | steps.number
        | steps.save
        | steps.imperative
    )
    return graph.named("everything") if graph.children else graph


class _Steps:
    """The leaves of the scenario: each tells the witness that it started."""

    def __init__(self, ran: Ran) -> None:  # noqa: PLR0915, C901 - one small flow after the other, in the order of their use
        @flow
        def double(value: int) -> int:
            ran("double")
            return value * 2

        @flow(effect="read", needs="process:run")
        async def look(ctx: Context, value: int) -> int:
            ran("look")
            found: int = await ctx.touch(Command(argv=("look", str(value))))
            return found

        @flow(effect="read", needs="model:ask")
        async def ask(ctx: Context, value: int) -> int:
            ran("ask")
            return len(await ctx.touch(ModelCall(instructions="count", prompt=str(value), max_tokens=10)))

        @flow
        def total(values: tuple[int, int, int]) -> int:
            ran("total")
            return sum(values)

        @flow(effect="read", needs="process:run")
        async def flaky(ctx: Context, value: int) -> int:
            ran("flaky")
            found: int = await ctx.touch(Command(argv=("flaky", str(value))))
            return found

        @flow(effect="read", needs="process:run")
        async def slow(ctx: Context, value: int) -> int:
            ran("slow")
            found: int = await ctx.touch(Command(argv=("slow", str(value))))
            return found

        @flow(effect="read", needs="process:run")
        async def quick(ctx: Context, value: int) -> int:
            ran("quick")
            found: int = await ctx.touch(Command(argv=("quick", str(value))))
            return found

        @flow(effect="read", needs="process:run")
        async def lazy(ctx: Context, value: int) -> int:
            ran("lazy")
            found: int = await ctx.touch(Command(argv=("lazy", str(value))))
            return -found

        @flow
        def broken(value: int) -> int:
            ran("broken")
            raise ValueError("broken on purpose")

        @flow
        def square(value: int) -> int:
            ran("square")
            return value * value % 101

        @flow
        def total_of_one(value: int) -> int:
            ran("total_of_one")
            return value + 1

        @flow
        def is_even(value: int) -> bool:
            ran("is_even")
            return value % 2 == 0

        @flow
        def keep(value: int) -> int:
            ran("keep")
            return value

        @flow
        def kind(value: int) -> str:
            ran("kind")
            return "small" if value < 50 else "large"

        @flow
        def halve(value: int) -> int:
            ran("halve")
            return value // 2

        @flow
        def spread(value: int) -> list[int]:
            ran("spread")
            return [value, value + 1, value + 2, value + 3]

        @flow
        def add_up(values: list[int]) -> int:
            ran("add_up")
            return sum(values)

        @flow
        def arguments(value: int) -> dict[str, Any]:
            ran("arguments")
            return {"id": value}

        @flow
        def number(answer: Any) -> int:
            ran("number")
            return int(answer["found"])

        @flow(effect="write", needs="files:write")
        async def save(ctx: Context, value: int) -> int:
            ran("save")
            await ctx.touch(WriteFiles(files={"out.txt": str(value).encode()}))
            return value

        @flow(effect="idempotent", needs="files:write")
        async def note(ctx: Context, value: int) -> int:
            ran("note")
            await ctx.touch(WriteFiles(files={"note.txt": str(value).encode()}))
            return value + 1

        @flow(effect="irreversible", needs="process:run")
        async def wipe(ctx: Context, value: int) -> int:
            ran("wipe")
            await ctx.touch(Command(argv=("wipe", str(value))))
            return value + 2

        @flow
        def remember(drawn: str) -> int:
            ran("remember")
            return len(drawn.split())

        @flow
        async def nested(ctx: Context, value: int) -> int:
            ran("nested")
            first, second = await ctx.parallel((double, value), (note, value))
            return int(first) + int(second)

        @flow
        async def imperative(ctx: Context, value: int) -> dict[str, int]:
            ran("imperative")
            drawn = f"{await ctx.now()} {await ctx.random()} {await ctx.uuid()}"
            words = await ctx.call(remember, drawn)
            await ctx.sleep(2.0)
            sent = await ctx.signal("go")
            inside = await ctx.call(nested, value)
            raced = await ctx.race((quick, value), (lazy, value))
            each = await ctx.foreach(compose.parallel(save, note), [1, 2, 3], at_once=2)
            gone = await ctx.call(wipe, value)
            again = f"{await ctx.now()} {await ctx.random()}"
            return {
                "words": words + await ctx.call(remember, again),
                "sent": int(sent),
                "inside": inside,
                "raced": int(raced),
                "each": sum(a + b for a, b in each),
                "gone": int(gone),
            }

        for name, made in locals().copy().items():
            if name not in ("self", "ran"):
                setattr(self, name, made)

    def __getattr__(self, name: str) -> AnyFlow:
        raise AttributeError(name)


def pinned(leaf: AnyFlow) -> AnyFlow:
    """A tool leaf as the host would bind it to its accepted description."""
    body = leaf.body
    assert isinstance(body, Tool)
    return replace(leaf, body=replace(body, pin="accepted"), effect=Effect(body.declared or "write"), _digest=[])


def world_of_everything(request: Request, step: str) -> Reply:
    """The world of `everything`: what is looked up is one more, `flaky` fails twice, `slow` takes a minute, `quick` beats `lazy`."""
    if isinstance(request, ModelCall):
        return Reply("four", receipt=Receipt(tokens=MODEL_TOKENS, cost_micros=11))
    if isinstance(request, ToolCall):
        return Reply({"found": request.arguments["id"]})
    if isinstance(request, WriteFiles):
        return Reply(sorted(request.files))
    assert isinstance(request, Command)
    what, value = request.argv
    if what == "flaky" and ".2/" not in step:
        return Reply(error=UpstreamError("OMG-P002", "not this time"))
    delay = {"slow": 60.0, "quick": 0.05, "lazy": 0.6}.get(what, 0.02)
    return Reply(int(value) + 1, delay_s=delay)


def found_of_everything(request: Request) -> int:
    """What `save` and `wipe` would have given."""
    if isinstance(request, WriteFiles):
        return int(request.files["out.txt"])
    assert isinstance(request, Command)
    return int(request.argv[1]) + 2


EVERYTHING = Scenario(
    "everything",
    everything,
    3,
    world_of_everything,
    found_of_everything,
    signals={"go": 5},
    timed=frozenset({"quick"}),
    idle={"lazy": 1, "slow": 1, "imperative": 1},
)
"""The scenario of the soak and of the tests."""
