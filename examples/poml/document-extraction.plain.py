# `document-extraction.poml` in plain Python: the same order, limits, attempts and cache, and no record of what was done.
# ruff: noqa: BLE001, S311 - written as people write it
# mypy: ignore-errors

import asyncio
import random
import time
from collections.abc import Callable

from extraction import Record, Report, invoice, kind, loose, papers, pile, receipt, report, totals, unread, verify

_KINDS: dict[str, tuple[float, str]] = {}
_READERS = {"invoice": invoice, "receipt": receipt}


async def kind_kept(paper: str) -> str:
    kept = _KINDS.get(paper)
    if kept is not None and time.monotonic() - kept[0] < 3600:
        return kept[1]
    found = await asyncio.to_thread(kind, paper)
    _KINDS[paper] = (time.monotonic(), found)
    return found


async def loosely(paper: str) -> Record:
    try:
        return await asyncio.to_thread(loose, paper)
    except Exception:
        return await asyncio.to_thread(unread, paper)


async def thrice(reader: Callable[[str], Record], paper: str) -> Record:
    delay = 0.5
    for attempt in range(3):
        try:
            return await asyncio.to_thread(reader, paper)
        except Exception:
            if attempt == 2:
                break
        await asyncio.sleep(delay * (0.5 + random.random() / 2))
        delay = min(30.0, delay * 2)
    return await loosely(paper)


async def read(paper: str) -> Record:
    try:
        async with asyncio.timeout(30):
            reader = _READERS.get(await kind_kept(paper))
            return await thrice(reader, paper) if reader is not None else unread(paper)
    except TimeoutError:
        return unread(paper)


async def verified(paper: str, places: asyncio.Semaphore) -> Record:
    async with places:
        return await asyncio.to_thread(verify, await read(paper))


async def workflow(batch: str) -> Report:
    places = asyncio.Semaphore(8)
    async with asyncio.timeout(300), asyncio.TaskGroup() as group:
        tasks = [group.create_task(verified(paper, places)) for paper in papers(batch)]
    records = [task.result() for task in tasks]
    async with asyncio.TaskGroup() as group:
        sums = group.create_task(asyncio.to_thread(totals, records))
        left = group.create_task(asyncio.to_thread(pile, records))
    return report((sums.result(), left.result()))
