"""`mfa`: how people prove once more that they are who they say, with an authenticator app or a passkey."""

from __future__ import annotations

import asyncio

import click

from omega.cli.commands import common
from omega.cli.lockout import as_person, caller_of
from omega.cli.output import Answer, Session, ago, plain, table
from omega.host.asking import ask
from omega.host.confirming import approval_path, page_at
from omega.host.enrolling import enrol_code, reset_factors
from omega.host.mfa import FACTOR, SECRET_BYTES, address, enrolment, name_of
from omega.host.passkeys import Passkeys
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.host.whereabouts import named

NOWHERE = "the pages are open while omega up serves this folder"


@click.group()
def mfa() -> None:
    """Second factors for steps that demand one: the codes of an authenticator app, and passkeys."""


@mfa.command("enrol")
@click.option("--person", default="", metavar="person:NAME", help="whose; else the owner's")
@click.option("--code", default="", metavar="CODE", help="a fresh code of the app that is enrolled already, to replace it")
@common
@click.pass_obj
def enrol(session: Session, person: str, code: str) -> Answer:
    """Make a new secret for an authenticator app (TOTP); it is shown this once, and replaces an earlier one."""
    with Archive.open(session.home) as archive:
        whose = person or f"person:{archive.settings.person}"
        name = name_of(TENANT, whose)
        secret = archive.world.entropy.take(SECRET_BYTES)
        body = enrolment(secret, archive.identity.keyring, name)
    asyncio.run(ask(session.home, enrol_code, {"person": whose, "body": body, "proof": {"code": code} if code else {}}))
    shown = address(secret, whose.partition(":")[2], "omega")
    return Answer({"person": whose, "address": shown}, [shown, "add it to an authenticator app; it is not shown again"])


@mfa.command("list")
@click.option("--person", default="", metavar="person:NAME", help="whose; else the owner's")
@common
@click.pass_obj
def list_factors(session: Session, person: str) -> Answer:
    """List the second factors of a person, and where passkeys are registered and removed."""
    with Archive.open(session.home) as archive:
        whose, now = person or f"person:{archive.settings.person}", archive.world.clock.now_us()
        code = archive.reader.document(FACTOR, name_of(TENANT, whose)) is not None
        keys = Passkeys.reading(archive.reader, archive.identity.keyring, (TENANT, whose))
        page = page_at(archive, "/passkeys")
    rows = [["authenticator app", "", "", ""]] if code else []
    for held in keys:
        used = "refused: there may be a copy" if held.copied else f"used {ago(held.used_us, now)}" if held.used_us else "never used"
        rows.append(["passkey", plain(held.name), f"since {ago(held.made_us, now)}", used])
    lines = table(rows, indent="") if rows else [f"{whose} has no second factor"]
    document = {"person": whose, "code": code, "passkeys": [held.record() for held in keys], "page": page}
    return Answer(document, [*lines, f"passkeys  {page or NOWHERE}"])


@mfa.command("page")
@click.argument("execution", required=False, default="")
@click.argument("step", required=False, default="")
@click.option("--open", "opens", is_flag=True, help="open it in this machine's browser")
@common
@click.pass_obj
def page(session: Session, execution: str, step: str, *, opens: bool) -> Answer:
    """Print the page where passkeys are registered; with EXECUTION the one where what waits is approved. A link to sign in comes first."""
    from omega.host.inviting import invited

    link = named(asyncio.run(invited(session.home)))
    with Archive.open(session.home) as archive:
        shown = page_at(archive, approval_path(execution, step) if execution else "/passkeys")
    if opens:
        click.launch(link)
        click.launch(shown)
    return Answer({"sign_in": link, "page": shown}, [f"sign in  {plain(link)}", f"then     {plain(shown)}"])


@mfa.command("reset")
@click.argument("person", metavar="person:NAME")
@as_person
@common
@click.pass_obj
def reset(session: Session, person: str, principal: str) -> Answer:
    """Forget every second factor of another person, who has lost them."""
    asyncio.run(ask(session.home, reset_factors, person, caller_of(principal)))
    return Answer({"person": person}, [f"{person}   has no second factor any more"])
