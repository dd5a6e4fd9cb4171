"""The older era (2025-11-25 and before): a handshake opens a session, which is nothing but its id; any gateway reads it."""

from __future__ import annotations

from typing import Any, Final

from omega.gateway.front.core import Visitor
from omega.gateway.front.request import reply
from omega.gateway.mcp import sessions
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.exchange import Exchange, refuse
from omega.gateway.mcp.guests import Guest, bound
from omega.gateway.mcp.handling import CAPABILITIES, Handling
from omega.gateway.mcp.standing import Standing
from omega.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, Id, ProtocolFault
from omega.wire.mcp.eras import LEVELS, Era, negotiated

MAX_LEVELS: Final = 10_000
"""Sessions whose wish for log messages is remembered here."""

_OLD_ONLY: Final = ("resultType", "ttlMs", "cacheScope")
"""What results of the newer era have beside those of the older one."""


class Older:
    """Answers requests of the older era."""

    def __init__(self, handling: Handling) -> None:
        self._handling = handling
        self._running: dict[tuple[str, Id], Guest] = {}
        self._levels: dict[str, str] = {}
        self._standing = Standing(handling.hall)

    async def answer(self, exchange: Exchange, version: str) -> None:
        """Answer one message of revision `version`."""
        message, id = exchange.message, exchange.arrival.header("mcp-session-id")
        if message.method == "initialize" and message.id is not None:
            await self._initialize(exchange)
            return
        session = sessions.read(id) if id else None
        if id and session is None:
            await refuse(
                exchange.send, ProtocolFault(INVALID_REQUEST, "the session is none of this installation", id=message.id), status=404
            )
            return
        if message.is_response or message.id is None:
            await self._heard(exchange, id)
            return
        offered = session.capabilities if session is not None else {}
        era = Era(session.version if session is not None else version, offered, self._levels.get(id, "info"))
        try:
            result = await self._answered(exchange, self._handling.asked(exchange, era, id), id)
        except ProtocolFault as fault:
            await exchange.refuse(fault, status=200)
            return
        await exchange.answer({key: value for key, value in result.items() if key not in _OLD_ONLY})

    async def stand(self, exchange: Exchange) -> None:
        """Answer a GET: the stream on which a session is told of changes. Raises ProtocolFault (INVALID_REQUEST) without a session."""
        id = exchange.arrival.header("mcp-session-id")
        if sessions.read(id) is None:
            fault = ProtocolFault(INVALID_REQUEST, "the session is none of this installation" if id else "a stream belongs to a session")
            await refuse(exchange.send, fault, status=404 if id else 400)
            return
        self._handling.view(exchange)
        await self._standing.stream(exchange, bound(id, exchange.visitor.scope))

    async def _answered(self, exchange: Exchange, asked: Asked, session: str) -> dict[str, Any]:
        method = exchange.message.method
        if method == "ping":
            return {}
        if method == "logging/setLevel":
            level = exchange.message.params.get("level")
            if level not in LEVELS:
                raise ProtocolFault(INVALID_PARAMS, f"a level is one of {', '.join(LEVELS)}")
            self._remember_level(session, str(level))
            return {}
        if method in ("resources/subscribe", "resources/unsubscribe"):
            change = self._standing.subscribe if method == "resources/subscribe" else self._standing.unsubscribe
            return await change(bound(session, asked.visitor.scope), asked, self._handling.lists)
        key = (_caller(session, asked.visitor), asked.id)
        self._running[key] = asked.guest
        try:
            return await self._handling.handled(exchange, asked, watched=False)
        finally:
            self._running.pop(key, None)

    async def _initialize(self, exchange: Exchange) -> None:
        params = exchange.message.params
        session = sessions.opened(negotiated(params.get("protocolVersion")), params.get("capabilities"))
        try:
            asked = self._handling.asked(exchange, Era(session.version, session.capabilities), "")
        except ProtocolFault as fault:
            await exchange.refuse(fault, status=200)
            return
        result = {
            "protocolVersion": session.version,
            "capabilities": {**CAPABILITIES, "logging": {}},
            "serverInfo": self._handling.server,
            "instructions": asked.view.instructions,
        }
        await exchange.answer(result, headers=[(b"mcp-session-id", session.id().encode())])

    async def _heard(self, exchange: Exchange, session: str) -> None:
        """A notification, or the answer to a question: both are taken, and nothing is owed."""
        message = exchange.message
        if message.is_response:
            await self._handling.answered(bound(session, exchange.visitor.scope), message)
        elif message.method == "notifications/cancelled":
            wanted = message.params.get("requestId")
            guest = self._running.get((_caller(session, exchange.visitor), wanted)) if isinstance(wanted, str | int) else None
            if guest is not None:
                await self._handling.cancel(guest, exchange.visitor)
        await reply(exchange.send, 202)

    def _remember_level(self, session: str, level: str) -> None:
        if session:
            self._levels.pop(session, None)
            self._levels[session] = level
            while len(self._levels) > MAX_LEVELS:
                del self._levels[next(iter(self._levels))]


def _caller(session: str, visitor: Visitor) -> str:
    """Whose request an id is: that of a session and of whoever speaks in it, without a session that of one passport. Knowing the id of
    somebody's session is not enough to cancel what runs in it."""
    return bound(session, visitor.scope) or visitor.scope.passport
