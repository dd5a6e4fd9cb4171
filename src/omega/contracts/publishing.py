"""Publishing and reading events from within a flow: the requests, and the flow by which a feature publishes.

    await ctx.call(publish, Notice.of(WorkspaceChanged(workspace="design", what="flow review")))

An event is not written anywhere beside the record: publishing is a step like any other, its result is the event, and whoever follows the
record finds it there (docs/adr/0041).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from omega.contracts.events import MAX_KEY, Fact, plain
from omega.kernel.context import Context
from omega.kernel.effects import Request
from omega.kernel.errors import Denied
from omega.kernel.flow import flow

PUBLISH: Final = "events.publish"
"""The name of the flow that publishes; steps of another name publish nothing."""

EVENTS: Final = "events:use"
"""The capability that publishing and reading events takes."""

MAX_PAGE: Final = 1_000
"""Most events of one page."""

MAX_WAIT_S: Final = 30.0
"""Longest that a page may wait for its first event, in seconds."""


class Notice(BaseModel):
    """An event to publish: its type, what it is about, and its data."""

    type: str = Field(description="area:verb, such as workspace:changed")
    key: str = Field(max_length=MAX_KEY, description="what it is about; events of one key stay in order")
    data: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, fact: Fact) -> Notice:
        """A typed event as a notice."""
        return cls(type=fact.type, key=fact.key, data=plain(fact))


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish(Request):
    """Publish one event of the permit's tenant; gives it under the mark by which readers of the record know it."""

    port: ClassVar[str] = "events"
    type: str
    key: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEvents(Request):
    """Read events of the permit's tenant after a position; gives `events` (CloudEvents documents) and the `position` to go on after.

    With `wait_s` the answer may take that long while there is nothing to tell. `after` is -1 for the beginning.
    """

    port: ClassVar[str] = "events"
    after: int = -1
    types: Sequence[str] = ()
    keys: Sequence[str] = ()
    limit: int = 100
    wait_s: float = 0.0


@flow(name=PUBLISH, effect="idempotent", needs=EVENTS)
async def publish(ctx: Context, notice: Notice) -> dict[str, Any]:
    """Publish an event: it is part of the record from the moment that this step is done."""
    told: dict[str, Any] = await ctx.touch(Publish(type=notice.type, key=notice.key, data=notice.data))
    return told


async def tell(ctx: Context, fact: Fact) -> bool:
    """Publish a typed event about something that is done, if the caller may; gives whether it was told.

    What was done stands all the same, so a refusal raises nothing: where the caller holds the capability, it is on record like any other.
    """
    if not ctx.scope.has(EVENTS):
        return False
    try:
        await ctx.call(publish, Notice.of(fact))
    except Denied:
        return False
    return True
