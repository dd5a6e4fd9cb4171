"""A tool server over HTTP that behaves until one of its tools is called: then it does what the tool is named after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

NEWEST = "2026-07-28"
FORGED = "an-answer-to-somebody-elses-question"


@dataclass
class Hostile:
    """The server. `heard` are the bodies of calls that came, `elsewhere` requests to other paths than its own, `describes` what it says of
    its tool `honest`, `open_now` the connections that are open."""

    url: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    describes: str = "says what it is told"
    open_now: int = 0
    sent: int = 0

    def tools(self) -> list[dict[str, Any]]:
        """What it lists."""
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        return [
            {
                "name": name,
                "description": self.describes if name == "honest" else name,
                "inputSchema": schema,
                "annotations": {"readOnlyHint": True},
            }
            for name in ("honest", *WAYS)
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open_now += 1
        try:
            with suppress(OSError, EOFError):
                while await self._one(reader, writer):
                    pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        self.heads.append(head)
        if head.split(" ")[1] != "/mcp":
            self.elsewhere.append(head)
        asked = json.loads(body) if body else {}
        method, number = asked.get("method"), asked.get("id")
        if method == "tools/call":
            self.heard.append(asked)
            way = WAYS.get(asked["params"]["name"])
            if way is not None:
                return await way(self, number, writer)
        result: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if method == "server/discover":
            result |= {"supportedVersions": [NEWEST], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            result |= {"tools": self.tools()}
        else:
            result |= said(str(asked.get("params", {}).get("arguments", {}).get("text", "")))
        writer.write(whole({"jsonrpc": "2.0", "id": number, "result": result}))
        await writer.drain()
        return True


def said(text: str) -> dict[str, Any]:
    """A result that says `text`."""
    return {"content": [{"type": "text", "text": text}], "resultType": "complete"}


def whole(message: Any, headers: str = "", status: str = "200 OK") -> bytes:
    """One answer over HTTP."""
    body = json.dumps(message).encode()
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


Way = Callable[[Hostile, Any, asyncio.StreamWriter], Awaitable[bool]]


async def _hangs(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    await writer.drain()
    return True  # it reads on, and never answers


async def _streams(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    note = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1, "message": "x" * 4_000}})
    while True:
        writer.write(f"data: {note}\n\n".encode())
        server.sent += 1
        await writer.drain()


async def _floods(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ")
    while True:
        writer.write(b"y" * 65_536)
        server.sent += 1
        await writer.drain()


async def _twice(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    answer = {"jsonrpc": "2.0", "id": number, "result": said("the first")}
    writer.write(whole(answer) + whole({**answer, "result": said(FORGED)}))
    await writer.drain()
    return True


async def _foreign_id(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    writer.write(whole({"jsonrpc": "2.0", "id": number + 1, "result": said(FORGED)}))
    await writer.drain()
    return True


async def _redirects(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    place = server.url.replace("/mcp", "/elsewhere")
    writer.write(whole({}, f"location: {place}\r\n", "307 Temporary Redirect"))
    await writer.drain()
    return True


async def _demands(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
    place = server.url.replace("/mcp", "/elsewhere")
    writer.write(whole({}, f'www-authenticate: Bearer resource_metadata="{place}"\r\n', "401 Unauthorized"))
    await writer.drain()
    return True


def _raw(data: bytes) -> Way:
    async def way(server: Hostile, number: Any, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return False

    return way


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
WAYS: dict[str, Way] = {
    "hangs": _hangs,
    "streams": _streams,
    "floods": _floods,
    "twice": _twice,
    "foreign-id": _foreign_id,
    "redirects": _redirects,
    "demands": _demands,
    "latin-length": _raw(_HEAD + b"content-length: \xb2\r\n\r\n{}"),
    "long-length": _raw(_HEAD + b"content-length: " + b"9" * 5_000 + b"\r\n\r\n{}"),
    "negative-length": _raw(_HEAD + b"content-length: -1\r\n\r\n{}"),
    "latin-status": _raw(b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n"),
    "negative-chunk": _raw(_HEAD + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
    "huge-chunk": _raw(_HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}"),
    "compressed": _raw(_HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b"),
    "endless-head": _raw(b"HTTP/1.1 200 OK\r\n" + b"x-more: y\r\n" * 20_000),
    "interim-for-ever": _raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000),
    "cut": _raw(_HEAD + b"content-length: 5000\r\n\r\n{"),
    "nested": _raw(_HEAD + b"content-length: 200000\r\n\r\n" + b"[" * 200_000),
}


@asynccontextmanager
async def hostile() -> AsyncIterator[Hostile]:
    """Serve one on a free port of this machine."""
    made = Hostile()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield made
    finally:
        server.close()
