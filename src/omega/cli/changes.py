"""`omega policy ...` where something is changed or tried: packs, versions, a prohibition in one line, dry runs, how good the tests are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, ago, count, paint, plain, table
from omega.host.asking import keep
from omega.host.policy import INSTALLATION, POLICY, Enacted, enacted, read_files, versions
from omega.host.reading import Archive
from omega.host.rehearsing import LAST, MAX_LAST
from omega.host.ruling import files_to_try, following, offered, prohibition, trial, tried, with_pack
from omega.host.ruling import schema as schema_text
from omega.host.settings import Settings
from omega.kernel.errors import InputError, StorageError

SHOWN = 20
"""Changes, survivors and conditions that are listed to a person; `--json` has all of them."""

for_owner = click.option("--tenant", "owner", metavar="NAME", default=INSTALLATION, help="a tenant's own policies, which can only forbid")


@click.command("schema")
@common
@click.pass_obj
def schema(session: Session) -> Answer:
    """Print the schema: everything that a policy may speak of."""
    text = schema_text()
    return Answer({"schema": text}, text.rstrip().splitlines())


@click.command("packs")
@common
@click.pass_obj
def list_packs(session: Session) -> Answer:
    """List the packs that ship, and which of them are in force."""
    found = offered(_newest(session.home, INSTALLATION))
    return Answer({"packs": found}, table([[each["name"], each["version"], _state(each), each["summary"]] for each in found], indent=""))


@click.command("use")
@click.argument("name")
@click.option("--drop", is_flag=True, help="use it no more")
@common
@click.pass_obj
def use(session: Session, name: str, drop: bool) -> Answer:
    """Put the pack NAME into force, or take it out again."""
    made = _enact(session.home, INSTALLATION, with_pack(_newest(session.home, INSTALLATION), name, drop=drop))
    return Answer(made.record(), [f"version {made.version}   {made.note}"])


@click.command("enact")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--note", default="", metavar="TEXT", help="why")
@for_owner
@common
@click.pass_obj
def enact(session: Session, files: tuple[Path, ...], note: str, owner: str) -> Answer:
    """Put policy files (and their tests) into force, in place of those of the same names; everything is checked before."""
    newest = _newest(session.home, owner)
    made = _enact(session.home, owner, following(newest, {**newest.files, **read_files(files)}, note or count(len(files), "file")))
    return Answer(made.record(), [f"version {made.version}   {made.note}   {owner}"])


@click.command("deny")
@click.argument("target", metavar="FLOW|SERVER/TOOL|SERVER/*")
@click.option("--for", "whom", metavar="agents|agent:NAME|everybody", default="agents", show_default=True, help="for whom")
@click.option("--reason", default="", metavar="TEXT", help="why, in one sentence")
@for_owner
@common
@click.pass_obj
def deny(session: Session, target: str, whom: str, reason: str, owner: str) -> Answer:
    """Forbid a flow, a tool or a whole server: writes a few readable lines and a test, tries them, puts them into force."""
    newest = _newest(session.home, owner)
    name, text, cases = prohibition(target, whom, reason)
    files = {**newest.files, f"{name}.cedar": text, f"{name}.test.yaml": cases}
    made = _enact(session.home, owner, following(newest, files, f"deny {target}"))
    return Answer(made.record(), [*(f"  {plain(line)}" for line in text.splitlines()), "", f"version {made.version}   in force"])


@click.command("history")
@for_owner
@common
@click.pass_obj
def history(session: Session, owner: str) -> Answer:
    """List the versions, the newest first."""
    try:
        with Archive.open(session.home) as archive:
            found, now = versions(archive.reader, owner), archive.world.clock.now_us()
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        found, now = [], 0
    rows = [[f"{each.version}", ago(each.at_us, now), count(len(each.cedar), "file"), ", ".join(each.packs), each.note] for each in found]
    return Answer({"versions": [each.record() for each in found]}, table(rows, indent="") or ["nothing was enacted"])


@click.command("rollback")
@click.argument("version", type=int)
@for_owner
@common
@click.pass_obj
def rollback(session: Session, version: int, owner: str) -> Answer:
    """Put an earlier VERSION into force again, as a new one; 0 is the state before anything was enacted."""
    with Archive.open(session.home) as archive:
        found = versions(archive.reader, owner)
    meant = next((each for each in found if each.version == version), Enacted() if version == 0 else None)
    if meant is None or not found:
        raise InputError("OMG-X001", f"{owner} has no version {version} that is kept", advice="omega policy history")
    made = _enact(session.home, owner, following(found[0], meant.files, f"rolled back to {version}", meant.packs))
    return Answer(made.record(), [f"version {made.version}   {made.note}"])


@click.command("dry-run")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--last", type=click.IntRange(1, MAX_LAST), default=LAST, show_default=True, help="decisions on record that are asked again")
@for_owner
@common
@click.pass_obj
def dry_run(session: Session, files: tuple[Path, ...], last: int, owner: str) -> Answer:
    """Say what would have changed: ask the policies in force together with FILES about decisions that are on record."""
    with Archive.open(session.home) as archive:
        found = tried(archive, owner, files, last=last)
    rows = []
    for each in found.changes[:SHOWN]:
        where, turn = f"{each.execution}/{each.step}".rstrip("/"), f"{each.now.decision.value} -> {each.then.decision.value}"
        rows.append([where, each.flow, each.principal, turn, ", ".join(each.then.policies)])
    more = len(found.changes) - len(rows)
    lines = [*table(rows, indent=""), *([f"and {more} more"] if more > 0 else [])]
    lines += [f"{number:>6}   {name}" for name, number in found.by_policy.items()]
    lines.append(f"{count(len(found.changes), 'change')} in {count(found.asked, 'decision')} of {count(found.executions, 'execution')}")
    document = {"asked": found.asked, "executions": found.executions, "unreadable": found.unreadable, "by_policy": found.by_policy}
    return Answer(document | {"changes": [each.record() for each in found.changes]}, lines)


@click.command("test")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--coverage", is_flag=True, help="which policies decided, which conditions always came out the same way")
@click.option("--mutate", is_flag=True, help="put one small mistake after the other into the policies, and see whether a case notices")
@common
@click.pass_obj
def try_tests(session: Session, files: tuple[Path, ...], coverage: bool, mutate: bool) -> Answer:
    """Run the cases, and say how good they are. With FILES, those together with the default set; else what is in force, or the default set
    where nothing in force has cases."""
    given = files_to_try(Settings.load(session.home).policies, _newest(session.home, INSTALLATION), files)
    found = trial(given, about=[path.name for path in files if path.suffix == ".cedar"], coverage=coverage, mutate=mutate)
    wrong = [problem for problem in found.examination.problems if problem.severity == "error"]
    lines = [f"{paint('fail')}   {problem.where}   {plain(problem.text)}" for problem in wrong]
    document: dict[str, Any] = {"cases": found.examination.cases, "problems": [problem.record() for problem in wrong]}
    if found.coverage is not None:
        idle = [name for name, number in found.coverage.decided.items() if not number]
        one_sided = found.coverage.one_sided
        lines += [f"never decided   {name}" for name in idle]
        lines += [f"always {'fails' if not each.held else 'holds'}   {each.place}   {each.policy.where}" for each in one_sided]
        document |= {"decided": dict(found.coverage.decided), "one_sided": [each.place for each in one_sided]}
    if found.mutation is not None:
        survived = found.mutation.survived
        lines += [f"survived   {each.policy.id}   {each.mistake}   {each.policy.where}" for each in survived[:SHOWN]]
        lines.append(f"mutation   {found.mutation.score:.0%} of {count(found.mutation.mutants, 'mistake')} noticed")
        told = [{"policy": each.policy.id, "mistake": each.mistake} for each in survived]
        document |= {"mutants": found.mutation.mutants, "score": round(found.mutation.score, 4), "survived": told}
    lines.append(f"{paint('fail' if wrong else 'ok')}   {count(found.examination.cases, 'case')}")
    return Answer(document, lines, Exit.FAILED if wrong else Exit.DONE)


def _newest(home: str | None, owner: str) -> Enacted:
    """The newest version; version 0 where nothing is recorded yet."""
    try:
        with Archive.open(home) as archive:
            return enacted(archive.reader, owner)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        return Enacted()


def _enact(home: str | None, owner: str, made: Enacted) -> Enacted:
    asyncio.run(keep(home, POLICY, owner, made.record()))
    return made


def _state(offer: Mapping[str, Any]) -> str:
    if offer["used"] is None:
        return "-"
    return "in force" if offer["used"] == offer["version"] else f"in force as {offer['used']}"
