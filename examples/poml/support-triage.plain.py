# `support-triage.poml` in plain Python: the same order, limits, attempts and cache, and no record of what was done.
# ruff: noqa: S311 - written as people write it
# mypy: ignore-errors

import asyncio
import random
import time
from typing import Any

from triage import Judged, Ticket, judge, page, redact, reply, same, team, urgency

_KEPT: dict[str, tuple[float, str]] = {}


async def urgency_in_time(ticket: Ticket) -> int:
    async with asyncio.timeout(30):
        delay = 0.5
        for attempt in range(3):
            try:
                return await asyncio.to_thread(urgency, ticket)
            except Exception:
                if attempt == 2:
                    raise
            await asyncio.sleep(delay * (0.5 + random.random() / 2))
            delay = min(30.0, delay * 2)
    raise AssertionError("the last attempt returns or raises")


async def team_kept(ticket: Ticket) -> str:
    key = ticket.model_dump_json()
    kept = _KEPT.get(key)
    if kept is not None and time.monotonic() - kept[0] < 3600:
        return kept[1]
    result = await asyncio.to_thread(team, ticket)
    _KEPT[key] = (time.monotonic(), result)
    return result


async def workflow(ticket: Ticket) -> dict[str, Any]:
    clean = redact(ticket)
    async with asyncio.TaskGroup() as group:
        level = group.create_task(urgency_in_time(clean))
        who = group.create_task(team_kept(clean))
    judged: Judged = judge((same(clean), level.result(), who.result()))
    return page(judged) if judged.urgency >= 4 else reply(judged)
