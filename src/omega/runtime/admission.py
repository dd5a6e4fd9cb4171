"""The entrance: how an execution comes into being. The gate is asked, the decision and the start record become its first row and leaf.

It can be set going at once (`running`: its maker owns it) or be put into a queue (`queued`: whichever worker takes it up owns it). Both are
the same execution; what a queue adds stands on its line (`Place`), not in its journal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from omega.chronicle.record import seen_from
from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError
from omega.kernel.journal import FORMAT, Kind, Note, Start, Status
from omega.kernel.ports import NEVER, Head
from omega.kernel.queueing import MAX_NAME, PRIORITIES
from omega.kernel.scope import Scope
from omega.kernel.verdict import Ask, Decision, Gate, Verdict
from omega.runtime.book import Book
from omega.runtime.faults import brief, denied
from omega.runtime.payloads import Payloads
from omega.runtime.recovery import StartRecord, pin_of
from omega.runtime.world import World

MAX_LABELS = 16
"""Most labels of one execution."""

MAX_LABEL = 256
"""Longest name or value of a label, in characters."""

MAX_DELAY_S = 366 * 86_400.0
"""Longest delayed start, in seconds: later than this is a schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What stands on an execution's line beside the flow: where it is worked off, from when on, whose child it is, how it is found.

    An empty queue is none: the execution runs in the engine that made it, and no worker takes it up.
    """

    queue: str = ""
    key: str = ""
    priority: int = 0
    due_us: int = NEVER
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, text in (("queue", self.queue), ("partition key", self.key)):
            if len(text) > MAX_NAME or not text.isprintable():
                raise InputError("OMG-I001", f"the name of a {what} has at most {MAX_NAME} printable characters, not {text[:80]!r}")
        if self.priority not in PRIORITIES:
            raise InputError("OMG-I001", f"a priority is from {PRIORITIES.start} to {PRIORITIES.stop - 1}, not {self.priority!r}")
        if len(self.labels) > MAX_LABELS or any(len(text) > MAX_LABEL for pair in self.labels.items() for text in pair):
            raise InputError("OMG-I001", f"an execution has at most {MAX_LABELS} labels, each of at most {MAX_LABEL} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request to start `flow`: its input as stored, who asks, and within which limits. `deadline` is in Unix seconds,
    `trace` the trace that it goes on with, empty where it begins one, `origin` where the call came from (see `kernel.ports.Call`)."""

    execution: str
    flow: AnyFlow
    data: bytes
    scope: Scope
    budget: Budget
    target: str = ""
    deadline: float | None = None
    line: Line = field(default_factory=Line)
    trace: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)


class When(Enum):
    """When a start record goes to disk."""

    NOW = "before anything else: whoever learns the id can resume it"
    SOON = "written behind: nobody is told the id yet"
    WITH_THE_NEXT = "in one batch with what is written next, which follows at once"


async def admit(world: World, order: Order, *, when: When = When.NOW) -> Book:
    """Ask the gate, and write the answer down: on disk when this returns, unless `when` says later.

    Raises Denied when the entry is refused, which is recorded all the same; InputError (OMG-R010) when the id is taken.
    """
    now = world.clock.now_us()
    flow, scope = order.flow, order.scope
    record = StartRecord(
        format=FORMAT,
        digest=flow.digest,
        outline=flow.outline(),
        claims=scope.claims(),
        budget=order.budget.record(),
        deadline=order.deadline,
        trace=order.trace or world.entropy.take(16).hex(),
        input=msgspec.Raw(order.data),
        target=order.target,
    )
    wrapped, sealer = world.keyring.create(order.execution)
    book = Book(
        world.store,
        Payloads(sealer, attic=world.attic(scope.tenant), reread=lambda: world.reader.rows(order.execution)),
        execution=order.execution,
        epoch=1,
        scope=scope,
        flow_digest=flow.digest,
        trace=record.trace,
    )
    verdict = _entry(world, order, book.commitment(order.data), now)
    admitted = verdict.decision is Decision.ALLOW
    sealed = record.encode()
    rows = [book.row(Kind.STARTED, "", _start(order, sealed, verdict, book, now), sealed)]
    kind = "entry" if admitted else "deny"
    origin: dict[str, Any] = dict(seen_from(order.origin)) if order.origin else {}
    leaves = (book.leaf(kind, at_us=now, verdict=verdict, flow=flow.name, effect=flow.effect.value, **origin),)
    if not admitted:
        refusal = denied(flow, "", book.execution, verdict)
        end = Note(at_us=now, status=Status.FAILED, error=brief(refusal))
        rows.append(book.row(Kind.FINISHED, "", end, json.dumps(refusal.record()).encode()))
        await book.commit(*rows, leaves=leaves, head=_head(world, order, Status.FAILED, now), key=wrapped)
        world.rested(scope.tenant, order.execution, flow)
        raise refusal
    head = _head(world, order, Status.QUEUED if order.line.queue else Status.RUNNING, now)
    if when is When.NOW:
        await book.commit(*rows, leaves=leaves, head=head, key=wrapped)
    elif when is When.SOON:
        book.behind(*rows, leaves=leaves, head=head, key=wrapped)
    else:
        book.hold(*rows, leaves=leaves, head=head, key=wrapped)
    return book


def _entry(world: World, order: Order, commitment: bytes, now: int) -> Verdict:
    flow = order.flow
    return world.warden.ask(
        Ask(
            gate=Gate.ENTRY,
            scope=order.scope,
            execution=order.execution,
            step="",
            epoch=1,
            flow=flow.name,
            flow_digest=flow.digest,
            effect=flow.effect,
            input_commitment=commitment,
            now=now / 1_000_000,
            needs=flow.needs,
            kind=flow.body.kind,
            left=order.budget,
        )
    )


def _start(order: Order, record: bytes, verdict: Verdict, book: Book, now: int) -> Start:
    return Start(
        flow=order.flow.name,
        version=order.flow.version,
        digest=order.flow.digest,
        tenant=order.scope.tenant,
        principal=order.scope.principal,
        target=order.target,
        at_us=now,
        decision=verdict.record(),
        record=book.commitment(record),
        due_us=order.line.due_us,
    )


def _head(world: World, order: Order, status: Status, now: int) -> Head:
    line = order.line
    return Head(
        status=status,
        flow=order.flow.name,
        version=order.flow.version,
        principal=order.scope.principal,
        target=order.target,
        at_us=now,
        create=True,
        digest=pin_of(order.flow),
        queue=line.queue,
        key=line.key,
        priority=line.priority,
        due_us=line.due_us,
        parent=line.parent,
        labels=world.label(order.scope.tenant, order.flow, order.data, line.labels),
    )
