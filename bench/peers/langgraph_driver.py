"""LangGraph with its SQLite checkpointer under the workloads of the bench, at `durability="sync"`: every step durable before the next.

    python langgraph_driver.py concurrent|sequential|latency|import --dir FOLDER [--flows 200] [--steps 50] [--seconds 4]

The graph is one node that returns to itself until the count is reached, so a superstep is a step. Flows run at once as tasks of one event
loop on the asynchronous saver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypedDict

from measure import Window, arguments, cpu_s, finish, p50_ms

LIMIT_S = 120.0


class State(TypedDict):
    """What a step gets and gives: which flow it is, how far it is, how far it goes."""

    flow: int
    value: int
    steps: int


def graph_of(saver: Any, count: Callable[[int], None]) -> Any:
    """The compiled graph of trivial steps; `count(flow)` is called at the beginning of each."""
    from langgraph.graph import END, START, StateGraph

    async def step(state: State) -> dict[str, int]:
        count(state["flow"])
        return {"value": state["value"] + 1}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if state["value"] < state["steps"] else END)
    return graph.compile(checkpointer=saver)


async def call(graph: Any, flow: int, steps: int) -> Any:
    """One flow from its first step to its last."""
    config = {"configurable": {"thread_id": str(flow)}, "recursion_limit": steps + 10}
    return await graph.ainvoke({"flow": flow, "value": 0, "steps": steps}, config, durability="sync")


async def rate(graph: Any, window: Window, steps: int) -> dict[str, Any]:
    """Steps per second over the window."""
    running = asyncio.gather(*(call(graph, flow, steps) for flow in range(window.expected)))
    await window.watch(running)
    return {"steps_per_s": window.rate, "steps": window.steps}


async def latency(graph: Any, calls: int) -> dict[str, Any]:
    """Median call to result of a flow of one step, after one warm call."""
    await call(graph, -1, 1)
    spent = []
    for number in range(calls):
        began = time.perf_counter()
        await call(graph, number, 1)
        spent.append(time.perf_counter() - began)
    return {"p50_ms": p50_ms(spent)}


async def run(given: Any, known: dict[str, Any]) -> None:
    """Run one workload and end the process with its result."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    window = Window(given.flows if given.workload == "concurrent" else 1, given.seconds)
    async with AsyncSqliteSaver.from_conn_string(str(given.dir / "langgraph.sqlite")) as saver:
        await saver.conn.execute("PRAGMA synchronous=FULL")
        graph = graph_of(saver, window.step)
        measured = latency(graph, given.flows) if given.workload == "latency" else rate(graph, window, given.steps)
        finish(**known, **await asyncio.wait_for(measured, LIMIT_S), cpu_s=cpu_s())


def main() -> None:
    """Read the command line, import, run."""
    given = arguments()
    began = time.perf_counter()
    import langgraph.checkpoint.sqlite.aio
    import langgraph.graph  # noqa: F401

    known = {"peer": "langgraph", "version": version("langgraph"), "import_s": time.perf_counter() - began}
    if given.workload == "import":
        finish(**known)
    asyncio.run(run(given, known))


if __name__ == "__main__":
    main()
