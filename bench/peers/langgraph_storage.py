"""LangGraph's SQLite checkpointer with a state that grows: `python langgraph_storage.py FOLDER STEPS GROWTH` prints its size in bytes."""

from __future__ import annotations

import json
import random
import string
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict


class State(TypedDict):
    """What each step gets and gives back whole."""

    turn: int
    messages: list[str]


def main() -> None:
    """Run one thread to its end and measure the database."""
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    folder, steps, growth = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    database = folder / "langgraph.sqlite"

    def grow(state: State) -> dict[str, Any]:
        draw = random.Random(len(state["messages"]))
        text = "".join(draw.choices(string.ascii_letters + string.digits, k=growth))
        return {"turn": state["turn"] + 1, "messages": [*state["messages"], text]}

    graph = StateGraph(State)
    graph.add_node("grow", grow)
    graph.add_edge(START, "grow")
    graph.add_conditional_edges("grow", lambda state: "grow" if state["turn"] < steps else END)
    with SqliteSaver.from_conn_string(str(database)) as saver:
        compiled = graph.compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": steps + 10}
        compiled.invoke({"turn": 0, "messages": []}, config, durability="sync")
    size = sum(path.stat().st_size for path in folder.glob("langgraph.sqlite*"))
    print(json.dumps({"version": version("langgraph"), "bytes": size}))


if __name__ == "__main__":
    main()
