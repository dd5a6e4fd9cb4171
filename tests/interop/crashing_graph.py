"""A LangGraph program on Omega's journal that may be told to die: crashing_graph.py HOME WITNESS STEP (0: never)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from interop.graphs import growing, thread
from omega.host.embedded import Omega
from omega.host.interop import langgraph_saver

STEPS = 10


async def main(home: str, witness: str, dies_at: int) -> None:
    """Go on with thread 1 to its end; each step that runs writes its number to `witness`, outside every journal."""
    async with Omega.open(home) as omega:
        at = {"step": 0}

        def step() -> int:
            with open(witness, "a", encoding="utf-8") as file:
                file.write(f"{at['step'] + 1}\n")
            if at["step"] + 1 == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            at["step"] += 1
            return at["step"]

        graph = growing(STEPS, make=step).compile(checkpointer=langgraph_saver(omega))
        there = (await graph.aget_state(thread())).values
        at["step"] = there.get("steps", 0)
        result = await graph.ainvoke(None if there else {"log": [], "steps": 0}, thread(), durability="sync")
        print(json.dumps(result["log"]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
