"""`omega schedule`: flows that are started when a timing says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, fields, paint, plain, table
from omega.host.account import moment
from omega.host.identity import Caller
from omega.host.inputs import read_budget, read_duration, read_input
from omega.host.orders import Placing
from omega.host.planning import Plan, Standing, add, all_standing, pause, remove, standing
from omega.host.queues import queue_name
from omega.host.reading import Archive
from omega.host.searching import read_label, read_moment
from omega.host.targets import load_target
from omega.kernel.calendars import Calendar, CatchUp, Closed, Overlap, Timing
from omega.kernel.queueing import DEFAULT

MAX_UPCOMING = 100
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@click.group()
def schedule() -> None:
    """Add, list, show, pause, resume and remove schedules."""


def _timing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--jitter", metavar="TIME", help="spread the starts over so long"),
        click.option("--until", metavar="MOMENT", help="not from then on"),
        click.option("--from", "start", metavar="MOMENT", help="not before"),
        click.option(
            "--closed", type=click.Choice([each.value for each in Closed]), default="skip", show_default=True, help="on closed days"
        ),
        click.option("--holiday", "holidays", multiple=True, metavar="DAY", help="closed: 2026-12-24, 2026-12-24..2027-01-01, or 12-25"),
        click.option("--days", metavar="DAYS", help='open days of the week: "mon-fri", "mon,wed"'),
        click.option("--zone", default="UTC", show_default=True, metavar="ZONE", help="time zone of the expression and of days"),
        click.option("--at", metavar="MOMENT", help="once, at that moment"),
        click.option("--every", metavar="TIME", help='again and again: "10m"'),
        click.option("--cron", metavar="EXPRESSION", help='"0 6 * * mon-fri", with seconds in front, or @daily'),
    ):
        command = option(command)
    return command


def _start_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--timeout", metavar="TIME", help="longest time for each run"),
        click.option("--budget", multiple=True, metavar="AMOUNT", help='ceiling of each run: "1.00 USD", "5000 tokens", "20 calls"'),
        click.option(
            "--overlap", type=click.Choice([each.value for each in Overlap]), default="allow", show_default=True, help="while one runs"
        ),
        click.option(
            "--catch-up", type=click.Choice([each.value for each in CatchUp]), default="last", show_default=True, help="what was missed"
        ),
        click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="a label of each run; may be repeated"),
        click.option("--priority", type=int, default=0, help="-100 to 100, higher goes first"),
        click.option("--key", default="", metavar="KEY", help="its partition, for limits per key"),
        click.option("--queue", default=DEFAULT, show_default=True, metavar="NAME", help="whose workers run it"),
        click.option("--as", "principal", default="", metavar="WHO", help="for agent:NAME or person:NAME instead of yourself"),
        click.option("--input-json", "whole", metavar="JSON", help="the whole input as JSON, or @FILE"),
        click.option("--input", "given", multiple=True, metavar="KEY=VALUE", help="a field of the input; may be repeated"),
    ):
        command = option(command)
    return command


@schedule.command("add")
@click.argument("name")
@click.argument("target")
@_timing_options
@_start_options
@common
@click.pass_obj
def add_schedule(session: Session, /, name: str, target: str, **options: Any) -> Answer:
    """Have TARGET started when --cron, --every or --at says so, in place of an earlier schedule NAME."""
    loaded = load_target(target)
    placing = Placing(
        queue=queue_name(options["queue"]),
        key=options["key"],
        priority=options["priority"],
        labels=dict(read_label(text) for text in options["labels"]),
    )
    plan = Plan(
        name=name,
        timing=_timing(options),
        target=loaded,
        input=read_input(loaded.flow, options["given"], options["whole"]),
        placing=placing,
        caller=Caller(options["principal"]),
        catch_up=CatchUp(options["catch_up"]),
        overlap=Overlap(options["overlap"]),
        budget=read_budget(options["budget"]),
        timeout_s=read_duration(options["timeout"]),
    )
    made = asyncio.run(add(session.home, plan))
    upcoming = list(made.upcoming(made.since_us, 1))
    document = {"schedule": name, "flow": made.flow, "queue": made.queue, "next": [moment(at) for at in upcoming]}
    first = _spoken(upcoming[0], made.timing.zone) if upcoming else "never"
    return Answer(document, [f"{name}   {made.flow}   in {made.queue}   first {first}"])


@schedule.command("list")
@common
@click.pass_obj
def list_schedules(session: Session) -> Answer:
    """List the schedules: when each is due next, and what became of the last time."""
    with Archive.open(session.home) as archive:
        found, problems = all_standing(archive)
    rows = [[each.schedule.name, each.schedule.flow, _when(each.schedule.timing), _next(each), _last(each)] for each in found]
    lines = table(rows, indent="") or ([] if problems else ["nothing is scheduled"])
    lines += [f"{paint('fail')}   {plain(name)}   {error.code} {plain(error.cause)}" for name, error in problems.items()]
    document = {
        "schedules": [each.record() | {"next": [moment(at) for at in each.upcoming]} for each in found],
        "broken": {name: error.record() for name, error in problems.items()},
    }
    return Answer(document, lines)


@schedule.command("show")
@click.argument("name")
@common
@click.pass_obj
def show_schedule(session: Session, name: str) -> Answer:
    """Show one schedule."""
    with Archive.open(session.home) as archive:
        found = standing(archive, name)
    told = found.record() | {"next": [moment(at) for at in found.upcoming]}
    pairs = [
        ("when", _when(found.schedule.timing)),
        ("next", _next(found).removeprefix("next ")),
        ("last", _last(found).removeprefix("last ")),
        ("queue", found.schedule.queue),
        ("by", told["by"]),
        ("catch up", told["catch_up"]),
        ("overlap", f"{told['overlap']}{f', left out {found.progress.left_out} times' if found.progress.left_out else ''}"),
        ("from", found.schedule.target),
    ]
    return Answer(told, [f"{name}   {found.schedule.flow}", *fields(pairs)])


@schedule.command("next")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, MAX_UPCOMING), default=5, show_default=True, help="how many moments")
@common
@click.pass_obj
def next_moments(session: Session, name: str, count: int) -> Answer:
    """Say when a schedule is due next."""
    with Archive.open(session.home) as archive:
        found = standing(archive, name, count)
    lines = [_spoken(at, found.schedule.timing.zone) for at in found.upcoming] or ["never" if not found.schedule.paused else "paused"]
    return Answer({"schedule": name, "next": [moment(at) for at in found.upcoming]}, lines)


@schedule.command("pause")
@click.argument("name")
@common
@click.pass_obj
def pause_schedule(session: Session, name: str) -> Answer:
    """Have a schedule start nothing until it is resumed."""
    asyncio.run(pause(session.home, name, paused=True))
    return Answer({"schedule": name, "paused": True}, [f"{name}   paused"])


@schedule.command("resume")
@click.argument("name")
@common
@click.pass_obj
def resume_schedule(session: Session, name: str) -> Answer:
    """Have a schedule start things again; what it missed is made up for as it says."""
    asyncio.run(pause(session.home, name, paused=False))
    return Answer({"schedule": name, "paused": False}, [f"{name}   resumed"])


@schedule.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_schedule(session: Session, name: str) -> Answer:
    """Forget a schedule; what it started goes on."""
    asyncio.run(remove(session.home, name))
    return Answer({"schedule": name, "removed": True}, [f"{name}   removed"])


def _timing(options: dict[str, Any]) -> Timing:
    now_us = time.time_ns() // 1_000
    closed_days = options["days"] or options["holidays"]
    week = {"weekdays": _days(options["days"])} if options["days"] else {"weekdays": range(7)}
    return Timing(
        cron=options["cron"] or "",
        every_s=_whole_seconds(options["every"]),
        at_us=read_moment(options["at"], now_us, sign=1) if options["at"] else 0,
        zone=options["zone"],
        calendar=Calendar(**week, holidays=options["holidays"]) if closed_days else None,
        closed=Closed(options["closed"]),
        starts_us=read_moment(options["start"], now_us, sign=1) if options["start"] else 0,
        ends_us=read_moment(options["until"], now_us, sign=1) if options["until"] else 0,
        jitter_s=read_duration(options["jitter"]) or 0.0,
    )


def _whole_seconds(text: str | None) -> int:
    seconds = read_duration(text) or 0.0
    if text and (seconds < 1 or seconds % 1):
        raise click.BadParameter(f"{text[:20]!r} is no interval: a schedule counts whole seconds, from 1")
    return int(seconds)


def _days(text: str) -> Sequence[int]:
    """Days of the week (Monday is 0) from "mon-fri" or "mon,wed"."""
    found: list[int] = []
    for part in text.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in WEEK or (last and last not in WEEK):
            raise click.BadParameter(f"{part[:20]!r} names no days: write mon-fri, or mon,wed")
        found += range(WEEK.index(first), WEEK.index(last or first) + 1)
    return sorted(set(found))


def _when(timing: Timing) -> str:
    if timing.cron:
        return f"{timing.cron}{'' if timing.zone == 'UTC' else f' {timing.zone}'}"
    return f"every {timing.every_s} s" if timing.every_s else f"at {moment(timing.at_us)}"


def _next(found: Standing) -> str:
    if found.schedule.paused:
        return "paused"
    return f"next {_spoken(found.upcoming[0], found.schedule.timing.zone)}" if found.upcoming else "never again"


def _last(found: Standing) -> str:
    error = found.progress.error
    if error is not None:
        return f"last time {error['code']} {error.get('cause', '')}"
    return f"last {found.progress.execution}" if found.progress.execution else ""


def _spoken(at_us: int, zone: str) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, ZoneInfo(zone)).isoformat(sep=" ", timespec="seconds")
