"""The order in which to read findings: by change first, by severity second. From the diff alone, never from what a commit says of itself.

A finding lies in a changed line, in a changed file, or elsewhere. Within a place the more severe comes first, then the file that
changed most, then place in the file. The few to look at first are chosen by points (severity times nearness), so that a severe finding
elsewhere is not buried under small ones in changed lines.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from code_review import paths
from code_review.changes import touched
from code_review.models import Analysis, ChangedFile, Changes, Finding, Place, Ranked, RawFinding

PLACES: tuple[Place, ...] = ("line", "file", "elsewhere")
SEVERITIES = ("high", "medium", "low", "info")
POINTS = {"high": 100, "medium": 30, "low": 8, "info": 1}
NEARNESS = {"line": 3, "file": 2, "elsewhere": 1}

FIRST = 5
"""Findings named in the summary: as many as somebody reads before a coffee."""

ID_DIGITS = 12
"""Hex digits of a finding's id: 48 bits, so two of 100,000 findings collide with a chance of 1 in 56,000."""


def rank(analyses: Sequence[Analysis], changes: Changes) -> Ranked:
    """All findings of `analyses`, each with id and place, in reading order."""
    changed = {file.path: file for file in changes.files}
    found = [(one.analyser, finding) for one in analyses for finding in one.findings]
    findings = sorted(_named(found, changed), key=lambda one: _order(one, changed))
    return Ranked(findings=tuple(findings), first=tuple(one.id for one in _first(findings)))


def with_untested(analyses: Sequence[Analysis], changes: Changes) -> tuple[Analysis, ...]:
    """`analyses` with a finding, in the one named `tests`, for each changed source file that no test file imports."""
    return tuple(_extended(one, tuple(_untested(one, changes.files))) if one.analyser == "tests" else one for one in analyses)


def points(finding: Finding) -> int:
    """What a finding weighs when the few first ones are chosen; in a test it weighs half, because nobody ships tests."""
    return POINTS[finding.severity] * NEARNESS[finding.place] * (1 if paths.is_test(finding.path) else 2)


def _first(findings: Sequence[Finding]) -> list[Finding]:
    """The few that weigh most, each rule once: five lines that say the same are one."""
    chosen: list[Finding] = []
    rules: set[str] = set()
    for one in sorted(findings, key=lambda one: -points(one)):
        if one.severity != "info" and one.rule not in rules and len(chosen) < FIRST:
            rules.add(one.rule)
            chosen.append(one)
    return chosen


def _named(found: Iterable[tuple[str, RawFinding]], changed: dict[str, ChangedFile]) -> Iterator[Finding]:
    seen: Counter[tuple[str, str, str, str]] = Counter()
    for analyser, raw in sorted(found, key=lambda pair: (pair[0], *_arrival(pair[1]))):
        key = (analyser, raw.rule, raw.path, raw.message)
        seen[key] += 1
        digest = hashlib.sha256("\0".join((*key, str(seen[key]))).encode("utf-8", "surrogatepass")).hexdigest()
        yield Finding(**raw.model_dump(), id=digest[:ID_DIGITS], analyser=analyser, place=_place(raw, changed.get(raw.path)))


def _arrival(raw: RawFinding) -> tuple[str, int, int, str, str, int, str]:
    """Where a finding stands among those of its analyser, whatever order they came in: decides which of two alike is the first."""
    return (raw.path, raw.line, raw.column, raw.rule, raw.message, raw.end_line, raw.severity)


def _place(raw: RawFinding, file: ChangedFile | None) -> Place:
    if file is None:
        return "elsewhere"
    if raw.rule == "high-complexity":
        return "line" if touched(list(file.lines), raw.line, raw.end_line) else "file"
    return "line" if touched(list(file.lines), raw.line, raw.line) else "file"


def _order(one: Finding, changed: dict[str, ChangedFile]) -> tuple[int, int, int, bytes, int, int, str, str]:
    file = changed.get(one.path)
    churn = file.added + file.deleted if file else 0
    return (
        PLACES.index(one.place), SEVERITIES.index(one.severity), -churn, paths.raw(one.path), one.line, one.column, one.rule, one.id,
    )  # fmt: skip


def _extended(one: Analysis, more: tuple[RawFinding, ...]) -> Analysis:
    return one.model_copy(update={"findings": one.findings + more, "findings_total": one.findings_total + len(more)})


def _untested(tests: Analysis, files: Iterable[ChangedFile]) -> Iterator[RawFinding]:
    tested = tests.facts.get("tested", {})
    for file in files:
        if tested.get(file.path) == 0 and file.added and not file.path.endswith(("__init__.py", "setup.py", "conftest.py")):
            first = file.lines[0][0] if file.lines else 1
            message = f"changed ({file.added} lines added), and no test file imports it"
            yield RawFinding(rule="untested-change", severity="low", path=file.path, line=first, end_line=first, column=0, message=message)
