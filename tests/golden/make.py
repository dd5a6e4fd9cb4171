"""Makes the golden data folder of the present format: `python tests/golden/make.py [FOLDER]` (default: `format1` beside this file).

A golden folder is a small real OMEGA_HOME as a release wrote it, kept for good and opened by the tests of every later release. Keys are
derived from their names, time and randomness from counters, so two runs hold the same records; pages may differ between versions of SQLite.
The keys are known to everybody: nothing in here is a secret. Modes are not kept by version control: whoever opens a folder copies it and
restores them (`copy_golden`). A folder that exists is left alone: a format that was released is not made again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_US = 4_102_444_800_000_000
"""2100-01-01T00:00:00Z: effectors hold permits against the machine's own clock, so the made-up one is ahead of it."""
INSTALLATION = "ins_019b76da00007000a000000000000001"
EXPECTED = "expected.json"


class CountingClock:
    """Wall time that goes on by a millisecond each time somebody looks."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def now_us(self) -> int:
        return START_US + 1_000 * next(self._ticks)

    def monotonic(self) -> float:
        return next(self._ticks) / 1_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class CountingEntropy:
    """SHA-256 of a counter: the same bytes in each run."""

    def __init__(self) -> None:
        self._blocks = itertools.count()

    def take(self, size: int) -> bytes:
        blocks = (hashlib.sha256(b"golden %d" % next(self._blocks)).digest() for _ in range(0, size, 32))
        return b"".join(blocks)[:size]


def write_keys(folder: Path) -> None:
    """The key store of the golden installation, in the format of `omega.adapters.keystore`."""
    folder.mkdir(parents=True)
    for name, kind in (("passport", "ed25519"), ("log", "ed25519"), ("seal", "secret")):
        seed = base64.b64encode(hashlib.sha256(f"omega golden key {name}".encode()).digest()).decode()
        (folder / f"{name}.key").write_text(f"omega-key 1 {kind} {seed}\n")


def restore_modes(folder: Path) -> None:
    """Owner only, as Omega made them."""
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def copy_golden(name: str, to: Path) -> Path:
    """A copy of a golden folder that may be opened and written."""
    shutil.copytree(HERE / name, to)
    restore_modes(to)
    return to


def runs() -> list[tuple[str, Any, Any]]:
    """What is recorded: (id of the execution, flow, input)."""
    from golden import flows

    return [
        ("golden-pure", flows.measured, "one road through the gate"),
        ("golden-touch", flows.touched, "what an outside program said"),
        ("golden-large", flows.words, "word " * 14_000),
        ("golden-failed", flows.broken, "not a number"),
    ]


async def record(folder: Path) -> None:
    """Run the flows one after the other on the folder."""
    from omega.host import embedded, settings

    vars(embedded).update(SystemClock=CountingClock, SystemEntropy=CountingEntropy)
    vars(settings).update(_person=lambda: "ada")
    async with embedded.Omega.open(folder) as omega:
        for name, flow, value in runs():
            outcome = await omega.run(flow, value, execution=name, target="flows.py")
            if (outcome.status == "done") != (name != "golden-failed"):
                raise SystemExit(f"{name} ended {outcome.status}: {outcome.error}")


def expectations(folder: Path) -> dict[str, Any]:
    """What any later release must still read out of the folder."""
    from omega.adapters.sqlite import SqliteReader
    from omega.kernel.journal import digest_of

    with SqliteReader.open(folder) as reader:
        lines = reader.lines(limit=1_000)
        rows = {line.execution: reader.rows(line.execution) for line in lines}
        return {
            "executions": {
                line.execution: {
                    "status": line.status,
                    "flow": line.flow,
                    "rows": len(rows[line.execution]),
                    "digest": digest_of(rows[line.execution]).hex(),
                    "payloads": hashlib.sha256(b"".join(row.payload or b"" for row in rows[line.execution])).hexdigest(),
                }
                for line in lines
            },
            "logs": {
                tenant: {
                    "size": len(reader.leaves(tenant)),
                    "leaves": hashlib.sha256(b"\n".join(reader.leaves(tenant))).hexdigest(),
                    "checkpoint": reader.checkpoints(tenant)[-1][1].decode(),
                }
                for tenant in reader.tenants()
            },
        }


def main(folder: Path) -> int:
    """Make the folder and write down what must be read out of it; 1 when it is already there."""
    if folder.exists():
        sys.stderr.write(f"{folder} exists: a released format is not made again\n")
        return 1
    sys.path.insert(0, str(HERE.parent))
    write_keys(folder / "keys")
    restore_modes(folder)
    asyncio.run(record(folder))
    with sqlite3.connect(folder / "omega.db", isolation_level=None) as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'installation'", (INSTALLATION,))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    (folder / "engine.lock").unlink()
    (folder / EXPECTED).write_text(json.dumps(expectations(folder), indent=1, sort_keys=True) + "\n")
    for leftover in folder.glob("omega.db-*"):
        leftover.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "format1"))
