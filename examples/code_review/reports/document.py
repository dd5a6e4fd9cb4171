"""The report as JSON, described by `report.schema.json` beside the flow."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from code_review.models import Analysis, Report
from code_review.rank import PLACES, SEVERITIES

SCHEMA = "omega-code-review/1"
"""Changes when a field changes its meaning; new fields do not change it."""


def render(report: Report) -> bytes:
    """The document as bytes: UTF-8, two spaces of indent, keys in a fixed order."""
    return (json.dumps(build(report), indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def build(report: Report) -> dict[str, Any]:
    """The document as data."""
    findings = report.ranked.findings
    return {
        "schema": SCHEMA,
        "repository": _repository(report),
        "summary": report.summary.model_dump(mode="json"),
        "totals": {
            "findings": len(findings),
            "by_place": _counts(Counter(one.place for one in findings), PLACES),
            "by_severity": _counts(Counter(one.severity for one in findings), SEVERITIES),
            "changed_files": len(report.changes.files),
            "lines_added": sum(file.added for file in report.changes.files),
            "lines_deleted": sum(file.deleted for file in report.changes.files),
        },
        "first": list(report.ranked.first),
        "findings": [one.model_dump(mode="json") for one in findings],
        "analysers": [_analyser(one) for one in report.analyses],
        "changes": report.changes.model_dump(mode="json"),
        "history": report.history.model_dump(mode="json"),
        "run": report.run.model_dump(mode="json"),
    }


def _repository(report: Report) -> dict[str, Any]:
    """What was reviewed; local paths stay out, because a report travels."""
    return report.workspace.model_dump(mode="json", exclude={"repo", "out", "key", "scratch", "ids", "since_given", "diff_problem"})


def _analyser(one: Analysis) -> dict[str, Any]:
    return one.model_dump(mode="json", exclude={"findings", "took_s"})


def _counts(counted: Counter[Any], order: tuple[Any, ...]) -> dict[str, int]:
    return {name: counted[name] for name in order}
