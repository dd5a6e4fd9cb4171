"""The figures, as `make bench` prints them and writes them to bench/results.json.

    python bench/run.py            seven rounds; the result is kept in bench/results.json
    python bench/run.py --quick    one short round, to see that everything works; nothing is kept

In each round every engine runs each workload once, in a fresh process on a fresh folder, one after the other, and the order is reversed
from round to round. A ratio is taken within a round, so that a slow minute of the machine touches both sides; the figure is the median of
the ratios, with their range. Peers are DBOS (at its defaults, and with its database set to WAL) and LangGraph (`durability="sync"`), pinned
in bench/peers.txt, in an environment of their own. What a peer's rate counts is said in bench/peers/measure.py: its start is left out, ours
is counted. Their steps are trivial ones also where ours touch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = HERE / ".env"
RAM = Path("/dev/shm")
RUN_S = 180
"""Longest that one run of one engine may take."""

OTHER_S = 1_800
"""Longest that one of the other scripts may take."""

Runs = dict[tuple[str, str], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one engine: a name that is unique within its medium, and the driver's command line; in every `every`-th round."""

    name: str
    driver: str
    arguments: tuple[str, ...]
    media: tuple[str, ...] = ("disk", "tmpfs")
    every: int = 1


def jobs(quick: bool) -> list[Job]:
    """What a round consists of."""
    window = ("--seconds", "1" if quick else "2")
    return [
        Job("omega", "omega", ("concurrent",)),
        Job("omega-touches", "omega", ("concurrent", "--touches")),
        Job("omega-uneven", "omega", ("concurrent", "--touches", "--uneven")),
        Job("dbos", "dbos", ("concurrent", *window), ("disk",)),
        Job("dbos-wal", "dbos", ("concurrent", "--wal", *window)),
        Job("langgraph", "langgraph", ("concurrent", *window)),
        Job("dbos-whole", "dbos", ("concurrent", "--seconds", "1" if quick else "100"), ("tmpfs",), every=3),
        Job("omega-sequential", "omega", ("sequential", "--steps", "5000"), ("tmpfs",)),
        Job("dbos-sequential", "dbos", ("sequential", "--steps", "5000", *window), ("tmpfs",)),
        Job("omega-latency", "omega", ("latency",), ("tmpfs",)),
        Job("dbos-latency", "dbos", ("latency",), ("tmpfs",)),
        Job("omega-counts", "omega", ("counts",), ("disk",)),
        Job("omega-import", "omega", ("import",), ("tmpfs",)),
        Job("dbos-import", "dbos", ("import",), ("tmpfs",)),
    ]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table and one record of the results. `low` and `high` are the range over the rounds."""

    id: str
    what: str
    value: float
    unit: str
    goal: str
    peer: str = ""
    low: float | None = None
    high: float | None = None
    command: str = "make bench"
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the value meets the goal, `>= n` or `<= n`."""
        sign, _, limit = self.goal.partition(" ")
        return self.value >= float(limit) if sign == ">=" else self.value <= float(limit)

    def record(self) -> dict[str, Any]:
        """The figure as it is kept."""
        rounds = None if self.low is None else [self.low, self.high]
        return {
            "id": self.id, "what": self.what, "value": self.value, "unit": self.unit, "goal": self.goal, "holds": self.holds,
            "range": rounds, "peer": self.peer, "command": self.command, **self.detail,
        }  # fmt: skip


def prepare_peers() -> None:
    """Make the peers' environment as bench/peers.txt pins it; nothing when it stands."""
    stamp, pins = PEERS / "stamp", HERE / "peers.txt"
    if stamp.is_file() and stamp.read_text() == pins.read_text():
        return
    say("making the peers' environment in bench/.env")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, PEERS], check=True)
    # From an empty folder: uv would hold the peers to the versions that our own pyproject.toml pins.
    with tempfile.TemporaryDirectory() as empty:
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", PEERS / "bin/python", "-r", pins]
        subprocess.run(install, cwd=empty, check=True)
    stamp.write_text(pins.read_text())


def run_once(job: Job, folder: Path) -> dict[str, Any]:
    """One run in a fresh process on a fresh folder; the driver's last line is its result."""
    data = Path(tempfile.mkdtemp(dir=folder, prefix=".bench-"))
    script = HERE / "omega_driver.py" if job.driver == "omega" else HERE / "peers" / f"{job.driver}_driver.py"
    python = sys.executable if job.driver == "omega" else PEERS / "bin/python"
    try:
        run = subprocess.run(
            [python, script, *job.arguments, "--dir", data], capture_output=True, text=True, timeout=RUN_S, check=False, env=clean()
        )
        lines = run.stdout.strip().splitlines()
        if run.returncode or not lines:
            sys.exit(f"bench: {job.name} failed:\n{run.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(lines[-1])
        return result
    finally:
        shutil.rmtree(data, ignore_errors=True)


def clean() -> dict[str, str]:
    """The environment of a run, without what would change it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMEGA_", "DBOS_", "LANGCHAIN_", "LANGSMITH_"))}


def measure(rounds: int, quick: bool) -> Runs:
    """Every job of every round, by (job, medium); each list has one entry per round."""
    media = {"disk": HERE} | ({"tmpfs": RAM} if RAM.is_dir() else {})
    todo = [(job, medium) for job in jobs(quick) for medium in job.media if medium in media]
    runs: Runs = {}
    for number in range(rounds):
        due = [(job, medium) for job, medium in todo if number % job.every == 0]
        for job, medium in due if number % 2 == 0 else reversed(due):
            say(f"round {number + 1} of {rounds}: {job.name} on {medium}")
            runs.setdefault((job.name, medium), []).append(run_once(job, media[medium]))
    return runs


def ratios(runs: Runs, ours: str, theirs: str, medium: str, key: str) -> list[float]:
    """Ours over theirs, round by round."""
    pairs = zip(runs[ours, medium], runs[theirs, medium], strict=True)
    return [mine[key] / other[key] for mine, other in pairs]


def compared(runs: Runs, name: str, what: str, goal: str, *, ours: str, theirs: str, medium: str, key: str) -> Figure:
    """A figure that is the median ratio of two jobs."""
    values = ratios(runs, ours, theirs, medium, key)
    unit = {"steps_per_s": "steps/s", "p50_ms": "ms", "import_s": "s", "rss_mb": "MB"}[key]
    detail = {"medium": medium, "rounds": len(values), "absolute_unit": unit, "omega": absolute(runs[ours, medium], key)}
    detail["other"] = absolute(runs[theirs, medium], key)
    peer = f"{theirs.partition('-')[0]} {runs[theirs, medium][0]['version']}" + (" with WAL" if theirs.endswith("-wal") else "")
    return Figure(
        name, what, round(statistics.median(values), 3), "x", goal, peer, round(min(values), 3), round(max(values), 3), detail=detail
    )


def absolute(results: Sequence[dict[str, Any]], key: str) -> float:
    """The median of a value over the rounds, to four digits."""
    return float(f"{statistics.median(result[key] for result in results):.4g}")


def flow_figures(runs: Runs) -> list[Figure]:
    """F1, F2, F3, F5 and F6."""
    counted = runs["omega-counts", "disk"]
    figures = [
        plain("F1/at-once", "waits for the disk per step, 200 flows at once", "<= 0.02", [each["at_once"] for each in counted]),
        plain("F1/pure", "the same, one flow of pure steps", "<= 0.05", [each["one_pure"] for each in counted]),
        plain("F1/touches", "the same, one flow of touches", "<= 2", [each["one_touching"] for each in counted]),
    ]
    mixes = {
        "omega": ("pure", "all pure"),
        "omega-touches": ("touches", "a touch in ten"),
        "omega-uneven": ("uneven", "the same, uneven flows"),
    }
    for medium in [medium for name, medium in runs if name == "omega"]:
        for ours, (short, what) in mixes.items():
            for theirs in ("dbos", "dbos-wal", "langgraph"):
                goal = ">= 40" if theirs == "dbos" else ">= 15"
                if theirs == "dbos" and medium == "tmpfs":
                    continue  # without an fsync to save, DBOS with WAL is the same thing
                name = f"F2/{medium}/{short}/{theirs}"
                figures.append(
                    compared(
                        runs, name, f"steps at once on {medium}, {what}", goal, ours=ours, theirs=theirs, medium=medium, key="steps_per_s"
                    )
                )
    if ("omega-latency", "tmpfs") in runs:
        for name, what, goal, job, key in (
            ("F3", "steps one after the other", ">= 5", "sequential", "steps_per_s"),
            ("F5", "a one-step flow, call to result", "<= 0.2", "latency", "p50_ms"),
            ("F6/import", "import time", "<= 0.5", "import", "import_s"),
        ):
            figures.append(compared(runs, name, what, goal, ours=f"omega-{job}", theirs=f"dbos-{job}", medium="tmpfs", key=key))
        figures.append(memory(runs))
    return figures


def memory(runs: Runs) -> Figure:
    """F6: peak memory when all flows have run to their end, for which a peer is let run as long as it takes."""
    ours, theirs = absolute(runs["omega", "tmpfs"], "rss_mb"), runs["dbos-whole", "tmpfs"]
    values = [round(ours / other["rss_mb"], 3) for other in theirs]
    detail = {"medium": "tmpfs", "rounds": len(values), "absolute_unit": "MB", "omega": ours, "other": absolute(theirs, "rss_mb")}
    what, peer = "peak memory, 200 flows at once", f"dbos {theirs[0]['version']}"
    return Figure("F6/memory", what, statistics.median(values), "x", "<= 0.7", peer, min(values), max(values), detail=detail)


def plain(name: str, what: str, goal: str, values: Sequence[float]) -> Figure:
    """A figure of ours alone."""
    return Figure(name, what, round(statistics.median(values), 4), "", goal, "", round(min(values), 4), round(max(values), 4))


def traced_fsyncs() -> dict[str, Any]:
    """F1 at once as the system counts it, where strace is installed: the difference between 200 flows of 50 steps and one of one."""
    strace = shutil.which("strace")
    if strace is None:
        return {}

    def calls(flows: int, steps: int) -> int:
        data = Path(tempfile.mkdtemp(dir=HERE, prefix=".bench-"))
        log = data / "calls"
        command = [strace, "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", log, sys.executable, HERE / "omega_driver.py", "concurrent"]
        try:
            subprocess.run(
                [*command, "--flows", str(flows), "--steps", str(steps), "--dir", data],
                capture_output=True,
                timeout=RUN_S,
                check=True,
                env=clean(),
            )
            return int(re.findall(r"(\d+)\s+total$", log.read_text(), re.M)[0])
        finally:
            shutil.rmtree(data, ignore_errors=True)

    return {"traced_by_strace": round((calls(200, 50) - calls(1, 1)) / (200 * 50 - 1), 4)}


def other_figures(quick: bool) -> list[dict[str, Any]]:
    """The records of the other scripts here, each measured in a process of its own."""
    records: list[dict[str, Any]] = []
    for name in ("recovery", "storage", "postgres", "gate", "log", "gateway", "mcp"):
        if not (HERE / f"{name}.py").is_file() or quick:
            continue
        say(f"bench/{name}.py")
        code = f"import json, {name}; print('\\n' + json.dumps({name}.figures()))"
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=OTHER_S, check=False, env=clean())
        if run.returncode:
            sys.exit(f"bench: bench/{name}.py failed:\n{run.stderr[-2000:]}")
        records += json.loads(run.stdout.strip().splitlines()[-1])
    return records


def machine() -> dict[str, Any]:
    """Where it was measured."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = re.search(r"model name\s*: (.+)", info)
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def say(words: str) -> None:
    """Progress, for a person."""
    print(words, file=sys.stderr, flush=True)


def show(records: Sequence[dict[str, Any]], write: Callable[[str], object] = print) -> None:
    """The table."""
    write(f"{'figure':<24} {'value':>10}  {'goal':<12} {'range':<19} what")
    for record in records:
        spread = "" if not record.get("range") else f"{record['range'][0]:g} .. {record['range'][1]:g}"
        sides = f" ({record['omega']:g} against {record['other']:g} {record['absolute_unit']})" if "omega" in record else ""
        peer = f", {record['peer']}" if record.get("peer") else ""
        mark = "" if record["holds"] else "  MISSED"
        value = f"{record['value']:,.4g} {record['unit']}".strip()
        write(f"{record['id']:<24} {value:>10}  {record['goal'] or ''!s:<12} {spread:<19} {record.get('what', '')}{peer}{sides}{mark}")


def main() -> None:
    """Measure, print, keep."""
    ask = argparse.ArgumentParser(description="measure the figures")
    ask.add_argument("--quick", action="store_true", help="one short round; nothing is kept")
    ask.add_argument("--rounds", type=int, default=7)
    given = ask.parse_args()
    prepare_peers()
    began, where = time.time(), machine()
    figures = flow_figures(measure(1 if given.quick else given.rounds, given.quick))
    records = [figure.record() for figure in figures]
    records[0] |= traced_fsyncs()
    records += other_figures(given.quick)
    show(records)
    if not given.quick:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
        whole = {"when": when, "took_s": round(time.time() - began), "machine": where, "command": "make bench", "figures": records}
        (HERE / "results.json").write_text(json.dumps(whole, indent=1) + "\n")
        quote.main()
        say("written to bench/results.json, quoted in docs/bench.md")


if __name__ == "__main__":
    main()
