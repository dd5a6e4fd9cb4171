"""Landlock: a process gives up, for itself and all that it starts, every file and port that it was not granted. Linux, without privileges.

Source: the kernel's user space API, Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h. A ruleset names what it
*handles*; whatever is handled and not granted by a rule is refused with EACCES from then on, and no descendant ever gets it back:

    ABI 1 (5.13)   what is opened, run, made, removed        ABI 4 (6.7)    TCP: bind and connect, by port
    ABI 2 (5.19)   files moved between folders               ABI 5 (6.10)   ioctl on devices
    ABI 3 (6.2)    files cut short                           ABI 6 (6.12)   signals and abstract sockets out of the domain

A confined process can trace, and read the memory, the environment and the descriptors (`/proc/PID/...`) of nobody outside its own domain
(all ABIs). Not handled by any of them: what is no plain TCP, and sockets that have a path (`sockets.py` closes these), and what stat(2)
tells and chmod(2) changes of a file of the same user.

Standard library only, and nothing of this package: the shield loads this file by its place.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

FILES_ABI = 3
"""The first version that holds files whole: before, a file that may not be written could still be emptied."""

NETWORK_ABI = 4
"""The first version that holds TCP."""

SIGNALS_ABI = 6
"""The first version that keeps signals inside."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System call numbers, the same on every architecture that Python is commonly built for."""

_VERSION_FLAG = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
"""capset(2), version 3: two words for each of effective, permitted, inheritable."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_BIND, _CONNECT = 1 << 0, 1 << 1
_SCOPED = 0b11

_LAST_RIGHT = {1: 12, 2: 13, 3: 14, 4: 14}
"""The highest right over files that a version knows, as a bit number; 15 in all later ones."""

_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""What a rule may grant on something that is no folder."""

READ = _EXECUTE | _READ_FILE | _READ_DIR
"""Reading: opening, listing, running."""


def abi() -> int:
    """The version that the kernel offers; 0 where it has none, it is switched off, or this is no Linux."""
    try:
        found = _syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except (AttributeError, OSError):
        return 0
    return max(0, found)


def rights(version: int) -> int:
    """Every right over files that `version` knows."""
    return (2 << _LAST_RIGHT.get(version, 15)) - 1


def writing(version: int) -> int:
    """Reading and writing, without devices: making one is never granted."""
    return rights(version) & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV)


def confine(read: Iterable[str], write: Iterable[str], ports: Iterable[int] | None) -> None:
    """Confine the calling process, for good: it may read and run what lies at or below `read`, read and write what lies at or below
    `write`, and connect to the TCP `ports` (None: to all, and listen too). Paths are their own real paths; one that is not there is left
    out.

    Raises OSError when the kernel cannot, or a path now leads elsewhere: then the process must not go on.
    """
    version = abi()
    ports = None if ports is None else tuple(ports)
    held = ports is not None and version >= NETWORK_ABI  # where no port is granted, no socket is made at all: `sockets.py`
    if version < (NETWORK_ABI if ports else FILES_ABI):
        raise OSError(95, f"Landlock version {version} of this kernel cannot hold what is asked")
    attributes = struct.pack("=QQQ", rights(version), (_BIND | _CONNECT) if held else 0, _SCOPED)
    size = 24 if version >= SIGNALS_ABI else 16 if version >= NETWORK_ABI else 8
    ruleset = _syscall(_CREATE_RULESET, attributes, size, 0)
    try:
        for allowed, paths in ((READ, read), (writing(version), write)):
            for path in paths:
                _allow(ruleset, path, allowed & rights(version))
        for port in ports or ():
            _syscall(_ADD_RULE, ruleset, _RULE_NET_PORT, struct.pack("=QQ", _CONNECT, port), 0)
        _give_up_privileges()
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _give_up_privileges() -> None:
    """Hold no capability, and gain none by running a program (setuid, file capabilities, being root). Raises OSError.

    Root's own would lead around the rules: with CAP_PERFMON the environment of any process can be read.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), nothing) != 0:
        raise OSError(ctypes.get_errno(), "privileges cannot be given up")


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if os.readlink(f"/proc/self/fd/{place}") != path:  # a link was put there after it was looked at
            raise OSError(40, f"{path} leads elsewhere")
        folder = os.fstat(place).st_mode & 0o170000 == 0o040000
        rule = struct.pack("=Qi", allowed if folder else allowed & _OF_FILES, place)
        _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """One system call. Raises OSError with its errno."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    plain = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(call(ctypes.c_long(number), *plain))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
