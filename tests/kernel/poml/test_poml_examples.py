"""The examples: they are formatted, become flows, come back, and are as much shorter than plain Python as docs/poml.md says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from omega.host.embedded import Omega
from omega.kernel.flow import Flow
from omega.kernel.poml import format, from_flow, parse, to_flow

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples/poml").glob("*.poml"))
PAGE = (ROOT / "docs/poml.md").read_text(encoding="utf-8")
PROMISED = 0.40
"""A workflow in POML has at least so many fewer lines than the same in plain Python."""


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Finds the flows beside the examples, and forgets their modules again."""
    monkeypatch.syspath_prepend(str(ROOT / "examples/poml"))
    loaded = set(sys.modules)

    def find(reference: str) -> Flow[Any, Any]:
        module, _, name = reference.partition(":")
        found: Flow[Any, Any] = getattr(import_module(module), name)
        return found

    yield find
    for name in set(sys.modules) - loaded:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "examples/poml")):
            del sys.modules[name]


@pytest.mark.promise("POML-01")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_goes_there_and_back(path: Path, resolve: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert format(text) == text
    flow = to_flow(parse(text, name=path.name), resolve)
    assert from_flow(flow).text == text
    rewritten = from_flow(flow.named(flow.name, version="1.0.1"))
    again = to_flow(rewritten, resolve)
    assert again.version == "1.0.1"
    assert again.named(flow.name, version="1.0.0").digest == flow.digest
    assert rewritten.text.startswith(text.splitlines()[0]), "its comments stay"


WORKED = ["code-review", "support-triage", "data-pipeline", "document-extraction", "research", "incident-response"]
"""The examples that run anywhere: each has a sample input and the same in plain Python beside it."""


def counted(path: Path) -> int:
    """Lines that are neither blank nor a comment."""
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in path.read_text(encoding="utf-8").splitlines())


def plainly(name: str, value: Any) -> Any:
    """What the plain Python beside a document makes of `value`, as plain data."""
    source = ROOT / f"examples/poml/{name}.plain.py"
    namespace: dict[str, Any] = {"__name__": "plain"}
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), namespace)
    return plain(asyncio.run(namespace["workflow"](value)))


def plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.promise("POML-07")
@pytest.mark.parametrize("name", WORKED)
def test_it_is_as_much_shorter_as_the_page_says(name: str) -> None:
    short, long = counted(ROOT / f"examples/poml/{name}.poml"), counted(ROOT / f"examples/poml/{name}.plain.py")
    print(f"{name}: {short} lines of POML, {long} of plain Python, {(long - short) / long:.0%} fewer")
    assert short <= (1 - PROMISED) * long
    assert f"| {name.replace('-', ' ')} | {short} | {long} | {(long - short) / long:.0%} |" in PAGE


@pytest.mark.promise("POML-07")
@pytest.mark.parametrize("name", WORKED)
def test_both_give_the_same_and_the_durable_run_replays(name: str, resolve: Any, tmp_path: Path) -> None:
    """In memory, durably through the gate, and in plain Python; with no key and no network."""
    value = json.loads((ROOT / f"examples/poml/{name}.input.json").read_text(encoding="utf-8"))
    flow = to_flow(parse((ROOT / f"examples/poml/{name}.poml").read_text(encoding="utf-8"), name=name), resolve)
    given = flow.input.read(value)
    expected = plainly(name, given)
    assert plain(flow(given)) == expected

    async def durably() -> tuple[Any, bool]:
        async with Omega.open(tmp_path / "home") as omega:
            outcome = await omega.run(flow, value, execution="one")
            return outcome.value, (await omega.replay("one", flow)).identical

    assert asyncio.run(durably()) == (expected, True)


def test_the_page_and_the_folder_name_the_same_examples() -> None:
    found = {path.name.removesuffix(".plain.py") for path in (ROOT / "examples/poml").glob("*.plain.py")}
    assert found == set(WORKED)
    assert set(re.findall(r"`examples/poml/([a-z-]+)\.poml`", PAGE)) >= {path.stem for path in EXAMPLES}
