"""The data folder: who may use it, where it may lie, and the lock that lets one engine in.

The lock is `flock` on `engine.lock`: the kernel gives it up when its holder dies, however it dies, so there is never a stale lock to clear
away. What is written into the file (`pid` and owner) only serves to name the holder to whoever is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from omega.kernel.errors import StorageError

DATABASE = "omega.db"
LOCK = "engine.lock"
FOLDER_MODE = 0o700
FILE_MODE = 0o600

REMOTE_KINDS = frozenset(
    {"afs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
"""File systems on which neither `flock` nor the shared memory of a write-ahead log can be trusted."""

_MOUNTS = Path("/proc/self/mountinfo")
_NAME_LIMIT = 256


def prepare(folder: Path) -> Path:
    """The absolute path of `folder`, made (mode 700) when missing. Raises StorageError (OMG-S002) when an engine cannot work in it."""
    try:
        folder = folder.expanduser().absolute()
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise StorageError("OMG-S002", f"{folder} cannot be made: {_reason(error)}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StorageError("OMG-S002", f"{folder} is not writable by this user")
    kind = file_system(folder, _mounts())
    if kind in REMOTE_KINDS:
        cause = f"{folder} is on a network file system ({kind}), where locks cannot be trusted"
        raise StorageError("OMG-S002", cause, details={"kind": kind})
    return folder


def existing(folder: Path) -> Path:
    """The absolute path of a folder that an engine has used before. Raises StorageError (OMG-S002) when there is no data in it."""
    folder = folder.expanduser().absolute()
    try:
        found = (folder / DATABASE).is_file()
    except OSError as error:
        raise StorageError("OMG-S002", f"{folder} cannot be read: {_reason(error)}") from error
    if not found:
        raise StorageError("OMG-S002", f"there is no {DATABASE} in {folder}", advice="start a run first, or correct OMEGA_HOME")
    return folder


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system that holds `folder`, from the text of /proc/self/mountinfo (proc(5)); empty when unknown."""
    target = os.path.realpath(folder)
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ", 1)[0]
    return kind


def _mounts() -> str:
    try:
        return _MOUNTS.read_text(errors="replace")
    except OSError:  # not Linux, or /proc is hidden: nothing to detect with
        return ""


class EngineLock:
    """Held by the one engine of a folder from open to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, owner: str) -> EngineLock:
        """Lock `folder` for `owner`. Raises StorageError: OMG-S001 naming the holder's process, OMG-S002 when the file cannot be opened."""
        path = folder / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        except OSError as error:
            raise StorageError("OMG-S002", f"{path} cannot be opened: {_reason(error)}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {owner}\n".encode()[:_NAME_LIMIT], 0)
        except OSError as error:
            holder = os.pread(descriptor, _NAME_LIMIT, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise _refusal(folder, error, holder) from error
        return cls(descriptor)

    def release(self) -> None:
        """Let the next engine in."""
        os.close(self._descriptor)


def _refusal(folder: Path, error: OSError, holder: str) -> StorageError:
    if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
        return StorageError("OMG-S002", f"{folder} cannot be locked: {_reason(error)}")
    pid, _, owner = holder.partition(" ")
    named = f"process {pid} ({owner})" if owner else f"process {pid or 'unknown'}"
    return StorageError("OMG-S001", f"{folder} is in use by {named}", details={"pid": int(pid) if pid.isdigit() else 0, "owner": owner})


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error).lower()
