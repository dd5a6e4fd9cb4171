"""`omega log`: look at the log as it grows, search it, see who looked at it. Every look is a gated call with a leaf of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from omega.adapters.worm import open_worm
from omega.cli.commands import anywhere, common
from omega.cli.desks import ask_at
from omega.cli.output import Answer, Session, table
from omega.host.archiving import ARCHIVE, archive, last, signatures, verify_archive
from omega.host.asking import ask, forget, keep
from omega.host.inputs import read_duration
from omega.host.logbook import note_access, read_log
from omega.host.logview import PAGE, Shown, accesses, newest, since, size_of
from omega.host.pruning import DAY_S, LOG, log_rules
from omega.host.reading import Archive
from omega.host.searching import read_moment
from omega.host.settings import TENANT
from omega.kernel.errors import InputError

POLL_S = 0.5
"""How often a tail that follows looks for more."""


@click.group()
def log() -> None:
    """Look at the log: tail, search, and who looked at it."""


@log.command()
@click.option("--lines", type=click.IntRange(1, PAGE), default=20, show_default=True, help="how many leaves to begin with")
@click.option("--flags", is_flag=True, help="only what is flagged, with what raised it")
@click.option("--follow", is_flag=True, help="go on with what comes, until Ctrl-C")
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="whose log")
@common
@click.pass_obj
def tail(session: Session, lines: int, flags: bool, follow: bool, tenant: str) -> Answer | None:
    """The newest leaves."""
    asyncio.run(ask(session.home, note_access, {"what": "tail", "tenant": tenant}))
    with Archive.open(session.home) as archive:
        found = newest(archive.reader, tenant, lines, flagged=flags)
        if not follow:
            return _answer(found)
        seen = found[-1].index + 1 if found and not flags else size_of(archive.reader, tenant)
        while True:
            for each in found:
                session.line(json.dumps(each.record()) if session.json else "".join(table([_row(each)], indent="")))
            time.sleep(POLL_S)
            found, seen = since(archive.reader, tenant, seen, flagged=flags)


@log.command("search")
@click.option("--kind", default="", help="entry, admit, outcome, deny, end, pin, approve, resolve, cancel, handover, admin")
@click.option("--by", "principal", default="", metavar="WHO", help="whose call: person:NAME, agent:NAME")
@click.option("--flow", default="", metavar="NAME")
@click.option("--execution", default="", metavar="ID")
@click.option("--decision", default="", metavar="WORD", help="allow, deny, needs")
@click.option("--text", default="", help="in any name, reason or note")
@click.option("--since", "from_", metavar="TIME", help='"2h", "7d", or a moment')
@click.option("--until", metavar="TIME", help="likewise")
@click.option("--before", type=click.IntRange(0), default=0, metavar="INDEX", help="go back from there: the next page")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True)
@anywhere
@click.pass_obj
def search_log(session: Session, /, from_: str | None, until: str | None, **wanted: Any) -> Answer:
    """The leaves that match, the newest first."""
    now_us = int(time.time() * 1_000_000)
    for name, text in (("since_us", from_), ("until_us", until)):
        if text is not None:
            wanted[name] = read_moment(text, now_us)
    if session.there is not None:
        page = asyncio.run(ask_at(session, "log.search", wanted))
    else:
        page = asyncio.run(ask(session.home, read_log, wanted))
    answer = _answer([Shown.read(each) for each in page["leaves"]], before=page["before"])
    more = [f"more: --before {page['before']}"] if page["before"] and len(page["leaves"]) == wanted["limit"] else []
    return Answer(answer.document, [*answer.lines, *more])


@log.command()
@click.option("--lines", type=click.IntRange(1, PAGE), default=50, show_default=True)
@common
@click.pass_obj
def access(session: Session, lines: int) -> Answer:
    """Who has looked at the log: searches, tails, exports."""
    asyncio.run(ask(session.home, note_access, {"what": "access"}))
    with Archive.open(session.home) as archive:
        return _answer(accesses(archive.reader, lines))


@log.command("keep")
@click.option("--for", "span", metavar="TIME", help='"90d", "7y": what leaves said goes then; their hashes and every proof stay')
@click.option("--forever", is_flag=True, help="keep what every leaf said")
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="whose log")
@common
@click.pass_obj
def keep_log(session: Session, span: str | None, forever: bool, tenant: str) -> Answer:
    """Say how long leaves are kept, or show it. Workers carry it out, a whole segment of 256 leaves at a time."""
    if span is not None and forever:
        raise InputError("OMG-X001", "say either --for TIME or --forever", advice="omega log keep --help")
    if span is not None:
        asyncio.run(keep(session.home, LOG, tenant, {"after_s": read_span(span)}))
    elif forever:
        asyncio.run(forget(session.home, LOG, tenant))
    with Archive.open(session.home) as archive:
        rules = log_rules(archive.reader)
    rows = [[name, f"leaves are kept for {after_s / DAY_S:g} days, their hashes for ever"] for name, after_s in rules.items()]
    return Answer({"log": rules}, table(rows, indent="") or ["what every leaf says is kept for ever"])


@log.command("archive")
@click.option("--to", "place", required=True, metavar="PLACE", help="file:///FOLDER, or s3://BUCKET/PREFIX with object lock")
@click.option("--for", "span", default="7y", show_default=True, metavar="TIME", help="how long what is added is kept there")
@click.option("--check", is_flag=True, help="add nothing: read back what is there")
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="whose log")
@common
@click.pass_obj
def archive_log(session: Session, place: str, span: str, check: bool, tenant: str) -> Answer:
    """Add what is new of the log to an archive that is written once, and read it back."""
    worm = open_worm(place)
    with Archive.open(session.home) as records:
        keys, origin, second = records.log_keys(tenant), records.log_key(tenant).name, records.lasting_key(tenant)
        until_s = records.world.clock.now_us() // 1_000_000 + int(read_span(span))
        done = last(records.reader, tenant, place) if check else archive(records, tenant, worm, place, until_s)
    if not done.size:
        raise InputError("OMG-I003", f"nothing of {tenant} was archived there", advice="omega log archive --to PLACE")
    if not check:
        asyncio.run(keep(session.home, ARCHIVE, tenant, done.record()))
    leaves = verify_archive(worm, tenant, done.size, keys=keys, origin=origin)
    signed = signatures(worm, tenant, done.size, second)
    until = datetime.fromtimestamp(done.until_s, UTC).strftime("%Y-%m-%d")
    line = f"{tenant}   {leaves} leaves read back   kept until {until}   {signed}"
    return Answer({"tenant": tenant, **done.record(), "read_back": leaves, "signed": signed}, [line])


def read_span(text: str) -> float:
    """Seconds from "90d" or "7y" (of 365 days and a quarter), or any other duration. Raises InputError (OMG-X001)."""
    number, unit = text.strip()[:-1], text.strip()[-1:]
    if unit in _DAYS and number.isdigit() and len(number) < MAX_DIGITS:
        return int(number) * _DAYS[unit] * DAY_S
    return read_duration(text) or 0.0


_DAYS = {"d": 1.0, "y": 365.25}
MAX_DIGITS = 6


def _answer(found: Sequence[Shown], *, before: int = 0) -> Answer:
    lines = table([_row(each) for each in found], indent="", right=(0,)) or ["nothing in the log"]
    return Answer({"leaves": [each.record() for each in found], "before": before}, lines)


def _row(shown: Shown) -> list[str]:
    leaf = shown.leaf
    at = datetime.fromtimestamp(leaf.at_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    flags = "; ".join(f"{flag.kind} ({flag.raised})" for flag in shown.flags)
    said = leaf.decision or leaf.status or leaf.reason
    return [str(shown.index), at, leaf.kind, leaf.principal, leaf.step or leaf.flow, said, leaf.address, flags]
