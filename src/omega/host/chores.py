"""What a process does beside its work, for ever: reading letters, keeping leases, firing schedules, delivering, clearing up.

    running --error--> failing --pause, longer each time--> running --WELL_S without an error--> well

No chore ends because of an error, and none ends unseen: what was not expected is logged with its kind and place (never its text, which may
hold values), and the chore is begun anew. A store that is away is nothing unexpected: whoever owns the store notices it by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from omega.kernel.errors import OmegaError, StorageError

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0
"""How long (seconds) a chore that failed waits before it begins anew: doubled each time."""

WELL_S: Final = 120.0
"""A chore that has gone on for so long (seconds) since its last error is well again."""

Chore = Callable[[], Awaitable[None]]

log = logging.getLogger("omega.host")


@dataclass(frozen=True, slots=True)
class Failure:
    """The last error of a chore: its code, or its kind and place; how often it failed in a row; when (monotonic seconds)."""

    what: str
    times: int
    at_s: float


class Chores:
    """The chores of one process, and which of them fail."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, Failure] = {}

    def failing(self) -> dict[str, str]:
        """Chores that failed lately, with what was wrong, by name."""
        now = self._clock()
        return {name: found.what for name, found in sorted(self._failures.items()) if now - found.at_s < WELL_S}

    async def keep(self, name: str, chore: Chore) -> None:
        """Do `chore` until it returns, or this is cancelled; begin it anew after an error."""
        while True:
            try:
                await chore()
                return
            except Exception as error:  # noqa: BLE001 - whatever it is: told, and the chore goes on
                pause_s = self._failed(name, error)
            await asyncio.sleep(pause_s)

    def _failed(self, name: str, error: Exception) -> float:
        """Note and tell an error; gives how long to pause."""
        now, before = self._clock(), self._failures.get(name)
        times = before.times + 1 if before is not None and now - before.at_s < WELL_S else 1
        self._failures[name] = Failure(what_of(error), times, now)
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(times - 1, 30))
        level = logging.DEBUG if isinstance(error, StorageError) else logging.ERROR
        log.log(level, "the chore %s failed (%s), and begins anew in %g s", name, what_of(error), pause_s)
        return pause_s


def what_of(error: Exception) -> str:
    """What is told of an error: its code; of one that has none its kind and where it was raised."""
    if isinstance(error, OmegaError):
        return error.code
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}{where}"
