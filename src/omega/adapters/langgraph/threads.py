"""The threads that are in use: the notebook of each, and the history folded from it. Lives on the event loop of its engine.

Only what was taken for writing is kept in memory: its epoch says whether anybody else has written since. What was opened for reading alone
is read anew each time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omega.adapters.langgraph.history import History
from omega.kernel.errors import OmegaError

MAX_HELD_BYTES = 64 << 20
"""Most that the histories kept in memory may take together; past it the longest unused are read anew when they are needed."""

KEEPER = "langgraph.thread"
"""The name of the flow behind every thread."""


class Noted(Protocol):
    """One entry of a notebook."""

    @property
    def sort(self) -> str: ...

    @property
    def plain(self) -> bytes: ...


class Notebook(Protocol):
    """The journal of one thread; see `omega.runtime.notebook.Notebook`."""

    def entries(self) -> Iterable[Noted]: ...

    def add(self, sort: str, plain: bytes) -> None: ...

    async def commit(self, sort: str, plain: bytes) -> None: ...

    async def flush(self) -> None: ...

    async def close(self) -> None: ...


class Notebooks(Protocol):
    """The journals of all threads; see `omega.runtime.notebook.Notebooks`."""

    def find(self, name: str) -> Any: ...

    def is_current(self, notebook: Any) -> bool: ...

    async def take(self, name: str) -> Any: ...

    async def replace(self, notebook: Any, entries: Sequence[tuple[str, bytes]]) -> None: ...

    def names(self) -> list[str]: ...


@dataclass(slots=True)
class Held:
    """A thread that was taken for writing. `settled` tells that all of it is on disk."""

    notebook: Notebook
    history: History
    settled: bool = True


class Threads:
    """All threads of one saver."""

    def __init__(self, notebooks: Notebooks) -> None:
        self._notebooks = notebooks
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._taking: dict[str, asyncio.Task[Held]] = {}

    # -- reading

    def read(self, thread: str) -> History | None:
        """What is recorded of a thread; None when there is none of that name."""
        held = self._held.get(thread)
        if held is not None and self._notebooks.is_current(held.notebook):
            self._held.move_to_end(thread)
            return held.history
        self._held.pop(thread, None)
        notebook: Notebook | None = self._notebooks.find(thread)
        return None if notebook is None else _fold(notebook)

    def names(self) -> list[str]:
        """The threads that there are."""
        return self._notebooks.names()

    # -- writing

    async def write(self, thread: str, sort: str, make: Callable[[History], bytes], *, durable: bool) -> None:
        """Add the entry that `make` gives; with `durable` it is on disk when this returns, else soon after.

        Raises StorageError (OMG-S006) when another has written to the thread since it was taken here.
        """
        held = self._held.get(thread) or await self._take(thread)
        if thread in self._held:
            self._held.move_to_end(thread)
        try:
            plain = make(held.history)
            held.history.take(sort, plain)
            held.settled = False
            if durable:
                await held.notebook.commit(sort, plain)
                held.settled = True
            else:
                held.notebook.add(sort, plain)
        except OmegaError:
            self._held.pop(thread, None)  # what is in memory may be ahead of what is recorded
            raise

    async def hold(self, thread: str) -> History | None:
        """A thread's history, taken for writing, all of it on disk; None when there is no such thread."""
        if self.read(thread) is None:
            return None
        held = self._held.get(thread) or await self._take(thread)
        await held.notebook.flush()
        held.settled = True
        return held.history

    async def copy(self, source: str, target: str) -> None:
        """Add every entry of `source` to `target`. Nothing happens when there is no `source`."""
        if await self.hold(source) is None:
            return
        entries = [(entry.sort, entry.plain) for entry in self._notebooks.find(source).entries()]
        for number, (sort, plain) in enumerate(entries, 1):
            await self.write(target, sort, lambda _, plain=plain: plain, durable=number == len(entries))  # type: ignore[misc]

    async def replace(self, thread: str, entries: Sequence[tuple[str, bytes]]) -> None:
        """Close a held thread's notebook and go on in a new one that begins with `entries`; just close it when there are none."""
        held = self._held.pop(thread, None) or await self._take(thread)
        self._held.pop(thread, None)
        if entries:
            await self._notebooks.replace(held.notebook, entries)
        else:
            await held.notebook.close()

    async def _take(self, thread: str) -> Held:
        """The thread, taken for writing once, however many ask at the same time."""
        task = self._taking.get(thread)
        if task is None:
            task = self._taking[thread] = asyncio.create_task(self._open(thread), name=f"take {KEEPER}")
            task.add_done_callback(lambda _: self._taking.pop(thread, None))
        return await asyncio.shield(task)

    async def _open(self, thread: str) -> Held:
        notebook: Notebook = await self._notebooks.take(thread)
        held = Held(notebook, _fold(notebook))
        self._held[thread] = held
        self._make_room()
        return held

    def _make_room(self) -> None:
        taken = sum(held.history.size for held in self._held.values())
        for thread, held in list(self._held.items())[:-1]:
            if taken <= MAX_HELD_BYTES:
                return
            if held.settled:
                taken -= held.history.size
                del self._held[thread]


def _fold(notebook: Notebook) -> History:
    return History.of((entry.sort, entry.plain) for entry in notebook.entries())
