"""Tools of MCP servers: records of servers, pinned descriptions of tools, and the effector for `ToolCall`.

Nothing here imports the SDK until a server is spoken to.
"""

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.effector import McpEffector, Pins, Upstreams, describe
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.stdio import Launch
from omega.adapters.mcp.upstream import Secrets, Transport, Upstream

__all__ = ["Launch", "Limits", "McpEffector", "Pins", "Secrets", "ToolDescription", "Transport", "Upstream", "Upstreams", "describe"]
