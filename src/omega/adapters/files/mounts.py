"""Which folders lie on a disk of this machine: a small file there is read in less time than handing the work to a thread takes.

A network or user-space file system may take seconds, or for ever, to answer; nothing there is done on the event loop. The kind of file
system is read from /proc/self/mountinfo (proc(5)): the mount with the longest path that holds the folder, the last of equal ones.
"""

from __future__ import annotations

import os
from typing import Final

LOCAL: Final = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""Kinds of file systems that live in this machine's memory or on its disks."""

MAX_FOLDERS: Final = 4_096
"""Most folders remembered; past it all are forgotten and learned again."""

MOUNTS: Final = "/proc/self/mountinfo"

_known: dict[str, bool] = {}


def known(folder: str) -> bool | None:
    """Whether `folder` is on a local file system, as far as is remembered; None when nobody has looked. Touches nothing."""
    return _known.get(folder)


def look(folder: str) -> bool:
    """Find out whether `folder` is on a local file system, and remember it. May take as long as that file system takes: call it in a
    thread."""
    if len(_known) >= MAX_FOLDERS:
        _known.clear()
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            local = kind_of(os.path.realpath(folder), file.read()) in LOCAL
    except OSError:  # no /proc: not Linux, or hidden
        local = False
    _known[folder] = local
    return local


def kind_of(folder: str, mounts: str) -> str:
    """The kind of file system that holds the absolute path `folder`, from the text of a mountinfo; empty when none does."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = _plain(fields[4])
        if len(point) >= best and (folder == point or folder.startswith(point.rstrip("/") + "/")):
            best, kind = len(point), right.partition(" ")[0]
    return kind


def _plain(text: str) -> str:
    """A mount point without the octal escapes of blanks."""
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, plain)
    return text
