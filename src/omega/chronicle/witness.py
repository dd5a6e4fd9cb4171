"""A witness: whoever remembers how far a log has come, and puts its name under a checkpoint only when the log went on from there.

Theory. The keeper of a log can sign two histories and show each to another reader. A witness makes that visible: it keeps, per log, the
newest size and root that it has cosigned, and cosigns a further checkpoint only with a proof that the old tree is a prefix of the new
one. Two readers who trust the same witness therefore cannot be shown two histories. What it keeps is on disk before the cosignature leaves;
a witness that forgets is worth nothing, so `cosign` gives the memory and the line together and the caller stores first.

The exchange is that of C2SP tlog-witness, the line that of C2SP tlog-cosignature (Ed25519, type 4): any log and any witness that speak
these work with ours. A request, as bytes:

    old 20                       how far this witness has seen the log, as the log believes
    PlRNCrwHpqhGrupue0L7gxb...   the consistency proof from there, a hash a line, at most 63
                                 an empty line
    example.org/log              the checkpoint, signed by the log
    ...

Refusals are errors with the status that the exchange gives them over HTTP in `details["status"]`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omega.kernel.errors import IntegrityError
from omega.kernel.ports import Signer
from omega.trust import checkpoint
from omega.trust.checkpoint import COSIGNATURE, MAX_NOTE, VerifierKey
from omega.trust.merkle import HASH_SIZE, MAX_LEVELS, verify_consistency

MAX_REQUEST = MAX_NOTE + (MAX_LEVELS + 1) * 64
"""Largest request in bytes: a checkpoint, a proof of 63 hashes, and the line of the old size."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest checkpoint of one log that a witness has cosigned; of a log never seen, size 0."""

    size: int = 0
    root: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """What a log asks: cosign `note`, which continues the log of `old` leaves as `proof` shows."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def write(self) -> bytes:
        """The request as it travels."""
        lines = [f"old {self.old}", *(base64.b64encode(step).decode() for step in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, raw: bytes) -> Request:
        """The request that `raw` writes. Raises IntegrityError (OMG-C001, status 400)."""
        head, blank, note = raw.partition(b"\n\n")
        if len(raw) > MAX_REQUEST or not blank:
            raise _refused(400, "a request to a witness cannot be read")
        first, *steps = head.decode("ascii", "replace").split("\n")
        word, _, number = first.partition(" ")
        if word != "old" or not (number.isascii() and number.isdigit()) or len(number) > 18 or str(int(number)) != number:
            raise _refused(400, "a request to a witness does not say how far it has seen the log")
        if len(steps) > MAX_LEVELS:
            raise _refused(400, f"a proof of more than {MAX_LEVELS} hashes is none")
        return cls(int(number), tuple(_hash(step) for step in steps), note)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness answers: what it must remember before it answers, and the `line` to add to the checkpoint."""

    origin: str
    seen: Seen
    line: bytes


class Witness:
    """A witness under one `name`, for the `logs` (origin to public keys) that it was told to watch.

    Pure: what was seen comes in, what must be remembered goes out. Whoever stores it lets no second request for that log in between.
    """

    def __init__(self, name: str, signer: Signer, logs: Mapping[str, Sequence[VerifierKey]]) -> None:
        self.name = name
        self._signer = signer
        self._logs = {origin: tuple(keys) for origin, keys in logs.items()}

    @property
    def key(self) -> VerifierKey:
        """The key by which others check this witness's lines."""
        return VerifierKey(self.name, self._signer.public, COSIGNATURE)

    def cosign(self, request: Request, seen: Seen, *, at_s: int) -> Cosigned:
        """The answer to `request` at `at_s` (Unix seconds), when `seen` is what was remembered of that log.

        Raises IntegrityError with `details["status"]`: OMG-C001 for what cannot be read (400), an unknown log (404), a log not signed by
        its key (403), a proof that does not hold (422); OMG-C002 for a log that goes back or forks (409; `details["size"]` was seen).
        """
        try:
            parsed = checkpoint.parse(request.note)
        except IntegrityError as error:
            raise _refused(400, error.cause) from error
        point = parsed.checkpoint
        keys = self._logs.get(point.origin)
        if keys is None:
            raise _refused(404, "this witness does not watch that log")
        if not _signed(parsed, keys):
            raise _refused(403, "the checkpoint is not signed by the key of its log")
        if request.old > point.size:
            raise _refused(400, "the checkpoint is older than what it is said to continue")
        if request.old != seen.size:
            raise _conflict(seen, f"this witness has seen {seen.size} leaves of the log, not {request.old}")
        if seen.size == point.size and seen.size and seen.root != point.root:
            raise _conflict(seen, f"the log shows another tree of {seen.size} leaves than it showed this witness: it forked")
        if not _continues(request, seen, point):
            raise _refused(422, f"it is not shown that the log of {point.size} leaves continues the one of {seen.size}")
        cosigned = checkpoint.cosign(request.note, name=self.name, signer=self._signer, at_s=at_s)
        return Cosigned(point.origin, Seen(point.size, point.root), cosigned[len(request.note) :])


def merged(note: bytes, lines: Sequence[bytes], witnesses: Sequence[VerifierKey]) -> bytes:
    """`note` with the `lines` that came back from `witnesses`, each checked. Raises IntegrityError (OMG-C001) for any other line."""
    found = note
    for line in lines:
        found += line
        held = checkpoint.parse(found)
        newest = checkpoint.Note(held.checkpoint, held.body, held.signatures[-1:])
        if line.count(b"\n") != 1 or not newest.signed_by(witnesses):
            raise IntegrityError("OMG-C001", "a cosignature is not of a witness that was asked")
    return found


def _continues(request: Request, seen: Seen, point: checkpoint.Checkpoint) -> bool:
    if seen.size == 0:
        return not request.proof
    return verify_consistency(seen.size, point.size, request.proof, seen.root, point.root)


def _signed(note: checkpoint.Note, keys: Sequence[VerifierKey]) -> bool:
    try:
        return bool(note.signed_by(keys))
    except IntegrityError:
        return False


def _hash(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != HASH_SIZE or base64.b64encode(raw).decode() != text:
        raise _refused(400, "a step of a proof is not a hash")
    return raw


def _refused(status: int, why: str) -> IntegrityError:
    return IntegrityError("OMG-C001", why, details={"status": status})


def _conflict(seen: Seen, why: str) -> IntegrityError:
    return IntegrityError("OMG-C002", why, details={"status": 409, "size": seen.size})
