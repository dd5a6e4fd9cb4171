"""Database kill: PostgreSQL itself is killed under load, again and again; the workers stay, open it anew, and go on.

    python drills/database_kill.py --kills 3

The server and all of its backends end without a word, as in a power cut, and come back a moment later. What the server had confirmed is
there; whether it had taken what it had not confirmed, nobody knows until the journal is read again. Afterwards everything has ended with
the right result, and the witness saw every write once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

import cluster as clusters
from cluster import Cluster, until
from worker_kills import Drill

from omega.host.embedded import Omega
from omega.kernel.errors import StorageError
from servers.postgres import PostgresServer

LEASE_S = 2.0
AWAY_S = 0.5
"""How long the database is away."""

APART_S = 3.0
"""How long the load runs between two kills, in seconds."""

LOOK_S = 0.05


async def _load(one: Drill, seconds: float) -> None:
    """Keep the load up for a while."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await one.feed()
        await one.tend()
        await asyncio.sleep(LOOK_S)


async def _killed(ground: Cluster, server: PostgresServer, kills: int, seed: int) -> list[str]:
    one: Drill | None = None
    for number in range(kills):
        async with Omega.open() as omega:
            if one is None:
                one = Drill(omega, ground, random.Random(seed), LEASE_S)  # noqa: S311 - chance, and the same again for the same seed
                one.begin()
                await until(lambda: all(worker.serving() for worker in ground.living()), clusters.START_S, "the start of the workers")
            one.omega = omega
            await _load(one, APART_S)
        server.kill()
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(server.start)
        if len(ground.living()) < len(ground.workers):
            return [f"after kill {number + 1} of the database a worker has ended: {worker.log}" for worker in ground.workers]
    assert one is not None  # noqa: S101 - there is at least one kill
    return await _judged(one, ground)


async def _judged(one: Drill, ground: Cluster) -> list[str]:
    async with Omega.open() as omega:
        one.omega = omega
        await one.finish()
        await one.results()
        statuses = [worker.drain() for worker in ground.living()]
        one.judge()
    return one.found.wrong + [f"a worker ended with {status}" for status in statuses if status]


def drill(folder: Path, kills: int, seed: int) -> list[str]:
    """The whole drill in an empty folder; gives what was wrong."""
    with clusters.cluster(folder) as (ground, server):
        try:
            return asyncio.run(_killed(ground, server, kills, seed))
        except StorageError as error:
            return [f"the drill itself lost the database: {error.code} {error.cause}"]


if __name__ == "__main__":
    ask = argparse.ArgumentParser(description="kill the database under load")
    ask.add_argument("--kills", type=int, default=3)
    ask.add_argument("--seed", type=int, default=int(time.time()))
    given = ask.parse_args()
    sys.exit(clusters.told("database kill", lambda folder: drill(folder, given.kills, given.seed)))
