"""The report as Markdown, for a pull request or a terminal.

Foreign text is escaped so that it cannot become markup, a link or a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from code_review.models import Analysis, Finding, Report
from code_review.rank import PLACES, SEVERITIES
from code_review.summary import count, place

MAX_LISTED = 100
"""Findings listed in each part: a reader of Markdown scrolls; the other files have all of them."""

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@:])")

TITLES = {"line": "In changed lines", "file": "Elsewhere in changed files", "elsewhere": "In files that did not change"}


def render(report: Report) -> bytes:
    """The document as UTF-8 bytes."""
    return ("\n".join(_lines(report)) + "\n").encode("utf-8", "replace")


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is."""
    return _MARKUP.sub(r"\\\1", text)


def _lines(report: Report) -> Iterator[str]:
    workspace = report.workspace
    yield f"# Code review of {escape(workspace.name)}"
    yield ""
    yield f"Commit `{workspace.commit}`, compared with {escape(workspace.since) or 'nothing'}. {escape(workspace.note)}".rstrip()
    yield ""
    for paragraph in report.summary.paragraphs:
        yield _with_references(paragraph)
        yield ""
    yield f"*Summary: {escape(report.summary.note)}.*"
    yield ""
    for name in PLACES:
        yield from _findings(TITLES[name], [one for one in report.ranked.findings if one.place == name])
    yield from _analysers(report)
    yield from _skipped(report)
    yield from _run(report)


def _with_references(paragraph: str) -> str:
    return re.sub(r"\\\[([0-9a-f]{12})\\\]", r"(`\1`)", escape(paragraph))


def _findings(title: str, findings: list[Finding]) -> Iterator[str]:
    yield f"## {title}: {count(len(findings), 'finding')}"
    yield ""
    listed = findings[:MAX_LISTED]
    if listed:
        yield "| severity | where | rule | finding | id |"
        yield "|---|---|---|---|---|"
    for one in listed:
        yield f"| {one.severity} | {escape(place(one))} | {escape(f'{one.analyser} {one.rule}')} | {escape(one.message)} | `{one.id}` |"
    if len(findings) > MAX_LISTED:
        left = findings[MAX_LISTED:]
        by = ", ".join(f"{n} {name}" for name in SEVERITIES if (n := sum(1 for one in left if one.severity == name)))
        yield ""
        yield f"{len(left)} more ({by}) are in report.html, report.sarif and report.json."
    yield ""


def _analysers(report: Report) -> Iterator[str]:
    yield "## Analysers"
    yield ""
    yield "| analyser | version | status | files | findings | notes |"
    yield "|---|---|---|---|---|---|"
    for one in report.analyses:
        notes = escape("; ".join(one.notes))
        yield f"| {one.analyser} | {escape(one.version)} | {_status(one)} | {one.files} | {one.findings_total} | {notes} |"
    yield ""
    for one in report.analyses:
        if one.command:
            yield f"- {one.analyser}, by hand: {escape(one.command)}"
    yield ""
    for source in (report.changes, report.history):
        yield f"- read from {escape(source.source)}{f': {escape(source.note)}' if source.note else ''}"
    yield ""


def _status(one: Analysis) -> str:
    return f"{one.status}: {escape(one.reason)}" if one.reason else one.status


def _skipped(report: Report) -> Iterator[str]:
    lines = [f"- {escape(skip.path)}: {escape(skip.reason)}" for skip in report.workspace.skipped]
    lines += [f"- {escape(skip.path)}: {one.analyser}: {escape(skip.reason)}" for one in report.analyses for skip in one.skipped]
    more = report.workspace.skipped_total - len(report.workspace.skipped)
    yield f"## Not judged: {count(len(lines) + more, 'file')}"
    yield ""
    yield from lines
    if more:
        yield f"- and {more} more"
    yield ""


def _run(report: Report) -> Iterator[str]:
    yield "<!-- run -->"
    yield f"Run `{report.run.execution}` at {report.run.at}."
    yield "<!-- /run -->"
