"""Undoing: work that is taken back when it fails or is cancelled.

    begun       a choice beside the work says that there is something to undo: whoever cancels a standing execution then lets it be taken up
    decided     the failure is recorded as a choice, on disk, before the first step back; from then on nothing leads forward
    undone      the steps back run to their end, whatever is cancelled meanwhile; then the failure is raised again

After a crash in between, the work is walked over its records once more (`Trail.stop` lets nothing new happen in it), so that what was done
is known, and the steps back go on. A doubt or a wait is no failure. An engine that closes, or has lost the execution, undoes nothing: the
next owner sees the same records.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from omega.kernel.errors import FlowError, OmegaError, Suspended, from_record
from omega.kernel.evaluate import Branch, has_outcome
from omega.kernel.journal import Kind, Note
from omega.kernel.past import UNDOABLE, Past, is_under
from omega.kernel.trail import Trail
from omega.runtime.branching import Branching
from omega.runtime.ending import finish, meet_cancellation, to_its_end
from omega.runtime.faults import brief

TURNS = 8
"""Turns of the loop that walking over one recorded row may take: a handful, since nothing is waited for."""

_BEGUN = "~begun/begun"


@dataclass(frozen=True, slots=True)
class Standing:
    """Undoable work that waits or is in doubt: for what, and how it is undone should it be given up."""

    position: str
    halt: Suspended
    undo: Branch
    back: Trail


class Undoing(Branching):
    """One execution's compensations. `leaving` says that this engine lets the execution go; `unfinished` are the compensations that
    could not be carried through, which no cancellation may hide."""

    leaving: bool
    unfinished: list[OmegaError]
    standing: dict[str, Standing]
    """Undoable work that stands still, by its branch, in the order in which it came to that."""

    async def undoable(self, position: str, work: Branch, undo: Branch, trail: Trail, aside: Trail, back: Trail) -> Any:
        """See `omega.kernel.evaluate.Driver.undoable`."""
        aside.last = trail.last
        decided = self.past.decided(trail, position)
        if decided is not None:
            self.unmet.discard(aside.path)
            failure = from_record(json.loads(self.book.open(decided.settled or decided.first)))
            await self._walk(work, aside, failure)
            return await self._back(undo, back, failure)
        self._begin(aside)
        try:
            result = await work(aside)
            await meet_cancellation()
        except asyncio.CancelledError:
            if self.leaving:
                raise
            await self._decide(position, FlowError("OMG-R005", "cancelled"))
            await self._back(undo, back, None)
            raise
        except OmegaError as error:
            if not has_outcome(error):
                if isinstance(error, Suspended):
                    self.standing[aside.path] = Standing(position, error, undo, back)
                raise
            await self._decide(position, error)
            return await self._back(undo, back, error)
        finally:
            self.unmet.discard(aside.path)
        self._left_over(aside)
        return result

    async def caught_up(self, position: str) -> None:
        """Wait for the walk over what is recorded below `position` (empty: everywhere): it takes turns of the loop but no time.

        What waits meanwhile has met its records, and is not waited for.
        """
        for _ in range(TURNS * (len(self.past.rows) + 1)):
            if not any(not position or is_under(path, position) for path in self.unmet):
                return
            await asyncio.sleep(0)

    async def give_up(self, position: str) -> None:
        """Undo, last first, what stands still under `position`.

        Raises what could not be undone in this execution, which no other failure may hide: Suspended where somebody has to act first.
        """
        left = {path: self.standing.pop(path) for path in reversed(list(self.standing)) if is_under(path, position)}
        doubts = [each.halt for each in left.values() if each.halt.code == "OMG-R006"]
        stuck = sorted([*doubts, *self.unfinished], key=lambda error: not isinstance(error, Suspended))
        if stuck:
            raise stuck[0]
        for each in left.values():
            await self._decide(each.position, FlowError("OMG-R005", "given up"))
            await self._back(each.undo, each.back, None)

    def _begin(self, aside: Trail) -> None:
        note = Trail(f"{aside.path}~begun", stop=aside.stop)
        position = note.step("begun")
        if self.past.meet(note, position, "begun", "") is None and aside.stop is None:
            self.book.behind(self.book.row(Kind.CHOSE, position, Note(at_us=self.world.clock.now_us(), status=UNDOABLE)))
            self.past.undoable = True

    async def _decide(self, position: str, error: OmegaError) -> None:
        plain = json.dumps(error.record()).encode()
        note = Note(at_us=self.world.clock.now_us(), status="undone", output=self.book.commitment(plain), error=brief(error))

        async def write() -> None:  # the row is made where it is handed over: a neighbour's must not come in between
            await self.book.commit(self.book.row(Kind.CHOSE, position, note, plain))

        await to_its_end(write())

    async def _walk(self, work: Branch, aside: Trail, failure: OmegaError) -> None:
        """Meet what was done again, and nothing new. Raises what is not yet settled in it (a doubt)."""
        self._begin(aside)
        aside.stop = failure
        try:
            await work(aside)
        except OmegaError as error:
            if not has_outcome(error):
                raise

    async def _back(self, undo: Branch, back: Trail, failure: OmegaError | None) -> Any:
        """Run `undo` to its end, then raise `failure`, if there is one. A wait or a doubt in it stays open, also across crashes."""
        back.stop = None
        task = asyncio.create_task(_owned(undo, back))
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                if self.leaving:
                    task.cancel()
                    await finish([task], asyncio.ALL_COMPLETED)
                    raise
        try:
            task.result()
        except OmegaError as error:
            self.unfinished.append(error)
            raise
        self._left_over(back)
        if failure is not None:
            raise failure


def begun_before(past: Past) -> set[str]:
    """The branches of undoable work that `past` has begun."""
    return {position.removesuffix(_BEGUN) for position in past.at if position.endswith(_BEGUN)}


async def _owned(undo: Branch, back: Trail) -> Any:
    back.owner = asyncio.current_task()
    return await undo(back)
