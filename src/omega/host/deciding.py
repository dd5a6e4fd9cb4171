"""Deciding about an execution from outside: directly when no engine works in the folder, else by a letter to the one that does.

Either way the execution and the step are looked up first, so that the same mistake gets the same error. A letter is settled once the engine
has carried it out; what it changed is then read from the journal.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omega.adapters.sqlite import SqliteInbox
from omega.host.embedded import Omega
from omega.host.reading import Archive
from omega.kernel.errors import InputError, StorageError
from omega.kernel.journal import Kind, Note, decode_meta
from omega.kernel.past import Past
from omega.kernel.trail import shown
from omega.runtime.decisions import MAX_NAME, one_step
from omega.runtime.recovery import load

PATIENCE_S = 10.0
"""How long a letter is waited for. It is not lost afterwards: the engine reads it when it can."""
POLL_S = 0.05
REOPEN_S = 0.5
"""How often, meanwhile, it is tried whether the engine has gone."""

_KINDS = {"approve": Kind.APPROVED, "resolve": Kind.RESOLVED, "signal": Kind.SIGNAL, "cancel": Kind.FINISHED}


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


async def decide(home: str | os.PathLike[str] | None, execution: str, verb: str, body: Mapping[str, Any]) -> Decided:
    """Cancel, approve, resolve or signal `execution`.

    Raises InputError: OMG-I003 unknown execution, OMG-I004 unknown or ambiguous step, OMG-I005 nothing to decide, OMG-I001 a signal
    without a name; Denied (OMG-W007) when this person may not; StorageError.
    """
    with Archive.open(home) as archive:
        body, step = _checked(archive, execution, verb, dict(body))
        before = _count(archive, execution, verb)
        try:
            async with Omega.open(home) as omega:
                await omega.decide(execution, verb, body)
            through = "this process"
        except StorageError as error:
            if error.code != "OMG-S001":
                raise
            through = await _by_letter(archive, home, execution, verb, body)
        recorded = await _until(lambda: _count(archive, execution, verb) > before, PATIENCE_S if through else 0.0)
        line = archive.reader.line(execution)
        status = line.status if line is not None else ""
        return Decided(execution, verb, step, _person(archive, execution, verb), through or "the live engine", recorded, status)


def _checked(archive: Archive, execution: str, verb: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The body with the exact position of its step, and that step as people type it."""
    past, _, _ = load(archive.world, execution)
    if past.finished is not None:
        raise InputError("OMG-I005", f"{execution} has ended")
    if verb == "signal" and not 0 < len(str(body.get("name", ""))) <= MAX_NAME:
        raise InputError("OMG-I001", f"a signal needs a name of 1 to {MAX_NAME} characters")
    if verb not in ("approve", "resolve"):
        return body, ""
    found = _step(past, str(body.get("step", "")), verb, f"person:{archive.settings.person}")
    return body | {"step": found}, shown(found)


def _step(past: Past, text: str, verb: str, person: str) -> str:
    if verb == "approve":
        found = one_step(past, text, past.waits(), "waits for an approval")
        known = next((note.by for note in found.approvals if note.by.partition("#")[0] == person), "")
        if known:
            raise InputError("OMG-I005", f"{shown(found.position)} is approved already by {known}", advice="omega resume ID")
        return found.position
    return one_step(past, text, past.doubts(), "is in doubt").position


async def _by_letter(archive: Archive, home: str | os.PathLike[str] | None, execution: str, verb: str, body: dict[str, Any]) -> str:
    """Leave the letter and wait until it is settled; gives by whom, empty when nobody has come to it yet."""
    with SqliteInbox.open(archive.settings.home) as inbox:
        number = inbox.post(execution, verb, body, archive.world.clock.now_us())

    def settled() -> bool:
        return not any(letter.number == number for letter in archive.reader.letters(number - 1))

    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        if await _until(settled, REOPEN_S):
            return "the live engine"
        if archive.live():
            continue
        try:
            async with Omega.open(home):  # the engine has gone: this one reads the letters that are left
                if await _until(settled, PATIENCE_S):
                    return "this process"
        except StorageError as error:
            if error.code != "OMG-S001":
                raise
    return ""


async def _until(holds: Callable[[], bool], patience_s: float) -> bool:
    """Whether `holds` came true in time."""
    give_up = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() >= give_up:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _person(archive: Archive, execution: str, verb: str) -> str:
    """Who decided last, as the journal has it; the person at the keyboard where it does not say, for letters are theirs."""
    wanted = (_KINDS[verb], Kind.CANCEL) if verb == "cancel" else (_KINDS[verb],)
    notes = [decode_meta(row) for row in archive.reader.rows(execution) if row.kind in wanted]
    said = [note.by for note in notes if isinstance(note, Note) and note.by]
    return said[-1] if said else f"person:{archive.settings.person}"


def _count(archive: Archive, execution: str, verb: str) -> int:
    return sum(row.kind == _KINDS[verb] for row in archive.reader.rows(execution))
