"""The verbs of Log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from omega.contracts.auditing import (
    MAX_FOUND,
    MAX_WAIT_S,
    READ_LOG,
    ExportLog,
    FlaggedLeaves,
    FollowLog,
    NewestCheckpoint,
    ProveLog,
    SearchLog,
)
from omega.features.log.model import About, Asked, Checkpoint, Flagged, Followed, Leaves, Newest, Part, Proved, Search, Wanted
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

    @method(effect="read", needs=READ_LOG, stream=True, rate="5/s", example={"kind": "deny", "most": 1, "for_s": 1})
    async def follow(self, ctx: Context, wanted: Followed) -> AsyncIterator[dict[str, Any]]:
        """The leaves of your log after an index as they are written, one by one; ends after so many of them or so many seconds."""
        asked = wanted.model_dump(include=set(About.model_fields))
        position, told = wanted.after, 0
        ends_s = await ctx.now() + wanted.for_s
        while told < wanted.most and (left_s := ends_s - await ctx.now()) > 0:
            limit, wait_s = min(MAX_FOUND, wanted.most - told), min(MAX_WAIT_S, left_s)
            page: dict[str, Any] = await ctx.touch(
                FollowLog(after=position, wanted=asked, flagged=wanted.flagged, limit=limit, wait_s=wait_s)
            )
            for leaf in page["leaves"]:
                yield leaf
            told += len(page["leaves"])
            position = page["position"]

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
