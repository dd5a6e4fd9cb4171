"""A leaf: one entry of a tenant's log, as the bytes that are hashed, stored, exported and never written again.

The bytes are JSON on one line: UTF-8, keys sorted, no white space, fields at their default left out. What is stored is what is
hashed, so a verifier never serialises anything. A leaf holds no payload: input and output appear as salted commitments (hex), which say
nothing once the execution's data key is destroyed.

    entry     an execution was admitted              admit    a touch was allowed (sealed before it is done)
    outcome   how that touch ended                   deny     the gate said no
    end       the execution ended                    pin      a tool description was accepted
    approve   a person decided a step                resolve  a person said what became of a step in doubt
    cancel    somebody asked to stop                 handover the log goes on with another key (`note`, see `omega.trust.handover`)
    admin     anything else done to the installation

`digest` is the execution digest (`omega.kernel.journal.chain`) over the first `rows` rows of the journal: it is how pure steps, which have
no leaf of their own, are sealed too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from omega.kernel.errors import IntegrityError, StorageError

VERSION = 1
"""Version of the leaf format, written into each leaf as `v`."""

MAX_LEAF = (64 << 10) - 1
"""Largest leaf in bytes: names, ids and digests only, and the length of an entry of a tile (`omega.chronicle.tiles`) has two bytes."""

MAX_ORIGIN = 200
"""Longest address or user agent that a leaf holds, in letters: both are claims of whoever calls."""

KINDS = frozenset({"entry", "admit", "outcome", "deny", "end", "pin", "approve", "resolve", "cancel", "handover", "admin"})


def _version() -> int:
    return VERSION


class Leaf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. Fields stand in the order of their names, because that is the order of the stored keys.

    `address` and `agent` are where a call came from: its peer's address and what that called itself, as the entrance saw them.
    `at_us` is Unix microseconds, `took_us` a duration; `bytes_out` and `bytes_in` are what a touch sent and got; `input`, `output` and the
    values of `fields` are salted commitments in hex, `digest` and `bundle` plain digests in hex; `cost_micros` is money in millionths;
    `policies` the ids that decided; `note` a signed text.
    """

    actors: tuple[str, ...] = ()
    address: str = ""
    agent: str = ""
    at_us: int = 0
    bundle: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    code: str = ""
    cost_micros: int = 0
    decision: str = ""
    digest: str = ""
    effect: str = ""
    execution: str = ""
    fields: dict[str, str] = {}
    flow: str = ""
    flow_digest: str = ""
    input: str = ""
    kind: str
    note: str = ""
    output: str = ""
    policies: tuple[str, ...] = ()
    principal: str = ""
    reason: str = ""
    rows: int = 0
    status: str = ""
    step: str = ""
    tenant: str
    tokens: int = 0
    took_us: int = 0
    trace: str = ""
    v: int = msgspec.field(default_factory=_version)  # a factory's value is always written: every leaf names its format


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Leaf).decode


def encode(leaf: Leaf) -> bytes:
    """The canonical bytes of `leaf`. Raises IntegrityError (OMG-S005) for an unknown kind or a leaf over `MAX_LEAF`."""
    if leaf.kind not in KINDS:
        raise IntegrityError("OMG-S005", f"a leaf of unknown kind {leaf.kind!r} was not written")
    try:
        raw = _encode(leaf)
    except UnicodeEncodeError:
        raw = _encode(_printable(leaf))
    if len(raw) > MAX_LEAF:
        raise IntegrityError("OMG-S005", f"a leaf of {len(raw)} bytes was not written: the limit is {MAX_LEAF}")
    return raw


def decode(raw: bytes) -> Leaf:
    """The leaf that `raw` writes. Raises IntegrityError (OMG-S005) when it is none, StorageError (OMG-S003) when its format is newer."""
    try:
        leaf = _decode(raw) if len(raw) <= MAX_LEAF else None
    except msgspec.DecodeError as error:  # includes ValidationError
        raise IntegrityError("OMG-S005", "a leaf does not parse") from error
    if leaf is None:
        raise IntegrityError("OMG-S005", f"a leaf is larger than {MAX_LEAF} bytes")
    if leaf.v > VERSION:
        raise StorageError("OMG-S003", f"a leaf has format {leaf.v}; this release reads up to {VERSION}")
    return leaf


def seen_from(origin: Mapping[str, str]) -> dict[str, str]:
    """What a leaf says about where its call came from: address and agent, at most `MAX_ORIGIN` printable letters each, and nothing else."""
    said = {name: origin.get(name, "")[:MAX_ORIGIN] for name in ("address", "agent")}
    return {name: text if text.isprintable() else ascii(text)[1:-1][:MAX_ORIGIN] for name, text in said.items() if text}


def committed(fields: Mapping[str, bytes], commit: Callable[[bytes, bytes], bytes]) -> dict[str, str]:
    """`fields` as salted commitments in hex, each under its own name so that equal values in two fields do not look equal.

    `commit` is `Sealer.commit`. The result is what `Leaf.fields` takes; keys are sorted, as in every leaf.
    """
    return {name: commit(fields[name], b"field:" + name.encode()).hex() for name in sorted(fields)}


def _printable(leaf: Leaf) -> Leaf:
    """`leaf` with letters that UTF-8 cannot write (from file names in another encoding) shown as escapes."""
    changed: dict[str, Any] = {}
    for name in leaf.__struct_fields__:
        value = getattr(leaf, name)
        if isinstance(value, str):
            changed[name] = _escaped(value)
        elif isinstance(value, tuple):
            changed[name] = tuple(_escaped(part) for part in value)
    return msgspec.structs.replace(leaf, **changed)


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
