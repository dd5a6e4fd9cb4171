"""Setting up: tool servers, the doctor, and what is said about errors."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import GATES, HELLO, omega
from omega.cli.exits import Exit
from omega.kernel.errors import CODES

SERVER = str(Path(__file__).parents[1] / "servers/raw_mcp.py")


def add(tmp_path: Path, behaviour: str = "good") -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    said = omega("mcp", "add", "raw", "--write", str(notes), "--", sys.executable, SERVER, behaviour, str(notes))
    assert said.status == 0, said.err


@pytest.mark.promise("CLI-09")
def test_a_server_is_added_listed_compared_and_removed(home: Path, tmp_path: Path) -> None:
    add(tmp_path)
    assert [each["name"] for each in omega("mcp", "list", "--json").document["servers"]] == ["raw"]
    told = omega("mcp", "tools", "raw", "--json")
    assert told.status == 0
    echo = next(tool for tool in told.document["tools"] if tool["tool"] == "echo")
    assert (echo["state"], echo["effect"]) == ("same", "read")
    assert echo["pinned"] == echo["offered"]
    starts = (tmp_path / "notes/starts").read_text()
    assert omega("mcp", "tools", "raw", "--pinned").status == 0
    assert (tmp_path / "notes/starts").read_text() == starts, "--pinned starts nothing"
    assert omega("mcp", "add", "raw", "--", "true").status == Exit.USAGE
    assert omega("mcp", "remove", "raw").status == 0
    assert omega("mcp", "tools", "raw", "--json").document["error"]["code"] == "OMG-M005"


@pytest.mark.promise("CLI-09")
@pytest.mark.promise("TOOL-02")
def test_a_changed_description_is_shown_and_taken_only_on_purpose(home: Path, tmp_path: Path) -> None:
    add(tmp_path, "changes-between")
    said = omega("mcp", "tools", "raw")
    assert said.status == Exit.FAILED
    assert "changed" in said.out
    assert any(line.lstrip().startswith("-") for line in said.out.splitlines())
    assert any(line.lstrip().startswith("+") for line in said.out.splitlines())
    refused = omega("mcp", "tools", "raw", "--accept")
    assert refused.status != 0 and "OMG-M012" in refused.err, "what it says now gives orders"
    taken = omega("mcp", "tools", "raw", "--accept", "--trusting", "--json")
    assert (taken.status, taken.document["accepted"]) == (0, True)
    assert omega("mcp", "tools", "raw").status == 0


@pytest.mark.slow
@pytest.mark.promise("TOOL-65")
def test_what_a_server_may_do_is_shown_and_each_change_is_on_record(home: Path, tmp_path: Path) -> None:
    notes, more = tmp_path / "notes", tmp_path / "more"
    add(tmp_path)
    more.mkdir()
    listed = omega("mcp", "list", "--json").document["servers"][0]
    assert (listed["sandbox"]["write"], listed["sandbox"]["network"], listed["sandbox"]["on"]) == ([str(notes)], "none", True)
    assert "confined" in omega("mcp", "list").out
    assert [str(notes) in line for line in omega("mcp", "sandbox", "raw").out.splitlines() if "writes" in line] == [True]
    changed = omega("mcp", "sandbox", "raw", "--read", str(more), "--network", "443", "--json").document["sandbox"]
    assert changed == {"on": True, "read": [str(more)], "write": [str(notes)], "network": "443"}
    assert omega("mcp", "sandbox", "raw", "--json").document["sandbox"] == changed
    assert "sandbox-server" in omega("runs").out
    assert omega("mcp", "tools", "raw", "--pinned", "--json").document["tools"], "what was accepted stays"
    assert omega("mcp", "sandbox", "raw", "--no-sandbox", "--json").document["sandbox"]["on"] is False
    assert "not confined" in omega("mcp", "list").out
    fresh = omega("mcp", "sandbox", "raw", "--reset", "--json").document["sandbox"]
    assert fresh == {"on": True, "read": [SERVER, str(notes)], "write": [], "network": "none"}
    said = omega("mcp", "tools", "raw", "--json")
    assert "omega mcp sandbox raw" in said.document["error"]["advice"], "it may not write its notes any more"


@pytest.mark.promise("TOOL-64")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--write", "home"], "OMG-P009"),
        (["--read", "."], "OMG-P009"),
        (["--read", "nowhere"], "OMG-X001"),
        (["--network", "loopback"], "OMG-I001"),
        (["--url", "https://tools.example/mcp", "--network", "all"], ""),
    ],
)
def test_a_grant_that_cannot_be_meant_is_refused(home: Path, arguments: list[str], code: str) -> None:
    home.mkdir()
    said = omega("mcp", "add", "x", "--json", *arguments, *([] if "--url" in arguments else ["--", "true"]))
    assert said.document["error"]["code"] == (code or "OMG-I001")


def test_a_server_that_does_not_start_is_not_remembered(home: Path) -> None:
    said = omega("mcp", "add", "none", "--", "/nowhere/server", "--json")
    assert said.status != 0
    assert "there are no" not in omega("mcp", "list").out
    assert omega("mcp", "list", "--json").document["servers"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["x"],
        ["x", "--url", "http://127.0.0.1:1/mcp", "--", "y"],
        ["x", "--env", "KEY", "--", "y"],
        ["Bad Name", "--", "y"],
        ["x", "--url", "ftp://y"],
    ],
)
def test_a_server_that_cannot_be_meant_is_refused(home: Path, arguments: list[str]) -> None:
    said = omega("mcp", "add", *arguments)
    assert said.status == Exit.USAGE
    assert said.err.startswith("OMG-")


@pytest.mark.promise("CLI-10")
def test_the_doctor_finds_a_fresh_machine_well(home: Path) -> None:
    told = omega("doctor", "--json").document
    assert told["failed"] == 0
    assert {"python", "sqlite", "folder", "disk", "engine", "policies", "processes"} <= {finding["what"] for finding in told["findings"]}
    assert not home.exists(), "it changes nothing"


def finding(what: str) -> dict[str, str]:
    found = [each for each in omega("doctor", "--json").document["findings"] if each["what"] == what]
    return next((each for each in found if each["state"] != "ok"), found[0])


@pytest.mark.slow
@pytest.mark.promise("CLI-10")
def test_the_doctor_names_what_is_wrong_and_what_to_do(home: Path, tmp_path: Path) -> None:
    assert omega("run", f"{GATES}:approved", "--input", f"folder={tmp_path}", "--id", "waits").status == Exit.WAITING
    add(tmp_path, "good")
    assert omega("doctor").status == 0
    assert "waits" in finding("runs")["text"]
    (home / "policies").mkdir()
    (home / "policies/bad.cedar").write_text("permit (")
    bad = finding("policies")
    assert (bad["state"], bad["text"].split(":")[0]) == ("fail", "bad.cedar")
    (home / "policies/bad.cedar").unlink()
    home.chmod(0o755)
    assert finding("folder")["advice"] == f"chmod 700 {home}"
    home.chmod(0o700)
    (home / "keys/seal.key").chmod(0o644)
    assert finding("data")["state"] == "fail"
    assert "OMG-T003" in finding("data")["text"]
    assert omega("doctor").status == Exit.FAILED
    (home / "keys/seal.key").chmod(0o600)
    (home / "keys/log.key").unlink()
    assert "log" in finding("data")["text"]
    assert not (home / "keys/log.key").exists(), "a lost key is not replaced behind the owner's back"


@pytest.mark.slow
@pytest.mark.promise("CLI-10")
def test_the_doctor_starts_the_tool_servers(home: Path, tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    server.write_text(Path(SERVER).read_text())
    assert omega("mcp", "add", "raw", "--", sys.executable, str(server), "good").status == 0
    assert finding("server")["state"] == "ok"
    server.write_text("raise SystemExit('gone')")
    assert (finding("server")["state"], finding("server")["text"].split()[0]) == ("fail", "raw:")


@pytest.mark.promise("CLI-04")
@pytest.mark.promise("CLI-11")
@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["run"],
        ["run", "nothing.py"],
        ["run", "/"],
        ["run", "no.such.module:x"],
        ["run", "service:nothing.at"],
        ["run", HELLO + ":nobody"],
        ["run", HELLO],
        ["run", HELLO, "--as", "robot"],
        ["run", HELLO, "--input", "name=x", "--id", "../x"],
        ["run", "broken.py"],
        ["run", "latin.py"],
        ["resume", "nobody"],
        ["show", "nobody"],
        ["show", "\x1b[2J"],
        ["replay", "nobody"],
        ["cancel", "nobody"],
        ["approve", "nobody", "x"],
        ["resolve", "nobody", "x", "--not-done"],
        ["signal", "nobody", "x"],
        ["verify", "--tenant", "nobody"],
        ["verify", "--checkpoint", "nowhere"],
        ["verify", "--export", "/nowhere/x"],
        ["policy", "explain", "nobody/x"],
        ["policy", "check", "nowhere.cedar"],
        ["mcp", "tools", "nobody"],
        ["mcp", "remove", "nobody"],
        ["errors", "OMG-Z999"],
        ["runs", "--status", "odd"],
        ["runs", "--limit", "0"],
        ["runs", "--home", "/dev/null"],
    ],
)
def test_a_mistake_gets_code_cause_turn_and_next_command(home: Path, tmp_path: Path, arguments: list[str]) -> None:
    assert omega("run", HELLO, "--input", "name=x").status == 0
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    said = omega(*arguments)
    assert said.status not in (0, 1), said
    first, *rest = said.err.splitlines() if said.err else said.out.strip().splitlines()
    code = first.split()[0]
    assert code in CODES, said
    assert len(first.split()) > 2
    assert any(line.strip().startswith("whose turn") for line in rest)
    assert any(line.strip().startswith("do ") for line in rest)
    assert "\x1b" not in said.err
    assert "Traceback" not in said.err + said.out
    told = omega(*arguments, "--json")
    assert told.document["ok"] is False
    assert told.document["error"]["code"] == code
    assert told.status == said.status


@pytest.mark.promise("CLI-02")
@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"], ["show", "one"], ["replay", "one"], ["verify"], ["resume", "one"], ["policy", "check"], ["policy", "explain", "one"],
        ["mcp", "list"], ["doctor"], ["examples"], ["errors"], ["version"], ["run", HELLO, "--help-input"],
    ],
)  # fmt: skip
def test_every_command_speaks_json_and_nothing_else(home: Path, arguments: list[str]) -> None:
    assert omega("run", HELLO, "--input", "name=x", "--id", "one").status == 0
    said = omega(*arguments, "--json")
    assert said.document["ok"] is True, said


def test_a_fault_of_ours_is_told_in_a_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omega.cli import reference

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a value that must not be printed")

    monkeypatch.setattr(reference, "table", fail)
    said = omega("errors", "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.FAILED, "OMG-X003")
    assert "must not be printed" not in said.out + said.err
    monkeypatch.setenv("OMEGA_DEBUG", "1")
    assert "ZeroDivisionError" in omega("errors").err


def on_terminal(home: Path, *arguments: str, **more: str) -> str:
    """What a command draws on a terminal of 100 by 30."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "omega", *arguments],
        env=os.environ | {"OMEGA_HOME": str(home), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"} | more,
        stdin=side, stdout=side, stderr=side,
    )  # fmt: skip
    os.close(side)
    drawn = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        drawn += part
    os.close(main)
    assert process.wait() == 0
    return drawn.decode()


def test_a_terminal_gets_a_tree_in_colour_and_ordinary_lines_at_the_end(home: Path, tmp_path: Path) -> None:
    drawn = on_terminal(home, "run", f"{GATES}:publish", "--input", f"folder={tmp_path}")
    assert "\x1b[32mdone\x1b[0m" in drawn
    assert "\x1b[?25h" in drawn, "the cursor is shown again"
    assert drawn.rstrip().endswith("of local")


def test_no_color_takes_the_colour_away_and_leaves_the_words(home: Path, tmp_path: Path) -> None:
    drawn = on_terminal(home, "run", f"{GATES}:publish", "--input", f"folder={tmp_path}", NO_COLOR="1")
    assert "\x1b[32m" not in drawn
    assert "done" in drawn
