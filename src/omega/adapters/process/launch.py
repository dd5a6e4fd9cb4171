"""Where a program is found, which environment it gets, and how the shield is put around it, with the caps that the shield keeps."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from omega.adapters.process import landlock, sockets
from omega.adapters.process.places import Places, places
from omega.adapters.process.shield import CAPS_OPTION, CONFINE_OPTION, FREE_NETWORK, OWN_VARIABLE, PORT, PRIVATE, READ, WRITE
from omega.kernel.errors import InputError
from omega.kernel.sandbox import Sandbox

_SHIELD: Final = str(Path(__file__).with_name("shield.py"))
_OWN: Final = ("HOME", "TMPDIR", "TMP", "TEMP")
"""Variables that name the private folder of a confined program."""

_PLAIN_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a program may use together with everything that it starts, until it ends: seconds of processor time, MB (2**20 bytes) of
    resident memory, processes at once. 0 stands for no cap."""

    cpu_s: int = 0
    memory_mb: int = 0
    processes: int = 0

    def options(self) -> tuple[str, ...]:
        """What the shield is told; nothing where there is no cap."""
        told = [f"{name}:{most}" for name, most in asdict(self).items() if most > 0]
        return (CAPS_OPTION + ",".join(told),) if told else ()


NO_CAPS: Final = Caps()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a program we start: PATH, HOME, LANG and `extra`, nothing else of the engine's own.

    PATH ends with the folder of the running interpreter, so that programs installed beside Omega are found without an activated
    environment and never hide the user's own. LANG is C.UTF-8: messages are the same on every machine.
    """
    path = os.environ.get("PATH") or _PLAIN_PATH
    beside = str(Path(sys.executable).parent)
    plain = {"PATH": f"{path}{os.pathsep}{beside}", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    return {**plain, **extra}


def launch(
    argv: Sequence[str],
    *,
    cwd: str | None,
    env: Mapping[str, str],
    caps: Caps = NO_CAPS,
    sandbox: Sandbox | None = None,
    protected: Sequence[str] = (),
) -> tuple[tuple[str, ...], dict[str, str]]:
    """What to start so that `argv` runs under the shield of the calling process: the argument vector and the whole environment.

    `env` is added to the minimal environment, whose PATH decides where the program is found; a name with a slash is relative to
    `cwd`. With a `sandbox` that is on it may do what that says, and nothing of what lies in the folders `protected`; HOME and the
    folder for temporary files are then one of its own, unless `env` names others. Raises InputError: OMG-P001 when there is no such
    program, OMG-P005 when `cwd` is not a folder, OMG-P009 when it cannot be confined as it should be.
    """
    if not argv or not argv[0] or any("\0" in part for part in argv):
        raise InputError("OMG-P001", "the command is empty or holds a zero byte")
    if cwd is not None and not os.path.isdir(cwd):
        raise InputError("OMG-P005", f"the working folder {cwd} does not exist or is not a folder", details={"path": cwd})
    whole = environment(env)
    program = program_of(argv[0], cwd=cwd, path=whole["PATH"])
    shield = (sys.executable, "-I", "-S", _SHIELD, str(os.getpid()), *caps.options())
    if sandbox is not None and sandbox.on:
        found = places(program, argv, cwd=cwd, path=whole["PATH"], sandbox=sandbox, protected=protected)
        shield = (*shield, _confine(sandbox, found, [name for name in _OWN if name not in env]))
    return (*shield, program, *argv[1:]), whole


def program_of(name: str, *, cwd: str | None, path: str) -> str:
    """The absolute path of the program that `name` starts in `cwd`, with `path` to search in. Raises InputError (OMG-P001)."""
    wanted = os.path.join(cwd, name) if cwd and os.path.dirname(name) else name
    program = shutil.which(wanted, path=path)
    if program is None:
        raise InputError("OMG-P001", f"there is no program {name} that can be run", details={"program": name})
    return os.path.abspath(program)


def unconfinable(sandbox: Sandbox) -> str:
    """Why this kernel cannot hold a program to `sandbox`; empty where it can."""
    if not sandbox.on:
        return ""
    if not sockets.known():
        return "Omega knows no filter over system calls for this machine"
    needed, found = landlock.NETWORK_ABI if sandbox.ports else landlock.FILES_ABI, landlock.abi()
    if found >= needed:
        return ""
    return f"this kernel offers version {found} of Landlock, and version {needed} is needed" if found else "this kernel offers no Landlock"


def _confine(sandbox: Sandbox, found: Places, own: Sequence[str]) -> str:
    """What the shield is told. Raises InputError (OMG-P009) where the kernel cannot."""
    reason = unconfinable(sandbox)
    if reason:
        raise InputError("OMG-P009", f"it cannot be confined: {reason}")
    lines = [f"{PRIVATE} {os.path.realpath(tempfile.gettempdir())}", *(f"{OWN_VARIABLE} {name}" for name in own)]
    lines += [f"{READ} {path}" for path in found.read] + [f"{WRITE} {path}" for path in found.write]
    lines += [FREE_NETWORK] if sandbox.ports is None else [f"{PORT} {port}" for port in sandbox.ports]
    return CONFINE_OPTION + "\n".join(lines)
