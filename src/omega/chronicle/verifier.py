"""The stand-alone verifier of an Omega export: this one file, Python 3.10 or later, and the package `cryptography`. It never imports Omega.

    python verify.py export.omega [--checkpoint FILE]... [--key VERIFIER_KEY]... [--witness VERIFIER_KEY]...
        [--exporter VERIFIER_KEY]... [--json]

Exit status: 0 the log is sound, 1 it is not, 2 the file or an argument cannot be read.

What is checked, in one pass over the file and in memory that does not grow with it:

1. Every checkpoint in the export is signed for this log's origin by a key that you gave with `--key`, else by the export's own. A log may
   go on with another key: a leaf in which the old key names the new one, signed by both, hands it over. From any one key of that chain the
   others are found; each counts for its own stretch of the log and for nothing after it. When you give keys of two kinds (Ed25519 or
   ECDSA, and ML-DSA-65), each kind must have signed; a second kind may have begun at some checkpoint, and from there on it is in every one.
2. The Merkle tree (RFC 6962) over the leaves has, at the size of each checkpoint, the very root that was signed. The first that differs
   bounds the damage: the leaves between it and the one before.
3. A checkpoint that you kept elsewhere (`--checkpoint`) is a prefix of this log and is signed by the same key. If the log is shorter than
   that it was rolled back, if its root there differs it was rewritten, if the key differs it is another log.
4. When the export holds journal rows: the digest over an execution's rows is the one that its leaves state.
5. Each witness that you name (`--witness`) has cosigned a checkpoint, in the export or kept by you, and no cosignature of it is wrong.
6. When the export is signed as a whole: the signature covers this very header, log and journal, and is by the key that you gave with
   `--exporter`, else by the key of the log.

The format of an export:

    omega export 1                      magic, with the format's version
    {"checkpoints":[...],...}           header, JSON on one line: tenant, origin, keys, checkpoints (signed notes, oldest
                                        first), journals (number of executions whose rows follow)
    <leaf>                              one line each: the stored bytes of a leaf, hashed as they stand; of a leaf that was pruned, below
                                        the index that the header gives as `pruned`, # and its hash (base64)
                                        an empty line
    {"e":..,"k":..,"m":..,"p":..,"s":..}  one line per journal row: execution, kind, meta (base64), position, number; may be none
                                        an empty line
    end                                 so that a file cut short is noticed
    <statement>                         none, or a signed note: the line "omega export statement 1", the origin, Unix seconds, number of
                                        leaves, root (base64), SHA-256 of the header line and the row lines (base64)

Formats of others: C2SP tlog-checkpoint and signed-note (types 1, 2 and, under the name below, 255), tlog-cosignature (type 4, Ed25519);
RFC 6962 and RFC 9162, section 2.1, for the tree.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

MAGIC = b"omega export 1\n"
FAMILY = b"omega export "
END = b"end\n"

MAX_LINE = 1 << 20
"""Longest line of leaves and rows in bytes: a leaf is at most 64 KiB, the meta of a row is a few."""

MAX_HEADER = 16 << 20
"""Longest header line: some thousand checkpoints of a few hundred bytes."""

MAX_NOTE = 64 << 10
"""Largest checkpoint in bytes."""

MAX_CHECKPOINTS = 8192
"""Most checkpoints in one export, because each costs a signature check."""

MAX_MOMENT = 253_402_300_800
"""Unix seconds of the year 10000."""

MAX_SHOWN = 200
"""Longest name repeated in a message."""

BLOCK = 1 << 20
"""Bytes read at once."""

SOUND, NOT_SOUND, UNREADABLE = 0, 1, 2

WRONG = "OMG-C001"
ROLLED_BACK = "OMG-C002"
NOT_READ = "OMG-C003"

MAX_HANDOVERS = 1024
"""Most hand-overs believed in one log, because each costs two signature checks: one a week for twenty years."""

MAX_WITNESSES = 64
"""Most keys of witnesses and exporters taken, because each is tried on every checkpoint."""

ED25519 = 1
P256 = 2
COSIGNATURE = 4
NAMED = 255
ML_DSA_65 = bytes([NAMED]) + b"omega-ml-dsa-65/1"
LASTING_LINE = 4 + 3_309
"""Bytes of a signature line of ML-DSA-65: the id of its key and the signature (FIPS 204). No other kind has as many."""
ML_DSA_65_SIZE = 1952
P256_SPKI_SIZE = 91
HANDOVER = "omega log key handover 1"
STATEMENT = "omega export statement 1"
HANDED_OVER = b'"kind":"handover"'
PRUNED = b"#"
STATED = b'"digest":'
EMPTY_ROOT = sha256(b"").digest()
EMPTY_JOURNAL = sha256(b"omega journal 1\n").digest()


class Unreadable(Exception):
    """The export, a key or a checkpoint has no form that can be checked at all. Exit status 2."""


class Refused(Exception):
    """A checkpoint that can be read but must not be believed."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: an error code, a sentence, and the first and last leaf concerned where that is known."""

    code: str
    text: str
    first: int | None = None
    last: int | None = None

    def record(self) -> dict[str, Any]:
        """The finding as data."""
        return {"code": self.code, "text": self.text, "first": self.first, "last": self.last}


@dataclass
class Report:
    """The answer: sound when nothing was found. `leaves` and `rows` were read; `executions` had their rows checked against the log."""

    origin: str = ""
    leaves: int = 0
    checkpoints: int = 0
    kept: int = 0
    keys: str = "export"
    executions: int = 0
    rows: int = 0
    unsealed: int = 0
    pruned: int = 0
    root: str = ""
    handovers: int = 0
    lasting: int = 0
    unchecked: int = 0
    witnessed: dict[str, tuple[int, int]] = field(default_factory=dict)
    exporter: str = ""
    exported_s: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything that was checked holds."""
        return not self.findings

    @property
    def status(self) -> int:
        """The exit status: 0 sound, 1 not sound, 2 cannot be read."""
        if any(finding.code == NOT_READ for finding in self.findings):
            return UNREADABLE
        return SOUND if self.sound else NOT_SOUND

    def proves(self) -> list[str]:
        """What this very check shows, in plain sentences; nothing when the log is not sound."""
        if not self.sound:
            return []
        name = shown(self.origin)
        said = [f"the {self.leaves} leaves are the ones that {self.checkpoints} signed checkpoints of {name} cover, in that order"]
        if self.keys == "given":
            said.append("the checkpoints are signed by the key that you gave" + (", or by its successors" if self.handovers else ""))
        if self.handovers:
            said.append(f"the log went from key to key {self.handovers} time(s), each time with the word of the old key")
        if self.lasting:
            said.append(f"{self.lasting} checkpoints are signed with ML-DSA-65 too, which a quantum computer does not help to forge")
        if self.kept:
            said.append(f"the log continues the {self.kept} checkpoint(s) you kept: nothing below them was changed, dropped or reordered")
        for witness, (size, at_s) in self.witnessed.items():
            said.append(f"the witness {shown(witness)} saw the first {size} leaves at {_moment(at_s)} and no other version of them before")
        if self.exporter:
            said.append(f"the export as a whole was signed by {shown(self.exporter)} at {_moment(self.exported_s)}")
        if self.executions:
            sealed = self.rows - self.unsealed
            said.append(f"{sealed} journal rows of {self.executions} executions are those that their leaves state")
        return said

    def does_not_prove(self) -> list[str]:
        """What a passing check leaves open, in plain sentences."""
        said = ["that the world was as a leaf says: only that the leaf was written and not changed since"]
        said.append("that everything which happened was written")
        if not self.kept and not self.witnessed:
            said.append("that the log was not rewritten as a whole by whoever holds its key: keep a checkpoint elsewhere and give it here")
        else:
            whose = "you kept or a witness cosigned" if self.witnessed else "you kept"
            said.append(f"anything about leaves after the newest checkpoint {whose}, beyond the word of the key's holder")
        if self.keys == "export" and not self.kept:
            said.append("who made it: the key was taken from the export itself")
        if self.pruned:
            said.append(f"what {self.pruned} leaves among the first said: their time was over, and only their hashes were kept")
        if self.unchecked:
            which = f"the second signatures (ML-DSA-65) of {self.unchecked} checkpoints"
            said.append(f"whether {which} are good: give their key, and a release of cryptography that knows them")
        if self.unsealed:
            said.append(f"anything about {self.unsealed} journal rows that no leaf covers yet")
        return said

    def record(self) -> dict[str, Any]:
        """The report as data, for `--json`."""
        return {
            "sound": self.sound,
            "status": self.status,
            "origin": self.origin,
            "leaves": self.leaves,
            "root": self.root,
            "handovers": self.handovers,
            "lasting": self.lasting,
            "unchecked": self.unchecked,
            "checkpoints": self.checkpoints,
            "kept": self.kept,
            "witnessed": {name: {"leaves": size, "at_s": at_s} for name, (size, at_s) in self.witnessed.items()},
            "exporter": self.exporter,
            "exported_s": self.exported_s,
            "keys": self.keys,
            "executions": self.executions,
            "rows": self.rows,
            "unsealed_rows": self.unsealed,
            "pruned": self.pruned,
            "findings": [finding.record() for finding in self.findings],
            "proves": self.proves(),
            "does_not_prove": self.does_not_prove(),
        }


class Row(NamedTuple):
    """One journal row without its payload, which its meta commits to."""

    execution: str
    seq: int
    kind: int
    position: str
    meta: bytes


@dataclass(frozen=True)
class Key:
    """A public key under the name of the log that it signs for: its type and its bytes as verifier keys write them."""

    name: str
    typed: bytes

    @property
    def lasting(self) -> bool:
        """Whether it is of ML-DSA-65."""
        return self.typed[0] == NAMED

    @property
    def key_id(self) -> bytes:
        """The four bytes that signature lines carry (C2SP signed-note)."""
        hashed = self.typed[1:] if self.typed[0] == P256 else self.name.encode() + b"\n" + self.typed
        return sha256(hashed).digest()[:4]

    @classmethod
    def parse(cls, text: str, *, witness: bool = False) -> Key:
        """The key of a log, or of a `witness`, that `text` writes as name+id+base64. Raises Unreadable."""
        name, _, rest = text.strip().partition("+")
        written_id, _, body = rest.partition("+")
        raw = _unbase64(body)
        if not name or not name.isprintable() or not (_is_witness_key(raw) if witness else _is_key(raw)):
            raise Unreadable("a verifier key cannot be read: give it as name+id+base64")
        key = cls(name, raw)
        if key.key_id.hex() != written_id:
            raise Unreadable("a verifier key does not match its own id")
        return key

    def signed(self, body: bytes, value: bytes) -> bool:
        """Whether `value` is this key's signature of `body`."""
        try:
            if self.typed[0] == ED25519:
                Ed25519PublicKey.from_public_bytes(self.typed[1:]).verify(value, body)
            elif self.typed[0] == COSIGNATURE:
                timed = b"cosignature/v1\ntime %d\n" % int.from_bytes(value[:8], "big") + body
                Ed25519PublicKey.from_public_bytes(self.typed[1:]).verify(value[8:], timed)
            elif self.typed[0] == P256:
                _point(self.typed[1:]).verify(value, body, ECDSA(SHA256()))
            else:
                from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey  # noqa: PLC0415 - older releases lack it

                MLDSA65PublicKey.from_public_bytes(self.typed[len(ML_DSA_65) :]).verify(value, body)
        except (InvalidSignature, ValueError):
            return False
        except (ImportError, UnsupportedAlgorithm):
            raise Unreadable("ML-DSA-65 takes a newer release of the package cryptography") from None
        return True


@dataclass(frozen=True)
class Handover:
    """In leaf `index` the key `old` lets `new` go on with the log."""

    index: int
    old: Key
    new: Key

    @classmethod
    def parse(cls, note: str, index: int, origin: str) -> Handover:
        """The hand-over in `note`, of this log and signed by both. Raises Unreadable."""
        body, _, tail = note.rpartition("\n\n")
        lines = body.split("\n")
        if len(note) > MAX_NOTE or len(lines) != 4 or lines[:2] != [HANDOVER, origin]:
            raise Unreadable("a hand-over is none of this log")
        found = cls(index, Key.parse(lines[2]), Key.parse(lines[3]))
        signatures = tuple(_signatures(tail))
        for key in (found.old, found.new):
            if key.name != origin or not _has_signed(key, (body + "\n").encode(), signatures):
                raise Unreadable("a hand-over is not signed by both keys")
        return found


class Chain:
    """Which key counts for which stretch of the log, found from one key that is trusted."""

    def __init__(self, key: Key, handovers: Sequence[Handover]) -> None:
        """Go back from `key` to the first of its chain, then forward through all hand-overs, each by the key that is in force there."""
        first = key
        for step in reversed(handovers):
            if step.new == first:
                first = step.old
        self.eras = [(0, first)]
        for step in handovers:
            if step.old == self.eras[-1][1]:
                self.eras.append((step.index + 1, step.new))
        if key not in (era for _, era in self.eras):
            self.eras = [(0, key)]

    def at(self, size: int) -> Key:
        """The key that signs a checkpoint of `size` leaves."""
        return next(key for since, key in reversed(self.eras) if since <= size)


@dataclass(frozen=True)
class Checkpoint:
    """What a signed note says: a log of `size` leaves under `root`, and who claims to have signed that `body`."""

    origin: str
    size: int
    root: bytes
    body: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, note: bytes) -> Checkpoint:
        """The checkpoint in `note`. Raises Unreadable."""
        if len(note) > MAX_NOTE:
            raise Unreadable(f"a checkpoint is larger than {MAX_NOTE} bytes")
        try:
            body, blank, tail = note.decode().rpartition("\n\n")
        except UnicodeDecodeError:
            raise Unreadable("a checkpoint is not text") from None
        lines = body.split("\n")
        if not blank or not tail.endswith("\n") or len(lines) < 3:
            raise Unreadable("a checkpoint is not a signed note of origin, size and root")
        origin, size, root = lines[0], lines[1], _unbase64(lines[2])
        if not origin or not (size.isascii() and size.isdigit()) or len(size) > 18 or len(root) != 32:
            raise Unreadable("a checkpoint is not a signed note of origin, size and root")
        return cls(origin, int(size), root, (body + "\n").encode(), tuple(_signatures(tail)))

    def require(self, chains: Sequence[Chain]) -> None:
        """Raise Refused unless the key signed this that one of `chains` has at this size."""
        if not any(_has_signed(chain.at(self.size), self.body, self.signatures) for chain in chains):
            raise Refused(f"the checkpoint of {self.size} leaves is not signed by the key of {shown(self.origin)}")

    def claims(self, key: Key) -> bool:
        """Whether a line says that `key` signed this."""
        return any(name == key.name and value[:4] == key.key_id for name, value in self.signatures)


class Peaks:
    """The Merkle tree of the leaves so far, as one full node per set bit of their number."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes | None] = []

    def add(self, leaves: Sequence[bytes], pruned: int = 0) -> int:
        """Add `leaves`: binary addition with carries, a level at a time. Below the index `pruned` a line may be a hash; gives how many."""
        first, count = leaves[: max(0, pruned - self.size)], 0
        self.size += len(leaves)
        hashes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
        for at, line in enumerate(first):
            if line[:1] == PRUNED:
                hashes[at], count = _stated_hash(line), count + 1
        peaks = self._peaks
        level = 0
        while hashes:
            if level == len(peaks):
                peaks.append(None)
            peak = peaks[level]
            if peak is not None:
                hashes.insert(0, peak)
            peaks[level] = hashes.pop() if len(hashes) % 2 else None
            pairs = iter(hashes)
            hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            level += 1
        return count

    def root(self) -> bytes:
        """The root hash so far."""
        root: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                root = peak if root is None else sha256(b"\x01" + peak + root).digest()
        return EMPTY_ROOT if root is None else root


@dataclass
class Envelope:
    """What surrounds the leaves of an export: the digest of header and rows so far, and the statement below `end`, empty when unsigned."""

    digest: Any = field(default_factory=sha256)
    statement: bytes = b""


@dataclass
class Log:
    """What is to be checked: `batches` gives the leaves in order, `rows` the rows of `journals` executions, one after another. Below the
    index `pruned` a line may be the hash of a leaf."""

    origin: str
    keys: Sequence[str]
    checkpoints: Sequence[bytes]
    batches: Iterable[Sequence[bytes]]
    rows: Iterable[Row] = ()
    journals: int = 0
    pruned: int = 0
    envelope: Envelope = field(default_factory=Envelope)


def check(
    log: Log, *, keys: Sequence[str] = (), kept: Sequence[bytes] = (), witnesses: Sequence[str] = (), exporters: Sequence[str] = ()
) -> Report:
    """Check `log` against trusted `keys` (verifier keys; the log's own when none is given) and `kept` checkpoints (signed notes).

    Each of `witnesses` (verifier keys of type 4) must have cosigned; one of `exporters` must have signed the export as a whole.
    Never raises for what `log` contains; what cannot be read becomes a finding with code OMG-C003.
    """
    report = Report(origin=log.origin, keys="given" if keys else "export")
    try:
        trusted = [Key.parse(text) for text in keys or log.keys]
        held = [Checkpoint.parse(note) for note in kept]
        seers = [Key.parse(text, witness=True) for text in witnesses]
        senders = [Key.parse(text) for text in exporters]
        if len(seers) + len(senders) > MAX_WITNESSES:
            raise Unreadable(f"more than {MAX_WITNESSES} keys of witnesses and exporters were given")
    except Unreadable as error:
        report.findings.append(Finding(NOT_READ, str(error)))
        return report
    report.kept = len(held)
    claims = _Claims(log.journals, log.origin)
    try:
        points = _points(log, report)
        roots = _grow(log, (*points, *held), claims, report)
        chains = [Chain(key, claims.handovers) for key in trusted if not key.lasting]
        if held and not keys:
            chains = _pinned(chains, held) or chains
        signed = _signed_points(points, chains, report)
        _check_lasting(signed, [key for key in trusted if key.lasting], asked=bool(keys), report=report)
        own = _check_kept(log, held, chains, signed, report)
        _compare_signed(signed, roots, report.leaves, report)
        _compare_kept(own, roots, report)
        _check_witnesses((*signed, *own), seers, report)
        claims.check(log.rows, report)
        _check_exporter(log, senders or [chain.at(report.leaves) for chain in chains], asked=bool(senders), report=report)
    except Unreadable as error:
        report.findings.append(Finding(WRONG, str(error)))
    return report


def _pinned(chains: Sequence[Chain], held: Sequence[Checkpoint]) -> list[Chain]:
    """Those of an export's own chains that signed every kept checkpoint: whoever adds a key to the file must not be believed for it."""
    pinned = []
    for chain in chains:
        try:
            for point in held:
                point.require([chain])
        except Refused:
            continue
        pinned.append(chain)
    return pinned


def _points(log: Log, report: Report) -> list[Checkpoint]:
    """The checkpoints of the log that can be read and are its own; each that is not is a finding. Signatures are looked at later."""
    found: list[Checkpoint] = []
    for note in log.checkpoints:
        try:
            point = Checkpoint.parse(note)
            if point.origin != log.origin:
                raise Refused(f"a checkpoint is of {shown(point.origin)}, not of {shown(log.origin)}")
        except (Unreadable, Refused) as error:
            report.findings.append(Finding(WRONG, str(error)))
            continue
        found.append(point)
    return found


def _signed_points(points: Sequence[Checkpoint], chains: Sequence[Chain], report: Report) -> list[Checkpoint]:
    """Those of `points` that a trusted key signed; each that none signed is a finding."""
    good: list[Checkpoint] = []
    for point in points:
        try:
            point.require(chains)
        except Refused as error:
            report.findings.append(Finding(WRONG, str(error)))
            continue
        if good and point.size < good[-1].size:
            text = f"the log's own checkpoints go back from {good[-1].size} leaves to {point.size}"
            report.findings.append(Finding(ROLLED_BACK, text))
        good.append(point)
    report.checkpoints = len(good)
    report.handovers = max((len(chain.eras) - 1 for chain in chains), default=0)
    return good


def _knows_lasting() -> bool:
    """Whether the package `cryptography` here, and the library below it, know ML-DSA-65."""
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey  # noqa: PLC0415 - older releases lack it

        MLDSA65PrivateKey.from_seed_bytes(bytes(32))
    except (ImportError, UnsupportedAlgorithm):
        return False
    return True


def _check_lasting(signed: Sequence[Checkpoint], keys: Sequence[Key], *, asked: bool, report: Report) -> None:
    """Hold the second signatures to what they promise: none is wrong, none is missing once they have begun, none at all if asked for."""
    begun = False
    if not keys or not (asked or _knows_lasting()):  # what an export says of its own keys is no claim of whoever checks it
        report.unchecked = sum(any(len(value) == LASTING_LINE for _, value in point.signatures) for point in signed)
        return
    for point in signed:
        claimed = any(point.claims(key) for key in keys)
        if claimed and any(_has_signed(key, point.body, point.signatures) for key in keys):
            report.lasting += 1
        elif claimed:
            report.findings.append(Finding(WRONG, f"the checkpoint of {point.size} leaves has a wrong signature of ML-DSA-65"))
        elif begun:
            report.findings.append(Finding(WRONG, f"the checkpoint of {point.size} leaves lacks the signature of ML-DSA-65"))
        begun = begun or claimed
    if keys and asked and not begun and signed:
        report.findings.append(Finding(WRONG, "no checkpoint is signed by the key of ML-DSA-65 that you gave"))


def _check_witnesses(points: Sequence[Checkpoint], witnesses: Sequence[Key], report: Report) -> None:
    """Find the largest checkpoint that each witness cosigned, and when it did. None at all, or a wrong cosignature, is a finding."""
    for witness in witnesses:
        found: list[tuple[int, int]] = []
        for point in points:
            lines = [value for name, value in point.signatures if name == witness.name and value[:4] == witness.key_id]
            for value in lines:
                if len(value) == 4 + 8 + 64 and witness.signed(point.body, value[4:]):
                    found.append((point.size, int.from_bytes(value[4:12], "big")))
                else:
                    text = f"the checkpoint of {point.size} leaves has a wrong cosignature of {shown(witness.name)}"
                    report.findings.append(Finding(WRONG, text))
        if found:
            report.witnessed[witness.name] = max(found)
        else:
            report.findings.append(Finding(WRONG, f"no checkpoint is cosigned by the witness {shown(witness.name)}"))


def _check_exporter(log: Log, keys: Sequence[Key], *, asked: bool, report: Report) -> None:
    """Hold the statement below the export to what was read: same log, same root, same header and rows, signed by one of `keys`."""
    note = log.envelope.statement
    if not note:
        if asked:
            report.findings.append(Finding(WRONG, "the export is not signed as a whole"))
        return
    body, _, tail = note.decode("utf-8", "replace").rpartition("\n\n")
    lines, digest = body.split("\n"), log.envelope.digest.digest()
    stated = [STATEMENT, log.origin, str(report.leaves), report.root, digest.hex()]
    if len(lines) != 6 or not (lines[2].isascii() and lines[2].isdigit() and len(lines[2]) < 12) or not tail.endswith("\n"):
        report.findings.append(Finding(WRONG, "the statement about the export as a whole cannot be read"))
    elif [*lines[:2], lines[3], _unbase64(lines[4]).hex(), _unbase64(lines[5]).hex()] != stated:
        report.findings.append(Finding(WRONG, "the export is not the one that its exporter signed"))
    else:
        signatures = tuple(_signatures(tail))
        signer = next((key for key in keys if _has_signed(key, (body + "\n").encode(), signatures)), None)
        if signer is None:
            report.findings.append(Finding(WRONG, "the export as a whole is not signed by a key that is trusted for it"))
        else:
            report.exporter, report.exported_s = signer.name, int(lines[2])


def _check_kept(
    log: Log, held: Sequence[Checkpoint], chains: Sequence[Chain], signed: Sequence[Checkpoint], report: Report
) -> list[Checkpoint]:
    """Hold the log against what was kept elsewhere: same origin, same key, not shorter. Gives those that are of this log."""
    size = max((point.size for point in signed), default=0)
    own: list[Checkpoint] = []
    for point in held:
        if point.origin != log.origin:
            text = f"the checkpoint you kept is of {shown(point.origin)}, this log is {shown(log.origin)}"
            report.findings.append(Finding(ROLLED_BACK, text))
            continue
        own.append(point)
        try:
            point.require(chains)
        except Refused:
            report.findings.append(Finding(ROLLED_BACK, "this log is signed with another key than the checkpoint you kept"))
        if point.size > size:
            text = f"the checkpoint you kept has {point.size} leaves, this log has {size}: it was rolled back"
            report.findings.append(Finding(ROLLED_BACK, text, size, point.size - 1))
    return own


def _grow(log: Log, points: Sequence[Checkpoint], claims: _Claims, report: Report) -> dict[int, bytes]:
    """Grow the tree over all leaves; gives its root at the size of each of `points`, where the log is that long."""
    roots = {0: EMPTY_ROOT}
    peaks = Peaks()
    due = iter(sorted({point.size for point in points if point.size}))
    mark = next(due, None)
    for batch in log.batches:
        claims.note(batch, peaks.size, digests=bool(log.journals))
        at = 0
        while mark is not None and mark <= peaks.size + len(batch) - at:
            upto = at + mark - peaks.size
            report.pruned += peaks.add(batch[at:upto], log.pruned)
            roots[mark] = peaks.root()
            at, mark = upto, next(due, None)
        report.pruned += peaks.add(batch[at:] if at else batch, log.pruned)
    report.leaves, report.root = peaks.size, peaks.root().hex()
    return roots


def _compare_kept(held: Sequence[Checkpoint], roots: dict[int, bytes], report: Report) -> None:
    for point in held:
        if point.size in roots and roots[point.size] != point.root:
            text = f"the first {point.size} leaves are not those of the checkpoint you kept: the log was rewritten"
            report.findings.append(Finding(ROLLED_BACK, text, 0, point.size - 1))


def _compare_signed(signed: Sequence[Checkpoint], roots: dict[int, bytes], size: int, report: Report) -> None:
    """The first signed root that differs bounds the damage; then the log must end where its newest checkpoint says."""
    matched = 0
    for point in signed:
        if point.size not in roots:
            break
        if roots[point.size] != point.root:
            first, last = min(matched, point.size - 1), point.size - 1
            where = f"leaf {last} is not the one" if first >= last else f"leaves {first} to {last} are not those"
            report.findings.append(Finding(WRONG, f"{where} that the signed checkpoint of {point.size} leaves covers", first, last))
            return
        matched = point.size
    newest = max((point.size for point in signed), default=0)
    if size < newest:
        report.findings.append(Finding(WRONG, f"the log ends after {size} leaves; {newest} were signed", size, newest - 1))
    elif size > newest:
        report.findings.append(Finding(WRONG, f"{size - newest} leaves stand after the newest signed checkpoint", newest, size - 1))


class _Claims:
    """What the leaves state: for an execution, the digest of its journal after so many rows; for the log, who goes on with it."""

    def __init__(self, journals: int, origin: str) -> None:
        self._journals = journals
        self._origin = origin
        self._stated: dict[str, dict[int, tuple[str, int]]] = {}
        self.handovers: list[Handover] = []

    def note(self, batch: Sequence[bytes], start: int, *, digests: bool) -> None:
        """Remember what the leaves of `batch`, the first of which has index `start`, state; digests only where they are asked for."""
        joined = b"\n".join(batch)  # one search in all is twice as fast as one in each
        if HANDED_OVER in joined:
            for index, leaf in enumerate(batch, start):
                if HANDED_OVER in leaf:
                    self._hand_over(_fields(leaf), index)
        if not digests or STATED not in joined:
            return
        for index, leaf in enumerate(batch, start):
            if STATED not in leaf:
                continue
            found = _fields(leaf)
            execution, digest, rows = found.get("execution"), found.get("digest"), found.get("rows", 0)
            if isinstance(execution, str) and isinstance(digest, str) and isinstance(rows, int):
                self._stated.setdefault(execution, {})[rows] = (digest, index)

    def _hand_over(self, found: dict[str, Any], index: int) -> None:
        note = found.get("note")
        if found.get("kind") != "handover" or not isinstance(note, str) or len(self.handovers) >= MAX_HANDOVERS:
            return
        try:
            self.handovers.append(Handover.parse(note, index, self._origin))
        except Unreadable:
            return  # it hands over nothing: then the checkpoints after it are signed by the key before it, or by none that is trusted

    def check(self, rows: Iterable[Row], report: Report) -> None:
        """Compare the digests of `rows` with what was stated."""
        execution, seq, digest = "", 0, EMPTY_JOURNAL
        broken = False
        for row in rows:
            report.rows += 1
            if row.execution != execution:
                self._close(execution, seq, report, broken)
                execution, seq, digest, broken = row.execution, 0, EMPTY_JOURNAL, False
            if row.seq != seq:
                if not broken:
                    report.findings.append(Finding(WRONG, f"row {seq} of {shown(execution)} is missing from its journal"))
                broken = True
            digest, seq = _chained(digest, row), row.seq + 1
            stated = self._stated.get(execution, {}).get(seq)
            if stated is not None and stated[0] != digest.hex() and not broken:
                text = f"the first {seq} journal rows of {shown(execution)} are not those that leaf {stated[1]} states"
                report.findings.append(Finding(WRONG, text, stated[1], stated[1]))
                broken = True
        self._close(execution, seq, report, broken)
        if report.executions != self._journals:
            text = f"the rows of {report.executions} executions are there, of {self._journals} they should be"
            report.findings.append(Finding(WRONG, text))

    def _close(self, execution: str, rows: int, report: Report, broken: bool) -> None:
        """An execution's rows have ended: none that a leaf states may be missing."""
        if not execution:
            return
        stated = self._stated.get(execution, {})
        covered = max(stated, default=0)
        if covered > rows and not broken:
            index = stated[covered][1]
            text = f"the journal of {shown(execution)} ends after {rows} rows; leaf {index} covers {covered}"
            report.findings.append(Finding(WRONG, text, index, index))
        report.unsealed += max(0, rows - covered)
        report.executions += 1


def _chained(digest: bytes, row: Row) -> bytes:
    position = row.position.encode("utf-8", "surrogatepass")
    head = b"%b%d %d %d %d\n" % (digest, row.seq, row.kind, len(position), len(row.meta))
    return sha256(head + position + row.meta).digest()


# Reading an export.


class _Sections:
    """The sections of an export, each a run of lines that an empty line ends. Memory is bounded by BLOCK and MAX_LINE."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""

    def lines(self, name: str) -> Iterator[list[bytes]]:
        """The lines of the next section in batches, without their newlines. Raises Unreadable when it has no end."""
        while True:
            block = self._next_block()
            if not block:
                raise Unreadable(f"the file is cut short: its {name} have no end")
            lines = block.split(b"\n")
            lines.pop()
            if b"" not in lines:  # several times faster than to search the block for two newlines
                yield lines
                continue
            end = lines.index(b"")
            del lines[end:]
            self._rest = block[sum(map(len, lines)) + end + 1 :]
            if lines:
                yield lines
            return

    def below(self) -> bytes:
        """What stands below the end mark: nothing, or a signed note. Raises Unreadable for anything else."""
        most = len(END) + MAX_NOTE
        left = self._rest + self._file.read(max(0, most + 1 - len(self._rest)))
        note = left[len(END) :]
        if not left.startswith(END) or len(left) > most or (note and not note.startswith(STATEMENT.encode() + b"\n")):
            raise Unreadable("the file does not end where an export ends")
        return note

    def _next_block(self) -> bytes:
        """Whole lines, about BLOCK bytes of them; empty at the end of the file or of its last whole line."""
        block = self._rest or self._file.read(BLOCK)
        self._rest = b""
        if block and not block.endswith(b"\n"):
            tail = self._file.readline(MAX_LINE + 1)
            if len(tail) > MAX_LINE:
                raise Unreadable(f"a line of the export is longer than {MAX_LINE} bytes")
            block += tail
            if not tail.endswith(b"\n"):
                return b""
        return block


def read_export(file: BinaryIO) -> Log:
    """The log in an export, read as far as its header; leaves and rows are read as they are asked for. Raises Unreadable."""
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        newer = magic.startswith(FAMILY)
        raise Unreadable("the export has a newer format than this verifier knows" if newer else "this is not an export of Omega")
    line = file.readline(MAX_HEADER + 1)
    if not line.endswith(b"\n"):
        raise Unreadable("the header of the export is cut short or too long")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        raise Unreadable("the header of the export is not JSON") from None
    if not isinstance(header, dict) or not isinstance(header.get("origin"), str):
        raise Unreadable("the header of the export does not name its log")
    keys, notes = (_texts(header, name) for name in ("keys", "checkpoints"))
    if len(notes) > MAX_CHECKPOINTS:
        raise Unreadable(f"the export has more than {MAX_CHECKPOINTS} checkpoints")
    sections = _Sections(file)
    points = [note.encode("utf-8", "replace") for note in notes]
    envelope = Envelope()
    envelope.digest.update(line)
    rows = _read_rows(sections, envelope)
    pruned = _count(header, "pruned") if "pruned" in header else 0
    return Log(header["origin"], keys, points, sections.lines("leaves"), rows, _count(header, "journals"), pruned, envelope)


def _texts(header: dict[str, Any], name: str) -> list[str]:
    found = header.get(name)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Unreadable(f"the header of the export has no list of {name}")
    return found


def _count(header: dict[str, Any], name: str) -> int:
    found = header.get(name)
    if type(found) is not int or found < 0:
        raise Unreadable(f"the header of the export has no number of {name}")
    return found


def _read_rows(sections: _Sections, envelope: Envelope) -> Iterator[Row]:
    number = 0
    for lines in sections.lines("rows"):
        envelope.digest.update(b"\n".join(lines) + b"\n")
        for line in lines:
            number += 1
            try:
                found = json.loads(line)
                row = Row(found["e"], found["s"], found["k"], found["p"], base64.b64decode(found["m"], validate=True))
            except (ValueError, TypeError, KeyError, RecursionError):
                raise Unreadable(f"journal row {number} of the export cannot be read") from None
            if not (isinstance(row.execution, str) and isinstance(row.position, str) and type(row.seq) is type(row.kind) is int):
                raise Unreadable(f"journal row {number} of the export cannot be read")
            yield row
    envelope.statement = sections.below()


def verify_export(
    file: BinaryIO, *, keys: Sequence[str] = (), kept: Sequence[bytes] = (), witnesses: Sequence[str] = (), exporters: Sequence[str] = ()
) -> Report:
    """Check the export in `file`; see `check`. Never raises for what the file contains."""
    try:
        log = read_export(file)
    except Unreadable as error:
        return Report(findings=[Finding(NOT_READ, str(error))])
    return check(log, keys=keys, kept=kept, witnesses=witnesses, exporters=exporters)


def _fields(leaf: bytes) -> dict[str, Any]:
    """What a leaf says; nothing when it is not of the form of one: whatever its bytes are, the tree covers them."""
    try:
        found = json.loads(leaf)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _stated_hash(line: bytes) -> bytes:
    """The hash in a line that stands for a pruned leaf. Raises Unreadable."""
    raw = _unbase64(line[1:].decode("ascii", "replace"))
    if len(raw) != 32:
        raise Unreadable("a line that stands for a pruned leaf is no hash")
    return raw


def _signatures(tail: str) -> Iterator[tuple[str, bytes]]:
    """The names and values in the signature lines of a note."""
    for line in tail[:-1].split("\n"):
        dash, name, value = [*line.split(" "), "", ""][:3]
        if dash == "\u2014" and name:
            yield name, _unbase64(value)


def _has_signed(key: Key, body: bytes, signatures: Iterable[tuple[str, bytes]]) -> bool:
    return any(name == key.name and value[:4] == key.key_id and key.signed(body, value[4:]) for name, value in signatures)


def _is_key(raw: bytes) -> bool:
    """Whether `raw` is the type and the bytes of a public key that can be checked here."""
    if raw[:1] == bytes([P256]) and len(raw) == 1 + P256_SPKI_SIZE:
        try:
            _point(raw[1:])
        except (ValueError, UnsupportedAlgorithm):
            return False
        return True
    if raw.startswith(ML_DSA_65):
        return len(raw) == len(ML_DSA_65) + ML_DSA_65_SIZE
    return raw[:1] == bytes([ED25519]) and len(raw) == 33


def _is_witness_key(raw: bytes) -> bool:
    return raw[:1] == bytes([COSIGNATURE]) and len(raw) == 33


def _moment(at_s: int) -> str:
    """Unix seconds for a person: UTC, or the bare number where no calendar reaches."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_s)) if at_s < MAX_MOMENT else f"{at_s} s"


def _point(spki: bytes) -> EllipticCurvePublicKey:
    found = load_der_public_key(spki)
    if not isinstance(found, EllipticCurvePublicKey) or found.curve.name != "secp256r1":
        raise ValueError("not a key of P-256")
    return found


def _unbase64(text: str) -> bytes:
    """The bytes that `text` writes, or none at all when it writes them in no way or in another way than the standard one."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""


def shown(name: str) -> str:
    """A name out of a file that may be hostile, fit for any terminal: what is not plain is escaped, what is long is cut."""
    plain = name if name.isascii() and name.isprintable() else ascii(name)
    return plain if len(plain) <= MAX_SHOWN else plain[:MAX_SHOWN] + "..."


def told(report: Report) -> str:
    """The report as text for a person."""
    verdict = {SOUND: "sound", NOT_SOUND: "NOT SOUND", UNREADABLE: "cannot be read"}[report.status]
    lines = [f"{verdict}: {shown(report.origin) or 'export'}"]
    lines += [f"  {finding.code} {finding.text}" for finding in report.findings]
    if report.leaves:
        lines.append(f"  {report.leaves} leaves, root {report.root}")
    if report.sound:
        lines.append("this shows:")
        lines += [f"  - {sentence}" for sentence in report.proves()]
        lines.append("this does not show:")
        lines += [f"  - {sentence}" for sentence in report.does_not_prove()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verifier from a command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Verify an export of an Omega log. Exit status: 0 sound, 1 not sound, 2 cannot be read."
    )
    parser.add_argument("export", help="the file to verify")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint that you kept elsewhere")
    parser.add_argument("--key", action="append", default=[], metavar="KEY", help="the log's key: name+id+base64")
    parser.add_argument("--witness", action="append", default=[], metavar="KEY", help="the key of a witness that must have cosigned")
    parser.add_argument("--exporter", action="append", default=[], metavar="KEY", help="the key that must have signed the whole export")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        kept = []
        for path in given.checkpoint:
            with open(path, "rb") as file:
                kept.append(file.read(MAX_NOTE + 1))
        with open(given.export, "rb") as file:
            report = verify_export(file, keys=given.key, kept=kept, witnesses=given.witness, exporters=given.exporter)
    except OSError as error:
        report = Report(findings=[Finding(NOT_READ, f"{error.filename or given.export} cannot be read: {error.strerror}")])
    sys.stdout.write(json.dumps(report.record(), indent=2) + "\n" if given.json else told(report))
    return report.status


if __name__ == "__main__":
    raise SystemExit(main())
