"""The journal: the event-sourced history of one execution, as rows; and what may be read from them.

A row is (execution, seq, kind, position, meta, payload). `seq` counts from 0 without gaps. `position` is where in the flow it happened,
`meta` is small, readable and never personal (names, digests under a key, times, decisions), `payload` is the sealed value, which can be
destroyed without touching the rest. Rows are only ever added.

A position is `branch path / flow name`, with `#n` for the n-th occurrence within the branch (from 1, the first has none), `.i` for the
i-th branch that a combinator opened and `~name` for work beside a branch, which a time limit or a further attempt set apart:
`findings.2~bandit.1/bandit` is the second attempt at bandit in the third branch of `findings`. Inside one branch steps follow one another,
so the k-th step of a branch must be the k-th recorded one: that is the whole determinism check, and why only the context may open branches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from omega.kernel.errors import IntegrityError

FORMAT = 1
"""Version of the row format; a store with a higher one is refused (OMG-S003)."""

MAX_PAYLOAD = 16 << 20
"""Largest value of one step in bytes, before sealing: larger ones delay every neighbour in the group commit."""

MAX_POSITION = 512
"""Longest position in characters: deeper nesting than this is a loop gone wrong."""


class Kind(IntEnum):
    """What a row records. Numbers are part of the format: never reuse one."""

    STARTED = 1
    INTENT = 2
    DONE = 3
    FAILED = 4
    VALUE = 5
    TIMER = 6
    CHOSE = 7
    NEEDS = 8
    APPROVED = 9
    SIGNAL = 10
    RESOLVED = 11
    CANCEL = 12
    RESUMED = 13
    FINISHED = 14
    DENIED = 15
    PAUSED = 16
    CHILD = 17
    FORKED = 18
    OVERRIDE = 19
    REDRIVEN = 20
    MIGRATED = 21
    ANSWERED = 22


class Status(StrEnum):
    """Where an execution stands. A dead one was taken up too often without getting on: it stands still until it is redriven."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    IN_DOUBT = "in doubt"
    DEAD = "dead"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Status.DONE, Status.FAILED, Status.CANCELLED)


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One row of the journal, as stored."""

    execution: str
    seq: int
    kind: int
    position: str
    meta: bytes
    payload: bytes | None = None


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """`meta` of INTENT, DONE, FAILED, NEEDS, DENIED and OVERRIDE: what ran, on what, with which decision and at what cost.

    `input` and `output` are salted commitments (32 bytes), `at_us` Unix microseconds of the start, `took_us` the duration,
    `decision` a `Verdict.record()`, `error` an `OmegaError.record()`, `cost_micros` and `tokens` what was spent, `leaf` tells
    whether the row came with a leaf of its own.
    """

    flow: str
    version: str
    effect: str
    where: str = ""
    code: str = ""
    kind: str = "task"
    input: bytes = b""
    output: bytes = b""
    at_us: int = 0
    took_us: int = 0
    cost_micros: int = 0
    tokens: int = 0
    priced: bool = True
    decision: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    note: str = ""


class Start(msgspec.Struct, frozen=True, omit_defaults=True):
    """`meta` of STARTED: what was started, by whom. The input and the full start record (scope, budget, outline) are the sealed payload.

    `due_us` is the moment from which a worker may begin it; 0 when it was begun at once.
    """

    flow: str
    version: str
    digest: str
    tenant: str
    principal: str
    target: str = ""
    at_us: int = 0
    omega: str = ""
    decision: dict[str, Any] | None = None
    record: bytes = b""
    due_us: int = 0


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """`meta` of every other kind: who did what when. `output` commits to the payload where there is one.

    `letter` is the id of the letter by which a decision came from another process, so that none counts twice.
    """

    by: str = ""
    at_us: int = 0
    text: str = ""
    status: str = ""
    output: bytes = b""
    error: dict[str, Any] | None = None
    value: int = 0
    letter: str = ""


STEP_KINDS = frozenset({Kind.INTENT, Kind.DONE, Kind.FAILED, Kind.NEEDS, Kind.DENIED, Kind.OVERRIDE})

_encode = msgspec.msgpack.Encoder().encode
_decode_step = msgspec.msgpack.Decoder(Step).decode
_decode_start = msgspec.msgpack.Decoder(Start).decode
_decode_note = msgspec.msgpack.Decoder(Note).decode


def encode_meta(meta: Step | Start | Note) -> bytes:
    """`meta` as stored:

    MessagePack with field names, defaults left out. These bytes are what the digest covers; they are never re-encoded.
    """
    return _encode(meta)


def decode_meta(row: Row) -> Step | Start | Note:
    """The typed `meta` of a row. Raises IntegrityError (OMG-S005) when it does not parse."""
    try:
        if row.kind in STEP_KINDS:
            return _decode_step(row.meta)
        return _decode_start(row.meta) if row.kind == Kind.STARTED else _decode_note(row.meta)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise IntegrityError("OMG-S005", f"row {row.seq} of {row.execution} does not parse") from error


def chain(digest: bytes, row: Row) -> bytes:
    """The execution digest after `row`: SHA-256 over the digest before it, the row's kind, position and meta, each with its length.

    The payload is covered through its salted commitment in `meta`, so erasing it leaves the digest checkable.
    """
    position = row.position.encode()
    head = b"%b%d %d %d %d\n" % (digest, row.seq, row.kind, len(position), len(row.meta))
    return hashlib.sha256(head + position + row.meta).digest()


EMPTY_DIGEST = hashlib.sha256(b"omega journal 1\n").digest()
"""The execution digest before the first row."""


def digest_of(rows: Iterable[Row]) -> bytes:
    """The execution digest of a whole history, in order. Raises IntegrityError (OMG-S005) on a gap."""
    digest = EMPTY_DIGEST
    for expected, row in enumerate(rows):
        if row.seq != expected:
            raise IntegrityError("OMG-S005", f"row {expected} of {row.execution} is missing")
        digest = chain(digest, row)
    return digest


def branch_of(position: str) -> str:
    """The branch path of a position: everything before its last `/`, empty for the root."""
    return position.rpartition("/")[0]


def name_of(position: str) -> str:
    """The flow name of a position, without its occurrence."""
    return position.rpartition("/")[2].partition("#")[0]
