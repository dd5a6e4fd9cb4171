"""Tools of MCP servers: records of servers, pinned descriptions of tools, and the effector for `ToolCall`.

Nothing here imports the SDK until a server is spoken to over standard input and output.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omega.adapters.mcp.description import ToolDescription as ToolDescription
    from omega.adapters.mcp.effector import McpEffector as McpEffector
    from omega.adapters.mcp.effector import Pins as Pins
    from omega.adapters.mcp.effector import Upstreams as Upstreams
    from omega.adapters.mcp.foreign import Foreign as Foreign
    from omega.adapters.mcp.foreign import Openers as Openers
    from omega.adapters.mcp.guests import Guest as Guest
    from omega.adapters.mcp.guests import Guests as Guests
    from omega.adapters.mcp.limits import Limits as Limits
    from omega.adapters.mcp.passing import READS as READS
    from omega.adapters.mcp.passing import PassedCall as PassedCall
    from omega.adapters.mcp.passing import PassedTool as PassedTool
    from omega.adapters.mcp.passing import passed as passed
    from omega.adapters.mcp.passing import reading as reading
    from omega.adapters.mcp.seats import Credentials as Credentials
    from omega.adapters.mcp.seats import describe as describe
    from omega.adapters.mcp.stdio import Launch as Launch
    from omega.adapters.mcp.upstream import Secrets as Secrets
    from omega.adapters.mcp.upstream import Transport as Transport
    from omega.adapters.mcp.upstream import Upstream as Upstream

_HOMES = {
    "READS": "omega.adapters.mcp.passing",
    "Credentials": "omega.adapters.mcp.seats",
    "Foreign": "omega.adapters.mcp.foreign",
    "Guest": "omega.adapters.mcp.guests",
    "Guests": "omega.adapters.mcp.guests",
    "Launch": "omega.adapters.mcp.stdio",
    "Limits": "omega.adapters.mcp.limits",
    "McpEffector": "omega.adapters.mcp.effector",
    "Openers": "omega.adapters.mcp.foreign",
    "PassedCall": "omega.adapters.mcp.passing",
    "PassedTool": "omega.adapters.mcp.passing",
    "Pins": "omega.adapters.mcp.effector",
    "Secrets": "omega.adapters.mcp.upstream",
    "ToolDescription": "omega.adapters.mcp.description",
    "Transport": "omega.adapters.mcp.upstream",
    "Upstream": "omega.adapters.mcp.upstream",
    "Upstreams": "omega.adapters.mcp.effector",
    "describe": "omega.adapters.mcp.seats",
    "passed": "omega.adapters.mcp.passing",
    "reading": "omega.adapters.mcp.passing",
}

__all__ = [
    "READS",
    "Credentials",
    "Foreign",
    "Guest",
    "Guests",
    "Launch",
    "Limits",
    "McpEffector",
    "Openers",
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


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'omega.adapters.mcp' has no attribute {name!r}")
    return getattr(import_module(home), name)
