"""Promises and tests are bound both ways. The marks are read from the source, so the answer does not depend on which tests are selected."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from requirements import BY_ID, PROMISES

TESTS = Path(__file__).resolve().parent.parent
AREAS = {
    "A2A",
    "AGENT",
    "ATTACK",
    "BRIDGE",
    "CLI",
    "CRED",
    "DOOR",
    "EX",
    "FLOW",
    "FORK",
    "GATE",
    "INT",
    "LOG",
    "MCP",
    "MFA",
    "MODEL",
    "OAUTH",
    "POML",
    "RAY",
    "REPO",
    "REVOKE",
    "RUN",
    "SDK",
    "START",
    "SSO",
    "STORE",
    "TEN",
    "TIME",
    "TOOL",
    "TRUST",
    "WARD",
    "WATCH",
}


def marks(source: str) -> Iterator[tuple[int, str]]:
    """Line and id of every `pytest.mark.promise(...)` in `source`; an id that is not a plain string reads as its own text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "promise" and ast.unparse(node.func) == "pytest.mark.promise":
            argument = node.args[0] if len(node.args) == 1 else node
            plain = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            yield node.lineno, argument.value if plain else ast.unparse(argument)


@cache
def proofs() -> dict[str, list[str]]:
    """Each id that the tests name, with the places."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(path for path in TESTS.rglob("*.py") if not {"node_modules", ".servers"} & set(path.parts)):
        for line, name in marks(path.read_text(encoding="utf-8")):
            found[name].append(f"{path.relative_to(TESTS.parent)}:{line}")
    return found


@pytest.mark.promise("REPO-05")
def test_every_promise_has_a_test() -> None:
    proven = proofs()
    missing = [f"{promise.id}  {promise.sentence}" for promise in PROMISES if promise.id not in proven]
    assert not missing, "promises that no test proves:\n" + "\n".join(missing)


@pytest.mark.promise("REPO-05")
def test_every_test_names_a_known_promise() -> None:
    unknown = {name: places for name, places in proofs().items() if name not in BY_ID}
    assert not unknown, f"marks that name no promise: {unknown}"


def test_ids_are_unique_and_well_formed() -> None:
    assert len(BY_ID) == len(PROMISES)
    for promise in PROMISES:
        assert re.fullmatch(r"[A-Z][A-Z0-9]*-\d\d", promise.id), promise.id
        assert promise.id.partition("-")[0] in AREAS, promise.id
        assert re.fullmatch(r"S\d\d", promise.system), promise.id
        assert promise.sentence.endswith(".") and promise.sentence.count(". ") == 0, f"{promise.id}: one sentence"


def test_marks_are_found_wherever_they_stand() -> None:
    source = """
import pytest
pytestmark = pytest.mark.promise("A-01")

class TestThing:
    @pytest.mark.slow
    @pytest.mark.promise("A-02")
    def test_a(self): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.promise("A-03"))])
def test_b(x): ...

@pytest.mark.promise(NAME)
def test_c(): ...
"""
    assert sorted(name for _, name in marks(source)) == ["A-01", "A-02", "A-03", "NAME"]
