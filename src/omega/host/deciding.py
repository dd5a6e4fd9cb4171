"""Deciding about an execution from outside: directly where nobody has it in hand, else by a letter to the engine that does.

Either way the execution and the step are looked up first, so that the same mistake gets the same error. A letter is settled once the engine
has carried it out; what it changed is then read from the journal.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from omega.host.embedded import Omega
from omega.host.reading import Archive
from omega.host.storage import open_mailbox
from omega.kernel.errors import InputError, StorageError
from omega.kernel.journal import Kind, Note, decode_meta
from omega.kernel.past import Past
from omega.kernel.trail import shown
from omega.runtime.decisions import MAX_NAME, one_step
from omega.runtime.letters import written
from omega.runtime.people import asked_role
from omega.runtime.recovery import load

PATIENCE_S = 10.0
"""How long a letter is waited for. It is not lost afterwards: the engine reads it when it can."""
POLL_S = 0.05
REOPEN_S = 0.5
"""How often, meanwhile, it is tried whether the engine has gone."""

HERE = "this process"
LIVE = "the live engine"

_KINDS = {
    "approve": (Kind.APPROVED,),
    "answer": (Kind.ANSWERED,),
    "resolve": (Kind.RESOLVED,),
    "signal": (Kind.SIGNAL,),
    "cancel": (Kind.FINISHED, Kind.CANCEL),
    "redrive": (Kind.REDRIVEN,),
}
"""The rows by which the journal shows each decision."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of it: `step` as people type it, `by` the person on record (`person:ada`, in a role `person:ada#owner`).

    `through` says which process carried it out, `recorded` whether the journal shows it already.
    """

    execution: str
    verb: str
    step: str
    by: str
    through: str
    recorded: bool
    status: str
    queue: str = ""


async def decide(home: str | os.PathLike[str] | None, execution: str, verb: str, body: Mapping[str, Any]) -> Decided:
    """Cancel, approve, answer, resolve, signal or redrive `execution`.

    Raises InputError: OMG-I003 unknown execution, OMG-I004 unknown or ambiguous step, OMG-I005 nothing to decide, OMG-I001 a signal
    without a name; Denied (OMG-W007) when this person may not; StorageError.
    """
    async with deciding(home) as decider:
        return await decider.decide(execution, verb, body)


@asynccontextmanager
async def deciding(home: str | os.PathLike[str] | None) -> AsyncIterator[Decider]:
    """Decide about several executions, one after the other, with what that takes opened once. Raises StorageError."""
    with Archive.open(home) as archive:
        async with AsyncExitStack() as stack:
            omega = None
            try:
                omega = await stack.enter_async_context(Omega.open(home))
            except StorageError as error:
                if error.code != "OMG-S001":
                    raise
            yield Decider(home, archive, omega)


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides about executions. `omega` is an engine of this process, None while another one works in the folder."""

    home: str | os.PathLike[str] | None
    archive: Archive
    omega: Omega | None

    async def decide(self, execution: str, verb: str, body: Mapping[str, Any]) -> Decided:
        """See `decide`."""
        archive = self.archive
        checked, step = _checked(archive, execution, verb, dict(body))
        before = _count(archive, execution, verb)
        if self.omega is not None:
            through = await _directly(self.omega, archive, execution, verb, checked)
        else:
            through = await _by_letter(archive, self.home, execution, verb, checked)
        recorded = await _until(lambda: _count(archive, execution, verb) > before, PATIENCE_S if through else 0.0)
        line = archive.reader.line(execution)
        status, queue = (line.status, line.queue) if line is not None else ("", "")
        return Decided(execution, verb, step, _person(archive, execution, verb), through or LIVE, recorded, status, queue)


async def _directly(omega: Omega, archive: Archive, execution: str, verb: str, body: dict[str, Any]) -> str:
    """Decide in this process, unless another engine has the execution in hand: then by a letter to it, which this one answers when that
    engine turns out to be gone. Gives who did it, empty when nobody has yet."""
    number = await omega.decide_anywhere(execution, verb, body, omega.scope())
    if not number:
        return HERE
    return LIVE if await _until(lambda: _settled(archive, number), PATIENCE_S) else ""


def _checked(archive: Archive, execution: str, verb: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The body with the exact position of its step, and that step as people type it."""
    past, _, _ = load(archive.world, execution)
    if past.finished is not None:
        raise InputError("OMG-I005", f"{execution} has ended")
    if verb == "signal" and not 0 < len(str(body.get("name", ""))) <= MAX_NAME:
        raise InputError("OMG-I001", f"a signal needs a name of 1 to {MAX_NAME} characters")
    if verb not in ("approve", "answer", "resolve"):
        return body, ""
    found = _step(past, str(body.get("step", "")), verb, f"person:{archive.settings.person}")
    return body | {"step": found}, shown(found)


def _step(past: Past, text: str, verb: str, person: str) -> str:
    if verb == "approve":
        found = one_step(past, text, past.waits(), "waits for an approval")
        known = f"{person}#{asked_role(found.waiting)}" if found.waiting is not None else ""
        if any(note.by == known for note in found.approvals):
            raise InputError("OMG-I005", f"{shown(found.position)} is approved already by {known}", advice="omega resume ID")
        return found.position
    if verb == "answer":
        return one_step(past, text, past.questions(), "waits for an answer").position
    return one_step(past, text, past.doubts(), "is in doubt").position


async def _by_letter(archive: Archive, home: str | os.PathLike[str] | None, execution: str, verb: str, body: dict[str, Any]) -> str:
    """Leave the letter and wait until it is settled; gives by whom, empty when nobody has come to it yet."""
    now = archive.world.clock.now_us()
    scope = archive.identity.authority.verify(archive.identity.passport("", now_us=now), now=now / 1_000_000)
    letter = written(archive.world, scope, execution, verb, body)
    with open_mailbox(archive.settings) as mailbox:
        number = mailbox.post(execution, verb, letter, now)

    def settled() -> bool:
        return _settled(archive, number)

    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        if await _until(settled, REOPEN_S):
            return LIVE
        if archive.live():
            continue
        try:
            async with Omega.open(home):  # the engine has gone: this one reads the letters that are left
                if await _until(settled, PATIENCE_S):
                    return HERE
        except StorageError as error:
            if error.code != "OMG-S001":
                raise
    return ""


def _settled(archive: Archive, number: int) -> bool:
    return not any(letter.number == number for letter in archive.reader.letters(number - 1))


async def _until(holds: Callable[[], bool], patience_s: float) -> bool:
    """Whether `holds` came true in time."""
    give_up = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() >= give_up:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _person(archive: Archive, execution: str, verb: str) -> str:
    """Who decided last, as the journal has it; the person at the keyboard where it does not say yet."""
    notes = [decode_meta(row) for row in archive.reader.rows(execution) if row.kind in _KINDS[verb]]
    said = [note.by for note in notes if isinstance(note, Note) and note.by]
    return said[-1] if said else f"person:{archive.settings.person}"


def _count(archive: Archive, execution: str, verb: str) -> int:
    return sum(row.kind in _KINDS[verb] for row in archive.reader.rows(execution))
