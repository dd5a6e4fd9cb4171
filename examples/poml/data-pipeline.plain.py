# `data-pipeline.poml` in plain Python: the same order, limits and attempts, and no record of what was done.
# ruff: noqa: BLE001, S311 - written as people write it
# mypy: ignore-errors

import asyncio
import random
from typing import Any

from pipeline import Row, celsius, count, exact, kind, lenient, mean, positive, split, unchanged

_REPAIRS = {"kelvin": celsius, "pressure": positive}


async def read(line: str) -> Row:
    try:
        return await asyncio.to_thread(exact, line)
    except Exception:
        return await asyncio.to_thread(lenient, line)


async def repair(row: Row) -> Row:
    delay = 0.5
    for attempt in range(3):
        try:
            return await asyncio.to_thread(_REPAIRS.get(kind(row), unchanged), row)
        except Exception:
            if attempt == 2:
                raise
        await asyncio.sleep(delay * (0.5 + random.random() / 2))
        delay = min(30.0, delay * 2)
    raise AssertionError("the last attempt returns or raises")


async def repaired(line: str, places: asyncio.Semaphore) -> Row:
    async with places:
        return await repair(await read(line))


async def workflow(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    places = asyncio.Semaphore(16)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(repaired(line, places)) for line in split(text)]
    rows = [task.result() for task in tasks]
    async with asyncio.TaskGroup() as group:
        average = group.create_task(asyncio.to_thread(mean, rows))
        counted = group.create_task(asyncio.to_thread(count, rows))
    return average.result(), counted.result()
