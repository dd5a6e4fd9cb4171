"""The effector for files: read one, or write several so that each appears whole or not at all.

Writing. Every file is first written beside its target under a temporary name, flushed to the disk, and only when all of them are
there are they renamed into place; then the folders are flushed. A crash leaves each target either old or new, never half. The
temporary name follows from the step and the target, so that a step which is done again after a crash replaces what it left.

Links. Folders on the way may be symbolic links (the user's own layout), the last part of a path may not: a link planted in a
repository must lead neither a read to a file outside it nor a write to a file that somebody else owns. Everything happens
relative to an open folder, so that swapping the folder in between changes nothing.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from omega.adapters.files import mounts
from omega.kernel.effects import ReadFile, Receipt, Request, WriteFiles
from omega.kernel.errors import InputError
from omega.kernel.verdict import Permit

MAX_FILES: Final = 10_000
"""Files in one `WriteFiles`: each one is an open, an fsync and a rename."""

SMALL: Final = 64 << 10
"""Largest file in bytes that is read on the event loop, where its file system is this machine's own."""

_PIECE: Final = 1 << 20
"""Bytes read at once."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_Result = TypeVar("_Result")


class FileEffector:
    """Serves `ReadFile` and `WriteFiles`. Holds no state."""

    port = ReadFile.port

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Read a file (gives `bytes`) or write files (gives the absolute paths written, in the order asked).

        Raises InputError (OMG-P005) naming the path and the reason. When a write fails, targets renamed before the failure stay.
        """
        permit.spend(self.port)
        if isinstance(request, ReadFile):
            data = await _read(request.path, request.limit)
            return data, Receipt(bytes_in=len(data))
        if isinstance(request, WriteFiles):
            files, key = request.files, permit.idempotency_key()
            paths = await _to_its_end(lambda: write(files, key))
            return paths, Receipt(bytes_out=sum(len(content) for content in files.values()))
        raise InputError("OMG-I001", f"the files port reads and writes files, not {type(request).__name__}")


async def _to_its_end(work: Callable[[], _Result]) -> _Result:
    """Run `work` in a thread; a cancelled caller still waits for it, so that nothing is written after its step has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def _read(path: str, limit: int) -> bytes:
    """A small file on a disk of this machine is read at once: a thread would cost more than the reading. Everything else in a thread."""
    folder = os.path.dirname(path)
    local = mounts.known(folder) if folder.startswith("/") else False
    if local:
        try:
            return read(path, min(limit, SMALL))
        except InputError:  # too large to be read at once, or refused: then the thread says so
            pass
    elif local is None:
        return await _to_its_end(lambda: (mounts.look(folder), read(path, limit))[1])
    return await _to_its_end(lambda: read(path, limit))


def read(path: str, limit: int) -> bytes:
    """The content of the regular file at `path`, at most `limit` bytes. Raises InputError (OMG-P005)."""
    try:
        descriptor = os.open(path, _READ)
    except (OSError, ValueError) as error:
        raise _refused(path, "read", error) from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise _unfit(path, "it is not a regular file")
        if state.st_size > limit:
            raise _unfit(path, f"it has {state.st_size} bytes, the limit is {limit}")
        data = _whole(descriptor, limit + 1)  # it may grow while it is read
    except OSError as error:
        raise _refused(path, "read", error) from error
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise _unfit(path, f"it grew past the limit of {limit} bytes")
    return data


def _whole(descriptor: int, limit: int) -> bytes:
    """What can be read, at most `limit` bytes. A buffered file around the descriptor would cost more than reading a small one."""
    parts: list[bytes] = []
    left = limit
    while left and (part := os.read(descriptor, min(left, _PIECE))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def write(files: Mapping[str, bytes], key: str) -> list[str]:
    """Write `files` (path to content); `key` names the attempt. Gives the absolute paths. Raises InputError (OMG-P005, OMG-I001)."""
    targets = [os.path.abspath(path) for path in files]
    if len(targets) > MAX_FILES:
        raise InputError("OMG-I001", f"{len(targets)} files in one write, the limit is {MAX_FILES}")
    if len(set(targets)) != len(targets):
        raise InputError("OMG-I001", "two of the paths to write name the same file")
    folders: dict[str, int] = {}
    prepared: list[_Prepared] = []
    try:
        for target, content in zip(targets, files.values(), strict=True):
            prepared.append(_prepare(target, content, folders, key))
        for item in prepared:
            item.publish()
        _flush(folders)
    finally:
        for item in prepared:
            item.discard()
        for descriptor in folders.values():
            os.close(descriptor)
    return targets


class _Prepared:
    """One file, written and flushed under its temporary name, not yet in place."""

    def __init__(self, target: str, folder: int, temporary: str) -> None:
        self._target, self._folder, self._temporary = target, folder, temporary

    def publish(self) -> None:
        """Rename it into place."""
        try:
            os.rename(self._temporary, os.path.basename(self._target), src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            raise _refused(self._target, "written", error) from error

    def discard(self) -> None:
        """Remove the temporary name if it is still there."""
        with suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._folder)


def _prepare(target: str, content: bytes, folders: dict[str, int], key: str) -> _Prepared:
    parent, name = os.path.split(target)
    try:
        if parent not in folders:
            os.makedirs(parent, exist_ok=True)
            folders[parent] = os.open(parent, _FOLDER)
        folder = folders[parent]
        mode = _mode_to_keep(target, name, folder)
        temporary = _temporary(name, key)
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        prepared = _Prepared(target, folder, temporary)
        try:
            _fill(temporary, folder, content, mode)
        except OSError:
            prepared.discard()
            raise
    except (OSError, ValueError) as error:
        raise _refused(target, "written", error) from error
    return prepared


def _temporary(name: str, key: str) -> str:
    digest = hashlib.sha256(f"{key}\n{name}".encode("utf-8", "surrogateescape"))
    return f".omega-{digest.hexdigest()[:24]}.tmp"


def _mode_to_keep(target: str, name: str, folder: int) -> int | None:
    """The permissions of the file that will be replaced, None when there is none. Only a regular file is ever replaced."""
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(state.st_mode):
        raise _unfit(target, "it is a symbolic link; name the file it points to")
    if not stat.S_ISREG(state.st_mode):
        raise _unfit(target, "it is not a regular file")
    return stat.S_IMODE(state.st_mode)


def _fill(temporary: str, folder: int, content: bytes, mode: int | None) -> None:
    with open(os.open(temporary, _CREATE, 0o666, dir_fd=folder), "wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folders: Mapping[str, int]) -> None:
    for path, descriptor in folders.items():
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise _refused(path, "written", error) from error


def _refused(path: str, verb: str, error: OSError | ValueError) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        link = error.errno == errno.ELOOP  # what O_NOFOLLOW says of a symbolic link
        reason = "it is a symbolic link; name the file it points to" if link else os.strerror(error.errno).lower()
    else:
        reason = "the path holds a zero byte"
    return InputError("OMG-P005", f"{path!r} cannot be {verb}: {reason}", details={"path": path})


def _unfit(path: str, reason: str) -> InputError:
    return InputError("OMG-P005", f"{path!r} cannot be used: {reason}", details={"path": path})
