"""Cancelling: an execution, and everything it started, wherever it runs or stands.

    runs here               its tasks are cancelled; what is undoable is undone; then it ends as cancelled
    stands still, queued    ended at once; one that has begun undoable work is taken up once more, to undo it (CANCEL row, due now)
    runs elsewhere          its engine is asked to, by letter

Children are cancelled before their parent's end is written: after a crash in between, the parent is cancelled again, and they with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from omega.kernel.errors import FlowError, OmegaError, StorageError
from omega.kernel.ids import LETTER, new_id
from omega.kernel.journal import Kind, Note, Status, decode_meta
from omega.kernel.past import Past
from omega.kernel.ports import NEVER, Head, Line, Search
from omega.runtime.book import Book
from omega.runtime.recovery import load
from omega.runtime.world import World
from omega.trust.letter import LIFE_S, Contents, seal

PAGE = 500
"""Children looked up at a time."""

STANDING = tuple(status.value for status in Status if not status.ended)
"""The statuses of what can still be cancelled."""


class Cancelling(Protocol):
    """The engine, as far as cancelling needs it."""

    world: World

    def cancel(self, execution: str, by: str) -> bool: ...

    def book_of(self, execution: str) -> tuple[Book, Past] | None: ...

    async def hint(self, *executions: str) -> None: ...


async def cancel(engine: Cancelling, execution: str, by: str) -> None:
    """Cancel `execution` and its children for the person `by`, who may; by letter what runs elsewhere, which is a child then.

    Raises InputError (OMG-I003), StorageError (OMG-R010 while it runs elsewhere and no letter can be sent).
    """
    world = engine.world
    try:
        await cancel_here(engine, execution, by)
    except StorageError as error:
        line = world.reader.line(execution)
        if error.code != "OMG-R010" or world.inbox is None or line is None or not line.parent:
            raise
        world.inbox.post(execution, "cancel", _letter(world, line, by), world.clock.now_us())


async def cancel_here(engine: Cancelling, execution: str, by: str) -> None:
    """Cancel `execution` in this engine. Raises InputError (OMG-I003), StorageError (OMG-R010 while another one has it in hand)."""
    world = engine.world
    live = engine.book_of(execution)
    if live is not None:
        await cancel_live(engine, *live, by)
        return
    line = world.reader.line(execution)
    if line is not None and Status(line.status).ended:
        return
    now = world.clock.now_us()
    epoch = await world.store.claim(execution, owner=world.owner, lease_us=now + world.lease_us, now_us=now)
    past, book, _ = load(world, execution)
    book.epoch = epoch
    await cancel_standing(engine, book, past, by)


async def cancel_live(engine: Cancelling, book: Book, past: Past, by: str) -> None:
    """Cancel what runs in this engine. Where something is to be undone, that it was cancelled is on disk first."""
    if past.undoable:
        await _record(engine.world, book, by)
    engine.cancel(book.execution, by)


async def cancel_standing(engine: Cancelling, book: Book, past: Past, by: str) -> None:
    """Cancel what was just claimed: end it, or let it be taken up to undo what it did."""
    world = engine.world
    line = world.reader.line(book.execution)
    await cancel_children(engine, book.execution, by)
    if past.undoable:
        await _record(world, book, by, line=line)
        await engine.hint(book.execution)
        return
    now = world.clock.now_us()
    error = FlowError("OMG-R005", f"cancelled by {by}")
    rows = (
        book.row(Kind.CANCEL, "", Note(by=by, at_us=now)),
        book.row(Kind.FINISHED, "", Note(by=by, at_us=now, status=Status.CANCELLED), json.dumps(error.record()).encode()),
    )
    leaf = book.leaf("cancel", at_us=now, status=Status.CANCELLED, reason=f"by {by}")
    wake = (line.parent,) if line is not None and line.parent else ()
    await book.commit(*rows, leaves=(leaf,), head=Head(status=Status.CANCELLED, at_us=now), wake=wake)
    await engine.hint(*wake)


async def cancel_children(engine: Cancelling, execution: str, by: str) -> None:
    """Cancel every child of `execution` that has not ended. One that cannot be reached is left: it is cancelled when it is next met."""
    for line in children_of(engine.world, execution):
        with suppress(OmegaError):
            await cancel(engine, line.execution, by)


def children_of(world: World, execution: str) -> Iterator[Line]:
    """The children of `execution` that have not ended."""
    page = Search(parent=execution, status=STANDING, limit=PAGE)
    while True:
        found = world.reader.search(page)
        yield from found
        if len(found) < PAGE:
            return
        page = Search(parent=execution, status=STANDING, limit=PAGE, older_than=found[-1].execution)


def cancelled_by(past: Past) -> str:
    """Who cancelled an execution that is still to undo what it did; empty when nobody has."""
    note = None if past.cancelled is None else decode_meta(past.cancelled)
    return note.by if isinstance(note, Note) else ""


def _letter(world: World, child: Line, by: str) -> dict[str, Any]:
    """The letter by which a parent calls off its child, decided by `by` about the parent (see `omega.trust.letter`)."""
    now = world.clock.now_us()
    contents = Contents(
        id=new_id(LETTER, now_ms=now // 1_000, entropy=world.entropy.take(10)),
        body={},
        until_s=now // 1_000_000 + LIFE_S,
        parent=child.parent,
        by=by,
    )
    return seal(contents, execution=child.execution, verb="cancel", keyring=world.keyring)


async def _record(world: World, book: Book, by: str, *, line: Line | None = None) -> None:
    now = world.clock.now_us()
    row = book.row(Kind.CANCEL, "", Note(by=by, at_us=now))
    leaf = book.leaf("cancel", at_us=now, status="undoing", reason=f"by {by}")
    head = None
    if line is not None:
        queued = bool(line.queue)
        head = Head(status=Status.QUEUED if queued else Status.WAITING, at_us=now, due_us=now if queued else NEVER)
    await book.commit(row, leaves=(leaf,), head=head)
