"""Commands about sandbox tenants: `sandbox up`, `list`, `upgrade`, `down`."""

from __future__ import annotations

import asyncio

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, table
from omega.host import sandbox as verbs
from omega.host.account import moment
from omega.host.methods import ask_method


@click.group()
def sandbox() -> None:
    """Try everything in a tenant that is gone in a day or two."""


@sandbox.command("up")
@click.argument("name", default="trial")
@click.option(
    "--hours",
    type=click.FloatRange(verbs.SHORTEST_HOURS, verbs.LONGEST_HOURS),
    default=verbs.DEFAULT_HOURS,
    show_default=True,
    help="after how many hours everything of it is purged",
)
@common
@click.pass_obj
def sandbox_up(session: Session, name: str, hours: float) -> Answer:
    """Make a sandbox, with an API key and a few flows that have run already."""
    found = asyncio.run(verbs.up(session.home, name, hours=hours))
    lines = [
        f"{found['tenant']}   until {moment(found['expires_us'])}",
        f"api key   {found['api_key']}   (shown this once)",
        *(f"sample    {sample}   {execution}" for sample, execution in found["samples"].items()),
        *(f"agent     {name}" for name in found["agents"]),
        f"do  omega show {next(iter(found['samples'].values()))}",
    ]
    return Answer(found, lines)


@sandbox.command("list")
@common
@click.pass_obj
def sandbox_list(session: Session) -> Answer:
    """List the sandboxes that are up."""
    found = asyncio.run(verbs.listed(session.home))
    rows = [[row["tenant"], row["project"], f"until {moment(row['expires_us'])}", row["state"]] for row in found]
    return Answer({"sandboxes": found}, table(rows, indent="") or ["no sandbox is up", "do  omega sandbox up"])


@sandbox.command("upgrade")
@click.argument("tenant")
@click.option("--plan", default="team", show_default=True, help="the plan it is on from now on")
@common
@click.pass_obj
def sandbox_upgrade(session: Session, tenant: str, plan: str) -> Answer:
    """Keep a sandbox: another plan, no expiry, and everything that it has recorded."""

    found = asyncio.run(ask_method(session.home, "tenancy.upgrade", {"tenant": tenant, "plan": plan}))
    return Answer(found, [f"{found['tenant']}   {found['plan']}   keeps its history, expires no more"])


@sandbox.command("down")
@click.argument("tenant")
@common
@click.pass_obj
def sandbox_down(session: Session, tenant: str) -> Answer:
    """Purge a sandbox now."""
    found = asyncio.run(verbs.down(session.home, tenant))
    return Answer(found, [f"purged   {found['tenant']}   its log had {found['leaves']} leaves"])
