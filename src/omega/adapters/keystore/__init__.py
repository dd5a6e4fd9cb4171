"""The key store: a folder of private keys that belongs to one user and is made on first use.

Three keys, one file each: `passport` and `log` sign, `seal` is the root under which data keys are wrapped; `log-pq`, a second signature of
the log, is made when somebody asks for it, and so are `ca` and `ca-root`, which sign certificates, and `issuer` and `holder`, which sign
credentials and that they are shown. Each file is one line:

    passport.key       omega-key 1 ed25519 <base64 of 32 bytes>          or ml-dsa-65, or a key that lies elsewhere:
                       omega-key 1 reference <base64 of its address>     pkcs11:..., awskms:...: see `omega.adapters.kms`
    seal.key           omega-key 1 secret <base64 of 32 bytes>           or sealed to a key that is kept elsewhere:
                       omega-key 1 sealed <base64>                       see `Unsealing`
    passport.next.key  the key that will sign next: made ahead of its time, so that everybody knows it before it signs
    passport.retired   omega-public 1 <base64 of the public key> <Unix seconds until which its signatures count>, one line per key

Rotation writes the old public key among the retired, then renames the next key over the old one: whenever it is interrupted, either key
signs and both count, and the old private key is gone with its file. How files are trusted and written: `files`.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omega.adapters.keystore.files import check_folder, locked, make_file, make_folder, read_private, refused, replace_file, sync_folder
from omega.kernel.errors import InputError, StorageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

    from omega.kernel.ports import Signer

SIGNING: Final = "ed25519"
LASTING: Final = "ml-dsa-65"
REFERENCE: Final = "reference"
SECRET: Final = "secret"  # noqa: S105  (the word in the file, not a secret)
SEALED: Final = "sealed"

KINDS: Final = {"passport": SIGNING, "log": SIGNING, "seal": SECRET}
"""The keys that every installation has, and what each is for."""

OPTIONAL: Final = {"log-pq": LASTING, "ca": SIGNING, "ca-root": SIGNING, "issuer": SIGNING, "holder": SIGNING}
"""Keys that an installation has when somebody asked for them."""

SIGNERS: Final = (SIGNING, LASTING, REFERENCE)

KEY_SIZE: Final = 32
MAX_FILE: Final = 4096
"""Largest key file read, in bytes: a key takes about 70, a sealed one two thousand, an address some hundred."""

MAX_RETIRED: Final = 64
"""Retired keys remembered for one purpose: with one rotation a month, five years of a log's."""

MAX_RETIRED_FILE: Final = MAX_RETIRED * 3_000

_MAGIC: Final = "omega-key"
_PUBLIC: Final = "omega-public"
_VERSION: Final = "1"

Opener = Callable[[str, str], "Signer"]
"""Gives the signer of a name whose key lies at an address. Raises OmegaError."""

Unsealing = Callable[[bytes], bytes]
"""Opens what a sealed key file holds. Raises OmegaError."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The keys of one purpose: the signer that signs, the one that will sign next, and (public key, until) of those that signed before."""

    current: Signer
    upcoming: Signer | None
    retired: tuple[tuple[bytes, int], ...]


class FileSigner:
    """Signs with one key of the store, Ed25519 or ML-DSA-65. Implements `omega.kernel.ports.Signer`."""

    def __init__(self, name: str, key: Ed25519PrivateKey | MLDSA65PrivateKey) -> None:
        self.name = name
        self.public = key.public_key().public_bytes_raw()
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`: 64 bytes (RFC 8032), or 3309 with ML-DSA-65 (FIPS 204)."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<signer {self.name}>"


class Keystore:
    """The keys of one installation. Open it with `Keystore.open`."""

    def __init__(self, folder: Path, opener: Opener | None = None, unsealing: Unsealing | None = None) -> None:
        self.folder = folder
        self._opener = opener
        self._unsealing = unsealing
        self._signers: dict[tuple[str, bytes], Signer] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, opener: Opener | None = None, unsealing: Unsealing | None = None) -> Keystore:
        """The store in `folder`, made with all its keys when it is not there.

        `opener` serves keys that lie elsewhere, `unsealing` a sealed root. Raises StorageError OMG-T003 when folder or files are not this
        user's alone, and OMG-S002 when they cannot be made.
        """
        store = cls(Path(folder), opener, unsealing)
        try:
            os.makedirs(store.folder.parent, mode=0o700, exist_ok=True)
            make_folder(store.folder)
            check_folder(store.folder)
            for name, kind in KINDS.items():
                store._ensure(f"{name}.key", kind)
        except OSError as error:
            raise StorageError("OMG-S002", f"the key folder {store.folder} cannot be made: {error.strerror}") from error
        return store

    def signer(self, name: str) -> Signer:
        """The signer of `passport`, `log` or `log-pq`. Raises StorageError (OMG-T003) when its file cannot be trusted or read."""
        return self._signer(name, f"{name}.key")

    def has(self, name: str) -> bool:
        """Whether the store holds a key of that name."""
        return os.path.lexists(self.folder / f"{name}.key")

    def add(self, name: str, address: str = "") -> Signer:
        """Make one of the keys that are not made by themselves (`OPTIONAL`), unless it is there; with `address` it lies
        there. Raises StorageError (OMG-T003), and whatever opening that address raises."""
        if name not in OPTIONAL:
            raise StorageError("OMG-T003", f"the key store has no use for a key named {name[:80]}")
        check_folder(self.folder)
        if address:
            self._opened(name, address)  # what does not sign is not added
            make_file(self.folder / f"{name}.key", _line(REFERENCE, address.encode()))
        else:
            self._ensure(f"{name}.key", OPTIONAL[name])
        return self.signer(name)

    def secret(self, name: str) -> bytes:
        """The 32 bytes of `seal`. Raises StorageError (OMG-T003) when its file cannot be trusted, read or unsealed."""
        kind, body = self._read(name, f"{name}.key", (SECRET, SEALED))
        if kind == SEALED:
            if self._unsealing is None:
                raise refused(f"the key {name} is sealed, and nothing here can open it")
            body = self._unsealing(body)
            if len(body) != KEY_SIZE:
                raise refused(f"the key {name} was sealed with {len(body)} bytes in it")
        return body

    def put_sealed(self, name: str, sealed: bytes) -> None:
        """Keep `seal` as `sealed`, in place of its plain bytes. The caller has opened it again before. Raises StorageError (OMG-T003)."""
        self._read(name, f"{name}.key", (SECRET, SEALED))
        replace_file(self.folder / f"{name}.key", _line(SEALED, sealed))

    # -- rotation

    def standing(self, name: str) -> Standing:
        """The keys of `passport` or `log` as they stand. Raises StorageError (OMG-T003)."""
        ahead = f"{name}.next.key"
        upcoming = self._signer(name, ahead) if os.path.lexists(self.folder / ahead) else None
        return Standing(self.signer(name), upcoming, self._retired(name))

    def stamp(self, name: str) -> tuple[int, ...]:
        """Changes whenever the keys of `name` do: cheap enough to be asked every second."""
        found: list[int] = []
        for suffix in ("key", "next.key", "retired"):
            try:
                seen = os.lstat(self.folder / f"{name}.{suffix}")
            except FileNotFoundError:
                found += [0, 0]
            else:
                found += [seen.st_ino, seen.st_mtime_ns]
        return tuple(found)

    def prepare(self, name: str, address: str = "") -> Signer:
        """The key that will sign next: a new one, or the one at `address`; the one prepared before when there is one already.

        Raises StorageError (OMG-T003), InputError (OMG-X001) when another address is prepared than the one wanted, and whatever opening it
        raises.
        """
        self._purpose(name)
        check_folder(self.folder)
        ahead = f"{name}.next.key"
        if address:
            self._opened(name, address)  # what does not sign is not prepared
            made = make_file(self.folder / ahead, _line(REFERENCE, address.encode()))
        else:
            made = self._ensure(ahead, SIGNING)
        if not made and address and self._read(name, ahead, SIGNERS) != (REFERENCE, address.encode()):
            raise InputError("OMG-X001", f"another key of {name} is prepared already", advice="omega keys rotate it, or omega keys drop it")
        return self._signer(name, ahead)

    def drop(self, name: str) -> None:
        """Forget the key that was prepared. Raises InputError (OMG-X001) when there is none."""
        try:
            os.unlink(self.folder / f"{name}.next.key")
        except FileNotFoundError:
            raise InputError("OMG-X001", f"no key of {name[:80]} is prepared") from None
        sync_folder(self.folder)

    def promote(self, name: str, *, until_s: int, now_s: int) -> Signer:
        """Let the prepared key sign from now on; what the old one signed counts until `until_s`, and the old private key is destroyed.

        Raises InputError (OMG-X001) when none is prepared, StorageError (OMG-T003).
        """
        self._purpose(name)
        check_folder(self.folder)
        with locked(self.folder):
            ahead = self.folder / f"{name}.next.key"
            if not os.path.lexists(ahead):
                raise InputError("OMG-X001", f"no key of {name} is prepared", advice=f"omega keys prepare {name}")
            successor = self._signer(name, ahead.name)
            old = self.signer(name).public
            kept = [each for each in self._retired(name) if each[1] > now_s and each[0] not in (old, successor.public)]
            if len(kept) >= MAX_RETIRED:
                raise refused(f"{name} has {MAX_RETIRED} retired keys that still count")
            lines = (f"{_PUBLIC} {_VERSION} {base64.b64encode(raw).decode()} {until}\n" for raw, until in (*kept, (old, until_s)))
            replace_file(self.folder / f"{name}.retired", "".join(lines).encode())
            os.replace(ahead, self.folder / f"{name}.key")
            sync_folder(self.folder)
        return successor

    # -- files

    def _purpose(self, name: str) -> None:
        if KINDS.get(name) != SIGNING:
            raise InputError("OMG-X001", f"{name[:80]!r} is no key that is rotated", advice="rotate passport or log")

    def _signer(self, name: str, file: str) -> Signer:
        kind, body = self._read(name, file, SIGNERS)
        found = self._signers.get((name, body))
        if found is None:
            found = self._signers[name, body] = self._made(name, kind, body)
        return found

    def _made(self, name: str, kind: str, body: bytes) -> Signer:
        if kind == REFERENCE:
            return self._opened(name, body.decode("utf-8", "replace"))
        if kind == LASTING:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

            return FileSigner(name, MLDSA65PrivateKey.from_seed_bytes(body))
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return FileSigner(name, Ed25519PrivateKey.from_private_bytes(body))

    def _opened(self, name: str, address: str) -> Signer:
        if self._opener is None:
            raise refused(f"the key {name} lies elsewhere, and nothing here can reach it")
        return self._opener(name, address)

    def _retired(self, name: str) -> tuple[tuple[bytes, int], ...]:
        path = self.folder / f"{name}.retired"
        if not os.path.lexists(path):
            return ()
        check_folder(self.folder)
        raw = read_private(path, MAX_RETIRED_FILE)
        lines = raw.decode("ascii", "replace").splitlines() if len(raw) <= MAX_RETIRED_FILE else [""]
        return tuple(_public(line, name) for line in lines)

    def _ensure(self, file: str, kind: str) -> bool:
        """Make a key unless it is there; whether it was made."""
        path = self.folder / file
        return not os.path.lexists(path) and make_file(path, _line(kind, os.urandom(KEY_SIZE)))

    def _read(self, name: str, file: str, kinds: tuple[str, ...]) -> tuple[str, bytes]:
        wanted = {**KINDS, **OPTIONAL}.get(name, "")
        if wanted not in kinds:
            raise StorageError("OMG-T003", f"the key store has no {kinds[0]} key named {name}")
        check_folder(self.folder)
        return _decode(read_private(self.folder / file, MAX_FILE), name, kinds)


def _line(kind: str, body: bytes) -> bytes:
    return f"{_MAGIC} {_VERSION} {kind} {base64.b64encode(body).decode()}\n".encode()


def _decode(raw: bytes, name: str, kinds: tuple[str, ...]) -> tuple[str, bytes]:
    """Kind and bytes of a key file."""
    words = raw.decode("ascii", "replace").split() if len(raw) <= MAX_FILE else []
    if len(words) != 4 or words[0] != _MAGIC:
        raise refused(f"the file of key {name} is damaged")
    if words[1] != _VERSION:
        raise StorageError("OMG-S003", f"the file of key {name} has a newer format")
    body = _unbase64(words[3])
    whole = len(body) == KEY_SIZE if words[2] not in (REFERENCE, SEALED) else bool(body)
    if words[2] not in kinds or not whole:
        raise refused(f"the file of key {name} is damaged")
    return words[2], body


def _public(line: str, name: str) -> tuple[bytes, int]:
    words = line.split()
    if len(words) != 4 or words[:2] != [_PUBLIC, _VERSION] or not words[3].isdigit() or not _unbase64(words[2]):
        raise refused(f"the list of retired keys of {name} is damaged")
    return _unbase64(words[2]), int(words[3])


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
