"""Small LangGraph graphs for the tests, and a saver on an engine in memory or on a folder."""

from __future__ import annotations

import asyncio
import operator
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar

from langgraph.graph import END, START, StateGraph

from omega.adapters.langgraph import KEEPER, OmegaSaver
from omega.host.embedded import Omega
from omega.host.interop import langgraph_saver
from omega.runtime.notebook import Notebooks, notebook_flow
from omega.testing import Lab

T = TypeVar("T")


class Log(TypedDict):
    """A state that grows by one entry a step."""

    log: Annotated[list[Any], operator.add]
    steps: int


def growing(steps: int, make: Callable[[], Any] = lambda: os.urandom(1_024)) -> StateGraph[Log]:
    """A graph that adds what `make` gives, `steps` times."""
    graph = StateGraph(Log)
    graph.add_node("add", lambda state: {"log": [make()], "steps": state["steps"] + 1})
    graph.add_edge(START, "add")
    graph.add_conditional_edges("add", lambda state: "add" if state["steps"] < steps else END)
    return graph


def thread(name: str = "1", **more: Any) -> dict[str, Any]:
    """The config of a thread."""
    return {"configurable": {"thread_id": name, **more}, "recursion_limit": 5_000}


def saver_of(lab: Lab, **facts: Any) -> OmegaSaver:
    """A saver on a lab, for the running loop."""
    return OmegaSaver(Notebooks(lab.engine, notebook_flow(KEEPER), lambda: lab.scope(**facts)), asyncio.get_running_loop())


def in_lab(work: Callable[[Lab, OmegaSaver], Awaitable[T]]) -> T:
    """Run `work` with a lab and a saver on it; the lab's log must verify afterwards."""

    async def whole() -> T:
        lab = Lab()
        try:
            return await work(lab, saver_of(lab))
        finally:
            await lab.engine.close()
            assert lab.verify().sound

    return asyncio.run(whole())


def in_folder(folder: Path, work: Callable[[Omega, OmegaSaver], Awaitable[T]], **facts: Any) -> T:
    """Run `work` with an engine on `folder` and a saver on it."""

    async def whole() -> T:
        async with Omega.open(folder) as omega:
            return await work(omega, langgraph_saver(omega, **facts))

    return asyncio.run(whole())
