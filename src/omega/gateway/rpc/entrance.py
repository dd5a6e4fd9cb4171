"""The entrance: who may open a session, and what it is told otherwise."""

from __future__ import annotations

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import arrival_of
from omega.gateway.front.turns import Turns
from omega.gateway.rpc.session import Limits, Session
from omega.kernel.errors import Denied, InputError
from omega.wire.rpc import SUBPROTOCOL

PREFIX = "/rpc"


def entrance(core: Core, limits: Limits | None = None) -> Mounted:
    """The WebSocket entrance of `core`."""
    chosen, turns = limits or Limits(), Turns()

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise InputError(
                "OMG-G002", "calls over RPC are made through a WebSocket", advice=f"open one with the subprotocol {SUBPROTOCOL}"
            )
        arrival = arrival_of(scope)
        if arrival.path.rstrip("/") != PREFIX:
            raise InputError("OMG-G002", f"there is nothing at {arrival.path[:80]!r}")
        await receive()  # websocket.connect
        try:
            visitor = core.visitor(arrival.headers, method="GET", url=arrival.url, address=arrival.address, peer=arrival.peer)
        except Denied as refusal:
            # before the handshake a server can only say no; 403 is what ASGI makes of this close
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        offered = scope.get("subprotocols") or []
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
        await Session(core, visitor, arrival, scope, send, limits=chosen, turns=turns).run(receive)

    return Mounted(PREFIX, app)
