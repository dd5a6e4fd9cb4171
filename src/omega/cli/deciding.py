"""Commands by which a person decides, and how each is told. They reach a live engine through its inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.bulk import decide_many, many_options, one_or_many
from omega.cli.commands import about_execution, anywhere, common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, plain
from omega.host.answering import read_answer
from omega.host.bulk import carry_out
from omega.host.confirming import page_for
from omega.host.deciding import Decided, decide
from omega.host.inputs import read_value
from omega.kernel.errors import InputError, from_record
from omega.kernel.journal import Status

PAST_TENSE = {"approve": "approved", "answer": "answered", "resolve": "resolved", "signal": "sent", "cancel": "cancelled"}


@click.command()
@about_execution
@click.argument("step", required=False, default="")
@click.option("--code", default="", metavar="CODE", help="the code of your authenticator app, for a step that demands a second factor")
@anywhere
@click.pass_obj
def approve(session: Session, execution: str, step: str, code: str) -> Answer:
    """Approve a step that waits for a person. STEP may be left out when only one waits.

    A step that takes a passkey is approved in a browser: the address of its page is printed.
    """
    page = None if code or session.there is not None else page_for(session.home, execution, step)
    if page is not None:
        document = {"execution": execution, "step": step, "verb": "approve", "recorded": False, "page": page}
        where = f"approve it with a passkey  {plain(page)}" if page else "approve it with a passkey: start omega up, then do this again"
        return Answer(document, [where, f"to sign in there  omega mfa page {execution}"], Exit.WAITING)
    return _decide(session, execution, "approve", {"step": step} | ({"code": code} if code else {}), resumable=True)


@click.command()
@about_execution
@click.argument("step", required=False, default="")
@click.option("--input", "given", multiple=True, metavar="KEY=VALUE", help="one field of the form, or its one value; repeat it")
@click.option("--input-json", "whole", metavar="JSON|@FILE", help="the whole answer as JSON, or a file that holds it")
@anywhere
@click.pass_obj
def answer(session: Session, execution: str, step: str, given: tuple[str, ...], whole: str | None) -> Answer:
    """Fill in the form that a step waits for; `omega show ID --json` has its schema. STEP may be left out when only one waits."""
    if session.there is not None:
        from omega.cli import there

        value = there.read_answer(session, session.there, execution, step, given, whole)
    else:
        value = read_answer(session.home, execution, step, given, whole)
    return _decide(session, execution, "answer", {"step": step, "value": value}, resumable=True)


@click.command()
@about_execution
@click.argument("step", required=False, default="")
@click.option("--done", metavar="VALUE", help="it happened: VALUE (JSON, else a text) is its result")
@click.option("--not-done", is_flag=True, help="it did not happen: it is done when the execution is resumed")
@anywhere
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
@anywhere
@click.pass_obj
def signal(session: Session, execution: str, name: str, value: str) -> Answer:
    """Send VALUE (JSON, else a text) to an execution that waits, or will wait, for the signal NAME."""
    return _decide(session, execution, "signal", {"name": name, "value": read_value(value)}, resumable=True, what=name)


@click.command()
@many_options
@anywhere
@click.pass_obj
def cancel(session: Session, execution: str, *, where: tuple[str, ...], yes: bool) -> Answer:
    """End an execution, or all that match --where. A write under way is waited for, because half a write is a doubt."""
    if one_or_many(execution, where):
        if session.there is not None:
            raise InputError("OMG-X001", "--where is for this machine: elsewhere one is cancelled at a time", advice="omega cancel ID")
        return decide_many(session, "cancel", where, yes=yes)
    return _decide(session, execution, "cancel", {}, resumable=False)


@click.command()
@many_options
@common
@click.pass_obj
def redrive(session: Session, execution: str, *, where: tuple[str, ...], yes: bool) -> Answer:
    """Try again what was given up, or what failed: the first goes on where it stands, the second as a fork before the step that failed."""
    if one_or_many(execution, where):
        return decide_many(session, "redrive", where, yes=yes)
    (result,) = asyncio.run(carry_out(session.home, "redrive", [execution], lambda done, of: None))
    if result.error is not None:
        raise from_record(result.error)
    going_on = result.made or execution
    return Answer({"verb": "redrive", **result.record()}, [f"redriven   {going_on}{f'   in place of {execution}' if result.made else ''}"])


def _decide(session: Session, execution: str, verb: str, body: Mapping[str, Any], *, resumable: bool, what: str = "") -> Answer:
    found = _decided(session, execution, verb, body)
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
    if verb == "cancel" and found.status == Status.WAITING:
        lines[0] += "   and to be undone first"
    if session.there is None and (resumable or found.status == Status.WAITING) and found.status != Status.RUNNING and not found.queue:
        lines.append(f"do  omega resume {execution}")
    return Answer(document, lines)


def _decided(session: Session, execution: str, verb: str, body: Mapping[str, Any]) -> Decided:
    if session.there is None:
        return asyncio.run(decide(session.home, execution, verb, body))
    from omega.cli import there

    return there.decide(session, session.there, execution, verb, body)


def _told(found: Decided, what: str) -> str:
    parts = (PAST_TENSE[found.verb], found.execution, plain(found.step or what), f"by {found.by}")
    return "   ".join(part for part in parts if part)
