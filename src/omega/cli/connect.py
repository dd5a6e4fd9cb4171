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

if TYPE_CHECKING:
    from omega.host.bridge import Write


@click.command()
@click.argument("client", type=click.Choice(sorted(CLIENTS)))
@click.option("--name", default="omega", show_default=True, help="what the client calls this installation")
@click.option("--virtual", default="", metavar="NAME", help="show one virtual server, instead of all that may be used")
@click.option("--as", "principal", default="", metavar="WHO", help="who acts  [default: agent:CLIENT]")
@click.option("--user", is_flag=True, help="for all projects of this user, instead of the one in this folder")
@click.option("--show", is_flag=True, help="print the entry and change nothing")
@click.option("--remove", is_flag=True, help="take the entry out again")
@common
@click.pass_obj
def connect(session: Session, /, *, client: str, name: str, virtual: str, principal: str, user: bool, show: bool, remove: bool) -> Answer:
    """Tell CLIENT of this installation: one entry in its configuration, which starts `omega mcp serve`."""
    path = place_of(client, None if user else Path.cwd())
    arguments = ["--as", principal or f"agent:{client}", *(["--virtual", virtual] if virtual else [])]
    entry = entry_of(client, arguments, str(Settings.load(session.home).home))
    if show:
        return Answer({"file": str(path), "name": name, "entry": entry}, [json.dumps({name: entry}, indent=2)])
    done = disconnect(client, path, name) if remove else connected(client, path, name, entry)
    return _told(done, client, name)


def _told(done: Written, client: str, name: str) -> Answer:
    document = {
        "client": client,
        "file": str(done.path),
        "name": name,
        "entry": done.entry,
        "backup": str(done.backup) if done.backup is not None else None,
    }
    if done.entry is None:
        return Answer(document, [f"removed   {name} from {plain(str(done.path))}"])
    lines = [f"wrote     {name} to {plain(str(done.path))}"]
    if done.backup is not None:
        lines.append(f"kept      {plain(str(done.backup))}, the file as it was")
    return Answer(document, [*lines, f"undo      omega connect {client} --remove"])


@click.command("serve")
@click.option("--virtual", default="", metavar="NAME", help="serve one virtual server, instead of all that may be used")
@click.option("--as", "principal", default="", metavar="WHO", help="who acts: agent:NAME or person:NAME  [default: the owner]")
@click.option("--url", default="", metavar="URL", help="where this installation's omega up answers  [default: http://127.0.0.1:9405/mcp]")
@common
@click.pass_obj
def serve(session: Session, /, *, virtual: str, principal: str, url: str) -> int:
    """Speak MCP over standard input and output, for clients that start their servers. Every call is governed as any other."""
    from omega.host.bridge import ADDRESS, Bridge, reached

    async def bridged() -> None:
        async with reached(session.home, url or ADDRESS, virtual, principal) as (pool, passport):
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
