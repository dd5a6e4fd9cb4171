"""Proof: the check of every tenant's log in its folder, and the export that a stranger checks without Omega.

What is checked: the leaves against every signed checkpoint, the journals against the digests that leaves state, the log against
checkpoints kept elsewhere; and, because sealed bytes are covered through commitments only, that each sealed value still opens and is the
one its row commits to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from omega.chronicle import verifier
from omega.chronicle.export import Exporter, verify_store, write_export
from omega.host.identity import ring_of
from omega.host.reading import Archive
from omega.host.storage import Inspecting
from omega.host.witnessing import witnessed
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.journal import Kind, Note, Row, Start, Status, Step, decode_meta
from omega.runtime.payloads import Payloads, is_redacted
from omega.runtime.recovery import sealer_of
from omega.trust.checkpoint import VerifierKey, also_signed, parse

MAX_EXECUTIONS = 100_000
"""Executions that one check reads, per tenant."""
VERIFIER = "verify.py"
_COMMITTED = frozenset({Kind.DONE, Kind.OVERRIDE, Kind.VALUE, Kind.SIGNAL})


@dataclass(slots=True)
class Proof:
    """What the check of one tenant found: the log's report, and what is wrong with sealed values."""

    tenant: str
    log: verifier.Report
    newest: int = 0
    values: int = 0
    erased: int = 0
    redacted: int = 0
    damaged: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything that was checked holds."""
        return self.log.sound and not self.damaged

    def record(self) -> dict[str, Any]:
        """As data, for `omega verify --json`."""
        return {
            "tenant": self.tenant,
            "sound": self.sound,
            "log": self.log.record(),
            "values": self.values,
            "erased": self.erased,
            "redacted": self.redacted,
            "damaged": list(self.damaged),
        }


def prove(archive: Archive, *, tenant: str | None = None, kept: Sequence[bytes] = ()) -> list[Proof]:
    """Check the logs of all tenants, or of one.

    Raises InputError (OMG-I003) for a tenant that is not recorded; whatever is wrong with the data is in the answer.
    """
    return [_prove(archive, each, kept) for each in tenants(archive, tenant)]


def tenants(archive: Archive, wanted: str | None) -> list[str]:
    """The tenants recorded, or the one wanted. Raises InputError (OMG-I003)."""
    found = archive.reader.tenants()
    if wanted is None:
        return found
    if wanted not in found:
        raise InputError("OMG-I003", f"there is no log of {wanted[:80]} here (tenants: {', '.join(found) or 'none'})")
    return [wanted]


def export(archive: Archive, tenant: str, path: Path) -> int:
    """Write the log of `tenant` with its journals, signed as a whole, and the stand-alone verifier beside it; gives the number of leaves.

    Raises InputError (OMG-P005) when a file cannot be written, IntegrityError (OMG-C001) for a damaged leaf, and what the signer raises.
    """
    beside = path.parent / VERIFIER
    executions = [line.execution for line in archive.reader.lines(tenant=tenant, limit=MAX_EXECUTIONS)]
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("xb") as out:
            leaves = write_export(
                archive.reader,
                tenant,
                out,
                keys=archive.log_keys(tenant),
                executions=reversed(executions),
                witnessed=witnessed(archive.reader, tenant),
                exporter=_exporter(archive, tenant),
                lasting=archive.lasting(),
            )
        draft.replace(path)
        beside.write_bytes(Path(verifier.__file__).read_bytes())
    except OSError as error:
        raise InputError("OMG-P005", f"{error.filename or path} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    finally:
        draft.unlink(missing_ok=True)
    return leaves


def write_snapshot(archive: Archive, tenant: str, out: BinaryIO, *, size: int, at_us: int) -> int:
    """Write the export of the log as it was at the signed size `size`, with the journals of what had ended by `at_us`; gives the leaves.

    The same size and moment give the same bytes on every machine, as long as nothing of it was pruned or compacted since. So the second
    signature, which differs each time that it is made, is left to `newest_checkpoint`; where every checkpoint has it, it is here too.
    Raises IntegrityError (OMG-C001), and what the signer raises.
    """
    lines = archive.reader.lines(tenant=tenant, limit=MAX_EXECUTIONS)
    ended = [line.execution for line in lines if Status(line.status).ended and line.updated_us <= at_us]
    return write_export(
        archive.reader,
        tenant,
        out,
        keys=archive.log_keys(tenant),
        executions=sorted(ended),
        witnessed=witnessed(archive.reader, tenant),
        exporter=_exporter(archive, tenant, upto=size, at_s=at_us // 1_000_000),
        upto=size,
    )


def write_page(path: Path) -> None:
    """Write the page that verifies exports in a browser. Raises InputError (OMG-P005)."""
    try:
        path.write_bytes(Path(verifier.__file__).with_suffix(".html").read_bytes())
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be written: {(error.strerror or 'unknown').lower()}") from error


def _exporter(archive: Archive, tenant: str, *, upto: int | None = None, at_s: int | None = None) -> Exporter | None:
    """The key that signed the newest checkpoint (of at most `upto` leaves), when it is at hand: who trusts the log can then check the
    export as a whole."""
    points = [point for point in archive.reader.checkpoints(tenant) if upto is None or point[0] <= upto]
    if not points:
        return None
    note, ring = parse(points[-1][1]), ring_of(archive.identity.keys, "log")
    origin, at_s = note.checkpoint.origin, archive.world.clock.now_us() // 1_000_000 if at_s is None else at_s
    used = {signature.key_id for signature in note.signatures}
    signers = (ring.current, *ring.upcoming)
    return next((Exporter(origin, each, at_s) for each in signers if VerifierKey.of(origin, each.public).key_id in used), None)


def newest_checkpoint(archive: Archive, tenant: str) -> bytes:
    """The newest signed checkpoint, to be kept elsewhere, with the second signature where there is one.

    Raises InputError (OMG-I003) when nothing is signed yet.
    """
    points = archive.reader.checkpoints(tenant)
    if not points:
        raise InputError("OMG-I003", f"the log of {tenant} has no checkpoint yet")
    note, lasting = points[-1][1], archive.lasting()
    return note if lasting is None else also_signed(note, lasting)


def _prove(archive: Archive, tenant: str, kept: Sequence[bytes]) -> Proof:
    executions = [line.execution for line in archive.reader.lines(tenant=tenant, limit=MAX_EXECUTIONS)]
    damaged: list[str] = []
    try:
        damaged += archive.reader.damage() if isinstance(archive.reader, Inspecting) else []
    except IntegrityError as error:
        damaged.append(error.cause)
    try:
        report = verify_store(archive.reader, tenant, keys=archive.log_keys(tenant), kept=kept, executions=executions)
    except IntegrityError as error:
        report = verifier.Report(findings=[verifier.Finding(error.code, error.cause)])
    proof = Proof(tenant, report, damaged=damaged)
    if not damaged:
        _open_all(archive, executions, proof)
    return proof


def _open_all(archive: Archive, executions: Iterable[str], proof: Proof) -> None:
    """Open every sealed value and compare it with the commitment in its row."""
    for execution in executions:
        try:
            line = archive.reader.line(execution)
            sealer = None if line is None else sealer_of(archive.reader, archive.identity.keyring, line)
            if line is None or sealer is None:
                proof.erased += 1
                continue
            rows = archive.reader.rows(execution)
            payloads = Payloads(sealer, rows, attic=archive.world.attic(line.tenant))
            proof.redacted += bool(rows) and is_redacted(rows[0])
            for row, commitment in _sealed(rows):
                plain = payloads.open(row)
                proof.values += 1
                if commitment and not is_redacted(row) and sealer.commit(plain, b"") != commitment:
                    proof.damaged.append(f"row {row.seq} of {execution} holds another value than it commits to")
        except IntegrityError as error:
            proof.damaged.append(f"{execution}: {error.cause}")


def _sealed(rows: Iterable[Row]) -> Iterator[tuple[Row, bytes]]:
    """The rows that hold a sealed value, each with what it commits to (empty: nothing)."""
    for row in rows:
        if row.payload is None:
            continue
        meta = decode_meta(row)
        if isinstance(meta, Start):
            yield row, meta.record
        elif isinstance(meta, (Step, Note)):
            yield row, meta.output if row.kind in _COMMITTED or row.kind == Kind.FINISHED else b""
