"""The entrance that speaks the API of MCP registries: which servers a caller's tenant is shown."""

from omega.gateway.registry.entrance import Shelf, entrances

__all__ = ["Shelf", "entrances"]
