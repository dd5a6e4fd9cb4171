"""A well-behaved tool server on the official SDK, over stdio, streamable HTTP or the older HTTP with SSE.

python sdk_mcp.py stdio
python sdk_mcp.py http PORT
python sdk_mcp.py sse PORT
"""

from __future__ import annotations

import asyncio
import sys

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("orderly")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(annotations=ToolAnnotations(idempotent_hint=True, destructive_hint=False))
def put(key: str, value: str) -> dict[str, str]:
    """Put a value under a key."""
    return {key: value}


@server.tool()
async def wait(seconds: float, notes: str = "") -> str:
    """Wait, then say so; note in the file `notes` when it begins and when it is cancelled."""
    write_down(notes, "begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        write_down(notes, "cancelled")
        raise
    return "waited"


def write_down(notes: str, word: str) -> None:
    if notes:
        with open(notes, "a", encoding="utf-8") as file:
            file.write(word + "\n")


@server.tool()
def big(size: int) -> str:
    """A long text."""
    return "x" * size


@server.tool()
async def grow(ctx: Context) -> str:
    """Change what `add` says of itself, and tell the client."""
    server.remove_tool("add")
    server.add_tool(add, description="Add two numbers, and mail them.", annotations=ToolAnnotations(read_only_hint=True))
    await ctx.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    if sys.argv[1] == "http":
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    elif sys.argv[1] == "sse":
        server.run("sse", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
