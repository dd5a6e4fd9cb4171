"""Exports, and the check of a store in place.

The format and every check are those of `omega.chronicle.verifier`, which stands alone; here is what feeds it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO

from omega.chronicle.pruned import hash_of, is_pruned, line_of
from omega.chronicle.verifier import END, MAGIC, MAX_CHECKPOINTS, STATEMENT, Log, Report, Row, check
from omega.kernel.errors import IntegrityError
from omega.kernel.ports import Reader, Signer
from omega.trust.checkpoint import VerifierKey, also_signed, parse, signed_note
from omega.trust.merkle import Range

BATCH = 4096
"""Leaves read from a store at once: about a megabyte."""

MAX_HISTORY = 4096
"""Checkpoints carried by an export. More are thinned evenly; the newest always stays, for it covers all leaves."""

MAX_EXECUTIONS = 100_000
"""Executions of which a check in place reads the journal."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """Who signs an export as a whole, under which `name` (that of the log when its own key signs), and when (Unix seconds)."""

    name: str
    signer: Signer
    at_s: int


def write_export(  # noqa: PLR0913 - what goes into an export has this many sides, each named
    reader: Reader,
    tenant: str,
    out: BinaryIO,
    *,
    keys: Sequence[VerifierKey],
    executions: Iterable[str] = (),
    witnessed: Sequence[bytes] = (),
    exporter: Exporter | None = None,
    lasting: Signer | None = None,
    upto: int | None = None,
) -> int:
    """Write the log of `tenant` as it stands now, or as it stood when it had `upto` leaves, with the journals (without payloads) of
    `executions`; gives the number of leaves.

    `keys` are the public keys of the log (`LogSequencer.key`), `out` an open binary file, `witnessed` cosigned checkpoints of this log, to
    stand beside its own. An `exporter` signs header, log and journals as a whole; `lasting` signs the newest checkpoint too (ML-DSA-65),
    and its key is among those of the export. Works beside a live engine: what is
    appended meanwhile is left out. Raises IntegrityError (OMG-C001) when a stored leaf cannot be one.
    """
    own = [point for point in reader.checkpoints(tenant) if upto is None or point[0] <= upto]
    size = own[-1][0] if own else 0
    points = [point for point in _with_witnessed(own, witnessed) if upto is None or point[0] <= upto]
    if lasting is not None and points:
        # Those of this size that a witness has seen get it too: once a second signature has begun, a checkpoint without it is a finding.
        points = [(at, also_signed(note, lasting) if at >= size else note) for at, note in points]
        keys = [*keys, *({VerifierKey.of(_origin(points, keys), lasting.public)} - set(keys))]
    journals = [execution for execution in executions if reader.rows(execution)]
    pruned = _pruned(reader, tenant, size)
    header: dict[str, Any] = {
        "checkpoints": [note.decode("utf-8", "replace") for _, note in points],
        "journals": len(journals),
        "keys": [key.text() for key in keys],
        "origin": _origin(points, keys),
        "tenant": tenant,
        **({"pruned": pruned} if pruned else {}),
    }
    head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    out.write(MAGIC + head)
    digest, tree, written = sha256(head), Range(), 0
    for batch in _batches(reader, tenant, size):
        lines = list(map(line_of, batch)) if written < pruned else batch
        for index, leaf in enumerate(lines, written):
            if not leaf or b"\n" in leaf:
                raise IntegrityError("OMG-C001", f"leaf {index} of {tenant} is damaged", details={"leaf": index})
        out.write(b"\n".join(lines) + b"\n")
        written += len(batch)
        if exporter is not None:
            tree.extend_hashed(list(map(hash_of, batch)))
    out.write(b"\n")
    for row in _rows_of(reader, journals):
        line = {"e": row.execution, "k": row.kind, "m": base64.b64encode(row.meta).decode(), "p": row.position, "s": row.seq}
        text = json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        digest.update(text)
        out.write(text)
    out.write(b"\n" + END)
    if exporter is not None:
        stated = [STATEMENT, header["origin"], exporter.at_s, written, _base64(tree.root()), _base64(digest.digest()), ""]
        out.write(signed_note("\n".join(map(str, stated)).encode(), exporter.name, (exporter.signer,)))
    return written


def verify_store(
    reader: Reader,
    tenant: str,
    *,
    keys: Sequence[VerifierKey],
    kept: Sequence[bytes] = (),
    executions: Iterable[str] | None = None,
) -> Report:
    """Check the log of `tenant` in its store, and the journals of `executions` (of all the tenant's, when None) against it.

    `keys` are the public keys of the log as this installation holds them, `kept` signed checkpoints from elsewhere. Every
    stored checkpoint is checked up to `MAX_CHECKPOINTS` of them, so damage is narrowed down to what one commit wrote.
    """
    points = reader.checkpoints(tenant)
    size = points[-1][0] if points else 0
    if executions is None:
        executions = [line.execution for line in reader.lines(tenant=tenant, limit=MAX_EXECUTIONS)]
    journals = list(executions)
    texts = [key.text() for key in keys]
    log = Log(
        origin=_origin(points, keys),
        keys=texts,
        checkpoints=[note for _, note in _thinned(points, MAX_CHECKPOINTS)],
        batches=(list(map(line_of, batch)) for batch in _batches(reader, tenant, size)),
        rows=_rows_of(reader, journals),
        journals=len(journals),
        pruned=_pruned(reader, tenant, size),
    )
    return check(log, keys=texts, kept=kept)


def _with_witnessed(own: Sequence[tuple[int, bytes]], witnessed: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """The log's own checkpoints, thinned, and the cosigned ones between them. Raises IntegrityError for what is no checkpoint."""
    cosigned = [(parse(note).checkpoint.size, note) for note in witnessed[-MAX_HISTORY:]]
    return sorted([*_thinned(own, MAX_HISTORY), *cosigned], key=lambda point: point[0])


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _origin(points: Sequence[tuple[int, bytes]], keys: Sequence[VerifierKey]) -> str:
    """The name of the log: that of its key, because a checkpoint must not choose its own."""
    return keys[0].name if keys else parse(points[-1][1]).checkpoint.origin if points else ""


def _thinned(points: Sequence[tuple[int, bytes]], limit: int) -> Sequence[tuple[int, bytes]]:
    """At most `limit` of `points`, evenly spread, with the newest."""
    if len(points) <= limit:
        return points
    stride = -(-len(points) // limit)
    return points[len(points) - 1 :: -stride][::-1]


def _batches(reader: Reader, tenant: str, size: int) -> Iterator[list[bytes]]:
    """The leaves of a log up to `size`; fewer when the store has lost some."""
    for start in range(0, size, BATCH):
        batch = reader.leaves(tenant, start, min(size, start + BATCH))
        if not batch:
            return
        yield batch


def _pruned(reader: Reader, tenant: str, size: int) -> int:
    """The index below which leaves were pruned: each run of leaves that is looked through holds one that was, up to there."""
    found = start = 0
    for batch in _batches(reader, tenant, size):
        gone = [index for index, leaf in enumerate(batch, start + 1) if is_pruned(leaf)]
        if not gone:
            return found
        found, start = gone[-1], start + len(batch)
    return found


def _rows_of(reader: Reader, executions: Iterable[str]) -> Iterator[Row]:
    """The rows of each execution under its own name, those too that a fork took over: its leaves state the digest over all of them."""
    for execution in executions:
        for row in reader.rows(execution):
            yield Row(execution, row.seq, row.kind, row.position, row.meta)
