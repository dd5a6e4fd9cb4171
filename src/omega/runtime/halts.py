"""What an execution stands still for, and until when: several waits of its branches taken as one."""

from __future__ import annotations

from collections.abc import Sequence

from omega.kernel.errors import Suspended
from omega.kernel.past import TIMED
from omega.kernel.ports import NEVER


def due_of(halt: Suspended, deadline: float | None = None) -> int:
    """The moment (Unix microseconds) from which it is worth looking again at what `halt` waits for; NEVER when somebody has to act.

    `deadline` (Unix seconds) runs on while a clock is waited for.
    """
    due = int(halt.details.get("due_us", NEVER))
    if deadline is not None and halt.code in TIMED:
        return min(due, int(deadline * 1_000_000)) if due else int(deadline * 1_000_000)
    return due


def together(halts: Sequence[Suspended]) -> Suspended:
    """Several waits as one: the one that a person has most to do with, due when the first of them all is."""
    told = min(halts, key=lambda halt: (halt.code != "OMG-R006", halt.code in TIMED, halts.index(halt)))
    dues = [due for halt in halts if (due := int(halt.details.get("due_us", NEVER)))]
    if not dues or dues == [told.details.get("due_us")]:
        return told
    return Suspended(told.code, told.cause, advice=told.advice, details=told.details | {"due_us": min(dues)})
