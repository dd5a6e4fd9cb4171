"""The context a flow is called in: who, with which rights, within which budget and time; and the only door to other flows and to the world.

Immutable. Rights and budget only shrink on the way down (`spawn`, `isolate`). Imperative flows stay ordinary Python:

    @flow
    async def triage(ctx: Context, ticket: Ticket) -> Triage:
        first, second = await ctx.parallel((classify, ticket), (history, ticket))
        if first.urgency > 3:
            await ctx.call(page, ticket)
        return first

Each `ctx.call` is a durable step, `ctx.now()`, `ctx.random()` and `ctx.uuid()` give the same after a crash as before it, and `ctx.touch`
reaches the world with the permit of the step. Only the context opens branches: a `ctx.call` from a task of one's own making is refused
(OMG-R008). Adding an attribute needs an ADR; a test pins the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from omega.kernel.budget import Budget
from omega.kernel.compose import AT_ONCE, AnyFlow
from omega.kernel.effects import Request
from omega.kernel.scope import Scope


class Operations(Protocol):
    """What stands behind a context: the runtime's execution, or the direct run of a test."""

    async def call(self, flow: AnyFlow, value: Any, ctx: Context) -> Any: ...

    async def touch(self, request: Request) -> Any: ...

    async def value(self, name: str) -> Any: ...

    async def sleep(self, seconds: float) -> None: ...

    async def signal(self, name: str) -> Any: ...

    async def branches(self, name: str, work: Sequence[tuple[AnyFlow, Any]], at_once: int, first: bool, ctx: Context) -> Any: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a running flow knows of its surroundings. `deadline` is in Unix seconds, `trace` a W3C trace id (32 hex digits)."""

    scope: Scope
    budget: Budget
    execution: str
    deadline: float | None
    trace: str
    region: str
    _operations: Operations

    async def call(self, flow: AnyFlow, value: Any = None) -> Any:
        """The result of `flow` for `value`, as a durable step of its own. Raises what the flow raises."""
        return await self._operations.call(flow, value, self)

    async def touch(self, request: Request) -> Any:
        """Reach the world once, with the permit of this step. Raises FlowError (OMG-R013) in a pure flow."""
        return await self._operations.touch(request)

    async def now(self) -> float:
        """Unix seconds, recorded: the same after a crash and in a replay."""
        return float(await self._operations.value("now"))

    async def random(self) -> float:
        """A number in [0, 1), recorded."""
        return float(await self._operations.value("random"))

    async def uuid(self) -> str:
        """A UUIDv7, recorded."""
        return str(await self._operations.value("uuid"))

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` from the first time this was reached, also across crashes."""
        await self._operations.sleep(seconds)

    async def signal(self, name: str) -> Any:
        """The next value sent to this execution under `name` (`omega signal ID NAME VALUE`); suspends it until there is one."""
        return await self._operations.signal(name)

    async def parallel(self, *work: tuple[AnyFlow, Any], name: str = "parallel") -> tuple[Any, ...]:
        """The results of several (flow, value) at the same time, in order. The first failure ends all."""
        return tuple(await self._operations.branches(name, work, max(len(work), 1), False, self))

    async def race(self, *work: tuple[AnyFlow, Any], name: str = "race") -> Any:
        """The result of the first of several (flow, value) to succeed; the others are cancelled."""
        return await self._operations.branches(name, work, max(len(work), 1), True, self)

    async def foreach(self, flow: AnyFlow, values: Sequence[Any], *, at_once: int = AT_ONCE, name: str = "foreach") -> list[Any]:
        """The results of `flow` on each of `values`, at most `at_once` at a time, in order."""
        return list(await self._operations.branches(name, [(flow, value) for value in values], at_once, False, self))

    def spawn(self, *, capabilities: Iterable[str] | None = None, budget: Budget | None = None) -> Context:
        """The same context with at most `capabilities` and at most `budget`: what it calls can do no more."""
        scope = self.scope if capabilities is None else self.scope.narrow(capabilities)
        return replace(self, scope=scope, budget=self.budget if budget is None else self.budget.narrow(budget))

    def isolate(self) -> Context:
        """The same context with no capability at all: only pure flows run in it."""
        return self.spawn(capabilities=())
