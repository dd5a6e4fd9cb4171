"""Where a program is found, which environment it gets, and how the shield is put around it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from omega.kernel.errors import InputError

_SHIELD: Final = str(Path(__file__).with_name("shield.py"))
_PLAIN_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a program we start: PATH, HOME, LANG and `extra`, nothing else of the engine's own.

    PATH ends with the folder of the running interpreter, so that programs installed beside Omega are found without an activated
    environment and never hide the user's own. LANG is C.UTF-8: messages are the same on every machine.
    """
    path = os.environ.get("PATH") or _PLAIN_PATH
    beside = str(Path(sys.executable).parent)
    plain = {"PATH": f"{path}{os.pathsep}{beside}", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    return {**plain, **extra}


def launch(argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """What to start so that `argv` runs under the shield of the calling process: the argument vector and the whole environment.

    `env` is added to the minimal environment, whose PATH decides where the program is found; a name with a slash is relative to
    `cwd`. Raises InputError: OMG-P001 when there is no such program, OMG-P005 when `cwd` is not a folder.
    """
    if not argv or not argv[0] or any("\0" in part for part in argv):
        raise InputError("OMG-P001", "the command is empty or holds a zero byte")
    if cwd is not None and not os.path.isdir(cwd):
        raise InputError("OMG-P005", f"the working folder {cwd} does not exist or is not a folder", details={"path": cwd})
    whole = environment(env)
    wanted = os.path.join(cwd, argv[0]) if cwd and os.path.dirname(argv[0]) else argv[0]
    program = shutil.which(wanted, path=whole["PATH"])
    if program is None:
        raise InputError("OMG-P001", f"there is no program {argv[0]} that can be run", details={"program": argv[0]})
    return (sys.executable, "-I", "-S", _SHIELD, str(os.getpid()), os.path.abspath(program), *argv[1:]), whole
