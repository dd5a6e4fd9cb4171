"""The newer era (2026-07-28): every request stands for itself, and nothing is kept between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from omega.gateway.front.request import reply
from omega.gateway.mcp import tasks
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.exchange import Exchange
from omega.gateway.mcp.handling import CAPABILITIES, Handling
from omega.gateway.mcp.listening import listen
from omega.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, ProtocolFault
from omega.wire.mcp.eras import HANDSHAKE, HEADER_MISMATCH, MISSING_CAPABILITY, MODERN, TASKS, UNSUPPORTED_VERSION, era_of
from omega.wire.mcp.headers import check_routing
from omega.wire.mcp.results import LIST_TTL_MS, modern

STATUS: Final[Mapping[int, int]] = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    METHOD_NOT_FOUND: 404,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
}
"""HTTP status of an error in the newer era (2026-07-28, "HTTP status codes"); others are answers like any (200)."""


class Newer:
    """Answers requests of the newer era."""

    def __init__(self, handling: Handling) -> None:
        self._handling = handling

    async def answer(self, exchange: Exchange, header: str) -> None:
        """Answer one message; `header` is the revision that its header names. Raises ProtocolFault."""
        message = exchange.message
        if message.is_response:
            raise ProtocolFault(INVALID_REQUEST, "no answer of a client is waited for")
        if message.id is None:
            await reply(exchange.send, 202)
            return
        try:
            era = era_of(message.params, header)
            check_routing(message.method, message.params, exchange.arrival.headers)
            asked = self._handling.asked(exchange, era, "")
            if message.method == "subscriptions/listen":
                await self._listen(exchange, asked)
                return
            if message.method == "server/discover":
                result = self._discovered(asked)
            elif message.method in tasks.METHODS:
                result = await tasks.answer(asked, message.method)
            else:
                result = await self._handling.handled(exchange, asked, watched=True)
        except ProtocolFault as fault:
            await exchange.refuse(fault, status=STATUS.get(fault.code, 200))
            return
        await exchange.answer(modern(result, self._handling.server))

    def _discovered(self, asked: Asked) -> dict[str, Any]:
        return {
            "supportedVersions": [*MODERN, *HANDSHAKE],
            "capabilities": {**CAPABILITIES, "extensions": {TASKS: {}}},
            "instructions": asked.view.instructions,
            "ttlMs": LIST_TTL_MS,
            "cacheScope": "private",
        }

    async def _listen(self, exchange: Exchange, asked: Asked) -> None:
        if not exchange.streams:
            await reply(exchange.send, 406)
            return
        await listen(asked, self._handling.lists, exchange, self._handling.server)
