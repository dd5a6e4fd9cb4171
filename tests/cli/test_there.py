"""Commands after `omega login`: a real `omega up`, a person with an API key, and the same documents as on the machine itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.program import GATES, HELLO, STARTED, Said, finished, omega, started, wait_for

GRANTS = (
    "flows:run",
    "records:read",
    "events:use",
    "model:ask",
    "models:use",
    "agents:use",
    "log:read",
    "directory:use",
    "directory:read",
    "files:write",
)


@dataclass(frozen=True, slots=True)
class Remote:
    """An installation that serves flows, its data folder, and the data folder of somebody who is signed in to it."""

    home: Path
    mine: Path
    url: str

    def there(self, *arguments: str) -> Said:
        """A command of the one who is signed in."""
        return omega("--home", str(self.mine), *arguments, "--json")

    def on_it(self, *arguments: str) -> Said:
        """The same command on the machine itself."""
        return omega("--home", str(self.home), *arguments, "--json")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """`omega up` as a program of its own, with somebody signed in from another data folder."""
    home, mine = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("mine")
    grants = [word for grant in GRANTS for word in ("--grant", grant)]
    made = omega("--home", str(home), "key", "create", "docs", "--as", "person:ada", "--role", "owner", *grants, "--json").document
    (mine / "key").write_text(made["api_key"])
    process = started(home, "up", f"{GATES}:approved", f"{GATES}:signalled", HELLO, "--port", "0", "--json")
    STARTED.remove(process)  # it outlives the first test
    assert process.stdout is not None
    url = next(json.loads(line)["url"] for line in process.stdout if '"up"' in line)
    told = omega("--home", str(mine), "login", url, "--name", "work", "--credential", str(mine / "key"), "--json")
    assert told.status == 0, told
    yield Remote(home, mine, url)
    process.terminate()
    assert finished(process).status in (0, 130)


@pytest.mark.slow
@pytest.mark.promise("SDK-18")
def test_what_runs_there_is_listed_shown_and_decided_from_here(remote: Remote, tmp_path: Path) -> None:
    ran = remote.there("run", "hello", "--input", "name=Ada")
    assert (ran.status, ran.document["value"], ran.document["status"]) == (0, "hello Ada", "done"), ran
    waits = remote.there("run", "approved", "--input", f"folder={tmp_path}")
    assert (waits.status, waits.document["status"]) == (4, "waiting"), waits
    execution = waits.document["execution"]
    assert remote.there("runs", "--status", "waiting").document["runs"][0]["execution"] == execution
    assert remote.there("show", execution).document["steps"][-1]["status"] == "waiting"
    approved = remote.there("approve", execution)
    assert approved.status == 0, approved
    assert (approved.document["step"], approved.document["verb"], approved.document["recorded"]) == ("publish", "approve", True)
    assert approved.document["by"].startswith("person:ada")
    wait_for(lambda: remote.there("show", execution).document["status"] == "done")
    assert (tmp_path / "out.txt").read_bytes() == b"published"
    assert not (remote.mine / "omega.db").exists(), "nothing was run or read on this machine"


@pytest.mark.slow
@pytest.mark.promise("SDK-18")
def test_signals_answers_and_cancellations_reach_what_waits_there(remote: Remote, tmp_path: Path) -> None:
    execution = remote.there("run", "signalled", "--input", f"folder={tmp_path}").document["execution"]
    assert remote.there("signal", execution, "go", '"now"').document["by"] == "person:ada"
    wait_for(lambda: remote.there("show", execution).document["status"] == "done")
    assert remote.there("show", execution, "--values").document["value"] == f"{tmp_path} now"
    execution = remote.there("run", "signalled", "--input", f"folder={tmp_path}").document["execution"]
    assert remote.there("answer", execution, "--input", "x=1").document["error"]["code"] == "OMG-I005"
    assert remote.there("cancel", execution).document["status"] == "cancelled"
    refused = remote.there("cancel", execution)
    assert (refused.status, refused.document["error"]["code"]) == (2, "OMG-I005")
    assert remote.there("show", "nobody").document["error"]["code"] == "OMG-I003"


@pytest.mark.slow
@pytest.mark.promise("SDK-21")
def test_a_list_has_the_same_fields_and_values_from_here_and_there(remote: Remote) -> None:
    remote.there("run", "hello", "--input", "name=Bob")
    away, home = remote.there("runs", "--flow", "hello").document, remote.on_it("runs", "--flow", "hello").document
    assert away == home
    execution = away["runs"][0]["execution"]
    assert remote.there("show", execution, "--values").document == remote.on_it("show", execution, "--values").document
    mine, theirs = (
        each("events", "--type", "flow:created", "--about", execution).document["events"] for each in (remote.there, remote.on_it)
    )
    assert mine == theirs and len(mine) == 1
    for command in (("models", "list"), ("agents", "list"), ("user", "list"), ("guard", "alerts"), ("mcp", "list")):
        assert remote.there(*command).document.keys() == remote.on_it(*command).document.keys(), remote.there(*command)
    assert remote.there("log", "search", "--execution", execution).document.keys() == {"ok", "leaves", "before"}


@pytest.mark.slow
@pytest.mark.promise("SDK-21")
def test_a_command_of_this_machine_says_so_and_how_to_come_back(remote: Remote) -> None:
    said = remote.there("queue", "list")
    assert said.status in (0, 6)
    (line,) = [each for each in said.err.splitlines() if "not at work" in each]
    assert line.startswith("omega queue list is made on this machine") and "--local" in line and "omega context use here" in line
    assert "not at work" not in remote.there("queue", "list", "--local").err
    assert "not at work" not in remote.there("version").err
    assert "not at work" not in remote.there("runs").err
    assert remote.there("runs", "--local").document["ok"] is False, "there are no records on this machine"
    ran = remote.there("run", HELLO, "--input", "name=Eve", "--local")
    assert (ran.document["tenant"], ran.document["value"]) == ("local", "hello Eve")
    asked = remote.there("run", "nothing-of-that-name", "--context", "work")
    assert (asked.status, asked.document["error"]["code"]) == (2, "OMG-I002")
    both = remote.there("runs", "--local", "--context", "work")
    assert (both.status, both.document["error"]["code"]) == (2, "OMG-X001")


@pytest.mark.slow
@pytest.mark.promise("SDK-21")
def test_where_commands_go_is_told(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    told = omega("context", "--home", str(remote.mine))
    assert told.out.splitlines()[0] == "commands are made at work" and remote.url in told.out
    monkeypatch.setenv("OMEGA_CONTEXT", "here")
    assert re.match(r"commands are made on this machine", omega("context", "--home", str(remote.mine)).out)
    assert remote.there("runs").document["ok"] is True, "the version run on this machine by the test before is in the records"
