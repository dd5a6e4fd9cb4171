"""Where an execution is: the trail of one branch, which gives each step its position (see `omega.kernel.journal`)."""

from __future__ import annotations

import re
from typing import Any

from omega.kernel.errors import FlowError, OmegaError
from omega.kernel.journal import MAX_POSITION
from omega.kernel.types import Type

Stored = tuple[Any, bytes, bytes, Type]
"""A value at hand, with the bytes that were stored of it, their commitment, and its type."""


class Trail:
    """One branch: its path, how often each name occurred in it, and how many recorded steps of it were met again.

    `owner` is the task that may make steps here (the runtime's concern), `last` the value at hand with its stored bytes,
    commitment and type, so that a step need not encode again what the step before it has just stored. `stop`, where it is set, is
    raised in place of anything new here and in every branch below: what is recorded is still walked over. `whole` tells that a touch
    made here is seen to its end even when cancelled, and its result counts: whoever would undo it has to know of it.
    """

    __slots__ = ("cursor", "last", "owner", "path", "seen", "stop", "whole")

    def __init__(self, path: str = "", owner: Any = None, stop: OmegaError | None = None, whole: bool = False) -> None:
        self.path = path
        self.seen: dict[str, int] = {}
        self.cursor = 0
        self.owner = owner
        self.last: Stored | None = None
        self.stop = stop
        self.whole = whole

    def step(self, name: str) -> str:
        """The position of the next step called `name` in this branch."""
        count = self.seen.get(name, 0) + 1
        self.seen[name] = count
        name = name.replace("/", ":")
        position = f"{self.path}/{name}" if self.path else name
        if count > 1:
            position = f"{position}#{count}"
        if len(position) > MAX_POSITION:
            raise FlowError("OMG-R016", f"flows are nested too deep at {position[:80]}...")
        return position

    def inside(self, position: str, owner: Any = None) -> Trail:
        """The branch of the steps that the flow at `position` makes itself."""
        return Trail(position, owner or self.owner, self.stop, self.whole)

    def branch(self, position: str, index: int, owner: Any = None) -> Trail:
        """The `index`-th branch that the combinator at `position` opens."""
        return Trail(f"{position}.{index}", owner or self.owner, self.stop, self.whole)

    def aside(self, label: str) -> Trail:
        """A branch beside this one, for work that may be cut short or done again without shifting the steps that follow.

        Its path is this path with `~label`; `shown` takes such marks out again for people.
        """
        key = f"~{label}"
        count = self.seen.get(key, 0) + 1
        self.seen[key] = count
        mark = f"{self.path}~{label.replace('/', ':')}"
        return Trail(f"{mark}#{count}" if count > 1 else mark, self.owner, self.stop, self.whole)


_MARKS = re.compile(r"~[^/]*")


def shown(position: str) -> str:
    """A position as people read and type it: without the marks of retries, time limits and caches."""
    return _MARKS.sub("", position).lstrip("/")
