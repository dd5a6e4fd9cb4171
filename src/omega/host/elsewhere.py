"""What runs elsewhere, waited for and watched from here: in another process on the same records, or not yet anywhere.

    the outcome    the line of the execution says when it has come to rest; the process it runs in says when to look (`host.showing`),
                   and without a word one looks now and then, each time a little later
    the parts      asked for, so many at a time as whoever watches here takes in; shown to them as if they were made here
    left behind    where the process that ran it is gone, which its lease says, or somebody decided what it stood still for and nobody went
                   on, whoever waits for it goes on with it

Nothing here is needed for what is recorded. A part that was made before the other process heard of the question is not shown, and one that
is larger than a message (`between.MAX_MESSAGE`) is not either: parts are numbered, so that whoever watches sees a gap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from omega.host.between import ASK, ENTRANCES, WINDOW, Between, Said
from omega.host.embedded import Omega
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import CODES, InputError, StorageError, Suspended
from omega.kernel.journal import Kind, Note, Status, decode_meta
from omega.kernel.past import Past
from omega.kernel.ports import Line, Outcome
from omega.kernel.trail import shown
from omega.runtime.recovery import read_outcome
from omega.runtime.streaming import Part

ASK_S = 2.0
"""How often a question is asked again, in seconds: whoever takes the execution up later hears it then."""

FIRST_LOOK_S, LONGEST_LOOK_S, LATER = 0.05, 3.0, 1.6
"""How soon the record is looked at without having been told, in seconds: at first, at most; and how much later each time."""

TRIES = 8
"""How often it is tried to go on here with one that was left behind: a flow that has changed since is not gone on with at all."""

BY_ITSELF = ("OMG-R020", "OMG-R021")
"""What an execution in a queue waits for without anybody acting: a moment, a child. A worker goes on with it then."""

Key = tuple[str, str]


@dataclass(slots=True)
class _Wait:
    """Somebody who waits for an execution to come to rest: the number of their question, whether they were told, when they ask again."""

    watch: str
    told: asyncio.Event = field(default_factory=asyncio.Event)
    ask_at: float = 0.0


@dataclass(slots=True)
class _Following:
    """The task that brings the parts of one execution here, and whether the others were asked."""

    task: asyncio.Task[None]
    asked: asyncio.Event


class Elsewhere:
    """Waits for and watches executions that do not run in this process. `ours` is the way to the other processes, None where there is none;
    `go_on` goes on here with an execution that was left behind, and says whether it does; `begins` says whether it is about to."""

    def __init__(self, omega: Omega, ours: Between | None, go_on: Callable[[str], bool], begins: Callable[[str], bool]) -> None:
        self._omega = omega
        self._ours = ours
        self._go_on = go_on
        self._begins = begins
        self._waits: dict[str, dict[str, _Wait]] = {}
        self._by_number: dict[str, _Wait] = {}
        self._coming: dict[str, asyncio.Queue[Said]] = {}
        self._following: dict[Key, _Following] = {}
        self._entrances: dict[str, Callable[[Said], None]] = {}
        before = omega.world.rested

        def rested(tenant: str, execution: str, flow: AnyFlow) -> None:
            before(tenant, execution, flow)
            for wait in self._waits.get(execution, {}).values():
                wait.told.set()

        omega.world.rested = rested

    async def hear(self) -> None:
        """Take in what other processes tell this one, for ever; over at once where there are none."""
        if self._ours is None:
            return
        own, entrances = await self._ours.subscribe(self._ours.address), await self._ours.subscribe(ENTRANCES)
        try:
            await asyncio.gather(self._ours.hear(own, self._told), self._ours.hear(entrances, self._told_to_entrances))
        finally:
            tasks = [each.task for each in self._following.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for subscription in (own, entrances):
                await subscription.aclose()

    def others(self, kind: str, take: Callable[[Said], None]) -> Callable[[Said], Awaitable[None]]:
        """How to tell the processes with entrances something of `kind`; `take` is given what they tell."""
        self._entrances[kind] = take

        async def tell(said: Said) -> None:
            if self._ours is not None:
                await self._ours.tell(ENTRANCES, {"from": self._ours.address, "kind": kind, "said": dict(said)})

        return tell

    def _told_to_entrances(self, said: Said) -> None:
        take, what = self._entrances.get(str(said.get("kind"))), said.get("said")
        if take is not None and isinstance(what, dict) and self._ours is not None and said.get("from") != self._ours.address:
            take(what)

    def _told(self, said: Said) -> None:
        number = str(said.get("watch"))
        if number in self._coming:
            with suppress(asyncio.QueueFull):  # more than was asked for
                self._coming[number].put_nowait(said)
        elif number in self._by_number and said.get("over"):
            self._by_number[number].told.set()

    # -- outcomes

    async def outcome(self, execution: str) -> Outcome:
        """How `execution` ended, or for whom it stands still; waits while it is under way, wherever that is.

        Raises InputError (OMG-I003) when it is not known.
        """
        line = _known(self._omega.store.line(execution), execution)
        if not self._omega.engine.runs(execution) and not self._under_way(line):
            return stood(self._omega, line)
        with self._waiting(execution) as wait:
            return await self._rest(execution, wait)

    async def _rest(self, execution: str, wait: _Wait) -> Outcome:
        look_s, tries = FIRST_LOOK_S, TRIES
        while True:
            found = await self._omega.engine.outcome(execution) if self._omega.engine.runs(execution) else None
            line = _known(await self._line(execution), execution)
            if not self._under_way(line):
                return stood(self._omega, line) if found is None or found.status == Status.RUNNING else found
            if self._left_behind(line):
                tries -= 1
                if not tries or not self._go_on(execution):
                    return stood(self._omega, line)  # nobody here knows its flow
            await self._ask(wait, line)
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await wait.told.wait()
            wait.told.clear()
            look_s = min(LONGEST_LOOK_S, look_s * LATER)

    async def _ask(self, wait: _Wait, line: Line) -> None:
        now = time.monotonic()
        if self._ours is not None and now >= wait.ask_at:
            wait.ask_at = now + ASK_S
            await self._ours.tell(ASK, self._question(self._ours, (line.tenant, line.execution), wait.watch, 0))

    async def _line(self, execution: str) -> Line | None:
        """The line; read beside the loop where that takes a round trip."""
        if self._omega.settings.store.shared:
            return await asyncio.to_thread(self._omega.store.line, execution)
        return self._omega.store.line(execution)

    def _left_behind(self, line: Line) -> bool:
        """Whether it could be gone on with, nothing runs it, and no worker will take it up."""
        if line.queue or line.parent or self._omega.engine.runs(line.execution):
            return False
        over = not self._omega.settings.store.shared or line.lease_us <= self._omega.world.clock.now_us()
        return over if line.status == Status.RUNNING else self._is_woken(line)

    def _under_way(self, line: Line) -> bool:
        """Whether it comes to an end, or to a person, without anybody acting."""
        if Status(line.status).ended:
            return False
        if line.status in (Status.QUEUED, Status.RUNNING) or self._begins(line.execution):
            return True
        if self._is_woken(line) or self._is_taken_up(line):
            return True
        return line.status == Status.WAITING and bool(line.queue) and self._waits_for(line) in BY_ITSELF

    def _is_woken(self, line: Line) -> bool:
        """Whether somebody has decided what it stood still for, so that it is due."""
        return 0 < line.due_us <= self._omega.world.clock.now_us()

    def _is_taken_up(self, line: Line) -> bool:
        """Whether somebody is just taking it up: what stands still has no owner."""
        return bool(line.owner) and line.lease_us > self._omega.world.clock.now_us()

    def _waits_for(self, line: Line) -> str:
        return _waits_for(Past(self._omega.store.rows(line.execution)))

    @contextmanager
    def _waiting(self, execution: str) -> Iterator[_Wait]:
        wait = _Wait(self._number())
        self._waits.setdefault(execution, {})[wait.watch] = wait
        self._by_number[wait.watch] = wait
        try:
            yield wait
        finally:
            del self._by_number[wait.watch]
            del self._waits[execution][wait.watch]
            if not self._waits[execution]:
                del self._waits[execution]

    def _question(self, ours: Between, key: Key, number: str, credit: int) -> dict[str, Any]:
        """See `omega.host.showing`. The moment is that of the records' clock, which all processes have in common."""
        at_us = self._omega.world.clock.now_us()
        return {"tenant": key[0], "execution": key[1], "to": ours.address, "watch": number, "credit": credit, "by": "", "at_us": at_us}

    def _number(self) -> str:
        return self._omega.world.entropy.take(8).hex()

    # -- parts

    def follow(self, tenant: str, execution: str) -> asyncio.Event:
        """Show the parts of an execution that runs elsewhere, or will, to those who watch it here, until it comes to rest. What this gives
        is set once the others were asked."""
        key = (tenant, execution)
        known = self._following.get(key)
        asked = asyncio.Event() if known is None else known.asked
        if self._ours is None:
            asked.set()
        elif known is None:
            task = asyncio.create_task(self._follow(key, self._ours, asked))
            self._following[key] = _Following(task, asked)
            task.add_done_callback(lambda _: self._following.pop(key, None))
        return asked

    async def _follow(self, key: Key, ours: Between, asked: asyncio.Event) -> None:
        streams = self._omega.world.streams
        ours.relayed.add(key)
        try:
            with suppress(StorageError):  # the records cannot be reached: those who watch are told that it is over, and may ask again
                while self._wanted(key) and await self._stretch(key, ours, asked):
                    asked.set()
        finally:
            asked.set()
            ours.relayed.discard(key)
            if not self._omega.engine.runs(key[1]):
                streams.end(*key)

    async def _stretch(self, key: Key, ours: Between, asked: asyncio.Event) -> bool:
        """Show what one process shows of it, up to where it comes to rest there; whether it goes on after that."""
        number, taken, credit, ask_at, by = self._number(), 0, 0, 0.0, ""
        last: dict[str, int] = {}
        coming = self._coming[number] = asyncio.Queue(2 * WINDOW)
        try:
            while self._wanted(key):
                now = time.monotonic()
                if now >= ask_at or credit - taken <= WINDOW // 2:
                    credit, ask_at = taken + WINDOW, now + ASK_S
                    await ours.tell(ASK, self._question(ours, key, number, credit) | {"by": by})
                    asked.set()
                said = await _next(coming, ask_at - now)
                if said is None or said.get("over"):
                    line = await self._line(key[1])
                    if said is not None or (line is not None and not self._under_way(line)):
                        return line is not None and self._under_way(line)
                    continue
                sender, order, part = str(said.get("by")), said.get("n"), _part(key[1], said.get("part"))
                if part is None or type(order) is not int or order <= last.get(sender, 0):  # somebody tells it a second time
                    continue
                if sender not in last:  # another process has taken it up: it shows a window's worth unasked
                    by, taken, credit = sender, 0, WINDOW
                taken, last[sender] = taken + 1, order
                await self._omega.world.streams.publish(key[0], part)
        finally:
            del self._coming[number]
        return False

    def _wanted(self, key: Key) -> bool:
        return self._omega.world.streams.watched(*key) and not self._omega.engine.runs(key[1])


def stood(omega: Omega, line: Line) -> Outcome:
    """How an execution ended, or what it stands still for, from what is recorded. Raises IntegrityError (OMG-T004, OMG-S005)."""
    outcome = read_outcome(omega.world, line.execution)
    if outcome.error is not None or outcome.status in (Status.DONE, Status.RUNNING, Status.QUEUED):
        return outcome
    past = Past(omega.store.rows(line.execution))
    code = _waits_for(past)
    if code not in CODES:
        return outcome
    steps = [shown(each.position) for each in (*past.waits(), *past.questions(), *past.doubts())]
    details = {"execution": line.execution, **({"steps": steps} if steps else {})}
    return replace(outcome, error=Suspended(code, f"{line.execution} stands still: {CODES[code].title}", details=details).record())


def _waits_for(past: Past) -> str:
    """The code of what an execution that stands still waits for."""
    for row in reversed(past.rows):
        note = decode_meta(row) if row.kind == Kind.PAUSED else None
        if isinstance(note, Note):
            return note.text
    return ""


def _known(line: Line | None, execution: str) -> Line:
    if line is None:
        raise InputError("OMG-I003", f"{execution[:80]} is not recorded here")
    return line


def _part(execution: str, said: Any) -> Part | None:
    """A part as another process tells it; None for what is none."""
    if not isinstance(said, list) or len(said) != 3:
        return None
    return Part(execution=execution, position=str(said[0]), index=said[1], value=said[2])


async def _next(coming: asyncio.Queue[Said], timeout_s: float) -> Said | None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, timeout_s)):
            return await coming.get()
    return None
