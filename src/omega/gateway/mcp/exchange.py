"""One POST of the MCP entrance and its answer: a body, or an event stream once something was said before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from omega.gateway.front.core import AsgiScope, Receive, Send, Visitor
from omega.gateway.front.request import Arrival, reply
from omega.gateway.mcp.guests import Stream
from omega.kernel.errors import Denied
from omega.wire.jsonrpc import INVALID_REQUEST, Incoming, ProtocolFault, answer, refusal
from omega.wire.problem import CHALLENGE

METADATA: Final = "/.well-known/oauth-protected-resource"
"""Where a client learns how to get a passport (RFC 9728)."""


class Exchange:
    """A request under way: what came, from whom, and the way back."""

    __slots__ = ("arrival", "message", "receive", "scope", "send", "stream", "streams", "visitor")

    def __init__(
        self,
        scope: AsgiScope,
        arrival: Arrival,
        receive: Receive,
        send: Send,
        visitor: Visitor,
        message: Incoming,
        *,
        streams: bool,
    ) -> None:
        self.scope, self.arrival, self.receive, self.send = scope, arrival, receive, send
        self.visitor, self.message, self.streams = visitor, message, streams
        self.stream = Stream(send)

    async def answer(self, result: Mapping[str, Any], headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """The result. A value that JSON cannot hold is a fault of whoever made it, told as such."""
        assert self.message.id is not None  # noqa: S101 - notifications are never answered
        try:
            body = answer(self.message.id, result)
        except (TypeError, ValueError, msgspec.EncodeError):
            body = refusal(self.message.id, -32603, "the result is not JSON")
        await self._out(body, 200, headers)

    async def refuse(self, fault: ProtocolFault, *, status: int) -> None:
        """An error."""
        await self._out(refusal(self.message.id, fault.code, fault.message, fault.data), status, None)

    async def _out(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]] | None) -> None:
        if self.stream.open:
            await self.stream.put(body)
            await self.stream.raw(b"", last=True)
        else:
            await reply(self.send, status, body, headers=headers)


async def gone(receive: Receive) -> None:
    """Until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        continue


async def refuse(send: Send, fault: ProtocolFault, *, status: int) -> None:
    """An error, before there is anything else to say."""
    await reply(send, status, refusal(fault.id, fault.code, fault.message, fault.data))


async def challenge(send: Send, refused: Denied, arrival: Arrival) -> None:
    """Tell a client without a good passport where to get one (RFC 9728, 5.1): each virtual server is a resource of its own."""
    where = f'{CHALLENGE}, resource_metadata="{arrival.base}{METADATA}{arrival.path.rstrip("/")}"'
    body = refusal(None, INVALID_REQUEST, refused.cause, {"code": refused.code, "advice": refused.advice})
    await reply(send, 401, body, headers=[(b"www-authenticate", where.encode("latin-1", "replace"))])
