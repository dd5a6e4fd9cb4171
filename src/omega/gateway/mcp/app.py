"""The MCP entrance: streamable HTTP in both eras, on raw ASGI.

    POST /mcp            everything that the caller may see
    POST /mcp/{name}     one virtual server
    GET  either          notices of what changed, for a session of the older era

A request of either era is told by the header MCP-Protocol-Version and, where that is missing, by what its `_meta` says. Nothing is kept
between two requests but lists that may be asked for again: any gateway of an installation serves any of them.

The fast path of `tools/call` is: read, decode, who is calling, look the tool up, one await of the road, encode. A call that takes longer
than `WATCH_S` is watched from then on: a client of the newer era that closes the connection has cancelled it.
"""

from __future__ import annotations

from typing import Final

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send, Visitor
from omega.gateway.front.request import MAX_BODY, Arrival, arrival_of, read_body, reply
from omega.gateway.mcp.exchange import Exchange, challenge, refuse
from omega.gateway.mcp.hall import Hall
from omega.gateway.mcp.handling import PREFIX, Handling
from omega.gateway.mcp.newer import STATUS, Newer
from omega.gateway.mcp.older import Older
from omega.kernel.errors import Denied
from omega.wire.jsonrpc import Incoming, ProtocolFault, decode
from omega.wire.mcp.eras import HANDSHAKE, VERSION_KEY
from omega.wire.mcp.headers import check_single

OLDEST: Final = "2025-03-26"
"""What a request speaks that names no revision (2025-06-18, "Protocol Version Header")."""

NOTHING: Final = Incoming(None, "", {})
"""The message of a request that has none."""


def entrance(core: Core, hall: Hall, version: str) -> Mounted:
    """What answers MCP below `/mcp`; `version` is the one that the server says it has."""
    return Mounted(PREFIX, Application(core, hall, version))


class Application:
    """The ASGI application."""

    def __init__(self, core: Core, hall: Hall, version: str) -> None:
        self._core = core
        handling = Handling(core, hall, version)
        self._newer, self._older = Newer(handling), Older(handling)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrival = arrival_of(scope)
        if arrival.method not in ("GET", "POST"):
            await reply(send, 405, headers=[(b"allow", b"GET, POST")])
            return
        try:
            if arrival.repeated:
                check_single(name.decode("latin-1").lower() for name, _ in scope["headers"])
            await (self._get if arrival.method == "GET" else self._post)(scope, arrival, receive, send)
        except ProtocolFault as fault:
            await refuse(send, fault, status=STATUS.get(fault.code, 400))
        except Denied as refused:
            if refused.code != "OMG-T001":
                raise
            await challenge(send, refused, arrival)

    async def _get(self, scope: AsgiScope, arrival: Arrival, receive: Receive, send: Send) -> None:
        """The standing stream of the older era; the newer one has none."""
        if "text/event-stream" not in arrival.header("accept"):
            await reply(send, 405, headers=[(b"allow", b"POST")])
            return
        visitor = self._visitor(arrival)
        await self._older.stand(Exchange(scope, arrival, receive, send, visitor, NOTHING, streams=True))

    def _visitor(self, arrival: Arrival) -> Visitor:
        return self._core.visitor(arrival.headers, method=arrival.method, url=arrival.url, address=arrival.address, peer=arrival.peer)

    async def _post(self, scope: AsgiScope, arrival: Arrival, receive: Receive, send: Send) -> None:
        kind = arrival.header("content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            await reply(send, 415)
            return
        taken = arrival.header("accept")
        if taken and not any(each in taken for each in ("application/json", "*/*", "application/*")):
            await reply(send, 406)
            return
        body = await read_body(receive, arrival, most=MAX_BODY)
        visitor = self._visitor(arrival)
        message = decode(body)
        exchange = Exchange(scope, arrival, receive, send, visitor, message, streams="text/event-stream" in taken)
        header = arrival.header("mcp-protocol-version")
        meta = message.params.get("_meta")
        if header not in HANDSHAKE if header else isinstance(meta, dict) and VERSION_KEY in meta:
            await self._newer.answer(exchange, header)
        else:
            await self._older.answer(exchange, header or OLDEST)
