"""What the documentation says about figures is what was measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {"F1", "F2", "F3", "F5", "F6", "L1", "L2"}


@pytest.fixture(scope="module")
def quote() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_quote", ROOT / "bench/quote.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_quotes_the_results(quote: ModuleType) -> None:
    results = json.loads((ROOT / "bench/results.json").read_text())
    page = (ROOT / "docs/bench.md").read_text()
    assert page == quote.quoted(page, results), "run python bench/quote.py"


def test_every_figure_is_a_whole_record() -> None:
    results = json.loads((ROOT / "bench/results.json").read_text())
    assert {figure["id"].partition("/")[0].partition(" ")[0] for figure in results["figures"]} >= FIGURES
    for figure in results["figures"]:
        assert {"id", "value", "unit", "goal", "holds", "command"} <= set(figure), figure
    assert {"cpu", "cores", "python"} <= set(results["machine"])
