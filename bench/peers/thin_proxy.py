"""FastMCP's proxy in front of a tool server: `python thin_proxy.py URL PORT KEEP_ALIVE_S`, in the environment of bench/peers-fastmcp.txt.

One client stays connected and serves every call, which is the quickest way FastMCP offers; a proxy made from an address would shake hands
with the tool server anew for each call.
"""

from __future__ import annotations

import asyncio
import sys

from fastmcp import Client
from fastmcp.server import create_proxy


async def main(behind: str, port: int, keep_alive_s: int) -> None:
    """Serve until the process is ended."""
    async with Client(behind) as client:
        proxy = create_proxy(client, name="bench")
        await proxy.run_http_async(
            host="127.0.0.1",
            port=port,
            path="/mcp",
            stateless_http=True,
            json_response=True,
            show_banner=False,
            log_level="error",
            uvicorn_config={"timeout_keep_alive": keep_alive_s},
        )


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
