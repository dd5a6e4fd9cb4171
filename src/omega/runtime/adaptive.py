"""Decisions by what happened before: recorded once, then repeated; and the measurements behind them.

What an engine remembers (`omega.kernel.adapt.Memory`) is its own and dies with it. Only the measurements of `optimize` are worth more than
that: each is a readable row of the journal, and an engine that meets an `optimize` for the first time reads those of the newest executions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from itertools import chain
from typing import Any

from omega.kernel.adapt import Chosen, Here, Observation
from omega.kernel.budget import NOTHING, Spent
from omega.kernel.choosing import Measure, measure_of
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Kind, Note, Row, decode_meta, name_of
from omega.kernel.trail import Trail
from omega.runtime.branching import Branching

MEASURED = "measured"
"""The status of a row that holds a measurement."""

MAX_RECALLED = 32
"""Newest executions of a tenant whose measurements are read back: enough to know which flow is best, little enough to read at once."""

RECALL_S = 0.1
"""Seconds after which no further execution is read: other executions wait meanwhile."""


class Meter:
    """Adds up what the touches of one piece of work cost, also those in its branches; work within work counts for both."""

    __slots__ = ("_outer", "spent")

    def __init__(self) -> None:
        self.spent = NOTHING
        self._outer = _METER.get()

    def add(self, spent: Spent) -> None:
        """Count `spent`."""
        self.spent += spent
        if self._outer is not None:
            self._outer.add(spent)


_METER: ContextVar[Meter | None] = ContextVar("omega_meter", default=None)


def meter(spent: Spent) -> None:
    """Count what a touch cost for whatever work is being observed here."""
    running = _METER.get()
    if running is not None:
        running.add(spent)


class Adaptive(Branching):
    """One execution's decisions by what is remembered: the part of a driver that `omega.kernel.adapt.Adapting` adds."""

    async def chosen(self, position: str, trail: Trail, choose: Callable[[Here], tuple[int, str]]) -> Chosen:
        """The decision recorded at `position`, else a fresh one, which is recorded with its reason."""
        recorded = self.past.meet(trail, position, name_of(position), "")
        if recorded is not None:
            note = self._note(recorded)
            return Chosen(note.value, note.text, False)
        self.go_on(trail)
        value, text = choose(self._here())
        self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=self.world.clock.now_us(), text=text, value=value)))
        return Chosen(value, text, True)

    async def observed(self, work: Awaitable[Any]) -> Observation:
        """How `work` went, by this engine's clock and the receipts of its touches."""
        metered = Meter()
        token = _METER.set(metered)
        began = self.world.clock.monotonic()
        result, failure = None, None
        try:
            result = await work
        except OmegaError as error:
            failure = error
        finally:
            _METER.reset(token)
        took_us = round((self.world.clock.monotonic() - began) * 1_000_000)
        return Observation(result=result, error=failure, took_us=took_us, spent=metered.spent)

    async def learned(self, position: str, learn: Callable[[Here], str]) -> None:
        """Take in what happened; a measurement is recorded beside the decision it speaks of."""
        text = learn(self._here())
        if text:
            self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=self.world.clock.now_us(), status=MEASURED, text=text)))

    def _here(self) -> Here:
        chance = int.from_bytes(self.world.entropy.take(4), "big") / (1 << 32)
        return Here(
            memory=self.world.memory,
            tenant=self.book.scope.tenant,
            now_us=self.world.clock.now_us(),
            chance=chance,
            history=self._history,
        )

    def _history(self, digest: str) -> Iterable[tuple[int, Measure]]:
        """The measurements of one `optimize` in the tenant's newest executions, the oldest first."""
        found: list[list[tuple[int, Measure]]] = []
        enough = self.world.clock.monotonic() + RECALL_S
        for line in self.world.reader.lines(tenant=self.book.scope.tenant, limit=MAX_RECALLED):
            if self.world.clock.monotonic() > enough:
                break
            found.append(list(_measured(self.world.reader.rows(line.execution), digest)))
        return chain.from_iterable(reversed(found))


def _measured(rows: Iterable[Row], digest: str) -> Iterable[tuple[int, Measure]]:
    for row in rows:
        note = decode_meta(row) if row.kind == Kind.CHOSE else None
        if isinstance(note, Note) and note.status == MEASURED:
            measured = measure_of(note.text, digest)
            if measured is not None:
                yield measured
