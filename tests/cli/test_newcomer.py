"""What somebody meets in the first hours: who acts, what is listed, what is said of mistakes, long steps and kills."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cli.program import GATES, HELLO, finished, omega, started, wait_for
from omega.cli.exits import Exit
from omega.cli.live import Screen
from omega.cli.tree import Node
from omega.host import discover
from omega.host.identity import Caller
from omega.kernel.errors import InputError
from omega.runtime.world import Moment

ROOT = Path(__file__).parents[2]
SHIELD = ROOT / "src/omega/adapters/process/shield.py"


def test_an_agent_with_a_grant_and_a_group_may_write(home: Path, tmp_path: Path) -> None:
    run = ("run", f"{GATES}:publish", "--input", f"folder={tmp_path}", "--as", "agent:helper", "--json")
    assert omega(*run).document["error"]["code"] == "OMG-W008"
    assert omega(*run, "--grant", "files:write").document["error"]["code"] == "OMG-W001"
    (home / "policies").mkdir()
    (home / "policies/writers.cedar").write_text(
        '@id("writers-write")\n@reason("writers may write")\npermit (principal in Group::"writers", action == Action::"write", resource);\n'
    )
    said = omega(*run, "--grant", "files:write", "--group", "writers")
    assert said.status == 0, said.out
    assert (tmp_path / "out.txt").read_text() == "published"


@pytest.mark.parametrize(
    "given",
    [
        {"groups": ("writers",)},
        {"grants": ("files:write",)},
        {"principal": "person:eve", "grants": ("files:write",)},
        {"principal": "agent:x", "grants": ("*",)},
        {"principal": "agent:x", "groups": ("Not A Group",)},
    ],
)
def test_a_caller_that_cannot_be_meant_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        Caller(**given)  # type: ignore[arg-type]
    assert caught.value.code == "OMG-X001"


@pytest.mark.promise("CLI-08")
def test_the_policies_in_force_are_shown_with_file_and_line(home: Path) -> None:
    (home / "policies").mkdir(parents=True)
    (home / "policies/mine.cedar").write_text('\n@id("mine")\n@reason("mine")\nforbid (principal is Agent, action, resource);\n')
    told = omega("policy", "show", "--json").document
    assert {"owner-acts", "mine"} <= {rule["id"] for rule in told["policies"]}
    lines = omega("policy", "show").out.splitlines()
    assert "mine.cedar:2   mine   forbid" in lines
    assert any(line.startswith("default.cedar:") for line in lines)
    assert "  forbid (principal is Agent, action, resource);" in lines


def test_who_decided_is_a_person_and_deciding_twice_is_told(home: Path, tmp_path: Path) -> None:
    omega("run", f"{GATES}:approved", "--input", f"folder={tmp_path}", "--id", "one")
    told = omega("approve", "one", "--json").document
    assert told["by"].startswith("person:")
    assert told["by"].endswith("#owner")
    assert told["through"] == "this process"
    again = omega("approve", "one", "publish")
    assert again.status == Exit.USAGE
    assert f"OMG-I005  publish is approved already by {told['by']}" in again.err
    assert "do          omega resume one" in again.err
    assert omega("cancel", "one", "--json").document["by"] == told["by"].removesuffix("#owner")


def test_a_flow_called_main_goes_by_its_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text("from omega import flow\n@flow\ndef main(n: int) -> int:\n    return n\n")
    for target in ("greeter.py", "greeter.py:main"):
        assert omega("run", target, "--input", "n=1", "--json").document["flow"] == "greeter"


def test_lines_are_out_before_a_kill_and_resume_counts_what_is_recorded(home: Path, tmp_path: Path) -> None:
    process = started(home, "run", f"{GATES}:held_between", "--input", f"folder={tmp_path}", "--id", "one")
    wait_for((tmp_path / "held").exists)
    refused = omega("run", HELLO, "--input", "name=x")
    assert refused.status == Exit.STORAGE
    assert f"process {process.pid}, for " in refused.err, refused.err
    assert "-m omega run" in refused.err
    assert "owner: embedded" not in refused.err
    process.kill()
    out = finished(process).out
    assert out.startswith("gates-held_between ") or "   one   tenant local" in out.splitlines()[0]
    assert any(line.split()[:1] == ["prepare"] for line in out.splitlines())
    (tmp_path / "go").touch()
    said = omega("resume", "one")
    assert "resumed: 1 of 3 steps was recorded; none of them runs again" in said.out


def moment(kind: str, position: str, took_s: float = 0.0) -> Moment:
    return Moment(kind=kind, execution="one", position=position, flow="code-review", effect="read", took_s=took_s)


def test_appended_lines_stay_in_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(lambda _: "header")
    screen.watch(moment("started", ""))
    screen.watch(moment("ended", "code-review/history"))
    screen.watch(moment("ended", "code-review/" + "deep/" * 12 + "leaf"))
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("  history ")
    assert first.index(" read ") == second.index(" read ")
    assert "deep/leaf " in second


def test_long_steps_and_waits_are_mentioned_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(lambda _: "header")
    screen.watch(moment("began", "bandit"))
    screen.mention()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("omega.cli.live.LONG_S", 0.0)
    monkeypatch.setattr("omega.cli.live.LOOK_S", 0.001)
    said: list[str] = []

    def heard() -> str:
        said.append(capsys.readouterr().err)
        return "".join(said)

    with screen.running():
        wait_for(heard)
        screen.mention()
    assert heard() == "  ... bandit runs\n"
    screen.watch(moment("paused", "sleep", took_s=60.0))
    assert capsys.readouterr().err.startswith("  ... sleep waits until ")


def broken_and_good(monkeypatch: pytest.MonkeyPatch) -> None:
    good = next(point for point in discover.entry_points(group=discover.GROUP) if point.name == "insights")
    bad = EntryPoint("bad", "no_such_module:manifest", discover.GROUP)
    monkeypatch.setattr(discover, "entry_points", lambda **_: [bad, good])


def test_a_broken_service_disables_only_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_and_good(monkeypatch)
    assert omega("call", "insights.summary", "--help-input").status == 0
    assert "mend or uninstall the package that offers it" in omega("call", "bad.x").err
    findings = omega("doctor", "--json").document["findings"]
    bad = next(each for each in findings if each["what"] == "services" and each["state"] == "fail")
    assert bad["text"].startswith("bad: OMG-F002")
    assert bad["advice"] == "mend or uninstall the package that offers it"
    unknown = omega("call", "nothing.x").err
    assert "installed: insights" in unknown
    assert "make setup" in unknown


def test_call_lists_the_methods(home: Path) -> None:
    told = omega("call", "--json").document
    assert {"service", "method", "effect", "summary"} == set(told["methods"][0])
    assert any(line.startswith("insights.summary ") for line in omega("call").out.splitlines())


def test_a_wrong_input_of_a_method_names_the_command_that_helps(home: Path) -> None:
    assert "omega call insights.summary --help-input" in omega("call", "insights.summary", "--input", "hours=many").out
    assert "omega call insights.summary --help-input" in omega("call", "insights.summary", "--input", "nohours=1").err


def test_every_problem_of_an_input_is_told(home: Path, tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(
        "from omega import flow\nfrom pydantic import create_model\n"
        "Wide = create_model('Wide', **{f'f{n}': (int, ...) for n in range(12)})\n"
        "@flow\ndef wide(w: Wide) -> int:\n    return 1\n"
    )
    said = omega("run", "wide.py")
    assert all(f"f{n}: field required" in said.out for n in range(10))
    assert "f10: field required" not in said.out
    assert "and 2 more" in said.out


def test_the_doctor_tells_of_left_over_processes_of_this_folder_alone(home: Path, tmp_path: Path) -> None:
    home.mkdir(mode=0o700)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    words = [sys.executable, "-c", "input()", str(SHIELD), str(gone.pid), "some-server", "--flag"]
    stuck = subprocess.Popen(words, stdin=subprocess.PIPE)
    try:
        assert not any(str(stuck.pid) in each["text"] + each["advice"] for each in omega("doctor", "--json").document["findings"])
        (home / "engine.lock").write_text(f"{gone.pid} embedded\n")
        found = next(each for each in omega("doctor", "--json").document["findings"] if each["what"] == "processes")
        assert found["state"] == "warn"
        assert f"of {home}: some-server --flag" in found["text"]
        assert found["advice"].endswith(f"kill {stuck.pid}")
    finally:
        stuck.kill()
        stuck.communicate()


def test_a_caller_that_has_not_ended_has_a_state() -> None:
    root = Node("")
    root.put("outer/inner", ("read", "done", "", ""))
    root.put("both.0/leaf", ("read", "done", "", ""))
    root.fill(("", "interrupted", "", ""))
    cells = dict(root.lines())
    assert cells["outer"] == ("", "interrupted", "", "")
    assert cells["both"] == ()


def test_help_loads_nothing_heavy() -> None:
    words = "import sys; from omega.cli import run; run(['--help']); print(sorted({m.partition('.')[0] for m in sys.modules}))"
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True, env=os.environ)
    loaded = said.stdout.splitlines()[-1]
    for heavy in ("asyncio", "pydantic", "mcp", "rich", "joserfc", "cedarpy", "sqlite3", "msgspec"):
        assert f"'{heavy}'" not in loaded


def test_format_goes_on_although_lint_stands() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    recipe = lines[next(n for n, line in enumerate(lines) if line.startswith("format:")) + 1]
    assert "--fix-only" in recipe
    assert "&&" not in recipe
