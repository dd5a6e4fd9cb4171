# `code-review.poml` in plain Python: the same order, limits and attempts, and no record of what was done.
# ruff: noqa: BLE001, S311 - written as people write it
# mypy: ignore-errors

import asyncio
import random
from collections.abc import Callable

from reviewing import File, Finding, Review, accept, comment, rank, reject, risks, secrets, size, split, together

_DECISIONS = {"high": reject, "low": comment}


async def twice(judge: Callable[[File], list[Finding]], file: File) -> list[Finding]:
    async with asyncio.timeout(10):
        try:
            return await asyncio.to_thread(judge, file)
        except Exception:
            await asyncio.sleep(0.5 * (0.5 + random.random() / 2))
            return await asyncio.to_thread(judge, file)


async def judged(file: File, places: asyncio.Semaphore) -> list[Finding]:
    async with places, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(asyncio.to_thread(size, file)),
            group.create_task(twice(risks, file)),
            group.create_task(twice(secrets, file)),
        ]
    return together(tuple(task.result() for task in tasks))


async def workflow(diff: str) -> Review:
    places = asyncio.Semaphore(8)
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        tasks = [group.create_task(judged(file, places)) for file in split(diff)]
    ranked = rank([task.result() for task in tasks])
    return _DECISIONS.get(ranked.worst, accept)(ranked)
