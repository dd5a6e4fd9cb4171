"""The direct run: a flow called like a function, in memory, for tests and prompts.

Nothing is journaled and nothing is admitted, so nothing can be touched: a step that wants the world raises OMG-R013 unless an answer was
given for it (`omega.testing`). Branches run one after the other, delays take no time, time limits never pass: what is left is the pure
meaning of the flow.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from omega.kernel.adapt import Chosen, Here, Memory, Observation
from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context, Place
from omega.kernel.definition import Task
from omega.kernel.effects import Request
from omega.kernel.errors import FlowError, InputError, OmegaError
from omega.kernel.evaluate import Branch, evaluate, is_failure
from omega.kernel.trail import Trail


class Direct:
    """A driver and the operations of a context at once. `answers` maps a flow's name to what stands in for its leaf."""

    def __init__(self, answers: Mapping[str, Callable[[Any], Any]] | None = None) -> None:
        self.answers = dict(answers or {})
        self._children: dict[str, Any] = {}
        self._memory = Memory()

    # -- driver

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail) -> Any:
        """Call the leaf's function, or its answer. Values pass through their stored form, as they do in a durable run."""
        value = flow.input.encode(flow.input.read(value))[1]
        answer = self.answers.get(flow.name)
        if answer is not None:
            return flow.output.encode(answer(value))[1]
        body = flow.body
        if not isinstance(body, Task):
            raise FlowError("OMG-R013", f"{flow.name} is a {body.kind}: it needs the gate to be called", advice="run it with omega run")
        context = _no_context(self) if body.takes_context else None
        try:
            result = call_task(body, context, value)
            if hasattr(result, "__await__"):
                result = await result
            return flow.output.encode(result)[1]
        except Exception as error:  # whatever the author's code raises is that step's failure
            raise as_failure(flow, error) from error

    async def all_of(self, position: str, branches: Sequence[Branch], trail: Trail, at_once: int) -> list[Any]:
        """One branch after the other."""
        return [await branch(trail.branch(position, index)) for index, branch in enumerate(branches)]

    async def first_of(self, position: str, branches: Sequence[Branch], trail: Trail) -> Any:
        """The first branch, in the order written, that does not fail."""
        failures: list[OmegaError] = []
        for index, branch in enumerate(branches):
            try:
                return await branch(trail.branch(position, index))
            except OmegaError as error:
                if not is_failure(error):
                    raise
                failures.append(error)
        raise all_failed(position, failures)

    async def within(self, position: str, limit_s: float, work: Branch, trail: Trail, aside: Trail) -> tuple[bool, Any]:
        """Always in time."""
        return True, await work(aside)

    async def pause(self, position: str, delay: Callable[[float], float], trail: Trail) -> None:
        """No time passes."""

    async def cached(self, position: str, flow: AnyFlow, value: Any, ttl_s: float, work: Branch, trail: Trail) -> Any:
        """Nothing is kept."""
        return await work(trail)

    async def chosen(self, position: str, trail: Trail, choose: Callable[[Here], tuple[int, str]]) -> Chosen:
        """Decided by what this run alone has seen."""
        return Chosen(*choose(self._here()), fresh=True)

    async def observed(self, work: Awaitable[Any]) -> Observation:
        """It takes no time and costs nothing."""
        try:
            return Observation(result=await work)
        except OmegaError as error:
            return Observation(error=error)

    async def learned(self, position: str, learn: Callable[[Here], str]) -> None:
        """Remembered as long as this run lasts."""
        learn(self._here())

    def _here(self) -> Here:
        return Here(memory=self._memory, tenant="", now_us=0, chance=0.5, history=lambda digest: ())

    async def children(self, position: str, flow: AnyFlow, values: Sequence[Any], queue: str, at_once: int, trail: Trail) -> list[Any]:
        """One after the other, as branches."""
        return [await evaluate(flow, value, trail.branch(position, index), self) for index, value in enumerate(values)]

    async def undoable(self, position: str, work: Branch, undo: Branch, trail: Trail, aside: Trail, back: Trail) -> Any:
        """What was done is undone when the rest fails."""
        try:
            return await work(aside)
        except OmegaError:
            await undo(back)
            raise

    # -- operations of a context

    async def call(self, flow: AnyFlow, value: Any, ctx: Context) -> Any:
        """Another flow, in the same way."""
        return await evaluate(flow, value, Trail(), self)

    async def touch(self, request: Request) -> Any:
        """Refused: there is no permit here."""
        raise FlowError(
            "OMG-R013",
            f"a direct run cannot touch {request.port or 'the world'}",
            advice="run it with omega run, or give an answer in the test",
        )

    async def value(self, name: str) -> Any:
        """A fixed stand-in, so that a test gives the same twice."""
        return {"now": 0.0, "random": 0.5, "uuid": "00000000-0000-7000-8000-000000000000"}[name]

    async def sleep(self, seconds: float) -> None:
        """No time passes."""

    async def start(self, flow: AnyFlow, value: Any, place: Place, ctx: Context) -> str:
        """The child runs at once; its result waits under its name."""
        name = f"direct.{len(self._children)}"
        try:
            self._children[name] = await evaluate(flow, flow.input.read(value), Trail(), self)
        except OmegaError as error:
            self._children[name] = error
        return name

    async def join(self, execution: str) -> Any:
        """What the child gave. Raises what it raised, InputError (OMG-I003) for a name that `start` did not give."""
        if execution not in self._children:
            raise InputError("OMG-I003", f"{execution[:80]!r} was not started here")
        result = self._children[execution]
        if isinstance(result, OmegaError):
            raise result
        return result

    async def emit(self, part: Any) -> None:
        """Nobody watches."""

    async def signal(self, name: str) -> Any:
        """Refused: nobody sends one."""
        raise FlowError("OMG-R017", f"nobody sends the signal {name!r} in a direct run")

    async def branches(self, name: str, work: Sequence[tuple[AnyFlow, Any]], at_once: int, first: bool, ctx: Context) -> Any:
        """One after the other."""
        todo = [_call(self, flow, value) for flow, value in work]
        trail = Trail()
        return await (self.first_of(name, todo, trail) if first else self.all_of(name, todo, trail, at_once))


def run_direct(flow: AnyFlow, value: Any, answers: Mapping[str, Callable[[Any], Any]] | None = None) -> Any:
    """The result of `flow` for `value`, worked out here and now.

    Raises what the author's code raised, as it raised it; FlowError (OMG-R013) when it waits for the world.
    """
    work = evaluate(flow, flow.input.read(value), Trail(), Direct(answers))
    coroutine = work.__await__()
    try:
        next(coroutine)
    except StopIteration as end:
        return end.value
    except FlowError as error:
        raise (error.__cause__ if error.code == "OMG-R001" and error.__cause__ is not None else error) from None
    coroutine.close()
    raise FlowError("OMG-R013", f"{flow.name} waits for something outside", advice="run it with omega.run or omega run")


def call_task(task: Task, context: Context | None, value: Any) -> Any:
    """Call the function behind a task with what its signature takes; the result may be awaitable."""
    arguments = ((context,) if task.takes_context else ()) + ((value,) if task.takes_input else ())
    return task.function(*arguments)


def as_failure(flow: AnyFlow, error: Exception | SystemExit) -> OmegaError:
    """An error of Omega's own as it is; anything else as OMG-R001 with the author's file and line."""
    if isinstance(error, OmegaError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    last = next(
        (frame for frame in reversed(frames) if "/omega/runtime/" not in frame.filename and "/omega/kernel/" not in frame.filename), None
    )
    where = f" at {last.filename.rpartition('/')[2]}:{last.lineno}" if last is not None else ""
    words = _words(error)
    return FlowError("OMG-R001", f"{flow.name} raised {type(error).__name__}{where}{': ' if words else ''}{words}")


def _words(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:  # noqa: BLE001 - an exception that cannot say what it is still is that step's failure
        return "(it has no words)"


def all_failed(position: str, failures: Sequence[OmegaError]) -> FlowError:
    """The error of a race in which every branch failed, with each one's own."""
    return FlowError(
        "OMG-R007",
        f"{position}: all {len(failures)} branches failed; the first: {failures[0].cause if failures else 'there was none'}",
        details={"branches": [failure.record() for failure in failures]},
    )


def _call(driver: Direct, flow: AnyFlow, value: Any) -> Branch:
    async def work(trail: Trail) -> Any:
        return await evaluate(flow, value, trail, driver)

    return work


class _Nobody:
    """Stands where a scope would: a direct run has no caller and no rights."""

    tenant = principal = region = "direct"
    groups = capabilities = frozenset[str]()
    actors: tuple[str, ...] = ()

    def has(self, capability: str) -> bool:
        return False

    def narrow(self, capabilities: Any) -> _Nobody:
        return self


def _no_context(operations: Direct) -> Context:
    nobody: Any = _Nobody()
    return Context(nobody, Budget(), "direct", None, "0" * 32, "direct", operations)
