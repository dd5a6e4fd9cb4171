"""`omega run --queue`: line an execution up for the workers instead of running it here, and wait for it where that is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import click

from omega.cli.exits import Exit, exit_of
from omega.cli.output import Answer, Session, error_lines, note, paint, plain, seconds, value_lines
from omega.host.account import moment
from omega.host.asking import enqueue
from omega.host.inputs import read_duration
from omega.host.orders import Placing, Wanted
from omega.host.outlook import stands
from omega.host.queues import queue_name
from omega.host.reading import Archive
from omega.host.searching import read_label, read_moment
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.runtime.recovery import read_outcome

POLL_S = 0.1
"""How often an execution that is waited for is looked at: one cheap read."""

_OPTIONS = ("queue", "key", "priority", "delay", "start_at", "labels", "wait")


def placing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where an execution lines up."""
    for option in (
        click.option("--wait", is_flag=True, help="with --queue: wait for its end, and tell it"),
        click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="with --queue: a label to find it by; may be repeated"),
        click.option("--at", "start_at", metavar="TIME", help="with --queue: not before that moment (2026-11-21T06:00Z)"),
        click.option("--in", "delay", metavar="TIME", help='with --queue: not before so long from now ("10m")'),
        click.option("--priority", type=int, default=0, help="with --queue: -100 to 100, higher goes first"),
        click.option("--key", default="", metavar="KEY", help="with --queue: its partition, for limits per key"),
        click.option("--queue", metavar="NAME", help="line it up for the workers of that queue instead of running it here"),
    ):
        command = option(command)
    return command


def read_placing(given: dict[str, Any]) -> tuple[Placing | None, bool]:
    """Where an execution lines up (None: it runs here) and whether it is waited for; takes the options out of `given`.

    Raises InputError (OMG-X001) for options that have no meaning without a queue.
    """
    options = {name: given.pop(name) for name in _OPTIONS}
    if options["queue"] is None:
        named = next((name for name in ("delay", "start_at", "key", "priority", "labels", "wait") if options[name]), None)
        if named is not None:
            option = {"delay": "in", "start_at": "at", "labels": "label"}.get(named, named)
            raise InputError("OMG-X001", f"--{option} is for what lines up", advice=f"add --queue NAME, or leave --{option} out")
        return None, False
    if options["delay"] and options["start_at"]:
        raise InputError("OMG-X001", "say either --in or --at")
    now_us = time.time_ns() // 1_000
    due_us = 0
    if options["delay"]:
        due_us = now_us + int((read_duration(options["delay"]) or 0.0) * 1_000_000)
    elif options["start_at"]:
        due_us = read_moment(options["start_at"], now_us, sign=1)
    placing = Placing(
        queue=queue_name(options["queue"]),
        key=options["key"],
        priority=options["priority"],
        due_us=due_us,
        labels=dict(read_label(text) for text in options["labels"]),
    )
    return placing, options["wait"]


def line_up(session: Session, wanted: Wanted, *, wait: bool) -> Answer:
    """Line it up, tell its id, and wait for its end where that is asked."""
    placing = wanted.placing
    assert placing is not None  # noqa: S101 - the caller has looked
    execution = asyncio.run(enqueue(session.home, wanted))
    session.execution = execution
    flow = wanted.target.flow
    facts = {"execution": execution, "flow": flow.name, "version": flow.version, "target": wanted.target.text, "queue": placing.queue}
    when = f"from {moment(placing.due_us)}" if placing.due_us else ""
    said = "   ".join(part for part in (paint("queued"), execution, f"{flow.name} {flow.version}", f"in {placing.queue}", when) if part)
    if not wait:
        document = facts | {"status": str(Status.QUEUED), "due": moment(placing.due_us), "value": None, "error": None}
        return Answer(document, [said, f"to see  omega show {execution}"])
    note(said)
    return _awaited(session, execution, facts)


def _awaited(session: Session, execution: str, facts: dict[str, Any]) -> Answer:
    """How it ended, or that it stands still for somebody; Ctrl-C stops only the waiting."""
    began = time.monotonic()
    with Archive.open(session.home) as archive:
        while not stands(archive, execution):
            time.sleep(POLL_S)
        outcome = read_outcome(archive.world, execution)
    status = Status(outcome.status)
    document = facts | {"status": str(status), "value": outcome.value, "error": None if outcome.error is None else dict(outcome.error)}
    if outcome.error is not None:
        return Answer(document, error_lines(outcome.error, execution), exit_of(outcome.error, started=True))
    told = f"{paint(str(status))}   {plain(execution)}   {seconds(time.monotonic() - began)}"
    if status is Status.DONE:
        return Answer(document, [*value_lines(outcome.value), told])
    exits = {Status.IN_DOUBT: Exit.IN_DOUBT, Status.WAITING: Exit.WAITING}
    return Answer(document, [told, f"to see  omega show {execution}"], exits.get(status, Exit.FAILED))
