"""Runs or resumes a review in a process of its own and prints each moment as a line, so that a test can kill it at any of them.

python driver.py HOME run|resume ID TARGET REPO OUT
"""

from __future__ import annotations

import asyncio
import sys

from omega.host.embedded import Omega
from omega.host.targets import load_target
from omega.runtime.world import Moment


def say(moment: Moment) -> None:
    """One line a moment."""
    print(moment.kind, moment.position, flush=True)


async def main(home: str, verb: str, execution: str, example: str, repo: str, out: str) -> int:
    """The exit status: 0 when the review is done."""
    target = load_target(example)
    async with Omega.open(home, watch=say) as omega:
        if verb == "run":
            value = {"repo": repo, "out": out}
            outcome = await omega.run(target.flow, value, execution=execution, target=target.text, servers=target.servers)
        else:
            outcome = await omega.resume(execution, target.flow, target.servers)
    print("status", outcome.status, outcome.error or "", flush=True)
    return 0 if str(outcome.status) == "done" else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
