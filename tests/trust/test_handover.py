"""A log that goes on with another key: the verifier follows it, and follows nothing else."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest

from chronicle.ledger import ATTACKER, OPERATOR, TENANT, Ledger, SeededSigner, leaf, origin
from omega.chronicle import verifier
from omega.chronicle.export import write_export
from omega.chronicle.record import Leaf, encode
from omega.chronicle.sequencer import LogSequencer
from omega.kernel.errors import IntegrityError, StorageError
from omega.trust.checkpoint import Checkpoint, VerifierKey, parse, sign, verify
from omega.trust.handover import TITLE, hand_over, read
from omega.trust.keys import Retired, Ring
from omega.trust.merkle import Tree
from trust.signers import LatticeSigner, P256Signer

ORIGIN = origin(TENANT)
SECOND, THIRD, PQ = SeededSigner(31), P256Signer(32), LatticeSigner(33)


def handover_leaf(old: Any, new: Any, name: str = ORIGIN) -> bytes:
    return encode(Leaf(kind="handover", tenant=TENANT, note=hand_over(name, old, new).decode()))


class Growing(Ledger):
    """A ledger that a given ring of keys signs."""

    def add(self, ring: Ring, *leaves: bytes, lasting: Any = None) -> None:
        grown = LogSequencer(ring, origin=origin, lasting=lasting).grow(TENANT, self.state, leaves, at_us=0)
        self.stored += leaves
        self.points.append((grown.size, grown.checkpoint))
        self.state = grown.state

    def written(self, *keys: VerifierKey) -> bytes:
        out = io.BytesIO()
        write_export(self, TENANT, out, keys=keys)
        return out.getvalue()


def key(signer: Any) -> VerifierKey:
    return VerifierKey.of(ORIGIN, signer.public)


def report(log: Growing, *given: Any, kept: tuple[bytes, ...] = (), own: Any = None) -> verifier.Report:
    file = io.BytesIO(log.written(key(own or SECOND)))
    return verifier.verify_export(file, keys=[key(each).text() for each in given], kept=kept)


def handed_over() -> Growing:
    log = Growing()
    log.add(Ring(OPERATOR), leaf(0), leaf(1))
    log.add(Ring(OPERATOR, (SECOND,)), leaf(2), handover_leaf(OPERATOR, SECOND), leaf(3))
    log.add(Ring(SECOND, (THIRD,), (Retired(OPERATOR.public),)), leaf(4))
    log.add(Ring(SECOND, (THIRD,), (Retired(OPERATOR.public),)), handover_leaf(SECOND, THIRD))
    log.add(Ring(THIRD, (), (Retired(OPERATOR.public), Retired(SECOND.public))), leaf(5))
    return log


@pytest.mark.promise("LOG-10")
def test_each_key_signs_its_stretch_and_any_one_of_them_leads_to_all() -> None:
    log = handed_over()
    signed = [[each for each in (OPERATOR, SECOND, THIRD) if parse(note).signed_by([key(each)])] for _, note in log.points]
    assert signed == [[OPERATOR], [SECOND], [SECOND], [THIRD], [THIRD]]
    for given in (OPERATOR, SECOND, THIRD):
        found = report(log, given)
        assert (found.sound, found.handovers, found.checkpoints) == (True, 2, 5), found.findings
    assert report(log, own=THIRD).sound
    assert not report(log, ATTACKER).sound


@pytest.mark.promise("LOG-10")
def test_a_kept_checkpoint_of_any_key_is_continued() -> None:
    log = handed_over()
    for _, note in log.points:
        assert report(log, kept=(note,)).sound
    assert report(log, OPERATOR, kept=(log.points[-1][1],)).sound


@pytest.mark.promise("LOG-10")
def test_a_stolen_old_key_cannot_continue_the_log() -> None:
    log = handed_over()
    log.stored.append(leaf(6))
    log.points.append((len(log.stored), sign(Checkpoint(ORIGIN, len(log.stored), Tree(log.stored).root()), OPERATOR)))
    found = report(log, THIRD)
    assert not found.sound and "not signed by the key" in found.findings[0].text


@pytest.mark.promise("LOG-10")
@pytest.mark.parametrize(
    "stated",
    [
        pytest.param(hand_over(ORIGIN, OPERATOR, ATTACKER).replace(b"\n\n", b"\n\n\n"), id="no note"),
        pytest.param(hand_over("test.omega/globex", OPERATOR, ATTACKER), id="another log"),
        pytest.param(hand_over(ORIGIN, SECOND, ATTACKER), id="by a key that does not sign this log"),
        pytest.param(hand_over(ORIGIN, OPERATOR, ATTACKER).rpartition(b"\n\xe2")[0] + b"\n", id="the new key has not signed"),
        pytest.param(
            hand_over(ORIGIN, ATTACKER, SECOND).replace(key(ATTACKER).text().encode(), key(OPERATOR).text().encode()), id="forged old"
        ),
    ],
)
def test_a_hand_over_that_does_not_hold_is_not_followed(stated: bytes) -> None:
    log = Growing()
    log.add(Ring(OPERATOR), leaf(0))
    bad = encode(Leaf(kind="handover", tenant=TENANT, note=stated.decode()))
    with pytest.raises(IntegrityError) as caught:
        log.add(Ring(OPERATOR, (ATTACKER, SECOND)), bad)
    assert caught.value.code == "OMG-C001"
    log.stored.append(bad)  # an operator who writes it all the same gains nothing by it
    log.points.append((2, sign(Checkpoint(ORIGIN, 2, Tree(log.stored).root()), ATTACKER)))
    assert not report(log, OPERATOR).sound


def test_a_leaf_of_another_kind_hands_nothing_over_whatever_it_says() -> None:
    log = Growing()
    note = hand_over(ORIGIN, OPERATOR, SECOND).decode()
    log.add(Ring(OPERATOR, (SECOND,)), encode(Leaf(kind="admin", tenant=TENANT, reason='"kind":"handover"', note=note)))
    assert parse(log.points[-1][1]).signed_by([key(OPERATOR)])


def test_without_the_key_that_the_log_goes_on_with_nothing_is_signed() -> None:
    log = handed_over()
    with pytest.raises(StorageError) as caught:
        log.add(Ring(OPERATOR), leaf(9))
    assert caught.value.code == "OMG-T003"
    told = [Ring(THIRD)]
    grown = LogSequencer(Ring(OPERATOR), origin=origin, news=told.pop).grow(TENANT, log.state, [leaf(9)], at_us=0)
    assert parse(grown.checkpoint).signed_by([key(THIRD)])


def test_a_hand_over_and_a_checkpoint_are_never_taken_for_each_other() -> None:
    note = hand_over(ORIGIN, OPERATOR, SECOND)
    assert read(note, origin=ORIGIN).new == key(SECOND)
    with pytest.raises(IntegrityError):
        parse(note)
    with pytest.raises(IntegrityError):
        read(sign(Checkpoint(ORIGIN, 0, bytes(32)), OPERATOR), origin=ORIGIN)
    with pytest.raises(IntegrityError):
        sign(Checkpoint(TITLE, 0, bytes(32)), OPERATOR)
    with pytest.raises(IntegrityError):
        hand_over(ORIGIN, OPERATOR, OPERATOR)


@pytest.mark.promise("LOG-11")
def test_a_second_signature_of_ml_dsa_65_is_held_to_when_it_is_asked_for() -> None:
    log = Growing()
    log.add(Ring(OPERATOR), leaf(0))
    assert not report(log, OPERATOR, PQ).sound, "asked for and not there"
    log.add(Ring(OPERATOR), leaf(1), lasting=PQ)
    log.add(Ring(OPERATOR), leaf(2), lasting=PQ)
    found = report(log, OPERATOR, PQ)
    assert (found.sound, found.lasting) == (True, 2), found.findings
    assert report(log, OPERATOR).sound, "whoever does not know the second key sees an ordinary note"
    assert not report(log, OPERATOR, LatticeSigner(34)).sound
    assert verify(log.points[-1][1], [key(PQ)], origin=ORIGIN).size == 3
    log.add(Ring(OPERATOR), leaf(3))
    assert not report(log, OPERATOR, PQ).sound, "one that lacks it after it has begun"


@pytest.mark.promise("LOG-11")
def test_a_wrong_second_signature_is_found() -> None:
    log = Growing()
    log.add(Ring(OPERATOR), leaf(0), lasting=PQ)
    size, note = log.points[0]
    line = parse(note).signatures[1]
    wrong = line.key_id + bytes([line.value[0] ^ 1]) + line.value[1:]
    log.points[0] = (size, note.replace(base64.b64encode(line.key_id + line.value), base64.b64encode(wrong)))
    found = report(log, OPERATOR, PQ)
    assert not found.sound and "ML-DSA-65" in found.findings[0].text
    with pytest.raises(IntegrityError):
        verify(log.points[0][1], [key(PQ)], origin=ORIGIN)


@pytest.mark.parametrize("signer", [OPERATOR, THIRD, PQ], ids=["ed25519", "es256", "ml-dsa-65"])
def test_keys_of_every_kind_are_written_and_read_alike_here_and_by_the_verifier_that_stands_alone(signer: Any) -> None:
    text = key(signer).text()
    assert VerifierKey.parse(text) == key(signer)
    assert verifier.Key.parse(text).key_id == key(signer).key_id
    with pytest.raises(IntegrityError):
        VerifierKey.parse(text[:-4])
    with pytest.raises(verifier.Unreadable):
        verifier.Key.parse(text[:-4])
