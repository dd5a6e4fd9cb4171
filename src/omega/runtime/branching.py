"""Branches and what is decided once: the part of a driver that opens tasks, waits, and records whatever could come out differently a
second time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from omega.kernel.compose import AnyFlow
from omega.kernel.direct import all_failed
from omega.kernel.errors import FlowError, IntegrityError, OmegaError, Suspended, from_record
from omega.kernel.evaluate import Branch, has_outcome, is_failure
from omega.kernel.ids import new_id
from omega.kernel.journal import Kind, Note, decode_meta
from omega.kernel.past import TIMED, Past, Recorded, is_under
from omega.kernel.trail import Trail, shown
from omega.runtime.book import Book
from omega.runtime.ending import finish
from omega.runtime.halts import together
from omega.runtime.kept import key_of
from omega.runtime.world import Moment, World

LAST_S = 253_402_300_799.0
"""The last second that a calendar of four-digit years can name."""


class Branching:
    """One execution's branches and recorded choices."""

    world: World
    book: Book
    past: Past
    unmet: set[str]
    """Branches of undoable work that was begun in an earlier life and has not been walked over again yet."""
    touching: int
    """Steps under way that have touched the world: standing still would leave them half done."""

    # -- branches

    async def all_of(self, position: str, branches: Sequence[Branch], trail: Trail, at_once: int) -> list[Any]:
        """All branches in tasks of their own; a failure is recorded as a choice, so that it comes first again."""
        decided = self.past.decided(trail, position)
        if decided is not None:
            return await self._decided_failure(decided, branches, trail)
        results: list[Any] = [None] * len(branches)
        failures: list[tuple[int, OmegaError]] = []
        halts: list[Suspended] = []
        todo = iter(range(len(branches)))

        async def work() -> None:
            for index in todo:
                branch = trail.branch(position, index, asyncio.current_task())
                branch.last = trail.last
                try:
                    results[index] = await branches[index](branch)
                except Suspended as halt:
                    halts.append(halt)
                except OmegaError as error:
                    failures.append((index, error))
                    await self.caught_up(position)
                    raise
                else:
                    self._left_over(branch)

        tasks = [asyncio.create_task(work()) for _ in range(min(at_once, len(branches)))]
        await finish(tasks, asyncio.FIRST_EXCEPTION)
        if failures:
            index, error = failures[0]
            if has_outcome(error):
                await self.give_up(position)
                self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=self.world.clock.now_us(), value=index, status="failed")))
            raise error
        if halts:
            raise together(halts)
        for task in tasks:
            if not task.cancelled():  # cancelled by a fault in another, which comes first
                task.result()
        return results

    async def _decided_failure(self, decided: Recorded, branches: Sequence[Branch], trail: Trail) -> list[Any]:
        note = decode_meta(decided.first)
        index = note.value if isinstance(note, Note) else 0
        if index < len(branches):
            branch = trail.branch(decided.position, index, asyncio.current_task())
            branch.last = trail.last
            await branches[index](branch)
        raise IntegrityError("OMG-R015", f"branch {index} of {shown(decided.position)} is recorded as failed and now succeeds")

    async def first_of(self, position: str, branches: Sequence[Branch], trail: Trail) -> Any:
        """All branches in tasks of their own; the winner is recorded, and is the only one to run when the race is met again."""
        decided = self.past.decided(trail, position)
        if decided is not None:
            note = decode_meta(decided.first)
            index = note.value if isinstance(note, Note) else 0
            return await branches[index](trail.branch(position, index, asyncio.current_task()))
        failures: list[OmegaError] = []
        halts: list[Suspended] = []
        winner: list[tuple[int, Any]] = []

        async def run(index: int) -> None:
            try:
                result = await branches[index](trail.branch(position, index, asyncio.current_task()))
            except Suspended as halt:
                halts.append(halt)
            except OmegaError as error:
                if not is_failure(error):
                    raise
                failures.append(error)
            else:
                winner.append((index, result))
                await self.caught_up(position)
                raise _Won

        tasks = [asyncio.create_task(run(index)) for index in range(len(branches))]
        await finish(tasks, asyncio.FIRST_EXCEPTION)
        if winner:
            await self.give_up(position)
            index, result = winner[0]
            self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=self.world.clock.now_us(), value=index, status="won")))
            return result
        for task in tasks:
            if not task.cancelled():
                task.result()
        if halts:
            raise together(halts)
        raise all_failed(shown(position), failures)

    async def within(self, position: str, limit_s: float, work: Branch, trail: Trail, aside: Trail) -> tuple[bool, Any]:
        """A time limit that passed is recorded; one that did not leaves no trace. It starts anew when the execution is resumed after a
        person was waited for, and goes on where it was after a wait that only time ends."""
        if self.past.decided(trail, position) is not None:
            return False, None
        aside.last = trail.last
        limits = Trail(f"{aside.path}~limit")
        recorded = self.past.meet(limits, f"{limits.path}/limit", "limit", "")
        began = self.world.clock.now_us()
        until = began + int(limit_s * 1_000_000) if recorded is None else self._note(recorded).value
        if until <= began:
            return await self._late(position, work, aside)
        try:
            async with asyncio.timeout((until - began) / 1_000_000) as limit:
                result = await work(aside)
        except TimeoutError:
            if not limit.expired():
                raise
            return self._out_of_time(position)
        except Suspended as halt:
            if halt.code not in TIMED:
                raise
            if recorded is None:
                self.book.behind(self.book.row(Kind.TIMER, f"{limits.path}/limit", Note(at_us=began, value=until)))
            raise together([halt, _moment(self.book.execution, position, until)]) from None
        self._left_over(aside)
        return True, result

    async def _late(self, position: str, work: Branch, aside: Trail) -> tuple[bool, Any]:
        """The time ran out while the execution stood still. What was begun is walked over once more, so that it is undone or called off;
        nothing new happens in it. Raises what cannot be left behind: a doubt, and what could not be undone."""
        aside.stop = FlowError("OMG-R004", f"{shown(position)} is out of time")
        try:
            result = await work(aside)
        except OmegaError as error:
            if not has_outcome(error) or error.code == "OMG-R031":
                raise
            return self._out_of_time(position)
        return True, result

    def _out_of_time(self, position: str) -> tuple[bool, Any]:
        self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=self.world.clock.now_us(), status="out of time")))
        return False, None

    async def pause(self, position: str, delay: Callable[[float], float], trail: Trail) -> None:
        """The moment it ends is recorded before the wait, so that a crash does not make it longer."""
        recorded = self.past.meet(trail, position, "pause", "")
        if recorded is None:
            self.go_on(trail)
            chance = int.from_bytes(self.world.entropy.take(4), "big") / (1 << 32)
            now = self.world.clock.now_us()
            due = now + int(delay(chance) * 1_000_000)
            self.book.behind(self.book.row(Kind.TIMER, position, Note(at_us=now, value=due)))
        else:
            note = self._note(recorded)
            now = max(self.world.clock.now_us(), note.at_us)  # a wall clock that was set back does not make the wait longer
            due = note.value
        remaining = (due - now) / 1_000_000
        if remaining > 0:
            self.go_on(trail)  # what is to be stopped does not wait first
        if remaining > 0 and self._parks(remaining):
            raise _moment(self.book.execution, position, due)
        if remaining > 0:
            self.world.watch(Moment(kind="paused", execution=self.book.execution, position=shown(position), took_s=remaining))
            await self.world.clock.sleep(remaining)

    async def cached(self, position: str, flow: AnyFlow, value: Any, ttl_s: float, work: Branch, trail: Trail) -> Any:
        """Whether there was a kept result is recorded, and the result with it."""
        recorded = self.past.meet(trail, position, "cache", "")
        now = self.world.clock.now_us()
        if recorded is not None and recorded.settled is not None:
            if recorded.settled.kind == Kind.VALUE:
                return flow.output.decode(self.book.open(recorded.settled))
            return await work(trail)
        data, value = flow.input.encode(value)
        key = key_of(self.book.scope.tenant, flow, data)
        kept = self.world.kept.get(key, now)
        if kept is not None:
            self.book.behind(self.book.row(Kind.VALUE, position, Note(at_us=now, text="kept", output=self.book.commitment(kept)), kept))
            return flow.output.decode(kept)
        self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=now, status="not kept")))
        result = await work(trail)
        self.world.kept.put(key, flow.output.encode(result)[0], now + int(ttl_s * 1_000_000))
        return result

    # -- values that are drawn once

    async def recorded_value(self, trail: Trail, name: str, draw: Callable[[], Any], *, signal: str = "") -> Any:
        """A value from outside the flow, drawn once and then the same for ever. `signal` names the one that it uses up."""
        position = trail.step(name)
        recorded = self.past.meet(trail, position, name, "")
        if recorded is not None and recorded.settled is not None:
            return json.loads(self.book.open(recorded.settled))
        self.go_on(trail)
        value = draw()
        plain = json.dumps(value).encode()
        note = Note(at_us=self.world.clock.now_us(), status="signal" if signal else "", text=signal, output=self.book.commitment(plain))
        self.book.behind(self.book.row(Kind.VALUE, position, note, plain))
        return value

    def draw(self, name: str) -> Any:
        """A fresh `now`, `random` or `uuid`."""
        now = self.world.clock.now_us()
        if name == "now":
            return now / 1_000_000
        if name == "random":
            return (int.from_bytes(self.world.entropy.take(8), "big") >> 11) / (1 << 53)
        plain = new_id("exe", now_ms=now // 1_000, entropy=self.world.entropy.take(10))[4:]
        return f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}"

    def await_signal(self, name: str) -> Any:
        """The next unread value sent under `name`; raises Suspended (OMG-R018) when there is none."""
        sent = self.past.signals.get(name, [])
        if not sent:
            raise Suspended("OMG-R018", f"{self.book.execution} waits for the signal {name!r}", details={"signal": name})
        return json.loads(self.book.open(sent.pop(0)))

    async def caught_up(self, position: str) -> None:
        """Before branches at `position` are cancelled: wait until it is known what is to be undone in them (`omega.runtime.undoing`)."""

    async def give_up(self, position: str) -> None:
        """After branches at `position` were abandoned: undo what stands still in them (`omega.runtime.undoing`)."""

    def go_on(self, trail: Trail) -> None:
        """Something new is about to happen in `trail`. Raises what is to be raised in its place: a cancellation, or what is undone."""
        if trail.stop is not None:
            raise from_record(trail.stop.record())
        if self.unmet:
            self.unmet -= {path for path in self.unmet if is_under(trail.path, path)}

    def _parks(self, remaining_s: float) -> bool:
        """Whether a wait of `remaining_s` is one to stand still for: it is long, and no step that has touched the world is cut by it."""
        return self.world.park_s is not None and remaining_s > self.world.park_s and not self.touching

    def _left_over(self, trail: Trail) -> None:
        position = self.past.left_over(trail)
        if position is not None:
            raise self.past.diverged(position, "", trail.path or "the flow", "")

    def _note(self, recorded: Recorded) -> Note:
        note = decode_meta(recorded.first)
        if not isinstance(note, Note):
            raise IntegrityError("OMG-S005", f"{shown(recorded.position)} is recorded as a step, not as a decision")
        return note


def _moment(execution: str, position: str, due_us: int) -> Suspended:
    at = datetime.fromtimestamp(min(due_us / 1_000_000, LAST_S), UTC).isoformat(timespec="seconds")
    return Suspended("OMG-R020", f"{shown(position)} of {execution} waits until {at}", details={"due_us": due_us, "step": shown(position)})


class _Won(Exception):
    pass
