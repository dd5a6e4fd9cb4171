"""An engine in a process of its own on the database at OMEGA_TEST_DSN: `postgres_worker.py VERB [ARGUMENT ...]`, answers as lines of JSON.

duel EXECUTION TURNS   claim EXECUTION again and again, each time write rows until another engine takes it away; say which were acknowledged
write WITNESS          commit for ever in several executions, noting each acknowledged row in WITNESS; say which errors ended it
pause                  stop this process in the middle of a commit, with the tenant's log locked; say how the commit ended
take AT_ONCE           take what is queued, AT_ONCE at most at once over all engines, and end it, until nothing is queued any more; say
                       which were got, and the most that were seen to run at once
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from omega.adapters.postgres import PostgresStore
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Kind, Row
from omega.kernel.ports import Batch, Grown, Head, Sequencer, Want
from omega.kernel.queueing import Limits
from omega.testing.conformance import NoteSequencer
from omega.testing.conformance.queueing import DIGEST, QUEUE

FLOWS = 8
TENANT = "ten_one"
FAR_US = 10**16
"""A moment at which every lease of the other side is over."""

TURN_ROWS = 50
"""Most rows that one turn of a duel writes when nobody interrupts it."""


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def now_us() -> int:
    return time.time_ns() // 1000


PAUSED_LEASE_US = 6_000_000
"""How long the leases of the engine last that is paused in a commit."""


def open_store(sequencer: Sequencer | None = None, lease_us: int = 30_000_000) -> PostgresStore:
    address = os.environ["OMEGA_TEST_DSN"]
    owner = f"worker-{os.getpid()}"
    return PostgresStore.open(address, sequencer=sequencer or NoteSequencer(), owner=owner, now_us=now_us, lease_us=lease_us)


def batch(name: str, seq: int, epoch: int, *, leaf: bool = False) -> Batch:
    rows = [Row(name, seq, Kind.DONE, f"s#{seq}", b"%d" % epoch, os.urandom(200))]
    return Batch(tenant=TENANT, execution=name, epoch=epoch, rows=rows, leaves=[f"{name} {seq}".encode()] if leaf else [])


def duel(name: str, turns: str) -> None:
    acknowledged: list[tuple[int, int]] = []
    lost: list[bool] = []

    async def turn(store: PostgresStore) -> bool:
        """Whether the execution was taken away in the middle."""
        epoch = await store.claim(name, owner=store.owner, lease_us=1, now_us=FAR_US)
        start = len(store.rows(name))
        for seq in range(start, start + TURN_ROWS):
            try:
                await store.commit(batch(name, seq, epoch, leaf=True))
            except StorageError as error:
                if error.code != "OMG-S006":
                    raise
                return True
            acknowledged.append((seq, epoch))
        return False

    async def main(store: PostgresStore) -> None:
        for _ in range(int(turns)):
            lost.append(await turn(store))

    with open_store() as store:
        say(ready=True)
        sys.stdin.readline()
        asyncio.run(main(store))
    say(acknowledged=acknowledged, lost=sum(lost))


async def flow(store: PostgresStore, name: str, note: Callable[[str], None]) -> None:
    """One execution: a row with a leaf that is waited for after each one that is not, for ever."""
    head = Head(status="running", flow="endless", at_us=now_us(), create=True)
    await store.commit(Batch(tenant=TENANT, execution=name, epoch=1, rows=[Row(name, 0, Kind.STARTED, "", b"1")], head=head))
    note(f"{name} 0 -1")
    seq = 1
    while True:
        store.behind(batch(name, seq, 1))
        answer = await store.commit(batch(name, seq + 1, 1, leaf=True))
        note(f"{name} {seq} -1")
        note(f"{name} {seq + 1} {answer.leaves[0]}")
        seq += 2


def write(witness: str) -> None:
    descriptor = os.open(witness, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    async def main(store: PostgresStore) -> None:
        flows = (flow(store, f"exe_{os.getpid()}_{number}", note) for number in range(FLOWS))
        ends: list[object] = list(await asyncio.gather(*flows, return_exceptions=True))
        try:
            await store.commit(batch("exe_late", 0, 1))
        except StorageError as error:
            ends.append(error)
        say(codes=[getattr(end, "code", repr(end)) for end in ends])

    with open_store() as store:
        say(ready=True)
        asyncio.run(main(store))


class PausingSequencer(NoteSequencer):
    """Stops the whole process in the middle of its second transaction, as a machine that is suspended would."""

    def __init__(self) -> None:
        self._calls = 0

    def grow(self, tenant: str, state: bytes, leaves: Sequence[bytes], *, at_us: int) -> Grown:
        self._calls += 1
        if self._calls == 2:
            # to this very thread: sent to the process, it could arrive after this thread has committed
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return super().grow(tenant, state, leaves, at_us=at_us)


def pause() -> None:
    async def main(store: PostgresStore) -> None:
        head = Head(status="running", flow="paused", at_us=now_us(), create=True)
        await store.commit(Batch(tenant=TENANT, execution="exe_paused", epoch=1, leaves=[b"before"], head=head))
        say(ready=True)
        await store.commit(batch("exe_paused", 0, 1, leaf=True))

    with open_store(PausingSequencer(), PAUSED_LEASE_US) as store:
        asyncio.run(main(store))


def take(at_once: str) -> None:
    mine: list[str] = []
    seen: list[int] = []
    limits = {QUEUE: Limits(at_once=int(at_once))}

    async def main(store: PostgresStore) -> None:
        while store.lines(status="queued", limit=1):
            now = now_us()
            want = Want(owner=store.owner, digests=[DIGEST], queues=[QUEUE], limits=limits, most=3, now_us=now, lease_us=now + 60_000_000)
            taken = await store.take(want)
            seen.append(len(store.lines(status="running", limit=1_000)))
            for each in taken:
                mine.append(each.execution)
                head = Head(status="done", at_us=now_us())
                await store.commit(Batch(tenant=TENANT, execution=each.execution, epoch=each.epoch, head=head))

    with open_store() as store:
        say(ready=True)
        sys.stdin.readline()
        asyncio.run(main(store))
    say(taken=mine, most=max(seen, default=0))


VERBS: dict[str, Callable[..., None]] = {"duel": duel, "write": write, "pause": pause, "take": take}

if __name__ == "__main__":
    try:
        VERBS[sys.argv[1]](*sys.argv[2:])
    except OmegaError as error:
        say(**error.record())
