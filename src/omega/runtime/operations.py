"""What stands behind a context: an execution, seen from within one of its steps.

A context has the rights and the budget it was narrowed to, whatever its execution has; steps are made in the flow's own task alone; and
what a step was told to wait for, no `except` of an author turns into an answer.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context, Place
from omega.kernel.effects import Request
from omega.kernel.errors import FlowError, Suspended
from omega.kernel.evaluate import Branch, evaluate
from omega.kernel.trail import Trail
from omega.runtime.adaptive import Adaptive
from omega.runtime.children import Children, Scattered
from omega.runtime.emitting import Emitting
from omega.runtime.undoing import Undoing


class Driving(Adaptive, Children, Emitting, Undoing, ABC):
    """An execution as its contexts see it: all that a driver does, with leaves run as whoever runs it says."""

    @abstractmethod
    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail, ctx: Context | None = None) -> Any:
        """One step, with the rights of `ctx`."""


class Touches(Protocol):
    """A gated step under way: the world, for its context. `gave` says that the step gave a part of its stream."""

    async def touch(self, request: Request) -> Any: ...

    def gave(self) -> None: ...


class Operations:
    """What stands behind the context of one step."""

    __slots__ = ("_execution", "_halt", "_parts", "_touching", "_trail")

    def __init__(self, execution: Driving, trail: Trail, touching: Touches | None) -> None:
        self._execution = execution
        self._trail = trail
        self._touching = touching
        self._halt: Suspended | None = None
        self._parts = 0
        if trail.owner is None:
            trail.owner = asyncio.current_task()

    async def call(self, flow: AnyFlow, value: Any, ctx: Context) -> Any:
        """Another flow as a durable step, with the rights of `ctx` as they were narrowed."""
        self._own("call")
        return await self._watched(evaluate(flow, flow.input.read(value), self._trail, Narrowed(self._execution, ctx)))

    async def touch(self, request: Request) -> Any:
        """The world, with a permit of this step; a pure step has none."""
        self.still_going()
        if self._touching is None:
            raise FlowError("OMG-R013", f"a pure flow wants to touch {request.port or 'the world'}")
        return await self._touching.touch(request)

    async def value(self, name: str) -> Any:
        """A recorded `now`, `random` or `uuid`."""
        self._own(name)
        return await self._execution.recorded_value(self._trail, name, lambda: self._execution.draw(name))

    async def sleep(self, seconds: float) -> None:
        """A durable wait."""
        self._own("sleep")
        await self._watched(self._execution.pause(self._trail.step("sleep"), lambda chance: seconds, self._trail))

    async def start(self, flow: AnyFlow, value: Any, place: Place, ctx: Context) -> str:
        """A child execution, with the rights of `ctx`."""
        self._own("start")
        return await self._execution.start_child(flow, value, place, self._trail, ctx)

    async def join(self, execution: str) -> Any:
        """The end of a child."""
        self._own("join")
        return await self._watched(self._execution.join_child(execution, self._trail))

    async def emit(self, part: Any) -> None:
        """The next part of this step, for whoever watches."""
        self._own("emit")
        index, self._parts = self._parts, self._parts + 1
        if self._touching is not None:
            self._touching.gave()
        await self._execution.emitted(self._trail.path, index, part)

    async def signal(self, name: str) -> Any:
        """A recorded signal."""
        self._own("signal")
        draw = self._execution.await_signal
        return await self._watched(self._execution.recorded_value(self._trail, f"signal.{name}", lambda: draw(name), signal=name))

    async def branches(self, name: str, work: Sequence[tuple[AnyFlow, Any]], at_once: int, first: bool, ctx: Context) -> Any:
        """Branches of an imperative flow, in tasks of their own."""
        self._own(name)
        driver = Narrowed(self._execution, ctx)
        todo = [_branch(flow, value, driver) for flow, value in work]
        position = self._trail.step(name)
        if first:
            return await self._watched(self._execution.first_of(position, todo, self._trail))
        return await self._watched(self._execution.all_of(position, todo, self._trail, at_once))

    def still_going(self) -> None:
        """Raise again what this step was told to wait for: an author's `except` must not turn a wait into an answer."""
        if self._halt is not None:
            raise self._halt

    async def _watched(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except Suspended as halt:
            self._halt = halt
            raise

    def _own(self, what: str) -> None:
        """Steps made from a task that the flow started by itself would come in another order each time.

        Raises FlowError (OMG-R008) naming the line.
        """
        self.still_going()
        if asyncio.current_task() is self._trail.owner:
            return
        where = _line_of_author(self._trail.owner)
        raise FlowError("OMG-R008", f"ctx.{what} at {where} runs in a task that the flow started itself", details={"where": where})


class Narrowed:
    """The execution as a driver for what a context calls: the same, with the rights and the budget of that context."""

    def __init__(self, execution: Driving, ctx: Context) -> None:
        self._execution = execution
        self._ctx = ctx
        self.all_of = execution.all_of
        self.first_of = execution.first_of
        self.within = execution.within
        self.pause = execution.pause
        self.undoable = execution.undoable
        self.cached = execution.cached
        self.chosen = execution.chosen
        self.observed = execution.observed
        self.learned = execution.learned

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail) -> Any:
        """One step with the context's rights."""
        return await self._execution.leaf(flow, value, trail, self._ctx)

    async def children(self, position: str, flow: AnyFlow, values: Sequence[Any], queue: str, at_once: int, trail: Trail) -> list[Any]:
        """Child executions with the context's rights."""
        return await self._execution.scatter(position, Scattered(flow, values, queue, at_once), trail, self._ctx)


def _line_of_author(owner: asyncio.Task[Any]) -> str:
    """`file.py:line` where the author's code is: on this stack, or, when the call was handed to a task as it is, where the flow's own
    task waits."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if not _is_inside(frame.f_code.co_filename):
            return _place(frame)
        if "/asyncio/" in frame.f_code.co_filename:
            break
        frame = frame.f_back
    found: Any = None
    work: Any = owner.get_coro()
    while work is not None:
        here: Any = getattr(work, "cr_frame", None)
        found = here if here is not None and not _is_inside(here.f_code.co_filename) else found
        work = getattr(work, "cr_await", None)
    return "an unknown line" if found is None else _place(found)


def _is_inside(file: str) -> bool:
    return any(part in file for part in ("/omega/kernel/", "/omega/runtime/", "/asyncio/"))


def _place(frame: Any) -> str:
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def _branch(flow: AnyFlow, value: Any, driver: Any) -> Branch:
    async def work(trail: Trail) -> Any:
        return await evaluate(flow, flow.input.read(value), trail, driver)

    return work
