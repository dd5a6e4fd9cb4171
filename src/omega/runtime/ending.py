"""Seeing tasks to their end: nothing that an execution started outlives it, and half a write is never cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def finish(tasks: Sequence[asyncio.Task[Any]], until: str) -> None:
    """Wait for `tasks` (or the first to raise), then cancel the rest and see every one to its end, also when cancelled oneself."""
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=until)
    finally:
        for task in tasks:
            task.cancel()
        rest = [task for task in tasks if not task.done()]
        if rest:
            await unbroken(asyncio.wait(rest))
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not report it as lost


async def unbroken(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, which runs in a task of its own and is seen to its end even when the caller is cancelled meanwhile."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()
