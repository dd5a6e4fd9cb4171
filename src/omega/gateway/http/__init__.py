"""HTTP at `/api`: services, flows, tools and executions as resources, described by an OpenAPI document made of the same data."""

from omega.gateway.http.api import entrance

__all__ = ["entrance"]
