"""The command line beside live engines: signals, kills, second engines, letters, reading."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cli.program import GATES, finished, omega, started, wait_for
from omega.cli.exits import Exit
from omega.host.presence import holder


def held(home: Path, tmp_path: Path, flow: str, *more: str) -> subprocess.Popen[str]:
    process = started(home, "run", f"{GATES}:{flow}", "--input", f"folder={tmp_path}", "--id", "one", *more)
    wait_for((tmp_path / "held").exists)
    return process


def rows_done(home: Path) -> list[str]:
    return [step["step"] for step in omega("show", "one", "--json").document["steps"] if step["status"] == "done"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_names_the_next_command(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = held(home, tmp_path, "held_between")
    process.send_signal(number)
    said = finished(process)
    assert said.status == Exit.INTERRUPTED
    assert "omega resume one" in said.out
    assert "Traceback" not in said.err
    assert holder(home) is None
    (tmp_path / "go").touch()
    resumed = omega("resume", "one", "--json")
    assert (resumed.status, resumed.document["value"]) == (0, "gone on")
    assert rows_done(home) == ["prepare", "held", "after"]


def test_an_interrupted_run_is_one_document_too(home: Path, tmp_path: Path) -> None:
    process = held(home, tmp_path, "held_between", "--json")
    process.send_signal(signal.SIGINT)
    said = finished(process)
    assert (said.status, said.document["ok"], said.document["status"]) == (Exit.INTERRUPTED, False, "interrupted")


@pytest.mark.promise("RUN-01")
def test_a_killed_run_goes_on_and_repeats_no_recorded_step(home: Path, tmp_path: Path) -> None:
    process = held(home, tmp_path, "held_between")
    process.kill()
    process.wait()
    told = omega("show", "one", "--json").document
    assert (told["status"], told["interrupted"]) == ("running", True)
    assert "interrupted" in omega("runs").out
    (tmp_path / "go").touch()
    said = omega("resume", "one")
    assert said.status == 0
    steps = {step["step"]: step["attempts"] for step in omega("show", "one", "--json").document["steps"]}
    assert steps == {"prepare": 1, "held": 2, "after": 1}
    assert omega("verify").status == 0
    finished(process)


@pytest.mark.promise("RUN-06")
def test_a_write_cut_short_is_in_doubt_until_somebody_says(home: Path, tmp_path: Path) -> None:
    process = held(home, tmp_path, "main")
    process.kill()
    finished(process)
    assert omega("resume", "one").status == Exit.IN_DOUBT
    assert "omega resolve one stuck" in omega("show", "one").out
    assert omega("resolve", "one", "stuck").status == Exit.USAGE
    assert omega("resolve", "one", "stuck", "--done", "by hand").status == 0
    said = omega("resume", "one", "--json")
    assert (said.status, said.document["value"]) == (0, "by hand")
    assert not (tmp_path / "go").exists()


@pytest.mark.promise("RUN-11")
@pytest.mark.promise("RUN-12")
def test_beside_a_live_engine_reading_works_and_a_second_one_is_refused(home: Path, tmp_path: Path) -> None:
    process = held(home, tmp_path, "held_between")
    said = omega("run", f"{GATES}:publish", "--input", f"folder={tmp_path}", "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.STORAGE, "OMG-S001")
    assert said.document["error"]["details"]["pid"] == process.pid
    told = omega("show", "one", "--json").document
    assert [(step["step"], step["status"]) for step in told["steps"]] == [("prepare", "done"), ("held", "running")]
    assert omega("verify").status == 0
    assert omega("policy", "explain", "one/held").status == 0
    assert omega("doctor", "--no-servers").status == 0
    assert omega("runs", "--json").document["runs"][0]["interrupted"] is False
    (tmp_path / "go").touch()
    assert finished(process).status == 0


@pytest.mark.promise("CLI-06")
@pytest.mark.promise("RUN-13")
def test_cancel_reaches_a_live_run(home: Path, tmp_path: Path) -> None:
    process = held(home, tmp_path, "held_between")
    said = omega("cancel", "one", "--json")
    assert (said.status, said.document["through"], said.document["recorded"]) == (0, "the live engine", True)
    assert finished(process).status == Exit.FAILED
    told = omega("show", "one", "--values", "--json").document
    assert (told["status"], told["error"]["code"]) == ("cancelled", "OMG-R005")
    assert omega("cancel", "one", "--json").document["error"]["code"] == "OMG-I005"


@pytest.mark.promise("CLI-06")
def test_approve_and_signal_reach_the_folder_of_a_live_engine(home: Path, tmp_path: Path) -> None:
    assert omega("run", f"{GATES}:approved", "--input", f"folder={tmp_path}", "--id", "waits").status == Exit.WAITING
    assert omega("run", f"{GATES}:signalled", "--input", f"folder={tmp_path}", "--id", "listens").status == Exit.WAITING
    process = held(home, tmp_path, "held_between")
    wrong = omega("approve", "waits", "prepare", "--json")
    assert (wrong.status, wrong.document["error"]["code"]) == (Exit.USAGE, "OMG-I004")
    assert omega("approve", "waits", "publish", "--json").document["through"] == "the live engine"
    assert omega("signal", "listens", "go", '{"n": 1}', "--json").document["recorded"] is True
    assert omega("approve", "nobody").status == Exit.USAGE
    (tmp_path / "go").touch()
    finished(process)
    assert omega("resume", "waits").status == 0
    assert (tmp_path / "out.txt").read_text() == "published"
    assert json.loads(omega("resume", "listens", "--json").out)["value"] == f"{tmp_path} {{'n': 1}}"


@pytest.mark.promise("CLI-06")
def test_resolve_reaches_the_folder_of_a_live_engine(home: Path, tmp_path: Path) -> None:
    process = held(home, tmp_path, "main")
    process.kill()
    finished(process)
    (tmp_path / "held").unlink()
    other = started(home, "run", f"{GATES}:held_between", "--input", f"folder={tmp_path}", "--id", "two")
    wait_for((tmp_path / "held").exists)
    said = omega("resolve", "one", "--not-done", "--json")
    assert (said.document["through"], said.document["step"]) == ("the live engine", "stuck")
    (tmp_path / "go").touch()
    finished(other)
    assert omega("resume", "one", "--json").document["value"] == "written"


def test_a_reader_that_stops_reading_is_no_error(home: Path, tmp_path: Path) -> None:
    process = started(home, "errors")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_the_presence_of_an_engine_is_told_without_its_lock(home: Path, tmp_path: Path) -> None:
    assert holder(home) is None
    process = held(home, tmp_path, "held_between")
    found = holder(home)
    assert found is not None
    assert found.pid == process.pid
    os.kill(process.pid, signal.SIGKILL)
    finished(process)
    assert holder(home) is None
