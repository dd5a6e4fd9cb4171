"""Worker kills: three workers on PostgreSQL under a mixed load, each of them killed at random moments, over and over.

    python drills/worker_kills.py --kills 50 --lease 1 --seed 7

Pure steps, reads, writes, children, timers and signals run the whole time, and the witness outside of Omega counts. Afterwards must hold:

    nothing lost         every execution ended with the result that was known beforehand; every step has its line
    nothing repeated     no step ran again once it was recorded; no write happened twice. A write that a kill left in doubt stands still,
                         and is settled from the witness, as a person would from the target's own records
    nobody needed        whatever a killed worker owned, another one took over within two leases
    the log is sound     `omega verify`

Some workers are also paused for longer than their lease and woken again: what they believed to own others have taken over by then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cluster as clusters
import load
import witness
from cluster import Cluster, Worker, doubled, repeated, settle_doubts, until, verified

from omega.host.embedded import Omega
from omega.host.orders import Placing, Wanted
from omega.host.targets import Target, load_target
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Kind, Note, Status, decode_meta
from omega.kernel.ports import Line, Search

WORKERS = 3
AT_ONCE = 64
"""More than is ever under way, so that who takes over has room for it."""
INFLIGHT = 24
"""Executions of the mixed load that are under way at any time, children aside."""

PAUSES = 10
"""One in so many blows is a pause instead of a kill."""

SWEEP_S = 0.5
END_S = 120.0
"""After the last blow everything ends within this time."""

APART_S = (0.2, 0.9)
"""Between two blows, in seconds; no blow falls while only one worker serves."""

LOOK_S = 0.05


@dataclass
class Found:
    """What was counted, and what was wrong. `recovery_s` is the longest time until others had taken over what a killed worker owned."""

    kills: int = 0
    pauses: int = 0
    executions: int = 0
    doubts: int = 0
    redriven: int = 0
    recovery_s: float = 0.0
    took_over: int = 0
    took_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Orphans:
    """What a killed worker owned, until others have taken it over."""

    owner: str
    killed_us: int
    left: dict[str, int]


class Drill:
    """One drill on an open cluster."""

    def __init__(self, omega: Omega, ground: Cluster, dice: random.Random, lease_s: float) -> None:
        self.omega, self.ground, self.dice, self.lease_s = omega, ground, dice, lease_s
        self.found = Found()
        self.target = load_target(str(clusters.HERE / "load.py"))
        self.items: dict[int, str] = {}
        self.orphans: list[Orphans] = []
        self.paused: list[tuple[float, Worker]] = []
        self.open: set[int] = set()

    # -- the load

    async def feed(self) -> None:
        """Line up more of the load until enough is under way."""
        while len(self.open) < INFLIGHT:
            item = len(self.items) + 1
            placing = Placing(queue=load.QUEUE, key=str(item % 5), priority=item % 3, labels={"item": str(item)})
            target = Target("", self.target.flow, ())
            self.items[item] = await self.omega.enqueue(Wanted(target=target, input=item, placing=placing))
            self.open.add(item)

    async def tend(self) -> None:
        """Do what people do: signal what waits for it, settle what is in doubt, redrive what was given up."""
        for status in (Status.WAITING, Status.IN_DOUBT, Status.DEAD):
            for line in self.omega.store.search(Search(status=(status,), limit=500)):
                await self._tend(line)
        for item in list(self.open):
            line = self.omega.store.line(self.items[item])
            if line is not None and Status(line.status).ended:
                self.open.discard(item)

    async def _tend(self, line: Line) -> None:
        try:
            if line.status == Status.DEAD:
                await self.omega.decide(line.execution, "redrive", {})
                self.found.redriven += 1
            elif line.status == Status.IN_DOUBT:
                lines = list(witness.read(self.ground.witness))
                factors = {"send": 2, "deliver": 3}
                self.found.doubts += await settle_doubts(
                    self.omega, line.execution, lines, lambda seen: int(seen.item) * factors[seen.step]
                )
            elif "item" in line.labels and load.is_signalled(int(line.labels["item"])) and not self._signalled(line.execution):
                await self.omega.decide(line.execution, "signal", {"name": load.SIGNAL, "value": None})
        except OmegaError as error:
            if error.code not in ("OMG-R010", "OMG-S006", "OMG-I005"):  # a worker has it in hand again: next time
                raise

    def _signalled(self, execution: str) -> bool:
        return any(row.kind == Kind.SIGNAL for row in self.omega.store.rows(execution))

    # -- the blows

    def begin(self) -> None:
        """Keep as many workers as there should be."""
        for _ in range(WORKERS - len(self.ground.living())):
            lease, sweep = f"{self.lease_s}s", f"{SWEEP_S}s"
            queues = ("--queue", load.QUEUE, "--queue", load.CHILDREN)
            self.ground.start(str(clusters.HERE / "load.py"), *queues, "--at-once", str(AT_ONCE), "--lease", lease, "--sweep", sweep)

    def strike(self) -> None:
        """Kill or pause one of the workers that serve, unless it is the only one; let those go on that were paused for long enough."""
        now = time.monotonic()
        for since, worker in list(self.paused):
            if now - since > 2 * self.lease_s:
                worker.process.send_signal(signal.SIGCONT)
                self.paused.remove((since, worker))
        held = {id(worker) for _, worker in self.paused}
        fit = [worker for worker in self.ground.living() if id(worker) not in held and worker.serving()]
        if len(fit) < 2:  # somebody must be there to take over
            return
        victim, struck_us = self.dice.choice(fit), time.time_ns() // 1_000
        if self.dice.randrange(PAUSES) == 0 and not self.paused:
            victim.process.send_signal(signal.SIGSTOP)
            self.paused.append((now, victim))
            self.found.pauses += 1
        else:
            victim.kill()
            self.found.kills += 1
        self._note_orphans(victim, struck_us)

    def _note_orphans(self, victim: Worker, struck_us: int) -> None:
        running = self.omega.store.search(Search(status=(Status.RUNNING,), limit=1_000))
        left = {line.execution: line.epoch for line in running if victim.owner_part in line.owner}
        if left:
            self.orphans.append(Orphans(victim.owner_part, struck_us, left))

    def look_after(self) -> None:
        """See which orphans others have taken over by now, and how long it took."""
        for orphans in list(self.orphans):
            for execution, epoch in list(orphans.left.items()):
                line = self.omega.store.line(execution)
                if line is None or line.epoch > epoch or line.status != Status.RUNNING:
                    del orphans.left[execution]
                    self.found.took_over += 1
                    self.found.recovery_s = max(self.found.recovery_s, self._taken_s(execution, epoch, orphans.killed_us))
            if not orphans.left:
                self.orphans.remove(orphans)

    def _taken_s(self, execution: str, epoch: int, killed_us: int) -> float:
        """Seconds from the blow until somebody else went on with it, as the journal has it: this process may look late."""
        notes = [decode_meta(row) for row in self.omega.store.rows(execution) if row.kind in (Kind.RESUMED, Kind.PAUSED)]
        later = [note.at_us for note in notes if isinstance(note, Note) and note.at_us > killed_us and note.value != epoch]
        return round((min(later) - killed_us) / 1_000_000, 3) if later else 0.0

    # -- the whole

    async def run(self, kills: int) -> None:
        """Strike until there were so many kills."""
        self.begin()
        await until(lambda: all(worker.serving() for worker in self.ground.living()), clusters.START_S, "the start of the workers")
        next_blow, told = time.monotonic(), 0
        while self.found.kills < kills:
            await self.feed()
            await self.tend()
            self.look_after()
            if time.monotonic() >= next_blow:
                self.strike()
                self.begin()
                next_blow = time.monotonic() + self.dice.uniform(*APART_S)
            if self.found.kills >= told + 50:
                told = self.found.kills
                sys.stderr.write(f"{told} kills, {len(self.items)} executions, {self.found.doubts} in doubt\n")
            await asyncio.sleep(LOOK_S)
        for _, worker in self.paused:
            worker.process.send_signal(signal.SIGCONT)
        await self.finish()

    async def finish(self) -> None:
        """Let everything come to its end."""
        give_up = time.monotonic() + END_S
        while self.open or self.orphans:
            await self.tend()
            self.look_after()
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(LOOK_S)

    def judge(self) -> None:
        """Compare what the witness saw with what should have been."""
        lines = list(witness.read(self.ground.witness))
        wrong, self.found.executions = self.found.wrong, len(self.items)
        wrong += [f"{self.items[item]} stands as {self._status(item)}" for item in sorted(self.open)]
        seen = {(line.step, int(line.item)) for line in lines}
        for item in self.items.keys() - self.open:
            wrong += [f"{step} of item {item} left no line" for step in load.STEPS if (step, item) not in seen]
        wrong += doubled(lines)
        children = self.omega.store.search(Search(queue=load.CHILDREN, limit=10_000))
        wrong += repeated(self.ground, self.omega, [*self.items.values(), *(line.execution for line in children)], lines)
        if self.found.recovery_s > 2 * self.lease_s:
            wrong.append(f"what a killed worker owned was taken over after {self.found.recovery_s:.2f} s, the lease is {self.lease_s:g} s")
        objection = verified({})
        wrong += [objection] if objection else []

    def _status(self, item: int) -> str:
        line = self.omega.store.line(self.items[item])
        return "unknown" if line is None else f"{line.status}, owner {line.owner or 'nobody'}, tries {line.tries}, due {line.due_us}"

    async def results(self) -> None:
        """Every execution gave what it should have."""
        for item in self.items.keys() - self.open:
            outcome = await self.omega.engine.outcome(self.items[item])
            if outcome.value != load.result_of(item):
                gave = f"item {item} gave {outcome.value!r} ({outcome.status}), not {load.result_of(item)}"
                self.found.wrong.append(f"{gave}: {outcome.error}")


async def _drilled(ground: Cluster, kills: int, seed: int, lease_s: float) -> Found:
    async with Omega.open() as omega:
        one = Drill(omega, ground, random.Random(seed), lease_s)  # noqa: S311 - chance, and the same again for the same seed
        await one.run(kills)
        await one.results()
        ground.end()
        one.judge()
    return one.found


def drill(folder: Path, kills: int, seed: int, lease_s: float) -> Found:
    """The whole drill in an empty folder; gives what was counted."""
    began = time.monotonic()
    with clusters.cluster(folder) as (ground, _):
        found = asyncio.run(_drilled(ground, kills, seed, lease_s))
    found.took_s = round(time.monotonic() - began, 1)
    return found


def main() -> int:
    """Run it as it is asked for; 1 when anything was wrong."""
    ask = argparse.ArgumentParser(description="kill workers under load, and count")
    ask.add_argument("--kills", type=int, default=50)
    ask.add_argument("--seed", type=int, default=int(time.time()))
    ask.add_argument("--lease", type=float, default=1.0, help="seconds")
    given = ask.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="omega-kills-"))
    found = drill(folder, given.kills, given.seed, given.lease)
    told: dict[str, Any] = asdict(found) | {"seed": given.seed, "lease_s": given.lease}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    if found.wrong:
        sys.stderr.write(f"the folder is kept: {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
