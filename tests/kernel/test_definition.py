"""Defining flows: what makes one, and what is refused where it is written."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from omega import Context, DefinitionError, Effect, FlowError, flow, parallel, tool, when
from omega.kernel.definition import Flow


@flow
def double(n: int) -> int:
    """Twice as much."""
    return n * 2


@flow(effect="read", needs="crm:read", version="2.1.0", name="history", egress=("crm.example",), tags=("crm",))
async def past(ctx: Context, n: int) -> list[int]:
    return [n]


@flow
def nothing() -> str:
    return "nothing in"


@pytest.mark.promise("FLOW-01")
def test_a_decorated_function_is_a_flow() -> None:
    assert isinstance(double, Flow)
    assert (double.name, double.version, double.description, double.effect) == ("double", "1.0.0", "Twice as much.", Effect.PURE)
    assert (double.input.name, double.output.name) == ("int", "int")
    assert double.where.startswith("test_definition.py:")
    assert (past.name, past.version, past.effect, past.needs) == ("history", "2.1.0", Effect.READ, {"crm:read"})
    assert past.input.name == "int" and past.output.name == "list[int]"


@pytest.mark.promise("FLOW-02")
def test_a_flow_called_like_a_function_just_runs() -> None:
    assert double(4) == 8 and nothing() == "nothing in"
    assert (double | double)(1) == 4
    assert past(3) == [3]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(a: int, b: int) -> int: ...", "takes 2 inputs (a, b)"),
        ("def f(a) -> int: ...", "no annotation on parameter a"),
        ("def f(a: int): ...", "no annotation on the return value"),
        ("def f(ctx, a: int, b: int) -> int: ...", "takes 2 inputs"),
        ("def f(a: 'Missing') -> int: ...", "Missing"),
        ("f = 3", "not a Python function"),
        ("f = len", "not a Python function"),
        ("class f:\n    def __call__(self, n: int) -> int: ...", "not a Python function"),
    ],
)
@pytest.mark.promise("FLOW-04")
def test_what_cannot_be_a_flow_is_refused_where_it_is_decorated(source: str, says: str) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(source, "/somewhere/review.py", "exec"), namespace)
    with pytest.raises(DefinitionError) as refusal:
        flow(namespace["f"])
    assert refusal.value.code == "OMG-F002" and says in refusal.value.cause
    assert "not a Python function" in says or "review.py:1" in refusal.value.cause


@pytest.mark.parametrize("name", ["", "with space", "/lead", "a/b/c", "x" * 65, "ümlaut", "-dash"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        double.named(name)
    assert refusal.value.code == "OMG-F005"


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3.4"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        double.named("other", version=version)
    assert refusal.value.code == "OMG-F005"


def test_an_effect_that_does_not_exist_is_refused() -> None:
    with pytest.raises((ValueError, DefinitionError), match="destroy"):

        @flow(effect="destroy")
        def wrong() -> int:
            return 1


@pytest.mark.promise("FLOW-05")
def test_the_digest_follows_everything_that_decides_the_meaning() -> None:
    changed = [
        double.named("triple"),
        double.named("double", version="1.0.1"),
        double.retry(2),
        double.retry(3),
        double.timeout(1),
        double.timeout(2),
        double | double,
        parallel(double, double),
        when("out > 1", then=double),
        when("out > 2", then=double),
        tool("a", "b"),
        tool("a", "b", effect="read"),
        past,
        past.approved_by("owner"),
    ]
    digests = [double.digest, *(each.digest for each in changed)]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


@pytest.mark.promise("FLOW-05")
def test_the_digest_is_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "defined.py").write_text(
        "from omega import flow\n@flow(needs=('b:x', 'a:y'), effect='read')\ndef f(n: dict[str, int]) -> int | None: return 1\n"
        "print(f.retry(2).timeout('2s').digest)\n"
    )
    digests = set()
    for seed in ("0", "1"):
        surroundings = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        run = subprocess.run([sys.executable, str(tmp_path / "defined.py")], capture_output=True, text=True, check=True, env=surroundings)
        digests.add(run.stdout.strip())
    assert len(digests) == 1 and len(digests.pop()) == 64


def test_the_code_digest_follows_the_source_alone() -> None:
    def made(source: str) -> Flow[Any, Any]:
        namespace: dict[str, Any] = {}
        exec(compile(source, "prompt.py", "exec"), namespace)
        return flow(namespace["f"])

    one, same, other = (
        made("def f(n: int) -> int: return n"),
        made("def f(n: int) -> int: return n"),
        made("def f(n: int) -> int: return n + 1"),
    )
    assert one.code == same.code != other.code
    assert one.digest == other.digest


@pytest.mark.promise("FLOW-06")
def test_flows_do_not_change() -> None:
    before = double.digest
    double.retry(3), double.named("other"), double | double, double.timeout(3)
    assert double.digest == before and double.name == "double"
    with pytest.raises(FrozenInstanceError):
        double.name = "other"  # type: ignore[misc]


@pytest.mark.promise("FLOW-19")
def test_printing_a_flow_draws_it() -> None:
    drawn = str((double | parallel(past, double.retry(2))).named("whole"))
    assert drawn.splitlines() == [
        "whole (sequence)  int -> tuple[list[int], int]  read",
        "├─ double  int -> int  pure",
        "└─ parallel  int -> tuple[list[int], int]  read",
        "   ├─ history  int -> list[int]  read",
        "   └─ retry  int -> int  pure",
        "      └─ double  int -> int  pure",
    ]


def test_an_outline_names_every_part_with_the_line_where_it_stands() -> None:
    lines = (double | past.retry(2)).outline()
    assert [line[0] for line in lines] == ["double", "history", "retry", "sequence"]
    assert all(line[3].startswith("test_definition.py:") for line in lines)


def test_only_what_acts_can_be_approved() -> None:
    for wrong, says in ((double, "nothing to approve"), (parallel(past, past), "composite")):
        with pytest.raises(DefinitionError) as refusal:
            wrong.approved_by("owner")
        assert refusal.value.code == "OMG-F003" and says in refusal.value.cause
    with pytest.raises(DefinitionError) as refusal:
        past.approved_by("Not A Role")
    assert refusal.value.code == "OMG-F005"


def test_a_tool_is_a_leaf_that_counts_as_a_write_until_something_else_is_known() -> None:
    leaf = tool("git", "git_log")
    assert (leaf.name, leaf.effect, leaf.needs) == ("git/git_log", Effect.WRITE, {"tools:call"})
    assert tool("git", "git_log", effect="read").effect is Effect.READ
    with pytest.raises(FlowError) as refusal:
        leaf({})
    assert refusal.value.code == "OMG-R013"
