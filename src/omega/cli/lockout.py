"""`quarantine`: who is locked out, and who is let in again."""

from __future__ import annotations

import asyncio

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, ago, table
from omega.host.asking import ask, keep
from omega.host.identity import Caller
from omega.host.quarantine import isolate, isolated, release
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.host.watching import WATCH, Watch, acting

as_person = click.option("--as", "principal", metavar="person:NAME", default="", help="who does it; else the owner")


@click.group()
def quarantine() -> None:
    """Lock one agent out, and let it in again; nobody else is affected."""


@quarantine.command("list")
@common
@click.pass_obj
def list_quarantined(session: Session) -> Answer:
    """List who is in quarantine, and why; and how unusual the agents behave."""
    with Archive.open(session.home) as archive:
        found, now = isolated(archive.reader), archive.world.clock.now_us()
        scores = Watch(archive.reader, TENANT).look_through()
        watching = TENANT in acting(archive.reader)
    rows = [[each.principal, "locked out", f"since {ago(each.since_us, now)}", f"by {each.by}", each.reason] for each in found]
    rows += [[name, f"{score.points} points", "", "", score.reason] for name, score in scores.items()]
    lines = [*table(rows, indent=""), f"the watch {'locks out whoever reaches 100 points' if watching else 'looks, and does nothing'}"]
    document = {"quarantined": [each.record() for each in found], "acts": watching}
    return Answer(document | {"scores": {name: {"points": each.points, "reason": each.reason} for name, each in scores.items()}}, lines)


@quarantine.command("add")
@click.argument("whom", metavar="agent:NAME")
@click.option("--reason", required=True, metavar="TEXT", help="why")
@as_person
@common
@click.pass_obj
def add(session: Session, whom: str, reason: str, principal: str) -> Answer:
    """Lock an agent out at once, whatever it does and in whose name."""
    done = asyncio.run(ask(session.home, isolate, {"principal": whom, "reason": reason}, caller_of(principal)))
    return Answer(done, [f"{whom}   locked out", f"to release  omega quarantine release {whom}   (two different people)"])


@quarantine.command("release")
@click.argument("whom", metavar="agent:NAME")
@as_person
@common
@click.pass_obj
def let_in(session: Session, whom: str, principal: str) -> Answer:
    """Release an agent: it is in again once two different people have."""
    done = asyncio.run(ask(session.home, release, whom, caller_of(principal)))
    said = "released" if done["released"] else f"released by {', '.join(done['by'])}; another person has to as well"
    return Answer(done, [f"{whom}   {said}"])


@quarantine.command("watch")
@click.argument("state", type=click.Choice(["on", "off"]))
@common
@click.pass_obj
def watch(session: Session, state: str) -> Answer:
    """Say whether an agent whose usage is far out of the ordinary is locked out by itself."""
    asyncio.run(keep(session.home, WATCH, TENANT, {"acts": state == "on"}))
    return Answer({"acts": state == "on"}, [f"the watch {'acts' if state == 'on' else 'looks, and does nothing'}"])


def caller_of(principal: str) -> Caller:
    """Who is meant: the person named, as an owner, else the owner."""
    return Caller(principal, groups=("owner",)) if principal else Caller()
