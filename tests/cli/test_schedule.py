"""Schedules, retention and forks on the command line."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cli.program import FLOWS, finished, omega, started, wait_for

CHORES = str(FLOWS / "chores.py")


def add(name: str, *options: str) -> str:
    said = omega("schedule", "add", name, CHORES, "--input", "3", "--queue", "mail", *options)
    assert said.status == 0, said.err
    return said.out


@pytest.mark.promise("RUN-45")
def test_a_schedule_is_added_listed_paused_resumed_and_removed(home: Path) -> None:
    add("nightly", "--cron", "0 6 * * *", "--zone", "Europe/Berlin", "--days", "mon-fri", "--holiday", "12-25")
    add("often", "--every", "10m", "--overlap", "skip", "--catch-up", "none")
    listed = omega("schedule", "list", "--json").document["schedules"]
    assert [each["schedule"] for each in listed] == ["nightly", "often"]
    assert listed[0]["passport"].startswith("pas_")
    assert listed[0]["by"].startswith("person:") and listed[0]["timing"]["zone"] == "Europe/Berlin" and listed[0]["next"]
    assert "3" not in omega("schedule", "show", "nightly", "--json").document, "what it starts its flow with is sealed"
    assert len(omega("schedule", "next", "nightly", "--count", "7", "--json").document["next"]) == 7
    assert omega("schedule", "pause", "nightly").status == 0
    assert omega("schedule", "show", "nightly", "--json").document["paused"]
    assert omega("schedule", "next", "nightly").out == "paused\n"
    assert omega("schedule", "resume", "nightly").status == 0
    assert omega("schedule", "remove", "often").status == 0
    assert [each["schedule"] for each in omega("schedule", "list", "--json").document["schedules"]] == ["nightly"]
    flows = {run["flow"] for run in omega("runs", "--json").document["runs"]}
    assert flows == {"arrange", "dissolve"} and omega("verify").status == 0


def test_a_worker_starts_what_is_due_in_the_name_of_whoever_made_the_schedule(home: Path) -> None:
    add("tick", "--every", "1s")
    process = started(home, "worker", CHORES, "--queue", "mail", "--sweep", "100ms")

    def done() -> list[str]:
        return [run["execution"] for run in omega("runs", "--status", "done", "--queue", "mail", "--json").document["runs"]]

    wait_for(lambda: len(done()) >= 2)
    process.send_signal(signal.SIGTERM)
    assert finished(process).status == 0
    assert all(name.startswith("tick@") for name in done())
    told = omega("show", done()[0], "--values", "--json").document
    assert told["value"] == 6 and told["labels"] == {"schedule": "tick"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "x", CHORES, "--input", "3"),
        ("add", "x", CHORES, "--input", "3", "--cron", "whenever"),
        ("add", "x", CHORES, "--input", "3", "--every", "1m", "--cron", "@daily"),
        ("add", "x", CHORES, "--input", "3", "--cron", "@daily", "--zone", "Mars/Olympus"),
        ("add", "x", CHORES, "--input", "3", "--cron", "@daily", "--days", "someday"),
        ("add", "x", CHORES, "--input", "3", "--every", "1500ms"),
        ("add", "x", CHORES, "--input", "many", "--cron", "@daily"),
        ("add", "No Good", CHORES, "--input", "3", "--cron", "@daily"),
        ("show", "nobody"),
        ("remove", "nobody"),
        ("pause", "nobody"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_a_code(home: Path, arguments: tuple[str, ...]) -> None:
    omega("run", CHORES, "--input", "1")
    said = omega("schedule", *arguments, "--json")
    assert said.status != 0 and said.document["error"]["code"] not in ("OMG-X003",), said
    assert omega("schedule", "list", "--json").document["schedules"] == []


def test_retention_is_told_and_lifted(home: Path) -> None:
    assert omega("retain", "--after", "30d").out == "local   payloads are destroyed 30 days after the end\n"
    assert omega("retain", "--json").document["retention"] == [{"tenant": "local", "after_s": 30 * 86_400.0}]
    assert omega("retain", "--forever").status == 0
    assert omega("retain").out == "payloads are kept for ever\n"


def test_a_fork_begins_anew_from_a_step(home: Path) -> None:
    omega("run", f"{CHORES}:fails", "--input", "3", "--id", "origin")
    said = omega("fork", "origin", "--at", "flawed", "--value", "41", "--id", "again", "--json")
    assert said.status == 0, said
    assert omega("resume", "again", "--json").document["value"] == 41
    assert omega("show", "again", "--json").document["origin"] == "origin"
    assert omega("fork", "origin", "--at", "nothing", "--json").document["error"]["code"] == "OMG-I004"
    assert omega("verify").status == 0
