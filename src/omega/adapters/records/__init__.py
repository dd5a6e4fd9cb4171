"""The effector for reading what is recorded: executions of the permit's own tenant, through a `Reader`."""

from __future__ import annotations

from typing import Any

from omega.kernel.effects import ListExecutions, Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.ports import Reader, Search
from omega.kernel.verdict import Permit

MAX_LINES = 10_000
"""Most executions listed at once."""


class RecordsEffector:
    """Serves `ListExecutions`. The tenant comes from the permit, never from the request."""

    port = ListExecutions.port

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """The executions as `Line`s, newest first. Raises InputError (OMG-I001) for another request or a limit out of bounds."""
        permit.spend(self.port)
        if not isinstance(request, ListExecutions):
            raise InputError("OMG-I001", f"the records port lists executions, not {type(request).__name__}")
        if not 0 < request.limit <= MAX_LINES:
            raise InputError("OMG-I001", f"a list holds 1 to {MAX_LINES:,} executions")
        wanted = Search(
            tenant=permit.tenant, status=(request.status,) if request.status else (), after_us=request.after_us, limit=request.limit
        )
        return self._reader.search(wanted), Receipt()
