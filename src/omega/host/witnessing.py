"""Witnessing with files: a witness is a folder, requests and answers travel as files (C2SP tlog-witness, by any means that moves a file).

    keys/           the witness's own keys, of which `log` cosigns
    name            the name under which it cosigns
    logs/<digest>   the verifier key of a log that it watches
    seen/<digest>   the newest size and root that it has cosigned of that log: on disk before the cosignature leaves

The log's side makes a request for the newest checkpoint, and keeps what comes back, checked, as an arrangement of the kind `witnessed`, so
that exports carry it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omega.adapters.keystore import Keystore
from omega.adapters.keystore.files import locked, make_file, make_folder, read_private, replace_file
from omega.chronicle.pruned import hash_of
from omega.chronicle.witness import Request, Seen, Witness, merged
from omega.host.arrangements import Documents, all_arranged
from omega.host.reading import Archive
from omega.kernel.errors import InputError, IntegrityError, StorageError
from omega.kernel.ports import Signer
from omega.trust.checkpoint import VerifierKey, parse
from omega.trust.merkle import Tree

WITNESSED = "witnessed"
"""The kind of the documents: TENANT.SIZE, each a cosigned checkpoint and the keys that cosigned it."""

MAX_FILE = 1 << 16
"""Largest file of a witness that is read, in bytes."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A witness at work on its folder, which is its owner's alone."""

    folder: Path
    name: str
    signer: Signer

    @classmethod
    def make(cls, folder: Path, name: str) -> Desk:
        """A new witness in `folder`. Raises InputError (OMG-X001) for a name that cannot stand in a signature or a folder in use,
        StorageError (OMG-S002, OMG-T003)."""
        if not name or not name.isprintable() or any(letter in name for letter in " +"):
            advice = "use a domain and a word: witness.example/w1"
            raise InputError("OMG-X001", "a witness has a name without spaces and plus signs", advice=advice)
        try:
            for part in (folder, folder / "logs", folder / "seen"):
                make_folder(part)
            signer = Keystore.open(folder / "keys").signer("log")
            fresh = make_file(folder / "name", name.encode())
        except OSError as error:
            raise StorageError("OMG-S002", f"{folder} cannot hold a witness: {(error.strerror or 'unknown').lower()}") from error
        if not fresh:
            raise InputError("OMG-X001", f"{folder} holds a witness already")
        return cls(folder, name, signer)

    @classmethod
    def open(cls, folder: Path) -> Desk:
        """The witness in `folder`. Raises InputError (OMG-X001) when there is none, StorageError (OMG-T003) when others could change it."""
        if not (folder / "name").exists():
            raise InputError("OMG-X001", f"there is no witness in {folder}", advice="omega witness init FOLDER --name NAME")
        return cls(folder, read_private(folder / "name", MAX_FILE).decode(), Keystore.open(folder / "keys").signer("log"))

    @property
    def key(self) -> VerifierKey:
        """The key by which others check what it cosigns."""
        return Witness(self.name, self.signer, {}).key

    def add(self, text: str) -> VerifierKey:
        """Watch the log with that verifier key from now on. Raises IntegrityError (OMG-C001) for a text that is none."""
        key = VerifierKey.parse(text.strip())
        replace_file(self.folder / "logs" / _digest(key.name), key.text().encode())
        return key

    def logs(self) -> list[VerifierKey]:
        """The logs that it watches, by name."""
        found = [VerifierKey.parse(read_private(path, MAX_FILE).decode()) for path in (self.folder / "logs").iterdir()]
        return sorted(found, key=lambda key: key.name)

    def _watched(self, origin: str) -> Mapping[str, tuple[VerifierKey, ...]]:
        """The key of that one log, where it is watched."""
        path = self.folder / "logs" / _digest(origin)
        return {origin: (VerifierKey.parse(read_private(path, MAX_FILE).decode()),)} if path.exists() else {}

    def seen(self, origin: str) -> Seen:
        """How far it has seen a log."""
        path = self.folder / "seen" / _digest(origin)
        if not path.exists():
            return Seen()
        found = json.loads(read_private(path, MAX_FILE))
        return Seen(int(found["size"]), bytes.fromhex(found["root"]))

    def cosign(self, raw: bytes, at_s: int) -> bytes:
        """The line that answers a request; what was seen is on disk when this returns, and no second request comes in between.

        Raises what `Witness.cosign` raises, and StorageError (OMG-T003).
        """
        asked = Request.parse(raw)
        try:
            origin = parse(asked.note).checkpoint.origin
        except IntegrityError:
            origin = ""  # the witness itself says what is wrong with it
        with locked(self.folder):
            done = Witness(self.name, self.signer, self._watched(origin)).cosign(asked, self.seen(origin), at_s=at_s)
            text = json.dumps({"origin": done.origin, "size": done.seen.size, "root": done.seen.root.hex()})
            replace_file(self.folder / "seen" / _digest(done.origin), text.encode())
        return done.line


def request(archive: Archive, tenant: str, old: int) -> bytes:
    """What is asked of a witness that has seen `old` leaves of the log: cosign the newest checkpoint.

    Raises InputError (OMG-I003) when nothing is signed yet, or it claims to have seen more than there is.
    """
    points = archive.reader.checkpoints(tenant)
    if not points or old > points[-1][0]:
        raise InputError("OMG-I003", f"the log of {tenant} has {points[-1][0] if points else 0} signed leaves, not {old}")
    size, note = points[-1]
    proof: tuple[bytes, ...] = ()
    if 0 < old < size:
        proof = tuple(_tree(archive, tenant, size).consistency(old, size))
    return Request(old, proof, note).write()


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A cosigned checkpoint's document as it is kept: note and keys, each line of a key that is named. Raises InputError (OMG-I001)."""
    note, keys = body.get("note"), body.get("keys")
    if not isinstance(note, str) or not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise InputError("OMG-I001", "a witnessed checkpoint is a note, and the keys of its witnesses")
    try:
        signed = parse(note.encode()).signed_by([VerifierKey.parse(key) for key in keys])
    except IntegrityError as error:
        raise InputError("OMG-I001", error.cause) from error
    if not signed:
        raise InputError("OMG-I001", "none of the witnesses named has cosigned the checkpoint")
    return {"note": note, "keys": keys}


def cosigned(archive: Archive, tenant: str, line: bytes, witness: str) -> tuple[str, dict[str, Any]]:
    """The document, and its name, that keeps the `line` of a witness under the newest checkpoint that it fits.

    Raises IntegrityError (OMG-C001) for a line that fits none of the last checkpoints.
    """
    key = VerifierKey.parse(witness.strip())
    for size, note in reversed(archive.reader.checkpoints(tenant)):
        try:
            whole = merged(note, [line], [key])
        except IntegrityError:
            continue
        return f"{tenant}.{size}", {"note": whole.decode(), "keys": [key.text()]}
    raise IntegrityError("OMG-C001", f"the cosignature fits no checkpoint of {tenant}")


def witnessed(documents: Documents, tenant: str) -> list[bytes]:
    """The cosigned checkpoints that are kept of a tenant's log, by size."""
    held = {name.rpartition("."): body for name, body in all_arranged(documents, WITNESSED).items()}
    mine = sorted((int(size), str(body["note"])) for (owner, _, size), body in held.items() if owner == tenant and size.isdigit())
    return [note.encode() for _, note in mine]


def _tree(archive: Archive, tenant: str, size: int) -> Tree:
    tree = Tree()
    tree.extend_hashed(map(hash_of, archive.reader.leaves(tenant, 0, size)))
    return tree


def _digest(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()
