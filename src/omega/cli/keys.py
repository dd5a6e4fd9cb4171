"""`omega keys`: list, prepare and rotate the keys of this installation, add a second signature to its logs, seal its root."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, table
from omega.host import certifying
from omega.host import keys as verbs
from omega.host.account import moment
from omega.host.inputs import read_duration
from omega.host.settings import TENANT
from omega.host.unsealing import UNSEAL
from omega.kernel.errors import InputError

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


@keys.command("lasting")
@click.argument("state", type=click.Choice(["on", "off"]), required=False)
@common
@click.pass_obj
def turn_lasting(session: Session, state: str | None) -> Answer:
    """Show whether exports, archives and kept checkpoints are signed with ML-DSA-65 too; `off` and `on` change it, on record."""
    if state is not None:
        asyncio.run(verbs.turn_lasting(session.home, on=state == "on"))
    found = verbs.lasting_state(session.home)
    return Answer({"lasting": found}, [f"lasting   {_LASTING[found]}"])


_LASTING = {
    "on": "on: exports, archives and kept checkpoints are signed with ML-DSA-65 too",
    "off": "off: exports and archives have one signature",
    "each": "on: every checkpoint is signed with ML-DSA-65 too (omega keys add-lasting)",
    "unable": "off: this release of cryptography knows no ML-DSA-65",
}
"""What is said of each state."""


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


@keys.command("certificates")
@click.option("--establish", "act", flag_value="establish", help="make the authority: a root, and an issuer that it signs")
@click.option("--renew", "act", flag_value="renew", help="give the issuer a new certificate; takes the key of the root")
@click.option("--trust", "trusted", type=click.Path(path_type=Path, exists=True), help="let the roots in this file count too")
@click.option("--distrust", "distrusted", type=click.Path(path_type=Path, exists=True), help="let the roots in this file count no more")
@click.option("--root-at", "address", metavar="ADDRESS", default="", help="where the key of the root lies: pkcs11:..., awskms:...")
@common
@click.pass_obj
def certificates(session: Session, *, act: str | None, trusted: Path | None, distrusted: Path | None, address: str) -> Answer:
    """Show the certificate authority of this installation, or change it, on record."""
    asked = [(name, value) for name, value in ((act, address), ("trust", trusted), ("distrust", distrusted)) if name and value is not None]
    wanted = [each for each in asked if each[0] in ("establish", "renew") or each[1]]
    if len(wanted) > 1:
        raise InputError("OMG-X001", "one change at a time", advice="omega keys certificates --help")
    for name, value in wanted:
        text = value.read_text(encoding="utf-8") if isinstance(value, Path) else str(value)
        asyncio.run(certifying.change(session.home, str(name), text))
    found = certifying.shown(session.home)
    lines = [f"domain   {found['domain']}", f"issuer   until {moment(found['issuer_ends_s'] * 1_000_000)}"]
    lines += [f"root     {root['fingerprint'][:32]}   until {moment(root['ends_s'] * 1_000_000)}" for root in found["roots"]]
    lines += [] if found["root_key_here"] else ["the key of the root is not here"]
    return Answer(found, lines)


@keys.command("certify")
@click.argument("workload")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="a name or address that it is reached by; repeat it")
@common
@click.pass_obj
def certify(session: Session, workload: str, folder: Path, hosts: tuple[str, ...]) -> Answer:
    """Write a certificate of an hour for WORKLOAD (worker/mail-3), its key and the bundle to FOLDER, for a program that reads files."""
    found = asyncio.run(certifying.certify(session.home, workload, folder.absolute(), hosts))
    lines = [f"certified   {found['workload']}   until {moment(found['ends_s'] * 1_000_000)}", f"{folder}   chain.pem key.pem bundle.pem"]
    return Answer(found, lines)


@keys.command("admit")
@click.argument("workload", metavar="SPIFFE_ID")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="a group that it is in; repeat it")
@click.option("--grant", "grants", multiple=True, metavar="AREA:VERB", help="a capability that it has; repeat it")
@click.option("--not-any-more", "gone", is_flag=True, help="take it back")
@common
@click.pass_obj
def admit(session: Session, workload: str, groups: tuple[str, ...], grants: tuple[str, ...], *, gone: bool) -> Answer:
    """Let a workload call by its certificate alone, with these groups and capabilities, as service:NAME."""
    if gone:
        asyncio.run(certifying.shut_out(session.home, workload))
        return Answer({"workload": workload, "admitted": False}, [f"shut out   {workload}"])
    entry = asyncio.run(certifying.admit(session.home, workload, groups=groups, capabilities=grants))
    return Answer({"workload": workload, "principal": entry.principal, "admitted": True}, [f"admitted   {workload}   as {entry.principal}"])


def _row(key: dict[str, Any]) -> list[str]:
    until = f"until {moment(key['until_s'] * 1_000_000)}" if key["until_s"] is not None else ""
    return [key["name"], key["state"], key["algorithm"], key["kid"], until]
