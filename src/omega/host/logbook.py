"""Reading the log down the road: a search of leaves is a gated call, so who looked at the log stands in the log.

Whoever reads it in another way (an export, a tail, a look at payloads) says so first, by a gated call that does nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.chronicle.search import Query, search
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Reader
from omega.kernel.verdict import Permit


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLog(Request):
    """Search the leaves of the permit's own tenant; `wanted` is a `Query` as plain data."""

    port: ClassVar[str] = "log"
    wanted: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAccess(Request):
    """Say that the log is about to be read, and how (`what` is `export`, `tail`, `access`), with what else is to be on record."""

    port: ClassVar[str] = "log"
    what: str
    facts: Mapping[str, Any]


class LogEffector:
    """Serves `ReadLog` and `NoteAccess` on a reader. The tenant comes from the permit, never from the request."""

    port = ReadLog.port

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives a `Page` as plain data, or what was noted with the size of the log then.

        Raises InputError (OMG-I001) for another request or a query that makes no sense.
        """
        permit.spend(self.port)
        if isinstance(request, NoteAccess):
            points = self._reader.checkpoints(permit.tenant)
            return {**request.facts, "what": request.what, "leaves": points[-1][0] if points else 0}, Receipt()
        if not isinstance(request, ReadLog):
            raise InputError("OMG-I001", f"the log is searched, not {type(request).__name__}")
        return search(self._reader, permit.tenant, Query.read(request.wanted)).record(), Receipt()


@flow(name="read_log", effect="read", needs="log:use")
async def read_log(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Search the log of the caller's tenant (see `omega.chronicle.search.Query`): `leaves`, newest first, and where to go on `before`."""
    page: dict[str, Any] = await ctx.touch(ReadLog(wanted=wanted))
    return page


@flow(name="log_access", effect="read", needs="log:use")
async def note_access(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Put on record that the log is read: `what`, and any other facts."""
    noted: dict[str, Any] = await ctx.touch(NoteAccess(what=str(wanted["what"]), facts=wanted))
    return noted
