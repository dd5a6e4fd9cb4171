"""What drills stand on: a PostgreSQL server of their own, worker processes, a queue that is kept filled, and the counting afterwards.

Workers are the `omega worker` command, started as programs; the witness comes to them as an installed effector. The drill itself is one
more engine on the database: it lines work up, signals, settles doubts and reads the journal.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests")]

import witness  # noqa: E402 - the folder of the drills is on the path from here on

from omega.host.embedded import Omega  # noqa: E402
from omega.kernel.journal import Kind, Note, Row, decode_meta, name_of  # noqa: E402
from omega.kernel.past import Past  # noqa: E402
from servers.postgres import PostgresServer  # noqa: E402 - so is that of the tests, whose server this is

START_S = 60.0
"""A worker serves within this time, on a machine that is busy."""

STOP_S = 60.0
DIST = "omega_drills-1.0.dist-info"
FIRST_TAKEN = 2
"""The epoch of whoever first takes an execution up from a queue: with the one before it was lined up."""


@dataclass
class Worker:
    """One worker process. `life` names it in the witness, `owner` in the database once it has taken something."""

    life: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def owner_part(self) -> str:
        """What its name as an owner contains: its process."""
        return f"-{self.process.pid}-"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_S)

    def drain(self) -> int:
        """Tell it to stop in order, and wait; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def serving(self) -> bool:
        """Whether it has begun to serve; raises when it ended instead."""
        if not self.alive:
            raise RuntimeError(f"{self.life} ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        return '"serving"' in self.log.read_text()


@dataclass
class Cluster:
    """A database, a folder with the keys, and the workers on them."""

    folder: Path
    dsn: str
    home: Path = field(init=False)
    lives: int = 0
    workers: list[Worker] = field(default_factory=list)
    path: str = field(default_factory=lambda: os.environ.get("PYTHONPATH", ""))

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        package = self.folder / "package" / DIST
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: omega-drills\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text("[omega.effectors]\ndrill = witness:WitnessEffector\n")
        os.environ |= self.environment("drill")
        sys.path.insert(0, str(package.parent))

    @property
    def witness(self) -> Path:
        """The witness's file."""
        return self.folder / "witness"

    def environment(self, life: str) -> dict[str, str]:
        """What a process of this cluster is told."""
        return {
            "OMEGA_HOME": str(self.home),
            "OMEGA_STORE": self.dsn,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.folder / "package"), str(HERE), self.path))),
            witness.FILE: str(self.witness),
            witness.LIFE: life,
        }

    def start(self, *arguments: str) -> Worker:
        """Start `omega worker` with `arguments`; it may not serve yet."""
        self.lives += 1
        life = f"life{self.lives}"
        log = self.folder / f"{life}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "omega", "worker", *arguments, "--json"],
                env=os.environ | self.environment(life),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        worker = Worker(life, process, log)
        self.workers.append(worker)
        return worker

    def living(self) -> list[Worker]:
        """The workers that have not ended."""
        return [worker for worker in self.workers if worker.alive]

    def end(self) -> None:
        """End every process that is left."""
        for worker in self.living():
            worker.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Cluster, PostgresServer]]:
    """A cluster on a server of its own; everything is ended afterwards, the folder stays."""
    server = PostgresServer()
    before = dict(os.environ)
    made = Cluster(folder, server.fresh())
    try:
        yield made, server
    finally:
        made.end()
        server.remove()
        os.environ.clear()
        os.environ |= before


async def until(holds: Callable[[], bool], patience_s: float, what: str) -> float:
    """Wait until `holds`; gives how long it took. Raises TimeoutError saying `what` was waited for."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > patience_s:
            raise TimeoutError(f"{what} did not happen within {patience_s:.0f} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def settle_doubts(omega: Omega, execution: str, lines: Sequence[witness.Line], value: Callable[[witness.Line], object]) -> int:
    """Say of each write in doubt what the witness knows: done, with its result, or not done. Gives how many there were."""
    doubts = Past(omega.store.rows(execution)).doubts()
    for step in doubts:
        item = item_of(omega, execution)
        sent = [line for line in lines if line.kind == "write" and line.step == name_of(step.position) and line.item == item]
        body = {"step": step.position, "done": bool(sent), "value": value(sent[0]) if sent else None}
        await omega.decide(execution, "resolve", body)
    return len(doubts)


def item_of(omega: Omega, execution: str) -> str:
    """Which item an execution is about: it stands in its labels, or in those of its parent."""
    line = omega.store.line(execution)
    while line is not None and "item" not in line.labels and line.parent:
        line = omega.store.line(line.parent)
    return line.labels.get("item", "") if line is not None else ""


def repeated(ground: Cluster, omega: Omega, executions: Sequence[str], lines: Sequence[witness.Line]) -> list[str]:
    """Steps that ran again after they had been recorded, found by counting alone: clocks differ, and owners are held up.

    Each time somebody takes an execution up, a step that is not recorded yet may run once, also late: an owner that was held up and
    overtaken runs on until it learns of it, and nothing it has of that can be recorded. So a life has as many lines of a step as it took
    the execution up before the step was recorded, and those who took it up without ever writing that down have one each.
    """
    owners = {worker.life: worker.owner_part for worker in ground.workers}
    counts: dict[tuple[str, str], Counter[str]] = {}
    for line in lines:
        counts.setdefault((line.step, line.item), Counter())[line.life] += 1
    wrong = []
    for execution in executions:
        item, rows = item_of(omega, execution), omega.store.rows(execution)
        for row in rows:
            times = counts.get((name_of(row.position), item), Counter())
            if row.kind == Kind.DONE and times.total() > 1:
                took, unwritten = _taken_before(rows, row.seq)
                if too_often({owners[life]: n for life, n in times.items()}, took) > unwritten:
                    wrong.append(f"{execution} {row.position} ran again after it was recorded: {dict(times)}, taken up by {took}")
    return wrong


def too_often(times: Mapping[str, int], took: Sequence[str]) -> int:
    """How often a step ran beyond what its owners could: `times` by part of an owner's name, `took` all who took it up."""
    return sum(max(0, n - sum(part in owner for owner in took)) for part, n in times.items())


def _taken_before(rows: Sequence[Row], seq: int) -> tuple[list[str], int]:
    """Who took an execution up before its row `seq`, and how many did without a row that says so: their epochs are missing."""
    notes = [meta for row in rows[:seq] if row.kind == Kind.RESUMED and isinstance(meta := decode_meta(row), Note)]
    epochs = {note.value for note in notes}
    return [note.by for note in notes], len(set(range(FIRST_TAKEN, max(epochs, default=0))) - epochs)


def doubled(lines: Sequence[witness.Line]) -> list[str]:
    """Writes that happened more than once."""
    counts = Counter((line.step, line.item) for line in lines if line.kind == "write")
    return [f"{step} of item {item} happened {count} times" for (step, item), count in counts.items() if count > 1]


def verified(env: dict[str, str]) -> str:
    """What `omega verify` objects to; empty when everything is sound."""
    command = [sys.executable, "-m", "omega", "verify"]
    run = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False)
    return "" if run.returncode == 0 else f"omega verify: {run.stdout}{run.stderr}"[-1000:]


def told(name: str, drill: Callable[[Path], list[str]]) -> int:
    """Run a drill in a folder of its own and say what came of it; the exit status. The folder is kept when something was wrong."""
    folder, began = Path(tempfile.mkdtemp(prefix="omega-drill-")), time.monotonic()
    wrong = drill(folder)
    took = f"{time.monotonic() - began:.1f} s"
    if wrong:
        sys.stdout.write("\n".join([f"{name}: {len(wrong)} wrong   {took}   the folder is kept: {folder}", *wrong]) + "\n")
        return 1
    shutil.rmtree(folder)
    sys.stdout.write(f"{name}: nothing lost, nothing doubled   {took}\n")
    return 0
