"""Blobs in a folder: one file each, in 256 folders by the first two letters of the address.

A blob is seen whole or not at all: it is written to a file of its own, synced, and renamed to its address. Two that put the same one at
once both succeed, with the same content. Files are this user's alone; what lies in them is sealed in any case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from omega.adapters.blobs.addresses import MAX_BLOB, check_size, checked, is_address, missing
from omega.kernel.errors import IntegrityError, StorageError

_MODE = 0o600
_FOLDER_MODE = 0o700


class FolderBlobs:
    """Implements `omega.kernel.ports.Blobs`. Open it with `FolderBlobs.open`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path) -> FolderBlobs:
        """The blobs in `root`, made when it is missing. Raises StorageError (OMG-S002) when it cannot be used."""
        try:
            root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("OMG-S002", f"{root} cannot hold blobs: {(error.strerror or 'unknown').lower()}") from error
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError("OMG-S002", f"{root} cannot hold blobs: permission denied")
        return cls(root)

    async def put(self, address: str, body: bytes) -> None:
        """See `kernel.ports.Blobs.put`."""
        path = self._path(address)
        check_size(body)
        try:
            await asyncio.to_thread(_write, path, body)
        except OSError as error:
            raise _failed(path, error) from error

    def get(self, address: str) -> bytes:
        """See `kernel.ports.Blobs.get`."""
        path = self._path(address)
        try:
            with path.open("rb") as file:
                body = file.read(MAX_BLOB + 1)
        except FileNotFoundError:
            raise missing(address) from None
        except OSError as error:
            raise _failed(path, error) from error
        if len(body) > MAX_BLOB:
            raise IntegrityError("OMG-S005", f"the blob {address[:12]}... is larger than any that was put here")
        return body

    async def delete(self, address: str) -> None:
        """See `kernel.ports.Blobs.delete`."""
        path = self._path(address)
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise _failed(path, error) from error

    def held(self) -> Iterator[tuple[str, int]]:
        """See `kernel.ports.Blobs.held`; other files in the folder are passed over."""
        try:
            for folder in sorted(self.root.iterdir()):
                if folder.is_dir():
                    yield from _held(folder)
        except OSError as error:
            raise _failed(self.root, error) from error

    def _path(self, address: str) -> Path:
        return self.root / checked(address)[:2] / address


def _held(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.iterdir()):
        if is_address(path.name):
            try:
                found = path.stat()
            except FileNotFoundError:  # deleted meanwhile
                continue
            yield path.name, found.st_mtime_ns // 1_000


def _write(path: Path, body: bytes) -> None:
    try:
        os.utime(path)  # put again: young again, so a sweep leaves it
    except FileNotFoundError:
        _write_anew(path, body)
    _sync(path.parent)  # also of what was there: whoever put it may not have come so far yet
    _sync(path.parent.parent)


def _write_anew(path: Path, body: bytes) -> None:
    path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    draft = path.parent / f".{path.name}.{os.getpid()}.{os.urandom(6).hex()}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError("OMG-S004", f"the blob store {path.parent} failed: {(error.strerror or 'unknown').lower()}")
