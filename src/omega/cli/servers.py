"""`omega mcp`: tool servers, the descriptions of their tools that somebody has accepted, and what clients see of them."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from omega.adapters.mcp import Transport, Upstream
from omega.cli.away import servers_there, tools_there
from omega.cli.bulk import asked
from omega.cli.commands import anywhere, common
from omega.cli.connect import serve
from omega.cli.exits import Exit
from omega.cli.obtaining import sign_in_elsewhere
from omega.cli.output import Answer, Session, clip, count, plain, table
from omega.cli.registry import registry, search_tools, show_reputation
from omega.cli.sandboxing import granting, sandbox
from omega.cli.virtual import credential, virtual
from omega.host.openapi import Wanted
from omega.host.reading import Archive
from omega.host.reputation import LATELY, Reputation, health_of
from omega.host.sandboxing import Grants
from omega.host.toolbox import Compared, accept, add, add_api, compare, listed_upstream, new_upstream, reached, references, remove
from omega.kernel.errors import InputError
from omega.kernel.sandbox import NOTHING

DEFAULT_TIMEOUT_S = 30.0
MAX_DESCRIPTION = 60


@click.group()
def mcp() -> None:
    """Add, list, compare and remove tool servers; say what clients see of them; serve over standard input."""


for command in (virtual, credential, sign_in_elsewhere, serve, registry, sandbox, search_tools, show_reputation):
    mcp.add_command(command)


@mcp.command("add")
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--url", default="", metavar="URL", help="a server that speaks streamable HTTP")
@click.option("--sse", is_flag=True, help="with --url: it speaks the older HTTP with SSE")
@click.option("--from", "listed", default="", metavar="SERVER[@VERSION]", help="a server that a followed registry lists")
@click.option("--env", multiple=True, metavar="KEY=env:NAME", help="a variable for the server, by reference; may be repeated")
@click.option(
    "--header", "headers", multiple=True, metavar="KEY=env:NAME", help='a header, by reference ("Authorization=Bearer env:TOKEN")'
)
@click.option(
    "--timeout", "timeout_s", type=float, default=DEFAULT_TIMEOUT_S, show_default=True, metavar="SECONDS", help="patience with its start"
)
@granting
@click.option("--no-sandbox", "free", is_flag=True, help="let it do on this machine whatever you may")
@click.option("--yes", is_flag=True, help="with --from: do not ask about values that the entry sets")
@click.option("--trusting", is_flag=True, help="accept descriptions that read like orders to a model")
@common
@click.pass_obj
def add_server(  # noqa: PLR0913 - one for each option
    session: Session,
    *,
    name: str,
    command: tuple[str, ...],
    url: str,
    sse: bool,
    listed: str,
    env: tuple[str, ...],
    headers: tuple[str, ...],
    timeout_s: float,
    read: tuple[str, ...],
    write: tuple[str, ...],
    network: str | None,
    free: bool,
    yes: bool,
    trusting: bool,
) -> Answer:
    """Add a tool server: start it, and pin the descriptions of its tools. A COMMAND is confined: it may do what you grant it here.

    omega mcp add NAME -- COMMAND ...    or    omega mcp add NAME --url URL    or    omega mcp add NAME --from SERVER [-- ARGUMENT ...]
    """
    values: dict[str, str] = {}
    grants = Grants(read=read, write=write, network=network, on=False if free else None)
    if listed and not url:
        upstream, values = listed_upstream(
            session.home, name, listed, env=env, headers=headers, arguments=command, grants=grants, timeout_s=timeout_s
        )
    else:
        upstream = new_upstream(session.home, name, command, url, env=env, headers=headers, grants=grants, timeout_s=timeout_s, sse=sse)
    preview = [f"{listed}   {plain(reached(upstream))}", *_set_by(values)]
    if values and not yes and (session.json or not asked(preview, f"add {name} with {count(len(values), 'value')} that the entry sets?")):
        said = ["nothing was added", *_set_by(values), "if these values are right: --yes"]
        return Answer({"server": _record(upstream), "set": values, "added": False}, said, Exit.USAGE)
    tools = asyncio.run(add(session.home, upstream, trusting=trusting))
    rows = [[tool.name, tool.effect.value, _short(tool.description)] for tool in sorted(tools, key=lambda tool: tool.name)]
    lines = [f"{name}   {count(len(tools), 'tool')} pinned   {plain(reached(upstream))}", *_set_by(values), *table(rows), *_may(upstream)]
    document = {
        "server": _record(upstream),
        "tools": [
            {"tool": tool.name, "effect": tool.effect.value, "description": tool.description, "pinned": tool.digest} for tool in tools
        ],
    }
    return Answer(document, lines)


@mcp.command("openapi")
@click.argument("name")
@click.argument("source", metavar="DOCUMENT")
@click.option("--base", default="", metavar="URL", help="where the interface is served  [default: what the document says]")
@click.option(
    "--header", "headers", multiple=True, metavar="KEY=user:NAME", help="a credential, by reference; ?KEY for one that goes into the query"
)
@click.option("--allow", multiple=True, metavar="NETWORK", help="a private network that may be reached (127.0.0.0/8); may be repeated")
@click.option("--only", multiple=True, metavar="PATTERN", help='operations by name or "METHOD /path"; may be repeated')
@click.option("--loose", is_flag=True, help="do not hold the interface to the schemas of its answers")
@click.option(
    "--timeout", "timeout_s", type=float, default=DEFAULT_TIMEOUT_S, show_default=True, metavar="SECONDS", help="patience with the document"
)
@click.option("--trusting", is_flag=True, help="accept descriptions that read like orders to a model")
@common
@click.pass_obj
def add_openapi(  # noqa: PLR0913 - one for each option
    session: Session,
    *,
    name: str,
    source: str,
    base: str,
    headers: tuple[str, ...],
    allow: tuple[str, ...],
    only: tuple[str, ...],
    loose: bool,
    timeout_s: float,
    trusting: bool,
) -> Answer:
    """Make tools of the operations in an OpenAPI document (3.0 or 3.1): a file, or an address."""
    wanted = Wanted(
        name=name,
        source=source,
        base=base,
        headers=references(headers, "--header"),
        allow=allow,
        only=only,
        outputs=not loose,
        timeout_s=timeout_s,
    )
    found = asyncio.run(add_api(session.home, wanted, trusting=trusting))
    rows = [[tool.name, tool.effect.value, _short(tool.description or tool.title)] for tool in found.tools]
    lines = [f"{name}   {count(len(found.tools), 'tool')} pinned   {plain(reached(found.upstream))}", *table(rows)]
    lines += [f"  left out   {plain(label)}: {plain(reason)}" for label, reason in found.left_out]
    lines += [f"  the document wants a credential   --header '{plain(key)}=user:NAME'" for key in found.credentials]
    document = {
        "server": name,
        "base": found.upstream.url,
        "tools": [{"tool": tool.name, "effect": tool.effect.value, "pinned": tool.digest} for tool in found.tools],
        "left_out": [{"operation": label, "reason": reason} for label, reason in found.left_out],
        "credentials": list(found.credentials),
    }
    return Answer(document, lines)


@mcp.command("list")
@anywhere
@click.pass_obj
def list_servers(session: Session) -> Answer:
    """List the tool servers that are known, and how each has done lately, by the log: nothing is asked of them."""
    if session.there is not None:
        return servers_there(session, session.there)
    with Archive.open(session.home) as archive:
        found = sorted(archive.catalogue.upstreams.values(), key=lambda upstream: upstream.name)
        counts = {upstream.name: len(archive.catalogue.tools_of(upstream.name)) for upstream in found}
        known = Reputation(archive.reader, archive.settings.tenant, archive.world.clock.now_us, behind=LATELY).read() if found else {}
    health = {each.name: health_of(each.name, known) for each in found}
    rows = [
        [each.name, each.transport.value, count(counts[each.name], "tool"), health[each.name].words(), _confined(each), reached(each)]
        for each in found
    ]
    lines = table(rows, indent="") or ["no tool servers are known: omega mcp add NAME -- COMMAND ..."]
    told = [_record(each) | {"tools": counts[each.name], "health": health[each.name].told()} for each in found]
    return Answer({"servers": told}, lines)


@mcp.command()
@click.argument("name")
@click.option("--accept", "accepting", is_flag=True, help="pin what the server offers now, after showing the difference")
@click.option("--pinned", is_flag=True, help="show what is pinned; start nothing")
@click.option("--trusting", is_flag=True, help="accept descriptions that read like orders to a model")
@anywhere
@click.pass_obj
def tools(session: Session, *, name: str, accepting: bool, pinned: bool, trusting: bool) -> Answer:
    """Show the pinned tools of a server with their effects, and compare them with what it offers now. Those of a remote installation are
    shown as they are pinned there."""
    if session.there is not None:
        if accepting:
            raise InputError("OMG-X001", "descriptions are accepted where the server is", advice="do it on that machine, or add --local")
        return tools_there(session, session.there, name)
    if accepting:
        found = asyncio.run(accept(session.home, name, trusting=trusting))
    else:
        with Archive.open(session.home) as archive:
            found = asyncio.run(compare(archive, name, look=not pinned))
    changed = [each for each in found if each.state not in ("same", "pinned")]
    lines = table([[each.name, _effects(each), each.state, _short(_described(each))] for each in found], indent="") or [
        f"{name} offers no tools"
    ]
    for each in changed:
        lines += ["", f"{each.name}   {each.state}", *(f"  {plain(line)}" for line in each.differences)]
    document = {"server": name, "changed": len(changed), "accepted": accepting, "tools": [each.record() for each in found]}
    if accepting:
        return Answer(document, [*lines, f"accepted   {count(len(changed), 'change')}" if changed else "nothing has changed"])
    if not changed:
        return Answer(document, lines)
    return Answer(document, [*lines, "", f"changed tools are refused until you accept them: omega mcp tools {name} --accept"], Exit.FAILED)


@mcp.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_server(session: Session, name: str) -> Answer:
    """Forget a tool server and what was accepted of it."""
    asyncio.run(remove(session.home, name))
    return Answer({"server": name, "removed": True}, [f"{name}   removed"])


def _record(upstream: Upstream) -> dict[str, Any]:
    """The record of a server, without the operations of an interface: they may be many, and its tools say the same."""
    stdio = {"sandbox": upstream.sandbox.to_json()} if upstream.transport is Transport.STDIO else {}
    return {key: value for key, value in upstream.to_json().items() if key != "api"} | stdio


def _may(upstream: Upstream) -> list[str]:
    """What a server may do on this machine, in a line; nothing of one that is elsewhere."""
    return [f"  {plain(upstream.sandbox.told)}"] if upstream.transport is Transport.STDIO else []


def _confined(upstream: Upstream) -> str:
    """Whether a server is confined, in a word or two; empty for one that is elsewhere."""
    if upstream.transport is not Transport.STDIO:
        return ""
    sandbox = upstream.sandbox
    return f"confined{', network' if sandbox.network != NOTHING else ''}" if sandbox.on else "not confined"


def _set_by(values: dict[str, str]) -> list[str]:
    """What an entry of a registry sets of itself, whole: a value that is cut off could hide what it does."""
    return [f"  set by the entry   {plain(key)}={plain(value)}" for key, value in values.items()]


def _described(each: Compared) -> str:
    shown = each.pinned or each.offered
    return shown.description if shown is not None else ""


def _effects(each: Compared) -> str:
    known = [tool.effect.value for tool in (each.pinned, each.offered) if tool is not None]
    return " -> ".join(dict.fromkeys(known))


def _short(text: str) -> str:
    return clip(plain(text.strip().splitlines()[0]) if text.strip() else "", MAX_DESCRIPTION)
