"""The verbs of Insights."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from omega.features.insights.model import FlowSummary, Period, Summary
from omega.kernel.context import Context
from omega.kernel.effects import ListExecutions
from omega.kernel.journal import Status
from omega.kernel.ports import Line
from omega.kernel.service import method

MAX_READ = 10_000
"""Most executions that one summary reads."""


class Insights:
    """Reads the record of what ran in the caller's tenant."""

    @method(effect="read", needs="records:read", entrances=("cli", "client", "http", "mcp"), example={"hours": 24})
    async def summary(self, ctx: Context, period: Period) -> Summary:
        """What ran in the last hours: how many executions, how they ended, how long each flow takes."""
        now = await ctx.now()
        since_us = max(1, int((now - period.hours * 3600) * 1_000_000))
        lines: list[Line] = await ctx.touch(ListExecutions(limit=MAX_READ, after_us=since_us))
        return summarise(lines, truncated=len(lines) == MAX_READ)


def summarise(lines: Sequence[Line], *, truncated: bool = False) -> Summary:
    """Count and time `lines`. Pure."""
    flows: dict[str, list[Line]] = {}
    for line in lines:
        flows.setdefault(line.flow, []).append(line)
    parts = [_flow(name, group) for name, group in flows.items()]
    return Summary(
        executions=len(lines),
        done=_count(lines, Status.DONE),
        failed=_count(lines, Status.FAILED),
        cancelled=_count(lines, Status.CANCELLED),
        open=sum(not Status(line.status).ended for line in lines),
        flows=sorted(parts, key=lambda part: (-part.executions, part.flow)),
        truncated=truncated,
    )


def _flow(name: str, lines: Sequence[Line]) -> FlowSummary:
    durations = [(line.updated_us - line.started_us) / 1_000_000 for line in lines if Status(line.status).ended] or [0.0]
    return FlowSummary(
        flow=name,
        executions=len(lines),
        done=_count(lines, Status.DONE),
        failed=_count(lines, Status.FAILED),
        open=sum(not Status(line.status).ended for line in lines),
        median_s=round(median(durations), 3),
        longest_s=round(max(durations), 3),
    )


def _count(lines: Sequence[Line], status: Status) -> int:
    return sum(line.status == status for line in lines)
