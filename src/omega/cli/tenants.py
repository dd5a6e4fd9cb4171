"""Commands about tenants and their API keys: `tenant`, `key`. Each is a call of the service `tenancy`, on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import anywhere, common
from omega.cli.desks import ask_at, desk_of
from omega.cli.output import Answer, Session, fields, table
from omega.host.account import moment
from omega.host.clock import SystemEntropy
from omega.host.exchange import draw_secret, key_text
from omega.host.inputs import read_duration
from omega.host.leaving import take_along
from omega.host.methods import desk
from omega.kernel.errors import InputError

DAY_S = 86_400
_OF_TENANT = click.option("--tenant", metavar="NAME", default="", help="of which tenant: its id, or organisation/project/environment")


@click.group()
def tenant() -> None:
    """Make, list, suspend and delete tenants."""


@tenant.command("create")
@click.argument("name", metavar="ORGANISATION/PROJECT/ENVIRONMENT")
@click.option("--plan", default="team", show_default=True, help="what it may use: sandbox, team, business, own")
@click.option("--region", default="local", show_default=True, help="where its data lies")
@click.option("--residency", multiple=True, metavar="REGION", help="where the organisation's data may lie at all; may be given again")
@click.option("--own-host", is_flag=True, help="it brings its own host")
@anywhere
@click.pass_obj
def create_tenant(session: Session, /, name: str, plan: str, region: str, residency: tuple[str, ...], own_host: bool) -> Answer:
    """Make an environment: a tenant with an id of its own."""
    parts = name.split("/")
    if len(parts) != 3:
        raise InputError("OMG-X001", f"{name[:200]!r} names no environment", advice="omega tenant create ORGANISATION/PROJECT/ENVIRONMENT")
    wanted = dict(zip(("organisation", "project", "environment"), parts, strict=True))
    chosen = {"plan": plan, "region": region, "residency": list(residency), "hosting": "own" if own_host else "hosted"}
    found = asyncio.run(ask_at(session, "tenancy.create", wanted | chosen))
    return Answer(
        found, [f"{found['tenant']}   {_path(found)}   {plan}", f"do  omega key create NAME --as agent:NAME --tenant {_path(found)}"]
    )


@tenant.command("list")
@click.option("--organisation", default="", help="of one organisation alone")
@anywhere
@click.pass_obj
def list_tenants(session: Session, organisation: str) -> Answer:
    """List the tenants that are hosted here."""
    found = asyncio.run(ask_at(session, "tenancy.tenants", {"organisation": organisation, "limit": 500}))
    rows = [[row["tenant"], _path(row), row["plan"], row["region"], row["state"], _until(row["expires_us"])] for row in found]
    return Answer({"tenants": found}, table(rows, indent="") or ["no tenant but the installation's own", "do  omega tenant create --help"])


@tenant.command("show")
@click.argument("name")
@anywhere
@click.pass_obj
def show_tenant(session: Session, name: str) -> Answer:
    """Show one tenant with its limits."""
    found = asyncio.run(_about(session, "tenancy.show", name))
    said = [(word, str(found[word])) for word in ("plan", "region", "hosting", "state", "reason") if found[word]]
    limits = [(word.replace("_", " "), str(value)) for word, value in found["limits"].items() if value]
    head = f"{found['tenant']}   {_path(found)}   {_until(found['expires_us'])}".rstrip()
    return Answer(found, [head, *fields([*said, *limits])])


@tenant.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="why, for the record")
@anywhere
@click.pass_obj
def suspend_tenant(session: Session, name: str, reason: str) -> Answer:
    """Refuse everybody of a tenant within a second. Nothing of it is lost."""
    return _stands(asyncio.run(_about(session, "tenancy.suspend", name, reason=reason)))


@tenant.command("resume")
@click.argument("name")
@anywhere
@click.pass_obj
def resume_tenant(session: Session, name: str) -> Answer:
    """Let a suspended tenant work again."""
    return _stands(asyncio.run(_about(session, "tenancy.resume", name)))


@tenant.command("upgrade")
@click.argument("name")
@click.option("--plan", required=True, help="the plan it is on from now on")
@anywhere
@click.pass_obj
def upgrade_tenant(session: Session, name: str, plan: str) -> Answer:
    """Put a tenant on another plan. What it has recorded stays."""
    return _stands(asyncio.run(_about(session, "tenancy.upgrade", name, plan=plan)))


@tenant.command("delete")
@click.argument("name")
@click.option(
    "--export", "folder", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="where its export is written first"
)
@common
@click.pass_obj
def delete_tenant(session: Session, name: str, folder: Path) -> Answer:
    """Export a suspended tenant, then destroy everything of it. There is no way back."""

    async def whole() -> Any:
        async with desk(session.home) as at:
            which = await at.tenant(name)
            digest = await take_along(session.home, at, which, folder)
            return await at.ask("tenancy.delete", {"tenant": which, "export": digest})

    found = asyncio.run(whole())
    return Answer(
        found, [f"deleted   {found['tenant']}   its log had {found['leaves']} leaves", f"export    {folder}   sha256 {found['export']}"]
    )


@click.group()
def key() -> None:
    """Make, list and revoke API keys (the keys that sign and seal are `omega keys`)."""


@key.command("create")
@click.argument("name")
@click.option("--as", "principal", required=True, metavar="KIND:NAME", help="who calls with it: agent:NAME, service:NAME or person:NAME")
@click.option("--role", "roles", multiple=True, help="a role they have: owner, admin, member, viewer; may be given again")
@click.option("--grant", "grants", multiple=True, metavar="AREA:VERB", help="what they may do; may be given again")
@click.option("--for", "lasts", default="90d", show_default=True, metavar="TIME", help="how long it counts")
@_OF_TENANT
@anywhere
@click.pass_obj
def create_key(
    session: Session, /, name: str, principal: str, *, roles: tuple[str, ...], grants: tuple[str, ...], lasts: str, tenant: str
) -> Answer:
    """Make an API key. It is shown this once: only the hash of it is kept."""
    secret, digest = draw_secret(SystemEntropy())
    wanted: dict[str, Any] = {"name": name, "principal": principal, "roles": list(roles), "secret_sha256": digest, "days": _days(lasts)}
    wanted |= {"capabilities": list(grants)} if grants else {}
    found = asyncio.run(_own(session, "tenancy.create_key", tenant, wanted))
    text = key_text(found["key"], secret)
    said = f"{found['key']}   {found['principal']}   until {moment(found['expires_us'])}"
    return Answer(found | {"api_key": text}, [text, said, "it is shown this once: keep it where secrets are kept"])


@key.command("list")
@_OF_TENANT
@anywhere
@click.pass_obj
def list_keys(session: Session, tenant: str) -> Answer:
    """List the API keys of a tenant, with when each was last used."""
    found = asyncio.run(_own(session, "tenancy.keys", tenant, {}))
    rows = [[row["key"], row["name"], row["principal"], " ".join(row["roles"]), _state(row), _used(row)] for row in found]
    return Answer({"keys": found}, table(rows, indent="") or ["there is no API key"])


@key.command("revoke")
@click.argument("which", metavar="KEY")
@_OF_TENANT
@anywhere
@click.pass_obj
def revoke_key(session: Session, which: str, tenant: str) -> Answer:
    """Refuse an API key, and whatever was given for it, within a second."""
    found = asyncio.run(_own(session, "tenancy.revoke_key", tenant, {"key": which}))
    return Answer(found, [f"revoked   {found['key']}   {found['name']}"])


async def _about(session: Session, method: str, name: str, **more: Any) -> Any:
    """A method about the tenant that `name` names."""
    async with desk_of(session) as at:
        return await at.ask(method, {"tenant": await at.tenant(name), **more})


async def _own(session: Session, method: str, tenant: str, value: dict[str, Any]) -> Any:
    """A method called in that tenant."""
    async with desk_of(session) as at:
        return await at.ask(method, value, await at.tenant(tenant))


def _stands(found: dict[str, Any]) -> Answer:
    return Answer(found, [f"{found['tenant']}   {_path(found)}   {found['plan']}   {found['state']}"])


def _path(row: dict[str, Any]) -> str:
    return "/".join(row[word] for word in ("organisation", "project", "environment"))


def _until(at_us: int) -> str:
    return f"until {moment(at_us)}" if at_us else ""


def _state(row: dict[str, Any]) -> str:
    return f"revoked {moment(row['revoked_us'])}" if row["revoked_us"] else f"until {moment(row['expires_us'])}"


def _used(row: dict[str, Any]) -> str:
    return f"used {moment(row['used_us'])}" if row["used_us"] else "never used"


def _days(text: str) -> float:
    """Days from "90d", or any other duration. Raises InputError (OMG-X001)."""
    days = text.strip().removesuffix("d")
    if text.strip().endswith("d") and days.isdigit() and len(days) < 6:
        return float(days)
    return (read_duration(text) or 0.0) / DAY_S
