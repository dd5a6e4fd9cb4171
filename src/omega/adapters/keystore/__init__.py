"""The key store: a folder of private keys that belongs to one user and is made on first use.

Three keys, one file each: `passport` and `log` sign (Ed25519), `seal` is the root under which data keys are wrapped. Each file is one line,

    omega-key 1 ed25519 <base64 of 32 bytes>

Trust in the folder is decided anew at every open: the folder has mode 700, its files 600, all belong to the effective user, none is a
symbolic link. Anything else is refused (OMG-T003), not repaired: who could read a key may have done so.

A key is born whole or not at all: 32 random bytes go to a temporary file made with O_EXCL, which is synced and then hard-linked to its
name. `link` fails when the name exists, so of two processes that race one wins and both use the winner's key.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omega.kernel.errors import StorageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from omega.kernel.ports import Signer

SIGNING: Final = "ed25519"
SECRET: Final = "secret"  # noqa: S105  (the word in the file, not a secret)

KINDS: Final = {"passport": SIGNING, "log": SIGNING, "seal": SECRET}
"""The keys of an installation and what each is for."""

KEY_SIZE: Final = 32
MAX_FILE: Final = 256
"""Largest key file read, in bytes: a key takes about 70."""

_MAGIC: Final = "omega-key"
_VERSION: Final = "1"
_PRIVATE: Final = 0o077


class FileSigner:
    """Signs with one Ed25519 key of the store. Implements `omega.kernel.ports.Signer`."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self.public = key.public_key().public_bytes_raw()
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message` (RFC 8032)."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<signer {self.name}>"


class Keystore:
    """The keys of one installation. Open it with `Keystore.open`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signers: dict[str, FileSigner] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Keystore:
        """The store in `folder`, made with all its keys when it is not there.

        Raises StorageError OMG-T003 when folder or files are not this user's alone, and OMG-S002 when they cannot be made.
        """
        store = cls(Path(folder))
        try:
            os.makedirs(store.folder.parent, mode=0o700, exist_ok=True)
            _make_folder(store.folder)
            _check_folder(store.folder)
            for name, kind in KINDS.items():
                _ensure_key(store.folder, name, kind)
        except OSError as error:
            raise StorageError("OMG-S002", f"the key folder {store.folder} cannot be made: {error.strerror}") from error
        return store

    def signer(self, name: str) -> Signer:
        """The signer of `passport` or `log`. Raises StorageError (OMG-T003) when its file cannot be trusted or read."""
        if name not in self._signers:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            seed = self._read(name, SIGNING)
            self._signers[name] = FileSigner(name, Ed25519PrivateKey.from_private_bytes(seed))
        return self._signers[name]

    def secret(self, name: str) -> bytes:
        """The 32 bytes of `seal`. Raises StorageError (OMG-T003) when its file cannot be trusted or read."""
        return self._read(name, SECRET)

    def _read(self, name: str, kind: str) -> bytes:
        if KINDS.get(name) != kind:
            raise StorageError("OMG-T003", f"the key store has no {kind} key named {name}")
        _check_folder(self.folder)
        return _decode(_read_private(_path(self.folder, name)), name, kind)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.key"


def _make_folder(folder: Path) -> None:
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    _sync_folder(folder.parent)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is a link, is another user's, or is open to group or others."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        raise _refused(f"{folder} is gone") from None
    if stat.S_ISLNK(found.st_mode):
        raise _refused(f"{folder} is a symbolic link")
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(f"{folder} is not a folder")
    _check_owner(folder, found)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise _refused(f"{path} belongs to user {found.st_uid}, not to user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & _PRIVATE:
        raise _refused(f"{path} has mode {stat.S_IMODE(found.st_mode):03o}: others can reach it")


def _ensure_key(folder: Path, name: str, kind: str) -> None:
    """Make the key `name` unless it is there."""
    path = _path(folder, name)
    if os.path.lexists(path):
        return
    draft = folder / f".{name}.{os.getpid()}.{os.urandom(8).hex()}"
    line = f"{_MAGIC} {_VERSION} {kind} {base64.b64encode(os.urandom(KEY_SIZE)).decode()}\n"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path, follow_symlinks=False)
        except FileExistsError:
            return  # another process was first: its key is the key
    finally:
        os.unlink(draft)
    _sync_folder(folder)


def _read_private(path: Path) -> bytes:
    """The bytes of a key file, checked on the open file so that nothing can be swapped in between."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise _refused(f"{path} {why}") from error
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(f"{path} is not a file")
        _check_owner(path, found)
        return file.read(MAX_FILE + 1)


def _decode(raw: bytes, name: str, kind: str) -> bytes:
    words = raw.split() if len(raw) <= MAX_FILE else []
    if len(words) != 4 or words[0] != _MAGIC.encode():
        raise _refused(f"the file of key {name} is damaged")
    if words[1] != _VERSION.encode():
        raise StorageError("OMG-S003", f"the file of key {name} has a newer format")
    try:
        key = base64.b64decode(words[3], validate=True)
    except binascii.Error:
        key = b""
    if words[2] != kind.encode() or len(key) != KEY_SIZE:
        raise _refused(f"the file of key {name} is damaged")
    return key


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(cause: str) -> StorageError:
    return StorageError("OMG-T003", cause)
