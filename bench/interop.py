"""F7: what a LangGraph state that grows by 1 KB a step takes on disk, per byte put in, and how many commits its supersteps cost.

    python bench/interop.py [STEPS]    Omega's checkpointer, and LangGraph's SQLite saver if `langgraph-checkpoint-sqlite` is there

Entries are random bytes, which nothing can compress. Sizes are of the whole folder after a clean close, less that of an empty one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import operator
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from omega.host.embedded import Omega
from omega.host.interop import langgraph_saver

ENTRY_BYTES = 1_024
DEFAULT_STEPS = 400


class State(TypedDict):
    """A list that grows by one entry a step."""

    log: Annotated[list[bytes], operator.add]
    steps: int


def graph_of(steps: int) -> StateGraph[State]:
    """A graph of one node that runs `steps` times."""
    builder = StateGraph(State)
    builder.add_node("add", lambda state: {"log": [os.urandom(ENTRY_BYTES)], "steps": state["steps"] + 1})
    builder.add_edge(START, "add")
    builder.add_conditional_edges("add", lambda state: "add" if state["steps"] < steps else END)
    return builder


async def invoke(saver: Any, steps: int) -> None:
    """One run to its end, durable after each superstep."""
    config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": steps + 10}
    await graph_of(steps).compile(checkpointer=saver).ainvoke({"log": [], "steps": 0}, config, durability="sync")


async def with_omega(folder: str, steps: int) -> str:
    """Omega's checkpointer; gives what it counted."""
    async with Omega.open(folder) as omega:
        if steps:
            await invoke(langgraph_saver(omega), steps)
        return f"{omega.store.counts.commits / max(steps, 1):.2f} commits a superstep"


async def with_sqlite_saver(folder: str, steps: int) -> str:
    """LangGraph's own saver."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(f"{folder}/checkpoints.db") as saver:
        await saver.setup()
        if steps:
            await invoke(saver, steps)
    return f"langgraph-checkpoint-sqlite {version('langgraph-checkpoint-sqlite')}"


def measure(name: str, run: Callable[[str, int], Awaitable[str]], steps: int) -> None:
    """Print one line."""
    sizes: list[int] = []
    for count in (0, steps):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            said = asyncio.run(run(folder, count))  # type: ignore[arg-type]
            took = time.perf_counter() - began
            sizes.append(sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()))
    ratio = (sizes[1] - sizes[0]) / (steps * ENTRY_BYTES)
    print(f"{name:12} {ratio:8.2f} bytes on disk per byte put in   {steps / took:7.0f} supersteps/s   {said}")


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_STEPS
    print(f"langgraph {version('langgraph')}, {wanted} supersteps of {ENTRY_BYTES} bytes")
    measure("omega", with_omega, wanted)
    if importlib.util.find_spec("langgraph.checkpoint.sqlite") is not None:
        measure("SQLite saver", with_sqlite_saver, wanted)
