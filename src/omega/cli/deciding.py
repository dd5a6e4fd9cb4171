"""Commands by which a person decides: `approve`, `resolve`, `signal`, `cancel`. They reach a live engine through its inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.commands import about_execution, common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, plain
from omega.host.deciding import Decided, decide
from omega.host.inputs import read_value
from omega.kernel.errors import InputError

PAST_TENSE = {"approve": "approved", "resolve": "resolved", "signal": "sent", "cancel": "cancelled"}


@click.command()
@about_execution
@click.argument("step", required=False, default="")
@common
@click.pass_obj
def approve(session: Session, execution: str, step: str) -> Answer:
    """Approve a step that waits for a person. STEP may be left out when only one waits."""
    return _decide(session, execution, "approve", {"step": step}, resumable=True)


@click.command()
@about_execution
@click.argument("step", required=False, default="")
@click.option("--done", metavar="VALUE", help="it happened: VALUE (JSON, else a text) is its result")
@click.option("--not-done", is_flag=True, help="it did not happen: it is done when the execution is resumed")
@common
@click.pass_obj
def resolve(session: Session, execution: str, step: str, done: str | None, not_done: bool) -> Answer:
    """Say what became of a step in doubt. STEP may be left out when only one is."""
    if (done is None) != not_done:
        raise InputError("OMG-X001", "say what happened: either --done VALUE or --not-done", advice="omega resolve --help")
    body = {"step": step, "done": not not_done, "value": None if done is None else read_value(done)}
    return _decide(session, execution, "resolve", body, resumable=True)


@click.command("signal")
@about_execution
@click.argument("name")
@click.argument("value", required=False, default="null")
@common
@click.pass_obj
def signal(session: Session, execution: str, name: str, value: str) -> Answer:
    """Send VALUE (JSON, else a text) to an execution that waits, or will wait, for the signal NAME."""
    return _decide(session, execution, "signal", {"name": name, "value": read_value(value)}, resumable=True, what=name)


@click.command()
@about_execution
@common
@click.pass_obj
def cancel(session: Session, execution: str) -> Answer:
    """End an execution. A write under way is waited for, because half a write is a doubt."""
    return _decide(session, execution, "cancel", {}, resumable=False)


def _decide(session: Session, execution: str, verb: str, body: Mapping[str, Any], *, resumable: bool, what: str = "") -> Answer:
    found = asyncio.run(decide(session.home, execution, verb, body))
    document = {
        "execution": execution,
        "step": found.step,
        "verb": verb,
        "by": found.by,
        "through": found.through,
        "recorded": found.recorded,
        "status": found.status,
    }
    if not found.recorded:
        lines = [f"the letter is in the inbox, and not carried out yet   {execution}", f"to see  omega show {execution}"]
        return Answer(document, lines, Exit.WAITING)
    lines = [_told(found, what)]
    if resumable and found.status != "running":
        lines.append(f"do  omega resume {execution}")
    return Answer(document, lines)


def _told(found: Decided, what: str) -> str:
    parts = (PAST_TENSE[found.verb], found.execution, plain(found.step or what), f"by {found.by}")
    return "   ".join(part for part in parts if part)
