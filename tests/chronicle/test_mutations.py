"""Every way of tampering with a log that was listed beforehand, many times each, against one checkpoint kept elsewhere.

The attacker owns the disk. In the kinds called `resigned` and `rewrite` the attacker also holds a signing key: the operator's real one, or
one of their own. What nobody can find is left out by construction: a change above the kept checkpoint by the holder of the real key.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import pytest

from chronicle.ledger import ATTACKER, OPERATOR, Ledger, SeededSigner, leaf, ledger
from omega.chronicle.export import verify_store
from omega.chronicle.sequencer import LogSequencer
from omega.chronicle.verifier import verify_export

PER_KIND = 100
"""Ten kinds of a hundred: one thousand mutations."""

HONEST = ledger()
COMMITS = [size for size, _ in HONEST.points]


def _flip(raw: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(raw))
    changed = raw[at] ^ (1 << dice.randrange(8))
    return raw[:at] + bytes([changed if changed != 0x0A else raw[at] ^ 0xFF]) + raw[at + 1 :]


def edit(log: Ledger, below: int, dice: random.Random) -> None:
    at = dice.randrange(len(log.stored))
    log.stored[at] = _flip(log.stored[at], dice)


def drop(log: Ledger, below: int, dice: random.Random) -> None:
    del log.stored[dice.randrange(len(log.stored))]


def insert(log: Ledger, below: int, dice: random.Random) -> None:
    log.stored.insert(dice.randrange(len(log.stored)), leaf(1000 + dice.randrange(1000)))


def swap(log: Ledger, below: int, dice: random.Random) -> None:
    first, second = dice.sample(range(len(log.stored)), 2)
    log.stored[first], log.stored[second] = log.stored[second], log.stored[first]


def truncate(log: Ledger, below: int, dice: random.Random) -> None:
    del log.stored[dice.randrange(len(log.stored)) :]


def splice(log: Ledger, below: int, dice: random.Random) -> None:
    """Leaves of another tenant's log in place of the own."""
    at = dice.randrange(len(log.stored))
    log.stored[at] = leaf(at, tenant="globex")


def edit_resigned(log: Ledger, below: int, dice: random.Random) -> None:
    """The operator changes one leaf that the kept checkpoint covers, and signs everything anew."""
    stored = list(log.stored)
    at = dice.randrange(below)
    stored[at] = _flip(stored[at], dice)
    _rebuild(log, stored, OPERATOR)


def rewrite_by_attacker(log: Ledger, below: int, dice: random.Random) -> None:
    """Another key, and as likely as not the very same leaves."""
    stored = list(log.stored)
    if dice.random() < 0.5:
        stored = [leaf(2000 + at) for at in range(len(stored))]
    _rebuild(log, stored, ATTACKER)


def rewrite_by_operator(log: Ledger, below: int, dice: random.Random) -> None:
    base = dice.randrange(3000, 4000)
    _rebuild(log, [leaf(base + at) for at in range(len(log.stored) + dice.randrange(5))], OPERATOR)


def rollback(log: Ledger, below: int, dice: random.Random) -> None:
    """An older state of the log, whole and properly signed, from before the kept checkpoint."""
    older = [at for at, size in enumerate(COMMITS) if size < below]
    keep = dice.choice(older)
    log.points = log.points[: keep + 1]
    log.stored = log.stored[: log.points[-1][0]]


def _rebuild(log: Ledger, stored: list[bytes], signer: SeededSigner) -> None:
    fresh = Ledger()
    start = 0
    for size in (*COMMITS, len(stored)):
        if start < min(size, len(stored)):
            fresh.commit(stored[start:size], signer)
            start = size
    log.stored, log.points = fresh.stored, fresh.points


KINDS: list[Callable[[Ledger, int, random.Random], None]] = [
    edit,
    drop,
    insert,
    swap,
    truncate,
    splice,
    edit_resigned,
    rewrite_by_attacker,
    rewrite_by_operator,
    rollback,
]


@pytest.mark.promise("LOG-01")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_mutation_is_found(kind: Callable[[Ledger, int, random.Random], None]) -> None:
    dice = random.Random(f"mutations {kind.__name__}")
    missed = []
    for number in range(PER_KIND):
        below, kept = HONEST.points[dice.randrange(1, len(HONEST.points))]
        log = HONEST.copy()
        kind(log, below, dice)
        assert (log.stored, log.points) != (HONEST.stored, HONEST.points)
        signer = ATTACKER if kind is rewrite_by_attacker else OPERATOR
        report = verify_export(io.BytesIO(log.exported(signer=signer)), kept=[kept])
        if report.status != 1:
            missed.append((number, below))
    assert missed == []


@pytest.mark.promise("LOG-01")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_found_in_the_store_too(kind: Callable[[Ledger, int, random.Random], None]) -> None:
    dice = random.Random(f"store {kind.__name__}")
    trusted = [LogSequencer(OPERATOR, origin=lambda tenant: f"test.omega/{tenant}").key("acme")]
    for _ in range(10):
        below, kept = HONEST.points[dice.randrange(1, len(HONEST.points))]
        log = HONEST.copy()
        kind(log, below, dice)
        assert verify_store(log, "acme", keys=trusted, kept=[kept]).status == 1


def test_the_untouched_log_is_sound_against_every_kept_checkpoint() -> None:
    for _, kept in HONEST.points:
        report = verify_export(io.BytesIO(HONEST.exported()), kept=[kept])
        assert report.sound, report.findings
        assert report.leaves == len(HONEST.stored)


@pytest.mark.promise("LOG-09")
def test_a_changed_leaf_is_located_to_the_commit_that_wrote_it() -> None:
    for at in range(len(HONEST.stored)):
        log = HONEST.copy()
        log.stored[at] = log.stored[at].replace(b"step", b"stop")
        finding = verify_export(io.BytesIO(log.exported())).findings[0]
        bounds = [0, *COMMITS]
        first = max(size for size in bounds if size <= at)
        last = min(size for size in bounds if size > at) - 1
        assert (finding.code, finding.first, finding.last) == ("OMG-C001", first, last)
