"""The command line away from home: signing in, calling there, choosing where; and what it makes for newcomers: projects, completions."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.served import served
from omega.cli import run as run_command
from omega.cli.new import FILES
from omega.client.contexts import FILE

START_S = 60.0


@dataclass(frozen=True, slots=True)
class There:
    """A remote installation: where it is, and a passport of its owner."""

    url: str
    passport: str


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    """An installation that answers in a thread of its own."""
    home = tmp_path_factory.mktemp("there")
    found: list[There] = []
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        async with served(home) as here:
            found.append(There(here.url, here.omega.passport()))
            stop.append((asyncio.get_running_loop(), asyncio.Event()))
            ready.set()
            await stop[0][1].wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(START_S)
    yield found[0]
    stop[0][0].call_soon_threadsafe(stop[0][1].set)
    thread.join(START_S)
    assert not thread.is_alive()


def omega(home: Path, *arguments: str) -> tuple[int, Any]:
    """The exit status and the document that a command answers with."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        status = run_command(["--home", str(home), "--json", *arguments])
    return int(status), json.loads(out.getvalue())


def sign_in(home: Path, there: There, *more: str) -> None:
    (home / "credential").write_text(f"{there.passport}\n")
    status, told = omega(home, "login", there.url, "--name", "work", "--credential", str(home / "credential"), *more)
    assert status == 0, told


@pytest.mark.promise("SDK-18")
def test_after_signing_in_calls_are_made_there_and_home_again(tmp_path: Path, there: There) -> None:
    sign_in(tmp_path, there, "--environment", "prod")
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    status, told = omega(tmp_path, "call", "insights.summary", "--input", "hours=1")
    assert (status, told["context"]) == (0, "work")
    assert told["value"]["executions"] >= 0
    assert not (tmp_path / "omega.db").exists(), "nothing was run on this machine"
    status, told = omega(tmp_path, "call")
    assert "insights" in [each["name"] for each in told["services"]]
    assert omega(tmp_path, "call", "insights.summary", "--environment", "prod")[1]["context"] == "work"
    assert "context" not in omega(tmp_path, "call", "insights.summary", "--context", "here")[1]
    assert omega(tmp_path, "context", "use", "here")[0] == 0
    assert "context" not in omega(tmp_path, "call", "insights.summary")[1]
    assert [each["name"] for each in omega(tmp_path, "context", "list")[1]["contexts"]] == ["work"]
    assert omega(tmp_path, "logout", "work")[0] == 0
    assert there.passport not in (tmp_path / FILE).read_text()


@pytest.mark.promise("SDK-18")
def test_an_error_there_is_the_error_here(tmp_path: Path, there: There) -> None:
    sign_in(tmp_path, there)
    status, told = omega(tmp_path, "call", "insights.summary", "--input", "hours=-1")
    assert (status, told["error"]["code"]) == (2, "OMG-I001")
    status, told = omega(tmp_path, "call", "insights.nothing")
    assert (status, told["error"]["code"]) == (2, "OMG-I002")
    status, told = omega(tmp_path, "call", "insights.summary", "--as", "agent:x")
    assert (status, told["error"]["code"]) == (2, "OMG-X001")


@pytest.mark.promise("SDK-21")
def test_lists_are_made_there_too_and_context_says_so(tmp_path: Path, there: There) -> None:
    sign_in(tmp_path, there)
    execution = omega(tmp_path, "call", "insights.summary")[1]["execution"]
    assert execution in [each["execution"] for each in omega(tmp_path, "runs")[1]["runs"]]
    assert omega(tmp_path, "show", execution)[1]["flow"] == "insights.summary"
    assert omega(tmp_path, "mcp", "list")[1]["servers"] == []
    assert omega(tmp_path, "context")[1]["context"] == "work"
    assert omega(tmp_path, "context", "--local")[1]["context"] == "here"
    assert not (tmp_path / "omega.db").exists(), "nothing was read on this machine"


@pytest.mark.parametrize("credential", ["nonsense", "", "two words", "ümlaut", f"omk_{'0' * 32}_{'a' * 43}"])
def test_who_is_refused_is_not_kept(tmp_path: Path, there: There, credential: str) -> None:
    (tmp_path / "credential").write_text(credential)
    status, told = omega(tmp_path, "login", there.url, "--credential", str(tmp_path / "credential"))
    assert status in (2, 3)
    assert told["error"]["code"] in ("OMG-X001", "OMG-T001")
    assert not (tmp_path / FILE).exists()
    assert len(credential) < 20 or credential not in json.dumps(told)


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    for arguments in (("call", "a.b", "--context", "none"), ("context", "use", "none"), ("logout", "none"), ("call", "--tenant", "t")):
        status, told = omega(tmp_path, *arguments)
        assert (status, told["error"]["code"]) == (2, "OMG-X011"), arguments


def test_the_variable_chooses_a_context(tmp_path: Path, there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(tmp_path, there)
    omega(tmp_path, "context", "use", "here")
    monkeypatch.setenv("OMEGA_CONTEXT", "work")
    assert omega(tmp_path, "call", "insights.summary")[1]["context"] == "work"


@pytest.mark.promise("SDK-19")
@pytest.mark.slow
def test_a_made_project_is_green_and_runs(tmp_path: Path) -> None:
    status, told = omega(tmp_path / "home", "new", "tally-words", "--in", str(tmp_path))
    assert (status, len(told["files"])) == (0, len(FILES))
    folder = tmp_path / "tally-words"
    surroundings = os.environ | {"OMEGA_HOME": str(tmp_path / "home")}

    def run(*command: str) -> str:
        found = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=100, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    assert "2 passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    policies = sorted(str(path.relative_to(folder)) for path in (folder / "policies").iterdir())
    assert "4 cases" in run(sys.executable, "-m", "omega", "policy", "check", *policies)
    command = (sys.executable, "-m", "omega", "run", "flow.py", "--input", "source=README.md", "--input", "target=summary.json")
    run(*command)
    assert json.loads((folder / "summary.json").read_text())["words"] > 10
    run(sys.executable, "-m", "ruff", "check", "--isolated", ".")


def test_a_project_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    status, told = omega(tmp_path / "home", "new", "mine", "--in", str(tmp_path))
    assert (status, told["error"]["code"]) == (2, "OMG-P005")
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["", "Upper", "a b", "../up", "-dash", "a" * 64, "ümlaut", "1st"])
def test_a_project_has_a_plain_name(tmp_path: Path, name: str) -> None:
    status, told = omega(tmp_path / "home", "new", "--in", str(tmp_path), "--", name)
    assert (status, told["error"]["code"]) == (2, "OMG-X001")


@pytest.mark.promise("SDK-20")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    environment = os.environ | {"OMEGA_HOME": "/dev/null/x"}
    script = subprocess.run(
        [sys.executable, "-m", "omega", "completion", shell], capture_output=True, text=True, env=environment, check=True
    )
    assert "_OMEGA_COMPLETE" in script.stdout
    words = {"COMP_WORDS": "omega compl", "COMP_CWORD": "1" if shell != "fish" else "compl", "_OMEGA_COMPLETE": f"{shell}_complete"}
    asked = subprocess.run([sys.executable, "-m", "omega"], capture_output=True, text=True, env=environment | words, check=False)
    assert "completion" in asked.stdout


@pytest.mark.promise("SDK-20")
def test_events_and_webhooks_are_shown(tmp_path: Path) -> None:
    omega(tmp_path, "call", "insights.summary")
    _, told = omega(tmp_path, "events", "--type", "flow:*")
    assert [event["type"] for event in told["events"]] == ["flow:created", "flow:executed"]
    _, later = omega(tmp_path, "events", "--after", str(told["position"]))
    assert later["events"] == []
    status, made = omega(tmp_path, "webhook", "add", "billing", "https://hooks.example/x", "--type", "flow:error")
    assert (status, made["secret"][:6]) == (0, "whsec_")
    status, refused = omega(tmp_path, "webhook", "add", "bad", "https://127.0.0.1/")
    assert (status, refused["error"]["code"]) == (3, "OMG-P011")
    assert omega(tmp_path, "webhook", "pause", "billing")[0] == 0
    _, told = omega(tmp_path, "webhook", "list")
    assert [(each["webhook"], each["paused"]) for each in told["webhooks"]] == [("billing", True)]
    assert made["secret"] not in json.dumps(told)
    assert omega(tmp_path, "webhook", "resume", "billing")[0] == 0
    assert omega(tmp_path, "webhook", "remove", "billing")[0] == 0
    assert omega(tmp_path, "webhook", "pause", "billing")[1]["error"]["code"] == "OMG-I003"
