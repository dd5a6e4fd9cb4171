"""Passports at hand: a caller's passport serves the calls of the next moments too, as any short-lived token does until it is refreshed.

Signing and verifying one takes longer than many a flow. What is shared is also revoked together: a passport stands for at most
REUSE_US of one caller's calls.
"""

from __future__ import annotations

from collections.abc import Callable

from omega.host.identity import Caller

REUSE_US = 60_000_000
"""How long a passport is handed out again, in microseconds: far below its own life."""

MAX_CALLERS = 256
"""Most callers whose passport is at hand; past it all are forgotten."""


class Wallet:
    """Hands out passports that `issue` (caller, now in Unix microseconds) makes."""

    def __init__(self, issue: Callable[[Caller | str, int], str]) -> None:
        self._issue = issue
        self._held: dict[Caller | str, tuple[int, str]] = {}

    def passport(self, caller: Caller | str, now_us: int) -> str:
        """The passport of `caller` that is at hand, else a new one. Raises InputError (OMG-X001) for who cannot be a caller."""
        held = self._held.get(caller)
        if held is not None and 0 <= now_us - held[0] < REUSE_US:
            return held[1]
        if len(self._held) >= MAX_CALLERS:
            self._held.clear()
        made = self._issue(caller, now_us)
        self._held[caller] = (now_us, made)
        return made

    def forget(self) -> None:
        """Hand out none of them again: one of them may have been revoked."""
        self._held.clear()
