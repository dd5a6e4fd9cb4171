"""`omega mcp registry`, `search` and `reputation`: registries that are followed, and what is known of tools and servers."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, clip, count, plain, table
from omega.host.following import MOST, accept, follow, followed, leave, search, sync
from omega.host.reading import Archive
from omega.host.reputation import Reputation
from omega.host.toolbox import references

MAX_SHOWN = 60


@click.group()
def registry() -> None:
    """Registries of MCP servers: follow them, read what they list, say what of it is shown on."""


@registry.command("follow")
@click.argument("name")
@click.argument("url")
@click.option("--header", "headers", multiple=True, metavar="KEY=env:NAME", help="a header, by reference; may be repeated")
@click.option("--allow", multiple=True, metavar="NETWORK", help="a private network that may be reached (10.0.0.0/8); may be repeated")
@click.option("--show", multiple=True, metavar="PATTERN", help="names that are shown on at /v0.1/servers; may be repeated")
@click.option("--tenant", "tenants", multiple=True, help="sees them beside this installation's own; may be repeated")
@common
@click.pass_obj
def follow_registry(
    session: Session,
    *,
    name: str,
    url: str,
    headers: tuple[str, ...],
    allow: tuple[str, ...],
    show: tuple[str, ...],
    tenants: tuple[str, ...],
) -> Answer:
    """Follow the registry at URL under a NAME, in place of what was said of it before. `sync` reads it."""
    body: dict[str, Any] = {"url": url, "headers": references(headers, "--header")}
    body |= {"allow": list(allow), "show": list(show), "tenants": list(tenants)}
    asyncio.run(follow(session.home, name, body))
    return Answer({"registry": name, **body}, [f"{name}   followed   omega mcp registry sync {name}"])


@registry.command("list")
@common
@click.pass_obj
def list_registries(session: Session) -> Answer:
    """List the registries that are followed."""
    with Archive.open(session.home) as archive:
        found = followed(archive)
    rows = [[each.name, count(each.state.entries, "entry").replace("entrys", "entries"), str(each.body["url"])] for each in found]
    lines = table(rows, indent="") or ["no registry is followed: omega mcp registry follow NAME URL"]
    for each in found:
        lines += [f"{each.name}   {key} says something else now: omega mcp registry accept {each.name} {key}" for key in each.changed]
    return Answer({"registries": [each.record() for each in found]}, [plain(line) for line in lines])


@registry.command("sync")
@click.argument("name")
@common
@click.pass_obj
def sync_registry(session: Session, name: str) -> Answer:
    """Read a registry from where it was left. What it lists is kept; nothing of it runs."""
    return _told(asyncio.run(sync(session.home, name)))


@registry.command("accept")
@click.argument("name")
@click.argument("entry", metavar="SERVER@VERSION")
@common
@click.pass_obj
def accept_entry(session: Session, name: str, entry: str) -> Answer:
    """Have what a registry says now of an entry count, in place of what it said when it was first read."""
    return _told(asyncio.run(accept(session.home, name, entry)))


@registry.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_registry(session: Session, name: str) -> Answer:
    """Follow a registry no more, and forget what was read of it. Servers that were added stay."""
    dropped = asyncio.run(leave(session.home, name))
    return Answer(dropped, [f"{name}   removed"])


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=int, default=10, show_default=True, help=f"most that are shown, up to {MOST}")
@common
@click.pass_obj
def search_tools(session: Session, words: tuple[str, ...], limit: int) -> Answer:
    """Search accepted tools and listed servers by what they do; each says why it fits."""
    with Archive.open(session.home) as archive:
        found = search(archive, " ".join(words), limit)
    rows = [[each.tool["kind"], each.tool["name"], clip(plain(_line(each.tool)), MAX_SHOWN), each.why] for each in found]
    document = [{**_shown(each.tool), "score": round(each.score, 3), "why": each.why} for each in found]
    return Answer({"found": document}, table(rows, indent="") or ["nothing that is known here has a word like these"])


@click.command("reputation")
@common
@click.pass_obj
def show_reputation(session: Session) -> Answer:
    """Show how reliable each tool has been, by the log, and what that comes from."""
    with Archive.open(session.home) as archive:
        now_us = archive.world.clock.now_us
        records = Reputation(archive.reader, archive.settings.tenant, now_us).read()
        now_s = now_us() / 1e6
    rows = [[name, each.words(now_s)] for name, each in sorted(records.items())]
    document = [{"tool": name, **each.told(now_s)} for name, each in sorted(records.items())]
    return Answer({"tools": document}, table(rows, indent="") or ["no tool has been called yet"])


def _told(told: dict[str, Any]) -> Answer:
    name = told["registry"]
    lines = [f"{name}   {told['kept']} kept   {count(told['pages'], 'page')}"]
    lines += [f"  changed   {plain(key)}: shown to nobody until omega mcp registry accept {name} {plain(key)}" for key in told["changed"]]
    lines += [f"  refused   {plain(reason)}" for reason in told["refused"]]
    return Answer(told, lines)


def _line(tool: Any) -> str:
    return next(iter(str(tool.get("description") or tool.get("title") or "").strip().splitlines()), "")


def _shown(tool: Any) -> dict[str, Any]:
    return {key: value for key, value in tool.items() if key != "inputSchema"}
