"""The shield: a small program between the engine and everything the engine starts, so that nothing outlives the engine.

    python -I -S shield.py ENGINE_PID PROGRAM [ARGUMENT ...]

Theory. A process that dies by SIGKILL cannot clean up, so its children must notice by themselves, and a program we did not write
(a tool server, the `git` it starts, a daemon that this one forks) will not. The shield is the parent that does:

1. it is a *child subreaper*: a descendant whose parent dies becomes the shield's own child, even after a double fork and a `setsid`,
   so every descendant stays below it in the process tree;
2. it asks the kernel for a signal when its own parent dies (`PR_SET_PDEATHSIG`), and looks at `getppid` right after asking, because
   the parent may have died before; the signal comes per *thread* of the parent, hence `getppid` decides, not the signal;
3. it starts the program in a session of its own with the shield's standard streams, and then does nothing but wait for signals.
   It keeps no end of those streams open, so end-of-file means the same with and without it;
4. when the engine dies, or on SIGTERM, SIGINT, SIGHUP: SIGTERM to the whole tree, `GRACE_S` of time, then SIGKILL until the tree is empty;
5. when the program ends, whatever it left running is ended in the same way: a step owns its processes and ends with them;
6. it exits with the program's status, 128 + signal when a signal ended it, `CANNOT_START` when it never ran.

The program itself gets SIGKILL from the kernel should the shield be killed. All signals are blocked and taken one at a time with
`sigtimedwait`, so there are no handlers and no races between them. Linux only; standard library only; run with `-I -S`, so that
neither the environment nor the current folder decides what code it imports.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

GRACE_S = 0.5
"""Seconds between SIGTERM and SIGKILL: enough for a program to remove its lock files, below the engine's own patience."""

LAST_RESORT_S = 10.0
"""Seconds after which the shield gives up on processes that even SIGKILL does not end (stuck in the kernel)."""

POLL_S = 0.02
"""Seconds between two looks at a tree that is being ended."""

CANNOT_START = 127
"""Exit status when the program could not be started; standard error then begins with `MARK`."""

MARK = "omega shield: "
"""What the shield's own words on standard error begin with."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_PARENT_DIED = signal.SIGUSR1
_WATCHED = _ENDING | {_PARENT_DIED, signal.SIGCHLD}


def main(argv: list[str]) -> int:
    """Run `argv[2:]` for the engine with process id `argv[1]` and give the exit status."""
    import ctypes  # here: only the shield itself needs it, not the engine that imports this file for its constants

    engine, command = int(argv[1]), argv[2:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, _PARENT_DIED)):
        if prctl(option, value, 0, 0, 0) != 0:
            return _refuse(f"prctl {option} failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != engine:
        return _refuse("the engine is gone")
    report, verdict = os.pipe()
    shield = os.getpid()
    program = os.fork()
    if program == 0:
        _become(command, prctl, verdict, shield)
    os.close(verdict)
    _let_go_of_streams()
    failure = os.read(report, 4096)
    if failure:
        os.waitpid(program, 0)
        return _refuse(failure.decode("utf-8", "replace"))
    os.dup2(0, 2)
    return _watch(program, engine)


def _become(command: list[str], prctl: Callable[..., int], verdict: int, shield: int) -> None:
    """In the forked child: turn into the program; on failure say why through `verdict`. Never returns."""
    try:
        os.setsid()
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != shield:
            os._exit(CANNOT_START)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.execvp(command[0], command)  # noqa: S606 - the argument vector comes from the engine, no shell is involved
    except OSError as error:
        os.write(verdict, f"{command[0]}: {os.strerror(error.errno or 0)}".encode("utf-8", "replace"))
    finally:
        os._exit(CANNOT_START)


def _let_go_of_streams() -> None:
    """Point standard input and output at nothing, so that only the program holds the engine's ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def _watch(program: int, engine: int) -> int:
    """Wait until the program ends or the tree has to; give the exit status."""
    status: int | None = None
    while status is None:
        received = signal.sigwaitinfo(_WATCHED).si_signo
        if received in _ENDING or (received == _PARENT_DIED and os.getppid() != engine):
            _end_tree()
            return 128 + (received if received in _ENDING else signal.SIGKILL)
        status = _reap(program)
    _end_tree()
    return status if status >= 0 else 128 - status


def _reap(program: int) -> int | None:
    """Collect every child that has ended; the program's exit code (negative: its signal) if it is among them."""
    found: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == program:
            found = os.waitstatus_to_exitcode(status)


def _end_tree() -> None:
    """End every descendant: SIGTERM once, then SIGKILL until none is left."""
    if not _has_children():
        return
    start = time.monotonic()
    _send(_descendants(), signal.SIGTERM)
    while _has_children():
        _reap(0)
        waited = time.monotonic() - start
        if waited > LAST_RESORT_S:
            return
        if waited > GRACE_S:
            _send(_descendants(), signal.SIGKILL)
        signal.sigtimedwait([signal.SIGCHLD], POLL_S)


def _has_children() -> bool:
    """Whether any child is left, ended or not. As subreaper, no children means no descendants."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _descendants() -> list[int]:
    """Process ids of everything below this process, from the parent field of every `/proc/PID/stat`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            children.setdefault(_parent(name), []).append(int(name))
    found: list[int] = []
    level = children.get(os.getpid(), [])
    while level:
        found += level
        level = [child for pid in level for child in children.get(pid, [])]
    return found


def _parent(pid: str) -> int:
    """The parent of `pid`, 0 when it is gone. Field 4 of proc(5) stat, after a name in parentheses that may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _refuse(reason: str) -> int:
    os.write(2, f"{MARK}{reason}\n".encode("utf-8", "replace"))
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv))
