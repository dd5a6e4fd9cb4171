"""`omega connect`: tell an MCP client on this machine of this installation. `omega mcp serve`: what such a client starts."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, plain
from omega.host.connecting import CLIENTS, Written, disconnect, entry_of, place_of
from omega.host.connecting import connect as connected
from omega.host.settings import Settings
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.host.bridge import Write


@click.command()
@click.argument("client", type=click.Choice(sorted(CLIENTS)))
@click.option("--name", default="omega", show_default=True, help="what the client calls this installation")
@click.option("--virtual", default="", metavar="NAME", help="show one virtual server, instead of all that may be used")
@click.option("--as", "principal", default="", metavar="WHO", help="who acts  [default: agent:CLIENT]")
@click.option("--budget", default="", metavar="AMOUNT", help='what it may spend: "5 USD/day"')
@click.option("--user", is_flag=True, help="for all projects of this user, instead of the one in this folder")
@click.option("--show", is_flag=True, help="print the entry and change nothing")
@click.option("--remove", is_flag=True, help="take the entry out again")
@common
@click.pass_context
def connect(ctx: click.Context, /, *, client: str, name: str, virtual: str, principal: str, budget: str, **how: bool) -> Answer:
    """Tell CLIENT of this installation: one entry in its configuration, which starts `omega mcp serve`."""
    session: Session = ctx.obj
    path = place_of(client, None if how["user"] else Path.cwd())
    acting = principal or f"agent:{client}"
    entry = entry_of(client, ["--as", acting, *(["--virtual", virtual] if virtual else [])], str(Settings.load(session.home).home))
    if budget and (how["show"] or how["remove"]):
        raise InputError("OMG-X001", "a budget is set when a client is connected", advice=f'omega budget set {acting} "{budget}"')
    if how["show"]:
        return Answer({"file": str(path), "name": name, "entry": entry}, [json.dumps({name: entry}, indent=2)])
    limited = _limited(ctx, acting, budget)
    done = disconnect(client, path, name) if how["remove"] else connected(client, path, name, entry)
    return _told(done, client, name, limited)


def _limited(ctx: click.Context, acting: str, amount: str) -> Answer | None:
    """What `omega budget set` says about the budget of whoever acts; None where none is asked for. Raises what that command raises."""
    if not amount:
        return None
    from omega.cli.limiting import set_budget

    found: Answer = ctx.invoke(set_budget, whose=acting, amount=(amount,))
    return found


def _told(done: Written, client: str, name: str, limited: Answer | None) -> Answer:
    document = {
        "client": client,
        "file": str(done.path),
        "name": name,
        "entry": done.entry,
        "backup": str(done.backup) if done.backup is not None else None,
        "budget": None if limited is None else dict(limited.document),
    }
    if done.entry is None:
        return Answer(document, [f"removed   {name} from {plain(str(done.path))}"])
    lines = [f"wrote     {name} to {plain(str(done.path))}"]
    if done.backup is not None:
        lines.append(f"kept      {plain(str(done.backup))}, the file as it was")
    if limited is not None:
        lines.append(f"budget    {limited.lines[0]}")
    return Answer(document, [*lines, f"undo      omega connect {client} --remove"])


@click.command("serve")
@click.option("--virtual", default="", metavar="NAME", help="serve one virtual server, instead of all that may be used")
@click.option("--as", "principal", default="", metavar="WHO", help="who acts: agent:NAME or person:NAME  [default: the owner]")
@click.option("--url", default="", metavar="URL", help="where this installation's omega up answers  [default: where it says]")
@common
@click.pass_obj
def serve(session: Session, /, *, virtual: str, principal: str, url: str) -> int:
    """Speak MCP over standard input and output, for clients that start their servers. Every call is governed as any other."""
    from omega.host.bridge import ADDRESS, Bridge, reached
    from omega.host.whereabouts import known

    said = known(Settings.load(session.home).home)
    said = f"{said}/mcp" if said else ""

    async def bridged() -> None:
        async with reached(session.home, url or said or ADDRESS, virtual, principal) as (pool, passport):
            write = await _out()
            await Bridge(pool, passport, write).run(_lines())

    asyncio.run(bridged())
    return Exit.DONE


async def _lines() -> AsyncIterator[bytes]:
    from omega.host.bridge import MAX_LINE

    reader = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip():
            yield line


async def _out() -> Write:
    """Writes one message as one line; two are never mixed."""
    out, lock = sys.stdout.buffer, asyncio.Lock()

    async def write(message: bytes) -> None:
        async with lock:
            await asyncio.to_thread(_line, message)

    def _line(message: bytes) -> None:
        out.write(message + b"\n")
        out.flush()

    return write
