"""Families: an execution with its forks and its children, all the way down, and which of them can be erased together. No database here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from omega.adapters.sql.batches import ENDED
from omega.kernel.ports import Erased


class Member(NamedTuple):
    """One execution of a family: `number` is its short name in the database, `above` the status of its parent (empty: none is known)."""

    number: int
    execution: str
    origin: str
    status: str
    above: str


def parted(members: Sequence[Member]) -> tuple[Erased, list[int]]:
    """Which of `members` can be erased now, and their numbers.

    Left is what has not ended, what it rests on as a fork, and what a parent that has not ended has yet to read.
    """
    known = {member.execution: member for member in members}
    left: set[str] = set()
    for member in members:
        if member.status not in ENDED:
            below: Member | None = member
            while below is not None and below.execution not in left:
                left.add(below.execution)
                below = known.get(below.origin)
        elif member.above and member.above not in ENDED:
            left.add(member.execution)
    gone = [member for member in members if member.execution not in left]
    names = tuple(member.execution for member in gone)
    return Erased(gone=names, left=tuple(sorted(left))), [member.number for member in gone]
