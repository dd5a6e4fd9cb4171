"""Streams: flows that give their result in parts, while it comes about.

    @stream(reduce="text", effect="read")
    async def write(ctx: Context, topic: str) -> AsyncIterator[str]:
        async for word in words(ctx, topic):
            yield word

Whoever watches the run sees each part as it is made, and the producer waits for them: a watcher's buffer is bounded. What counts is the
value that the parts reduce to: it alone is recorded, so recovery and replay give it whole. A step that was cut short begins again, and so
do its parts, from the first. Imperative flows emit parts with `ctx.emit(part)`; what they return is up to them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args, get_origin

from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Flow, Task, flow
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError, FlowError
from omega.kernel.journal import MAX_PAYLOAD
from omega.kernel.types import Type, type_of

MAX_PARTS = 100_000
"""Most parts of one stream: what never ends is no step."""

MAX_PART = 256 << 10
"""Largest part in bytes as JSON: watchers hold many of them."""

_ITERATORS = (AsyncIterator, AsyncGenerator, AsyncIterable)

Reduce = str | AnyFlow
"""How parts become the value: "text" joins strings, "list" keeps them all, "last" keeps the last; or a pure flow from their list."""


@dataclass(frozen=True, slots=True)
class Stream(Task):
    """A Python async generator as a leaf. `source` is the generator function; `function` runs it and reduces its parts."""

    kind: ClassVar[str] = "stream"
    source: Callable[..., Any] = lambda: None
    reduce: Reduce = "list"
    part: str = ""

    @property
    def code(self) -> str:
        """Digest of the generator's source, without comments and layout, and of the reducer's."""
        own = Task(self.source, self.takes_context, self.takes_input, self.parameter, self.where).code
        return f"{own}.{self.reduce.code}" if isinstance(self.reduce, Flow) else own

    def parameters(self) -> dict[str, Any]:
        reducer = self.reduce.digest if isinstance(self.reduce, Flow) else self.reduce
        return {"part": self.part, "reduce": reducer}


def stream(
    *,
    reduce: Reduce = "list",
    name: str | None = None,
    version: str = "1.0.0",
    effect: Effect | str = Effect.PURE,
    needs: str | tuple[str, ...] = (),
    egress: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], AnyFlow]:
    """Turn an annotated async generator into a flow whose parts can be watched and whose value is what they `reduce` to.

    The other arguments are those of `flow`. Raises DefinitionError: OMG-F002 for what is no async generator with an AsyncIterator[...]
    annotation, OMG-F001 for a reducer that takes something else.
    """

    def decorate(target: Callable[..., Any]) -> AnyFlow:
        made = flow(name=name, version=version, effect=effect, needs=needs, egress=egress, tags=tags)(target)
        part = _part(target, made)
        task = made.body
        assert isinstance(task, Task)  # noqa: S101 - what `flow` makes of a function
        body = Stream(
            _collecting(target, task, part, reduce),
            True,
            task.takes_input,
            task.parameter,
            task.where,
            source=target,
            reduce=reduce,
            part=part.name,
        )
        return replace(made, body=body, output=_reduced(made, part, reduce), _digest=[])

    return decorate


def _part(target: Callable[..., Any], made: AnyFlow) -> Type:
    annotation = made.output.annotation
    if not inspect.isasyncgenfunction(target) or get_origin(annotation) not in _ITERATORS:
        raise DefinitionError(
            "OMG-F002",
            f"{made.name} ({made.where}) is no stream",
            advice="write an async def with yield, annotated as AsyncIterator[...]",
        )
    return type_of(get_args(annotation)[0])


def _reduced(made: AnyFlow, part: Type, reduce: Reduce) -> Type:
    """The type of the value."""
    parts = type_of(list.__class_getitem__(part.annotation))
    if isinstance(reduce, Flow):
        if reduce.effect is not Effect.PURE:
            raise DefinitionError("OMG-F003", f"{reduce.name} reduces the parts of {made.name} but is a {reduce.effect.value}")
        if not parts.fits(reduce.input):
            raise DefinitionError("OMG-F001", f"{made.name} gives {parts.name}, {reduce.name} takes {reduce.input.name}")
        return reduce.output
    if reduce == "text":
        if part.annotation is not str:
            raise DefinitionError("OMG-F001", f"{made.name} gives parts of type {part.name}, and only str can be joined as text")
        return part
    if reduce not in ("list", "last"):
        raise DefinitionError(
            "OMG-F003", f"{reduce!r} reduces nothing", advice='"text", "list", "last", or a pure flow from the list of parts'
        )
    return parts if reduce == "list" else part


def _collecting(target: Callable[..., Any], task: Task, part: Type, reduce: Reduce) -> Callable[..., Any]:
    @functools.wraps(target)
    async def collected(ctx: Any, *given: Any) -> Any:
        kept: list[Any] = []
        count, size = 0, 0
        async with aclosing(target(*((ctx,) if task.takes_context else ()), *given)) as parts:
            async for each in parts:
                data, value = part.encode(each)
                count, size = count + 1, size + (0 if reduce == "last" else len(data))
                if count > MAX_PARTS or size > MAX_PAYLOAD:
                    raise FlowError("OMG-R003", f"{task.where}: a stream of {count:,} parts and {size:,} bytes is over the limit")
                if reduce == "last":
                    kept.clear()
                kept.append(value)
                await ctx.emit(value)
        return await _value(ctx, kept, reduce, task.where)

    return collected


async def _value(ctx: Any, kept: list[Any], reduce: Reduce, where: str) -> Any:
    if isinstance(reduce, Flow):
        return await ctx.call(reduce, kept)
    if reduce == "text":
        return "".join(kept)
    if reduce == "last":
        if not kept:
            raise FlowError("OMG-R001", f"{where}: the stream ended without a part, and its last one is its value")
        return kept[-1]
    return kept
