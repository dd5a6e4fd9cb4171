"""The nouns of Insights."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Period(BaseModel):
    """The last `hours` before now."""

    hours: float = Field(default=24.0, gt=0, le=24 * 366, description="how far back to look, in hours")


class FlowSummary(BaseModel):
    """What became of one flow's executions. Durations are seconds from start to the last change."""

    flow: str
    executions: int
    done: int
    failed: int
    open: int
    median_s: float
    longest_s: float


class Summary(BaseModel):
    """What became of all executions of a period, the busiest flow first. `truncated` tells that there were more than were read."""

    executions: int
    done: int
    failed: int
    cancelled: int
    open: int
    flows: list[FlowSummary]
    truncated: bool
