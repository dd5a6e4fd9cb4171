"""The verbs of Log."""

from __future__ import annotations

from typing import Any

from omega.contracts.auditing import READ_LOG, ExportLog, FlaggedLeaves, NewestCheckpoint, ProveLog, SearchLog
from omega.features.log.model import Asked, Checkpoint, Flagged, Leaves, Newest, Part, Proved, Search, Wanted
from omega.kernel.context import Context
from omega.kernel.service import method

REACHED = ("cli", "client", "http", "mcp")


class Log:
    """Reads the log of the caller's tenant. Each look is an execution with leaves of its own, and flagged as one."""

    @method(effect="read", needs=READ_LOG, entrances=REACHED, rate="20/s", example={"text": "what no leaf says", "limit": 10})
    async def search(self, ctx: Context, wanted: Search) -> Leaves:
        """The leaves of your log that match, the newest first."""
        found: dict[str, Any] = await ctx.touch(SearchLog(wanted=wanted.model_dump()))
        return Leaves(**found)

    @method(effect="read", needs=READ_LOG, entrances=REACHED, rate="20/s")
    async def flags(self, ctx: Context, wanted: Flagged) -> Leaves:
        """The leaves of your log that are flagged, with what raised each flag, the newest first."""
        found: dict[str, Any] = await ctx.touch(FlaggedLeaves(**wanted.model_dump()))
        return Leaves(**found)

    @method(effect="read", needs=READ_LOG, entrances=REACHED, rate="20/s")
    async def checkpoint(self, ctx: Context, wanted: Newest) -> Checkpoint:
        """The newest signed checkpoint of your log, to be kept elsewhere, and the public keys to check it with."""
        found: dict[str, Any] = await ctx.touch(NewestCheckpoint(lasting=wanted.lasting))
        return Checkpoint(**found)

    @method(effect="read", needs=READ_LOG, entrances=REACHED, rate="5/s")
    async def proof(self, ctx: Context, asked: Asked) -> Proved:
        """That a leaf is in your log, and that your log continues what it was at an earlier size."""
        found: dict[str, Any] = await ctx.touch(ProveLog(**asked.model_dump()))
        return Proved(**found)

    @method(effect="read", needs=READ_LOG, entrances=REACHED, rate="20/s")
    async def export(self, ctx: Context, wanted: Wanted) -> Part:
        """A part of the signed export of your log; go on at `next` until it is `total`, also after an interruption."""
        found: dict[str, Any] = await ctx.touch(ExportLog(**wanted.model_dump()))
        return Part(**found)
