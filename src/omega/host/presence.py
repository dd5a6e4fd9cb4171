"""Whether an engine works in a data folder, told without touching its lock.

Trying the lock would answer too, but for a moment it would keep out an engine that is just starting. So the kernel is asked which locks are
held (/proc/locks, proc(5)); where that cannot be read, whether the process named in the lock file lives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LOCK = "engine.lock"
_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that is the engine of a folder, as it wrote itself down."""

    pid: int
    owner: str


def holder(folder: Path) -> Holder | None:
    """The live engine of `folder`, or None."""
    path = folder / LOCK
    try:
        found = path.stat()
        words = path.read_text(errors="replace").split()
    except OSError:
        return None
    pid = int(words[0]) if words and words[0].isdigit() else 0
    held = _held(found)
    if held is None:
        held = _lives(pid)
    return Holder(pid, " ".join(words[1:])) if held else None


def _held(found: os.stat_result) -> bool | None:
    """Whether anybody holds a `flock` on the file; None when the system does not say."""
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    fields = [line.split() for line in lines]
    listed = [each for each in fields if len(each) > 5 and each[1] == "FLOCK"]
    if not listed:
        return None  # an emptied list, as some containers show it, says nothing
    return any(each[5] == place for each in listed)


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
