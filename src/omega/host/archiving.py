"""Archives: the log of a tenant as tiles, in a place where copies are written once and kept for their time (`omega.adapters.worm`).

What is written are the full tiles and bundles, the partial ones of this size, and the newest checkpoint under its size; nothing is ever
written over. So an archive can be gone on with, holds every state that was archived, and is read like any log in tiles. How far it has come
is an arrangement of the kind `archive`: who archived what until when is on record, and the next one writes only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omega.adapters.worm import Worm
from omega.chronicle.tiles import export_tiles, read_tiles
from omega.host.arrangements import Documents, arranged
from omega.host.reading import Archive
from omega.kernel.errors import InputError
from omega.trust.checkpoint import VerifierKey, parse

ARCHIVE = "archive"
"""The kind of the documents; the name of each is its tenant."""


@dataclass(frozen=True, slots=True)
class Archived:
    """How far an archive has come: its place, how many leaves it holds, until when (Unix seconds) what was added last is kept."""

    place: str
    size: int
    until_s: int

    def record(self) -> dict[str, Any]:
        """As kept."""
        return {"place": self.place, "size": self.size, "until_s": self.until_s}


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of an archive as it is kept. Raises InputError (OMG-I001)."""
    types = {"place": str, "size": int, "until_s": int}
    if set(body) != set(types) or any(type(body[each]) is not kind for each, kind in types.items()) or body["size"] < 0:
        raise InputError("OMG-I001", "an archive says its place, its size and until when it is kept")
    return dict(body)


def last(documents: Documents, tenant: str, place: str) -> Archived:
    """How far the archive of `tenant` in `place` has come; nowhere, when it is another place than the last time."""
    found = arranged(documents, ARCHIVE, tenant)
    return Archived(**found) if found is not None and found["place"] == place else Archived(place, 0, 0)


def archive(records: Archive, tenant: str, worm: Worm, place: str, until_s: int) -> Archived:
    """Add what is new of the log of `tenant` to the archive, to be kept until then.

    Raises IntegrityError: OMG-C007 when the place gives way or holds something else, OMG-C001 for a log that does not verify; InputError
    (OMG-I003) when nothing is signed yet, StorageError.
    """
    points = records.reader.checkpoints(tenant)
    if not points:
        raise InputError("OMG-I003", f"the log of {tenant} has no checkpoint yet")
    worm.check()
    before = last(records.reader, tenant, place)
    size = points[-1][0]

    def write(path: str, body: bytes) -> None:
        if path == "checkpoint":
            path, body = f"checkpoint/{size}", _as_it_lies(worm, f"{tenant}/checkpoint/{size}", body)
        worm.put(f"{tenant}/{path}", body, until_s)

    export_tiles(records.reader, tenant, write, since=before.size, lasting=records.lasting())
    return Archived(place, size, until_s)


def verify_archive(worm: Worm, tenant: str, size: int, *, keys: tuple[VerifierKey, ...], origin: str) -> int:
    """Read an archive back to its last leaf, each checked up to the signed root; gives how many there are.

    Raises IntegrityError (OMG-C001, OMG-C007), InputError (OMG-I003) for what is not there.
    """
    return sum(len(leaves) for leaves in read_tiles(_reading(worm, tenant, size), keys=keys, origin=origin))


def signatures(worm: Worm, tenant: str, size: int, lasting: VerifierKey | None) -> str:
    """Which signatures the checkpoint of an archive was found to have, in words; `lasting` is the key of the second one.

    Raises IntegrityError (OMG-C001) for one that claims to be of that key and is not.
    """
    second = lasting is not None and parse(_reading(worm, tenant, size)("checkpoint")).signed_by([lasting])
    return "signed with ML-DSA-65 too" if second else "one signature, no ML-DSA-65"


def _as_it_lies(worm: Worm, name: str, note: bytes) -> bytes:
    """The checkpoint that lies there already, where it says the same: signing it twice gives other bytes, and nothing is written over."""
    try:
        found = worm.get(name)
        return found if parse(found).body == parse(note).body else note
    except InputError as error:
        if error.code != "OMG-I003":
            raise
        return note


def _reading(worm: Worm, tenant: str, size: int) -> Callable[[str], bytes]:
    return lambda path: worm.get(f"{tenant}/{path}" if path != "checkpoint" else f"{tenant}/checkpoint/{size}")
