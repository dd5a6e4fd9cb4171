"""Attestations: the formats of others, held against another implementation, and everything that must be refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from chronicle.ledger import SeededSigner
from omega.kernel.errors import Denied
from omega.trust.attest import MAX_SIGNATURES, PAYLOAD, attest, encoded, opened, provenance, require
from omega.trust.keys import PublicKey, point_of
from trust.signers import LatticeSigner, P256Signer

ED, EC, PQ, STRANGER = SeededSigner(51), P256Signer(52), LatticeSigner(53), SeededSigner(54)
KEYS = [PublicKey(each.public) for each in (ED, EC, PQ)]
DIGEST = "ab" * 32
BUILDER = "https://omega.example/builders/wasm/v1"
MADE = provenance(
    {"module.wasm": DIGEST},
    builder=BUILDER,
    build_type="https://omega.example/wasm/v1",
    parameters={"ref": "v1"},
    dependencies={"git+https://example.org/a": "cd" * 32},
)


@pytest.mark.promise("TRUST-14")
@pytest.mark.parametrize("signer", [ED, EC, PQ], ids=["ed25519", "es256", "ml-dsa-65"])
def test_what_was_attested_is_read_back_and_required(signer: Any) -> None:
    found = opened(attest(MADE, [signer]), KEYS)
    assert found == MADE and found.builder == BUILDER
    require(found, digest=DIGEST, builders=[BUILDER])


def test_the_encoding_of_the_specification() -> None:
    """The example of the DSSE protocol document."""
    assert encoded("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.promise("TRUST-14")
def test_another_implementation_verifies_ours_and_we_verify_theirs() -> None:
    theirs = {
        "ed": SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(ED.public), keyid=PublicKey(ED.public).kid),
        "ec": SSlibKey.from_crypto(point_of(EC.public), keyid=PublicKey(EC.public).kid),
    }
    envelope = Envelope.from_dict(json.loads(attest(MADE, [ED, EC])))
    assert set(envelope.verify(list(theirs.values()), threshold=2)) == {key.keyid for key in theirs.values()}
    payload = base64.b64decode(json.loads(attest(MADE, [ED]))["payload"])
    for made in (CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa()):
        written = Envelope(payload, PAYLOAD, {})
        written.sign(made)
        raw = made.public_key.keyval["public"]
        key = PublicKey(bytes.fromhex(raw)) if made.public_key.keytype == "ed25519" else _of_pem(raw)
        assert opened(json.dumps(written.to_dict()).encode(), [key]) == MADE


def _of_pem(text: str) -> PublicKey:
    return PublicKey(load_pem_public_key(text.encode()).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def _changed(**changed: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda envelope: {**envelope, **changed}


def _payload(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def forge(envelope: dict[str, Any]) -> Any:
        body = change(json.loads(base64.b64decode(envelope["payload"])))
        return {**envelope, "payload": base64.b64encode(json.dumps(body).encode()).decode()}

    return forge


def _signed(payload: bytes, kind: str = PAYLOAD) -> bytes:
    """`payload` in an envelope that a trusted key did sign: what is wrong is inside."""
    signature = base64.b64encode(ED.sign(encoded(kind, payload))).decode()
    return json.dumps({"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": [{"sig": signature}]}).encode()


FORGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no signature": _changed(signatures=[]),
    "another type": _changed(payloadType="application/json"),
    "another digest": _payload(lambda body: {**body, "subject": [{"name": "module.wasm", "digest": {"sha256": "00" * 32}}]}),
    "another builder": _payload(lambda body: {**body, "predicate": {"runDetails": {"builder": {"id": "https://evil.example"}}}}),
    "signatures that are none": _changed(signatures=[{"sig": "AAAA"}]),
    "signatures without end": lambda envelope: {**envelope, "signatures": envelope["signatures"] * (MAX_SIGNATURES + 1)},
    "a payload that is no base64": _changed(payload="?"),
    "a list": lambda envelope: [envelope],
    "nothing": lambda envelope: {},
}


@pytest.mark.promise("TRUST-14")
@pytest.mark.parametrize("name", FORGED)
def test_a_forged_envelope_is_refused(name: str) -> None:
    forged = json.dumps(FORGED[name](json.loads(attest(MADE, [ED])))).encode()
    with pytest.raises(Denied) as caught:
        opened(forged, KEYS)
    assert caught.value.code == "OMG-T008"


@pytest.mark.promise("TRUST-14")
def test_keys_that_are_not_trusted_and_one_key_twice_do_not_count() -> None:
    with pytest.raises(Denied):
        opened(attest(MADE, [STRANGER]), KEYS)
    with pytest.raises(Denied):
        opened(attest(MADE, [ED, ED, STRANGER]), KEYS, threshold=2)
    assert opened(attest(MADE, [ED, PQ]), KEYS, threshold=2) == MADE
    with pytest.raises(Denied):
        opened(attest(MADE, [ED]), [], threshold=0)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"a","digest":{"sha256":"b"}}],"predicateType":"c","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"c","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha512":"b"}}],"predicateType":"c","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"b"}}],"predicateType":"c","predicate":1}',
        (
            b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"b"}},{"name":"a","digest":{"sha256":"c"}}],'
            b'"predicateType":"c","predicate":{}}'
        ),
        b'{"predicate":{},"predicate":{}}',
    ],
)
def test_what_is_signed_and_no_statement_is_refused_all_the_same(payload: bytes) -> None:
    with pytest.raises(Denied) as caught:
        opened(_signed(payload), KEYS)
    assert caught.value.code == "OMG-T008"


@pytest.mark.promise("TRUST-14")
def test_another_component_another_builder_or_another_predicate() -> None:
    for digest, builders in (("cd" * 32, [BUILDER]), (DIGEST, ["https://evil.example"]), (DIGEST, []), ("", [""])):
        with pytest.raises(Denied) as caught:
            require(MADE, digest=digest, builders=builders)
        assert caught.value.code == "OMG-T008"
    with pytest.raises(Denied):
        require(replace(MADE, kind="https://spdx.dev/Document"), digest=DIGEST, builders=[BUILDER, ""])
