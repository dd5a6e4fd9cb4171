"""Backup and restore: a copy is taken while workers work; everything is lost; the copy is put back elsewhere, verified, and gone on with.

    python drills/backup_restore.py            both stores
    python drills/backup_restore.py sqlite     SQLite: its own online backup, and the folder keys
    python drills/backup_restore.py postgres   PostgreSQL: pg_dump, and the folder keys

What stands in the copy goes on from there, and is never begun again: the write that every execution had done before the copy happens once.
What happened after the copy is not in it, as with any backup: the log of the copy ends earlier, and a checkpoint that was kept elsewhere
shows by how much. So the drill copies at a moment at which the writes under way wait for a signal, and loses everything right after.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import cluster as clusters
import witness
from cluster import Cluster, doubled, until, verified

from omega.host.asking import enqueue
from omega.host.deciding import decide
from omega.host.orders import Placing, Wanted
from omega.host.reading import Archive
from omega.host.targets import Target, load_target
from omega.kernel.journal import Status
from omega.kernel.ports import Search
from omega.runtime.recovery import read_outcome

QUEUE = "letters"
ITEMS = 12
END_S = 60.0
DATABASE = "omega.db"
FLOW = '''\
"""Two writes with a signal between them."""

from omega import Context, flow
from witness import Note


@flow(effect="write", needs="drill:use")
async def draft(ctx: Context, item: int) -> int:
    """The write before the backup."""
    await ctx.touch(Note(kind="write", step="draft", item=str(item)))
    return item


@flow(effect="write", needs="drill:use")
async def post(ctx: Context, item: int) -> int:
    """The write after it."""
    await ctx.touch(Note(kind="write", step="post", item=str(item)))
    return item


@flow
async def main(ctx: Context, item: int) -> int:
    """Draft, wait to be told, post."""
    await ctx.call(draft, item)
    await ctx.signal("go")
    return int(await ctx.call(post, item)) * 7
'''

Copy = Callable[[], None]
"""Takes the backup."""

Restore = Callable[[], None]
"""Loses everything but the backup, and puts that back where the cluster is told it is from then on."""


async def _drilled(ground: Cluster, file: Path, copy: Copy, restore: Restore) -> list[str]:
    arguments = (str(file), "--queue", QUEUE, "--lease", "1s", "--sweep", "0.2s")
    first = ground.start(*arguments)
    await until(first.serving, clusters.START_S, "the start of the worker")
    names = {}
    for item in range(ITEMS):
        target = Target(str(file), load_target(str(file)).flow, ())
        names[item] = await enqueue(None, Wanted(target=target, input=item, placing=Placing(queue=QUEUE, labels={"item": str(item)})))
    await until(lambda: _waiting() == ITEMS, END_S, "everything waiting for its signal")
    copy()
    first.kill()
    restore()
    os.environ |= ground.environment("drill")
    wrong = [text for text in (verified({}),) if text]
    second = ground.start(*arguments)
    await until(second.serving, clusters.START_S, "the start of the worker on what was restored")
    for name in names.values():
        await decide(None, name, "signal", {"name": "go", "value": None})
    await until(lambda: all(_ended(name) for name in names.values()), END_S, "the end of everything")
    status = second.drain()
    wrong += [f"the worker ended with {status}"] if status else []
    with Archive.open() as archive:
        for item, name in names.items():
            outcome = read_outcome(archive.world, name)
            wrong += [] if outcome.value == item * 7 else [f"item {item} gave {outcome.value!r}: {outcome.error}"]
    lines = list(witness.read(ground.witness))
    wrong += doubled(lines)
    seen = {(line.step, line.item) for line in lines}
    wrong += [
        f"{step} of item {item} never happened" for item in range(ITEMS) for step in ("draft", "post") if (step, str(item)) not in seen
    ]
    return wrong + [text for text in (verified({}),) if text]


def _waiting() -> int:
    with Archive.open() as archive:
        return len(archive.reader.search(Search(queue=QUEUE, status=(Status.WAITING,), limit=ITEMS)))


def _ended(name: str) -> bool:
    with Archive.open() as archive:
        line = archive.reader.line(name)
        return line is not None and Status(line.status).ended


def drill_sqlite(folder: Path) -> list[str]:
    """SQLite: `sqlite3.Connection.backup` beside the live engine."""
    home, backup, fresh = folder / "home", folder / "backup", folder / "restored"
    file, before = _flow(folder), dict(os.environ)
    ground = Cluster(folder, "")

    def copy() -> None:
        backup.mkdir()
        with sqlite3.connect(home / DATABASE) as source, sqlite3.connect(backup / DATABASE) as target:
            source.backup(target)
        shutil.copytree(home / "keys", backup / "keys")

    def restore() -> None:
        shutil.rmtree(home)
        shutil.copytree(backup, fresh)
        fresh.chmod(0o700)
        ground.home = fresh

    try:
        return asyncio.run(_drilled(ground, file, copy, restore))
    finally:
        ground.end()
        os.environ.clear()
        os.environ |= before


def drill_postgres(folder: Path) -> list[str]:
    """PostgreSQL: `pg_dump` beside live engines, into a database that did not exist before."""
    file = _flow(folder)
    with clusters.cluster(folder) as (ground, server):
        backup = folder / "backup"

        def copy() -> None:
            backup.mkdir()
            server.dump(ground.dsn, backup / "omega.sql")
            shutil.copytree(folder / "home" / "keys", backup / "keys")

        def restore() -> None:
            shutil.rmtree(ground.home)
            ground.home = folder / "restored"
            shutil.copytree(backup / "keys", ground.home / "keys")
            ground.home.chmod(0o700)
            ground.dsn = server.restore(backup / "omega.sql")

        return asyncio.run(_drilled(ground, file, copy, restore))


def _flow(folder: Path) -> Path:
    file = folder / "flows" / "letters.py"
    file.parent.mkdir(parents=True)
    file.write_text(FLOW)
    return file


if __name__ == "__main__":
    asked = sys.argv[1:] or ["sqlite", "postgres"]
    drills = {"sqlite": drill_sqlite, "postgres": drill_postgres}
    sys.exit(max(clusters.told(f"backup and restore, {name}", drills[name]) for name in asked))
