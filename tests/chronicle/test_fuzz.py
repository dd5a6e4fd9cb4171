"""Whatever is fed to the verifier, it gives a coded answer soon, never a traceback, and never takes a changed log for a sound one."""

from __future__ import annotations

import io
import os
import random
import time

import pytest

from chronicle.ledger import ATTACKER, TENANT, Ledger, ledger, sequencer
from chronicle.test_verifier import with_journal
from omega.chronicle.pruned import prune
from omega.chronicle.verifier import verify_export

KEY = sequencer().key(TENANT).text()
FAST_S = float(os.environ.get("OMEGA_FUZZ_S", "2"))
SLOW_S = 60.0
SLOWEST_S = 5.0
"""Longest that one small file may take."""

PIECES = [
    b"\n", b"\n\n",
    b"end\n", b"#", b"#AAAA\n", b"{", b"}", b"[", b'"', b",", b":", b"\x00", b"\xff\xfe", b"\xe2\x80\x94 ", b"null", b"-1",
    b"1e999",    b'"pruned":4', b'"pruned":99999999999', b'"journals":1', b'"keys":[]', b'"checkpoints":[]',
    b'{"kind":"handover","note":""}',
    b"omega export 1\n", b"omega export 2\n", b"omega export statement 1\n", b"omega log key handover 1", b"0" * 40, b"9" * 40, b"A" * 44,
]  # fmt: skip


def honest() -> list[tuple[bytes, bytes]]:
    """Good exports, each with a checkpoint that somebody kept."""
    plain, journaled, short = ledger([2, 3, 1, 4]), with_journal(rows=8, covered=6), ledger([5] * 4)
    kept = short.points[-1][1]
    short.stored[:10] = [prune(leaf) for leaf in short.stored[:10]]
    forged = ledger([2, 3], ATTACKER)
    assert isinstance(forged, Ledger)
    return [
        (plain.exported(), plain.points[-1][1]),
        (journaled.exported(["exe_1"]), journaled.points[-1][1]),
        (short.exported(), kept),
        (forged.exported(signer=ATTACKER), plain.points[1][1]),
    ]


EXPORTS = honest()
LEAVES = [frozenset(raw.split(b"\n")) for raw, _ in EXPORTS]


def mutated(rng: random.Random, raw: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4, 20))):
        at, end = sorted((rng.randrange(len(raw) + 1), rng.randrange(len(raw) + 1)))
        end = min(end, at + rng.choice((0, 1, 1, 8, 400)))
        other = rng.choice(EXPORTS)[0]
        cut = rng.randrange(len(other))
        piece = rng.choice((rng.choice(PIECES), other[cut : cut + rng.randrange(200)], rng.randbytes(rng.randrange(1, 9))))
        raw = raw[:at] + piece + raw[end:]
    return raw


def fed(number: int, raw: bytes, original: bytes, kept: bytes) -> bool:
    """Feed one file; whether it was sound. What is sound with a kept checkpoint and the key holds every leaf that was there."""
    started = time.monotonic()
    report = verify_export(io.BytesIO(raw), keys=[KEY], kept=[kept])
    assert time.monotonic() - started < SLOWEST_S
    assert report.status in (0, 1, 2) and all(finding.code.startswith("OMG-C00") for finding in report.findings)
    report.record()
    if report.sound and report.pruned == (10 if number == 2 else 0):
        lines = set(raw.split(b"\n"))
        leaves = [line for line in LEAVES[number] if line.startswith((b'{"actors', b'{"at_us', b'{"digest', b"#"))]
        assert all(leaf in lines for leaf in leaves), "a sound log lacks a leaf"
    return report.sound


def fuzz(seconds: float, seed: int) -> tuple[int, int]:
    """Mutate and verify for so many seconds; gives how many files, and how many were sound all the same."""
    rng, until, tried, sound = random.Random(seed), time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        number = rng.randrange(len(EXPORTS))
        raw, kept = EXPORTS[number]
        sound += fed(number, mutated(rng, raw), raw, kept)
        tried += 1
    return tried, sound


def test_the_exports_that_are_mutated_are_what_they_should_be() -> None:
    found = [verify_export(io.BytesIO(raw), keys=[KEY], kept=[kept]).sound for raw, kept in EXPORTS]
    assert found == [True, True, True, False]


@pytest.mark.promise("LOG-07")
@pytest.mark.promise("LOG-01")
def test_mutated_exports_get_coded_answers() -> None:
    tried, _ = fuzz(FAST_S, seed=7)
    assert tried > 20


@pytest.mark.slow
def test_mutated_exports_get_coded_answers_for_a_minute() -> None:
    assert fuzz(SLOW_S, seed=random.SystemRandom().randrange(1 << 32))[0] > 1_000


@pytest.mark.soak
def test_mutated_exports_for_an_hour() -> None:
    """An hour with a seed that is told when it fails; OMEGA_FUZZ_SOAK_S makes it shorter."""
    seed = random.SystemRandom().randrange(1 << 32)
    try:
        tried, sound = fuzz(float(os.environ.get("OMEGA_FUZZ_SOAK_S", "3600")), seed)
    except BaseException:
        print(f"fuzz: exports, seed {seed}")
        raise
    print(f"fuzz: exports, seed {seed}: {tried} files, {sound} of them sound all the same")
