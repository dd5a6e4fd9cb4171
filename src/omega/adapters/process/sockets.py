"""Which sockets a confined program may make: a filter over system calls (seccomp), for what Landlock does not hold.

Landlock holds TCP by port, and nothing else of the network: not UDP, not MPTCP (which reaches TCP servers), not a connection that begins
with its first data (`MSG_FASTOPEN`), not sockets that have a path, behind which a database or the owner's session may trust whoever comes.

    network      none                ports                               all
    internet     nothing             TCP (Landlock: these ports), UDP    everything
    local        pairs alone, under each of them: no socket with a path or an abstract name

UDP comes with ports because names are looked up over it. Netlink, by which a program learns which interfaces there are, is free. Requests
past the filter (io_uring, calls of another architecture) are answered as if the kernel had none. The keyrings of the kernel, in which
other programs of the user keep secrets, are refused under all three.

Source: seccomp(2), and `struct seccomp_data`, `struct sock_filter` in include/uapi/linux. Standard library only, like `landlock`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where they lie in `seccomp_data`; an argument is 8 bytes, the lower half first."""

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_OTHER_ABI = 0x40000000
"""From here on the numbers of another calling convention begin (x32)."""

_INTERNET, _INTERNET6, _NETLINK = 2, 10, 16
_STREAM, _DATAGRAM, _TYPE_BITS = 1, 2, 0xF
_TCP = 6
_FAST_OPEN = 0x20000000
_IO_URING_SETUP = 425

MACHINES = {
    "x86_64": (0xC000003E, 41, {44: 3, 46: 2, 307: 3}, (248, 249, 250)),
    "aarch64": (0xC00000B7, 198, {206: 3, 211: 2, 269: 3}, (217, 218, 219)),
    "riscv64": (0xC00000F3, 198, {206: 3, 211: 2, 269: 3}, (217, 218, 219)),
}
"""By machine: its name in audit records, the number of `socket`, those of `sendto`, `sendmsg`, `sendmmsg`, each with the place of its flags
among its arguments, and those of `add_key`, `request_key`, `keyctl`."""

_Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def known() -> bool:
    """Whether the filter can be written for this machine."""
    return os.uname().machine in MACHINES


def restrict(network: str) -> None:
    """Hold the calling process and its descendants to the sockets of `network` (`none`, `ports` or `all`), for good.

    They must not be able to gain privileges (no_new_privs). Raises OSError when the kernel cannot.
    """
    if not known():
        raise OSError(errno.ENOSYS, f"no filter is known for {os.uname().machine}")
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions(os.uname().machine, network))
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the filter over system calls was refused")


def instructions(machine: str, network: str) -> list[_Instruction]:
    """The filter. A comparison skips as many instructions as it says where it holds, and where it does not."""
    architecture, socket, sends, keys = MACHINES[machine]
    made: list[_Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), _refuse(errno.ENOSYS)]
    made += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _OTHER_ABI), _refuse(errno.ENOSYS)]
    made += [(_EQUAL, 0, 1, _IO_URING_SETUP), _refuse(errno.ENOSYS)]
    for number in keys:
        made += [(_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    for number, place in sends.items() if network == "ports" else ():
        made += [(_EQUAL, 0, 4, number), _argument(place), (_ANY_BIT, 0, 1, _FAST_OPEN), _refuse(errno.EACCES), _allow()]
    made += [(_EQUAL, 1, 0, socket), _allow(), _argument(0), (_EQUAL, 0, 1, _NETLINK), _allow()]
    if network == "none":
        return [*made, _refuse(errno.EACCES)]
    made += [(_EQUAL, 2, 0, _INTERNET), (_EQUAL, 1, 0, _INTERNET6), _refuse(errno.EACCES)]
    if network == "all":
        return [*made, _allow()]
    made += [_argument(1), (_AND, 0, 0, _TYPE_BITS), (_EQUAL, 0, 1, _DATAGRAM), _allow(), (_EQUAL, 1, 0, _STREAM), _refuse(errno.EACCES)]
    return [*made, _argument(2), (_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, _TCP), _refuse(errno.EACCES), _allow()]


def _argument(place: int) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * place)


def _allow() -> _Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def _refuse(error: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)
