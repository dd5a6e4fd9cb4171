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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from omega.kernel.budget import Budget
from omega.kernel.compose import AT_ONCE, AnyFlow
from omega.kernel.effects import Request
from omega.kernel.errors import FlowError, InputError
from omega.kernel.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a child is worked off: `queue` (empty: in this very engine), under which partition `key`, how soon (`priority`, higher first),
    not before `delay_s` seconds have passed, at which `budget` (None: what is left), and whether it outlives its starter (`detached`)."""

    queue: str = ""
    key: str = ""
    priority: int = 0
    delay_s: float = 0.0
    budget: Budget | None = None
    detached: bool = False


class Operations(Protocol):
    """What stands behind a context: the runtime's execution, or the direct run of a test."""

    async def call(self, flow: AnyFlow, value: Any, ctx: Context) -> Any: ...

    async def touch(self, request: Request) -> Any: ...

    async def value(self, name: str) -> Any: ...

    async def sleep(self, seconds: float) -> None: ...

    async def emit(self, part: Any) -> None: ...

    async def signal(self, name: str) -> Any: ...

    async def start(self, flow: AnyFlow, value: Any, place: Place, ctx: Context) -> str: ...

    async def join(self, execution: str) -> Any: ...

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

    async def emit(self, part: Any) -> None:
        """Show `part` (plain data) to whoever watches the run, once they have room for it. It is not recorded: the result is."""
        await self._operations.emit(part)

    async def parallel(self, *work: tuple[AnyFlow, Any], name: str = "parallel") -> tuple[Any, ...]:
        """The results of several (flow, value) at the same time, in order. The first failure ends all."""
        return tuple(await self._operations.branches(name, work, max(len(work), 1), False, self))

    async def race(self, *work: tuple[AnyFlow, Any], name: str = "race") -> Any:
        """The result of the first of several (flow, value) to succeed; the others are cancelled."""
        return await self._operations.branches(name, work, max(len(work), 1), True, self)

    async def foreach(self, flow: AnyFlow, values: Sequence[Any], *, at_once: int = AT_ONCE, name: str = "foreach") -> list[Any]:
        """The results of `flow` on each of `values`, at most `at_once` at a time, in order."""
        return list(await self._operations.branches(name, [(flow, value) for value in values], at_once, False, self))

    async def start(
        self,
        flow: AnyFlow,
        value: Any = None,
        *,
        queue: str = "",
        key: str = "",
        priority: int = 0,
        delay_s: float = 0.0,
        budget: Budget | None = None,
        detached: bool = False,
    ) -> str:
        """Start `flow` for `value` as an execution of its own, with this context's rights, and give its id without waiting for it.

        With a queue, any worker of that queue takes it up; without one it runs beside this execution. Its id follows from where it was
        started, so that a crash does not start it twice. It does not outlive this execution: whatever has not ended when this one ends,
        or is cancelled, is cancelled. One that is `detached` does: it needs a queue, and cannot be joined. Raises Denied when its entry is
        refused, InputError (OMG-I001) for one that is detached and has no queue.
        """
        if detached and not queue:
            raise InputError("OMG-I001", "a detached execution needs a queue: nothing else goes on with it when this one has ended")
        place = Place(queue=queue, key=key, priority=priority, delay_s=delay_s, budget=budget, detached=detached)
        return await self._operations.start(flow, value, place, self)

    async def join(self, execution: str) -> Any:
        """The result of a child that `start` gave, as plain data; waits for it. Raises the child's error where it failed."""
        return await self._operations.join(execution)

    def spawn(self, *, capabilities: Iterable[str] | None = None, budget: Budget | None = None) -> Context:
        """The same context with at most `capabilities` and at most `budget`: what it calls can do no more."""
        scope = self.scope if capabilities is None else self.scope.narrow(capabilities)
        return replace(self, scope=scope, budget=self.budget if budget is None else self.budget.narrow(budget))

    def isolate(self) -> Context:
        """The same context with no capability at all: only pure flows run in it."""
        return self.spawn(capabilities=())

    def merge(self, other: Context) -> Context:
        """The context with what both this one and `other` allow: common capabilities, the tighter budget, the earlier deadline.

        For two contexts of the same execution and caller. Raises FlowError (OMG-R046) for others, Denied (OMG-W005) for budgets in
        different currencies.
        """
        if _who(self.execution, self.scope) != _who(other.execution, other.scope):
            raise FlowError("OMG-R046", f"a context of {other.execution} cannot be merged into one of {self.execution}")
        return self._at_most(other.scope.capabilities, other.budget, other.deadline)

    def checkpoint(self) -> dict[str, Any]:
        """What this context allows, as plain data without secrets, for `restore`: it can be a result, a signal or a piece of state."""
        return {
            "who": _who(self.execution, self.scope),
            "capabilities": sorted(self.scope.capabilities),
            "budget": self.budget.record(),
            "deadline": self.deadline,
        }

    def restore(self, saved: Mapping[str, Any]) -> Context:
        """The context that `checkpoint` saved, and never more than this one: a record grants nothing, whoever wrote it.

        Raises InputError (OMG-I001) for what is no checkpoint, FlowError (OMG-R046) for one of another execution or caller.
        """
        try:
            who, capabilities = list(saved["who"]), [str(each) for each in saved["capabilities"]]
            budget, deadline = Budget.of(saved["budget"]), None if saved["deadline"] is None else float(saved["deadline"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("OMG-I001", "this is no checkpoint of a context") from error
        if who != _who(self.execution, self.scope):
            raise FlowError("OMG-R046", f"a checkpoint of another execution cannot be restored in {self.execution}")
        return self._at_most(capabilities, budget, deadline)

    def _at_most(self, capabilities: Iterable[str], budget: Budget, deadline: float | None) -> Context:
        ends = [moment for moment in (self.deadline, deadline) if moment is not None]
        return replace(self, scope=self.scope.meet(capabilities), budget=self.budget.narrow(budget), deadline=min(ends, default=None))


def _who(execution: str, scope: Scope) -> list[Any]:
    """Whose rights a context holds, and where: what two contexts must agree in to be told apart by their rights alone."""
    return [execution, scope.tenant, scope.principal, list(scope.actors), scope.passport]
