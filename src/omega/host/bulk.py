"""Bulk decisions: the same decision about every execution that a search finds, one after the other, each on record like any other.

One that cannot be carried out (it ended meanwhile, somebody else has it in hand) is told with its error and holds up none of the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omega.host.deciding import Decider, deciding
from omega.host.reading import Archive
from omega.host.searching import MAX_FOUND, every
from omega.host.targets import load_target
from omega.kernel.errors import InputError, OmegaError, StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import Line, Search
from omega.runtime.forking import failed_step
from omega.runtime.recovery import load

ELIGIBLE: Mapping[str, tuple[str, ...]] = {
    "cancel": tuple(status.value for status in Status if not status.ended),
    "redrive": (Status.DEAD.value, Status.FAILED.value),
    "resume": (Status.RUNNING.value, Status.WAITING.value, Status.IN_DOUBT.value, Status.QUEUED.value),
}
"""The statuses that each decision can be about; a search that names none means these."""

Progress = Callable[[int, int], None]
"""Is told how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one: `made` is the execution that goes on instead of it, where there is one; `error` why it could not be done."""

    execution: str
    status: str
    made: str = ""
    error: Mapping[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """As data."""
        return {"execution": self.execution, "status": self.status, "made": self.made, "error": self.error}


def found(archive: Archive, verb: str, search: Search) -> list[Line]:
    """What `verb` would be about: the matches of `search` that it can be about at all. Raises InputError (OMG-X001) for too many."""
    eligible = ELIGIBLE[verb]
    wanted = Search(**{name: getattr(search, name) for name in Search.__slots__} | {"status": search.status or eligible})
    lines = [line for line in every(archive.reader, wanted, MAX_FOUND + 1) if line.status in eligible]
    if len(lines) > MAX_FOUND:
        raise InputError("OMG-X001", f"more than {MAX_FOUND:,} executions match", advice="narrow the search with --where, and repeat it")
    return lines


async def carry_out(home: str | os.PathLike[str] | None, verb: str, executions: Sequence[str], progress: Progress) -> list[Result]:
    """Decide about each. Raises StorageError when the store itself cannot be used."""
    results = []
    async with deciding(home) as decider:
        for number, execution in enumerate(executions, 1):
            try:
                results.append(await _one(decider, verb, execution))
            except StorageError as error:
                if error.code == "OMG-S004":
                    raise
                results.append(Result(execution, "", error=error.record()))
            except OmegaError as error:
                results.append(Result(execution, "", error=error.record()))
            progress(number, len(executions))
    return results


async def _one(decider: Decider, verb: str, execution: str) -> Result:
    line = decider.archive.reader.line(execution)
    if line is None:
        raise InputError("OMG-I003", f"{execution[:80]} is not recorded in {decider.archive.settings.place}")
    if verb == "resume":
        return await _resumed(decider, line)
    if verb == "redrive" and line.status == Status.FAILED:
        return await _tried_again(decider, line)
    told = await decider.decide(execution, verb, {})
    if not told.recorded:
        raise StorageError("OMG-S001", f"the letter about {execution} is in the inbox, and not carried out yet")
    return Result(execution, told.status)


async def _tried_again(decider: Decider, line: Line) -> Result:
    """A fork of what failed, from before the step that failed."""
    past, _, record = load(decider.archive.world, line.execution)
    if decider.omega is None:
        raise InputError("OMG-R010", "another engine works in this folder", advice="stop the worker, and repeat it")
    target = load_target(_place(line, record.target))
    made = await decider.omega.fork(line.execution, target, at=failed_step(past), labels=line.labels)
    return Result(line.execution, line.status, made)


async def _resumed(decider: Decider, line: Line) -> Result:
    """What belongs to a queue is due now, and a worker goes on with it; anything else goes on here, to its end."""
    if decider.omega is None:
        raise InputError("OMG-R010", "another engine works in this folder", advice="the worker goes on with what is due")
    if line.tenant != decider.omega.scope().tenant:
        raise InputError("OMG-I003", f"{line.execution} is not recorded here")
    if line.queue:
        await decider.omega.store.wake([line.execution], decider.archive.world.clock.now_us())
        return Result(line.execution, Status.QUEUED)
    target = load_target(_place(line, line.target))
    outcome = await decider.omega.resume(line.execution, target.flow, target.servers)
    return Result(line.execution, outcome.status, error=outcome.error)


def _place(line: Line, target: str) -> str:
    if not target:
        raise InputError("OMG-I002", f"{line.execution} was not started from a target", advice="say where its flow is: --target FILE:FLOW")
    return target
