"""A report with something of everything, hostile text included."""

from __future__ import annotations

from code_review.models import (
    Analysis,
    ChangedFile,
    Changes,
    Commit,
    Finding,
    History,
    Ranked,
    RawFinding,
    Report,
    RunFacts,
    Skip,
    Summary,
    Workspace,
)
from code_review.rank import rank

LINK = "https://docs.example/F821"
SCRIPT = 'javascript:alert("x")'
NASTY = "<script>alert(1)</script> \u05d0\u05d1 | `x` [a](https://evil.example) ![i](x) &amp; \"quoted\" 'single' -->"
"""Text that tries to be markup in HTML and in Markdown, and runs from right to left in part."""

WORKSPACE = Workspace(
    repo="/home/somebody/app", name="app", out="/home/somebody/out", key="k", scratch="/tmp/scratch/k", since_given="", commit="1" * 40,
    branch="main", bare=False, shallow=False, base="2" * 40, since="HEAD~20", commits=20, note="", ids=("1" * 40,), files=9, bytes=900,
    kinds={"python": 3, "binary": 1}, languages={"Python": 3}, submodules=0, skipped=(Skip(path=NASTY, reason="binary"),), skipped_total=3,
)  # fmt: skip

CHANGES = Changes(
    source="git/git_diff of mcp-server-git",
    files=(
        ChangedFile(path="src/<b>.py", status="modified", added=3, deleted=1, lines=((5, 7),)),
        ChangedFile(path="src/a.py", status="added", added=9, deleted=0, lines=((1, 9),)),
    ),
)

ANALYSES = (
    Analysis(
        analyser="ruff", version="1.0", files=3, findings_total=2, command="ruff check .", took_s=0.5, notes=(NASTY,),
        findings=(
            RawFinding(rule="F821", severity="high", path="src/<b>.py", line=6, end_line=6, column=3, message=NASTY, url=LINK),
            RawFinding(rule="B1", severity="info", path="src/<b>.py", line=40, end_line=41, column=1, message="plain", url=SCRIPT),
        ),
    ),
    Analysis(analyser="complexity", status="failed", reason="radon is not installed"),
    Analysis(
        analyser="secrets", version="rules 1", files=3, findings_total=1, skipped=(Skip(path="x\\x0ay", reason="could not be read"),),
        findings=(RawFinding(rule="k", severity="medium", path="sp ace/\\xff.py", line=0, end_line=0, column=0, message="found"),),
    ),
)  # fmt: skip

RANKED: Ranked = rank(ANALYSES, CHANGES)
FINDINGS: tuple[Finding, ...] = RANKED.findings

REPORT = Report(
    workspace=WORKSPACE,
    changes=CHANGES,
    history=History(source="git/git_log", commits=(Commit(id="1" * 40, author=NASTY, date="2026-01-01", subject=NASTY),)),
    analyses=ANALYSES,
    ranked=RANKED,
    summary=Summary(paragraphs=(f"{NASTY} [{FINDINGS[0].id}] [ffffffffffff]",), by="computed", note="no model configured"),
    run=RunFacts(execution="exe_1", at="2026-01-01T00:00:00+00:00", durations_s={"ruff": 0.5}),
)
