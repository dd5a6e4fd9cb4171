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
_START = 19
"""Where in /proc/PID/stat, counted after the name, stands when it began."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that is the engine of a folder, as it wrote itself down."""

    pid: int
    owner: str


@dataclass(frozen=True, slots=True)
class Running:
    """A live process: its command line, and how many seconds ago it began."""

    command: str
    age_s: float


def command_of(pid: int) -> Running | None:
    """The process `pid` as the system tells of it (proc(5)); None when it has gone or there is no /proc."""
    place = Path(f"/proc/{pid}")
    try:
        words = (place / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        ticks = int((place / "stat").read_text(errors="replace").rpartition(")")[2].split()[_START])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return Running(" ".join(words), max(0.0, uptime_s - ticks / os.sysconf("SC_CLK_TCK")))


def last_pid(folder: Path) -> int:
    """The process that was the last engine of `folder`, alive or not; 0 when it is not known."""
    try:
        words = (folder / LOCK).read_text(errors="replace").split()
    except OSError:
        return 0
    return int(words[0]) if words and words[0].isdigit() else 0


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
