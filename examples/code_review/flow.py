"""Code review of a Git repository: what changed, what analysers find in it, in which order to read it, in four files.

    omega run examples/code_review --input repo=PATH --input since=REV

    prepare            a private copy of one pinned commit; the repository itself is only read
    git/git_log        history and
    git/git_diff       diff, through the MCP server `mcp-server-git`, on the copy
    findings           five analysers at the same time; one that fails degrades itself and says so
    rank               by change and severity, from the diff alone
    summary            by a model when one is configured, else computed, and it says which
    report             HTML, Markdown, SARIF 2.1.0, JSON
    cleanup            the copy is removed, also after a failure

Each analyser is an outside program under a time limit, tried twice. Text that comes from the repository is data: it is shown, escaped,
and never followed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from code_review import changes as diffs
from code_review import history as logs
from code_review import paths, rank, reports, summary, tokens
from code_review.models import (
    Analysis,
    ChangedFile,
    Changes,
    Commit,
    History,
    Ranked,
    Report,
    Review,
    ReviewInput,
    RunFacts,
    Summary,
    Workspace,
)
from omega import (
    Command,
    CommandResult,
    Context,
    Denied,
    Flow,
    FlowError,
    InputError,
    ModelCall,
    OmegaError,
    UpstreamError,
    WriteFiles,
    flow,
    parallel,
    server,
    tool,
)

PROGRAMS = Path(__file__).resolve().parent / "programs"
REFUSED = 3
"""Exit status of our programs when the repository cannot be reviewed."""

PREPARE_S = 300.0
ANALYSE_S = 600.0
ANSWER_BYTES = 12 << 20
"""Most that an analyser may print: its answer is one value of the journal."""

MAX_NAME = 100
"""Characters of a repository's name in a report."""

servers = [server("git", ["mcp-server-git"], sandbox=False)]
"""Not confined: the private copy borrows the objects of the original repository, which the input names, so no record can grant them."""

git_log = tool("git", "git_log", effect="read", timeout_s=30.0)
git_diff = tool("git", "git_diff", effect="read", timeout_s=30.0)


class Order(BaseModel):
    """What `prepare` is asked for: the input of the review and a key that names the private copy, drawn once per run."""

    model_config = ConfigDict(frozen=True)
    review: ReviewInput
    key: str


class Evidence(BaseModel):
    """All that is known before anything is judged."""

    model_config = ConfigDict(frozen=True)
    workspace: Workspace
    changes: Changes
    history: History
    analyses: tuple[Analysis, ...]
    ranked: Ranked = Ranked()


# -- the private copy


@flow(effect="idempotent", needs="process:run", version="1.0.0")
async def prepare(ctx: Context, order: Order) -> Workspace:
    """Make the private copy. Raises InputError (OMG-I001) when there is nothing to review, with what to do about it."""
    repo, out = _absolute(order.review.repo), _absolute(order.review.out)
    wanted = {"repo": repo, "since": order.review.since, "key": order.key, "commit": "", "tmp": tempfile.gettempdir()}
    facts = await _program(ctx, "prepare.py", "ensure", order=wanted)
    return Workspace(repo=repo, name=_name(repo), out=out, key=order.key, **facts)


@flow(effect="idempotent", needs="process:run")
async def restore(ctx: Context, workspace: Workspace) -> Workspace:
    """Make the private copy again if it is gone: a run may be resumed after the temporary folder was emptied."""
    await _program(ctx, "prepare.py", "ensure", order=_order(workspace))
    return workspace


@flow(effect="idempotent", needs="process:run")
async def cleanup(ctx: Context, workspace: Workspace) -> bool:
    """Remove the private copy; gives whether there was one."""
    answer = await _program(ctx, "prepare.py", "remove", order=_order(workspace))
    return bool(answer["removed"])


# -- what the repository says


@flow(effect="read", needs="process:run")
async def diff_without_tool(ctx: Context, workspace: Workspace) -> tuple[ChangedFile, ...]:
    """The changes read by Git itself, for when the tool cannot give them (a diff in no known encoding, or too large for an answer)."""
    answer = await _program(ctx, "prepare.py", "diff", order=_order(workspace))
    return tuple(ChangedFile(**file) for file in answer["files"])


async def read_history(ctx: Context, workspace: Workspace) -> History:
    """The commits of the window through the tool; without them the review goes on and says so."""
    source = "git/git_log of mcp-server-git"
    if not workspace.ids:
        return History(source=source, note="no commits since the base")
    try:
        answer = await _ask(ctx, git_log, workspace, {"repo_path": _checkout(workspace), "max_count": len(workspace.ids)})
    except (FlowError, InputError, UpstreamError) as error:
        return History(source=source, note=f"not read: {_cause(error, workspace)}")
    entries = logs.parse(_text(answer), list(workspace.ids))
    rules = tokens.load()
    commits = tuple(Commit(**{**entry, "subject": tokens.redact(entry["subject"], rules)}) for entry in entries)
    missing = len(workspace.ids) - len(commits)
    return History(commits=commits, source=source, note=f"{missing} commits were missing from its answer" if missing else "")


async def read_changes(ctx: Context, workspace: Workspace) -> Changes:
    """The changed lines through the tool; where its answer is no diff, from Git itself, and the report says why."""
    source = "git/git_diff of mcp-server-git"
    if not workspace.base:
        return Changes(source=source, note="not asked: there is nothing to compare with")
    if workspace.diff_problem:
        files = await ctx.call(diff_without_tool, workspace)
        return Changes(files=files, source="git itself", note=f"git/git_diff was not asked: {workspace.diff_problem}")
    try:
        answer = await _ask(ctx, git_diff, workspace, {"repo_path": _checkout(workspace), "target": workspace.base, "context_lines": 0})
        return Changes(files=tuple(ChangedFile(**file) for file in diffs.parse(_text(answer))), source=source)
    except (FlowError, InputError, UpstreamError) as error:
        reason = _cause(error, workspace)
    except diffs.NotADiff as error:
        reason = str(error)
    files = await ctx.call(diff_without_tool, workspace)
    return Changes(files=files, source="git itself", note=paths.one_line(f"git/git_diff did not serve: {reason}", 300))


async def _ask(ctx: Context, asked: Flow[dict[str, Any], Any], workspace: Workspace, arguments: dict[str, Any]) -> Any:
    """Ask a tool; where it fails make sure that the private copy is there (a run may be resumed after it was swept), and ask once more."""
    try:
        return await ctx.call(asked, arguments)
    except (FlowError, UpstreamError):
        await ctx.call(restore, workspace)
        return await ctx.call(asked, arguments)


# -- the analysers


def analyser(name: str, program: str) -> Flow[Workspace, Analysis]:
    """An analyser as a flow: its program, tried twice within a time limit; then a result that says it is unavailable."""

    @flow(name=name, effect="read", needs="process:run")
    async def analyse(ctx: Context, workspace: Workspace) -> Analysis:
        result = await _run(ctx, program, order=_order(workspace), timeout_s=ANALYSE_S)
        try:
            return Analysis(**json.loads(result.stdout), took_s=round(result.duration_s, 3))
        except (ValueError, TypeError, ValidationError) as error:
            raise UpstreamError("OMG-P002", f"{program} printed no answer that can be read: {type(error).__name__}") from error

    @flow(name=f"{name}-unavailable")
    def give_up(workspace: Workspace) -> Analysis:
        reason = f"failed or did not end within {ANALYSE_S:.0f} s, twice; omega show lists each attempt with its error"
        return Analysis(analyser=name, status="unavailable", reason=reason)

    return analyse.retry(2).timeout(2 * ANALYSE_S + 60).fallback(give_up).named(name)


findings = parallel(
    analyser("ruff", "lint.py"),
    analyser("bandit", "security.py"),
    analyser("complexity", "complexity.py"),
    analyser("secrets", "secret_scan.py"),
    analyser("tests", "find_tests.py"),
).named("findings")


# -- the judgement


@flow(name="rank")
def order_findings(evidence: Evidence) -> Ranked:
    """Findings in reading order, from the diff alone."""
    return rank.rank(evidence.analyses, evidence.changes)


@flow(name="summary", effect="read", needs="model:ask")
async def write_summary(ctx: Context, evidence: Evidence) -> Summary:
    """The summary by the configured model, its references checked; computed when none is configured or it refers to nothing."""
    parts = (evidence.workspace, evidence.changes, evidence.analyses, evidence.ranked)
    try:
        text = await ctx.touch(ModelCall(instructions=summary.INSTRUCTIONS, prompt=summary.prompt(*parts)))
    except OmegaError as error:
        if error.code == "OMG-X002":
            return summary.compute(*parts)
        raise
    written = summary.check(tokens.redact(str(text), tokens.load()), "the configured model", evidence.ranked)
    return written or summary.compute(*parts, note="the model's text referred to no finding and was not used: computed, not written")


@flow(name="compute-summary")
def compute_summary(evidence: Evidence) -> Summary:
    """The summary without a model that did not answer."""
    note = "the configured model did not answer: computed, not written"
    return summary.compute(evidence.workspace, evidence.changes, evidence.analyses, evidence.ranked, note=note)


summarise = write_summary.retry(2).fallback(compute_summary).named("summary")


@flow(name="report", effect="idempotent", needs="files:write")
async def write_report(ctx: Context, report: Report) -> tuple[str, ...]:
    """The four files in the chosen folder, each whole or not at all; gives their paths."""
    folder = Path(report.workspace.out)
    files = {str(folder / name): data for name, data in reports.render(report).items()}
    await ctx.touch(WriteFiles(files=files))
    return tuple(files)


@flow(name="code-review", version="1.0.0")
async def review(ctx: Context, request: ReviewInput) -> Review:
    """The whole review: one commit, one report. Raises InputError when there is nothing to review."""
    workspace = await ctx.call(prepare, Order(review=request, key=(await ctx.uuid()).replace("-", "")))
    try:
        result = await _review(ctx, workspace)
    except (Denied, FlowError, InputError, UpstreamError) as error:
        await _clean_after(ctx, workspace, error)
        raise
    await ctx.call(cleanup, workspace)
    return result


main = review


async def _review(ctx: Context, workspace: Workspace) -> Review:
    history = await read_history(ctx, workspace)
    changes = await read_changes(ctx, workspace)
    analyses = rank.with_untested(await ctx.call(findings, workspace), changes)
    evidence = Evidence(workspace=workspace, changes=changes, history=history, analyses=analyses)
    evidence = evidence.model_copy(update={"ranked": await ctx.call(order_findings, evidence)})
    text = await _summary(ctx, evidence)
    run = RunFacts(
        execution=ctx.execution,
        at=datetime.fromtimestamp(await ctx.now(), UTC).isoformat(timespec="seconds"),
        durations_s={one.analyser: one.took_s for one in analyses},
    )
    report = Report(**dict(evidence), summary=text, run=run)
    written = await ctx.call(write_report, report)
    return _result(report, written)


async def _summary(ctx: Context, evidence: Evidence) -> Summary:
    try:
        return await ctx.call(summarise, evidence)  # type: ignore[no-any-return]
    except Denied:
        note = "policy keeps this run from asking a model: computed, not written"
        return summary.compute(evidence.workspace, evidence.changes, evidence.analyses, evidence.ranked, note=note)


async def _clean_after(ctx: Context, workspace: Workspace, error: OmegaError) -> None:
    """Remove the copy after a failure; a second failure must not hide the first."""
    if error.code == "OMG-R005":
        return  # a cancelled run makes no more steps; the copy is swept with old ones
    try:
        await ctx.call(cleanup, workspace)
    except (Denied, FlowError, InputError, UpstreamError) as second:
        error.add_note(f"the private copy could not be removed: {second.code}")


def _result(report: Report, written: tuple[str, ...]) -> Review:
    placed = [one.place for one in report.ranked.findings]
    return Review(
        headline=summary.headline(report.workspace, report.ranked),
        commit=report.workspace.commit,
        since=report.workspace.since,
        findings=len(placed),
        in_changed_lines=placed.count("line"),
        in_changed_files=placed.count("file"),
        by_analyser={one.analyser: one.findings_total for one in report.analyses},
        degraded=tuple(one.analyser for one in report.analyses if one.status in ("failed", "unavailable")),
        summary=report.summary.note,
        reports=written,
    )


# -- our programs


async def _program(ctx: Context, program: str, verb: str, *, order: Mapping[str, str]) -> dict[str, Any]:
    result = await _run(ctx, program, verb, order=order, timeout_s=PREPARE_S)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


async def _run(ctx: Context, program: str, *arguments: str, order: Mapping[str, str], timeout_s: float) -> CommandResult:
    """Run one of our programs in isolated mode. Raises InputError (OMG-I001) when it refuses the repository.

    `order["tmp"]` is the folder for temporary files: the one of the first step, also when the run is resumed with another.
    """
    argv = (sys.executable, "-I", str(PROGRAMS / program), *arguments)
    command = Command(
        argv=argv,
        env={"TMPDIR": order["tmp"]},
        stdin=json.dumps(order).encode(),
        timeout_s=timeout_s,
        accept=(0, REFUSED),
        stdout_limit=ANSWER_BYTES,
    )
    result: CommandResult = await ctx.touch(command)
    if result.code == REFUSED:
        refusal = json.loads(result.stdout)
        raise InputError("OMG-I001", refusal["cause"], advice=refusal["advice"], details={"kind": refusal["kind"]})
    return result


def _order(workspace: Workspace) -> dict[str, str]:
    tmp = str(Path(workspace.scratch).parents[1])
    return {"repo": workspace.repo, "since": workspace.since_given, "key": workspace.key, "commit": workspace.commit, "tmp": tmp}


def _absolute(path: str) -> str:
    """A path as given, made absolute in the working folder of the run: recorded once, so that a resume from elsewhere means the same."""
    return str(Path(path).expanduser().absolute())


def _name(repo: str) -> str:
    """What a report calls the repository: the last part of its path."""
    return paths.one_line(paths.shown(os.fsencode(Path(repo).resolve().name)), MAX_NAME) or "/"


def _checkout(workspace: Workspace) -> str:
    return str(Path(workspace.scratch) / "repo")


def _text(answer: Any) -> str:
    """A tool's answer as text: the server gives text, or one text for each commit."""
    return answer if isinstance(answer, str) else "\n".join(map(str, answer)) if isinstance(answer, list) else str(answer)


def _cause(error: OmegaError, workspace: Workspace) -> str:
    """Why a tool failed, without the name of the private copy, which differs from run to run."""
    return paths.one_line(f"{error.code} {error.cause}".replace(_checkout(workspace), workspace.name), 300)
