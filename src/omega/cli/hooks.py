"""`omega webhook` and `omega events`: what happened, told to other programs and to people."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from omega.cli.commands import anywhere, common
from omega.cli.output import Answer, Session, fields, paint, plain, table
from omega.client.contexts import Context
from omega.contracts.events import Event, Interest
from omega.host.account import moment
from omega.host.hooking import Standing, add, feed_of, pause, remove, standing
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.kernel.errors import InputError

MAX_SHOWN = 1_000


@click.group()
def webhook() -> None:
    """Add, list, pause, resume and remove webhooks: events as signed POSTs to an address. `omega up` delivers them."""


@webhook.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="area:verb or area:*; may be repeated (default: all)")
@click.option("--about", "keys", multiple=True, metavar="KEY", help="events about this execution, node, ... alone; may be repeated")
@click.option("--allow", "allow", multiple=True, metavar="NETWORK", help="a private network that it may reach: 10.0.0.0/8")
@click.option("--past", is_flag=True, help="tell it what happened before, too")
@common
@click.pass_obj
def add_webhook(session: Session, /, name: str, url: str, **given: Any) -> Answer:
    """Have events sent to URL, in place of an earlier webhook NAME. Prints the secret that the receiver checks signatures with, once."""
    made = asyncio.run(add(session.home, name, url, **given))
    document = {"webhook": name, "url": url, "types": list(made.types), "secret": made.secret}
    told = fields([("to", url), ("of", ", ".join(made.types) or "everything"), ("secret", f"{made.secret}   (shown this once)")])
    return Answer(document, [name, *(f"  {line}" for line in told)])


@webhook.command("list")
@common
@click.pass_obj
def list_webhooks(session: Session) -> Answer:
    """List the webhooks, with how many of their deliveries are under way and how many failed for good."""
    with Archive.open(session.home) as archive:
        found, problems = standing(archive)
    rows = [[each.hook.name, _standing(each), ", ".join(each.hook.types) or "all", each.hook.url] for each in found]
    lines = table(rows, indent="") or ([] if problems else ["there is no webhook"])
    lines += [f"{paint('fail')}   {plain(name)}   {error.code} {plain(error.cause)}" for name, error in problems.items()]
    document = {"webhooks": [each.record() for each in found], "broken": {name: error.record() for name, error in problems.items()}}
    return Answer(document, lines)


@webhook.command("pause")
@click.argument("name")
@common
@click.pass_obj
def pause_webhook(session: Session, name: str) -> Answer:
    """Have a webhook told nothing until it is resumed; it is told then what happened meanwhile."""
    asyncio.run(pause(session.home, name, paused=True))
    return Answer({"webhook": name, "paused": True}, [f"{name}   paused"])


@webhook.command("resume")
@click.argument("name")
@common
@click.pass_obj
def resume_webhook(session: Session, name: str) -> Answer:
    """Have a webhook told again."""
    asyncio.run(pause(session.home, name, paused=False))
    return Answer({"webhook": name, "paused": False}, [f"{name}   goes on"])


@webhook.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_webhook(session: Session, name: str) -> Answer:
    """Forget a webhook."""
    asyncio.run(remove(session.home, name))
    return Answer({"webhook": name, "removed": True}, [f"{name}   removed"])


@click.command()
@click.option("--type", "types", multiple=True, metavar="TYPE", help="area:verb or area:*; may be repeated (default: all)")
@click.option("--about", "keys", multiple=True, metavar="KEY", help="about this execution, node, ... alone; may be repeated")
@click.option("--after", type=click.IntRange(-1), metavar="POSITION", help="after this one (default: the newest that fit)")
@click.option("--tenant", default=TENANT, show_default=True, metavar="NAME", help="of which tenant")
@click.option("--limit", type=click.IntRange(1, MAX_SHOWN), default=50, show_default=True, help="at most so many")
@click.option("--follow", is_flag=True, help="go on with each as it happens, until Ctrl-C")
@anywhere
@click.pass_obj
def events(session: Session, /, types: tuple[str, ...], keys: tuple[str, ...], after: int | None, **given: Any) -> Answer | None:
    """Show what happened, oldest first, as the record has it. With --json each event is a CloudEvents document."""
    interest, tenant = Interest(types=types, keys=keys), str(given["tenant"])
    if session.there is not None:
        return _events_there(session, session.there, interest, after, given)
    with Archive.open(session.home) as archive:
        found, position = _shown(archive, tenant, after, interest, given["limit"])
        if given["follow"]:
            for event in found:
                _say(session, event)
            with_interrupts(_follow(session, archive, tenant, position, interest))
            return None
    return _shown_events(found, position)


def _events_there(
    session: Session, found: tuple[str, Context], interest: Interest, after: int | None, given: dict[str, Any]
) -> Answer | None:
    from omega.cli import there

    if given["tenant"] != TENANT:
        raise InputError("OMG-X001", "there you see the events of the tenant that you signed in to", advice="leave --tenant out")
    told, position = there.events(session, found, after, interest, given["limit"])
    if not given["follow"]:
        return _shown_events(told, position)
    for event in told:
        _say(session, event)
    there.follow(session, found, position, interest, lambda event: _say(session, event))
    return None


def _shown_events(found: list[Event], position: int) -> Answer:
    document = {"events": [event.cloud() for event in found], "position": position}
    return Answer(document, table(map(_row, found), indent="") or ["nothing of that kind happened"])


def _shown(archive: Archive, tenant: str, after: int | None, interest: Interest, limit: int) -> tuple[list[Event], int]:
    """A page after a position, or the newest page there is; and where to go on."""
    feed = feed_of(archive)
    position, found = -1 if after is None else after, list[Event]()
    while True:
        page = feed.read(tenant, position, interest, limit if after is None else limit - len(found))
        found = (found + list(page.events))[-limit:]
        position = page.position
        if not page.more or (after is not None and len(found) == limit):
            return found, position


async def _follow(session: Session, archive: Archive, tenant: str, after: int, interest: Interest) -> None:
    async for event in feed_of(archive).follow(tenant, after, interest):
        _say(session, event)


def with_interrupts(work: Any) -> None:
    """Run `work` until it ends or Ctrl-C is pressed, which is how one stops looking."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        return


def _say(session: Session, event: Event) -> None:
    if session.json:
        session.line(json.dumps(event.cloud(), separators=(",", ":")))
    else:
        session.line("   ".join(str(cell) for cell in _row(event)))


def _row(event: Event) -> list[str]:
    said = " ".join(f"{name}={value}" for name, value in event.data.items() if value not in ("", [], 0) and value != event.key)
    return [str(event.position), moment(event.at_us), event.type, event.key, plain(said)]


def _standing(each: Standing) -> str:
    return "paused" if each.hook.paused else f"{each.open} under way, {each.failed} failed"
