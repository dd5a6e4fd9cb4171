"""`omega policy show`, `check` and `explain`; what changes policies is in `changes`."""

from __future__ import annotations

from pathlib import Path

import click

from omega.cli.changes import deny, dry_run, enact, history, list_packs, rollback, schema, try_tests, use
from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, count, fields, paint, plain, table
from omega.host.account import moment
from omega.host.explaining import Explained, examine_files, explain_step, in_force
from omega.host.reading import Archive
from omega.host.settings import Settings
from omega.kernel.errors import StorageError


@click.group()
def policy() -> None:
    """Show, check, test, change and roll back policies; explain decisions."""


@policy.command()
@common
@click.pass_obj
def show(session: Session) -> Answer:
    """Show the policies in force, the default set and your own, with file and line."""
    folder = Settings.load(session.home).policies
    try:
        with Archive.open(session.home) as archive:
            found, problems = in_force(folder, archive.reader)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        found, problems = in_force(folder)
    lines: list[str] = []
    for rule in found:
        lines += [*([""] if lines else []), f"{rule.where}   {rule.id}   {'permit' if rule.permits else 'forbid'}"]
        lines += [f"  {plain(line)}" for line in rule.text.splitlines()]
    lines += [f"{paint('fail')}   {problem.where}   {plain(problem.text)}" for problem in problems if problem.severity == "error"]
    sound = not any(problem.severity == "error" for problem in problems)
    document = {
        "folder": str(folder),
        "sound": sound,
        "policies": [
            {"id": rule.id, "file": rule.file, "line": rule.line, "permits": rule.permits, "reason": rule.reason, "text": rule.text}
            for rule in found
        ],
        "problems": [problem.record() for problem in problems],
    }
    return Answer(document, lines, Exit.DONE if sound else Exit.FAILED)


@policy.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@common
@click.pass_obj
def check(session: Session, files: tuple[Path, ...]) -> Answer:
    """Check the policies in force and run the tests beside them; with FILES, those together with the default set."""
    folder = Settings.load(session.home).policies
    try:
        with Archive.open(session.home) as archive:
            found = examine_files(folder, files, archive.reader)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        found = examine_files(folder, files)
    rows = [[problem.severity if problem.severity != "error" else "fail", problem.where, problem.text] for problem in found.problems]
    lines = []
    for row, problem in zip(table(rows, indent=""), found.problems, strict=True):
        lines.append(row)
        if problem.advice and problem.severity != "note":
            lines.append(f"      do  {plain(problem.advice)}")
    said = f"{count(found.policies, 'policy')}   {count(found.cases, 'case')}".replace("policys", "policies")
    lines.append(f"{paint('ok' if found.sound else 'fail')}   {said}   {folder if not files else ', '.join(map(str, files))}")
    document = {
        "sound": found.sound,
        "policies": found.policies,
        "cases": found.cases,
        "unexercised": list(found.unexercised),
        "digest": found.digest,
        "problems": [problem.record() for problem in found.problems],
    }
    return Answer(document, lines, Exit.DONE if found.sound else Exit.FAILED)


@policy.command()
@click.argument("decision", metavar="ID[/STEP]")
@common
@click.pass_obj
def explain(session: Session, decision: str) -> Answer:
    """Explain the decision about a step (or, without STEP, about the start of an execution): the rule, its text, how to ask."""
    with Archive.open(session.home) as archive:
        found = explain_step(archive, decision)
    return Answer(_document(found), _lines(found))


for each in (schema, list_packs, use, enact, deny, history, rollback, dry_run, try_tests):
    policy.add_command(each)


def _document(found: Explained) -> dict[str, object]:
    return {
        "execution": found.execution,
        "step": found.step,
        "flow": found.flow,
        "effect": found.effect,
        "principal": found.principal,
        "recorded": dict(found.recorded),
        "rules": [{"id": rule.id, "where": rule.where, "text": rule.text} for rule in found.rules],
        "today": None if found.today is None else found.today.record(),
        "changed": found.changed,
        "incomplete": found.incomplete,
        "asked_at": moment(found.at_us),
    }


def _lines(found: Explained) -> list[str]:
    verdict = found.recorded
    word = {"deny": "denied", "allow": "allowed", "needs": "waiting"}.get(str(verdict.get("decision")), "not asked")
    lines = fields(
        [
            (word, f"{found.flow}   {found.effect if found.step else 'start'}   asked by {found.principal}"),
            ("rule", f"{', '.join(verdict.get('policies', ()))}   {verdict.get('where', '')}"),
            ("because", str(verdict.get("reason", ""))),
            *(("error", str(error)) for error in verdict.get("errors", ())),
            ("to ask", str(verdict.get("how", "")).replace("STEP", found.step)),
        ]
    )
    for rule in found.rules:
        lines += ["", f"{rule.where}", *(f"  {plain(line)}" for line in rule.text.splitlines())]
    today = found.today
    if today is not None:
        same = "the same" if not found.changed else f"otherwise: {today.verdict['decision']}"
        lines += ["", f"today the policies answer {same}"]
        if found.changed:
            lines += [f"  {line}" for line in str(today).splitlines()]
        elif today.considered:
            rows = [
                [entry.policy.id, "permit" if entry.policy.permits else "forbid", "matches" if entry.matched else "-", entry.policy.where]
                for entry in today.considered
            ]
            lines += table(rows)
    return [*lines, *([f"  {found.incomplete}"] if found.incomplete else [])]
