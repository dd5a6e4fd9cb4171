"""Going round the witnesses beside the log: which of them lag behind which logs, when each is asked, and when somebody must be told.

The log waits for none of this. What counts as new is every leaf that the rounds did not leave themselves. Of several processes on the same
records one asks a witness at a time: whoever notes first that it is due. A witness that does not answer is asked less and less often, and
so is one about a log that it does not cosign, up to `MAX_PAUSE_S`; of the logs that are due, those shown longest ago come first, so no log
holds up another. A log whose oldest new leaf has waited for the quorum longer than it allows is told once: by an execution that fails with
OMG-C009, which events, webhooks and `omega runs` show, and again after the quorum was met.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from omega.chronicle.pruned import is_pruned
from omega.chronicle.record import decode
from omega.host.arrangements import Documents, arranged
from omega.host.witness_asking import OWN, PIECE, Quorum, ask_witness, shown, tell_unwitnessed, watches, witnesses
from omega.kernel.errors import OmegaError

if TYPE_CHECKING:
    from omega.host.embedded import Omega
    from omega.host.reading import Archive

ROUND: Final = "witness-round"
"""The kind of the notes that say when a witness was asked last, named after it."""

LOOK_S: Final = 1.0
"""How often it is looked for new leaves, in seconds."""

MAX_PAUSE_S: Final = 300.0
MAX_OWN: Final = 1_000
"""Executions of the rounds that are remembered, so that their leaves are known."""

MAX_LOGS: Final = 100
"""Most logs that a witness is shown in one round."""

MAX_STANDING: Final = 1_000
"""Moments remembered of one log at which it had grown and was not yet witnessed."""


@dataclass(slots=True)
class _Log:
    """What is known of a log: leaves looked at, the end of those that count, the end that every witness has cosigned, and since when which
    ends wait for the quorum."""

    looked: int = 0
    end: int = 0
    settled: int = 0
    waiting: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MAX_STANDING))
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Turn:
    """How often in a row a witness has failed to cosign a log, and when (seconds of the rounds' clock) it was asked last."""

    failures: int = 0
    at_s: float = float("-inf")


class Rounds:
    """Goes round for an open Omega. `clock` gives seconds that never go back."""

    def __init__(self, omega: Omega, clock: Callable[[], float] = time.monotonic) -> None:
        self._omega, self._clock = omega, clock
        self._logs: dict[str, _Log] = {}
        self._own: dict[str, None] = {}
        self._away: dict[str, int] = {}
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Go round until cancelled."""
        try:
            while True:
                with suppress(OmegaError):
                    await self.look()
                await asyncio.sleep(LOOK_S)
        finally:
            for task in self._asking.values():
                task.cancel()
            await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def look(self) -> None:
        """Look once: ask every witness that is due, without waiting for its answer, and tell of logs that wait for too long."""
        store = self._omega.store
        registered = witnesses(store)
        if not registered:
            return
        quorum = Quorum.of(store)
        tenants = store.tenants()
        self._forget(tenants, registered)
        for tenant in tenants:
            await self._read(tenant)
        open_logs = {tenant: log for tenant, log in self._logs.items() if log.settled < log.end or self._emptied(tenant, log)}
        lagging: dict[str, list[str]] = {}
        for tenant, log in open_logs.items():
            late = [name for name, body in registered.items() if watches(body, tenant) and not self._settled(name, tenant, log)]
            for name in late:
                lagging.setdefault(name, []).append(tenant)
            log.settled = log.settled if late else log.end
        for name, logs in lagging.items():
            running, due = self._asking.get(name), self._due(name, logs, quorum)
            if due and (running is None or running.done()) and self._claimed(name, quorum):
                self._asking[name] = asyncio.create_task(self._ask(name, due))
        for tenant, log in open_logs.items():
            await self._judge(tenant, log, quorum)

    async def finish(self) -> None:
        """Wait for what was asked."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _forget(self, tenants: Sequence[str], registered: Mapping[str, Any]) -> None:
        """Forget logs that are no more, and turns of those and of witnesses that were dismissed."""
        there = set(tenants)
        self._logs = {tenant: log for tenant, log in self._logs.items() if tenant in there}
        self._turns = {(name, tenant): turn for (name, tenant), turn in self._turns.items() if name in registered and tenant in there}

    def _settled(self, name: str, tenant: str, log: _Log) -> bool:
        """Whether a witness has cosigned what counts of a log. More than there is means that the log was set back."""
        return log.end <= shown(self._omega.store, name, tenant).size <= log.looked

    def _emptied(self, tenant: str, log: _Log) -> bool:
        """Whether there is nothing of a log that a witness was shown."""
        return not log.looked and self._furthest(tenant) > 0

    def _due(self, name: str, logs: Sequence[str], quorum: Quorum) -> list[str]:
        """The logs that a witness is shown now: those it was shown longest ago first, without those that it failed to cosign just now."""
        turns = {log: self._turns.get((name, log), _Turn()) for log in logs}
        now_s = self._clock()
        due = [log for log, turn in turns.items() if not turn.failures or turn.at_s + _pause_s(quorum, turn.failures) <= now_s]
        return sorted(due, key=lambda log: turns[log].at_s)[:MAX_LOGS]

    async def _read(self, tenant: str) -> None:
        """Look at the leaves that came since."""
        log = self._logs.get(tenant)
        if log is not None and log.looked and not await self._ours(self._omega.store.leaves, tenant, log.looked - 1, log.looked):
            log = None  # it was set back: what is there now is new
        if log is None:  # what was there before this process counts as new, as a whole: one round more does no harm
            points = await self._ours(self._omega.store.checkpoints, tenant, self._furthest(tenant) - 1)
            size = points[-1][0] if points else 0
            log = self._logs[tenant] = _Log(looked=size, end=size)
        while True:
            found = await self._ours(self._omega.store.leaves, tenant, log.looked, log.looked + PIECE)
            if not found:
                break
            for at, raw in enumerate(found, log.looked + 1):
                if not self._is_own(raw):
                    log.end = at
            log.looked += len(found)
        if log.end and (not log.waiting or log.waiting[-1][0] < log.end):
            log.waiting.append((log.end, self._clock()))

    def _furthest(self, tenant: str) -> int:
        return max((shown(self._omega.store, name, tenant).size for name in witnesses(self._omega.store, tenant)), default=0)

    async def _ours(self, read: Callable[..., Any], *given: Any) -> Any:
        """What is read of the records; beside the loop where that takes a round trip."""
        if self._omega.settings.store.shared:
            return await asyncio.to_thread(read, *given)
        await asyncio.sleep(0)
        return read(*given)

    def _is_own(self, raw: bytes) -> bool:
        """Whether the rounds left this leaf themselves."""
        if is_pruned(raw):
            return False
        leaf = decode(raw)
        if leaf.kind == "entry" and leaf.flow in OWN:
            self._own[leaf.execution] = None
            while len(self._own) > MAX_OWN:
                del self._own[next(iter(self._own))]
        return leaf.execution in self._own

    def _claimed(self, name: str, quorum: Quorum) -> bool:
        """Whether this process is the one that asks the witness now."""
        store, now_us = self._omega.store, self._omega.world.clock.now_us()
        pause_s = _pause_s(quorum, self._away.get(name, 0))
        held = store.document(ROUND, name)
        if held is not None and now_us - int(json.loads(held)["at_us"]) < pause_s * 1_000_000:
            return False
        return store.swap_document(ROUND, name, held, json.dumps({"at_us": now_us}).encode(), now_us)

    async def _ask(self, name: str, logs: list[str]) -> None:
        try:
            done = await self._omega.ask(ask_witness, {"witness": name, "logs": logs})
        except OmegaError:
            done = {"cosigned": {}, "failed": {}, "away": True}
        now_s, away = self._clock(), bool(done["away"])
        for log in (*done["cosigned"], *done["failed"]):
            before = self._turns.get((name, log), _Turn()).failures
            self._turns[name, log] = _Turn(0 if log in done["cosigned"] else before if away else before + 1, now_s)
        self._away[name] = self._away.get(name, 0) + 1 if away and not done["cosigned"] else 0

    async def _judge(self, tenant: str, log: _Log, quorum: Quorum) -> None:
        """Tell, once, that a log has waited for its quorum longer than it may."""
        reached, wanted = quorum_size(self._omega.store, tenant, quorum, log.looked)
        while log.waiting and log.waiting[0][0] <= reached:
            log.waiting.popleft()
            log.told = False
        if wanted and log.waiting and not log.told:
            waited_s = self._clock() - log.waiting[0][1]
            if waited_s > quorum.within_s:
                log.told = True
                said = {"log": tenant, "leaves": log.end - reached, "quorum": wanted, "seconds": int(waited_s)}
                with suppress(OmegaError):  # that it fails is what it is for
                    await self._omega.ask(tell_unwitnessed, said)


def _pause_s(quorum: Quorum, failures: int) -> float:
    """How many seconds nothing is asked after so many failures in a row."""
    return min(quorum.every_s * 2.0 ** min(failures, 16), max(MAX_PAUSE_S, quorum.every_s))


def quorum_size(documents: Documents, tenant: str, quorum: Quorum, leaves: int) -> tuple[int, int]:
    """How many of the `leaves` of a log as many witnesses as are wanted have cosigned, and how many are wanted: 0 where none is registered.

    A witness that was shown more than there is has cosigned another log than this one, so none of these.
    """
    given = (shown(documents, name, tenant).size for name in witnesses(documents, tenant))
    sizes = sorted((size if size <= leaves else 0 for size in given), reverse=True)
    wanted = quorum.quorum or len(sizes)
    return (sizes[wanted - 1] if 0 < wanted <= len(sizes) else 0), wanted if sizes else 0


@asynccontextmanager
async def going_round(omega: Omega) -> AsyncIterator[Rounds]:
    """Go round the witnesses for as long as this is open."""
    rounds = Rounds(omega)
    running = asyncio.create_task(omega.chores.keep("witnesses", rounds.run))
    try:
        yield rounds
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def standing(archive: Archive) -> list[dict[str, Any]]:
    """How the logs stand: leaves signed, leaves that the quorum has cosigned, and for each witness how far it is and why no further."""
    quorum = Quorum.of(archive.reader)
    return [_row(archive, tenant, quorum) for tenant in archive.reader.tenants() if witnesses(archive.reader, tenant)]


def _row(archive: Archive, tenant: str, quorum: Quorum) -> dict[str, Any]:
    each = [_witness(archive.reader, name, tenant) for name in witnesses(archive.reader, tenant)]
    furthest = max((found["leaves"] for found in each), default=0)
    points = archive.reader.checkpoints(tenant, furthest - 1) or archive.reader.checkpoints(tenant)  # read after the notes: it has grown
    leaves = points[-1][0] if points else 0
    reached, wanted = quorum_size(archive.reader, tenant, quorum, leaves)
    return {"log": tenant, "leaves": leaves, "cosigned": reached, "quorum": wanted, "witnesses": each}


def _witness(documents: Documents, name: str, tenant: str) -> dict[str, Any]:
    found, body = shown(documents, name, tenant), arranged(documents, "witness", name) or {}
    return {"witness": name, "url": body.get("url", ""), "leaves": found.size, "at_us": found.at_us, "why": found.why}
