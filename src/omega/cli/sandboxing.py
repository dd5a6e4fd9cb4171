"""`omega mcp sandbox`: what a tool server may do on this machine, shown and changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, plain
from omega.host.reading import Archive
from omega.host.sandboxing import Grants
from omega.host.toolbox import known_server, regrant
from omega.kernel.sandbox import Sandbox

_OPTIONS = (
    click.option("--read", multiple=True, metavar="PATH", help="what it may read and run; may be repeated"),
    click.option("--write", multiple=True, metavar="PATH", help="what it may change, too; may be repeated"),
    click.option("--network", metavar="none|all|PORT,...", help="the network: nothing, everything, or TCP ports to connect to"),
)


def granting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which something is granted to a server, under its command line."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("sandbox")
@click.argument("name")
@granting
@click.option("--sandbox/--no-sandbox", "on", default=None, help="whether it is confined at all")
@click.option("--reset", is_flag=True, help="begin from nothing: take back every grant that is not said again")
@common
@click.pass_obj
def sandbox(
    session: Session, *, name: str, read: tuple[str, ...], write: tuple[str, ...], network: str | None, on: bool | None, reset: bool
) -> Answer:
    """Show what a tool server may do on this machine, or change it. The change is recorded, and holds from the next start of the server.

    What is said of one kind (--read, --write, --network) takes the place of what was granted of it before; the rest stays.
    """
    grants = Grants(read=read, write=write, network=network, on=on)
    if grants == Grants() and not reset:
        with Archive.open(session.home) as archive:
            found = known_server(archive, name).sandbox
    else:
        found = asyncio.run(regrant(session.home, name, grants, reset=reset))
    return Answer({"server": name, "sandbox": found.to_json()}, described(name, found))


def described(name: str, found: Sandbox) -> list[str]:
    """The grants of a server, a line for each."""
    lines = [f"{name}   {'confined' if found.on else 'not confined: it may do what you may'}"]
    if not found.on:
        return lines
    lines += [f"  reads     {plain(path)}" for path in found.read if path not in found.write]
    lines += [f"  writes    {plain(path)}" for path in found.write]
    return [*lines, f"  network   {found.network}"]
