"""How a client proves who it is: a passport, or an API key that is exchanged for passports as they are needed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from omega.client.failures import unreachable

EARLY_S: Final = 30.0
"""Seconds before its end from which a passport is no longer used: a call begun with it must not find it over."""

RENEW_S: Final = 300.0
"""Seconds before its end from which a passport is changed for a newer one."""

Exchanging = Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Posts a form to the token endpoint of the installation and gives its answer. Raises OmegaError."""


class Credentials(Protocol):
    """What stands behind a client."""

    async def token(self, exchange: Exchanging) -> str:
        """The bearer token of the next request; empty for none. Raises OmegaError."""
        ...

    def refused(self) -> bool:
        """The token was refused: whether another one can be had."""
        ...


Renewed = Callable[[str, float], None]
"""Is told each new passport and when it ends (Unix seconds), so that it can be kept."""


@dataclass(slots=True)
class Passport:
    """A passport. One that says when it ends is changed for a newer one towards its end (RFC 6749, 6: it is its own refresh token)."""

    text: str = field(repr=False)
    renewed: Renewed | None = None

    async def token(self, exchange: Exchanging) -> str:
        """See `Credentials`."""
        until_s = ends(self.text)
        if 0 < until_s - time.time() < RENEW_S:
            answer = await exchange({"grant_type": "refresh_token", "refresh_token": self.text})
            self.text, until_s = _given(answer)
            if self.renewed is not None:
                self.renewed(self.text, until_s)
        return self.text

    def refused(self) -> bool:
        """A passport that is refused gives no other."""
        return False


@dataclass(slots=True)
class ApiKey:
    """An API key (`omk_...`), shown to the token endpoint alone (RFC 6749, 4.4); requests carry the short-lived passports it gives.

    `passport` is one that was kept, and ends at `until_s` (Unix seconds).
    """

    key: str = field(repr=False)
    passport: str = field(default="", repr=False)
    until_s: float = 0.0
    renewed: Renewed | None = None

    async def token(self, exchange: Exchanging) -> str:
        """See `Credentials`."""
        if self.passport and time.time() < self.until_s - EARLY_S:
            return self.passport
        self.passport, self.until_s = _given(await exchange({"grant_type": "client_credentials", "client_secret": self.key}))
        if self.renewed is not None:
            self.renewed(self.passport, self.until_s)
        return self.passport

    def refused(self) -> bool:
        """The passport was refused, perhaps revoked: the key may give another, once."""
        had, self.passport = bool(self.passport), ""
        return had


@dataclass(slots=True)
class Nobody:
    """No credentials: only what anybody may see."""

    async def token(self, exchange: Exchanging) -> str:
        """See `Credentials`."""
        return ""

    def refused(self) -> bool:
        """There is nothing else to show."""
        return False


def ends(passport: str) -> float:
    """When a passport says that it ends, in Unix seconds; 0 when it does not say. Nobody has verified that: it only says when to renew."""
    try:
        part = passport.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0.0


def _given(answer: Mapping[str, Any]) -> tuple[str, float]:
    """The passport in an answer of the token endpoint, and when it ends. Raises UpstreamError (OMG-X010) when there is none."""
    passport, lasts_s = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(passport, str) or not isinstance(lasts_s, (int, float)):
        raise unreachable("gave no passport")
    return passport, time.time() + lasts_s
