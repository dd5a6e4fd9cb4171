"""The world outside, which no crash of the engine undoes: what was asked of it, what took place, and what must not have happened.

A `Witness` outlives every engine of a simulated run. Its effectors look at what is durable at the very moment of a touch, so a promise
such as "the intent is on disk before the request leaves" is checked when it matters, not when all is over.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from omega.chronicle.record import decode
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import IntegrityError
from omega.kernel.journal import Kind, Row, Step, decode_meta, digest_of
from omega.kernel.ports import Clock
from omega.kernel.verdict import Permit
from omega.testing.lab import TENANT
from omega.testing.simulator.scenario import Reply, Scenario
from omega.testing.simulator.store import MortalStore

REPEATABLE = ("pure", "read", "idempotent")


class Violation(AssertionError):
    """Something happened that must never happen."""


@dataclass(slots=True)
class Witness:
    """What the outside saw over all lives of one execution."""

    scenario: Scenario
    dice: random.Random
    problems: list[str] = field(default_factory=list)
    started: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    found: dict[str, Any] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    store: MortalStore | None = None
    listening: bool = True

    def ran(self, name: str) -> None:
        """A step's body started. Whatever cannot be repeated and was answered must be durable by now: something may depend on it."""
        if self.store is None or self.store.dead or not self.listening:
            return
        self.started[name] += 1
        for step in self.answered:
            if not _settled(self.store, step):
                self.problems.append(f"{name} started while the result of {step} was not durable")

    def check_touch(self, execution: str, step: str) -> None:
        """What must be durable when a request leaves."""
        store = self.store
        assert store is not None
        if not self.listening:
            self.problems.append(f"{step} was touched in a replay")
        rows = store.rows(execution)
        here = [row for row in rows if row.position == step]
        if any(row.kind in (Kind.DONE, Kind.FAILED) for row in here):
            self.problems.append(f"{step} was touched again after its result was durable")
        if not any(row.kind == Kind.INTENT for row in here):
            self.problems.append(f"{step} was touched without a durable intent")
        self._check_leaf(store, rows, here, step)

    def _check_leaf(self, store: MortalStore, rows: list[Row], here: list[Row], step: str) -> None:
        named = step.encode()
        leaves = [decode(raw) for raw in store.leaves(TENANT) if named in raw]  # a cheap look first: there are many
        admitted = [leaf for leaf in leaves if leaf.kind == "admit" and leaf.step == step and leaf.decision == "allow"]
        intents = [row for row in here if row.kind == Kind.INTENT]
        if len(admitted) < len(intents) or not admitted or (intents and admitted[-1].rows <= intents[-1].seq):
            self.problems.append(f"{step} was touched without a durable leaf that admits it")
            return
        try:
            if digest_of(rows[: admitted[-1].rows]).hex() != admitted[-1].digest:
                self.problems.append(f"the leaf that admits {step} is not about the durable rows")
        except IntegrityError as error:
            self.problems.append(f"at the touch of {step}: {error.cause}")


def _settled(store: MortalStore, step: str) -> bool:
    execution, _, position = step.partition(" ")
    return any(row.position == position and row.kind in (Kind.DONE, Kind.FAILED) for row in store.rows(execution))


class World:
    """The effector of one port in one life of the engine: permit first, then the checks, then the scenario's answer."""

    def __init__(self, port: str, clock: Clock, witness: Witness, store: MortalStore) -> None:
        self.port = port
        self._clock = clock
        self._witness = witness
        self._store = store

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """One touch. What is under way when the engine dies may or may not still take place: the dice say."""
        self._store.alive()
        permit.spend(self.port)
        witness = self._witness
        witness.check_touch(execution, step)
        witness.sent[step] += 1
        once = _once(self._store, execution, step)
        reply = witness.scenario.answer(request, step)
        await self._clock.sleep(reply.delay_s / 2)
        if not self._store.dead or witness.dice.random() < 0.5:
            self._take_place(step, request, reply, once)
        await self._clock.sleep(reply.delay_s / 2)
        self._store.alive()
        if reply.error is not None:
            raise reply.error
        if once:
            witness.answered.add(f"{execution} {step}")
        return reply.value, reply.receipt

    def _take_place(self, step: str, request: Request, reply: Reply, once: bool) -> None:
        witness = self._witness
        if reply.error is not None:
            return
        witness.happened[step] += 1
        if not once:
            return
        witness.found[step] = witness.scenario.found(request)
        if witness.happened[step] > 1:
            witness.problems.append(f"{step} took place {witness.happened[step]} times")


def _once(store: MortalStore, execution: str, step: str) -> bool:
    """Whether the step must take place at most once, as its durable intent says."""
    intents = [row for row in store.rows(execution) if row.position == step and row.kind == Kind.INTENT]
    meta = decode_meta(intents[-1]) if intents else None
    return isinstance(meta, Step) and meta.effect not in REPEATABLE
