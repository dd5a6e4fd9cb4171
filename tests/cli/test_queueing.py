"""Queues on the command line: lining up, working off, searching, deciding about many; on SQLite, where the worker is the one engine."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from cli.program import FLOWS, finished, omega, started, wait_for

CHORES = str(FLOWS / "chores.py")


def line_up(name: str, flow: str, *options: str) -> str:
    """Line one up; gives its id."""
    said = omega("run", f"{CHORES}:{flow}", "--input", "3", "--queue", "mail", "--id", name, *options)
    assert said.status == 0, said.err
    return name


def work(*options: str) -> str:
    """Work until nothing is left; gives what was said."""
    said = omega("worker", CHORES, "--queue", "mail", "--sweep", "50ms", "--until-idle", *options)
    assert said.status == 0, said.err
    return said.out


def serving(home: Path, *options: str) -> subprocess.Popen[str]:
    """A worker as a program of its own, once it serves."""
    process = started(home, "worker", CHORES, "--queue", "mail", "--sweep", "50ms", *options)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "serving" in first, first + process.communicate()[1]
    wait_for(lambda: "works in this folder" in omega("doctor", "--no-servers").out)
    return process


@pytest.mark.promise("CLI-20")
def test_what_is_lined_up_waits_until_a_worker_works_it_off(home: Path) -> None:
    line_up("first", "quick", "--label", "team=blue", "--priority", "5")
    line = omega("runs", "--json").document["runs"][0]
    assert (line["status"], line["queue"], line["priority"], line["labels"]) == ("queued", "mail", 5, {"team": "blue"})
    assert "first" in work()
    assert omega("show", "first", "--values", "--json").document["value"] == 6


def test_delayed_work_is_not_begun_before_its_time(home: Path) -> None:
    line_up("later", "quick", "--in", "1h")
    line_up("now", "quick")
    process = serving(home)
    wait_for(lambda: omega("show", "now", "--json").document["status"] == "done")
    assert omega("show", "later", "--json").document["status"] == "queued"
    process.send_signal(signal.SIGTERM)
    assert finished(process).status == 0


@pytest.mark.promise("CLI-20")
def test_more_lines_up_while_the_worker_holds_the_folder_and_is_waited_for(home: Path) -> None:
    process = serving(home)
    said = omega("run", f"{CHORES}:quick", "--input", "4", "--queue", "mail", "--wait", "--json")
    assert said.status == 0 and said.document["value"] == 8 and said.document["status"] == "done"
    again = omega("run", f"{CHORES}:quick", "--input", "4", "--queue", "mail", "--id", said.document["execution"], "--json")
    assert again.status != 0 and again.document["error"]["code"] == "OMG-R010"
    process.send_signal(signal.SIGTERM)
    assert finished(process).status == 0


@pytest.mark.promise("RUN-45")
def test_a_queue_is_changed_while_a_worker_holds_the_folder(home: Path) -> None:
    process = serving(home)
    assert omega("queue", "set", "mail", "--at-once", "2", "--rate", "10/s").status == 0
    assert omega("queue", "pause", "mail").out == "mail   paused\n"
    shown = omega("queue", "list", "--json").document["queues"]
    assert shown[0]["paused"] and shown[0]["limits"]["at_once"] == 2 and shown[0]["limits"]["rate"] == 10
    flows = [run["flow"] for run in omega("runs", "--json").document["runs"]]
    assert flows == ["arrange", "arrange"], "each change is an execution of its own, with its leaves"
    process.send_signal(signal.SIGTERM)
    assert finished(process).status == 0
    assert omega("verify").status == 0


@pytest.mark.slow
def test_nothing_is_taken_from_a_paused_queue_until_it_is_resumed(home: Path) -> None:
    line_up("held", "quick")
    omega("queue", "pause", "mail")
    process = serving(home)
    line_up("more", "quick")
    assert {run["status"] for run in omega("runs", "--queue", "mail", "--json").document["runs"]} == {"queued"}
    omega("queue", "resume", "mail")
    wait_for(lambda: {run["status"] for run in omega("runs", "--queue", "mail", "--json").document["runs"]} == {"done"})
    process.send_signal(signal.SIGTERM)
    assert finished(process).status == 0


@pytest.mark.promise("CLI-21")
def test_a_worker_that_is_told_to_stop_lets_what_runs_go_on_and_takes_nothing_more(home: Path) -> None:
    process = serving(home, "--at-once", "1", "--json")
    line_up("running", "slow")
    wait_for((home / "slow-3").is_file)
    line_up("left", "quick")
    process.send_signal(signal.SIGTERM)
    said = finished(process)
    events = [json.loads(line) for line in said.out.splitlines()]
    assert said.status == 0 and [event["event"] for event in events] == ["draining", "done", "stopped"]
    assert {run["execution"]: run["status"] for run in omega("runs", "--json").document["runs"]} == {"left": "queued", "running": "done"}


@pytest.mark.promise("CLI-21")
def test_a_second_word_stops_at_once_and_hands_back_what_ran(home: Path) -> None:
    process = serving(home, "--drain", "60s")
    line_up("parked", "slow")
    wait_for((home / "slow-3").is_file)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert finished(process).status == 0
    assert omega("show", "parked", "--json").document["status"] in ("queued", "done")
    work()
    assert omega("show", "parked", "--json").document["status"] == "done"


@pytest.mark.promise("CLI-22")
def test_runs_is_a_search_page_by_page(home: Path) -> None:
    for number in range(5):
        line_up(f"job{number}", "quick" if number % 2 else "waits", "--label", f"n={number}", "--key", "even" if number % 2 == 0 else "odd")

    def names(*options: str) -> list[str]:
        return [run["execution"] for run in omega("runs", "--json", *options).document["runs"]]

    assert names("--flow", "quick") == ["job3", "job1"]
    assert names("--key", "even", "--label", "n=2") == ["job2"]
    assert names("--where", "flow=waits", "--where", "label=n=4") == ["job4"]
    assert names("--status", "queued", "--status", "done", "--queue", "mail") == [f"job{n}" for n in (4, 3, 2, 1, 0)]
    assert names("--since", "1h", "--by", "agent:nobody") == [] and names("--until", "1h") == []
    first = omega("runs", "--limit", "2", "--json").document
    assert first["next"] == "job3" and names("--limit", "2", "--after", "job3") == ["job2", "job1"]
    assert omega("runs", "--where", "colour=blue").status == 2
    assert omega("runs", "--since", "yesterday").status == 2


@pytest.mark.promise("CLI-23")
def test_many_are_cancelled_after_a_preview_and_a_question(home: Path) -> None:
    for number in range(3):
        line_up(f"job{number}", "quick")
    line_up("other", "waits")
    asked = omega("cancel", "--where", "flow=quick", "--json")
    assert asked.status == 2 and asked.document["matched"] == 3 and asked.document["results"] == []
    unanswered = omega("cancel", "--where", "flow=quick")
    assert unanswered.status == 2 and "job0" in unanswered.err and "nothing was done" in unanswered.out
    said = omega("cancel", "--where", "flow=quick", "--yes", "--json")
    assert said.status == 0 and said.document["done"] == 3
    assert sorted(each["execution"] for each in said.document["results"]) == ["job0", "job1", "job2"]
    standing = {run["execution"]: run["status"] for run in omega("runs", "--json").document["runs"]}
    assert standing == {"job0": "cancelled", "job1": "cancelled", "job2": "cancelled", "other": "queued"}
    assert omega("cancel", "--where", "flow=quick", "--yes").out == "nothing to cancel matches\n"
    assert omega("cancel", "other", "--where", "flow=quick").status == 2 and omega("cancel").status == 2


def test_what_failed_is_tried_again_from_before_the_step_that_failed(home: Path) -> None:
    line_up("broken", "fails")
    work()
    assert omega("show", "broken", "--json").document["status"] == "failed"
    (home / "mended").touch()
    made = omega("redrive", "broken", "--json").document["made"]
    assert made and made != "broken"
    work()
    told = omega("show", made, "--values", "--json").document
    assert (told["status"], told["value"], told["origin"]) == ("done", 6, "broken")
    assert omega("verify").status == 0


def test_what_waits_in_a_queue_goes_on_with_a_worker_after_its_signal(home: Path) -> None:
    line_up("waiting", "waits")
    work()
    assert omega("show", "waiting", "--json").document["status"] == "waiting"
    said = omega("signal", "waiting", "go")
    assert said.status == 0 and "omega resume" not in said.out
    work()
    assert omega("show", "waiting", "--json").document["status"] == "done"


def test_options_of_a_queue_mean_nothing_without_one(home: Path) -> None:
    for option in (("--key", "a"), ("--in", "5m"), ("--at", "2030-01-01"), ("--label", "a=b"), ("--wait",), ("--priority", "1")):
        said = omega("run", CHORES, "--input", "1", *option, "--json")
        assert said.status == 2 and said.document["error"]["code"] == "OMG-X001", option


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", CHORES, "--input", "1", "--queue", "no good"),
        ("run", CHORES, "--input", "1", "--queue", "mail", "--priority", "1000"),
        ("run", CHORES, "--input", "1", "--queue", "mail", "--label", "nothing"),
        ("run", CHORES, "--input", "1", "--queue", "mail", "--in", "1h", "--at", "2030-01-01"),
        ("run", CHORES, "--input", "x", "--queue", "mail"),
        ("queue", "set", "mail"),
        ("queue", "set", "mail", "--at-once", "0"),
        ("queue", "set", "mail", "--rate", "quickly"),
        ("queue", "remove", "nobody"),
        ("worker", CHORES, "--lease", "0.1s"),
        ("worker", "nowhere.py"),
        ("retain", "--after", "1s"),
        ("retain", "--after", "30d", "--forever"),
        ("resume", "--where", "status=asleep"),
        ("fork", "nobody", "--at", "x"),
        ("dead", "--limit", "0"),
    ],
)
def test_bad_input_is_refused_with_a_code_and_no_traceback(home: Path, arguments: tuple[str, ...]) -> None:
    omega("run", CHORES, "--input", "1")
    said = omega(*arguments, "--json")
    assert said.status != 0 and said.document["error"]["code"].startswith("OMG-"), said
    assert "Traceback" not in said.err and said.document["error"]["code"] != "OMG-X003"


VERSION = """\
from omega import Context, flow


@flow
def first(n: int) -> int:
    return n + 1


@flow(version="{version}.0.0")
async def job(ctx: Context, n: int) -> int:
    a = await ctx.call({first}, n)
    await ctx.signal("go")
    return a * {version}


@flow
def other(n: int) -> int:
    return n


main = job
"""


def test_what_stands_still_is_carried_over_to_another_version_on_purpose(home: Path, tmp_path: Path) -> None:
    files = {}
    for name, version, first in (("old", 1, "first"), ("new", 10, "first"), ("unfit", 10, "other")):
        files[name] = tmp_path / name / f"{name}.py"
        files[name].parent.mkdir()
        files[name].write_text(VERSION.format(version=version, first=first))
    assert omega("run", f"{files['old']}:job", "--input", "4", "--queue", "q", "--id", "one").status == 0
    assert omega("worker", str(files["old"]), "--queue", "q", "--until-idle").status == 0
    plan = omega("migrate", "job", "--to", f"{files['new']}:job", "--plan", "--json").document
    assert [(each["execution"], each["verdict"], each["steps"]) for each in plan["planned"]] == [("one", "mapped", 1)]
    refused = omega("migrate", "job", "--to", f"{files['unfit']}:job", "--yes", "--json")
    assert refused.document["planned"][0]["verdict"] == "refused" and refused.document["carried"] == []
    assert omega("migrate", "job", "--to", f"{files['new']}:job", "--yes", "--json").document["carried"][0]["verdict"] == "mapped"
    assert omega("signal", "one", "go").status == 0
    assert omega("worker", str(files["new"]), "--queue", "q", "--until-idle").status == 0
    assert omega("show", "one", "--values", "--json").document["value"] == 50
    assert omega("verify").status == 0


def test_what_was_carried_over_outside_a_queue_is_resumed_with_its_new_target(home: Path, tmp_path: Path) -> None:
    for name, version in (("old", 1), ("new", 10)):
        (tmp_path / f"{name}.py").write_text(VERSION.format(version=version, first="first"))
    omega("run", "old.py:job", "--input", "4", "--id", "one")
    said = omega("migrate", "job", "--to", "new.py:job", "--yes").out
    assert said.splitlines()[-1] == "do  omega resume one --target new.py:job"
    assert omega("signal", "one", "go").status == 0
    assert omega("resume", "one", "--target", "new.py:job", "--json").document["value"] == 50


def test_a_worker_that_stops_when_idle_does_not_wait_for_what_others_serve(home: Path) -> None:
    line_up("mine", "quick")
    said = omega("run", str(FLOWS / "hello.py"), "--input", "name=x", "--queue", "mail", "--id", "others")
    assert said.status == 0, said.err
    assert "mine" in work()
    assert omega("show", "others", "--json").document["status"] == "queued"
