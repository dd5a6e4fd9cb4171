"""Credentials that are refused: counted by address and minute, braked, and told in the installation's own log.

    count    each passport, key, code or certificate that is no good, under the address that it came from (IPv6: its /64, which is one
             subscriber's). Nothing of what was shown is kept. Whoever shows nothing is not counted: that is how clients ask what to show
    brake    after MOST_A_MINUTE of them what is wrong is answered with "too many requests" until the minute is over. A good credential is
             let in all the same, so nobody is shut out by whoever guesses behind the same address: passports and keys are too long to be
             guessed. A code of a second factor is not, so a sign-in with one is then refused without a look
    tell     one entry for each address, once the minute is over; of many addresses the MAX_TOLD with the most, the others together in one

Each process counts for itself, in bounded memory: a flood from ever new addresses lands in one count of the others.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.errors import Denied, OmegaError

MINUTE_S = 60
MOST_A_MINUTE = 120
"""Most credentials that are refused to one address in a minute before it is braked: a client that is wrongly set up asks less often."""

MAX_ADDRESSES = 4_096
"""Most addresses that are counted apart in one minute."""

MAX_TOLD = 16
"""Most addresses of one minute that have an entry of their own."""

OTHERS = "others"
"""What the addresses that have no count or no entry of their own are called."""

LOOK_S = 5.0
"""How often it is looked whether a minute is over, in seconds."""

_UNPROVEN = "OMG-T0"
_SUBSCRIBER = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused in one minute: to which address, how many credentials, and from when on (Unix seconds)."""

    address: str
    count: int
    minute_s: int
    addresses: int = 1


@dataclass(slots=True)
class Guesses:
    """The counts of one process; `most` a minute and address are answered as what they are."""

    most: int = MOST_A_MINUTE
    _counts: dict[int, dict[str, int]] = field(default_factory=dict)

    @contextmanager
    def counted(self, address: str, now_s: float, *, every: bool = False) -> Iterator[None]:
        """Count what is refused inside; with `every`, whatever fails there. Raises Denied (OMG-G007) in its place, past the limit."""
        try:
            yield
        except OmegaError as error:
            if every or (isinstance(error, Denied) and error.code.startswith(_UNPROVEN)):
                self._count(address, now_s)
            raise

    def demand(self, address: str, now_s: float) -> None:
        """Raise Denied (OMG-G007) where an address is braked: before something is looked at that could be guessed."""
        minute = _minute(now_s)
        if self._counts.get(minute, {}).get(subscriber_of(address), 0) >= self.most:
            cause = f"{self.most} credentials from this address were refused within a minute"
            advice = "wait as long as the header `retry-after` says, then show a passport or an API key that counts here"
            raise Denied("OMG-G007", cause, advice=advice, details={"retry_after_s": max(1, math.ceil(minute + MINUTE_S - now_s))})

    def ended(self, now_s: float) -> list[Refused]:
        """What is to be told of the minutes that are over at `now_s`; it is forgotten here."""
        found = []
        for minute in sorted(each for each in self._counts if each + MINUTE_S <= now_s):
            counts = self._counts.pop(minute)
            rest = counts.pop(OTHERS, 0)
            ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            found += [Refused(address, count, minute) for address, count in ranked[:MAX_TOLD]]
            left = ranked[MAX_TOLD:]
            if rest or left:
                found.append(Refused(OTHERS, rest + sum(count for _, count in left), minute, len(left) + bool(rest)))
        return found

    def _count(self, address: str, now_s: float) -> None:
        counts = self._counts.setdefault(_minute(now_s), {})
        place = subscriber_of(address)
        kept = place if place in counts or len(counts) < MAX_ADDRESSES else OTHERS
        counts[kept] = counts.get(kept, 0) + 1
        if counts[kept] > self.most:
            self.demand(address, now_s)


def _minute(now_s: float) -> int:
    return int(now_s // MINUTE_S) * MINUTE_S


def subscriber_of(address: str) -> str:
    """What an address is counted as: itself, and of IPv6 its /64, in which one subscriber has more addresses than could be counted."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return OTHERS
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else known
    if mapped is not None or known.is_loopback:
        return str(mapped or known)
    return str(ipaddress.ip_network((int(known), _SUBSCRIBER), strict=False))


@flow(name="refused_credentials", effect="pure")
async def refused_credentials(ctx: Context, told: dict[str, Any]) -> int:
    """Credentials were refused to an address: `count` of them in the minute from `minute_s` on (Unix seconds)."""
    return int(told["count"])


@flow(name="guessed_credentials", effect="pure")
async def guessed_credentials(ctx: Context, told: dict[str, Any]) -> int:
    """So many were refused to an address that it was braked: `count` of them in the minute from `minute_s` on (Unix seconds)."""
    return int(told["count"])
