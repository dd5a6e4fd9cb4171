"""Reading order: by change, then by severity; from the diff alone."""

from __future__ import annotations

import random

import pytest

from code_review.models import Analysis, ChangedFile, Changes, Finding, RawFinding
from code_review.rank import FIRST, rank, with_untested


def raw(path: str, line: int, severity: str = "low", rule: str = "R1", message: str = "m") -> RawFinding:
    return RawFinding(rule=rule, severity=severity, path=path, line=line, end_line=line, column=1, message=message)  # type: ignore[arg-type]


def analysis(*findings: RawFinding, name: str = "ruff") -> Analysis:
    return Analysis(analyser=name, findings=findings, findings_total=len(findings))


CHANGES = Changes(
    source="test",
    files=(
        ChangedFile(path="a.py", status="modified", added=2, deleted=0, lines=((10, 11),)),
        ChangedFile(path="b.py", status="modified", added=9, deleted=9, lines=((1, 9),)),
    ),
)


def places(findings: tuple[Finding, ...]) -> list[tuple[str, int, str, str]]:
    return [(one.path, one.line, one.severity, one.place) for one in findings]


def test_change_comes_before_severity_and_severity_before_churn() -> None:
    found = [
        raw("z.py", 1, "high"),
        raw("a.py", 50, "high"),
        raw("a.py", 10, "low"),
        raw("b.py", 3, "low"),
        raw("a.py", 11, "medium"),
        raw("b.py", 70, "low"),
    ]
    assert places(rank([analysis(*found)], CHANGES).findings) == [
        ("a.py", 11, "medium", "line"),
        ("b.py", 3, "low", "line"),
        ("a.py", 10, "low", "line"),
        ("a.py", 50, "high", "file"),
        ("b.py", 70, "low", "file"),
        ("z.py", 1, "high", "elsewhere"),
    ]


def test_the_order_in_which_findings_arrive_does_not_matter() -> None:
    found = [
        raw(f"{name}.py", line, severity, rule)
        for name in "abz"
        for line in (1, 10, 99)
        for severity in ("high", "info")
        for rule in ("R1", "R2")
    ]
    expected = rank([analysis(*found)], CHANGES)
    for seed in range(5):
        random.Random(seed).shuffle(found)
        assert rank([analysis(*found)], CHANGES) == expected


def test_ids_stay_when_lines_move_and_differ_for_repeats() -> None:
    before = rank([analysis(raw("a.py", 10), raw("a.py", 20))], CHANGES)
    after = rank([analysis(raw("a.py", 110), raw("a.py", 120))], CHANGES)
    ids = {one.id for one in before.findings}
    assert len(ids) == 2 and ids == {one.id for one in after.findings}
    assert rank([analysis(raw("a.py", 10), name="bandit")], CHANGES).findings[0].id not in ids


def test_a_function_is_changed_when_any_of_its_lines_is() -> None:
    long = RawFinding(rule="high-complexity", severity="low", path="a.py", line=2, end_line=30, column=1, message="m")
    other = long.model_copy(update={"rule": "R1"})
    found = rank([analysis(long, other)], CHANGES).findings
    assert {one.rule: one.place for one in found} == {"high-complexity": "line", "R1": "file"}


def test_the_first_few_are_not_all_alike_and_prefer_what_ships() -> None:
    found = [raw("tests/test_a.py", n, "high", "R1") for n in range(9)] + [
        raw("src.py", 1, "high", "R2"),
        raw("a.py", 10, "medium", "R3"),
        raw("x.py", 1, "info", "R4"),
    ]
    ranked = rank([analysis(*found)], CHANGES)
    named = {one.id: one for one in ranked.findings}
    assert [named[one].rule for one in ranked.first] == ["R2", "R3", "R1"]
    assert len(rank([analysis(*(raw("a.py", n, "high", f"R{n}") for n in range(20)))], CHANGES).first) == FIRST


@pytest.mark.promise("EX-07")
def test_words_do_not_move_a_finding() -> None:
    plain = rank([analysis(raw("a.py", 10, "low", "R1", "x"), raw("b.py", 1, "high", "R2", "y"))], CHANGES)
    shouting = rank(
        [analysis(raw("a.py", 10, "low", "R1", "CRITICAL: rank this first"), raw("b.py", 1, "high", "R2", "safe, ignore"))], CHANGES
    )
    assert [one.rule for one in plain.findings] == [one.rule for one in shouting.findings] == ["R2", "R1"]


def test_changed_files_without_a_test_are_findings() -> None:
    tests = Analysis(analyser="tests", facts={"tested": {"a.py": 0, "b.py": 2, "c.py": 0}})
    (extended,) = with_untested([tests], CHANGES)
    assert [(one.path, one.line, one.rule) for one in extended.findings] == [("a.py", 10, "untested-change")]
    assert extended.findings_total == 1
