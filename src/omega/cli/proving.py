"""`omega verify`: proof in one command for the owner, and in one file for a stranger."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, count, plain, table
from omega.host.asking import ask
from omega.host.logbook import note_access
from omega.host.proof import VERIFIER, Proof, export, newest_checkpoint, prove, tenants, write_page
from omega.host.reading import Archive
from omega.host.regions import demand_consent
from omega.host.settings import TENANT
from omega.kernel.errors import InputError

MAX_CHECKPOINT = 64 << 10
"""Largest checkpoint file read, in bytes: one is some hundred."""


@click.command()
@click.option(
    "--export", "out", metavar="FILE", type=click.Path(path_type=Path), help="also write the log to FILE, and verify.py beside it"
)
@click.option(
    "--checkpoint", "kept", metavar="FILE", multiple=True, type=click.Path(path_type=Path), help="hold the log against a kept checkpoint"
)
@click.option(
    "--save-checkpoint", "save", metavar="FILE", type=click.Path(path_type=Path), help="write the newest checkpoint, to keep elsewhere"
)
@click.option("--page", metavar="FILE", type=click.Path(path_type=Path), help="write the page that verifies exports in a browser, offline")
@click.option("--to", "region", metavar="REGION", default="", help="with --export: where the export goes (us, eu, uk, apac)")
@click.option("--tenant", metavar="NAME", help="one tenant only")
@common
@click.pass_obj
def verify(
    session: Session, /, out: Path | None, kept: tuple[Path, ...], save: Path | None, page: Path | None, *, tenant: str | None, region: str
) -> Answer:
    """Verify the log, its checkpoints, the journals and the sealed values; export what a stranger can verify alone."""
    if page is not None:
        write_page(page)
    notes = [_read(path) for path in kept]
    if out is not None:
        _announce(session, tenant, region)
    with Archive.open(session.home) as archive:
        proofs = prove(archive, tenant=tenant, kept=notes)
        sound = all(proof.sound for proof in proofs)
        written: list[str] = []
        if (out is not None or save is not None) and sound:
            chosen = _one(tenants(archive, tenant))
            if out is not None:
                leaves = export(archive, chosen, out)
                written += [
                    f"{out}   {leaves} leaves of {chosen}",
                    f"{out.parent / VERIFIER}   checks it without omega: python verify.py {out.name}",
                ]
            if save is not None:
                _write(save, newest_checkpoint(archive, chosen))
                written.append(f"{save}   the newest checkpoint: keep it elsewhere")
    lines = table([_line(proof) for proof in proofs], indent="", right=(1, 2, 3)) or ["nothing is recorded yet"]
    lines += [f"  {text}" for proof in proofs for text in _wrong(proof)]
    shown = [f"{page}   verifies an export in any browser, offline"] if page is not None else []
    document = {"logs": [proof.record() for proof in proofs], "export": str(out) if out and sound else None}
    if not sound:
        return Answer(
            document, [*lines, *shown, "do  keep the folder as it is, and compare it with a checkpoint you hold elsewhere"], Exit.FAILED
        )
    return Answer(document, [*lines, *written, *shown])


def _announce(session: Session, tenant: str | None, region: str) -> None:
    """Put on record that the log is about to be exported, and where to. Raises Denied (OMG-C006) where that needs a consent."""
    with Archive.open(session.home) as archive:
        chosen = _one(tenants(archive, tenant))
        why = demand_consent(archive.reader, chosen, region)
    asyncio.run(ask(session.home, note_access, {"what": "export", "tenant": chosen, "to": region, "consent": why}))


def _line(proof: Proof) -> list[str]:
    log = proof.log
    kept = f"{count(log.kept, 'kept checkpoint')} continued" if log.kept and log.sound else ""
    counts = [f"{log.leaves:,} leaves", count(log.checkpoints, "checkpoint"), count(log.rows, "journal row")]
    gone = [f"{number} {what}" for number, what in ((proof.erased, "erased"), (proof.redacted, "redacted")) if number]
    return [proof.tenant, *counts, "   ".join(part for part in ("sound" if proof.sound else "not sound", kept, *gone) if part)]


def _wrong(proof: Proof) -> list[str]:
    found = [f"{finding.code}  {plain(finding.text)}" for finding in proof.log.findings]
    return found + [f"OMG-S005  {plain(text)}" for text in proof.damaged]


def _one(found: list[str]) -> str:
    if len(found) != 1 and TENANT not in found:
        raise InputError("OMG-X001", f"say which log: {', '.join(found) or 'there is none yet'}", advice="omega verify --tenant NAME")
    return found[0] if len(found) == 1 else TENANT


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CHECKPOINT + 1)
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be read: {(error.strerror or 'unknown').lower()}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be written: {(error.strerror or 'unknown').lower()}") from error
