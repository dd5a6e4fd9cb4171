"""A header that says what is called stands there once: two readers on the way could take different ones."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.mcp.serving import Served, serving
from omega.wire.mcp.eras import HEADER_MISMATCH

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


async def asked(served: Served, *more: str) -> tuple[int, dict[str, object]]:
    """Status and body of a `tools/list` with `more` header lines."""
    place = urlsplit(served.url)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode()
    lines = [
        f"POST {place.path} HTTP/1.1",
        f"Host: {place.netloc}",
        *(f"{name}: {value}" for name, value in served.headers.items()),
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"Content-Length: {len(body)}",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/list",
        *more,
    ]
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split(" ")[1]), json.loads(await reader.readexactly(length))
    finally:
        writer.close()


@pytest.mark.slow
def test_a_routing_header_that_comes_twice_is_refused_and_others_may(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "home") as served:
            status, found = await asked(served)
            assert (status, "result" in found) == (200, True)
            status, found = await asked(served, "X-Anything: a", "X-Anything: b")
            assert (status, "result" in found) == (200, True)
            for line in ("mcp-method: tools/list", "Mcp-Name: a\r\nMCP-NAME: b", "Mcp-Param-Dry: 1\r\nmcp-param-dry: 1"):
                status, found = await asked(served, line)
                error = found.get("error")
                assert status == 400
                assert isinstance(error, dict)
                assert error["code"] == HEADER_MISMATCH, line

    asyncio.run(scenario())
