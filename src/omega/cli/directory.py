"""`omega user`, `omega group` and `omega sso`: who people are in a tenant, and with which accounts they sign in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import anywhere, common
from omega.cli.desks import desk_of
from omega.cli.output import Answer, Session, fields, plain, table
from omega.host import sso_adding as verbs
from omega.host.sso import OIDC, ROLES, Connection
from omega.kernel.errors import InputError

_OF_TENANT = click.option("--tenant", metavar="NAME", default="", help="of which tenant: its id, or organisation/project/environment")
ALL_ROLES = ("owner", "admin", "operator", "member", "viewer")
_PAIR = "IN=HERE"


@click.group()
def sso() -> None:
    """Add, list and remove connections: identity providers that people of a tenant sign in with (OpenID Connect, SAML)."""


@sso.command("add")
@click.argument("name")
@click.option("--issuer", metavar="URL", default="", help="an OpenID provider, exactly as it calls itself")
@click.option("--client-id", metavar="ID", default="", help="this installation, as the OpenID provider knows it")
@click.option(
    "--secret", metavar="VARIABLE", default="", help="the variable that holds the client's secret where omega up runs: OMEGA_SSO_NAME"
)
@click.option("--metadata", type=click.Path(path_type=Path, dir_okay=False), help="a SAML provider: the file of its metadata")
@click.option("--create", is_flag=True, help="who is not known becomes a user when they sign in")
@click.option("--role", type=click.Choice(ROLES[1:]), default=None, help="the role of users who are made so")
@click.option("--link", is_flag=True, help="a user of the same name whom nobody signs in as yet is meant")
@click.option(
    "--domain", "domains", multiple=True, metavar="DOMAIN", help="only verified addresses of this domain count; may be given again"
)
@click.option("--group", "groups", multiple=True, metavar=_PAIR, help="a group of the provider, and ours; may be given again")
@click.option("--claim", "claims", multiple=True, metavar="WHAT=CLAIM", help="user_name, email, name or groups; may be given again")
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE", help="what an OpenID provider is asked for (default: openid profile email)"
)
@click.option("--allow", multiple=True, metavar="NETWORK", help="a private network that the provider may lie in: 10.0.0.0/8")
@_OF_TENANT
@common
@click.pass_obj
def add_connection(session: Session, /, name: str, issuer: str, client_id: str, secret: str, metadata: Path | None, **given: Any) -> Answer:
    """Have people of a tenant sign in with a provider, in place of an earlier connection NAME."""
    if bool(issuer) == (metadata is not None):
        raise InputError(
            "OMG-X001", "a connection has either an OpenID issuer or the metadata of a SAML provider", advice="omega sso add --help"
        )
    provider = dict(verbs.for_openid(issuer, client_id, secret) if metadata is None else verbs.from_metadata(metadata))
    chosen = {
        "create": given["create"],
        "link": given["link"],
        "role": given["role"] or "",
        "domains": given["domains"],
        "allow": given["allow"],
    }
    chosen |= {"groups": _pairs(given["groups"]), "claims": _pairs(given["claims"])}
    chosen |= {"scopes": given["scopes"]} if given["scopes"] else {}
    made = asyncio.run(verbs.add(session.home, name, tenant=given["tenant"], **provider, **chosen))
    return Answer(made.record(), [*_shown(made), "do  tell the provider these addresses, with your own host before them"])


@sso.command("list")
@common
@click.pass_obj
def list_connections(session: Session) -> Answer:
    """List the connections."""
    found = verbs.listed(session.home)
    rows = [[each.name, each.kind, each.tenant, each.issuer] for each in found]
    return Answer({"connections": [each.record() for each in found]}, table(rows, indent="") or ["there is no connection"])


@sso.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_connection(session: Session, name: str) -> Answer:
    """Forget a connection: nobody signs in by it any more."""
    asyncio.run(verbs.remove(session.home, name))
    return Answer({"connection": name, "removed": True}, [f"{plain(name)}   removed"])


@click.group()
def user() -> None:
    """Make, list, suspend, resume and delete the users of a tenant."""


@user.command("create")
@click.argument("name")
@click.option("--name", "display_name", metavar="TEXT", default="", help="the name that people are shown")
@click.option("--email", "emails", multiple=True, metavar="ADDRESS", help="an address of theirs; may be given again")
@click.option("--role", "roles", multiple=True, type=click.Choice(ALL_ROLES), help="a role of their own; may be given again")
@_OF_TENANT
@anywhere
@click.pass_obj
def create_user(session: Session, /, name: str, display_name: str, emails: tuple[str, ...], roles: tuple[str, ...], tenant: str) -> Answer:
    """Make a user."""
    about = {"user_name": name, "display_name": display_name, "emails": [{"value": each} for each in emails], "roles": list(roles)}
    return _told(asyncio.run(_ask(session, "directory.create_user", about, tenant)))


@user.command("list")
@_OF_TENANT
@anywhere
@click.pass_obj
def list_users(session: Session, tenant: str) -> Answer:
    """List the users, with the groups they are in."""
    found = asyncio.run(_ask(session, "directory.users", {"count": 500}, tenant))
    rows = [
        [each["user"], plain(each["user_name"]), _state(each), ", ".join(one["name"] for one in each["groups"])] for each in found["users"]
    ]
    return Answer(found, table(rows, indent="") or ["there is no user"])


@user.command("suspend")
@click.argument("name")
@_OF_TENANT
@anywhere
@click.pass_obj
def suspend_user(session: Session, name: str, tenant: str) -> Answer:
    """Refuse a user within a second: passports, sessions and keys of theirs."""
    return _told(asyncio.run(_about(session, "directory.suspend_user", name, tenant)))


@user.command("resume")
@click.argument("name")
@_OF_TENANT
@anywhere
@click.pass_obj
def resume_user(session: Session, name: str, tenant: str) -> Answer:
    """Let a suspended user in again: they sign in anew."""
    return _told(asyncio.run(_about(session, "directory.resume_user", name, tenant)))


@user.command("delete")
@click.argument("name")
@_OF_TENANT
@anywhere
@click.pass_obj
def delete_user(session: Session, name: str, tenant: str) -> Answer:
    """Remove a user. What was given to them is refused, and API keys that act as them end."""
    found = asyncio.run(_about(session, "directory.delete_user", name, tenant))
    return Answer(found, [f"deleted   {found['id']}"])


@click.group()
def group() -> None:
    """Make and list groups of a tenant, put users in and take them out."""


@group.command("create")
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(ALL_ROLES), help="a role that its members have; may be given again")
@click.option("--grant", "capabilities", multiple=True, metavar="CAPABILITY", help="what its members may ask for; may be given again")
@_OF_TENANT
@anywhere
@click.pass_obj
def create_group(session: Session, /, name: str, roles: tuple[str, ...], capabilities: tuple[str, ...], tenant: str) -> Answer:
    """Make a group; policies see it as group:NAME."""
    wanted = {"display_name": name, "roles": list(roles), "capabilities": list(capabilities)}
    return _grouped(asyncio.run(_ask(session, "directory.create_group", wanted, tenant)))


@group.command("list")
@_OF_TENANT
@anywhere
@click.pass_obj
def list_groups(session: Session, tenant: str) -> Answer:
    """List the groups."""
    found = asyncio.run(_ask(session, "directory.groups", {"count": 500}, tenant))
    rows = [
        [each["group"], f"group:{each['name']}", f"{len(each['members'])} members", ", ".join(each["roles"])] for each in found["groups"]
    ]
    return Answer(found, table(rows, indent="") or ["there is no group"])


@group.command("add")
@click.argument("name")
@click.argument("user_name", metavar="USER")
@_OF_TENANT
@anywhere
@click.pass_obj
def add_member(session: Session, name: str, user_name: str, tenant: str) -> Answer:
    """Put a user into a group."""
    return _grouped(asyncio.run(_member(session, "add", name, user_name, tenant)))


@group.command("remove")
@click.argument("name")
@click.argument("user_name", metavar="USER")
@_OF_TENANT
@anywhere
@click.pass_obj
def remove_member(session: Session, name: str, user_name: str, tenant: str) -> Answer:
    """Take a user out of a group: they lose what it gave at their next call."""
    return _grouped(asyncio.run(_member(session, "remove", name, user_name, tenant)))


async def _member(session: Session, change: str, name: str, user_name: str, tenant: str) -> Any:
    """The group after one user came or went. Raises InputError (OMG-I003)."""
    async with desk_of(session) as at:
        owner = await at.tenant(tenant)
        users = await at.ask("directory.users", {"filter": {"attribute": "user_name", "value": user_name}}, owner)
        groups = await at.ask("directory.groups", {"filter": {"attribute": "display_name", "value": name}}, owner)
        if not users["users"] or not groups["groups"]:
            raise InputError("OMG-I003", f"this tenant has no such {'user' if not users['users'] else 'group'}", advice="omega user list")
        change_of = {"group": groups["groups"][0]["group"], change: [users["users"][0]["user"]]}
        return await at.ask("directory.change_group", change_of, owner)


async def _ask(session: Session, method: str, value: dict[str, Any], tenant: str) -> Any:
    async with desk_of(session) as at:
        return await at.ask(method, value, await at.tenant(tenant))


async def _about(session: Session, method: str, name: str, tenant: str) -> Any:
    """What a method gives for the user of that name or id. Raises InputError (OMG-I003)."""
    async with desk_of(session) as at:
        owner = await at.tenant(tenant)
        attribute = "user" if name.startswith("usr_") else "user_name"
        found = await at.ask("directory.users", {"filter": {"attribute": attribute, "value": name}}, owner)
        if not found["users"]:
            raise InputError("OMG-I003", f"this tenant has no user {name[:200]!r}", advice="omega user list")
        return await at.ask(method, {"user": found["users"][0]["user"]}, owner)


def _told(found: dict[str, Any]) -> Answer:
    return Answer(found, [f"{found['user']}   {plain(found['user_name'])}   {_state(found)}"])


def _grouped(found: dict[str, Any]) -> Answer:
    return Answer(found, [f"{found['group']}   group:{plain(found['name'])}   {len(found['members'])} members"])


def _state(found: dict[str, Any]) -> str:
    return "active" if found["active"] else "suspended"


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """`IN=HERE` as names and values. Raises InputError (OMG-X001)."""
    found = {}
    for text in texts:
        one, _, other = text.rpartition("=")
        if not one or not other:
            raise InputError("OMG-X001", f"{text[:80]!r} is no pair", advice=f"write it as {_PAIR}")
        found[one] = other
    return found


def _shown(made: Connection) -> list[str]:
    at = f"/sso/{made.name}"
    places = [("sign in", at), ("back to", f"{at}/back")] if made.kind == OIDC else [("sign in", at), ("metadata", f"{at}/metadata")]
    return [f"{made.name}   {made.kind}   {made.tenant}", *(f"  {line}" for line in fields([("provider", made.issuer), *places]))]
