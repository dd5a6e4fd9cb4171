"""Sealing and commitments: what opens, what does not, and what remains when the key is gone."""

from __future__ import annotations

import hmac
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import IntegrityError, StorageError
from omega.trust.merkle import Tree, leaf_hash, verify_inclusion
from omega.trust.sealing import Keyring, derive

RING = Keyring(b"r" * 32, entropy=os.urandom)
WRAPPED, SEALER = RING.create("exe_1")


@pytest.mark.promise("TRUST-05")
@given(plain=st.binary(max_size=300), context=st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_value_opens_under_its_own_key_and_context(plain: bytes, context: bytes) -> None:
    sealed = SEALER.seal(plain, context)
    assert RING.open("exe_1", WRAPPED).open(sealed, context) == plain
    assert len(plain) < 4 or plain not in sealed
    assert SEALER.seal(plain, context) != sealed, "a fresh nonce each time"
    for sealer, place in ((SEALER, context + b"x"), (RING.create("exe_1")[1], context)):
        with pytest.raises(IntegrityError) as caught:
            sealer.open(sealed, place)
        assert caught.value.code == "OMG-T004"


@pytest.mark.promise("TRUST-05")
def test_every_changed_or_missing_byte_is_found() -> None:
    sealed = SEALER.seal(b"payload", b"ctx")
    for at in range(len(sealed)):
        broken = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        for raw in (broken, sealed[:at]):
            with pytest.raises(IntegrityError):
                SEALER.open(raw, b"ctx")


@pytest.mark.promise("TRUST-05")
def test_a_wrapped_key_opens_for_its_execution_under_its_root_only() -> None:
    for at in range(len(WRAPPED)):
        broken = WRAPPED[:at] + bytes([WRAPPED[at] ^ 1]) + WRAPPED[at + 1 :]
        for raw in (broken, WRAPPED[:at]):
            with pytest.raises(IntegrityError) as caught:
                RING.open("exe_1", raw)
            assert caught.value.code == "OMG-T004"
    with pytest.raises(IntegrityError):
        RING.open("exe_2", WRAPPED)
    with pytest.raises(IntegrityError, match="another sealing root"):
        Keyring(b"s" * 32, entropy=os.urandom).open("exe_1", WRAPPED)
    with pytest.raises(StorageError):
        Keyring(b"short", entropy=os.urandom)


@pytest.mark.promise("LOG-06")
def test_commitments_are_bound_to_execution_context_and_value() -> None:
    _, other = RING.create("exe_2")
    seen = {
        SEALER.commit(b"value", b"in"),
        SEALER.commit(b"value", b"out"),
        SEALER.commit(b"nvalue", b"i"),
        SEALER.commit(b"valuf", b"in"),
        SEALER.commit(b"", b"invalue"),
        other.commit(b"value", b"in"),
    }
    assert len(seen) == 6
    assert all(len(digest) == 32 for digest in seen)
    assert RING.open("exe_1", WRAPPED).commit(b"value", b"in") == SEALER.commit(b"value", b"in")


@pytest.mark.promise("LOG-06")
def test_with_the_key_destroyed_the_proof_still_verifies_and_a_dictionary_finds_nothing() -> None:
    _, doomed = RING.create("exe_9")
    number = b"078-05-1120"
    leaf = b'{"input":"' + doomed.commit(number, b"input").hex().encode() + b'"}'
    tree = Tree([b"a", leaf, b"c"])
    del doomed  # its wrapped form was never kept: nobody can make this key again
    assert verify_inclusion(leaf_hash(leaf), 1, 3, tree.inclusion(1), tree.root())
    _, attacker = RING.create("exe_9")
    guesses = [b"078-05-%04d" % at for at in range(1000, 2000)]
    assert number in guesses
    assert not any(attacker.commit(guess, b"input").hex().encode() in leaf for guess in guesses)


def test_keys_are_derived_apart() -> None:
    assert derive(b"k" * 32, b"a") != derive(b"k" * 32, b"b")
    # RFC 5869 with an empty salt, computed by the library's own implementation.
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    assert derive(b"k" * 32, b"purpose") == HKDF(SHA256(), 32, salt=None, info=b"purpose").derive(b"k" * 32)


def test_neither_shows_its_key() -> None:
    assert repr(SEALER) == "<sealer>"
    assert repr(RING) == "<keyring>"


@given(plain=st.binary(max_size=200), context=st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_a_commitment_is_hmac_sha256(plain: bytes, context: bytes) -> None:
    ring = Keyring(b"r" * 32, entropy=lambda size: b"k" * size)
    key = derive(b"k" * 32, b"omega commit 1")
    expected = hmac.digest(key, len(context).to_bytes(4, "big") + context + plain, "sha256")
    assert ring.create("exe_1")[1].commit(plain, context) == expected
