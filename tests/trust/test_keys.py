"""Public keys of three kinds: their names, their forms, and what another implementation says about them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk as jose

from chronicle.ledger import SeededSigner
from omega.kernel.errors import StorageError
from omega.trust.keys import FOREVER, PublicKey, Retired, Ring, b64url, der_of_es256, es256_of_der, public_of_jwk, unb64url
from trust.signers import LatticeSigner, P256Signer

SIGNERS = (SeededSigner(1), P256Signer(1), LatticeSigner(1))


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: PublicKey(signer.public).algorithm)
def test_a_key_verifies_what_its_signer_signed_and_nothing_else(signer: Any) -> None:
    key = PublicKey(signer.public)
    signature = signer.sign(b"message")
    assert key.verifies(signature, b"message")
    for wrong in (signature[:-1], signature + b"\0", bytes(len(signature)), b"", bytes([signature[0] ^ 1]) + signature[1:]):
        assert not key.verifies(wrong, b"message")
    assert not key.verifies(signature, b"massage")
    assert public_of_jwk(key.jwk()) == key


@pytest.mark.parametrize("signer", SIGNERS[:2], ids=lambda signer: PublicKey(signer.public).algorithm)
def test_another_implementation_reads_the_jwk_and_finds_the_same_thumbprint(signer: Any) -> None:
    key = PublicKey(signer.public)
    theirs = jose.import_key(key.jwk())
    assert theirs.thumbprint() == key.kid
    assert theirs.as_dict(private=False)["x"] == key.jwk()["x"]


def test_the_thumbprint_of_rfc_8037_appendix_a() -> None:
    key = PublicKey(unb64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), bytes(64), bytes(65), bytes(1953)])
def test_bytes_of_no_known_kind_are_refused(raw: bytes) -> None:
    with pytest.raises(StorageError) as caught:
        PublicKey(raw)
    assert caught.value.code == "OMG-T003"


def _changed(**changed: Any) -> dict[str, Any]:
    return {**PublicKey(P256Signer(1).public).jwk(), **changed}


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "k": "c2VjcmV0"},
        _changed(d="AQAB"),
        _changed(crv="P-384"),
        _changed(x="AQAB"),
        _changed(y=b64url(bytes(32))),
        {"kty": "OKP", "crv": "Ed25519", "x": b64url(bytes(65))},
        {"kty": "OKP", "crv": "Ed25519", "x": b64url(bytes(32)) + "="},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": b64url(bytes(1312))},
    ],
)
def test_a_jwk_that_is_no_public_key_of_ours_is_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        public_of_jwk(jwk)


@given(message=st.binary(max_size=200))
@settings(max_examples=20, deadline=None)
def test_both_forms_of_an_ecdsa_signature_say_the_same(message: bytes) -> None:
    signature = P256Signer(2).sign(message)
    assert es256_of_der(der_of_es256(signature)) == signature


@given(raw=st.binary(max_size=80))
def test_base64url_has_one_spelling(raw: bytes) -> None:
    text = b64url(raw)
    assert unb64url(text) == raw
    for other in (text + "=", text + " ", text.replace("-", "+") + "+"):
        with pytest.raises(ValueError):
            unb64url(other)


def test_a_ring_counts_the_current_key_without_end_and_a_retired_one_until_its_moment() -> None:
    now, ahead, before = SeededSigner(1), SeededSigner(2), SeededSigner(3)
    ring = Ring(now, (ahead,), (Retired(before.public, 5), Retired(now.public, 1)))
    found = ring.accepted()
    assert list(found) == [PublicKey(each.public).kid for each in (now, ahead, before)]
    assert [until for _, until in found.values()] == [FOREVER, FOREVER, 5], "a key that was promoted again counts as current"
    assert ring.signer(ahead.public) is ahead and ring.signer(before.public) is None
