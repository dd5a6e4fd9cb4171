"""Conversations whose token is renewed while they go on: each request carries the newest, also those that open streams.

What a request carried is remembered with the task that sent it (`shown`): of many that are refused at once for the same old token the first
renews it, and the others go on with what it got.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

from omega.adapters.mcp.limits import LAST_WORDS, Limits, quote
from omega.adapters.mcp.obtaining import Tokens
from omega.adapters.mcp.streamable import HttpSession
from omega.adapters.mcp.upstream import Upstream

AUTHORIZATION: Final = "authorization"

shown: ContextVar[str] = ContextVar("omega-token-shown", default="")
"""The token that the last request of this task carried."""


class Renewing(Tokens, Protocol):
    """Tokens of one caller for one server, renewed as they end."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never show in an error."""
        ...

    async def fresh(self) -> None:
        """Renew the token now where it is about to end. Raises UpstreamError (OMG-M011)."""
        ...


class Renewals(Protocol):
    """Who has tokens that can be renewed."""

    def tokens(self, upstream: Upstream, tenant: str, principal: str) -> Renewing | None:
        """Those of that caller for that server; None where its credentials are of another kind."""
        ...


class NoRenewals:
    """Nobody has any."""

    def tokens(self, upstream: Upstream, tenant: str, principal: str) -> Renewing | None:
        """None."""
        return None


class RenewedSession(HttpSession):
    """A conversation with the tokens of one caller."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        limits: Limits,
        secrets: tuple[str, ...],
        *,
        tokens: Renewing,
        older: bool = False,
    ) -> None:
        """`headers` are those besides the token: one that is called Authorization is left out."""
        others = {key: value for key, value in headers.items() if key.lower() != AUTHORIZATION}
        super().__init__(name, url, others, limits, secrets, older=older, tokens=tokens)
        self._renewing = tokens

    def quote(self, text: str, limit: int = LAST_WORDS) -> str:
        """The end of the server's own words, without the secrets it was given, the newest token included."""
        return quote(text, (*self._secrets, *self._renewing.secrets), limit=limit)

    def _own_headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        return {**super()._own_headers(method, params), **self._renewing.headers}
