"""A tool server of the newer era in this process: raw ASGI, with a slow read and a log of every request that came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from omega.gateway.front.server import Listener, Place

NEWEST = "2026-07-28"
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = [
    {"name": name, "description": f"{name} something", "inputSchema": SCHEMA, "annotations": {"readOnlyHint": True}}
    for name in ("echo", "slow", "rich", "broken")
]
RICH = [{"type": "text", "text": "two blocks"}, {"type": "image", "data": "aGk=", "mimeType": "image/png"}]
LISTED: dict[str, dict[str, Any]] = {
    "server/discover": {"supportedVersions": [NEWEST], "capabilities": {"tools": {}, "resources": {}, "prompts": {}}},
    "tools/list": {"tools": TOOLS},
    "resources/list": {"resources": [{"uri": "note://one", "name": "one", "description": "a note", "mimeType": "text/plain"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "note://{day}/page", "name": "page"}]},
    "prompts/list": {"prompts": [{"name": "greet", "description": "greets", "arguments": [{"name": "who", "required": False}]}]},
}


class Notebook:
    """The server. `requests` are (method, headers, params) as they came; `left` counts callers that closed a slow call."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.left = 0

    def count(self, method: str) -> int:
        """How many requests of `method` came."""
        return sum(each[0] == method for each in self.requests)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = json.loads(body)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((asked["method"], headers, asked.get("params", {})))
        if asked["method"] == "tools/call" and asked["params"]["name"] == "slow":
            while (await receive())["type"] != "http.disconnect":
                continue
            self.left += 1
            return
        answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], **self._answer(asked["method"], asked.get("params", {}))}).encode()
        lines = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method in LISTED:
            return {"result": {**LISTED[method], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}}
        if method == "resources/read":
            return {"result": {"contents": [{"uri": params["uri"], "text": "read"}], "ttlMs": 0, "cacheScope": "private"}}
        if method == "prompts/get":
            said = f"{params['name']} {params.get('arguments')}"
            return {"result": {"messages": [{"role": "user", "content": {"type": "text", "text": said}}], "resultType": "complete"}}
        if method != "tools/call":
            return {"error": {"code": -32601, "message": "no such method"}}
        name, text = params["name"], str(params.get("arguments", {}).get("text", ""))
        if name == "broken":
            return {"error": {"code": -32021, "message": "needs sampling", "data": {"requiredCapabilities": {"sampling": {}}}}}
        content = RICH if name == "rich" else [{"type": "text", "text": text}]
        return {"result": {"content": content, "isError": text == "fail", "resultType": "complete"}}


@asynccontextmanager
async def notebook() -> AsyncIterator[tuple[Notebook, str]]:
    """Serve one on a free port of this machine; gives it and its URL."""
    made = Notebook()
    listener = Listener(made, Place(host="127.0.0.1", port=0))  # type: ignore[arg-type]
    await listener.start()
    try:
        yield made, f"{listener.url}/mcp"
    finally:
        await asyncio.sleep(0)
        listener.close()
        await listener.stop()
