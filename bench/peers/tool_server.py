"""The tool server that stands behind every gateway of the bench: raw ASGI in both eras of MCP, so that it costs next to nothing.

    python tool_server.py PORT       serve it with uvicorn, until the process is ended
    GET /count                       how many requests have reached `/mcp` so far
    POST /mcp                        MCP: the tools `echo` (a read) and `note` (a write) give back their text
    GET, DELETE /mcp                 405: there is no stream to listen to, and no session to end

Its handshake begins no session, as the protocol allows, so that a gateway may send any request on any connection.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

NEWEST = "2026-07-28"
HANDSHAKE = "2025-11-25"
_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_TOOLS = [
    {"name": "echo", "description": "Gives back its text.", "inputSchema": _SCHEMA, "annotations": {"readOnlyHint": True}},
    {"name": "note", "description": "Keeps its text, and gives it back.", "inputSchema": _SCHEMA, "annotations": {"readOnlyHint": False}},
]
_COUNT = {"requests": 0}

Message = dict[str, Any]


async def application(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/count":
        await _send(send, 200, str(_COUNT["requests"]).encode())
        return
    _COUNT["requests"] += 1
    if scope["method"] != "POST":
        await _send(send, 405, b"")
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    request = json.loads(body)
    if "id" not in request:
        await _send(send, 202, b"")
    else:
        await _send(send, 200, json.dumps(_answered(request)).encode())


async def _send(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _answered(request: Message) -> Message:
    method, params = request["method"], request.get("params") or {}
    cached = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    if method == "server/discover":
        result = {"supportedVersions": [NEWEST, HANDSHAKE], "capabilities": {"tools": {}}, **cached}
    elif method == "initialize":
        result = {"protocolVersion": HANDSHAKE, "capabilities": {"tools": {}}, "serverInfo": {"name": "bench", "version": "1"}}
    elif method == "ping":
        result = {}
    elif method == "tools/list":
        result = {"tools": _TOOLS, **cached}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": params["arguments"]["text"]}], "isError": False, "resultType": "complete"}
    else:
        return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "there is no such method"}}
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
