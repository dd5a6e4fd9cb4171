"""Tools of MCP servers: records of servers, pinned descriptions of tools, and the effector for `ToolCall`.

Nothing here imports the SDK until a server is spoken to over standard input and output.
"""

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.effector import McpEffector, Pins, Upstreams
from omega.adapters.mcp.guests import Guest, Guests
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.passing import READS, PassedCall, PassedTool, passed, reading
from omega.adapters.mcp.seats import Credentials, describe
from omega.adapters.mcp.stdio import Launch
from omega.adapters.mcp.upstream import Secrets, Transport, Upstream

__all__ = [
    "READS",
    "Credentials",
    "Guest",
    "Guests",
    "Launch",
    "Limits",
    "McpEffector",
    "PassedCall",
    "PassedTool",
    "Pins",
    "Secrets",
    "ToolDescription",
    "Transport",
    "Upstream",
    "Upstreams",
    "describe",
    "passed",
    "reading",
]
