# `incident-response.poml` in plain Python: the same order and attempts, and no record of what was done.
# ruff: noqa: BLE001 - written as people write it
# mypy: ignore-errors

import asyncio
from typing import Any

from incident import Alert, note, parse, plan, quiet, render, runbook, usual


async def runbook_twice(alert: Alert) -> list[str]:
    try:
        return await asyncio.to_thread(runbook, alert)
    except Exception:
        return await asyncio.to_thread(runbook, alert)


async def first_found(alert: Alert) -> list[str]:
    pending = {asyncio.create_task(runbook_twice(alert)), asyncio.create_task(asyncio.to_thread(usual, alert))}
    failures = []
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                failure = task.exception()
                if failure is None:
                    return task.result()
                failures.append(failure)
    finally:
        for task in pending:
            task.cancel()
    raise ExceptionGroup("every source failed", failures)


async def listed(alert: Alert) -> list[str]:
    steps = await first_found(alert)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.to_thread(render, step)) for step in steps]
    return [task.result() for task in tasks]


async def workflow(line: str) -> dict[str, Any]:
    alert = parse(line)
    if alert.errors <= 10:
        return quiet(alert)
    async with asyncio.TaskGroup() as group:
        words = group.create_task(asyncio.to_thread(note, alert))
        steps = group.create_task(listed(alert))
    return plan((words.result(), steps.result()))
