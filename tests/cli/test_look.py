"""Looking at what is recorded, and proving it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import GATES, HELLO, omega
from omega.cli.exits import Exit

FLAKY = """
from omega import flow, parallel
from pathlib import Path

@flow(effect="read")
async def flaky(n: int) -> int:
    marks = Path("marks")
    marks.write_text(marks.read_text() + "x" if marks.exists() else "x")
    if len(marks.read_text()) < 2:
        raise OSError("not yet")
    return n + 1

@flow
def double(n: int) -> int:
    return n * 2

main = double | parallel(flaky.retry(3, backoff_s=0.01).timeout("10s"), double).named("both")
"""


@pytest.fixture
def flaky(home: Path, tmp_path: Path) -> str:
    (tmp_path / "flaky.py").write_text(FLAKY)
    assert omega("run", "flaky.py", "--input", "n=2", "--id", "first").status == 0
    return "first"


@pytest.mark.promise("CLI-05")
def test_show_tells_each_step_with_attempts_effect_time_cost_and_decision(flaky: str) -> None:
    told = omega("show", flaky, "--json").document
    steps = {step["step"]: step for step in told["steps"] if "status" in step}
    assert list(steps) == ["double", "both.1/double", "both.0/flaky"] or list(steps) == ["double", "both.0/flaky", "both.1/double"]
    step = steps["both.0/flaky"]
    assert (step["status"], step["effect"], step["attempts"], step["flow"]) == ("done", "read", 2, "flaky")
    assert step["decision"]["decision"] == "allow"
    assert step["took_s"] >= 0
    assert step["cost_micros"] == 0
    assert step["where"].startswith("flaky.py:")
    assert steps["double"]["decision"] is None
    assert "value" not in step


def test_show_draws_branches_as_one_group_and_counts_attempts(flaky: str) -> None:
    lines = omega("show", flaky).out.splitlines()
    group = lines.index("  both")
    assert any(line.startswith("    flaky ") and "2 attempts" in line and "allow by owner-acts" in line for line in lines[group:])


def test_values_are_opened_only_when_asked_for(flaky: str) -> None:
    assert "input" not in omega("show", flaky, "--json").document
    told = omega("show", flaky, "--values", "--json").document
    assert (told["input"], told["value"]) == (2, [5, 8])
    assert next(step for step in told["steps"] if step["step"] == "both.0/flaky")["value"] == 5


def test_runs_lists_the_newest_first_and_filters(flaky: str) -> None:
    omega("run", HELLO, "--input", "name=x", "--id", "second")
    assert [each["execution"] for each in omega("runs", "--json").document["runs"]] == ["second", "first"]
    assert omega("runs", "--limit", "1").out.splitlines()[-1] == "the newest 1; more with --limit, or --after second"
    assert "nothing is recorded with status failed" in omega("runs", "--status", "failed").out


@pytest.mark.promise("CLI-07")
def test_replay_is_identical_and_touches_nothing(flaky: str, tmp_path: Path) -> None:
    before = (tmp_path / "marks").read_text()
    said = omega("replay", flaky, "--json")
    assert said.status == 0
    assert said.document["identical"] is True
    assert (said.document["recalled"], said.document["run_again"]) == (2, 2)
    assert (tmp_path / "marks").read_text() == before


@pytest.mark.promise("CLI-07")
@pytest.mark.promise("RUN-05")
def test_replay_names_the_first_step_that_differs(flaky: str, tmp_path: Path) -> None:
    del sys.modules["flaky"]
    (tmp_path / "flaky.py").write_text(FLAKY.replace("return n * 2", "return n * 3"))
    said = omega("replay", flaky, "--json")
    error = said.document["error"]
    assert said.status == Exit.FAILED
    assert error["code"] == "OMG-R014"
    assert error["details"]["recorded"]["where"].startswith("flaky.py:")
    assert error["details"]["recorded"]["step"] == error["details"]["now"]["step"] == "double"
    lines = omega("replay", flaky).out
    assert "recorded" in lines
    assert "now" in lines


def test_resume_with_changed_code_is_refused(home: Path, tmp_path: Path) -> None:
    source = Path(GATES).read_text()
    (tmp_path / "doors.py").write_text(source)
    assert omega("run", "doors.py:approved", "--input", f"folder={tmp_path}", "--id", "a").status == Exit.WAITING
    del sys.modules["doors"]
    (tmp_path / "doors.py").write_text(source.replace('b"published"', 'b"other"'))
    said = omega("resume", "a", "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.FAILED, "OMG-R014")


def test_resume_finds_a_moved_file_where_it_is_told(home: Path, tmp_path: Path) -> None:
    (tmp_path / "doors.py").write_text(Path(GATES).read_text())
    omega("run", "doors.py:approved", "--input", f"folder={tmp_path}", "--id", "a")
    (tmp_path / "doors.py").rename(tmp_path / "gates_moved.py")
    assert omega("resume", "a").status == Exit.USAGE
    assert omega("resume", "a", "--target", "gates_moved.py:approved").status == Exit.WAITING


def test_resume_of_an_ended_run_tells_its_outcome(flaky: str) -> None:
    said = omega("resume", flaky, "--json")
    assert (said.status, said.document["value"]) == (0, [5, 8])


@pytest.mark.promise("LOG-02")
def test_an_export_is_verified_by_the_file_beside_it(flaky: str, tmp_path: Path) -> None:
    said = omega("verify", "--export", "out.omega", "--save-checkpoint", "kept", "--json")
    assert (said.status, said.document["logs"][0]["sound"]) == (0, True)
    alone = [sys.executable, "-I", "verify.py", "out.omega", "--checkpoint", "kept"]
    assert subprocess.run(alone, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    data = (tmp_path / "out.omega").read_bytes()
    (tmp_path / "out.omega").write_bytes(data.replace(b'"status":"done"', b'"status":"dona"', 1))
    assert subprocess.run(alone, cwd=tmp_path, check=False, capture_output=True).returncode == 1


def change(home: Path, sql: str) -> None:
    with sqlite3.connect(home / "omega.db") as database:
        assert database.execute(sql).rowcount
    database.close()


@pytest.mark.promise("LOG-09")
@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("UPDATE leaves SET body = cast(replace(cast(body AS TEXT), 'owner-acts', 'owner-actz') AS BLOB) WHERE idx = 1", "leaf"),
        ("DELETE FROM leaves WHERE idx = 1", "lea"),
        ("UPDATE journal SET position = 'doubly' WHERE position = 'double'", "journal rows of first"),
        ("UPDATE journal SET payload = zeroblob(length(payload)) WHERE kind = 3 AND position = 'double'", "first"),
        ("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)", "first"),
    ],
)
def test_verify_finds_what_was_changed_and_says_where(flaky: str, home: Path, sql: str, where: str) -> None:
    assert omega("verify").status == 0
    change(home, sql)
    said = omega("verify")
    assert said.status == Exit.FAILED
    assert "not sound" in said.out
    assert where in said.out
    assert omega("verify", "--json").document["ok"] is False


def test_a_kept_checkpoint_of_a_longer_log_shows_the_rollback(flaky: str, home: Path, tmp_path: Path) -> None:
    for file in home.glob("omega.db*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    omega("run", HELLO, "--input", "name=x")
    omega("verify", "--save-checkpoint", "kept")
    for file in home.glob("omega.db*"):
        file.unlink()
    for file in tmp_path.glob("omega.db*"):
        file.rename(home / file.name)
    assert omega("verify").status == 0
    said = omega("verify", "--checkpoint", "kept")
    assert said.status == Exit.FAILED
    assert "OMG-C002" in said.out


@pytest.mark.promise("CLI-08")
def test_explain_says_which_rule_decided_and_why(home: Path, tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "from omega import Context, WriteFiles, flow\n"
        '@flow(effect="write", needs="files:write")\n'
        "async def note(ctx: Context, text: str) -> list[str]:\n"
        '    return await ctx.touch(WriteFiles(files={"note": text.encode()}))\n'
        "@flow\n"
        "async def main(ctx: Context, text: str) -> list[str]:\n"
        "    return await ctx.call(note, text)\n"
    )
    omega("run", "asks.py:main", "--input", "text=x", "--id", "one")
    told = omega("policy", "explain", "one/note", "--json").document
    assert told["recorded"]["policies"] == ["owner-acts"]
    assert told["rules"][0]["where"].startswith("default.cedar:")
    assert told["changed"] is False
    policies = home / "policies"
    policies.mkdir()
    (policies / "mine.cedar").write_text(
        '@id("no-notes")\n@reason("notes are not written here")\n@ask("ask the owner")\n'
        'forbid (principal, action == Action::"write", resource);\n'
    )
    told = omega("policy", "explain", "one/note", "--json").document
    assert told["changed"] is True
    assert told["today"]["verdict"]["policies"] == ["no-notes"]
    assert "otherwise: deny" in omega("policy", "explain", "one/note").out
    denied = omega("run", "asks.py:main", "--input", "text=x", "--id", "two")
    assert denied.status == Exit.DENIED
    assert "mine.cedar:1" in denied.out
    assert "no-notes" in omega("policy", "explain", "two/note").out
    assert omega("policy", "explain", "two/nothing", "--json").document["error"]["code"] == "OMG-I004"


@pytest.mark.promise("CLI-08")
def test_policy_check_names_file_and_line(home: Path, tmp_path: Path) -> None:
    assert omega("policy", "check").status == 0
    (tmp_path / "bad.cedar").write_text('@id("x")\npermit (principal, action, resource);\n')
    said = omega("policy", "check", "bad.cedar", "--json")
    assert said.status == Exit.FAILED
    assert said.document["problems"][0]["file"] == "bad.cedar"
    assert omega("policy", "check", "nowhere.cedar").status == Exit.USAGE
