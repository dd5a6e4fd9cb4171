"""What an execution that does not run waits for: a clock or a child, which come by themselves, or somebody; or why it was given up."""

from __future__ import annotations

from omega.host.reading import Archive
from omega.kernel.errors import CODES, OmegaError
from omega.kernel.journal import Kind, Note, Status, decode_meta
from omega.kernel.past import TIMED
from omega.kernel.ports import Line

UNKNOWN = "the worker was lost each time"


def stands(archive: Archive, execution: str) -> bool:
    """Whether nothing more happens to `execution` by itself: it ended, is in doubt or dead, or waits for somebody."""
    line = archive.reader.line(execution)
    status = Status(line.status) if line is not None else Status.QUEUED
    if status.ended or status in (Status.IN_DOUBT, Status.DEAD):
        return True
    if line is None or status is not Status.WAITING or line.due_us:
        return False
    last = _last_pause(archive, execution)
    return last is None or last.text not in TIMED


def reason_of(archive: Archive, line: Line) -> str:
    """Why `line` was given up: what its last PAUSED row says, as a sentence without anything sealed in it."""
    try:
        note = _last_pause(archive, line.execution)
    except OmegaError as error:
        return f"{error.code} {error.cause}"
    if note is None:
        return UNKNOWN
    code = str(note.error.get("code", "")) if note.error is not None else note.text
    return f"{code} {CODES[code].title}" if code in CODES else code or UNKNOWN


def _last_pause(archive: Archive, execution: str) -> Note | None:
    rows = [row for row in archive.reader.rows(execution) if row.kind == Kind.PAUSED]
    found = decode_meta(rows[-1]) if rows else None
    return found if isinstance(found, Note) else None
