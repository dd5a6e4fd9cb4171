"""Seeing tasks to their end: nothing that an execution started outlives it, and half a write is never cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


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


async def counted(work: Coroutine[Any, Any, Any]) -> Any:
    """As `unbroken`, but a result counts even when the caller was cancelled meanwhile: the cancellation meets it where it next waits."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if task.cancelled() or task.exception() is not None:
            raise cancelled
        _cancel_again()
    return task.result()


def _cancel_again() -> None:
    """Have the running task cancelled once more without counting it twice: a time limit tells its own cancellation by the count."""
    caller = asyncio.current_task()
    assert caller is not None  # noqa: S101 - only coroutines call this
    caller.cancel()
    caller.uncancel()


async def meet_cancellation() -> None:
    """Raise CancelledError where one is waiting for this task to wait."""
    caller = asyncio.current_task()
    if caller is not None and caller.cancelling():
        await asyncio.sleep(0)


class Written(Generic[T]):
    """Awaits `work`, which hands something to the store, in the caller's own task, and lets no cancellation in: one that comes meanwhile is
    too late to stop it, and is forgotten.

    As `to_its_end`, without a task: for work that waits for futures and sets no time limits, which the end of every execution does.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        work = self._work
        while True:
            try:
                awaited = work.send(None)
            except StopIteration as done:
                value: T = done.value
                return value
            if awaited is None:  # it only lets others run
                with suppress(asyncio.CancelledError):
                    yield
            else:
                awaited._asyncio_future_blocking = False  # it is awaited from here, through a future that may be cancelled
                yield from _done(awaited)


def _done(awaited: asyncio.Future[Any]) -> Generator[Any, Any, None]:
    while not awaited.done():
        woken = awaited.get_loop().create_future()

        def wake(_: object, woken: asyncio.Future[None] = woken) -> None:
            if not woken.done():
                woken.set_result(None)

        awaited.add_done_callback(wake)
        try:
            yield from woken
        except asyncio.CancelledError:
            awaited.remove_done_callback(wake)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which writes where an execution stands: a cancellation that comes meanwhile is too late to stop it."""
    writing = asyncio.create_task(work)
    while not writing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([writing])
    return writing.result()
