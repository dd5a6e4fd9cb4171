"""Copies in a folder: read-only files, each with a note beside it that says its digest and until when it is kept.

A folder cannot bind its own owner: whoever may write to the disk may take files away. What it gives is that nothing here is changed or
shortened by this program, and that whatever else does it is found. To bind the owner too, mount the folder from a server that exports it
append-only, or use a bucket with object lock.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from omega.adapters.worm.names import MAX_COPY, changed, checked, missing, shorter
from omega.kernel.errors import InputError, IntegrityError, StorageError

NOTE = ".kept"
"""How the note beside a copy is called: no copy can have that name, because none ends in a dot and letters of ours."""

_READ_ONLY = 0o400
_FOLDER_MODE = 0o700


class FolderWorm:
    """Implements `omega.adapters.worm.Worm`. Open it with `FolderWorm.open`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path) -> FolderWorm:
        """The copies in `root`, made when it is missing. Raises StorageError (OMG-S002)."""
        try:
            root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("OMG-S002", f"{root} cannot hold copies: {(error.strerror or 'unknown').lower()}") from error
        return cls(root)

    def check(self) -> None:
        """See `Worm.check`: every copy is there, read-only, and what its note says."""
        for note in sorted(self.root.rglob(f"*{NOTE}")):
            name = str(note.relative_to(self.root))[: -len(NOTE)]
            self.get(name)
            if self._path(name).stat().st_mode & 0o222:
                raise IntegrityError("OMG-C007", f"the copy {name} can be written to")

    def put(self, name: str, body: bytes, until_s: int) -> None:
        """See `Worm.put`."""
        path = self._path(name)
        if len(body) > MAX_COPY:
            raise InputError("OMG-I001", f"a copy of {len(body):,} bytes is over the limit of {MAX_COPY:,}")
        if path.exists():
            if self.get(name) != body:
                raise changed(name)
            if until_s > self.until(name):
                self._note(path, body, until_s)
            return
        try:
            path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            self._note(path, body, until_s)  # first, so that a copy without a note is never taken for one
            _write(path, body)
        except OSError as error:
            raise _failed(self.root, error) from error

    def get(self, name: str) -> bytes:
        """See `Worm.get`."""
        path = self._path(name)
        digest = str(self._kept(name)["sha256"])
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            raise changed(name) from None
        except OSError as error:
            raise _failed(self.root, error) from error
        if hashlib.sha256(body).hexdigest() != digest:
            raise changed(name)
        return body

    def until(self, name: str) -> int:
        """See `Worm.until`."""
        return int(self._kept(name)["until_s"])

    def extend(self, name: str, until_s: int) -> None:
        """See `Worm.extend`."""
        if until_s < self.until(name):
            raise shorter(name)
        self._note(self._path(name), self.get(name), until_s)

    def _path(self, name: str) -> Path:
        if name.endswith(NOTE):
            raise InputError("OMG-I001", f"{name[:80]!r} cannot name a copy")
        return self.root / checked(name)

    def _kept(self, name: str) -> dict[str, Any]:
        path = self._path(name)
        try:
            found = json.loads(path.with_name(path.name + NOTE).read_bytes())
        except FileNotFoundError:
            raise missing(name) from None
        except (OSError, ValueError):
            raise changed(name) from None
        if not isinstance(found, dict) or set(found) != {"sha256", "until_s"}:
            raise changed(name)
        return found

    def _note(self, path: Path, body: bytes, until_s: int) -> None:
        text = json.dumps({"sha256": hashlib.sha256(body).hexdigest(), "until_s": until_s})
        _write(path.with_name(path.name + NOTE), text.encode())


def _write(path: Path, body: bytes) -> None:
    """Write a file whole or not at all, read-only, durable when this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _READ_ONLY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _failed(root: Path, error: OSError) -> StorageError:
    return StorageError("OMG-S004", f"the archive {root} failed: {(error.strerror or 'unknown').lower()}")
