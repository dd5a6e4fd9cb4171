"""`omega primary`: a core of one's own beside a primary, whose catalogue it reads and whose entries it asks."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, count, plain, table
from omega.host import bridged
from omega.host.inputs import read_duration, whole_value
from omega.host.reading import Archive
from omega.host.toolbox import references
from omega.kernel.errors import InputError


@click.group()
def primary() -> None:
    """Bridge to a primary for reading: list what it offers, and ask it."""


@primary.command()
@click.argument("name")
@click.argument("url")
@click.option("--header", "headers", multiple=True, metavar="KEY=env:NAME", help="a header, by reference; may be repeated")
@click.option("--allow", multiple=True, metavar="NETWORK", help="a private network that it may be in: 10.0.0.0/8; may be repeated")
@click.option("--show", multiple=True, metavar="PATTERN", help="names that are taken in; may be repeated")
@click.option("--every", default="5m", show_default=True, metavar="TIME", help="how often its catalogue is read, while `omega up` works")
@common
@click.pass_obj
def add(
    session: Session, name: str, url: str, *, headers: tuple[str, ...], allow: tuple[str, ...], show: tuple[str, ...], every: str
) -> Answer:
    """Bridge to the primary at URL under a NAME, and read its catalogue."""
    every_s = read_duration(every)
    if every_s is None or every_s < 1:
        raise InputError("OMG-X001", f"{every[:40]!r} is no time of a second or more", advice="write 30s, 10m or 2h")
    body: dict[str, Any] = {"url": url, "headers": references(headers, "--header"), "allow": list(allow)}
    body |= {"every_s": int(every_s)} | ({"show": list(show)} if show else {})
    return _told(asyncio.run(bridged.add(session.home, name, body)))


@primary.command()
@click.argument("name")
@common
@click.pass_obj
def sync(session: Session, name: str) -> Answer:
    """Read the catalogue of a primary now."""
    return _told(asyncio.run(bridged.sync(session.home, name)))


@primary.command("list")
@common
@click.pass_obj
def list_primaries(session: Session) -> Answer:
    """List primaries and what each offers, with the time of which that is."""
    with Archive.open(session.home) as archive:
        found = bridged.listed(archive)
    lines: list[str] = []
    for each in found:
        lines.append(f"{each['primary']}   {each['url']}   as of {each['as_of']}{'   stale: ' + each['why'] if each['stale'] else ''}")
        lines += table([[entry["name"], entry["kind"], entry["summary"][:60]] for entry in each["entries"]])
    return Answer({"primaries": found}, [plain(line) for line in lines] or ["there is no primary: omega primary add NAME URL"])


@primary.command()
@click.argument("entry", metavar="PRIMARY/NAME")
@click.option("--input", "given", default=None, metavar="JSON", help="what it is given: JSON, @FILE, or - for standard input")
@common
@click.pass_obj
def ask(session: Session, entry: str, given: str | None) -> Answer:
    """Ask a primary for one of its entries."""
    found = asyncio.run(bridged.call(session.home, entry, None if given is None else whole_value(given)))
    return Answer(found, [plain(str(found["value"])), f"{found['receipt']['execution']}   at {entry.partition('/')[0]}"])


@primary.command()
@click.argument("name")
@common
@click.pass_obj
def remove(session: Session, name: str) -> Answer:
    """Bridge to a primary no more."""
    asyncio.run(bridged.remove(session.home, name))
    return Answer({"removed": name}, [f"{name}   is asked no more"])


def _told(found: dict[str, Any]) -> Answer:
    entries = count(found["entries"], "entry").replace("entrys", "entries")
    return Answer(found, [f"{found['primary']}   {entries} to read, {found['writes']} that write are left out"])
