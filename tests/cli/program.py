"""The real command line, in this process for speed or as a program of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omega.cli import run

FLOWS = Path(__file__).with_name("flows")
HELLO = str(FLOWS / "hello.py")
GATES = str(FLOWS / "gates.py")
PATIENCE_S = 60.0
STARTED: list[subprocess.Popen[str]] = []
"""The programs that the present test has started."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


def omega(*arguments: str) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(arguments)
    return Said(int(status), out.getvalue(), err.getvalue())


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command as a program."""
    process = subprocess.Popen(
        [sys.executable, "-m", "omega", *arguments],
        env=os.environ | {"OMEGA_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def finished(process: subprocess.Popen[str]) -> Said:
    """What a started command said, once it has ended."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return Said(process.returncode, out, err)


def wait_for(holds: Callable[[], object]) -> None:
    """Wait until `holds`; fail after `PATIENCE_S`."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
