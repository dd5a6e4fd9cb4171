"""A program that uses a data folder from a process of its own: `store_worker.py VERB FOLDER [ARGUMENT ...]`, answers as lines of JSON.

hold      be the engine until standard input ends
open      try to be the engine, say how it went
read      read the list of executions
write     be the engine and commit for ever, noting each acknowledged row in WITNESS (append-only, one write per line)
fill      as `write` under a limit on the size of files, until the store gives up
post      leave a letter about EXECUTION
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from omega.adapters.sqlite import SqliteInbox, SqliteReader, SqliteStore
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Kind, Row
from omega.kernel.ports import Batch, Head
from omega.testing.conformance import NoteSequencer

FLOWS = 8
TENANT = "ten_one"


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def now_us() -> int:
    return time.time_ns() // 1000


def open_store(folder: Path) -> SqliteStore:
    return SqliteStore.open(folder, sequencer=NoteSequencer(), owner=f"worker-{os.getpid()}", now_us=now_us)


def hold(folder: Path) -> None:
    with open_store(folder):
        say(ready=True, pid=os.getpid())
        sys.stdin.read()


def try_open(folder: Path) -> None:
    with open_store(folder) as store:
        say(engine=store.engine)


def read(folder: Path) -> None:
    with SqliteReader.open(folder) as reader:
        say(executions=[line.execution for line in reader.lines()])


def witness_of(descriptor: int) -> Callable[[str], None]:
    def note(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return note


async def flow(store: SqliteStore, name: str, note: Callable[[str], None]) -> None:
    """One execution: now and then a leaf, now and then a row written behind, for ever."""
    head = Head(status="running", flow="endless", at_us=now_us(), create=True)
    await store.commit(Batch(tenant=TENANT, execution=name, epoch=1, rows=[Row(name, 0, Kind.STARTED, "", b"start")], head=head))
    note(f"{name} 0 -1")
    seq = 1
    while True:
        store.behind(Batch(tenant=TENANT, execution=name, epoch=1, rows=[Row(name, seq, Kind.DONE, f"p#{seq}", b"pure", os.urandom(200))]))
        body = f"{name} {seq + 1}".encode()
        rows = [Row(name, seq + 1, Kind.DONE, f"s#{seq + 1}", b"meta", os.urandom(70_000 if seq % 50 == 49 else 200))]
        answer = await store.commit(Batch(tenant=TENANT, execution=name, epoch=1, rows=rows, leaves=[body]))
        note(f"{name} {seq} -1")
        note(f"{name} {seq + 1} {answer.leaves[0]}")
        seq += 2


def write(folder: Path, witness: str) -> None:
    descriptor = os.open(witness, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def main(store: SqliteStore) -> None:
        prefix = f"exe_{store.engine}"
        async with asyncio.TaskGroup() as group:
            for number in range(FLOWS):
                group.create_task(flow(store, f"{prefix}_{number}", witness_of(descriptor)))

    with open_store(folder) as store:
        say(ready=True, pid=os.getpid())
        asyncio.run(main(store))


def fill(folder: Path, witness: str, limit: str = "") -> None:
    """Say which errors the flows died of, then which one a late commit and a late `behind` get."""
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    descriptor = os.open(witness, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def main(store: SqliteStore) -> None:
        names = [f"exe_{number}" for number in range(FLOWS)]
        flows = (flow(store, name, witness_of(descriptor)) for name in names)
        ends: list[object] = list(await asyncio.gather(*flows, return_exceptions=True))
        late = Batch(tenant=TENANT, execution="exe_0", epoch=1)
        ends += await asyncio.gather(store.commit(late), store.flush(), return_exceptions=True)
        try:
            store.behind(late)
        except StorageError as error:
            ends.append(error)
        say(codes=[getattr(end, "code", repr(end)) for end in ends])

    with open_store(folder) as store:
        asyncio.run(main(store))


def post(folder: Path, execution: str) -> None:
    with SqliteInbox.open(folder) as inbox:
        say(number=inbox.post(execution, "cancel", {"by": "person:ada"}, now_us()))


VERBS: dict[str, Callable[..., None]] = {"hold": hold, "open": try_open, "read": read, "write": write, "fill": fill, "post": post}

if __name__ == "__main__":
    if os.environ.get("AS_NOBODY"):
        os.setgid(65534)
        os.setuid(65534)
    try:
        VERBS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    except OmegaError as error:
        say(**error.record())
