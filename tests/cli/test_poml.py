"""`omega poml`, and documents as targets of `omega run`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.program import omega
from omega.cli.exits import Exit
from omega.cli.poml import poml as commands

STEPS = '''
from pydantic import BaseModel
from omega import Context, FlowError, flow

class Order(BaseModel):
    """What is ordered."""
    count: int

@flow
def read(text: str) -> Order:
    """The order in a text."""
    return Order(count=int(text))

@flow
def made(text: str) -> dict[str, str]:
    """What a tool takes."""
    return {"text": text}

@flow(effect="read")
async def look(order: Order) -> Order:
    """Look it up."""
    return order

@flow
def large(order: Order) -> str:
    """A large one."""
    return "large"

@flow
def small(order: Order) -> str:
    """A small one."""
    return "small"
'''
PARTS = '''
from typing import Any
from omega import flow

@flow
def more(n: int) -> int:
    return n + 1

@flow
def book(n: int) -> int:
    return n

@flow
def unbook(done: tuple[int, int]) -> None:
    """Take it back."""

@flow
def fail(n: int) -> int:
    raise ValueError("no room")
'''
PEOPLE = """poml: 2.0.0
name: trip
input: int
nodes:
  ask: {human: {approval: owner, message: book it?}, input: int}
  rounds: {loop: more, while: out < 4}
  more: {flow: parts:more}
  trip: {saga: book -> fail}
  book: {flow: parts:book, undo: unbook}
  unbook: {flow: parts:unbook}
  fail: {flow: parts:fail}
connect: ask -> rounds -> trip
"""
DOCUMENT = """# An order is read, looked up and sorted.
poml: 2.0.0
name: orders
nodes:
  read: {flow: steps:read}
  look: {flow: steps:look, retry: 2}
  sort: {when: out.count > 9, then: large, otherwise: small}
  large: {flow: steps:large}
  small: {flow: steps:small}
connect: read -> look -> sort
"""


@pytest.fixture
def document(home: Path, tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    path = tmp_path / "orders.poml"
    path.write_text(DOCUMENT)
    return path


# -- as a target


@pytest.mark.promise("POML-08")
def test_a_document_runs_shows_replays_and_resumes(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = omega("run", str(document), "--input-json", '"12"', "--id", "one", "--json").document
    assert (said["value"], said["flow"], said["target"]) == ("large", "orders", str(document))
    assert [step["step"] for step in omega("show", "one", "--json").document["steps"]] == ["read", "look", "large"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert omega("replay", "one", "--json").document["identical"]
    assert omega("resume", "one", "--json").document["status"] == "done"


@pytest.mark.promise("POML-08")
def test_a_run_of_a_document_that_changed_is_told_from_the_one_recorded(document: Path) -> None:
    omega("run", str(document), "--input-json", '"12"', "--id", "one")
    document.write_text(DOCUMENT.replace("retry: 2", "retry: 3"))
    said = omega("replay", "one", "--json").document
    assert (said["identical"], said["error"]["code"]) == (False, "OMG-R014")


def test_the_example_documents_are_run_by_their_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    given = "@examples/poml/research.input.json"
    assert omega("run", "research", "--input-json", given, "--json").document["value"]["complete"] is True
    listed = {each["name"]: each["title"] for each in omega("examples", "--json").document["examples"]}
    assert listed["research"].startswith("A question is split, each part is looked up")


@pytest.mark.promise("POML-08")
def test_people_rounds_and_compensation_of_a_document_run_durably(document: Path) -> None:
    """A run that waits, is approved, goes on, fails, and takes back what it did."""
    (document.parent / "parts.py").write_text(PARTS)
    document.write_text(PEOPLE)
    waiting = omega("run", str(document), "--input-json", "1", "--id", "one", "--json")
    assert (waiting.status, waiting.document["status"]) == (Exit.WAITING, "waiting")
    assert omega("approve", "one", "ask").status == Exit.DONE
    ended = omega("resume", "one", "--json")
    assert (ended.status, ended.document["error"]["code"]) == (Exit.FAILED, "OMG-R001")
    steps = [step["flow"] for step in omega("show", "one", "--json").document["steps"] if "flow" in step]
    assert steps == ["ask", "more", "more", "more", "book", "fail", "unbook"]
    assert omega("replay", "one", "--json").document["identical"]
    told = omega("poml", "estimate", str(document), "--json").document
    assert {step["name"] for step in told["steps"]} == {"ask", "more", "book", "unbook", "fail"}


@pytest.mark.promise("POML-11")
def test_an_agent_of_a_document_without_a_model_fails_and_says_what_to_set(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMEGA_MODEL", "OMEGA_MODEL_URL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MISTRAL_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    document.write_text("poml: 2.0.0\nname: hello\nnodes:\n  greet: {agent: {instructions: Say hello.}, input: str}\n")
    said = omega("run", str(document), "--input-json", '"ada"', "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.FAILED, "OMG-X002")


@pytest.mark.parametrize(
    ("reference", "cause"),
    [
        ("steps:nothing", "there is no flow nothing"),
        ("steps:Order.count", "no such flow"),
        ("nowhere:read", "there is no module nowhere"),
        ("os:system", "a module of Python itself"),
        ("broken:read", "broken.py does not load"),
        ("pack.broken:read", "pack.broken does not load"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_place(document: Path, tmp_path: Path, reference: str, cause: str) -> None:
    for place in (tmp_path / "broken.py", tmp_path / "pack" / "broken.py"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("1 / 0\n")
    document.write_text(DOCUMENT.replace("steps:read", reference))
    said = omega("run", str(document), "--input-json", '"1"', "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.USAGE, "OMG-L008")
    assert "orders.poml:5:3" in said.document["error"]["cause"]
    assert cause in said.document["error"]["cause"]


def test_flows_of_a_package_beside_the_document_are_found(document: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "desk.py").write_text(STEPS)
    document.write_text(DOCUMENT.replace("steps:", "shop.desk:"))
    assert omega("run", str(document), "--input-json", '"1"', "--json").document["value"] == "small"


def test_a_document_is_one_flow(document: Path) -> None:
    said = omega("run", f"{document}:read", "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.USAGE, "OMG-I002")


@pytest.mark.promise("POML-06")
def test_a_server_declared_in_a_document_gets_its_secret_by_reference_alone(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is never reached: what is looked at is what is written down about it, and that is the name of the variable."""
    monkeypatch.setenv("CRM_TOKEN", "hunter2-hunter2")
    servers = "secrets: {T: {env: CRM_TOKEN}}\nservers: {crm: {url: 'http://127.0.0.1:9/mcp', headers: {Authorization: T}}}\n"
    text = DOCUMENT.replace("read: {flow: steps:read}", "made: {flow: steps:made}")
    document.write_text(
        text.replace("{flow: steps:look, retry: 2}", "{tool: crm/look, effect: read}").replace("read ->", "made ->") + servers
    )
    from omega.host.targets import load_target

    (server,) = load_target(str(document)).servers
    assert server.headers == {"Authorization": "env:CRM_TOKEN"}
    said = omega("run", str(document), "--input-json", '"1"', "--json")
    assert said.status != Exit.DONE
    assert "hunter2" not in said.out + said.err
    assert not any(b"hunter2" in path.read_bytes() for path in document.parent.rglob("*") if path.is_file())


# -- check


@pytest.mark.promise("POML-02")
def test_check_tells_everything_with_place_code_and_suggestion(document: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.poml"
    wrong.write_text(DOCUMENT.replace("retry: 2", "retires: 2").replace("then: large", "then: lagre"))
    said = omega("poml", "check", str(document), str(wrong))
    assert said.status == Exit.FAILED
    assert "orders 1.0.0   5 nodes" in said.out
    assert f"{wrong}:6:28   OMG-L003" in said.out and "did you mean 'retry'" in said.out
    assert f"{wrong}:7:37   OMG-L004" in said.out and "did you mean 'large'" in said.out
    files = omega("poml", "check", str(document), str(wrong), "--json").document["files"]
    assert [each["sound"] for each in files] == [True, False]
    assert {each["suggestion"] for each in files[1]["problems"]} == {"retry", "large"}


def test_check_alone_loads_no_code(document: Path, tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("raise SystemExit('loaded')\n")
    assert omega("poml", "check", "--alone", str(document)).status == Exit.DONE
    assert omega("poml", "show", str(document)).status == Exit.DONE
    assert "steps" not in sys.modules


def test_check_checks_types(document: Path) -> None:
    document.write_text(DOCUMENT.replace("connect: read -> look -> sort", "connect: look -> read -> sort"))
    (problem,) = omega("poml", "check", str(document), "--json").document["files"][0]["problems"]
    assert (problem["code"], problem["line"], problem["file"]) == ("OMG-L006", 10, str(document))


def test_a_file_that_is_not_there_or_too_long_is_no_problem_of_a_document(home: Path, tmp_path: Path) -> None:
    from omega.host.documents import MAX_BYTES

    (tmp_path / "long.poml").write_bytes(b"#" * (MAX_BYTES + 1))
    for name in ("none.poml", "long.poml"):
        said = omega("poml", "check", str(tmp_path / name), "--json")
        assert (said.status, said.document["error"]["code"]) == (Exit.USAGE, "OMG-I002")


# -- fmt


@pytest.mark.promise("POML-03")
def test_fmt_prints_checks_compares_and_writes(document: Path) -> None:
    loose = DOCUMENT.replace("{flow: steps:read}", "{ flow:   'steps:read' }  # first")
    laid_out = DOCUMENT.replace("{flow: steps:read}", "{flow: steps:read}  # first")
    document.write_text(loose)
    document.chmod(0o640)
    assert omega("poml", "fmt", str(document)).out == laid_out
    assert omega("poml", "fmt", "--check", str(document)).status == Exit.FAILED
    shown = omega("poml", "fmt", "--diff", str(document))
    assert shown.status == Exit.FAILED
    assert "+  read: {flow: steps:read}  # first" in shown.out.splitlines()
    assert document.read_text() == loose, "looking changes nothing"
    assert omega("poml", "fmt", "--write", str(document)).status == Exit.DONE
    assert (document.read_text(), document.stat().st_mode & 0o777) == (laid_out, 0o640)
    assert omega("poml", "fmt", "--check", str(document)).status == Exit.DONE
    assert [path.name for path in document.parent.glob(".*")] == [], "no temporary file is left"


def test_fmt_reads_standard_input(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"b:   1")))
    assert omega("poml", "fmt", "-").out == "b: 1\n"
    assert omega("poml", "fmt", "-", "--write", "--check").status == Exit.USAGE


# -- show


@pytest.mark.promise("POML-09")
def test_show_draws_a_tree_a_flowchart_and_data(document: Path) -> None:
    tree = omega("poml", "show", str(document)).out.splitlines()
    assert tree[0] == "orders 1.0.0"
    assert tree[-2:] == ["   ├─ then: large   flow steps:large", "   └─ otherwise: small   flow steps:small"]
    chart = omega("poml", "show", "--mermaid", str(document)).out
    assert chart.startswith("flowchart LR\n")
    assert 'n2{"sort<br/>when out.count #62; 9"}' in chart
    assert '  n2 -->|"then"| n3' in chart.splitlines()
    data = omega("poml", "show", str(document), "--json").document
    assert {node["node"] for node in data["nodes"]} == {"read", "look", "sort", "large", "small"}
    assert {"from": "n2", "to": "n4", "label": "otherwise"} in data["edges"]


def test_show_gives_a_flow_written_in_python_as_a_document(document: Path, tmp_path: Path) -> None:
    (tmp_path / "written.py").write_text("from steps import large, look, read\nmain = read | look.retry(2) | large\n")
    text = omega("poml", "show", "--document", "written.py").out
    assert "connect: read -> look -> large" in text
    (tmp_path / "again.poml").write_text(text)
    assert omega("run", "again.poml", "--input-json", '"1"', "--json").document["value"] == "large"


# -- diff


def test_diff_is_by_structure(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.poml"
    other.write_text("# another comment\n" + DOCUMENT)
    assert omega("poml", "diff", str(document), str(other)).out == "the same\n"
    other.write_text(DOCUMENT.replace("retry: 2", "retry: 5, timeout: 30s"))
    said = omega("poml", "diff", str(document), str(other), "--json")
    assert said.status == Exit.FAILED
    assert {"what": "changed", "path": "nodes.look.retry", "before": 2, "after": 5} in said.document["changes"]
    assert {"what": "added", "path": "nodes.look.timeout", "after": "30s"} in said.document["changes"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(other.read_bytes())))
    assert omega("poml", "diff", "-", str(other)).status == Exit.DONE
    assert omega("poml", "diff", "-", "-").status == Exit.USAGE


# -- estimate


@pytest.mark.promise("POML-10")
def test_an_estimate_comes_from_what_is_recorded_and_says_what_it_does_not_know(document: Path) -> None:
    before = omega("poml", "estimate", str(document), "--json").document
    assert (before["runs"], before["confidence"], before["took_s"], before["cost_micros"]) == (0, "none", None, None)
    assert (before["unknown"], before["unpriced"]) == (["large", "look", "read", "small"], ["look"])
    for index, count in enumerate((12, 12, 12, 1)):
        omega("run", str(document), "--input-json", f'"{count}"', "--id", f"run{index}")
    after = omega("poml", "estimate", str(document), "--json").document
    assert (after["runs"], after["measured"], after["unknown"], after["assumed"]) == (4, False, [], [])
    steps: dict[str, Any] = {step["name"]: step for step in after["steps"]}
    assert steps["look"]["took_s"]["samples"] == 4
    assert steps["large"]["per_run"] == pytest.approx(0.75, abs=0.1)
    assert steps["small"]["per_run"] == pytest.approx(0.25, abs=0.1)
    assert after["took_s"]["average"] > 0
    assert after["cost_micros"]["average"] == 0, "what is recorded as free is free"
    assert omega("poml", "estimate", str(document), "--json").document == after, "the same history gives the same estimate"
    lines = omega("poml", "estimate", str(document)).out.splitlines()
    assert lines[0] == "orders 1.0.0   put together from its steps, 4 whole runs recorded   confidence low"


@pytest.mark.promise("POML-10")
def test_what_runs_as_an_execution_of_its_own_counts_for_the_run_that_started_it(document: Path) -> None:
    (document.parent / "parts.py").write_text(PARTS + "\n@flow\ndef below(n: int) -> list[int]:\n    return list(range(n))\n")
    document.write_text(
        "poml: 2.0.0\nname: far\nnodes:\n  below: {flow: parts:below}\n  far: {scatter: more}\n"
        "  more: {flow: parts:more}\nconnect: below -> far\n"
    )
    for count in (2, 4):
        assert omega("run", str(document), "--input-json", str(count), "--json").document["value"] == list(range(1, count + 1))
    told = omega("poml", "estimate", str(document), "--json").document
    (step,) = (step for step in told["steps"] if step["name"] == "more")
    assert (step["took_s"]["samples"], told["assumed"]) == (6, [])
    assert step["per_run"] == pytest.approx(3, rel=0.1)


def test_prices_are_read_from_a_dated_list(document: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"as_of": "2026-11-01", "models": {"*": {"input": "3", "output": "15.5"}}}))
    said = omega("poml", "estimate", str(document), "--prices", str(prices))
    assert "  prices as of 2026-11-01" in said.out.splitlines()
    dear = [f'{{"as_of": "2026-11-01", "models": {{"a": "{price}"}}}}' for price in ("-1", "1e999999", "NaN", "Infinity")]
    for wrong in ("{}", '{"as_of": "soon", "models": {}}', "[]", "x", *dear):
        prices.write_text(wrong)
        assert omega("poml", "estimate", str(document), "--prices", str(prices)).status == Exit.USAGE, wrong


def test_every_command_of_the_group_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/poml.md").read_text(encoding="utf-8")
    assert [name for name in commands.commands if f"omega poml {name}" not in page] == []
