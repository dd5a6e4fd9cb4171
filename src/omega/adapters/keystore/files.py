"""Private files: made whole or not at all, trusted anew at every look.

The folder has mode 700, its files 600, all belong to the effective user, none is a symbolic link. Anything else is refused (OMG-T003), not
repaired: who could read a key may have done so. A file is written as a draft made with O_EXCL and synced, then linked to its name (`link`
fails when the name exists, so of two processes that race one wins) or renamed over it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omega.kernel.errors import StorageError

_PRIVATE: Final = 0o077


def make_folder(folder: Path) -> None:
    """Make `folder`, private from the first moment, unless it is there."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    sync_folder(folder.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is a link, is another user's, or is open to group or others."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        raise refused(f"{folder} is gone") from None
    if stat.S_ISLNK(found.st_mode):
        raise refused(f"{folder} is a symbolic link")
    if not stat.S_ISDIR(found.st_mode):
        raise refused(f"{folder} is not a folder")
    _check_owner(folder, found)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise refused(f"{path} belongs to user {found.st_uid}, not to user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & _PRIVATE:
        raise refused(f"{path} has mode {stat.S_IMODE(found.st_mode):03o}: others can reach it")


def make_file(path: Path, body: bytes) -> bool:
    """Write `body` to a new file; whether it was new. A file that is there already stays as it is."""
    draft = _draft(path, body)
    try:
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        return False  # another process was first: its file is the file
    finally:
        os.unlink(draft)
    sync_folder(path.parent)
    return True


def replace_file(path: Path, body: bytes) -> None:
    """Write `body` in place of whatever the file held."""
    os.replace(_draft(path, body), path)
    sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time among all processes that change the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_private(path: Path, limit: int) -> bytes:
    """At most `limit` + 1 bytes of a file, checked on the open file so that nothing can be swapped in between."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise refused(f"{path} {why}") from error
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise refused(f"{path} is not a file")
        _check_owner(path, found)
        return file.read(limit + 1)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused(cause: str) -> StorageError:
    """The error for keys that cannot be trusted."""
    return StorageError("OMG-T003", cause)


def _draft(path: Path, body: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(8).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    return draft
