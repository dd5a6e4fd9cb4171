"""Figures L1, L2, L4 and L6: what the tamper-evident log costs. `python bench/log.py` prints them; `figures()` gives them as records.

L1  durable append with Merkle tree and signed checkpoint, by group commit into SQLite (WAL, synchronous=FULL), per second of CPU:
    bare records, and records with 14 salted commitments computed in the same loop.
L2  verification of an export from a file, per second of CPU, by the stand-alone verifier with a kept checkpoint; size of the proof of
    one record among a million, and the time to build and to check it.
L4  the stand-alone file on an export of a million records, in a process that cannot import Omega and has no network where the machine
    lets it be taken away: seconds from start to exit on the clock, one core.
L6  redaction of three paths of a nested record by the precompiled rules.

But for L4, only CPU is counted (`time.process_time`): median and range of seven runs, because machines and disks are shared and noisy.
Verification is run in turn with its floor, the bare hashes.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from omega.chronicle import verifier
from omega.chronicle.export import write_export
from omega.chronicle.record import Leaf, committed, encode
from omega.chronicle.redact import Rules
from omega.chronicle.sequencer import LogSequencer
from omega.chronicle.verifier import verify_export
from omega.kernel.journal import Row
from omega.kernel.ports import Line
from omega.trust.merkle import Tree, leaf_hash, verify_inclusion
from omega.trust.sealing import Keyring

RECORDS = int(os.environ.get("OMEGA_BENCH_RECORDS", "100000"))
"""Records of one run of L1 and L2."""

BATCH = 1000
"""Leaves of one group commit under load."""

RUNS = 7
MILLION = 1_000_000
"""Records of the export of L4."""

ALONE = "import sys, runpy; sys.modules['omega'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
PROVEN = 1 << 20
"""Leaves of the tree that the one-record proof is about."""

FIELDS = 14
COMMAND = "python bench/log.py"
TENANT = "acme"


class _Signer:
    """An Ed25519 key in memory."""

    name = "log"

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def _bare(number: int) -> bytes:
    return encode(
        Leaf(
            kind="outcome",
            tenant=TENANT,
            execution="exe_01932f6e5b3a7cc09d1f2a4b5c6d7e8f",
            step="findings.2/scan",
            principal="person:ada",
            flow="scan",
            effect="read",
            status="done",
            decision="allow",
            policies=("base-read",),
            at_us=1_800_000_000_000_000 + number,
            took_us=1234,
        )
    )


def _with_fields(commit: Callable[[bytes, bytes], bytes]) -> Callable[[int], bytes]:
    pool = [{f"field{at:02}": b"value %d of field %d" % (number, at) for at in range(FIELDS)} for number in range(BATCH)]

    def record(number: int) -> bytes:
        return encode(
            Leaf(
                kind="outcome",
                tenant=TENANT,
                execution="exe_01932f6e5b3a7cc09d1f2a4b5c6d7e8f",
                step="findings.2/scan",
                at_us=1_800_000_000_000_000 + number,
                fields=committed(pool[number % BATCH], commit),
            )
        )

    return record


def _append(folder: Path, record: Callable[[int], bytes], count: int) -> float:
    """CPU seconds to make `count` records durable: leaf, tree, checkpoint and rows in one transaction per `BATCH`."""
    sequencer = LogSequencer(_Signer(), origin=lambda tenant: f"bench.omega/{tenant}")
    database = sqlite3.connect(folder / "log.db", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE leaf(tenant TEXT, number INTEGER, body BLOB, PRIMARY KEY(tenant, number)) WITHOUT ROWID;"
        "CREATE TABLE log(tenant TEXT PRIMARY KEY, size INTEGER, state BLOB, checkpoint BLOB)"
    )
    started = time.process_time()
    state = b""
    for start in range(0, count, BATCH):
        leaves = [record(number) for number in range(start, min(count, start + BATCH))]
        grown = sequencer.grow(TENANT, state, leaves, at_us=0)
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO leaf VALUES (?,?,?)", [(TENANT, start + at, leaf) for at, leaf in enumerate(leaves)])
        database.execute("INSERT OR REPLACE INTO log VALUES (?,?,?,?)", (TENANT, grown.size, grown.state, grown.checkpoint))
        database.execute("COMMIT")
        state = grown.state
    spent = time.process_time() - started
    database.close()
    return spent


class _Stored:
    """A log in memory that answers the questions an export asks of a store."""

    def __init__(self, leaves: list[bytes], signer: _Signer) -> None:
        self._leaves = leaves
        self.sequencer = LogSequencer(signer, origin=lambda tenant: f"bench.omega/{tenant}")
        self.points: list[tuple[int, bytes]] = []
        state = b""
        for start in range(0, len(leaves), BATCH):
            grown = self.sequencer.grow(TENANT, state, leaves[start : start + BATCH], at_us=0)
            self.points.append((grown.size, grown.checkpoint))
            state = grown.state

    def checkpoints(self, tenant: str) -> list[tuple[int, bytes]]:
        return self.points

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]:
        return self._leaves[start:end]

    def tenants(self) -> list[str]:
        return [TENANT]

    def lines(self, *, tenant: str | None = None, status: str | None = None, limit: int = 50) -> list[Line]:
        return []

    def line(self, execution: str) -> Line | None:
        return None

    def rows(self, execution: str) -> list[Row]:
        return []

    def key(self, execution: str) -> bytes | None:
        return None


def _verify(path: Path, kept: bytes) -> float:
    """CPU seconds to verify the export at `path`, reading included."""
    started = time.process_time()
    with path.open("rb") as file:
        report = verify_export(file, kept=[kept])
    if not report.sound:
        raise SystemExit(f"the export does not verify: {report.findings}")
    return time.process_time() - started


def _floor(leaves: list[bytes]) -> float:
    """CPU seconds of the bare hashes alone: one per leaf and one per node, which no verifier can do without."""
    pairs = [os.urandom(64) for _ in leaves]
    started = time.process_time()
    for leaf, pair in zip(leaves, pairs, strict=True):
        sha256(b"\x00" + leaf).digest()
        sha256(b"\x01" + pair).digest()
    return time.process_time() - started


def _proof() -> tuple[int, float, float]:
    """Bytes of the proof of one record among `PROVEN`, and median microseconds of CPU to build and to check one."""
    tree = Tree(b"%d" % at for at in range(PROVEN - 3))
    size, root = tree.size, tree.root()
    indexes = [at * 7919 % size for at in range(2000)]
    built, checked, longest = [], [], 0
    for index in indexes:
        hashed = leaf_hash(b"%d" % index)
        start = time.perf_counter_ns()
        proof = tree.inclusion(index, size)
        middle = time.perf_counter_ns()
        good = verify_inclusion(hashed, index, size, proof, root)
        checked.append(time.perf_counter_ns() - middle)
        built.append(middle - start)
        if not good:
            raise SystemExit("a proof does not verify")
        longest = max(longest, sum(map(len, proof)))
    return longest, statistics.median(built) / 1000, statistics.median(checked) / 1000


def _alone(folder: Path) -> tuple[list[float], str]:
    """Seconds on the clock of the stand-alone verifier on `MILLION` records, three times; and whether the network was taken away."""
    stored = _Stored([_bare(number) for number in range(MILLION)], _Signer())
    export, kept, program = folder / "million.omega", folder / "kept.txt", folder / "verify.py"
    with export.open("wb") as out:
        write_export(stored, TENANT, out, keys=[stored.sequencer.key(TENANT)])
    kept.write_bytes(stored.points[len(stored.points) // 2][1])
    shutil.copy(verifier.__file__, program)
    fence = ["unshare", "--net", "--map-root-user"]
    fenced = bool(shutil.which("unshare")) and subprocess.run([*fence, "true"], capture_output=True, check=False).returncode == 0
    command = [*(fence if fenced else []), sys.executable, "-c", ALONE, str(program), str(export), "--checkpoint", str(kept), "--json"]
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        spent.append(time.perf_counter() - start)
        if told.returncode != 0 or json.loads(told.stdout)["leaves"] != MILLION:
            raise SystemExit(f"the export does not verify: {told.stdout[:500]} {told.stderr[:500]}")
    export.unlink()
    return spent, "no network" if fenced else "the network could not be taken away here"


def _redaction() -> float:
    """Median microseconds of CPU to take three paths out of a nested record of some 40 values."""
    person = {"name": "ada", "email": "ada@example.org", "address": {"street": "x", "city": "y", "codes": list(range(10))}}
    record = {"user": person, "items": [{"card": str(at), "n": at, "more": {"a": at, "b": [at, at]}} for at in range(4)], "trace": "t" * 32}
    rules, spent = Rules(["$.user.email", "$.user.address.street", "$.items[*].card"]), []
    for _ in range(2000):
        start = time.perf_counter_ns()
        rules.apply(record)
        spent.append(time.perf_counter_ns() - start)
    return statistics.median(spent) / 1000


def _record(name: str, value: float, unit: str, goal: float, *, most: bool = False, spread: Sequence[float] = ()) -> dict[str, Any]:
    """One figure. `goal` is the least value wanted, or the most when `most`; `spread` is the range over the runs."""
    rounded = round(value) if value >= 100 else round(value, 1)
    holds = rounded <= goal if most else rounded >= goal
    found: dict[str, Any] = {"id": name, "value": rounded, "unit": unit, "goal": goal, "holds": holds, "peer": "", "command": COMMAND}
    if spread:
        found["range"] = [round(min(spread)), round(max(spread))]
    return found


def figures() -> list[dict[str, Any]]:
    """The records of L1, L2, L4 and L6; takes about half a minute of CPU."""
    _, sealer = Keyring(os.urandom(32), entropy=os.urandom).create("exe_bench")
    kinds = {"L1 bare": (_bare, 50_000), "L1 14 committed fields": (_with_fields(sealer.commit), 20_000)}
    found = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("OMEGA_BENCH_DIR")) as folder:
        for name, (record, goal) in kinds.items():
            rates = []
            for run in range(RUNS):
                place = Path(folder, f"{name[3:7]}{run}")
                place.mkdir()
                rates.append(RECORDS / _append(place, record, RECORDS))
            found.append(_record(name, statistics.median(rates), "records/s of CPU", goal, spread=rates))
        leaves = [_bare(number) for number in range(RECORDS)]
        stored = _Stored(leaves, _Signer())
        path = Path(folder, "export.omega")
        out = io.BytesIO()
        write_export(stored, TENANT, out, keys=[stored.sequencer.key(TENANT)])
        path.write_bytes(out.getvalue())
        floors, rates = [], []
        for _ in range(RUNS):  # alternated, so that a busy minute slows both
            floors.append(RECORDS / _floor(leaves))
            rates.append(RECORDS / _verify(path, stored.points[len(stored.points) // 2][1]))
        found.append(_record("L2 verify from file", statistics.median(rates), "records/s of CPU", 600_000, spread=rates))
        spent, fence = _alone(Path(folder))
        l4 = _record("L4 stand-alone verifier, 1,000,000 records", statistics.median(spent), "s", 10, most=True)
        l4 |= {"range": [round(min(spent), 1), round(max(spent), 1)], "peer": f"no import of omega, {fence}"}
        found[-1]["peer"] = f"the bare hashes of leaves and nodes: {round(statistics.median(floors))} records/s of CPU"
        found.append(l4)
    longest, build_us, check_us = _proof()
    found.append(_record("L2 proof size", longest, "bytes", 1024, most=True))
    found.append(_record("L2 proof build", build_us, "us", 20, most=True))
    found.append(_record("L2 proof check", check_us, "us", 20, most=True))
    found.append(_record("L6 redact 3 paths", _redaction(), "us", 15, most=True))
    return found


if __name__ == "__main__":
    sys.stdout.write(f"python {platform.python_version()}, sqlite {sqlite3.sqlite_version}, {os.cpu_count()} cores\n")
    for figure in figures():
        sys.stdout.write(json.dumps(figure) + "\n")
