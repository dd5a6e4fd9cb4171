"""The report as one HTML file: no script, no resource from elsewhere, readable in light and dark, on paper and by a screen reader.

Everything that comes from the repository or from a tool passes through `_text`, which escapes it and isolates its writing direction. A
content security policy allows the one style sheet, by its hash, and nothing else; so even a hole in the escaping could neither run nor
load a thing.
Bars are drawn by SVG attributes, because inline styles are forbidden by that policy.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from itertools import groupby
from pathlib import Path

from code_review.models import Analysis, ChangedFile, Finding, Report, Skip
from code_review.rank import PLACES, SEVERITIES
from code_review.summary import count, place

MAX_CHANGED_FILES = 40
"""Changed files drawn, those that changed most first; the rest is counted, and all are in report.json."""

OPEN_FINDINGS = 12
"""Findings of one file shown at once; a longer list starts closed outside the change."""

TITLES = {"line": "In changed lines", "file": "Elsewhere in changed files", "elsewhere": "In files that did not change"}


def render(report: Report) -> bytes:
    """The document as UTF-8 bytes."""
    return ("\n".join(_document(report)) + "\n").encode("utf-8", "replace")


@lru_cache(maxsize=1)
def _style() -> tuple[str, str]:
    """The style sheet, and its hash for the policy."""
    text = (Path(__file__).parent / "style.css").read_text("utf-8").strip()
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _document(report: Report) -> Iterator[str]:
    style, digest = _style()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
    yield f"<title>Code review of {escape(report.workspace.name)}</title>"
    yield f"<style>{style}</style></head><body>"
    yield '<a class="skip" href="#findings">Skip to the findings</a>'
    yield from _header(report)
    yield "<main>"
    yield from _summary(report)
    yield from _first(report)
    yield '<div id="findings">'
    for name in PLACES:
        yield from _place(name, [one for one in report.ranked.findings if one.place == name])
    yield "</div>"
    yield from _changes(report)
    yield from _analysers(report.analyses)
    yield from _skipped(report)
    yield from _history(report)
    yield "</main>"
    yield from _footer(report)
    yield "</body></html>"


def _header(report: Report) -> Iterator[str]:
    workspace, findings = report.workspace, report.ranked.findings
    places, severities = Counter[str](one.place for one in findings), Counter[str](one.severity for one in findings)
    yield "<header>"
    yield '<p class="eyebrow">Code review</p>'
    yield f"<h1>{_text(workspace.name)}</h1>"
    branch = f" on {_text(workspace.branch)}" if workspace.branch else ""
    since = f", compared with {_text(workspace.since)}" if workspace.since else ""
    yield f'<p class="meta">Commit <code>{escape(workspace.commit[:12])}</code>{branch}{since}. {_languages(report)}</p>'
    if workspace.note:
        yield f'<p class="notice">{_text(workspace.note)}.</p>'
    yield '<ul class="tiles">'
    yield _tile(len(findings), "finding" if len(findings) == 1 else "findings")
    yield _tile(places["line"], "in changed lines")
    yield _tile(severities["high"], "of high severity")
    yield _tile(len(report.changes.files), "changed file" if len(report.changes.files) == 1 else "changed files")
    yield "</ul>"
    if findings:
        yield _severity_bar(severities)
    yield "</header>"


def _languages(report: Report) -> str:
    total = sum(report.workspace.languages.values())
    named = [f"{_text(name)} {number}" for name, number in list(report.workspace.languages.items())[:4]]
    return f"{count(report.workspace.files, 'file')}{': ' + ', '.join(named) if total else ''}."


def _tile(number: int, words: str) -> str:
    return f"<li><b>{number:,}</b><span>{words}</span></li>"


def _severity_bar(severities: Counter[str]) -> str:
    total, at, bars, legend = sum(severities.values()), 0.0, [], []
    for name in SEVERITIES:
        if number := severities[name]:
            width = 1000 * number / total
            bars.append(f'<rect class="fill-{name}" x="{at:.2f}" width="{width:.2f}" height="12"/>')
            at += width
        box = f'<svg viewBox="0 0 10 10" aria-hidden="true"><rect class="fill-{name}" width="10" height="10"/></svg>'
        legend.append(f"<li>{box}<b>{severities[name]:,}</b> {name}</li>")
    words = ", ".join(f"{severities[name]} {name}" for name in SEVERITIES)
    picture = f'<svg class="bar" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="By severity: {words}">'
    return f'{picture}{"".join(bars)}</svg><ul class="legend">{"".join(legend)}</ul>'


def _summary(report: Report) -> Iterator[str]:
    known = {one.id for one in report.ranked.findings}
    yield '<section class="lead"><h2>Summary</h2>'
    for paragraph in report.summary.paragraphs:
        yield f"<p>{_with_references(paragraph, known)}</p>"
    yield f'<p class="by">{_text(report.summary.note)}</p></section>'


def _with_references(text: str, known: set[str]) -> str:
    def link(match: re.Match[str]) -> str:
        return f'<a class="ref" href="#f-{match[1]}">{match[1]}</a>' if match[1] in known else match[0]

    return re.sub(r"\[([0-9a-f]{12})\]", link, _text(text))


def _first(report: Report) -> Iterator[str]:
    named = {one.id: one for one in report.ranked.findings}
    if not report.ranked.first:
        return
    yield '<section><h2>Look at first</h2><ul class="list">'
    for one in report.ranked.first:
        yield _pointer(named[one])
    yield "</ul></section>"


def _place(name: str, findings: list[Finding]) -> Iterator[str]:
    yield f'<section><h2>{TITLES[name]}<span class="n">{len(findings):,}</span></h2>'
    if not findings:
        yield '<p class="none">None.</p>'
    for path, group in _by_file(findings):
        pressing = len(_alike(group)) <= OPEN_FINDINGS and any(one.severity in ("high", "medium") for one in group)
        opened = " open" if name == "line" or pressing else ""
        yield f'<details{opened}><summary><span class="file mono">{_text(path)}</span>'
        yield f'<span class="counts">{_counts(group)}</span></summary><ul class="list">'
        for alike in _alike(group):
            yield _item(alike)
        yield "</ul></details>"
    yield "</section>"


def _by_file(findings: list[Finding]) -> list[tuple[str, list[Finding]]]:
    """Findings file by file; files in the order of their first, most pressing finding."""
    position: dict[str, int] = {}
    for one in findings:
        position.setdefault(one.path, len(position))
    ordered = sorted(findings, key=lambda one: position[one.path])
    return [(path, list(group)) for path, group in groupby(ordered, key=lambda one: one.path)]


def _counts(group: list[Finding]) -> str:
    by = Counter[str](one.severity for one in group)
    return ", ".join(f"{by[name]} {name}" for name in SEVERITIES if by[name])


def _alike(group: list[Finding]) -> list[list[Finding]]:
    """Findings of one file that differ only in their line, together; in the order of the first of each."""
    together: dict[tuple[str, str, str, str], list[Finding]] = {}
    for one in group:
        together.setdefault((one.severity, one.analyser, one.rule, one.message), []).append(one)
    return list(together.values())


def _item(alike: list[Finding]) -> str:
    """One finding with its id, or several that say the same with a line each; every one can be linked to."""
    one = alike[0]
    if len(alike) == 1:
        where = f'<span class="mono">{f"line {one.line}" if one.line else "whole file"}</span>'
        return f'<li id="f-{one.id}">{_what(one, where, _rule(one), f"""<span class="ref">{one.id}</span>""")}</li>'
    lines = ", ".join(f'<span id="f-{each.id}" title="{each.id}">{each.line}</span>' for each in alike)
    return f'<li>{_what(one, f"<span>{len(alike)} times</span>", _rule(one), f"""<span class="mono">lines {lines}</span>""")}</li>'


def _pointer(one: Finding) -> str:
    """A finding named among the first ones, with a link to its place."""
    where = f'<span class="mono">{_text(place(one))}</span>'
    return f'<li>{_what(one, where, _rule(one), f"""<a class="ref" href="#f-{one.id}">{one.id}</a>""")}</li>'


def _what(one: Finding, where: str, rule: str, last: str) -> str:
    message = re.sub(r"`([^`]{1,200})`", r"<code>\1</code>", _text(one.message))
    sub = f"{where}<span>{escape(one.analyser)}</span>{rule}{last}"
    return f'<span class="pill {one.severity}">{one.severity}</span><div><p>{message}</p><p class="sub">{sub}</p></div>'


def _rule(one: Finding) -> str:
    if _is_web(one.url):
        return f'<a href="{escape(one.url)}" rel="noopener noreferrer">{_text(one.rule)}</a>'
    return f"<span>{_text(one.rule)}</span>"


def _is_web(url: str) -> bool:
    return re.fullmatch(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/#?&=%+-]*)?", url) is not None


def _changes(report: Report) -> Iterator[str]:
    files = sorted(report.changes.files, key=lambda file: (-(file.added + file.deleted), file.path))
    yield f'<section><h2>What changed<span class="n">{count(len(files), "file")}</span></h2>'
    if files:
        most = max(file.added + file.deleted for file in files) or 1
        found = Counter(one.path for one in report.ranked.findings if one.place != "elsewhere")
        yield '<div class="scroll" role="region" aria-label="Changed files" tabindex="0"><table><thead><tr><th>file</th>'
        yield '<th class="num">added</th><th class="num">removed</th><th></th><th class="num">findings</th></tr></thead><tbody>'
        for file in files[:MAX_CHANGED_FILES]:
            yield _changed(file, most, found[file.path])
        yield "</tbody></table></div>"
    else:
        yield '<p class="none">Nothing, or nothing that is known.</p>'
    if len(files) > MAX_CHANGED_FILES:
        yield f'<p class="plain">and {count(len(files) - MAX_CHANGED_FILES, "more file")}, listed in report.json</p>'
    note = f": {_text(report.changes.note)}" if report.changes.note else ""
    yield f'<p class="plain">Read from {_text(report.changes.source)}{note}.</p></section>'


def _changed(file: ChangedFile, most: int, findings: int) -> str:
    added, deleted = 1000 * file.added / most, 1000 * file.deleted / most
    bar = (
        f'<svg class="churn" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="fill-add" width="{added:.1f}" height="8"/>'
        f'<rect class="fill-del" x="{added:.1f}" width="{deleted:.1f}" height="8"/></svg>'
    )
    status = f' <span class="pill quiet">{file.status}</span>' if file.status != "modified" else ""
    return (
        f'<tr><td class="path"><span class="mono">{_text(file.path)}</span>{status}</td><td class="num">{file.added:,}</td>'
        f'<td class="num">{file.deleted:,}</td><td>{bar}</td><td class="num">{findings or ""}</td></tr>'
    )


def _analysers(analyses: Iterable[Analysis]) -> Iterator[str]:
    yield '<section><h2>Analysers</h2><div class="scroll" role="region" aria-label="Analysers" tabindex="0"><table>'
    yield '<thead><tr><th>analyser</th><th>status</th><th class="num">files</th><th class="num">findings</th>'
    yield "<th>what to know</th></tr></thead><tbody>"
    for one in analyses:
        pill = "ok" if one.status == "ok" else "quiet" if one.status == "not applicable" else "high"
        words = [*([one.reason] if one.reason else []), *one.notes]
        facts = [f"{name.replace('_', ' ')}: {value}" for name, value in one.facts.items() if isinstance(value, int | float)]
        said = "".join(f"<p>{_text(word)}</p>" for word in [*words, *([", ".join(facts)] if facts else [])])
        hand = f"<p>by hand: <code>{_text(one.command)}</code></p>" if one.command else ""
        yield (
            f'<tr><th scope="row">{_text(one.analyser)}<br><small class="plain">{_text(one.version)}</small></th>'
            f'<td><span class="pill {pill}">{one.status}</span></td><td class="num">{one.files:,}</td>'
            f'<td class="num">{one.findings_total:,}</td><td class="note wide">{said}{hand}</td></tr>'
        )
    yield "</tbody></table></div></section>"


def _skipped(report: Report) -> Iterator[str]:
    rows = [("all", skip) for skip in report.workspace.skipped] + [(one.analyser, skip) for one in report.analyses for skip in one.skipped]
    more = report.workspace.skipped_total - len(report.workspace.skipped)
    yield f'<section><h2>Not judged<span class="n">{count(len(rows) + more, "file")}</span></h2>'
    if not rows:
        yield '<p class="none">Every file was read.</p></section>'
        return
    opened = " open" if len(rows) <= OPEN_FINDINGS else ""
    yield f'<details{opened}><summary><span class="file">Files left out, and why</span><span class="counts">{len(rows)}</span></summary>'
    yield f'<ul class="list">{"".join(_skip(*row) for row in rows)}</ul></details>'
    if more:
        yield f'<p class="plain">and {count(more, "more file")}</p>'
    yield "</section>"


def _skip(analyser: str, skip: Skip) -> str:
    pill = f'<span class="pill quiet">{escape(analyser)}</span>'
    return f'<li>{pill}<div><p class="mono">{_text(skip.path)}</p><p class="sub"><span>{_text(skip.reason)}</span></p></div></li>'


def _history(report: Report) -> Iterator[str]:
    commits = report.history.commits
    yield f'<section><h2>History<span class="n">{count(report.workspace.commits, "commit")}</span></h2>'
    if commits:
        yield '<div class="scroll" role="region" aria-label="Commits" tabindex="0"><table>'
        yield "<thead><tr><th>commit</th><th>date</th><th>author</th><th>first line of the message</th></tr></thead><tbody>"
        for one in commits:
            yield (
                f'<tr><td class="mono">{escape(one.id[:12])}</td><td class="num">{_text(one.date)}</td><td>{_text(one.author)}</td>'
                f'<td class="wide">{_text(one.subject)}</td></tr>'
            )
        yield "</tbody></table></div>"
    note = f": {_text(report.history.note)}" if report.history.note else ""
    words = "Messages and names are the repository's own words; nothing was ranked by them."
    yield f'<p class="plain">Read from {_text(report.history.source)}{note}. {words}</p></section>'


def _footer(report: Report) -> Iterator[str]:
    workspace, run = report.workspace, report.run
    yield "<footer>"
    base = f", base {escape(workspace.base)}" if workspace.base else ""
    yield f"<p>Commit {escape(workspace.commit)}{base}. Findings are ordered by change, then by severity, from the diff alone.</p>"
    durations = ", ".join(f"{_text(name)} {seconds:.1f} s" for name, seconds in run.durations_s.items())
    yield f"<!-- run --><p>Run {_text(run.execution)} at {_text(run.at)}{f': {durations}' if durations else ''}.</p><!-- /run -->"
    yield "</footer>"


def _text(text: str) -> str:
    """Foreign text as HTML: escaped, and kept from reordering what stands around it."""
    return escape(text) if text.isascii() else f"<bdi>{escape(text)}</bdi>"
