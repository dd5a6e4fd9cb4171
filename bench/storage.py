"""Figures F7 and F8: what is kept, and what a fork costs. `python bench/storage.py` prints them.

F7  bytes in the data folder for a state that grows by 1 KB of random letters in each of 400 steps and comes back from each of them,
    against the 400 KB that the user wrote; beside it LangGraph with its SQLite checkpointer, where its environment (bench/.env) stands.
    Beside them, without a goal: the seconds that the run took, and those of one that reads every step again (a replay).
F8  commits and bytes of a fork, at the dearest of twelve steps of a run of 1,000: rows, leaf, checkpoint and the texts of its line.

Counts and sizes are exact, so one run is enough; random letters, because anything else would flatter the packing.
"""

from __future__ import annotations

import asyncio
import json
import random
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from omega import Context, flow
from omega.adapters.sqlite import SqliteStore
from omega.host.embedded import Omega
from omega.kernel.ports import Batch
from omega.runtime.forking import fork

HERE = Path(__file__).resolve().parent
PEER = HERE / ".env" / "bin" / "python"
STEPS = 400
GROWTH = 1_000
LONG = 1_000
"""Steps of the run that is forked."""

FORKS_AT = (1, 2, 3, 10, 99, 250, 500, 501, 750, 998, 999, 1_000)
PEER_S = 300


@flow
def grow(state: dict[str, Any]) -> dict[str, Any]:
    """The state with one more message."""
    draw = random.Random(len(state["messages"]))
    text = "".join(draw.choices(string.ascii_letters + string.digits, k=GROWTH))
    return {"turn": state["turn"] + 1, "messages": [*state["messages"], text]}


@flow
async def agent(ctx: Context, turns: int) -> int:
    """`turns` steps that each give the whole state."""
    state: dict[str, Any] = {"turn": 0, "messages": []}
    for _ in range(turns):
        state = await ctx.call(grow, state)
    return len(state["messages"])


@flow
def step(value: int) -> int:
    """A trivial step."""
    return value + 1


@flow
async def count(ctx: Context, steps: int) -> int:
    """`steps` trivial steps, one after the other."""
    value = 0
    for _ in range(steps):
        value = await ctx.call(step, value)
    return value


async def growing(home: Path) -> dict[str, Any]:
    """F7: the run, its replay, and the size of the folder after both."""
    async with Omega.open(home) as omega:
        began = time.perf_counter()
        done = await omega.run(agent, STEPS, execution="run")
        ran = time.perf_counter()
        report = await omega.replay("run", agent)
        read = time.perf_counter()
    if done.value != STEPS or not report.identical:
        sys.exit(f"bench: the growing state did not come out: {done.error or report.divergence}")
    return {"run_s": round(ran - began, 2), "replay_s": round(read - ran, 2), "bytes": size(home / "omega.db")}


def size(database: Path) -> int:
    """A database with what is not folded into it yet."""
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*"))


async def forking(home: Path) -> dict[str, int]:
    """F8: the dearest fork, in commits and bytes."""
    async with Omega.open(home) as omega:
        await omega.run(count, LONG, execution="run")
        store = omega.store
        assert isinstance(store, SqliteStore)
        commits = most = 0
        kept: list[Batch] = []
        whole = store.commit

        async def seen(batch: Batch) -> Any:
            kept.append(batch)
            return await whole(batch)

        store.commit = seen  # type: ignore[method-assign]
        for at in FORKS_AT:
            kept.clear()
            before = store.counts.commits
            await fork(omega.engine, "run", count, omega.scope(), at="count/step" if at == 1 else f"count/step#{at}")
            commits = max(commits, store.counts.commits - before)
            most = max(most, sum(map(weight, kept)) + len(store.checkpoints(omega.settings.tenant)[-1][1]))
    return {"commits": commits, "bytes": most}


def weight(batch: Batch) -> int:
    """What a batch brings to disk."""
    rows = sum(len(row.meta) + len(row.payload or b"") + len(row.position) + 16 for row in batch.rows)
    head = batch.head
    texts = [] if head is None else [value for name in head.__slots__ if isinstance(value := getattr(head, name), str)]
    return rows + sum(map(len, batch.leaves)) + len(batch.key or b"") + len(batch.execution) + sum(map(len, texts))


def peer(folder: Path) -> dict[str, Any]:
    """The same state in LangGraph; nothing when its environment is not there."""
    if not PEER.is_file():
        return {}
    script = HERE / "peers" / "langgraph_storage.py"
    command = [PEER, script, str(folder), str(STEPS), str(GROWTH)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PEER_S, check=False)
    if run.returncode:
        sys.exit(f"bench: {script.name} failed:\n{run.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def figures() -> list[dict[str, Any]]:
    """The records of F7 and F8."""
    users = STEPS * GROWTH
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".bench-") as name:
        folder = Path(name)
        grown, forked, other = asyncio.run(growing(folder / "one")), asyncio.run(forking(folder / "two")), peer(folder)
    ratio = round(grown["bytes"] / users, 2)
    detail = {"bytes": grown["bytes"], "run_s": grown["run_s"], "replay_s": grown["replay_s"]}
    beside = f"langgraph {other['version']}: {other['bytes'] / users:.0f} x" if other else ""
    what = f"bytes kept, a state of 1 KB x {STEPS} steps"
    return [
        record("F7", what, ratio, "x", 3, peer=beside, **detail),
        record("F8/commits", f"commits of a fork of a run of {LONG:,} steps", forked["commits"], "", 2),
        record("F8/bytes", "bytes of the same", forked["bytes"], "bytes", 1_024),
    ]


def record(name: str, what: str, value: float, unit: str, goal: float, *, peer: str = "", **detail: Any) -> dict[str, Any]:
    """One figure as bench/results.json keeps it; every goal here is a most."""
    holds = value <= goal
    said = {"id": name, "what": what, "value": value, "unit": unit, "goal": f"<= {goal:g}", "holds": holds, "range": None, "peer": peer}
    return said | {"command": "python bench/storage.py", **detail}


if __name__ == "__main__":
    for each in figures():
        print(json.dumps(each))
