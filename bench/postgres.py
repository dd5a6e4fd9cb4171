"""F4: flows at once on PostgreSQL, against DBOS on the same server, and the transactions that a step costs.

    python bench/postgres.py [--rounds 5]

One server from the wheel `pgserver`, with its defaults (fsync and synchronous_commit on), serves both. In each round each engine runs the
workload once, in a fresh process on a fresh schema or database, in turned order; the figure is the median of the ratios within the rounds.
What a peer's rate counts is said in bench/peers/measure.py: its start is left out, ours is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from servers.postgres import PostgresServer, serve

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".env"
ROUNDS = 5
FLOWS, STEPS, SECONDS = 200, 50, 4
"""The workload: so many flows at once of so many trivial durable steps; a peer's rate is read over so many seconds of it."""

RUN_S = 180
"""Longest that one run of one engine may take."""


def run_driver(python: Path, script: Path, *arguments: str, store: str) -> dict[str, Any]:
    """One run in a fresh process; the driver's last line is its result."""
    data = Path(tempfile.mkdtemp(dir=HERE, prefix=".bench-"))
    try:
        run = subprocess.run(
            [python, script, "concurrent", "--flows", str(FLOWS), "--steps", str(STEPS), "--dir", data, *arguments],
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith(("OMEGA_", "DBOS_"))} | {"OMEGA_STORE": store},
        )
        lines = run.stdout.strip().splitlines()
        if run.returncode or not lines:
            sys.exit(f"bench: {script.name} failed:\n{run.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(lines[-1])
        return result
    finally:
        shutil.rmtree(data, ignore_errors=True)


def ours(server: PostgresServer, number: int) -> dict[str, Any]:
    """Omega on a fresh schema."""
    return run_driver(Path(sys.executable), HERE / "omega_driver.py", store=server.fresh())


def theirs(server: PostgresServer, number: int) -> dict[str, Any]:
    """DBOS on a fresh database."""
    above = server.dsn(role="postgres", database="postgres")
    asyncio.run(server.execute(f"CREATE DATABASE dbos_{number} OWNER omega", dsn=above))
    address = server.dsn(database=f"dbos_{number}").replace("&search_path=public", "")
    script = HERE / "peers/dbos_driver.py"
    return run_driver(PEERS / "bin/python", script, "--store", address, "--seconds", str(SECONDS), store="")


def figures(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The records of F4, as bench/run.py keeps them; none where there is no server to start."""
    if importlib.util.find_spec("pgserver") is None:
        return []  # there is no such wheel for this Python
    mine: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for server in serve():
        for number in range(rounds):
            pair = [(ours, mine), (theirs, others)]
            for measure, results in pair if number % 2 == 0 else reversed(pair):
                results.append(measure(server, number))
    ratios = [one["steps_per_s"] / other["steps_per_s"] for one, other in zip(mine, others, strict=True)]
    per_step = [each["commits"] / each["steps"] for each in mine]
    rate = {
        "absolute_unit": "steps/s",
        "omega": _median(each["steps_per_s"] for each in mine),
        "other": _median(each["steps_per_s"] for each in others),
    }
    peer = f"dbos {others[0]['version']}"
    return [
        _record("F4/rate", "steps at once on PostgreSQL", ratios, "x", ">= 15", peer) | rate,
        _record("F4/commits", "transactions per step on PostgreSQL, 200 flows at once", per_step, "", "<= 0.05", ""),
    ]


def _record(name: str, what: str, values: list[float], unit: str, goal: str, peer: str) -> dict[str, Any]:
    value = round(statistics.median(values), 4)
    sign, _, limit = goal.partition(" ")
    holds = value >= float(limit) if sign == ">=" else value <= float(limit)
    spread = [round(min(values), 4), round(max(values), 4)]
    facts = {"id": name, "what": what, "value": value, "unit": unit, "goal": goal, "holds": holds, "range": spread, "peer": peer}
    return facts | {"command": "make bench", "rounds": len(values)}


def _median(values: Any) -> float:
    return float(f"{statistics.median(values):.4g}")


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description="measure F4")
    ask.add_argument("--rounds", type=int, default=ROUNDS)
    for record in figures(ask.parse_args().rounds):
        print(json.dumps(record))


if __name__ == "__main__":
    main()
