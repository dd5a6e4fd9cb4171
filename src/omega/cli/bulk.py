"""What `cancel`, `redrive` and `resume` share where they are about everything that a search finds: preview, question, progress, results."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import click

from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, count, note, paint, plain, table
from omega.cli.searching import rows_of
from omega.host.account import summary
from omega.host.bulk import Result, carry_out, found
from omega.host.reading import Archive
from omega.host.searching import FIELDS, read_search, read_where
from omega.kernel.errors import InputError

SHOWN = 10
"""Executions that a preview shows one by one."""

EVERY = 100
"""How many executions lie between two words about progress."""


def many_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ID or a search: `--where`, repeated, and `--yes`."""
    for option in (
        click.option("--yes", is_flag=True, help="with --where: do not ask"),
        click.option("--where", multiple=True, metavar="FIELD=VALUE", help=f"all that match; fields: {', '.join(FIELDS)}; may be repeated"),
        click.argument("execution", metavar="[ID]", required=False, default="", callback=_remember),
    ):
        command = option(command)
    return command


def one_or_many(execution: str, where: Sequence[str]) -> bool:
    """Whether a command is about many. Raises InputError (OMG-X001) when neither or both are named."""
    if bool(execution) == bool(where):
        raise InputError("OMG-X001", "say which: either ID, or --where FIELD=VALUE")
    return bool(where)


def decide_many(session: Session, verb: str, where: Sequence[str], *, yes: bool) -> Answer:
    """Show what matches, ask, carry it out, and tell what came of each."""
    with Archive.open(session.home) as archive:
        now = archive.world.clock.now_us()
        search = read_search(read_where(where), now_us=now)
        lines = found(archive, verb, search)
        told = [summary(line, in_hands=archive.in_hands(line)) for line in lines]
    preview = rows_of(told[:SHOWN], now) + ([f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else [])
    if not lines:
        return Answer({"verb": verb, "matched": 0, "results": []}, [f"nothing to {verb} matches"])
    if not yes and (session.json or not asked(preview, f"{verb} {count(len(lines), 'execution')}?")):
        document = {"verb": verb, "matched": len(lines), "results": [], "runs": told[:SHOWN]}
        return Answer(document, ["nothing was done"], Exit.USAGE)
    results = asyncio.run(carry_out(session.home, verb, [line.execution for line in lines], _progress))
    return _told(verb, results)


def asked(preview: Sequence[str], question: str) -> bool:
    """Show what it is about, and ask; no where nobody is there to ask."""
    for line in preview:
        note(line)
    if not sys.stdin.isatty():
        note(f"{question} nobody is there to ask: add --yes")
        return False
    return click.confirm(question, err=True)


def _progress(done: int, of: int) -> None:
    if done % EVERY == 0 and done < of:
        note(f"  ... {done:,} of {of:,}")


def _told(verb: str, results: Sequence[Result]) -> Answer:
    failed = [result for result in results if result.error is not None]
    states = Counter(result.status for result in results if result.error is None)
    rows = [[result.execution, str(result.error["code"]), plain(str(result.error.get("cause", "")))] for result in failed if result.error]
    said = [f"{number:,} {state}" for state, number in sorted(states.items())]
    lines = [
        *table(rows[:SHOWN], indent=""),
        *([f"and {len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else []),
        "   ".join([paint("done" if not failed else "failed"), f"{verb} {len(results) - len(failed):,} of {len(results):,}", *said]),
    ]
    document = {
        "verb": verb,
        "matched": len(results),
        "done": len(results) - len(failed),
        "failed": len(failed),
        "results": [result.record() for result in results],
    }
    return Answer(document, lines, Exit.FAILED if failed else Exit.DONE)


def _remember(ctx: click.Context, _: click.Parameter, value: str) -> str:
    session = ctx.find_object(Session)
    if session is not None and value:
        session.execution = value
    return value
