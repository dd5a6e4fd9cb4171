"""`omega witness`: remember for others how far a log has come, and have others remember it for this one: over HTTP, or with files."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, count, table
from omega.cli.up import MAX_PORT, Teller, until_stopped
from omega.host.asking import forget, keep
from omega.host.inputs import read_duration
from omega.host.reading import Archive
from omega.host.serving import Stop
from omega.host.settings import TENANT
from omega.host.up import HOST, Opening
from omega.host.witness_asking import MAX_WITNESSES, QUORUM, WITNESS
from omega.host.witnessing import WITNESSED, Desk, cosigned, request
from omega.kernel.errors import InputError

MAX_ASKED = 1 << 18
"""Largest file that is read, in bytes: a request is a few thousand."""

WITNESS_PORT = 9406
"""Where a witness listens unless told: beside `omega up`."""

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_FILE = click.Path(path_type=Path)


@click.group()
def witness() -> None:
    """Be a witness of logs (init, add, show, serve, cosign), or have this log's (register, quorum, status; by files: request, accept)."""


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


@witness.command()
@_FOLDER
@click.option("--host", default=HOST, show_default=True, help="the address to listen on")
@click.option("--port", type=click.IntRange(0, MAX_PORT), default=WITNESS_PORT, show_default=True, help="0: one that is free")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="answer for this name too; may be repeated")
@click.option("--trust-proxy", "proxies", multiple=True, metavar="ADDRESS", help="believe X-Forwarded-* of this address; may be repeated")
@click.option("--certificate", default="", metavar="FILE", help="serve HTTPS with this PEM file")
@click.option("--key", default="", metavar="FILE", help="the certificate's key, where it is a file of its own")
@common
@click.pass_obj
def serve(session: Session, /, folder: Path, **given: Any) -> Answer:
    """Answer logs over HTTP (C2SP tlog-witness), until SIGTERM or Ctrl-C."""
    from omega.host.witness_up import serve_witness

    teller = Teller(session)

    async def serving(session: Session, opening: Opening, tell: Teller, stop: Stop) -> None:
        await serve_witness(folder, opening, tell, stop)

    asyncio.run(until_stopped(session, Opening(**given), teller, serving))
    return Answer({"event": "stopped"}, ["stopped"], compact=True)


@witness.command()
@click.argument("name")
@click.option("--url", required=True, help="where it answers, without /add-checkpoint")
@click.option("--key", required=True, help="its key, as `omega witness init` printed it")
@click.option("--allow", multiple=True, metavar="NETWORK", help="a private network that it may be in: 10.0.0.0/8; may be repeated")
@click.option("--tenant", "tenants", multiple=True, metavar="NAME", help="show it this log alone; may be repeated")
@common
@click.pass_obj
def register(session: Session, name: str, url: str, key: str, allow: tuple[str, ...], tenants: tuple[str, ...]) -> Answer:
    """Have a witness NAME cosign this installation's logs from now on, while `omega up` works."""
    body = {"url": url, "key": key, "allow": list(allow), "tenants": list(tenants)}
    asyncio.run(keep(session.home, WITNESS, name, body))
    with Archive.open(session.home) as archive:
        keys = {each: archive.log_key(each).text() for each in archive.reader.tenants() if not tenants or each in tenants}
    lines = [f"{each}   tell the witness: omega witness add FOLDER {text}" for each, text in keys.items()]
    return Answer({"witness": name, **body, "logs": keys}, [f"{name}   is shown the logs at {url}", *lines])


@witness.command()
@click.argument("name")
@common
@click.pass_obj
def dismiss(session: Session, name: str) -> Answer:
    """Show the witness NAME nothing more; what it cosigned stays."""
    asyncio.run(forget(session.home, WITNESS, name))
    return Answer({"dismissed": name}, [f"{name}   is shown nothing more"])


@witness.command()
@click.argument("witnesses", type=click.IntRange(0, MAX_WITNESSES))
@click.option("--within", default="10m", show_default=True, metavar="TIME", help="after which leaves without them are told of")
@click.option("--every", default="10s", show_default=True, metavar="TIME", help="how often each witness is asked at most")
@common
@click.pass_obj
def quorum(session: Session, witnesses: int, within: str, every: str) -> Answer:
    """Demand that WITNESSES of those registered cosign in time; 0 is all of them."""
    body = {"quorum": witnesses, "within_s": _seconds(within), "every_s": _seconds(every)}
    asyncio.run(keep(session.home, QUORUM, QUORUM, body))
    return Answer(body, [f"{witnesses or 'all'}   must cosign within {within}"])


@witness.command()
@common
@click.pass_obj
def status(session: Session) -> Answer:
    """Show how far each log is cosigned, and what keeps the witnesses that lag."""
    from omega.host.witness_rounds import standing

    with Archive.open(session.home) as archive:
        found = standing(archive)
    lines: list[str] = []
    for row in found:
        lines.append(f"{row['log']}   {row['cosigned']} of {row['leaves']} leaves by {row['quorum']}")
        lines += table([[each["witness"], str(each["leaves"]), each["why"]] for each in row["witnesses"]])
    return Answer({"logs": found}, lines or ["no witness is registered"])


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


def _seconds(text: str) -> int:
    found = read_duration(text)
    if found is None or found < 1:
        raise InputError("OMG-X001", f"{text[:40]!r} is no time of a second or more", advice="write 30s, 10m or 2h")
    return int(found)


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
