"""Omega under the workloads of the bench: the embedded engine as a user gets it, with types, journal, seals, gate and log on.

    python omega_driver.py concurrent|sequential|latency|counts|import --dir FOLDER [--touches] [--uneven] [--flows 200] [--steps 50]

Rates are over the whole workload, from the first call to the last result, starting flows included. A touch is a step that reads a small
file: it is admitted by the warden, its intent is durable before, its result after, and both have leaves.
"""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from measure import arguments, cpu_s, finish, p50_ms


async def call(omega: Any, flow: Any, value: Any) -> None:
    """One durable run to its end; a run that failed stops the bench."""
    outcome = await omega.run(flow, value)
    if outcome.status != "done":
        sys.exit(f"bench: a run ended as {outcome.status}: {outcome.error}")


def works(given: Namespace, flows: ModuleType) -> tuple[list[tuple[Any, Any]], int]:
    """(flow, input) of each run of the concurrent workload, and the steps of all."""
    lengths = [5 + number * 37 % 91 if given.uneven else given.steps for number in range(given.flows)]
    path = str(given.dir / "read-me.txt")
    pairs = [(flows.mixed, (length, path)) if given.touches else (flows.pure, length) for length in lengths]
    return pairs, sum(lengths)


async def rate(omega: Any, pairs: list[tuple[Any, Any]], steps: int) -> dict[str, Any]:
    """Steps per second from the first call to the last result."""
    began, commits, cpu = time.perf_counter(), omega.store.counts.commits, cpu_s()
    await asyncio.gather(*(call(omega, flow, value) for flow, value in pairs))
    return {
        "steps_per_s": steps / (time.perf_counter() - began),
        "steps_per_cpu_s": steps / (cpu_s() - cpu),
        "steps": steps,
        "commits": omega.store.counts.commits - commits,
    }


async def latency(omega: Any, flow: Any, calls: int) -> dict[str, Any]:
    """Median call to result of a flow of one step."""
    spent = []
    for number in range(calls):
        began = time.perf_counter()
        await call(omega, flow, number)
        spent.append(time.perf_counter() - began)
    return {"p50_ms": p50_ms(spent)}


async def counts(omega: Any, given: Namespace, flows: ModuleType) -> dict[str, Any]:
    """Waits for the disk per step: one per commit in WAL mode with synchronous=FULL, two per checkpoint of the WAL."""

    async def per_step(pairs: list[tuple[Any, Any]], steps: int) -> float:
        before = omega.store.counts.commits + 2 * omega.store.counts.folds
        await asyncio.gather(*(call(omega, flow, value) for flow, value in pairs))
        return (omega.store.counts.commits + 2 * omega.store.counts.folds - before) / steps

    together, steps = works(given, flows)
    path = str(given.dir / "read-me.txt")
    return {
        "at_once": await per_step(together, steps),
        "one_pure": await per_step([(flows.pure, 1_000)], 1_000),
        "one_touching": await per_step([(flows.touching, (200, path))], 200),
    }


async def run(given: Namespace, known: dict[str, Any]) -> None:
    """Run one workload and end the process with its result."""
    import workloads as flows

    from omega.host.embedded import Omega

    (given.dir / "read-me.txt").write_text("a file to read\n")
    async with Omega.open(given.dir / "home") as omega:
        await call(omega, flows.step, 0)
        if given.workload == "latency":
            values = await latency(omega, flows.step, given.flows)
        elif given.workload == "counts":
            values = await counts(omega, given, flows)
        elif given.workload == "sequential":
            values = await rate(omega, [(flows.pure, given.steps)], given.steps)
        else:
            values = await rate(omega, *works(given, flows))
    finish(**known, **values, cpu_s=cpu_s())


def main() -> None:
    """Read the command line, import, run."""
    given = arguments()
    began = time.perf_counter()
    import omega
    import omega.host.embedded

    known = {"peer": "omega", "version": omega.__version__, "import_s": time.perf_counter() - began}
    if given.workload == "import":
        finish(**known)
    asyncio.run(run(given, known))


if __name__ == "__main__":
    main()
