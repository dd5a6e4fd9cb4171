"""The shield: a small program between the engine and everything the engine starts, so that nothing outlives the engine.

    python -I -S shield.py ENGINE_PID [--caps=cpu_s:60,memory_mb:512,processes:32] [--confine=...] PROGRAM [ARGUMENT ...]

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
6. with caps it looks every `LOOK_S` what the whole tree has used: processor time, ended processes included; resident memory; processes.
   Above a cap the tree is killed at once, the last line on standard error says which cap it was, and the exit status is `CAPPED`. Between
   two looks the kernel holds each process: no more processor time (RLIMIT_CPU), no more than twice the memory of its own (RLIMIT_DATA,
   which does not count what runtimes reserve and never write to, as RLIMIT_AS would);
7. confined, the program holds no descriptor but its standard streams and no privilege, has a folder of its own that goes with it, and
   opens, changes and reaches only what it was granted (`landlock.py`, `sockets.py`), for good and with all its descendants. The shield
   itself stays outside: what is inside can neither signal nor trace it;
8. it exits with the program's status, 128 + signal when a signal ended it, `CANNOT_START` when it never ran.

The program itself gets SIGKILL from the kernel should the shield be killed. All signals are blocked and taken one at a time with
`sigtimedwait`, so there are no handlers and no races between them. Linux only; standard library only; run with `-I -S`, so that
neither the environment nor the current folder decides what code it imports.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from types import ModuleType

GRACE_S = 0.5
"""Seconds between SIGTERM and SIGKILL: enough for a program to remove its lock files, below the engine's own patience."""

LAST_RESORT_S = 10.0
"""Seconds after which the shield gives up on processes that even SIGKILL does not end (stuck in the kernel)."""

POLL_S = 0.02
"""Seconds between two looks at a tree that is being ended."""

CANNOT_START = 127
"""Exit status when the program could not be started; standard error then begins with `MARK`."""

CAPPED = 125
"""Exit status of a program whose tree went over one of its caps; the last line of standard error then begins with `MARK`."""

CAPS_OPTION = "--caps="
CAPS = {"cpu_s": "seconds of processor time", "memory_mb": "MB of memory", "processes": "processes at once"}
"""What may be capped, for the whole tree together, and in which words it is told."""

LOOK_S = 0.1
"""Seconds between two looks at what a tree with caps uses."""

TICK_S = 0.05
"""By how much (seconds) two of the kernel's counts of processor time differ at most: it ends a process by one, and tells another."""

BURST = 2
"""So many times its cap of memory one process may have of its own between two looks."""

CONFINE_OPTION = "--confine="
READ, WRITE, PORT, FREE_NETWORK, PRIVATE, OWN_VARIABLE = "read", "write", "port", "network", "private", "own"
"""Kinds of lines in `--confine=`: a path to read, a path to change, a TCP port, the whole network, the folder in which a private one is
made, a variable that names the private one."""

MARK = "omega shield: "
"""What the shield's own words on standard error begin with."""

_MANY = 1 << 20
"""Above every descriptor that a process may have here."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_PARENT_DIED = signal.SIGUSR1
_WATCHED = _ENDING | {_PARENT_DIED, signal.SIGCHLD}


def main(argv: list[str]) -> int:
    """Run `argv[2:]` for the engine with process id `argv[1]` and give the exit status."""
    import ctypes  # here: only the shield itself needs it, not the engine that imports this file for its constants

    engine, caps, command = int(argv[1]), {}, argv[2:]
    if command[0].startswith(CAPS_OPTION):
        caps = _caps(command.pop(0))
    grants = _grants(command.pop(0)) if command[0].startswith(CONFINE_OPTION) else {}
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, _PARENT_DIED)):
        if prctl(option, value, 0, 0, 0) != 0:
            return _refuse(f"prctl {option} failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != engine:
        return _refuse("the engine is gone")
    try:
        return _shield(command, prctl, engine, caps, grants)
    finally:
        _remove(grants.get(PRIVATE, []))


def _shield(command: list[str], prctl: Callable[..., int], engine: int, caps: dict[str, int], grants: dict[str, list[str]]) -> int:
    """Start the program and stay with it to its end; gives the exit status."""
    report, verdict = os.pipe()
    shield = os.getpid()
    program = os.fork()
    if program == 0:
        _become(command, prctl, verdict, shield, caps, grants)
    os.close(verdict)
    told = os.dup(2) if caps else -1
    _let_go_of_streams()
    failure = os.read(report, 4096)
    if failure:
        os.waitpid(program, 0)
        return _refuse(failure.decode("utf-8", "replace"))
    os.dup2(0, 2)
    return _watch(program, engine, caps, told)


def _caps(option: str) -> dict[str, int]:
    """The caps in `--caps=NAME:NUMBER,...`."""
    pairs = (part.partition(":") for part in option.removeprefix(CAPS_OPTION).split(","))
    return {name: int(number) for name, _, number in pairs if name in CAPS and int(number) > 0}


def _become(
    command: list[str], prctl: Callable[..., int], verdict: int, shield: int, caps: dict[str, int], grants: dict[str, list[str]]
) -> None:
    """In the forked child: turn into the program; on failure say why through `verdict`. Never returns."""
    what = command[0]
    try:
        os.setsid()
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != shield:
            os._exit(CANNOT_START)
        _limit(caps)
        if grants:
            what = "it cannot be confined"
            _confine(grants, verdict)
            what = command[0]
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.execvp(command[0], command)  # noqa: S606 - the argument vector comes from the engine, no shell is involved
    except OSError as error:
        os.write(verdict, f"{what}: {os.strerror(error.errno or 0)}".encode("utf-8", "replace"))
    finally:
        os._exit(CANNOT_START)


def _grants(option: str) -> dict[str, list[str]]:
    """What `--confine=` says, a line for each grant: `KIND VALUE`. The private folder is made here, in the one that is named."""
    grants: dict[str, list[str]] = {}
    for line in option.removeprefix(CONFINE_OPTION).split("\n"):
        kind, _, value = line.partition(" ")
        grants.setdefault(kind, []).append(value)
    grants[PRIVATE] = [os.path.join(place, f"omega-{os.getpid()}-{os.urandom(8).hex()}") for place in grants.get(PRIVATE, [])]
    for place in grants[PRIVATE]:
        os.mkdir(place, 0o700)
    return grants


def _confine(grants: dict[str, list[str]], verdict: int) -> None:
    """In the forked child: keep nothing but the standard streams and what was granted. Raises OSError."""
    landlock, sockets = _beside("landlock"), _beside("sockets")
    os.closerange(3, verdict)
    os.closerange(verdict + 1, _MANY)
    own = grants[PRIVATE]
    for name in grants.get(OWN_VARIABLE, []):
        os.environ[name] = own[0]
    ports = None if FREE_NETWORK in grants else [int(port) for port in grants.get(PORT, [])]
    landlock.confine(grants.get(READ, []), [*grants.get(WRITE, []), *own], ports)
    sockets.restrict("all" if ports is None else "ports" if ports else "none")


def _beside(name: str) -> ModuleType:
    """The file of that name beside this one: with `-I` no folder of ours is searched for modules."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py"))
    if spec is None or spec.loader is None:
        raise OSError(2, f"{name}.py is not there")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _remove(places: list[str]) -> None:
    """Remove the private folder with whatever is in it; nothing of the program runs any more."""
    for place in places:
        try:
            os.rmdir(place)
        except OSError:
            import shutil  # here: most programs leave nothing, and a start should be short

            shutil.rmtree(place, ignore_errors=True)


def _limit(caps: dict[str, int]) -> None:
    """In the forked child: what the kernel holds each process of the tree to, whatever happens between two looks."""
    wanted = {resource.RLIMIT_CPU: caps.get("cpu_s", 0), resource.RLIMIT_DATA: caps.get("memory_mb", 0) * BURST << 20}
    for limit, most in wanted.items():
        hard = resource.getrlimit(limit)[1]
        if most and (hard == resource.RLIM_INFINITY or most < hard):
            resource.setrlimit(limit, (most, most + 1))  # at the first a signal says why, at the second there is none


def _let_go_of_streams() -> None:
    """Point standard input and output at nothing, so that only the program holds the engine's ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def _watch(program: int, engine: int, caps: dict[str, int], told: int) -> int:
    """Wait until the program ends, the tree has to, or it goes over a cap; give the exit status."""
    status: int | None = None
    while status is None:
        if caps:
            taken = signal.sigtimedwait(_WATCHED, LOOK_S)
            received = taken.si_signo if taken is not None else 0
        else:
            received = signal.sigwaitinfo(_WATCHED).si_signo
        if received in _ENDING or (received == _PARENT_DIED and os.getppid() != engine):
            _end_tree()
            return 128 + (received if received in _ENDING else signal.SIGKILL)
        status = _reap(program)
        over = _over(caps, status)
        if over:
            _end_tree(grace_s=0.0)
            os.write(told, f"\n{MARK}{over}\n".encode())
            return CAPPED
    _end_tree()
    return status if status >= 0 else 128 - status


def _over(caps: dict[str, int], status: int | None) -> str:
    """Which cap the tree has gone over, in words; empty when it is below all of them, or has none. Of a program that has ended (`status`)
    only its processor time is still known, and that the kernel ended one of its processes for it shows in nothing else."""
    if not caps:
        return ""
    if status == -signal.SIGXCPU and "cpu_s" in caps:
        return f"more than {caps['cpu_s']} {CAPS['cpu_s']}"
    used = _used(_below()) if status is None else {**dict.fromkeys(CAPS, 0.0), "cpu_s": _used([])["cpu_s"]}
    return next((f"more than {most} {CAPS[name]}" for name, most in caps.items() if used[name] > most - (name == "cpu_s") * TICK_S), "")


def _used(pids: list[int]) -> dict[str, float]:
    """What these processes, and all that have ended below this one, have used so far (proc(5): stat, fields 14 to 17 and 24)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks, pages = 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
        pages += int(fields[21])
    cpu_s = ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime
    return {"cpu_s": cpu_s, "memory_mb": pages * resource.getpagesize() / (1 << 20), "processes": len(pids)}


def _below() -> list[int]:
    """Process ids of everything below this process. Each process names its children (proc(5): task/TID/children); where the kernel does
    not tell them, the parents of all processes do."""
    found: list[int] = []
    level = [os.getpid()]
    while level:
        below: list[int] = []
        for pid in level:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", "rb") as children:
                        below += [int(word) for word in children.read().split()]
            except FileNotFoundError:
                if pid == os.getpid():
                    return _descendants()
            except OSError:
                continue
        found += below
        level = below
    return found


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


def _end_tree(grace_s: float = GRACE_S) -> None:
    """End every descendant: SIGTERM once, after `grace_s` SIGKILL until none is left."""
    if not _has_children():
        return
    start = time.monotonic()
    _send(_descendants(), signal.SIGTERM if grace_s else signal.SIGKILL)
    while _has_children():
        _reap(0)
        waited = time.monotonic() - start
        if waited > LAST_RESORT_S:
            return
        if waited >= grace_s:
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
