"""The witness: an append-only file outside of Omega, to which every touch and every call of a step leaves a line before it is done.

It knows nothing of journals and survives every kill: a line is one `write` to a file opened for appending. Counting its lines afterwards
says what really happened, whatever Omega believes.

    LIFE MOMENT KIND STEP ITEM        one process, Unix microseconds, call | read | write, the step's name, the item it is about

As an effector (port `drill`) it is found like anybody's: an entry point of a package on the path of the workers (see `cluster.py`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.verdict import Permit

FILE = "OMEGA_DRILL_WITNESS"
LIFE = "OMEGA_DRILL_LIFE"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the witness."""

    life: str
    at_us: int
    kind: str
    step: str
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Request):
    """Leave a line, as a target in the world that remembers each request, and takes `takes_s` seconds to answer."""

    port: ClassVar[str] = "drill"
    kind: str
    step: str
    item: str
    takes_s: float = 0.0


class WitnessEffector:
    """Serves `Note`. Its permit is spent right before the line is written."""

    port = Note.port

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[str, Receipt]:
        """Gives the item. Raises InputError (OMG-I001) for any other request."""
        if not isinstance(request, Note):
            raise InputError("OMG-I001", "the witness takes notes alone")
        permit.spend(self.port)
        leave(request.kind, request.step, request.item)
        await asyncio.sleep(request.takes_s)
        return request.item, Receipt()


def leave(kind: str, step: str, item: str) -> None:
    """Write one line."""
    line = f"{os.environ.get(LIFE, '-')} {time.time_ns() // 1_000} {kind} {step} {item}\n"
    descriptor = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[Line]:
    """Every line so far."""
    text = path.read_text() if path.is_file() else ""
    for line in text.splitlines():
        life, at_us, kind, step, item = line.split()
        yield Line(life, int(at_us), kind, step, item)
