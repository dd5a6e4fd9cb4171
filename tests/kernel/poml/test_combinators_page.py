"""docs/combinators.md shows every combinator as picture, Python and POML: the three say the same, and none is missing."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import omega
from omega.kernel.agents import agent
from omega.kernel.definition import Body
from omega.kernel.flow import Flow
from omega.kernel.poml import draw, from_flow, parse, to_flow

PAGE = (Path(__file__).parents[3] / "docs/combinators.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (?P<title>.+?)\n(?P<words>.*?)```text\n(?P<tree>.*?)```\n\n```python\nx = (?P<python>.*?)\n```\n\n```yaml\n(?P<poml>.*?)```\n(?P<durably>.*?)(?=^## |\Z)", re.M | re.S)  # fmt: skip # noqa: E501
SECTIONS = {match["title"]: match for match in SECTION.finditer(PAGE)}
NO_COMBINATORS = {"offered", "task", "tool", "stream", "model"}
"""Leaves that do their work themselves."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The flows that the page shows."""
    source = re.search(r'^```python title="parts.py"\n(.*?)^```$', PAGE, re.M | re.S)
    assert source is not None
    path = tmp_path_factory.mktemp("page") / "parts.py"
    path.write_text(source[1])
    spec = importlib.util.spec_from_file_location("parts", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__name__"] = "parts"
    import sys

    sys.modules["parts"] = module
    spec.loader.exec_module(module)
    return module


def written(title: str, parts: ModuleType) -> Flow[Any, Any]:
    """The flow that the page makes in Python."""
    known = {name: getattr(omega, name) for name in omega.__all__} | vars(parts) | {"agent": agent}
    made: Flow[Any, Any] = eval(SECTIONS[title]["python"], known)
    return made


def documented(title: str, parts: ModuleType) -> str:
    """The document of which the page shows the nodes that matter; the others stand under their names."""
    nodes = SECTIONS[title]["poml"]
    flows = [name for name, value in vars(parts).items() if isinstance(value, Flow)]
    defined = re.findall(r"^(\w+):", nodes, re.M)
    used = [name for name in flows if name not in defined and re.search(rf"[ \[]{name}[,\]}} \n]", nodes)]
    rest = "".join(f"  {name}: {{flow: parts:{name}}}\n" for name in used)
    return f"poml: 2.0.0\nname: x\nnodes:\n{textwrap.indent(nodes, '  ')}{rest}connect: {defined[0]}\n"


def kinds(flow: Flow[Any, Any]) -> Iterator[str]:
    yield flow.body.kind
    for child in flow.children:
        yield from kinds(child)


def bodies(body: type[Body] = Body) -> Iterator[type[Body]]:
    for each in body.__subclasses__():
        yield each
        yield from bodies(each)


@pytest.mark.promise("POML-13")
@pytest.mark.parametrize("title", SECTIONS)
def test_picture_python_and_document_say_the_same(title: str, parts: ModuleType) -> None:
    document = parse(documented(title, parts), name=title)
    made = to_flow(document, lambda reference: getattr(parts, reference.partition(":")[2]))
    flow = written(title, parts).named("x", version="1.0.0")
    assert made.digest == flow.digest
    assert draw.tree(document)[1:] == SECTIONS[title]["tree"].splitlines()
    again = to_flow(from_flow(flow, refer=lambda leaf: f"parts:{leaf.body.function.__name__}"), lambda name: getattr(parts, name[6:]))
    assert again.digest == flow.digest, "and Python becomes a document that says the same"
    assert SECTIONS[title]["durably"].strip().startswith("Durably: ")


@pytest.mark.promise("POML-13")
def test_no_combinator_is_missing(parts: ModuleType) -> None:
    shown = {kind for title in SECTIONS for kind in kinds(written(title, parts))}
    there = {body.kind for body in bodies() if body.__module__.startswith("omega.") and body.kind}
    assert there - NO_COMBINATORS <= shown
    assert len(SECTIONS) == len(re.findall(r"^## ", PAGE, re.M)), "every section has its three forms"
