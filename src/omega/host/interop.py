"""Omega under other frameworks: a LangGraph checkpointer on an open engine, or on one of its own.

    async with Omega.open() as omega:
        graph = builder.compile(checkpointer=langgraph_saver(omega))
        await graph.ainvoke(question, {"configurable": {"thread_id": "7"}})

For programs without an event loop there is `open_langgraph_saver`, which runs an engine in a thread of its own:

    with open_langgraph_saver() as saver:
        builder.compile(checkpointer=saver).invoke(question, {"configurable": {"thread_id": "7"}})
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omega.host.embedded import Omega
from omega.runtime.notebook import Notebooks, notebook_flow

if TYPE_CHECKING:
    from omega.adapters.langgraph import OmegaSaver


def langgraph_saver(omega: Omega, *, allow: Iterable[type] = (), principal: str = "") -> OmegaSaver:
    """A checkpointer for LangGraph graphs on `omega`, called on its event loop.

    `allow` lists the application's own types that a state may hold; `principal` is who writes (the owner unless given). Needs the extra
    `langgraph`.
    """
    from omega.adapters.langgraph import KEEPER, OmegaSaver

    notebooks = Notebooks(omega.engine, notebook_flow(KEEPER), lambda: omega.scope(principal))
    return OmegaSaver(notebooks, asyncio.get_running_loop(), allow=allow)


@contextmanager
def open_langgraph_saver(
    home: str | os.PathLike[str] | None = None, *, allow: Iterable[type] = (), principal: str = ""
) -> Iterator[OmegaSaver]:
    """A checkpointer with an engine of its own on a folder (OMEGA_HOME unless given), in a thread of its own: for `invoke` and `stream`.

    Raises what `Omega.open` raises.
    """
    opened: Future[tuple[OmegaSaver, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        try:
            async with Omega.open(home) as omega:
                over = asyncio.Event()
                opened.set_result((langgraph_saver(omega, allow=allow, principal=principal), asyncio.get_running_loop(), over))
                await over.wait()
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="omega-langgraph")
    thread.start()
    try:
        saver, loop, over = opened.result()
        try:
            yield saver
        finally:
            loop.call_soon_threadsafe(over.set)
    finally:
        thread.join()
