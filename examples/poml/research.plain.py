# `research.poml` in plain Python: the same order, limits, attempts and caches, and no record of what was done.
# ruff: noqa: BLE001, S311 - written as people write it
# mypy: ignore-errors

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from research import Answer, Claim, Passage, Source, answer, draft, partial, plan, quote, silence, support, titles, words

_KEPT: dict[tuple[str, str], tuple[float, list[Source]]] = {}


async def kept(name: str, part: str, look: Callable[[str], Awaitable[list[Source]]]) -> list[Source]:
    known = _KEPT.get((name, part))
    if known is not None and time.monotonic() - known[0] < 3600:
        return known[1]
    found = await look(part)
    _KEPT[name, part] = (time.monotonic(), found)
    return found


async def by_title(part: str) -> list[Source]:
    return await asyncio.to_thread(titles, part)


async def by_words(part: str) -> list[Source]:
    async with asyncio.timeout(10):
        delay = 0.5
        for attempt in range(3):
            try:
                return await asyncio.to_thread(words, part)
            except Exception:
                if attempt == 2:
                    raise
            await asyncio.sleep(delay * (0.5 + random.random() / 2))
            delay = min(30.0, delay * 2)
    raise AssertionError("the last attempt returns or raises")


async def found(part: str, places: asyncio.Semaphore) -> list[Passage]:
    async with places:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(kept("titles", part, by_title))
            second = group.create_task(kept("words", part, by_words))
        return await asyncio.to_thread(quote, (first.result(), second.result()))


async def supported(claim: Claim) -> Claim:
    try:
        return await asyncio.to_thread(support, claim)
    except Exception:
        await asyncio.sleep(0.5 * (0.5 + random.random() / 2))
        return await asyncio.to_thread(support, claim)


async def looked_up(parts: list[str]) -> list[list[Passage]]:
    places = asyncio.Semaphore(4)
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            tasks = [group.create_task(found(part, places)) for part in parts]
    except TimeoutError:
        return silence(parts)
    return [task.result() for task in tasks]


async def workflow(question: str) -> Answer:
    claims = draft(await looked_up(plan(question)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(supported(claim)) for claim in claims]
    checked = [task.result() for task in tasks]
    return answer(checked) if all(claim.holds for claim in checked) else partial(checked)
