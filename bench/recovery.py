"""F9 to F12: what crashes, second owners, lost workers and changed flows cost. Counts, so one run says all; the long ones are `make soak`.

    python bench/recovery.py

F9 and F10 by the simulator of `omega.testing` (a crash before and after every append; an engine paused between the check and the send of
every touch, while another takes over), F9 and F11 by killing real workers on PostgreSQL (drills/worker_kills.py), F12 by the corpus of
changed flows in tests/runtime/test_changed_flow.py, each of which is resumed and replayed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KILLS = 20
LEASE_S = 2.0
SEED = 11
CORPUS = "tests/runtime/test_changed_flow.py"
LONGEST_S = 300
"""Longest that the drill, or the corpus, may take."""


def simulated() -> list[dict[str, Any]]:
    """F9 and F10 as the simulator has them: violations found in how many runs."""
    from omega.testing.simulator import EVERYTHING, every_crash, takeovers, uninterrupted

    expected = uninterrupted(EVERYTHING)
    crashes = [told.problems for told in every_crash(EVERYTHING, expected)]
    pauses = [told.problems for told in takeovers(EVERYTHING, expected, seed=SEED, touches=range(expected.touches))]
    what = f"steps lost or repeated, effects repeated, {len(crashes)} crashes, one before and one after every append"
    stale = f"stale appends or effects, {len(pauses)} engines paused between check and send"
    return [
        record("F9/simulated", what, sum(map(len, crashes)), "", 0),
        record("F10", stale, sum(map(len, pauses)), "", 0),
    ]


def killed() -> list[dict[str, Any]]:
    """F9 and F11 with real processes: what was wrong, and the longest time until another worker had taken over, in leases."""
    command = [sys.executable, ROOT / "drills/worker_kills.py", "--kills", str(KILLS), "--seed", str(SEED), "--lease", str(LEASE_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    if not done.stdout:
        sys.exit(f"bench: the drill failed:\n{done.stderr[-2_000:]}")
    found = json.loads(done.stdout)
    what = f"the same, {KILLS} kills of three workers on PostgreSQL, {found['executions']} executions, counted from outside"
    slowest = f"longest recovery on another worker, lease {LEASE_S:g} s"
    return [
        record("F9/killed", what, len(found["wrong"]), "", 0),
        record("F11", slowest, round(found["recovery_s"] / LEASE_S, 2), "leases", 2),
    ]


def changed() -> list[dict[str, Any]]:
    """F12: of how many changed flows the error names both steps, file and line, and the difference."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-k", "a_change_is_named", CORPUS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    passed, tried = counts.get("passed", 0), sum(counts.values())
    if not tried:
        sys.exit(f"bench: the corpus of changed flows did not run:\n{done.stdout[-2_000:]}")
    said = record("F12", f"changes named with both steps, file and line, {tried} kinds of change", round(100 * passed / tried, 1), "%", 100)
    return [said | {"goal": ">= 100", "holds": passed == tried}]


def figures() -> list[dict[str, Any]]:
    """The records of F9 to F12."""
    return [*simulated(), *killed(), *changed()]


def record(name: str, what: str, value: float, unit: str, goal: float) -> dict[str, Any]:
    """One figure as bench/results.json keeps it; every goal here is a most."""
    said = {"id": name, "what": what, "value": value, "unit": unit, "goal": f"<= {goal:g}", "holds": value <= goal}
    return said | {"range": None, "peer": "", "command": "python bench/recovery.py"}


if __name__ == "__main__":
    for each in figures():
        print(json.dumps(each))
