"""Supervision: what happens to an execution whose workers keep dying.

An execution is taken up again and again when its workers die or lose it. That may be chance, or it may be the execution that kills them;
the journal tells which. A try is *in vain* when the execution was taken up, began, and left not one new durable step: a result, a drawn
value, a timer, a child, a choice, a decision, but neither the note that it was taken up nor an intent. The tries in a row that were in
vain are counted: each further one waits longer, and after `max_tries` of them the execution is *dead*: it stands still, with the reason on
record, until somebody redrives it. One that stands still, ends, is handed back, or got on by a single step is counted anew.

Waiting is not trying. Between two tries the execution belongs to nobody: its line says from when on it is due, its journal that this is a
pause between tries. A worker that dies meanwhile takes nothing with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from omega.kernel.errors import FlowError, InputError, IntegrityError, OmegaError
from omega.kernel.journal import Kind, Note, Row, Status, decode_meta
from omega.kernel.past import Past
from omega.kernel.ports import Taken

MAX_TRIES = 5
"""Tries in a row without a new durable step, after which an execution is dead, unless its worker says otherwise."""

_NO_STEP = frozenset({Kind.INTENT, Kind.PAUSED})
"""Rows that are written again in each try that gets nowhere, beside the one that it was taken up."""

DIVERGED = ("OMG-R014", "OMG-R015")
"""Errors that come again however often an execution is taken up: its flow does not repeat what is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """How a worker takes up again what others left: at most `max_tries` times in a row without getting on, after `backoff_s` seconds the
    second time, each further time `factor` times as long, at most `longest_s`."""

    max_tries: int = MAX_TRIES
    backoff_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_tries < 1 or self.backoff_s < 0 or self.factor < 1 or self.longest_s < 0:
            raise InputError("OMG-I001", "a restart has max_tries and factor from 1, and no negative delay")

    def delay_s(self, tries: int) -> float:
        """Seconds to wait before the try number `tries` (from 1, which does not wait)."""
        return 0.0 if tries < 2 else min(self.longest_s, self.backoff_s * self.factor ** (tries - 2))

    def poisoned(self, execution: str, tries: int) -> FlowError | None:
        """Why `execution` is not run any more, if this would be its try number `tries`; None while it may be tried."""
        if tries <= self.max_tries:
            return None
        cause = f"{execution} was taken up {tries - 1} times in a row, and each time its worker was lost before a single new step"
        return FlowError("OMG-R022", cause, details={"tries": tries - 1, "execution": execution})


def tries_of(taken: Taken, past: Past) -> int:
    """The number of the try that begins with `taken`, from 1: how many in a row, this one included, have left no new step so far.

    The store counts takes since the execution last stood still (`Taken.tries`); epochs count takes since the owner that left the last step.
    Whichever is later began the row. Takes that only began a pause between tries are no tries.
    """
    paused, between = [], False
    last_with_step = 0
    for row in reversed(past.rows):
        if row.kind == Kind.RESUMED:
            epoch = _note(row).value
            if last_with_step:
                last_with_step = epoch
                break
            if between:
                paused.append(epoch)
            between = False
        elif is_between_tries(row):
            between = True
        elif row.kind not in _NO_STEP:
            last_with_step = 1  # the epoch of its maker, unless somebody had taken it up before this row
    since = max(last_with_step, taken.epoch - taken.tries)
    return max(1, taken.epoch - since - sum(epoch > since for epoch in paused))


def has_waited(past: Past) -> bool:
    """Whether the pause before the next try is over: nobody has begun anything since it was written down."""
    return is_between_tries(past.rows[-1])


def is_between_tries(row: Row) -> bool:
    """Whether `row` says that an execution is given back to be tried again later."""
    return row.kind == Kind.PAUSED and _note(row).status == Status.RUNNING


def _note(row: Row) -> Note:
    note = decode_meta(row)
    return note if isinstance(note, Note) else Note()


def is_hopeless(error: OmegaError) -> bool:
    """Whether trying again gives `error` again: what is stored, or the flow, is not what was recorded."""
    return isinstance(error, IntegrityError) or error.code in DIVERGED
