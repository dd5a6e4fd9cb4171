"""How often one caller may ask: a token bucket for each caller and operation, in this process.

It protects the process from one caller, before anything is admitted; what a tenant may spend is the warden's business and on record.
"""

from __future__ import annotations

from collections import OrderedDict

from omega.kernel.adapt import Pace, Rate
from omega.kernel.errors import Denied
from omega.kernel.scope import Scope

MAX_CALLERS = 20_000
"""Most buckets held; past it the one that was asked for least recently is forgotten, and begins full."""


class Turns:
    """The buckets of one process."""

    def __init__(self) -> None:
        self._paces: OrderedDict[tuple[str, str, str], Pace] = OrderedDict()

    def take(self, operation: str, rate: Rate, scope: Scope, now_us: int) -> None:
        """Take a turn. Raises Denied (OMG-G007) with how long to wait, when there is none now."""
        name = (operation, scope.tenant, scope.principal)
        pace, wait_us = self._paces.get(name, Pace()).take(rate, now_us, 0.0)
        self._paces[name] = pace
        self._paces.move_to_end(name)
        if len(self._paces) > MAX_CALLERS:
            self._paces.popitem(last=False)
        if wait_us:
            seconds = max(1, -(-round(rate.gap_us) // 1_000_000))
            raise Denied("OMG-G007", f"{operation} may be asked for {rate} by one caller", details={"retry_after_s": seconds})
