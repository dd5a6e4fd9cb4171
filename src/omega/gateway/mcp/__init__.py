"""The Model Context Protocol as an entrance: both eras from one handler, and every call of a tool one governed run."""

from omega.gateway.mcp.app import entrance
from omega.gateway.mcp.hall import Hall, Shown, Source, View

__all__ = ["Hall", "Shown", "Source", "View", "entrance"]
