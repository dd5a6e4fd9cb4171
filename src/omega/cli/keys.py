"""`omega keys`: list, prepare and rotate the keys of this installation, add a second signature to its logs, seal its root."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, table
from omega.host import keys as verbs
from omega.host.account import moment
from omega.host.inputs import read_duration
from omega.host.settings import TENANT
from omega.host.unsealing import UNSEAL

NONE = ("0", "0s")
NAMES = click.Choice(verbs.ROTATED)


@click.group()
def keys() -> None:
    """List and rotate keys; add a second signature; seal the root."""


@keys.command("list")
@common
@click.pass_obj
def list_keys(session: Session) -> Answer:
    """List every key: what it is for, whether it signs, and until when what it signed counts."""
    found = verbs.listed(session.home)
    return Answer({"keys": found}, table([_row(each) for each in found], indent=""))


@keys.command("public")
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="whose log")
@common
@click.pass_obj
def public_keys(session: Session, tenant: str) -> Answer:
    """Print what others verify with: the keys of a log, and those of passports as a JWK Set."""
    texts, found = verbs.verifier_keys(session.home, tenant), verbs.jwks(session.home)
    kids = [f"passport   {key['alg']}   {key['kid']}" for key in found["keys"]]
    return Answer({"log": texts, "jwks": found}, [*(f"log   {text}" for text in texts), *kids])


@keys.command("prepare")
@click.argument("name", type=NAMES)
@click.option(
    "--at", "address", metavar="ADDRESS", default="", help="where the key lies: pkcs11:..., awskms:...; a new one in the key store else"
)
@common
@click.pass_obj
def prepare_key(session: Session, name: str, address: str) -> Answer:
    """Make the key that will sign next. It is published now and signs from `omega keys rotate` on."""
    kid = verbs.prepare(session.home, name, address)
    return Answer({"name": name, "kid": kid, "state": "next"}, [f"prepared   {name}   {kid}", f"do  omega keys rotate {name}"])


@keys.command("drop")
@click.argument("name", type=NAMES)
@common
@click.pass_obj
def drop_key(session: Session, name: str) -> Answer:
    """Forget the key that was prepared."""
    verbs.drop(session.home, name)
    return Answer({"name": name}, [f"dropped   the prepared key of {name}"])


@keys.command("rotate")
@click.argument("name", type=NAMES)
@click.option(
    "--overlap", metavar="TIME", default="24h", show_default=True, help="how long passports of the old key count; 0s when it was stolen"
)
@common
@click.pass_obj
def rotate_key(session: Session, name: str, overlap: str) -> Answer:
    """Let the prepared key sign, or a new one. A log is handed over by a leaf that both keys sign."""
    kid = asyncio.run(verbs.rotate(session.home, name, overlap_s=0 if overlap in NONE else int(read_duration(overlap) or 0)))
    return Answer({"name": name, "kid": kid, "state": "signs"}, [f"rotated   {name}   {kid} signs now"])


@keys.command("add-lasting")
@common
@click.pass_obj
def add_lasting(session: Session) -> Answer:
    """Sign every checkpoint with ML-DSA-65 too, from the next start of an engine on."""
    kid = verbs.add_lasting(session.home)
    return Answer(
        {"name": "log-pq", "kid": kid}, [f"added   log-pq   {kid}", "do  omega keys public, and hand the second key to whoever verifies"]
    )


@keys.command("seal")
@click.argument("file", type=click.Path(path_type=Path))
@common
@click.pass_obj
def seal_root(session: Session, file: Path) -> Answer:
    """Keep the root sealed to the private half in FILE, which is made when it is not there. Every start needs it then."""
    if not file.exists():
        verbs.new_opening(file)
    verbs.seal_root(session.home, file)
    return Answer(
        {"file": str(file)}, [f"sealed   the root opens with {file} alone", f"do  export {UNSEAL}={file}, and keep a copy of it elsewhere"]
    )


def _row(key: dict[str, Any]) -> list[str]:
    until = f"until {moment(key['until_s'] * 1_000_000)}" if key["until_s"] is not None else ""
    return [key["name"], key["state"], key["algorithm"], key["kid"], until]
