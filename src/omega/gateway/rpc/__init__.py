"""RPC over a WebSocket at `/rpc`: calls, streams with back-pressure, cancellation (`omega.wire.rpc` is the protocol)."""

from omega.gateway.rpc.entrance import entrance

__all__ = ["entrance"]
