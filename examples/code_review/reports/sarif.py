"""The report as SARIF 2.1.0 (OASIS, 2020): one run per analyser, so that each keeps its own name, version and rules.

Source of the format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/. Severity becomes `level` (high: error, medium: warning, low and info:
note) and, for viewers that read it, `security-severity` on security rules. `baselineState` is not used: place in the change is a property.
"""

from __future__ import annotations

import json
from typing import Any

from code_review import paths
from code_review.models import Analysis, Finding, Report

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"high": "error", "medium": "warning", "low": "note", "info": "note"}
RANKS = {"high": 90.0, "medium": 60.0, "low": 30.0, "info": 10.0}
SECURITY = {"high": "8.0", "medium": "5.0", "low": "2.0", "info": "0.1"}
SECURITY_ANALYSERS = frozenset({"bandit", "secrets"})


def render(report: Report) -> bytes:
    """The log as bytes: UTF-8, two spaces of indent."""
    return (json.dumps(build(report), indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def build(report: Report) -> dict[str, Any]:
    """The log as data: `version`, `$schema` and one run per analyser, in the order of the report."""
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [_run(report, one) for one in report.analyses]}


def _run(report: Report, analysis: Analysis) -> dict[str, Any]:
    findings = [one for one in report.ranked.findings if one.analyser == analysis.analyser]
    rules = sorted({one.rule for one in findings})
    return {
        "tool": {"driver": _driver(analysis, rules, findings)},
        "automationDetails": {"id": f"omega-code-review/{analysis.analyser}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "the root of the reviewed repository"}}},
        "invocations": [_invocation(analysis)],
        "results": [_result(one, rules.index(one.rule)) for one in findings],
        "properties": {
            "analyserStatus": analysis.status,
            "analyserReason": analysis.reason,
            "commit": report.workspace.commit,
            "comparedWith": report.workspace.since,
            "findingsTotal": analysis.findings_total,
            "run": report.run.model_dump(mode="json"),
        },
    }


def _driver(analysis: Analysis, rules: list[str], findings: list[Finding]) -> dict[str, Any]:
    driver: dict[str, Any] = {"name": analysis.analyser, "rules": [_rule(rule, analysis, findings) for rule in rules]}
    if analysis.version:
        driver["version"] = analysis.version
    return driver


def _rule(rule: str, analysis: Analysis, findings: list[Finding]) -> dict[str, Any]:
    example = next(one for one in findings if one.rule == rule)
    described: dict[str, Any] = {"id": rule, "defaultConfiguration": {"level": LEVELS[example.severity], "rank": RANKS[example.severity]}}
    if example.url.startswith("https://"):
        described["helpUri"] = example.url
    if analysis.analyser in SECURITY_ANALYSERS:
        described["properties"] = {"security-severity": SECURITY[example.severity], "tags": ["security"]}
    return described


def _result(one: Finding, index: int) -> dict[str, Any]:
    region: dict[str, Any] = {}
    if one.line:
        region = {"startLine": one.line, "endLine": one.end_line}
        if one.column and one.end_line == one.line:
            region["startColumn"] = one.column
    location: dict[str, Any] = {"artifactLocation": {"uri": paths.uri(one.path), "uriBaseId": "ROOT"}}
    if region:
        location["region"] = region
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": LEVELS[one.severity],
        "rank": RANKS[one.severity],
        "message": {"text": one.message or one.rule},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"omegaFinding/v1": one.id},
        "properties": {"severity": one.severity, "place": one.place},
    }


def _invocation(analysis: Analysis) -> dict[str, Any]:
    """Whether the analyser ran, and what a reader should know, as notifications: a skipped file, a note, a reason."""
    failed = analysis.status in ("failed", "unavailable")
    notes = [{"level": "note", "message": {"text": note}} for note in analysis.notes]
    notes += [{"level": "warning", "message": {"text": f"{skip.path}: {skip.reason}"}} for skip in analysis.skipped]
    if analysis.reason:
        notes.insert(0, {"level": "error" if failed else "note", "message": {"text": analysis.reason}})
    return {"executionSuccessful": not failed, "toolExecutionNotifications": notes}
