"""`omega mcp sign-in`: a token for a tool server elsewhere; `omega clients`: who may act for you here."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, plain, table


@click.command("sign-in")
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="the tool server")
@click.option("--for", "principal", default="", metavar="WHO", help="whose token it is: person:NAME or agent:NAME  [default: the owner]")
@click.option(
    "--client", default="", metavar="ID", help="the client that was agreed there; its secret comes on standard input, if it has one"
)
@click.option("--issuer", default="", metavar="URL", help="who gives the tokens, exactly as it calls itself: a secret goes there alone")
@click.option("--document", default="", metavar="URL", help="where metadata about this installation as a client lie")
@click.option("--allow", "allowed", multiple=True, metavar="NETWORK", help="a private network that may be reached; may be repeated")
@common
@click.pass_obj
def sign_in_elsewhere(
    session: Session, *, name: str, url: str, principal: str, client: str, issuer: str, document: str, allowed: tuple[str, ...]
) -> Answer:
    """Obtain a token for a tool server by OAuth, and keep it as the secret NAME: a header `Bearer user:NAME` finds it there. Where a
    person has to be asked, the address of the page is printed. Done again, it renews the token."""
    from omega.host.signing_up import SignIn, sign_in

    secret = sys.stdin.readline().strip() if client and not sys.stdin.isatty() else ""
    wanted = SignIn(name=name, url=url, principal=principal, client=client, issuer=issuer, document=document, allowed=allowed)

    def tell(where: str) -> None:
        click.echo(f"go to    {plain(where)}", err=True)

    scopes = asyncio.run(sign_in(session.home, wanted, tell, secret=secret))
    return Answer({"credential": name, "scopes": list(scopes)}, [f"{name}   kept, sealed   {plain(' '.join(scopes))}"])


@click.group("clients")
def clients() -> None:
    """List the clients that act for you here, and end what they may do."""


@clients.command("list")
@common
@click.pass_obj
def list_clients(session: Session) -> Answer:
    """List what you have allowed clients, the newest first."""
    from omega.host.inviting import connections

    found: list[dict[str, Any]] = asyncio.run(connections(session.home))
    rows = [[plain(each["grant"]), plain(each["client_name"] or each["client"]), plain(each["resource"]), _day(each)] for each in found]
    return Answer({"grants": found}, table(rows) if rows else ["no client acts for you here"])


@clients.command("end")
@click.argument("grant")
@common
@click.pass_obj
def end_client(session: Session, grant: str) -> Answer:
    """End GRANT: what its client was given counts no more from now on."""
    from omega.host.inviting import disconnected

    asyncio.run(disconnected(session.home, grant))
    return Answer({"grant": grant, "ended": True}, [f"{plain(grant)}   ended"])


def _day(grant: dict[str, Any]) -> str:
    return "until " + datetime.fromtimestamp(grant["expires_s"], UTC).strftime("%Y-%m-%d")
