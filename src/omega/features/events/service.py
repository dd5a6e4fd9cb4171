"""The verbs of Events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from omega.contracts.events import of_ones_own
from omega.contracts.publishing import EVENTS, MAX_PAGE, MAX_WAIT_S, Notice, ReadEvents, publish
from omega.features.events.model import Followed, Page, Published, Wanted
from omega.kernel.context import Context
from omega.kernel.service import method

REACHED = ("cli", "client", "http", "mcp")

MAX_SILENT = 60
"""Pages without an event, one after the other, at which a stream ends (half an hour): a step may ask only so often between two parts."""


class Events:
    """Reads the events of the caller's tenant, and publishes."""

    @method(effect="read", needs=EVENTS, entrances=REACHED, example={"types": ["review:*"], "limit": 10})
    async def read(self, ctx: Context, wanted: Wanted) -> Page:
        """A page of events after a position, oldest first; with wait_s it waits for the first one."""
        asked = ReadEvents(after=wanted.after, types=wanted.types, keys=wanted.keys, limit=wanted.limit, wait_s=wanted.wait_s)
        found: dict[str, Any] = await ctx.touch(asked)
        return Page(**found)

    @method(effect="read", needs=EVENTS, stream=True, example={"types": ["flow:created"], "most": 1, "for_s": 1})
    async def follow(self, ctx: Context, wanted: Followed) -> AsyncIterator[dict[str, Any]]:
        """Events after a position as they come, one by one; ends after so many of them or so many seconds."""
        position, told, silent = wanted.after, 0, 0
        ends_s = await ctx.now() + wanted.for_s
        while told < wanted.most and silent < MAX_SILENT and (left_s := ends_s - await ctx.now()) > 0:
            most = min(MAX_PAGE, wanted.most - told)
            wait_s = min(MAX_WAIT_S, left_s)
            page: dict[str, Any] = await ctx.touch(
                ReadEvents(after=position, types=wanted.types, keys=wanted.keys, limit=most, wait_s=wait_s)
            )
            for event in page["events"]:
                yield event
            told += len(page["events"])
            silent = 0 if page["events"] else silent + 1
            position = page["position"]

    @method(effect="idempotent", needs=EVENTS, entrances=REACHED, example={"type": "review:asked", "key": "design", "data": {"by": "me"}})
    async def publish(self, ctx: Context, notice: Notice) -> Published:
        """Publish an event of a type of your own: it is on record, and whoever follows sees it in order."""
        of_ones_own(notice.type)
        told: dict[str, Any] = await ctx.call(publish, notice)
        return Published(type=told["type"], key=told["key"])
