"""SCIM 2.0 over HTTP: identity providers say who is in a tenant, and in which groups."""

from omega.gateway.scim.entrance import entrance

__all__ = ["entrance"]
