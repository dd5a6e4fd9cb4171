"""The summary: computed from figures, or a model's text that is checked."""

from __future__ import annotations

import json

import pytest

from code_review import summary
from code_review.models import Analysis, Changes, Ranked
from examples.sample import FINDINGS, REPORT


@pytest.mark.promise("EX-10")
def test_computed_figures_are_those_of_the_findings() -> None:
    text = summary.compute(REPORT.workspace, REPORT.changes, REPORT.analyses, REPORT.ranked)
    assert text.by == "computed" and text.note == "no model configured: computed, not written"
    whole = "\n".join(text.paragraphs)
    assert "3 findings: 1 in lines changed since HEAD~20, 1 elsewhere in changed files, 1 in files that did not change" in whole
    assert f"[{FINDINGS[0].id}]" in whole and "complexity failed: radon is not installed" in whole


@pytest.mark.promise("EX-10")
def test_references_to_unknown_findings_are_removed_and_said() -> None:
    known = FINDINGS[0].id
    text = summary.check(f"First [{known}].\n\nThen [ffffffffffff] and [abc-def] and [ffffffffffff].", "m", REPORT.ranked)
    assert text is not None
    assert text.paragraphs == (f"First [{known}].", "Then and and.")
    assert text.note == "written by m, references checked; 2 references to findings that do not exist were removed"


@pytest.mark.promise("EX-10")
@pytest.mark.parametrize("text", ["", "All is well.", "See [ffffffffffff].", "\n\n"])
def test_a_text_that_refers_to_nothing_is_not_used(text: str) -> None:
    assert summary.check(text, "m", REPORT.ranked) is None


def test_with_no_findings_no_reference_is_needed() -> None:
    assert summary.check("All is well.", "m", Ranked()) is not None
    assert summary.compute(REPORT.workspace, Changes(source="x"), (), Ranked()).paragraphs == ("No findings at commit 111111111111.",)


def test_a_model_is_shown_data_and_no_local_path() -> None:
    data = summary.prompt(REPORT.workspace, REPORT.changes, REPORT.analyses, REPORT.ranked)
    assert json.loads(data)["findings"][0]["id"] == FINDINGS[0].id
    assert "/scratch" not in data and "/home" not in data and data.isascii()


def test_a_list_that_was_cut_is_said_to_be() -> None:
    cut = REPORT.analyses[0].model_copy(update={"findings_total": 2_345})
    text = summary.compute(REPORT.workspace, REPORT.changes, [cut], REPORT.ranked)
    assert "More was found than is listed: ruff found 2,345; the most severe are." in text.paragraphs


def test_the_headline_is_one_line() -> None:
    assert summary.headline(REPORT.workspace, REPORT.ranked) == "3 findings, 1 in lines changed since HEAD~20"
    assert summary.headline(REPORT.workspace.model_copy(update={"base": ""}), Ranked()) == "0 findings"


def test_tested_changes_are_counted() -> None:
    tests = Analysis(analyser="tests", facts={"tested": {"src/a.py": 1, "src/<b>.py": 0, "z.py": 3}})
    text = summary.compute(REPORT.workspace, REPORT.changes, [tests], REPORT.ranked)
    assert "1 of 2 changed Python source files is imported by a test." in text.paragraphs
