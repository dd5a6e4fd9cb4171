"""The code review under `kill -9`: a real process, real programs, a real MCP server, killed at random moments and resumed until it is done.

What must hold afterwards: the four reports are byte-identical to those of an uninterrupted run, run data aside; nothing that was durable
when a process started was touched or called again in it, as an outside witness counts; the log verifies; no process is left after any kill.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from code_review.reports import without_run
from omega.adapters.sqlite import SqliteReader
from omega.kernel.errors import StorageError
from omega.kernel.journal import Kind, Step, decode_meta

ROOT = Path(__file__).resolve().parents[2]
REVIEW = ROOT / "examples" / "code_review"
WITNESSED = Path(__file__).with_name("witnessed.py")
LONGEST_S = 240.0
"""No start takes longer than this: it would hang."""
GONE_S = 5.0
"""After a kill, every descendant has so long to be gone."""

SOURCES = {
    "app/main.py": "import os\nimport subprocess\n\n\ndef run(command):\n    return subprocess.call(command, shell=True)\n",
    "app/tools.py": "def classify(n):\n" + "".join(f"    if n == {n}:\n        return {n}\n" for n in range(12)) + "    return None\n",
    "app/keys.py": "PASSWORD = 'correct horse'\nimport pickle\n\n\ndef load(data):\n    return pickle.loads(data)\n",
    "tests/test_main.py": "from app.main import run\n\n\ndef test_run():\n    assert run('true') == 0\n",
    "README.md": "# a small repository\n",
}


@dataclass
class Found:
    """What a drill counted, and what was wrong."""

    kills: int = 0
    runs: int = 0
    starts: int = 0
    wrong: list[str] = field(default_factory=list)


def repository(folder: Path) -> Path:
    """A Git repository of five commits."""
    folder.mkdir(parents=True)
    who = {
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }
    when = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z", "GIT_CONFIG_GLOBAL": os.devnull}
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True, env=os.environ | when)
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        subprocess.run([*git, "add", name], check=True, env=os.environ | when)
        subprocess.run([*git, "commit", "-q", "-m", f"add {name}"], check=True, env=os.environ | who | when)
    return folder


def drill(folder: Path, kills: int, seed: int) -> Found:
    """At least `kills` kills, over as many reviews as it takes; `seed` decides when."""
    found, dice = Found(), random.Random(seed)
    repo = repository(folder / "repo")
    base = Review(folder / "base", repo, folder / "out", "base")
    began = time.monotonic()
    status, out = base.start(None)
    took_s = time.monotonic() - began
    if status != 0:
        found.wrong.append(f"the uninterrupted run ended with {status}: {out[-2000:]}")
        return found
    expected = base.reports()
    while found.kills < kills and not found.wrong:
        found.runs += 1
        one = Review(folder / f"run{found.runs}", repo, folder / "out", f"run{found.runs}")
        shutil.rmtree(folder / "out")
        one.to_the_end(found, dice, kills, took_s)
        found.wrong.extend(f"run {found.runs}: {name} differs" for name, data in one.reports().items() if expected.get(name) != data)
        found.wrong.extend(f"run {found.runs}: {what}" for what in one.repeated())
        if not one.verifies():
            found.wrong.append(f"run {found.runs}: the log does not verify")
    return found


class Review:
    """One review in a data folder of its own, through as many processes as it takes."""

    def __init__(self, home: Path, repo: Path, out: Path, execution: str) -> None:
        self.home, self.repo, self.out, self.execution = home, repo, out, execution
        self.witness = home.with_suffix(".witness")
        self.life = 0
        self.durable: list[tuple[set[str], Counter[str]]] = []

    def start(self, kill_after_s: float | None) -> tuple[int | None, str]:
        """One process; its exit status and output, (None, "") when it was killed."""
        self.durable.append(self._durable())
        known = self.recorded()
        words = ["resume", self.execution] if known else ["run", str(REVIEW), "--id", self.execution]
        if not known:
            words += ["--input", f"repo={self.repo}", "--input", f"out={self.out}"]
        command = [sys.executable, str(WITNESSED), str(self.witness), str(self.life), "--json", "--home", str(self.home), *words]
        self.life += 1
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.home.parent)
        try:
            out, _ = process.communicate(timeout=LONGEST_S if kill_after_s is None else kill_after_s)
            return process.returncode, out
        except subprocess.TimeoutExpired:
            family = descendants(process.pid)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            left = still_there(family)
            return None, f"left after the kill: {left}" if left else ""

    def to_the_end(self, found: Found, dice: random.Random, kills: int, took_s: float) -> None:
        """Kill and resume until it is done."""
        while True:
            found.starts += 1
            status, out = self.start(dice.uniform(0.2, took_s) if found.kills < kills else None)
            if status is None:
                found.kills += 1
                found.wrong.extend([out] if out else [])
            elif status == 0:
                return
            else:
                found.wrong.append(f"start {self.life - 1} of {self.execution} ended with {status}: {out[-2000:]}")
                return

    def recorded(self) -> bool:
        """Whether the execution is known in the data folder."""
        try:
            with SqliteReader.open(self.home) as reader:
                return reader.line(self.execution) is not None
        except StorageError:  # killed before there was a database
            return False

    def _durable(self) -> tuple[set[str], Counter[str]]:
        """What is settled now: positions, and how many of each function."""
        positions: set[str] = set()
        functions: Counter[str] = Counter()
        try:
            with SqliteReader.open(self.home) as reader:
                rows = reader.rows(self.execution)
        except StorageError:
            return positions, functions
        for row in rows:
            meta = decode_meta(row)
            if row.kind in (Kind.DONE, Kind.FAILED) and isinstance(meta, Step):
                positions.add(row.position)
                functions[meta.where] += 1
        return positions, functions

    def repeated(self) -> list[str]:
        """What the witness saw again although it was durable before."""
        total = self._durable()[1]
        seen: Counter[tuple[int, str, str]] = Counter()
        for line in self.witness.read_text().splitlines():
            life, kind, what = line.split(" ", 2)
            seen[int(life), kind, what] += 1
        problems = []
        for (life, kind, what), count in seen.items():
            positions, functions = self.durable[life]
            if kind == "touch" and what in positions:
                problems.append(f"{what} was touched again in life {life}")
            if kind == "call" and functions[what] and count > total[what] - functions[what]:
                problems.append(f"{what} was called again in life {life}")
        return problems

    def reports(self) -> dict[str, bytes]:
        """The four reports, run data aside."""
        if not self.out.is_dir():
            return {}
        return {path.name: without_run(path.name, path.read_bytes()) for path in sorted(self.out.iterdir())}

    def verifies(self) -> bool:
        """Whether `omega verify` finds the log sound."""
        command = [sys.executable, "-m", "omega", "--json", "--home", str(self.home), "verify"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
        answer: dict[str, Any] = json.loads(run.stdout)
        return run.returncode == 0 and answer["ok"] is True


def descendants(pid: int) -> set[tuple[int, str]]:
    """(pid, start time) of every process below `pid`."""
    children: dict[int, list[tuple[int, str]]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append((int(path.parent.name), fields[19]))
    found: set[tuple[int, str]] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            found.add(child)
            todo.append(child[0])
    return found


def still_there(family: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of `family` that live on after `GONE_S`; one that was reaped or waits to be is gone."""
    until = time.monotonic() + GONE_S
    while True:
        left = {one for one in family if _lives(*one)}
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)


def _lives(pid: int, born: str) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == born and fields[0] != "Z"
