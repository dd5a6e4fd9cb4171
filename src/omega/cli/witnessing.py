"""`omega witness`: remember for others how far a log has come, and have others remember it for this one. Requests and answers are files."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, count, table
from omega.host.asking import keep
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.host.witnessing import WITNESSED, Desk, cosigned, request
from omega.kernel.errors import InputError

MAX_ASKED = 1 << 18
"""Largest file that is read, in bytes: a request is a few thousand."""

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_FILE = click.Path(path_type=Path)


@click.group()
def witness() -> None:
    """Be a witness of logs (init, add, show, cosign), or have one of this log (request, accept)."""


@witness.command()
@_FOLDER
@click.option("--name", required=True, help="under which it cosigns: witness.example/w1")
@common
def init(folder: Path, name: str) -> Answer:
    """Make a witness in FOLDER."""
    desk = Desk.make(folder, name)
    return Answer({"name": name, "key": desk.key.text()}, [f"{desk.key.text()}   give this key to whoever verifies"])


@witness.command()
@_FOLDER
@click.argument("key")
@common
def add(folder: Path, key: str) -> Answer:
    """Watch the log with the verifier key KEY, as `omega witness request` prints it."""
    found = Desk.open(folder).add(key)
    return Answer({"log": found.name}, [f"{found.name}   is watched from its next checkpoint on"])


@witness.command()
@_FOLDER
@common
def show(folder: Path) -> Answer:
    """Show the key of a witness, and how far it has seen each log."""
    desk = Desk.open(folder)
    seen = {key.name: desk.seen(key.name).size for key in desk.logs()}
    lines = table([[name, count(size, "leaf").replace("leafs", "leaves")] for name, size in seen.items()], indent="") or [
        "no log is watched yet"
    ]
    return Answer({"name": desk.name, "key": desk.key.text(), "seen": seen}, [desk.key.text(), *lines])


@witness.command()
@_FOLDER
@click.argument("asked", metavar="REQUEST", type=_FILE)
@click.option("--out", required=True, type=_FILE, metavar="FILE", help="where the answer goes")
@common
def cosign(folder: Path, asked: Path, out: Path) -> Answer:
    """Answer a request: put this witness's name under a checkpoint that continues everything it has seen."""
    line = Desk.open(folder).cosign(_read(asked), int(time.time()))
    _write(out, line)
    return Answer({"answer": str(out)}, [f"{out}   cosigned"])


@witness.command("request")
@click.option("--seen", type=click.IntRange(0), default=0, show_default=True, help="how many leaves the witness has seen")
@click.option("--out", required=True, type=_FILE, metavar="FILE", help="where the request goes")
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="whose log")
@common
@click.pass_obj
def request_one(session: Session, seen: int, out: Path, tenant: str) -> Answer:
    """Ask a witness to cosign the newest checkpoint of this log."""
    with Archive.open(session.home) as archive:
        raw, key = request(archive, tenant, seen), archive.log_key(tenant).text()
    _write(out, raw)
    return Answer({"request": str(out), "key": key}, [f"{out}   for the witness", f"{key}   the key of this log"])


@witness.command()
@click.argument("answer", metavar="FILE", type=_FILE)
@click.option("--key", required=True, help="the key of the witness, as `omega witness init` printed it")
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="whose log")
@common
@click.pass_obj
def accept(session: Session, answer: Path, key: str, tenant: str) -> Answer:
    """Check a witness's answer and keep it: exports carry it from then on."""
    with Archive.open(session.home) as archive:
        name, body = cosigned(archive, tenant, _read(answer), key)
    asyncio.run(keep(session.home, WITNESSED, name, body))
    return Answer({"checkpoint": name, "witness": key}, [f"{name}   cosigned by {key.partition('+')[0]}"])


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ASKED)
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be read: {(error.strerror or 'unknown').lower()}") from error


def _write(path: Path, body: bytes) -> None:
    try:
        path.write_bytes(body)
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be written: {(error.strerror or 'unknown').lower()}") from error
