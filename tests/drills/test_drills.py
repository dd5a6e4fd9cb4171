"""The drills of `drills/`, in their short form: each is the same script that anyone can run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.postgres import programs

DRILLS = Path(__file__).resolve().parents[2] / "drills"
LONGEST_S = 280.0
KILLS = os.environ.get("OMEGA_DRILL_KILLS", "50")
SEED = os.environ.get("OMEGA_DRILL_SEED", "1")


def run(name: str, *arguments: str) -> None:
    """Run a drill; everything that was wrong is the failure's text."""
    programs()
    command = [sys.executable, str(DRILLS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-6000:]


@pytest.mark.slow
@pytest.mark.promise("RUN-40")
@pytest.mark.promise("RUN-41")
def test_killed_and_paused_workers_lose_nothing_and_double_nothing() -> None:
    run("worker_kills.py", "--kills", KILLS, "--seed", SEED, "--lease", "2.5")


@pytest.mark.parametrize(
    ("times", "took", "beyond"),
    [
        ({"-1-": 1}, ["host-1-a"], 0),
        ({"-1-": 1, "-2-": 1}, ["host-1-a", "host-2-a"], 0),  # overtaken, and ran all the same
        ({"-1-": 1, "-2-": 1}, ["host-1-a"], 1),  # the second took it up when it was recorded
        ({"-1-": 3}, ["host-1-a", "host-1-a"], 1),
        ({"-1-": 1, "-2-": 2}, ["host-2-a"], 2),
    ],
)
def test_a_step_that_ran_too_often_is_counted(times: dict[str, int], took: list[str], beyond: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DRILLS))
    import cluster

    assert cluster.too_often(times, took) == beyond


@pytest.mark.slow
@pytest.mark.promise("RUN-42")
def test_a_rolling_upgrade_runs_two_versions_side_by_side() -> None:
    run("rolling_upgrade.py")


@pytest.mark.slow
@pytest.mark.promise("RUN-43")
def test_a_backup_taken_under_load_is_verified_and_gone_on_with() -> None:
    run("backup_restore.py")


@pytest.mark.slow
@pytest.mark.promise("RUN-44")
def test_workers_outlive_their_database() -> None:
    run("database_kill.py", "--kills", "2", "--seed", SEED)


@pytest.mark.slow
@pytest.mark.promise("DOOR-31")
def test_who_asks_again_comes_to_an_answer_while_one_thing_after_the_other_goes_wrong() -> None:
    run("availability.py", "--minutes", "0.8", "--rate", "4", "--seed", SEED, "--least", "0.9", "--no-keep")


@pytest.mark.slow
@pytest.mark.promise("DOOR-18")
@pytest.mark.parametrize(("kills", "workers"), [("2", "0"), ("3", "2")])
def test_a_gateway_killed_under_load_costs_nobody_a_call_or_a_session(kills: str, workers: str) -> None:
    run("gateways.py", "--kills", kills, "--workers", workers, "--seed", SEED)
