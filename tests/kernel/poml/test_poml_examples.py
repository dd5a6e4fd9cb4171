"""The examples: they are formatted, become flows, come back, and are as much shorter than plain Python as docs/poml.md says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

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


def counted(text: str) -> int:
    """Lines that are neither blank nor a comment."""
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())


def shown(title: str) -> str:
    match = re.search(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', PAGE, re.M | re.S)
    assert match is not None, title
    return match[1]


@pytest.mark.promise("POML-07")
@pytest.mark.parametrize("name", ["support-triage", "data-pipeline", "incident-response"])
def test_it_is_as_much_shorter_as_the_page_says(name: str) -> None:
    document, plain = shown(f"{name}.poml"), shown(f"{name.replace('-', '_')}_plain.py")
    assert document == (ROOT / f"examples/poml/{name}.poml").read_text(encoding="utf-8"), "the page shows the example"
    short, long = counted(document), counted(plain)
    assert short <= (1 - PROMISED) * long
    assert f"| {name.replace('-', ' ')} | {short} | {long} | {(long - short) / long:.0%} |" in PAGE
