"""Operations of an HTTP interface, described by OpenAPI, as tools of a tool server."""

from omega.adapters.openapi.session import ApiSession

__all__ = ["ApiSession"]
