"""DBOS under the workloads of the bench, at its defaults on SQLite, with its database set to WAL beforehand, or on PostgreSQL.

python dbos_driver.py concurrent|sequential|latency|import --dir FOLDER [--wal | --store ADDRESS] [--flows 200] [--steps 50] [--seconds 4]
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measure import Window, arguments, cpu_s, finish, p50_ms

LIMIT_S = 120.0


def configured(folder: Path, wal: bool, store: str) -> tuple[Any, float]:
    """The DBOS class, set up on one SQLite file in `folder` or on the PostgreSQL database at `store`, and the seconds its import took."""
    began = time.perf_counter()
    from dbos import DBOS

    imported_s = time.perf_counter() - began
    database = folder / "dbos.sqlite"
    if wal:
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    url = store or f"sqlite:///{database}"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    return DBOS, imported_s


def define(dbos: Any, count: Callable[[int], None]) -> Any:
    """One workflow of `steps` trivial durable steps; `count(flow)` is called at the beginning of each."""

    @dbos.step()
    async def step(flow: int, value: int) -> int:
        count(flow)
        return value + 1

    @dbos.workflow()
    async def work(flow: int, steps: int) -> int:
        value = 0
        for _ in range(steps):
            value = await step(flow, value)
        return value

    return work


async def rate(dbos: Any, work: Any, window: Window, steps: int) -> dict[str, Any]:
    """Steps per second over the window: one workflow awaited in place, or many started at once."""
    if window.expected == 1:
        await window.watch(asyncio.ensure_future(work(0, steps)))
    else:
        handles = await asyncio.gather(*(dbos.start_workflow_async(work, flow, steps) for flow in range(window.expected)))
        await window.watch(asyncio.gather(*(handle.get_result() for handle in handles)))
    return {"steps_per_s": window.rate, "steps": window.steps}


async def latency(work: Any, calls: int) -> dict[str, Any]:
    """Median call to result of a workflow of one step, after one warm call."""
    await work(-1, 1)
    spent = []
    for call in range(calls):
        began = time.perf_counter()
        await work(call, 1)
        spent.append(time.perf_counter() - began)
    return {"p50_ms": p50_ms(spent)}


async def run(given: Any, dbos: Any, known: dict[str, Any]) -> None:
    """Run one workload and end the process with its result."""
    window = Window(given.flows if given.workload == "concurrent" else 1, given.seconds)
    work = define(dbos, window.step)
    dbos.launch()
    measured = latency(work, given.flows) if given.workload == "latency" else rate(dbos, work, window, given.steps)
    finish(**known, **await asyncio.wait_for(measured, LIMIT_S), cpu_s=cpu_s())


def main() -> None:
    """Read the command line, import, run."""
    given = arguments()
    dbos, imported_s = configured(given.dir, given.wal, given.store)
    known = {"peer": "dbos", "version": version("dbos"), "import_s": imported_s}
    if given.workload == "import":
        finish(**known)
    asyncio.run(run(given, dbos, known))


if __name__ == "__main__":
    main()
