"""Rolling upgrade: two versions of a flow side by side, old executions finish on the old version, new ones run on the new, nothing is lost.

    python drills/rolling_upgrade.py

    old, old                  work is lined up; half of it stands still in the middle, waiting for its time
    old, old, new             the new version is served beside the old one, and more work is lined up with it
    old, new                  one old worker is told to stop: what it had the other one goes on with
    new                       once nothing of the old version is left, the last old worker is told to stop

Afterwards every execution has the result of the version that it was started with, no worker of one version has touched an execution of the
other, and the witness saw every write once.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import cluster as clusters
import witness
from cluster import Cluster, doubled, until, verified

from omega.host.embedded import Omega
from omega.host.orders import Placing, Wanted
from omega.host.targets import Target, load_target
from omega.kernel.journal import Status
from omega.kernel.ports import Search

QUEUE = "orders"
EACH = 40
"""Executions per version."""

END_S = 60.0
FLOW = '''\
"""Version {version} of a flow that waits in the middle."""

from omega import Context, flow
from witness import Note


@flow(effect="write", needs="drill:use", version="{version}.0.0")
async def send(ctx: Context, item: int) -> int:
    """A write, with the version that did it."""
    await ctx.touch(Note(kind="write", step="send-v{version}", item=str(item)))
    return item * {version}


@flow(version="{version}.0.0")
async def handle(ctx: Context, item: int) -> int:
    """Wait, and send."""
    await ctx.sleep(0.2 if item % 2 else 1.5)
    return int(await ctx.call(send, item))


main = handle
'''


async def _line_up(omega: Omega, target: Target, items: range) -> dict[int, str]:
    found = {}
    for item in items:
        wanted = Wanted(target=Target("", target.flow, ()), input=item, placing=Placing(queue=QUEUE, labels={"item": str(item)}))
        found[item] = await omega.enqueue(wanted)
    return found


def _unfinished(omega: Omega, names: list[str]) -> list[str]:
    lines = [omega.store.line(name) for name in names]
    return [line.execution for line in lines if line is not None and not Status(line.status).ended]


async def _upgrade(ground: Cluster, files: dict[int, Path]) -> list[str]:
    def start(version: int) -> clusters.Worker:
        return ground.start(str(files[version]), "--queue", QUEUE, "--lease", "2s", "--sweep", "0.5s", "--drain", "0s")

    targets = {version: load_target(str(file)) for version, file in files.items()}
    async with Omega.open() as omega:
        old = [start(1), start(1)]
        made = {1: await _line_up(omega, targets[1], range(EACH))}
        await until(lambda: all(worker.serving() for worker in old), clusters.START_S, "the start of the old workers")
        waiting = Search(queue=QUEUE, status=(Status.WAITING, Status.RUNNING))
        await until(lambda: bool(omega.store.search(waiting)), END_S, "old work under way")
        new = start(2)
        made[2] = await _line_up(omega, targets[2], range(EACH, 2 * EACH))
        statuses = [old[0].drain()]
        await until(lambda: not _unfinished(omega, list(made[1].values())), END_S, "the end of the old work")
        statuses.append(old[1].drain())
        await until(lambda: not _unfinished(omega, list(made[2].values())), END_S, "the end of the new work")
        statuses.append(new.drain())
        wrong = [f"a worker that was told to stop ended with {status}" for status in statuses if status]
        for version, names in made.items():
            for item, name in names.items():
                outcome = await omega.engine.outcome(name)
                if outcome.value != item * version:
                    wrong.append(f"item {item} of version {version} gave {outcome.value!r}: {outcome.error}")
    return wrong + _judged(ground, {worker.life for worker in old}, new.life)


def _judged(ground: Cluster, old: set[str], new: str) -> list[str]:
    lines = list(witness.read(ground.witness))
    wrong = doubled(lines)
    seen = {line.item for line in lines}
    wrong += [f"item {item} was never sent" for item in range(2 * EACH) if str(item) not in seen]
    for line in lines:
        if (line.life in old) != (line.step == "send-v1") or (line.life == new) != (line.step == "send-v2"):
            wrong.append(f"{line.life} did {line.step} of item {line.item}")
    objection = verified({})
    return wrong + ([objection] if objection else [])


def drill(folder: Path) -> list[str]:
    """The whole drill in an empty folder; gives what was wrong."""
    files = {}
    for version in (1, 2):
        files[version] = folder / f"v{version}" / f"orders_v{version}.py"
        files[version].parent.mkdir(parents=True)
        files[version].write_text(FLOW.format(version=version))
    with clusters.cluster(folder) as (ground, _):
        return asyncio.run(_upgrade(ground, files))


if __name__ == "__main__":
    sys.exit(clusters.told("rolling upgrade", drill))
