"""When a request is made again, and after how long. Pure but for the chance that is handed in.

Every request that changes something carries an idempotency key, so a repeat gives the recorded outcome instead of a second one: what is
retried is only ever the way there, or a refusal that says that nothing was begun.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from omega.kernel.errors import OmegaError

PASSING: Final = frozenset({"OMG-G005", "OMG-G007", "OMG-G008", "OMG-R009", "OMG-R016", "OMG-S001", "OMG-S004", "OMG-S006"})
"""Codes that say: not now; or that another process has the execution by now, whose outcome the same key finds."""

STATUSES: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses of something between client and installation that say the same (RFC 9110; 425 is RFC 8470)."""

LONGEST_WAIT_S: Final = 120.0
"""A server that asks for a longer wait than this is not waited for: the caller is told instead."""

_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """At most `times` repeats; the wait before the n-th is a random part of `first_s` times 2 to the n-1, at most `longest_s`."""

    times: int = 4
    first_s: float = 0.2
    longest_s: float = 10.0

    def wait_s(self, repeat: int, chance: float, asked_s: float | None) -> float:
        """Seconds before repeat number `repeat` (from 1): what the server asked for, or "full jitter" (so that many clients spread out)."""
        if asked_s is not None:
            return asked_s + chance * self.first_s
        return chance * min(self.longest_s, self.first_s * 2.0 ** (repeat - 1))


NEVER: Final = Retry(times=0)


def passes(error: OmegaError) -> bool:
    """Whether the same request may well succeed a little later."""
    if error.code in PASSING:
        return True
    return error.code == "OMG-X010" and error.details.get("status", 503) in STATUSES


def asked_wait(header: str, now: Callable[[], float]) -> float | None:
    """What a Retry-After header asks for, in seconds: a number, or a date (RFC 9110, 10.2.3). None when it says nothing usable."""
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if not text:
        return None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (TypeError, ValueError):
        return None
