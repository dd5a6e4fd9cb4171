"""`omega poml`: documents are checked, laid out, drawn, compared, and priced before they run."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, count, money, paint, plain, seconds, table
from omega.host.documents import MAX_BYTES, SUFFIX, read_bytes
from omega.host.estimating import RUNS, estimated
from omega.host.targets import flow_of, load_target
from omega.kernel import poml as documents
from omega.kernel.errors import DefinitionError, InputError
from omega.kernel.poml import draw
from omega.kernel.poml.estimate import Estimate
from omega.kernel.poml.history import Prices, Spread
from omega.kernel.poml.plan import Expected

STANDARD_INPUT = "-"
AT_LEAST = "at least "

_files = click.argument("files", nargs=-1, required=True, metavar="FILE...")


@click.group()
def poml() -> None:
    """Check, lay out, draw, compare and price workflow documents."""


@poml.command()
@_files
@click.option("--alone", is_flag=True, help="read the document only: load none of the Python that it names, check no types")
@common
@click.pass_obj
def check(session: Session, files: tuple[str, ...], alone: bool) -> Answer:
    """Say everything that keeps a document from running, each with file, line, column and what was probably meant."""
    answers, lines = [], []
    for file in files:
        document, problems = _examined(file, alone)
        answers.append({"file": file, "sound": not problems, "problems": [asdict(each) for each in problems]})
        lines += [line for problem in problems for line in _told(problem)]
        if document is not None and not problems:
            lines.append(f"{paint('ok')}   {plain(file)}   {document.name} {document.version}   {count(len(document.nodes), 'node')}")
    sound = all(each["sound"] for each in answers)
    return Answer({"sound": sound, "files": answers}, lines, Exit.DONE if sound else Exit.FAILED)


def _examined(file: str, alone: bool) -> tuple[documents.Document | None, tuple[documents.Problem, ...]]:
    try:
        document = documents.parse(_read(file), name=file)
        if not alone:
            flow_of(document, Path.cwd() if file == STANDARD_INPUT else Path(file).parent)
    except DefinitionError as error:
        found = documents.problems_of(error)
        if not found:
            raise
        return None, found
    return document, ()


def _told(problem: documents.Problem) -> list[str]:
    hint = [f"      did you mean {problem.suggestion!r}"] if problem.suggestion else []
    expected = [f"      expected {plain(problem.expected)}"] if problem.expected else []
    place = f"{plain(problem.file)}:{problem.line}:{problem.column}"
    return [f"{place}   {click.style(problem.code, fg='red')}   {plain(problem.message)}", *expected, *hint]


@poml.command()
@_files
@click.option("-w", "--write", is_flag=True, help="write the files anew, those that change")
@click.option("--check", "checking", is_flag=True, help="write nothing; exit 1 when a file would change")
@click.option("--diff", "differing", is_flag=True, help="write nothing; print what would change")
@common
@click.pass_obj
def fmt(session: Session, files: tuple[str, ...], write: bool, checking: bool, differing: bool) -> Answer:
    """Print documents in the one layout; comments, order and meaning stay. FILE may be - for standard input."""
    if write and (checking or differing):
        raise InputError("OMG-X001", "--write goes neither with --check nor with --diff")
    answers, lines, changed = [], [], False
    for file in files:
        given = _read(file)
        laid_out = documents.format(_text(given), name=file)
        differs = laid_out.encode() != given
        changed = changed or differs
        answers.append({"file": file, "changed": differs, "text": laid_out})
        if differing:
            lines += _unified(file, _text(given), laid_out)
        elif checking:
            lines += [f"{paint('fail')}   {plain(file)} would change"] if differs else []
        elif not write:
            lines += laid_out.splitlines()
        elif differs:
            _write(Path(file), laid_out)
            lines.append(f"{plain(file)}   written anew")
    status = Exit.FAILED if changed and (checking or differing) else Exit.DONE
    return Answer({"changed": changed, "files": answers}, lines, status)


def _unified(file: str, before: str, after: str) -> list[str]:
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), file, f"{file} (laid out)", lineterm="")
    return [plain(line) for line in found]


def _write(path: Path, text: str) -> None:
    """The whole file or nothing of it, with the rights it had, and through links."""
    if str(path) == STANDARD_INPUT:
        raise InputError("OMG-X001", "standard input cannot be written anew", advice="leave --write out")
    path = path.resolve()
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, file.name)
        Path(file.name).replace(path)
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be written: {(error.strerror or type(error).__name__).lower()}") from error


@poml.command()
@click.argument("target")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="as a flowchart in Mermaid's language, for pages and pull requests")
@click.option("--document", "as_document", is_flag=True, help="as a document: what a flow written in Python would be")
@common
@click.pass_obj
def show(session: Session, target: str, as_mermaid: bool, as_document: bool) -> Answer:
    """Draw a workflow. TARGET is a document, of which nothing is loaded, or what `omega run` takes, of which the flow is."""
    document = _document(target)
    if as_mermaid:
        lines = draw.mermaid(document).splitlines()
    elif as_document:
        lines = document.text.splitlines()
    else:
        lines = [plain(line) for line in draw.tree(document)]
    return Answer(draw.data_of(document) | {"mermaid": draw.mermaid(document), "text": document.text}, lines)


def _document(target: str) -> documents.Document:
    if target == STANDARD_INPUT or target.endswith(SUFFIX):
        return documents.parse(_read(target), name=target)
    return documents.from_flow(load_target(target).flow)


@poml.command()
@click.argument("before")
@click.argument("after")
@common
@click.pass_obj
def diff(session: Session, before: str, after: str) -> Answer:
    """Say what changed between two documents, by structure; exit 1 when something did.

    Order of nodes, layout and comments do not count. One of the two may be - for standard input:
    git show HEAD:FILE | omega poml diff - FILE
    """
    if before == after == STANDARD_INPUT:
        raise InputError("OMG-X001", "only one of the two can come from standard input")
    found = documents.diff(_document(before), _document(after))
    rows = [[change.what, change.path, _change(change)] for change in found]
    document = {"same": not found, "changes": [_record(change) for change in found]}
    return Answer(document, table(rows, indent="") or ["the same"], Exit.FAILED if found else Exit.DONE)


def _record(change: documents.Change) -> dict[str, Any]:
    sides = {"added": ("after",), "removed": ("before",)}.get(change.what, ("before", "after"))
    return {"what": change.what, "path": change.path} | {side: getattr(change, side) for side in sides}


def _change(change: documents.Change) -> str:
    before, after = (documents.one_line(each) for each in (change.before, change.after))
    return {"added": after, "removed": before}.get(change.what, f"{before} -> {after}")


@poml.command()
@click.argument("target")
@click.option(
    "--runs", type=click.IntRange(1, 10_000), default=RUNS, show_default=True, help="how many executions to look at, the newest first"
)
@click.option("--prices", type=click.Path(path_type=Path), metavar="FILE", help="what models cost (else prices.json in the data folder)")
@common
@click.pass_obj
def estimate(session: Session, target: str, runs: int, prices: Path | None) -> Answer:
    """Say what a run will probably take and cost, from what is recorded: average and 95th percentile, per step and in all.

    TARGET is what `omega run` takes. What is not known is named; it never counts as nothing.
    """
    flow = load_target(target).flow
    found, listed = estimated(flow, session.home, runs=runs, prices=prices)
    head = f"{flow.name} {flow.version}   {_basis(found)}"
    lines = [head, *_steps(found, listed), *_totals(found, listed), *_doubts(found, listed)]
    document = {"flow": flow.name, "version": flow.version, "currency": listed.currency, "prices_as_of": listed.as_of or None}
    return Answer(document | asdict(found), lines)


def _basis(found: Estimate) -> str:
    if found.measured:
        return f"from {count(found.runs, 'whole run')}   confidence {found.confidence}"
    return f"put together from its steps, {count(found.runs, 'whole run')} recorded   confidence {found.confidence}"


def _steps(found: Estimate, listed: Prices) -> list[str]:
    rows = [["step", "samples", "per run", "attempts", "takes", "p95", "tokens", "cost", ""]]
    rows += [_row(step, listed) for step in found.steps]
    return table(rows, right=range(1, 8))


def _row(step: Expected, listed: Prices) -> list[str]:
    took = step.took_s
    tokens = f"{step.tokens.average:,.0f}" if step.tokens is not None else "?"
    return [
        step.name,
        str(took.samples if took is not None else 0),
        f"{step.per_run:.2f}",
        f"{step.attempts:.2f}",
        seconds(took.average) if took is not None else "?",
        seconds(took.p95) if took is not None else "?",
        tokens,
        money(round(step.cost_micros.average), listed.currency) if step.cost_micros is not None else "unpriced",
        "" if took is not None else "no history",
    ]


def _totals(found: Estimate, listed: Prices) -> list[str]:
    def priced(amount: float) -> str:
        return money(round(amount), listed.currency)

    lacking = not found.measured and any(step.tokens is None and step.per_run for step in found.steps)
    rows = [
        ["takes", *_side(found.took_s, seconds, AT_LEAST if found.unknown and not found.measured else "", "unknown")],
        ["tokens", *_side(found.tokens, lambda each: f"{each:,.0f}", AT_LEAST if lacking else "", "unknown")],
        ["costs", *_side(found.cost_micros, priced, AT_LEAST if found.unpriced else "", "unpriced")],
    ]
    return table(rows)


def _side(side: Spread | None, shown: Callable[[float], str], least: str, nothing: str) -> Sequence[str]:
    if side is None:
        return (nothing,)
    width = f"+- {shown(side.width)}" if side.width is not None else "width unknown"
    return (f"{least}{shown(side.average)}", f"p95 {shown(side.p95)}", width)


def _doubts(found: Estimate, listed: Prices) -> list[str]:
    said = [
        ("no history", found.unknown, "run them once"),
        ("unpriced", found.unpriced, "list their models' prices: --prices FILE"),
        ("assumed", found.assumed, "how often these branches and repetitions are taken is not recorded"),
    ]
    lines = [f"  {word}: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}   ({why})" for word, names, why in said if names]
    return lines + ([f"  prices as of {listed.as_of}"] if listed.as_of else [])


def _read(file: str) -> bytes:
    if file != STANDARD_INPUT:
        return read_bytes(Path(file))
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError("OMG-I002", f"byte {error.start} of the document is no UTF-8") from error
