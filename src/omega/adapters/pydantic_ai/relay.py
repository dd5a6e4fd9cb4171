"""The relay between an agent, which runs in tasks of its own, and the flow it runs in, which alone may make steps.

An agent library starts tasks as it likes; a flow's steps must come in the same order each time. So the flow's own task waits here while
the agent runs beside it, and carries out what the agent's tasks hand over, one thing after the other, in the order in which it came. The
body of a step runs in the task that asked for it: with its context, its open connections and its cancellation.

    agent's task     hand over ........ begin -> run the body -> hand back ........ recorded result
    flow's task               ctx.call -> gate, intent -> wait ------------> journal -> answer

    recalled         the step is settled already: the answer comes at once, and no body runs
    suspended        a person or a signal is awaited: the agent is stopped, the flow stands still; resumed, it gets here again
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

from omega.adapters.pydantic_ai.effector import CAPABILITY, AgentModelRequest, AgentOperation
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Effect, Receipt
from omega.kernel.errors import FlowError, IntegrityError, OmegaError, StorageError, Suspended, UpstreamError

T = TypeVar("T")

Body = Callable[[], Awaitable[Any]]

CURRENT: ContextVar[Relay | None] = ContextVar("omega_agent_relay", default=None)
"""The relay of the flow that an agent runs in; None outside, and inside a step's body."""

RESERVED = "max_tokens"
"""In what is asked of a step: the tokens of the budget that it reserves. Steps that ask a model have it."""

_SERVING: ContextVar[Relay | None] = ContextVar("omega_agent_serving", default=None)
"""The relay whose steps the flow's own task is taking."""

_ENDING = (Suspended, StorageError, IntegrityError)
"""Errors that end the flow here and now, whatever the agent would make of them: they settle no step."""

_ENDING_CODES = frozenset({"OMG-R009", "OMG-R014", "OMG-R015"})
"""The same: a lost lease, a flow that changed while it ran, a recorded value that differs."""


async def durably(ctx: Context, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; every model request and tool call of the agents that it runs is a durable step of the flow of `ctx`.

        result = await durably(ctx, lambda: agent.run(question))

    For agents with `OmegaDurability` among their capabilities. What `work` does beside them must be repeatable: after a crash it runs
    again, and the steps it had taken are recalled. Raises what `work` raises, Denied, and Suspended where a step waits for a person.
    """
    relay = Relay(ctx, await ctx.uuid())
    return await relay.run(work)


@dataclass(slots=True)
class _Job:
    """Something to be done in the flow's own task, and who waits for it."""

    do: Callable[[Context], Awaitable[Any]]
    answer: asyncio.Future[Any]


class _Operation:
    """One step's body: started from the flow's task, run in the agent's."""

    def __init__(self, body: Body, price: Callable[[Any], Receipt]) -> None:
        self.body = body
        self.price = price
        self.begin: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[tuple[Any, Receipt]] = asyncio.get_running_loop().create_future()

    async def perform(self) -> tuple[Any, Receipt]:
        """Let the body begin, and wait for its end. Called by the effector, once its permit is spent."""
        if self.begin.cancelled():
            raise FlowError("OMG-R005", "the agent gave the step up before it began")
        self.begin.set_result(None)
        return await self.done

    async def run(self) -> None:
        """The body, in the task that asked for it."""
        outside = CURRENT.set(None)
        try:
            result = await self.body()
        except OmegaError as error:
            _fail(self.done, error)
        except Exception as error:  # noqa: BLE001 - whatever a model or a tool raises is that step's failure
            _fail(self.done, _described(error))
        else:
            if not self.done.done():
                self.done.set_result((result, self.price(result)))
        finally:
            CURRENT.reset(outside)
            _fail(self.done, UpstreamError("OMG-P007", "the agent's task ended in the middle of the step", details={"sent": True}))


class Relay:
    """Carries out, in the task of one flow, what the tasks of an agent hand over. `name` is a recorded UUIDv7."""

    def __init__(self, ctx: Context, name: str) -> None:
        self.name = name
        self._ctx = ctx
        self._jobs: deque[_Job] = deque()
        self._came = asyncio.Event()
        self._operations: dict[int, _Operation] = {}
        self._steps = 0
        self._runs = 0

    def next_run(self) -> str:
        """An id for the next run of an agent here: the same after a crash as before it."""
        self._runs += 1
        return f"{self.name}:{self._runs}"

    @property
    def began(self) -> float:
        """Unix seconds at which it first began, recorded: its name is a UUIDv7, which begins with milliseconds (RFC 9562, 5.7)."""
        return (UUID(self.name).int >> 80) / 1_000

    async def step(self, step: AnyFlow, asked: dict[str, Any], body: Body, price: Callable[[Any], Receipt]) -> Any:
        """The recorded result of `step`; `body` runs once, in this task, unless it has run before. For the agent's tasks.

        Raises the step's failure, as it is recorded.
        """
        self._steps += 1
        number = self._steps
        operation = self._operations[number] = _Operation(body, price)
        answer = asyncio.ensure_future(self._hand_over(lambda ctx: ctx.call(step, {"step": number, **asked})))
        try:
            await asyncio.wait((answer, operation.begin), return_when=asyncio.FIRST_COMPLETED)
            if operation.begin.done():
                await operation.run()
            return await answer
        finally:
            operation.begin.cancel()
            answer.cancel()
            del self._operations[number]

    def operation(self, number: int) -> _Operation:
        """The body that was handed over with a step. Raises FlowError (OMG-R005) when its task has gone."""
        found = self._operations.get(number)
        if found is None:
            raise FlowError("OMG-R005", "the agent gave the step up before it began")
        return found

    async def _hand_over(self, do: Callable[[Context], Awaitable[Any]]) -> Any:
        job = _Job(do, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._came.set()
        return await job.answer

    # -- in the flow's own task

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` beside this task, and carry out here what it hands over."""
        serving = _SERVING.set(self)
        agent = asyncio.create_task(self._agent(work), name="agent")
        agent.add_done_callback(lambda _: self._came.set())
        try:
            while not agent.done() or self._jobs:
                while self._jobs:
                    await self._carry_out(self._jobs.popleft())
                self._came.clear()
                if not agent.done() and not self._jobs:
                    await self._came.wait()
            return agent.result()
        finally:
            _SERVING.reset(serving)
            await _stopped(agent)

    async def _agent(self, work: Callable[[], Awaitable[T]]) -> T:
        CURRENT.set(self)
        return await work()

    async def _carry_out(self, job: _Job) -> None:
        if job.answer.done():  # whoever handed it over has gone
            return
        try:
            result = await job.do(self._ctx)
        except _ENDING:
            raise
        except OmegaError as error:
            if error.code in _ENDING_CODES:
                raise
            if not job.answer.done():
                job.answer.set_exception(error)
        else:
            if not job.answer.done():
                job.answer.set_result(result)


@lru_cache(maxsize=4096)
def step_flow(name: str, effect: Effect, approver_role: str = "") -> AnyFlow:
    """The flow behind one kind of step of an agent."""
    step = flow(name=name, effect=effect, needs=CAPABILITY)(_perform)
    return step.approved_by(approver_role) if approver_role else step


async def _perform(ctx: Context, asked: dict[str, Any]) -> Any:
    """One operation of an agent."""
    relay = _SERVING.get()
    if relay is None:
        raise FlowError("OMG-R013", "an operation of an agent is no flow to be run by itself")
    name, perform = str(asked.get("operation", "")), relay.operation(int(asked["step"])).perform
    if RESERVED in asked:
        return await ctx.touch(AgentModelRequest(name=name, perform=perform, max_tokens=int(asked[RESERVED])))
    return await ctx.touch(AgentOperation(name=name, perform=perform))


async def _stopped(agent: asyncio.Task[Any]) -> None:
    """The agent's task, at its end; stopped if it still runs."""
    if not agent.done():
        agent.cancel()
        with suppress(asyncio.CancelledError, Exception):  # its flow has ended already, and says why
            await agent


def _described(error: Exception) -> OmegaError:
    """An exception of a model or a tool as a failure that can be recorded; `rebuilt` makes it again where its kind is known."""
    from omega.adapters.pydantic_ai.failures import described

    return described(error)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
