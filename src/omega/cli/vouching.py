"""`omega credential`: issue, show, present and verify credentials, and say whose count."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, fields, plain
from omega.host import credentialing as verbs
from omega.host.account import moment
from omega.host.inputs import read_duration, read_value
from omega.kernel.errors import InputError

LASTS = "30d"
"""How long a credential lasts where nothing is said."""

_SOURCE = click.File("r", encoding="utf-8")
_TARGET = click.Path(path_type=Path)


@click.group()
def credential() -> None:
    """Credentials with selective disclosure (SD-JWT VC): issue, show, present, verify; and whose count here."""


@credential.command("begin")
@common
@click.pass_obj
def begin(session: Session) -> Answer:
    """Make the keys, and print the names of this installation: others trust it as the issuer, and issue credentials to it as the holder."""
    found = asyncio.run(verbs.begin(session.home))
    return Answer(found, fields([("issuer", found["issuer"]), ("holder", found["holder"])]))


@credential.command("issue")
@click.argument("kind", metavar="TYPE")
@click.option("--holder", required=True, metavar="DID", help="to whom: a did:key (omega credential begin prints the holder's)")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="what it says, the holder's to disclose; may be repeated")
@click.option("--open", "shown", multiple=True, metavar="NAME=VALUE", help="what it says to everybody who sees it; may be repeated")
@click.option("--lasts", default=LASTS, show_default=True, metavar="TIME", help="how long it holds: 12h, 30d")
@click.option("--as", "issuer", default="", metavar="DID", help="issue under this did:web, whose document has this installation's key")
@click.option("--out", type=_TARGET, metavar="FILE", help="write it to this file, for you alone, and do not print it")
@common
@click.pass_obj
def issue(
    session: Session, /, kind: str, claims: tuple[str, ...], shown: tuple[str, ...], lasts: str, out: Path | None, **given: str
) -> Answer:
    """Issue a credential of TYPE (its vct, most often an address) to a holder."""
    said, in_open = _claims(claims), _claims(shown)
    twice = sorted(said.keys() & in_open.keys())
    if twice:
        raise InputError("OMG-X001", f"the claim {twice[0][:80]} is both in the open and the holder's to disclose")
    lasts_s = int(read_duration(lasts) or 0)
    made = asyncio.run(verbs.issue(session.home, kind, {**said, **in_open}, shown=list(in_open), lasts_s=lasts_s, **given))
    told = fields([("issuer", made["issuer"]), ("holder", made["holder"]), ("until", moment(made["ends_s"] * 1_000_000))])
    return _given(made, "credential", out, told)


@credential.command("present")
@click.argument("file", type=_SOURCE)
@click.option("--disclose", "disclosed", multiple=True, metavar="NAME", help="a concealed claim to show; may be repeated")
@click.option("--to", "audience", required=True, metavar="DID", help="who verifies it, as they call themselves")
@click.option("--nonce", required=True, help="what they gave out for it")
@click.option("--out", type=_TARGET, metavar="FILE", help="write it to this file, for you alone, and do not print it")
@common
@click.pass_obj
def present(session: Session, /, file: Any, disclosed: tuple[str, ...], audience: str, nonce: str, out: Path | None) -> Answer:
    """Show the credential in FILE (- for standard input), with the claims named and nothing else of what is concealed."""
    made = asyncio.run(verbs.present(session.home, _read(file), disclosed=disclosed, audience=audience, nonce=nonce))
    return _given(made, "presentation", out, fields([("to", plain(audience)), ("disclosed", plain(", ".join(disclosed)) or "nothing")]))


@credential.command("challenge")
@common
@click.pass_obj
def challenge(session: Session) -> Answer:
    """Ask for a credential: print this installation's name and a nonce, for ten minutes and one answer."""
    found = asyncio.run(verbs.challenge(session.home))
    return Answer(found, fields([("to", found["audience"]), ("nonce", found["nonce"]), ("until", moment(found["ends_s"] * 1_000_000))]))


@credential.command("verify")
@click.argument("file", type=_SOURCE)
@click.option("--nonce", required=True, help="what omega credential challenge gave out for it")
@common
@click.pass_obj
def verify(session: Session, file: Any, nonce: str) -> Answer:
    """Verify what a holder shows in FILE (- for standard input), and print what it says."""
    found = asyncio.run(verbs.check(session.home, _read(file), nonce=nonce))
    return Answer(found, ["holds", *_described(found), *_said(found["claims"])])


@credential.command("show")
@click.argument("file", type=_SOURCE, required=False)
@click.option("--document", "name", default="", metavar="DID", help="print the document to serve for this did:web of the installation")
@common
@click.pass_obj
def show(session: Session, file: Any, name: str) -> Answer:
    """Without FILE: the names of this installation, and whom it believes for what. With FILE: what is in a credential, not verified."""
    if name:
        made = verbs.document(session.home, name)
        return Answer(made, json.dumps(made, indent=2).splitlines())
    if file is not None:
        found = verbs.told(_read(file))
        mark = "   (disclosed)" if found["presented"] else "   (the holder's to disclose)"
        concealed = [f"{line}{mark}" for line in _said(found["concealed"])]
        return Answer(found, ["not verified", *_described(found), *_said(found["claims"]), *concealed])
    standing = verbs.standing(session.home)
    lines = fields([(role, standing[role] or "none yet: omega credential begin") for role in ("issuer", "holder")])
    lines += [f"believed   {plain(each['issuer'])}   {plain(', '.join(each['kinds']))}" for each in standing["believed"]]
    return Answer(standing, lines)


@credential.command("trust")
@click.argument("issuer", metavar="DID")
@click.option("--kind", "kinds", multiple=True, metavar="TYPE", help="a type that it may vouch for; may be repeated")
@click.option("--not-any-more", "gone", is_flag=True, help="believe it no longer")
@common
@click.pass_obj
def trust(session: Session, issuer: str, kinds: tuple[str, ...], *, gone: bool) -> Answer:
    """Believe an issuer, a did:key or a did:web, for these types of credentials alone, in place of what was said of it before."""
    if gone:
        asyncio.run(verbs.distrust(session.home, issuer))
        return Answer({"issuer": issuer, "believed": False}, [f"not believed any more   {plain(issuer)}"])
    entry = asyncio.run(verbs.trust(session.home, issuer, kinds))
    return Answer({"issuer": entry.did, "kinds": list(entry.kinds)}, [f"believed   {plain(entry.did)}   {plain(', '.join(entry.kinds))}"])


def _claims(texts: Iterable[str]) -> dict[str, Any]:
    """Claims as they were typed: JSON where it is JSON. Raises InputError (OMG-X001)."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            raise InputError("OMG-X001", f"a claim is given once, as NAME=VALUE, and not as {text[:80]!r}")
        found[name] = read_value(value)
    return found


def _read(file: Any) -> str:
    """The credential in a file. Raises InputError (OMG-X001) for one that is no text."""
    try:
        return str(file.read(verbs.MOST_READ)).strip()
    except UnicodeDecodeError as error:
        raise InputError("OMG-X001", "the file holds no credential") from error


def _given(made: dict[str, Any], part: str, out: Path | None, told: list[str]) -> Answer:
    """What was made, printed or in a file that its owner alone can read. Raises InputError (OMG-P005) where that cannot be written."""
    if out is None:
        return Answer(made, [*told, made[part]])
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(made[part] + "\n")
    except OSError as error:
        raise InputError("OMG-P005", f"{out} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    return Answer({name: value for name, value in made.items() if name != part} | {"file": str(out)}, [*told, f"written   {out}"])


def _described(found: dict[str, Any]) -> list[str]:
    ends = moment(found["ends_s"] * 1_000_000) if found["ends_s"] is not None else "without end"
    said = [("type", found["kind"]), ("issuer", found["issuer"]), ("holder", found["holder"] or "nobody"), ("until", ends)]
    return fields([(name, plain(value)) for name, value in said])


def _said(claims: dict[str, Any]) -> list[str]:
    return [f"  {plain(name)} = {plain(value if isinstance(value, str) else json.dumps(value))}" for name, value in sorted(claims.items())]
