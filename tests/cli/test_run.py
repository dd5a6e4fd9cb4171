"""Running from the command line: targets, inputs, outcomes and their exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.program import GATES, HELLO, omega
from omega.cli.exits import Exit

ORDER = '''
from enum import Enum
from pydantic import BaseModel
from omega import flow

class Size(Enum):
    small = "small"
    large = "large"

class Order(BaseModel):
    """What is ordered."""
    name: str
    size: Size = Size.small
    count: int = 1
    tags: list[str] = []
    note: str | None = None
    code: str | int = ""

@flow
def order(wish: Order) -> dict[str, object]:
    """Take an order."""
    return wish.model_dump(mode="json")

@flow
def number(n: int) -> int:
    return n * 2
'''


@pytest.fixture
def order(tmp_path: Path) -> str:
    path = tmp_path / "orders.py"
    path.write_text(ORDER)
    return str(path)


@pytest.mark.promise("CLI-01")
@pytest.mark.parametrize("form", ["file", "file:flow", "folder", "module"])
def test_a_target_is_a_file_a_flow_of_it_a_folder_or_a_module(home: Path, form: str, tmp_path: Path) -> None:
    source = Path(HELLO).read_text()
    folder = tmp_path / "greeting"
    folder.mkdir()
    (folder / "flow.py").write_text(source)
    (tmp_path / "greetings.py").write_text(source)
    target = {"file": HELLO, "file:flow": f"{HELLO}:hello", "folder": str(folder), "module": "greetings:hello"}[form]
    said = omega("run", target, "--input", "name=World", "--json")
    assert (said.status, said.document["value"]) == (0, "hello World")
    assert said.document["status"] == "done"


@pytest.mark.promise("CLI-01")
def test_an_example_is_run_by_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    said = omega("run", "code_review", "--help-input", "--json")
    assert {"repo", "since", "out"} <= {field["name"] for field in said.document["fields"]}
    assert "code_review" in {each["name"] for each in omega("examples", "--json").document["examples"]}


@pytest.mark.promise("CLI-01")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["name=7"], {"name": "7"}),
        (["name=x", "count=3"], {"count": 3}),
        (["name=x", "size=large"], {"size": "large"}),
        (["name=x", 'tags=["a", "b"]'], {"tags": ["a", "b"]}),
        (["name=x", "note=null"], {"note": None}),
        (["name=x", "note=hello there"], {"note": "hello there"}),
        (["name=x", "code=12"], {"code": 12}),
        (["name=a=b"], {"name": "a=b"}),
        (["name="], {"name": ""}),
    ],
)
def test_fields_are_read_by_their_type(home: Path, order: str, given: list[str], expected: dict[str, object]) -> None:
    arguments = [part for text in given for part in ("--input", text)]
    said = omega("run", f"{order}:order", *arguments, "--json")
    assert said.status == 0, said.out
    assert said.document["value"].items() >= expected.items()


@pytest.mark.promise("CLI-01")
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--input", "nme=x"], "nme"),
        (["--input", "name=x", "--input", "name=y"], "name"),
        (["--input", "name=x", "--input", "count=many"], "count"),
        (["--input", "name=x", "--input", "size=huge"], "size"),
        (["--input", "count=3"], "name"),
        (["--input", "{"], "--input"),
        (["--input-json", "{"], "--input-json"),
        (["--input-json", "@nowhere.json"], "nowhere.json"),
        (["--input", "name=x", "--input-json", "{}"], "--input-json"),
    ],
)
def test_an_input_that_does_not_fit_names_its_field_and_runs_nothing(home: Path, order: str, arguments: list[str], names: str) -> None:
    said = omega("run", f"{order}:order", *arguments, "--json")
    assert said.status == Exit.USAGE
    assert said.document["error"]["code"] == "OMG-I001"
    assert names in said.document["error"]["cause"]
    if home.exists():
        assert omega("runs", "--json").document["runs"] == []


@pytest.mark.parametrize("given", [["--input", "n=21"], ["--input", "21"], ["--input-json", "21"], ["--input-json", "@in.json"]])
def test_a_scalar_goes_by_its_parameter_or_as_json(home: Path, order: str, given: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text("21")
    assert omega("run", f"{order}:number", *given, "--json").document["value"] == 42


@pytest.mark.parametrize("given", ["name=World", '"World"', "World"])
def test_a_text_goes_by_its_parameter_as_json_or_as_it_is(home: Path, given: str) -> None:
    assert omega("run", HELLO, "--input", given, "--json").document["value"] == "hello World"


def test_help_input_lists_the_fields_and_runs_nothing(home: Path, order: str) -> None:
    said = omega("run", f"{order}:order", "--help-input")
    assert said.status == 0
    assert "small | large" in said.out
    assert "must be given" in said.out
    assert not home.exists()


@pytest.mark.promise("CLI-03")
def test_each_way_to_end_has_an_exit_status_of_its_own(home: Path, tmp_path: Path) -> None:
    folder = f"folder={tmp_path}"
    (tmp_path / "broken.py").write_text("from omega import flow\n@flow\ndef broken(n: int) -> int:\n    raise ValueError('no')\n")
    assert omega("run", HELLO, "--input", "name=x").status == Exit.DONE
    assert omega("run", "broken.py", "--input", "n=1").status == Exit.FAILED
    assert omega("run", "nothing.py").status == Exit.USAGE
    assert omega("run", f"{GATES}:publish", "--input", folder, "--as", "agent:helper").status == Exit.DENIED
    assert omega("run", f"{GATES}:approved", "--input", folder).status == Exit.WAITING
    assert omega("run", f"{GATES}:signalled", "--input", folder).status == Exit.WAITING
    assert omega("show", "nobody").status == Exit.USAGE
    assert omega("runs", "--home", str(tmp_path / "empty")).status == Exit.STORAGE


@pytest.mark.promise("CLI-03")
def test_exit_statuses_stand_in_the_help_and_in_the_documentation(home: Path) -> None:
    said = omega("--help").out
    page = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    for status in Exit:
        assert f"  {int(status)} " in said
        assert f"| {int(status)} |" in page


def test_a_denied_start_is_recorded_and_says_how_to_ask(home: Path, tmp_path: Path) -> None:
    said = omega("run", f"{GATES}:publish", "--input", f"folder={tmp_path}", "--as", "agent:helper", "--id", "first")
    assert [line.split()[0] for line in said.out.splitlines() if line] == ["denied", "rule", "because", "to"] + ["to"] * said.out.count(
        "to see"
    )
    assert not (tmp_path / "out.txt").exists()
    assert omega("runs", "--json").document["runs"][0]["execution"] == "first"


@pytest.mark.promise("CLI-24")
def test_runs_tells_what_was_denied_from_what_failed(home: Path, tmp_path: Path) -> None:
    omega("run", f"{GATES}:publish", "--input", f"folder={tmp_path}", "--as", "agent:helper", "--id", "first")
    omega("run", f"{GATES}:held", "--input", f"folder={tmp_path}", "--timeout", "100ms", "--id", "second")
    second, first = omega("runs", "--json").document["runs"]
    assert (first["status"], second["status"]) == ("denied", "failed")
    assert first["policies"] and first["code"].startswith("OMG-W") and "policies" not in second
    shown = {line.split()[0]: line for line in omega("runs").out.splitlines()}
    assert f"denied by {first['policies'][0]}" in shown["first"] and "denied" not in shown["second"]
    assert omega("erase", "--execution", "first", "--yes").status == 0
    left = {each["execution"]: each["status"] for each in omega("runs", "--json").document["runs"]}
    assert left["first"] == "failed", "what was erased can only be told from its line"


def test_an_id_that_is_taken_is_refused(home: Path) -> None:
    assert omega("run", HELLO, "--input", "name=x", "--id", "one").status == 0
    said = omega("run", HELLO, "--input", "name=y", "--id", "one", "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.USAGE, "OMG-R010")


def test_a_budget_and_a_time_limit_hold(home: Path, tmp_path: Path) -> None:
    said = omega("run", f"{GATES}:publish", "--input", f"folder={tmp_path}", "--budget", "0 calls", "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.DENIED, "OMG-W005")
    slow = omega("run", f"{GATES}:held", "--input", f"folder={tmp_path}", "--timeout", "100ms", "--json")
    assert (slow.status, slow.document["error"]["code"]) == (Exit.FAILED, "OMG-R004")
    assert omega("run", HELLO, "--budget", "much").status == Exit.USAGE
    assert omega("run", HELLO, "--timeout", "soon").status == Exit.USAGE


@pytest.mark.promise("CLI-02")
def test_what_a_flow_prints_stays_out_of_the_document(home: Path, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "from omega import flow\nprint('loaded')\n@flow\ndef loud(n: int) -> int:\n    print('ran')\n    return n\n"
    )
    said = omega("run", "loud.py", "--input", "n=1", "--json")
    assert said.document["value"] == 1
    assert "loaded" in said.err
    assert "ran" in said.err


def test_a_service_method_is_called_by_its_name(home: Path) -> None:
    omega("run", HELLO, "--input", "name=x")
    said = omega("call", "insights.summary", "--input", "hours=24", "--json")
    assert said.status == 0, said.out
    assert said.document["value"]["executions"] >= 1
    again = omega("run", "service:insights.summary", "--input", "hours=24", "--json")
    assert json.loads(again.out)["status"] == "done"
