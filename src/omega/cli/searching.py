"""Commands that search: `runs` and `dead`; and the options by which a search is told, which the bulk commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from omega.cli.commands import anywhere, common
from omega.cli.output import Answer, Session, ago, seconds, table
from omega.host.account import DENIED, moment_us, standing, summary
from omega.host.reading import Archive
from omega.host.searching import FIELDS, read_search, read_where
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Search

MAX_SHOWN = 10_000

WHERE = f"FIELD=VALUE; fields: {', '.join(FIELDS)}; may be repeated"


def narrowing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a list of executions is narrowed."""
    for option in (
        click.option("--where", "where", multiple=True, metavar="FIELD=VALUE", help=f"the same as pairs ({', '.join(FIELDS)})"),
        click.option("--until", metavar="MOMENT", help="started before: how long ago, or a date"),
        click.option("--since", metavar="MOMENT", help='started since: "2h" ago, "7d", or a date'),
        click.option("--by", metavar="WHO", help="only those started by person:NAME or agent:NAME"),
        click.option("--parent", metavar="ID", help="only children of that execution"),
        click.option("--label", multiple=True, metavar="NAME=VALUE", help="only with that label; may be repeated"),
        click.option("--key", metavar="KEY", help="only of that partition of its queue"),
        click.option("--queue", metavar="NAME", help="only of that queue"),
        click.option("--flow", metavar="NAME", help="only of that flow"),
        click.option(
            "--status", multiple=True, type=click.Choice([status.value for status in Status]), help="only those that stand like this"
        ),
    ):
        command = option(command)
    return command


def search_of(given: dict[str, Any], now_us: int) -> Search:
    """The search that the options of `narrowing` mean; takes them out of `given`. Raises InputError (OMG-X001)."""
    pairs: list[tuple[str, str]] = read_where(given.pop("where", ()))
    for name in ("status", "flow", "queue", "key", "label", "parent", "by", "since", "until"):
        found = given.pop(name, None)
        many: Sequence[str] = found if isinstance(found, tuple) else () if found is None else (found,)
        pairs += [(name, each) for each in many]
    return read_search(pairs, now_us=now_us)


@click.command()
@narrowing
@click.option("--after", metavar="ID", default="", help="the page after that execution: the last one of the page before")
@click.option("--limit", type=click.IntRange(1, MAX_SHOWN), default=20, show_default=True, help="how many, the newest first")
@click.option("--today", is_flag=True, help="started since midnight, by the clock of this machine")
@anywhere
@click.pass_obj
def runs(session: Session, /, after: str, limit: int, today: bool, **given: Any) -> Answer:
    """List and search what is recorded, the newest first."""
    if today:
        given["since"] = _midnight(given["since"])
    now, told, search = _found(session, given, after, limit)
    statuses = f" with status {' or '.join(search.status)}" if search.status else ""
    lines = rows_of(told, now) or [f"nothing is recorded{statuses}"]
    more = str(told[-1]["execution"]) if len(told) == limit else None
    if more is not None:
        lines.append(f"the newest {limit}; more with --limit, or --after {more}")
    return Answer({"runs": told, "next": more}, lines)


def _found(session: Session, given: dict[str, Any], after: str, limit: int) -> tuple[int, list[dict[str, Any]], Search]:
    """The time, what matches, and what was searched for: in the records here, or at a remote installation."""
    if session.there is not None:
        from omega.cli import there

        now = there.now_us()
        search = replace(search_of(given, now), older_than=after, limit=limit)
        return now, there.runs(session, session.there, search), search
    with Archive.open(session.home) as archive:
        now = archive.world.clock.now_us()
        search = replace(search_of(given, now), older_than=after, limit=limit)
        return now, [standing(archive, line) for line in archive.reader.search(search)], search


def _midnight(since: str | None) -> str:
    """When today began, as `--since` takes it. Raises InputError (OMG-X001) where that is given too."""
    if since is not None:
        raise InputError("OMG-X001", "--today and --since say two beginnings", advice="leave one of them out")
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).isoformat()


@click.command()
@click.option("--queue", metavar="NAME", help="only of that queue")
@click.option("--limit", type=click.IntRange(1, MAX_SHOWN), default=20, show_default=True, help="how many, the newest first")
@common
@click.pass_obj
def dead(session: Session, queue: str | None, limit: int) -> Answer:
    """List what was given up after too many tries, with the reason of each."""
    from omega.host.outlook import reason_of

    with Archive.open(session.home) as archive:
        now = archive.world.clock.now_us()
        found = archive.reader.search(Search(status=(Status.DEAD,), queue=queue or "", limit=limit))
        told = [summary(line, in_hands=False) | {"reason": reason_of(archive, line)} for line in found]
    rows = [
        [line.execution, f"{line.flow} {line.version}", line.queue, ago(line.updated_us, now), each["reason"]]
        for line, each in zip(found, told, strict=True)
    ]
    lines = table(rows, indent="") or ["nothing was given up"]
    if found:
        lines.append(f"do  omega redrive {found[0].execution}" if len(found) == 1 else "do  omega redrive ID, or omega redrive --where ...")
    return Answer({"runs": told}, lines)


def rows_of(told: Sequence[dict[str, Any]], now: int) -> list[str]:
    """Executions as a table."""
    rows = []
    for each in told:
        state = "interrupted" if each["interrupted"] else _state(each)
        ended = each["status"] == DENIED or Status(each["status"]).ended
        took = f"took {seconds(each['took_s'])}" if ended else _due(each, now)
        began = ago(moment_us(each["started"]), now)
        rows.append([each["execution"], f"{each['flow']} {each['version']}", state, each["principal"], began, took])
    return table(rows, indent="", right=(5,))


def _state(told: dict[str, Any]) -> str:
    """The status, and for what was denied by which policy, or with which code where no policy was asked."""
    why = ", ".join(told.get("policies", ())) or told.get("code", "")
    return f"{told['status']} by {why}" if why else str(told["status"])


def _due(told: dict[str, Any], now: int) -> str:
    """When something that has not ended is taken up next, as far as it is known."""
    if not told["queue"] or told["status"] == Status.RUNNING:
        return ""
    due_us = moment_us(told["due"])
    if due_us > now:
        return f"in {seconds((due_us - now) / 1_000_000)}"
    return f"in {told['queue']}" if told["status"] == Status.QUEUED else ""
