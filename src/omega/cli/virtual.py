"""`omega mcp virtual` and `omega mcp credential`: what clients of the gateway see, and with whose secrets servers are called."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, clip, plain, table
from omega.host.arrangements import all_arranged
from omega.host.asking import forget, keep
from omega.host.clock import SystemClock
from omega.host.credentials import CREDENTIAL, document_name, sealed
from omega.host.reading import Archive
from omega.host.virtual import VIRTUAL, check
from omega.kernel.errors import InputError

MAX_SHOWN = 60


@click.group()
def virtual() -> None:
    """Virtual servers: which tools a client sees, under which names, on which conditions."""


@virtual.command("list")
@common
@click.pass_obj
def list_virtual(session: Session) -> Answer:
    """List the virtual servers."""
    with Archive.open(session.home) as archive:
        found = all_arranged(archive.reader, VIRTUAL)
    rows = [[name, _entries(body), clip(plain(str(body.get("title", ""))), MAX_SHOWN)] for name, body in found.items()]
    lines = table(rows, indent="") or ["there is no virtual server: /mcp shows each caller all that it may use"]
    return Answer({"servers": [{"name": name, **body} for name, body in found.items()]}, lines)


@virtual.command("set")
@click.argument("name")
@click.option("--tool", "tools", multiple=True, metavar="TOOL[=NAME]", help="SERVER/TOOL, SERVER/* or SERVICE.METHOD; may be repeated")
@click.option("--hide", "hidden", multiple=True, metavar="TOOL", help="leave this one out; may be repeated")
@click.option("--approve", "approvals", multiple=True, nargs=2, metavar="ROLE TOOL", help="a person of ROLE approves each call")
@click.option("--describe", "descriptions", multiple=True, nargs=2, metavar="TOOL TEXT", help="what it says of the tool")
@click.option("--title", default="")
@click.option("--instructions", default="", help="what a model reads about the whole server")
@click.option("--prefix/--no-prefix", default=True, show_default=True, help="begin the names of tools with that of their server")
@click.option("--tenant", "tenants", multiple=True, help="may see it beside this installation's own; may be repeated")
@click.option("--group", "groups", multiple=True, help="only members of one of these see it; may be repeated")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="the whole document, as JSON")
@common
@click.pass_obj
def set_virtual(session: Session, /, name: str, file: Path | None, **given: Any) -> Answer:
    """Arrange the virtual server NAME, in place of what was arranged before. Clients reach it at /mcp/NAME."""
    body = _from_file(file) if file is not None else _from_options(**given)
    kept = check(name, body)
    asyncio.run(keep(session.home, VIRTUAL, name, kept))
    return Answer({"name": name, **kept}, [f"{name}   {_entries(kept)}   /mcp/{name}"])


@virtual.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_virtual(session: Session, name: str) -> Answer:
    """Forget the virtual server NAME. What it showed stays reachable at /mcp."""
    asyncio.run(forget(session.home, VIRTUAL, name))
    return Answer({"name": name, "removed": True}, [f"{name}   removed"])


@click.command()
@click.argument("name")
@click.option("--for", "principal", default="", metavar="WHO", help="whose it is: person:NAME or agent:NAME  [default: the owner]")
@click.option("--remove", is_flag=True, help="take it back")
@common
@click.pass_obj
def credential(session: Session, name: str, principal: str, remove: bool) -> Answer:
    """Leave a secret for tool servers, read from standard input: servers with a header user:NAME are called with the caller's own."""
    with Archive.open(session.home) as archive:
        tenant, keyring = archive.settings.tenant, archive.world.keyring
        whose = principal or f"person:{archive.settings.person}"
    place = document_name(tenant, whose, name)
    if remove:
        asyncio.run(forget(session.home, CREDENTIAL, place))
        return Answer({"credential": name, "for": whose, "removed": True}, [f"{name}   of {plain(whose)}   removed"])
    secret = sys.stdin.readline().rstrip("\r\n")
    asyncio.run(keep(session.home, CREDENTIAL, place, sealed(keyring, tenant, whose, name, secret, at_us=SystemClock().now_us())))
    return Answer({"credential": name, "for": whose}, [f"{name}   of {plain(whose)}   kept, sealed"])


def _from_file(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("OMG-X001", f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError("OMG-X001", f"{file} holds no JSON object")
    return found


def _entries(body: Mapping[str, Any]) -> str:
    number = len(body["tools"])
    return "1 entry" if number == 1 else f"{number} entries"


def _from_options(  # noqa: PLR0913 - one for each option
    *,
    tools: tuple[str, ...],
    hidden: tuple[str, ...],
    approvals: tuple[tuple[str, str], ...],
    descriptions: tuple[tuple[str, str], ...],
    title: str,
    instructions: str,
    prefix: bool,
    tenants: tuple[str, ...],
    groups: tuple[str, ...],
) -> dict[str, Any]:
    """The document that the options say: conditions on a tool follow the entries that list it, and keep their new names."""
    entries: dict[str, dict[str, Any]] = {}
    for each in tools:
        tool, _, renamed = each.partition("=")
        entries[tool] = {"tool": tool} | ({"as": renamed} if renamed else {})
    for tool in hidden:
        entries[tool] = {"tool": tool, "hidden": True}
    for role, tool in approvals:
        entries.setdefault(tool, {"tool": tool})["approval"] = role
    for tool, text in descriptions:
        entries.setdefault(tool, {"tool": tool})["description"] = text
    body: dict[str, Any] = {"tools": list(entries.values()), "prefix": prefix}
    said = {"title": title, "instructions": instructions, "tenants": list(tenants), "groups": list(groups)}
    return body | {key: value for key, value in said.items() if value}
