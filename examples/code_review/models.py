"""The nouns of a review: what goes in, what passes between the steps, and what the report is made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["high", "medium", "low", "info"]
Place = Literal["line", "file", "elsewhere"]


class Frozen(BaseModel):
    """An immutable record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReviewInput(Frozen):
    """What to review: a Git repository, the revision to compare with (empty: twenty commits back), and the folder for the reports."""

    repo: str = "."
    since: str = ""
    out: str = "omega-report"


class Skip(Frozen):
    """A file that was not judged, and why."""

    path: str
    reason: str


class Workspace(Frozen):
    """The private copy of the pinned commit and what is known of the repository. Sizes in bytes; `base` empty: nothing to compare with;
    `diff_problem` why the tool cannot carry the diff."""

    repo: str
    name: str
    out: str
    key: str
    scratch: str
    commit: str
    branch: str
    bare: bool
    shallow: bool
    since_given: str
    base: str
    since: str
    commits: int
    note: str
    diff_problem: str = ""
    ids: tuple[str, ...] = ()
    files: int
    bytes: int
    kinds: dict[str, int]
    languages: dict[str, int]
    submodules: int
    skipped: tuple[Skip, ...] = ()
    skipped_total: int = 0


class ChangedFile(Frozen):
    """One file of the diff: counts of lines, and the spans of changed lines on the new side, 1-based and inclusive."""

    path: str
    status: Literal["added", "deleted", "modified", "binary"]
    added: int
    deleted: int
    lines: tuple[tuple[int, int], ...] = ()


class Changes(Frozen):
    """The diff from base to the pinned commit, and where it was read."""

    files: tuple[ChangedFile, ...] = ()
    source: str
    note: str = ""


class Commit(Frozen):
    """One commit as the repository tells it: shown, never followed."""

    id: str
    author: str
    date: str
    subject: str


class History(Frozen):
    """The newest commits of the window, and where they were read."""

    commits: tuple[Commit, ...] = ()
    source: str
    note: str = ""


class RawFinding(Frozen):
    """A finding as an analyser gives it. Lines and columns are 1-based; 0 where there is none."""

    rule: str
    severity: Severity
    path: str
    line: int = Field(ge=0)
    end_line: int = Field(ge=0)
    column: int = Field(ge=0)
    message: str
    url: str = ""


class Analysis(Frozen):
    """What one analyser did: `status` says how it went, `reason` why not better; `findings_total` may exceed those listed.

    `took_s` is in seconds and appears in the run block of a report alone.
    """

    analyser: str
    version: str = ""
    status: Literal["ok", "not applicable", "failed", "unavailable"] = "ok"
    reason: str = ""
    command: str = ""
    files: int = 0
    findings_total: int = 0
    findings: tuple[RawFinding, ...] = ()
    took_s: float = 0.0
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = {}


class Finding(RawFinding):
    """A ranked finding: `id` names it in every report and stays the same when its line moves; `place` relates it to the change."""

    id: str
    analyser: str
    place: Place


class Ranked(Frozen):
    """Findings in the order to read them, and the ids of the few to look at first."""

    findings: tuple[Finding, ...] = ()
    first: tuple[str, ...] = ()


class Summary(Frozen):
    """A few paragraphs; `by` is `computed` or the name of the model that wrote them; `note` says why, and what was removed."""

    paragraphs: tuple[str, ...]
    by: str
    note: str


class RunFacts(Frozen):
    """What differs from run to run, and nothing else: kept in one place of every report."""

    execution: str
    at: str
    durations_s: dict[str, float] = {}


class Report(Frozen):
    """Everything the four files are made of."""

    workspace: Workspace
    changes: Changes
    history: History
    analyses: tuple[Analysis, ...]
    ranked: Ranked
    summary: Summary
    run: RunFacts


class Review(Frozen):
    """How a review ended: files written, and the figures of its last line."""

    headline: str
    commit: str
    since: str
    findings: int
    in_changed_lines: int
    in_changed_files: int
    by_analyser: dict[str, int]
    degraded: tuple[str, ...]
    summary: str
    reports: tuple[str, ...]
