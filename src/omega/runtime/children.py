"""Child executions: flows that this one starts as executions of their own, and whose ends it waits for.

    start    child's entry gate, start record and id on disk -> CHILD row        its id follows from (parent, position)
    join     the child's end -> VALUE row                                        woken by the child's last commit

Starting twice is starting once: after a crash between the child's start and the row about it, the same id is met again. A child with a
queue is worked off by whoever takes it up, and its parent stands still meanwhile; one without runs in this engine, and is taken up with
its parent again. It has an entry gate of its own and the rights of the context that started it. What it may spend is set aside from its
parent's budget until it is joined: what several children may spend together is never more than their parent has left.

No child outlives its parent: those that have not ended are cancelled before the end of the parent is written, so that a crash in between
cancels them again. One that was started `detached` is an execution of its own: it has no parent and no deadline of it, only the rights
and a share of the budget, and nothing that happens to who started it reaches it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

from omega.kernel import ports
from omega.kernel.budget import NOTHING, Budget, Spent
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context, Place
from omega.kernel.errors import FlowError, InputError, OmegaError, StorageError, Suspended, from_record
from omega.kernel.evaluate import has_outcome
from omega.kernel.journal import Kind, Note, Status, decode_meta
from omega.kernel.past import Past, Recorded, is_under
from omega.kernel.ports import NEVER
from omega.kernel.trail import Trail, shown
from omega.runtime.admission import Line, Order
from omega.runtime.branching import Branching
from omega.runtime.ending import to_its_end
from omega.runtime.recovery import load

MAX_CHILDREN = 10_000
"""Most children of one execution."""

LOOK_S = 1.0
"""How often an execution that waits in memory looks whether a child elsewhere has ended."""

CHILD = "child"
"""The status of a recorded value that is the end of a child."""


class Nursery(Protocol):
    """The engine, as far as children need it."""

    async def launch(self, order: Order, value: Any) -> None: ...

    async def commission(self, order: Order) -> None: ...

    async def resume(self, execution: str, flow: AnyFlow) -> str: ...

    async def outcome(self, execution: str) -> Any: ...

    def runs(self, execution: str) -> bool: ...

    async def cancel_child(self, execution: str, by: str) -> None: ...


@dataclass(slots=True)
class Child:
    """A child that this execution has started: what it was given, and what is set aside for it until it is joined."""

    flow: AnyFlow
    aside: Spent = NOTHING
    detached: bool = False


@dataclass(frozen=True, slots=True)
class Scattered:
    """`flow` on each of `values`, worked off from `queue`, at most `at_once` at a time."""

    flow: AnyFlow
    values: Sequence[Any]
    queue: str
    at_once: int


class Children(Branching):
    """One execution's children."""

    nursery: Nursery
    budget: Budget
    spent: Spent
    deadline: float | None
    offspring: dict[str, Child]
    queue: str
    scattered: dict[str, list[str]]
    """The children of each scatter that stands still, by its position."""
    leaving: bool

    async def start_child(self, flow: AnyFlow, value: Any, place: Place, trail: Trail, ctx: Context | None = None) -> str:
        """Start `flow` once for this place in the flow; gives the child's id. Raises Denied, InputError (OMG-I001)."""
        position = trail.step(flow.name)
        data, value = flow.input.encode(flow.input.read(value))
        recorded = self.past.meet(trail, position, flow.name, flow.where)
        commitment = self.book.commitment(data)
        if recorded is not None and recorded.settled is not None:
            return self._known_child(flow, recorded, commitment)
        self.go_on(trail)
        if len(self.offspring) >= MAX_CHILDREN:
            raise FlowError("OMG-R016", f"{self.book.execution} starts more than {MAX_CHILDREN:,} children")
        child = child_of(self.book.execution, position)
        left = self._left(self.budget if ctx is None else ctx.budget)
        budget = left if place.budget is None else left.narrow(place.budget)
        order = Order(
            execution=child,
            flow=flow,
            data=data,
            scope=self.book.scope if ctx is None else ctx.scope,
            budget=budget,
            deadline=None if place.detached else self.deadline,
            line=self._line(place),
            trace=self.book.trace,
        )
        await self._make(order, value)
        plain = json.dumps(budget.record()).encode()
        note = Note(at_us=self.world.clock.now_us(), text=child, status=place.queue, output=commitment, value=int(place.detached))
        self.book.behind(self.book.row(Kind.CHILD, position, note, plain))
        self._set_aside(child, flow, budget, detached=place.detached)
        return child

    def _known_child(self, flow: AnyFlow, recorded: Recorded, commitment: bytes) -> str:
        note = self._note(recorded)
        if note.output != commitment:
            step = shown(recorded.position)
            facts = {"step": step, "flow": flow.name, "where": flow.where, "version": flow.version}
            raise FlowError(
                "OMG-R014",
                f"recorded the start of {step}, now {step} ({flow.where or 'no source'}): its input differs",
                details={"recorded": facts, "now": facts},
            )
        row = recorded.settled or recorded.first
        self._set_aside(note.text, flow, Budget(**json.loads(self.book.open(row))), detached=bool(note.value))
        return note.text

    def _line(self, place: Place) -> Line:
        due_us = self.world.clock.now_us() + int(max(0.0, place.delay_s) * 1_000_000)
        due_us = due_us if place.queue else NEVER
        parent = "" if place.detached else self.book.execution
        return Line(queue=place.queue, key=place.key, priority=place.priority, due_us=due_us, parent=parent)

    async def _make(self, order: Order, value: Any) -> None:
        """Start the child, unless it was started before a crash. Raises InputError (OMG-R010) when its id is somebody else's."""
        child = order.execution
        there = self.world.reader.line(child)
        if there is None:
            try:
                await (self.nursery.commission(order) if order.line.queue else self.nursery.launch(order, value))
            except (StorageError, InputError) as error:
                there = self.world.reader.line(child) if error.code == "OMG-R010" else None
                if there is None:
                    raise
        if there is not None and not self._is_mine(there, order):
            raise InputError("OMG-R010", f"{child} exists already, and was not started by {self.book.execution}")

    def _is_mine(self, there: ports.Line, order: Order) -> bool:
        """Whether `there` is what an earlier life of this execution made for `order`; a detached one has no parent but its id."""
        scope = self.book.scope
        return there.parent == order.line.parent and (there.tenant, there.principal) == (scope.tenant, scope.principal)

    @property
    def may_have_children(self) -> bool:
        """Whether this execution has started others, here or in an earlier life: one that left no row may have been cut off in between."""
        return bool(self.offspring) or self.book.epoch > (2 if self.queue else 1)

    async def join_child(self, child: str, trail: Trail) -> Any:
        """What the child gave, as plain data. Raises its error; Suspended (OMG-R021) while it goes on elsewhere."""
        position = trail.step("join")
        recorded = self.past.meet(trail, position, "join", "")
        if child not in self.offspring:
            raise InputError("OMG-I003", f"{child[:80]!r} was not started by {self.book.execution}")
        if self.offspring[child].detached:
            raise InputError("OMG-I005", f"{child} was started detached, and cannot be joined")
        if recorded is not None and recorded.settled is not None:
            return self._joined(child, json.loads(self.book.open(recorded.settled)))
        self.go_on(trail)
        ended = await self._end_of(child)
        plain = json.dumps(ended).encode()
        note = Note(at_us=self.world.clock.now_us(), text=child, status=CHILD, output=self.book.commitment(plain))
        self.book.behind(self.book.row(Kind.VALUE, position, note, plain))
        return self._joined(child, ended)

    def _joined(self, child: str, ended: dict[str, Any]) -> Any:
        aside, self.offspring[child].aside = self.offspring[child].aside, NOTHING
        self.spent += Spent(*ended["spent"]) - aside
        if ended["status"] != Status.DONE:
            raise from_record(ended["error"])
        return ended["value"]

    async def _end_of(self, child: str) -> dict[str, Any]:
        """How the child ended, waited for as this execution waits: in memory, or standing still."""
        while True:
            line = self.world.reader.line(child)
            if line is not None and Status(line.status).ended:
                past, book, _ = load(self.world, child)
                return _ended(line, past, json.loads(book.open(past.rows[-1])))
            if line is not None and not line.queue:
                await (self._embedded(child) if self.nursery.runs(child) else self._take_up(child, line))
            elif self.world.park_s is None:
                await self.world.clock.sleep(LOOK_S)
            else:
                raise _waits(child, NEVER)

    async def _embedded(self, child: str) -> None:
        outcome = await self.nursery.outcome(child)
        if not Status(outcome.status).ended:
            due_us = int((outcome.error or {}).get("details", {}).get("due_us", NEVER))
            raise _waits(child, due_us, outcome.error)

    async def _take_up(self, child: str, line: ports.Line) -> None:
        try:
            await self.nursery.resume(child, self.offspring[child].flow)
        except (StorageError, InputError) as error:
            if error.code != "OMG-R010":
                raise
            raise _waits(child, line.lease_us) from None  # the engine that had both is not given up yet

    # -- scatter

    async def children(self, position: str, flow: AnyFlow, values: Sequence[Any], queue: str, at_once: int, trail: Trail) -> list[Any]:
        """`flow` on each of `values` as a child of its own, at most `at_once` of them not ended at a time; results in order."""
        return await self.scatter(position, Scattered(flow, values, queue, at_once), trail)

    async def scatter(self, position: str, work: Scattered, trail: Trail, ctx: Context | None = None) -> list[Any]:
        """As `children`, with the rights of `ctx`. Raises the first failure; the other children are then cancelled, as all are when this
        is given up itself."""
        flow, values, at_once = work.flow, work.values, work.at_once
        left = self._left(self.budget if ctx is None else ctx.budget)
        place = Place(queue=work.queue, budget=_share(left, max(1, min(at_once, len(values)))))
        waiting = 0
        begun: list[str] = []

        async def one(value: Any, branch: Trail) -> Any:
            nonlocal waiting
            if waiting >= at_once:
                raise _waits(begun[0], NEVER)
            child = await self.start_child(flow, value, place, branch, ctx)
            begun.append(child)
            try:
                return flow.output.read(await self.join_child(child, branch))
            except Suspended:
                waiting += 1
                raise

        try:
            return await self.all_of(position, [partial(one, value) for value in values], trail, at_once)
        except OmegaError as error:
            if has_outcome(error):
                await self._call_off(position, begun)
            elif isinstance(error, Suspended):
                self.scattered[position] = begun
            raise
        except asyncio.CancelledError:
            if not self.leaving:
                await to_its_end(self._call_off(position, begun))
            raise

    async def give_up(self, position: str) -> None:
        """Also cancel the children of every scatter under `position` that stands still."""
        await super().give_up(position)
        for at in [each for each in self.scattered if is_under(each, position)]:
            await self._call_off(at, self.scattered.pop(at))

    async def _call_off(self, position: str, begun: Sequence[str]) -> None:
        """Cancel the children of a scatter: those of this life and of earlier ones."""
        for child in dict.fromkeys((*self._begun_before(position), *begun)):
            await self.nursery.cancel_child(child, self.book.scope.principal)

    def _begun_before(self, position: str) -> list[str]:
        """The children that a scatter at `position` began in an earlier life: one that had failed meets only the child that failed it."""
        rows = [each.first for at, each in self.past.at.items() if is_under(at, position) and each.first.kind == Kind.CHILD]
        return [note.text for row in rows if isinstance(note := decode_meta(row), Note)]

    # -- money

    def _left(self, budget: Budget) -> Budget:
        return budget.spend(self.spent)

    def _set_aside(self, child: str, flow: AnyFlow, budget: Budget, *, detached: bool) -> None:
        """What `child` may spend is spent, as far as this execution has a ceiling of that kind."""
        mine = self.budget
        aside = Spent(_held(mine.cost_micros, budget.cost_micros), _held(mine.tokens, budget.tokens), _held(mine.calls, budget.calls))
        if child not in self.offspring:
            self.offspring[child] = Child(flow, aside, detached)
            self.spent += aside


def child_of(parent: str, position: str) -> str:
    """The id of the child that `parent` starts at `position`: the same after a crash, and nobody else's."""
    return f"exe_{sha256(f'{len(parent)} {parent} {position}'.encode()).hexdigest()[:32]}"


def _ended(line: ports.Line, past: Past, payload: Any) -> dict[str, Any]:
    spent = [past.spent.cost_micros, past.spent.tokens, past.spent.calls]
    done = line.status == Status.DONE
    return {"status": line.status, "value": payload if done else None, "error": None if done else payload, "spent": spent}


def _waits(child: str, due_us: int, because: Any = None) -> Suspended:
    details: dict[str, Any] = {"child": child, "due_us": due_us}
    if because:
        details["because"] = because
    return Suspended("OMG-R021", f"the child {child} has not ended", details=details)


def _held(ceiling: int | None, amount: int | None) -> int:
    return 0 if ceiling is None or amount is None else amount


def _share(left: Budget, parts: int) -> Budget:
    """An equal part of what is left, for each child that may run at the same time."""
    return Budget(
        None if left.cost_micros is None else left.cost_micros // parts,
        None if left.tokens is None else left.tokens // parts,
        None if left.calls is None else left.calls // parts,
        left.currency,
    )
