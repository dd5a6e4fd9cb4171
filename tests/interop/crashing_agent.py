"""A pydantic-ai agent in an Omega flow that may be told to die: crashing_agent.py HOME WITNESS AT.

AT is what it does when it dies, `never`, or `resolve` to say first that the step in doubt was done.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from interop.agents import clerk, working
from omega.host.embedded import Omega

EXECUTION = "run"


class Witness(list[str]):
    """Writes what is done to a file, outside every journal, and dies there when it is told to."""

    def __init__(self, path: str, dies_at: str) -> None:
        super().__init__()
        self.path = path
        self.dies_at = dies_at

    def append(self, what: str) -> None:
        """Note `what` was done."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{what}\n")
        if what == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(home: str, witness: str, dies_at: str) -> Any:
    """Begin the run, or go on with it."""
    work = working(clerk(Witness(witness, dies_at)))
    async with Omega.open(home) as omega:
        if omega.store.line(EXECUTION) is None:
            return await omega.run(work, "task", execution=EXECUTION)
        if dies_at == "resolve":
            await omega.decide(EXECUTION, "resolve", {"step": "", "done": True, "value": {"kind": "tool_return", "result": "noted"}})
        return await omega.resume(EXECUTION, work)


if __name__ == "__main__":
    outcome = asyncio.run(main(*sys.argv[1:]))
    print(json.dumps({"status": outcome.status} | ({"value": outcome.value} if outcome.error is None else {})))
