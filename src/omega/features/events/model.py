"""The nouns of Events."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from omega.contracts.publishing import MAX_PAGE, MAX_WAIT_S

MAX_FOLLOWED = 10_000
"""Most events of one stream: they are kept as its value, so a longer one is followed on after its last event."""


class Wanted(BaseModel):
    """Which events, and from where on."""

    after: int = Field(default=-1, ge=-1, description="the position of the last event that you have; -1 for the beginning")
    types: list[str] = Field(default_factory=list, max_length=50, description="area:verb, area:* or *; none for all")
    keys: list[str] = Field(default_factory=list, max_length=50, description="what they are about; none for all")
    limit: int = Field(default=100, ge=1, le=MAX_PAGE, description="most events of one page")
    wait_s: float = Field(default=0.0, ge=0, le=MAX_WAIT_S, description="how long the page may wait for its first event, in seconds")


class Page(BaseModel):
    """Events in order, as CloudEvents documents, and the position to go on after."""

    events: list[dict[str, Any]]
    position: int = Field(description="go on after this one")
    more: bool = Field(description="whether there may be more right behind it")


class Followed(BaseModel):
    """Which events to follow, and for how long."""

    after: int = Field(default=-1, ge=-1, description="the position of the last event that you have; -1 for the beginning")
    types: list[str] = Field(default_factory=list, max_length=50, description="area:verb, area:* or *; none for all")
    keys: list[str] = Field(default_factory=list, max_length=50, description="what they are about; none for all")
    most: int = Field(default=1_000, ge=1, le=MAX_FOLLOWED, description="end after so many events")
    for_s: float = Field(default=300.0, gt=0, le=3_600, description="end after so many seconds, or half an hour with none; then follow on")


class Published(BaseModel):
    """What was published."""

    type: str
    key: str
