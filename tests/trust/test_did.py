"""Decentralised identifiers: the keys in them, the documents behind them, and a real server on this machine."""

from __future__ import annotations

import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import SeededSigner
from omega.adapters.did import MAX_BODY, WebDocuments
from omega.kernel.errors import Denied, UpstreamError
from omega.trust import did
from omega.trust.keys import PublicKey
from trust.signers import LatticeSigner, P256Signer

ED, EC = PublicKey(SeededSigner(61).public), PublicKey(P256Signer(62).public)
WEB = "did:web:localhost%3A{port}:team"


def test_the_example_of_the_specification() -> None:
    """did:key v0.7, section 2: an Ed25519 key."""
    found = did.key_of("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
    assert found.algorithm == "Ed25519" and found.raw.hex() == "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6"
    p256 = did.key_of("did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169")
    assert p256.algorithm == "ES256" and did.did_of(p256) == "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"


@pytest.mark.promise("TRUST-13")
@pytest.mark.parametrize("key", [ED, EC], ids=["ed25519", "es256"])
def test_a_key_is_written_and_found_again(key: PublicKey) -> None:
    name = did.did_of(key)
    assert did.key_of(name) == key
    assert did.keys_of(name) == {f"{name}#{name.removeprefix('did:key:')}": key}


@given(raw=st.binary(max_size=60))
@settings(max_examples=50, deadline=None)
def test_base58_is_undone(raw: bytes) -> None:
    assert did.unbase58(did.base58(raw)) == raw


@pytest.mark.promise("TRUST-13")
@pytest.mark.parametrize(
    "name",
    [
        *("", "did:key:", "did:key:z", "did:key:z0OIl", "did:key:u123", "did:example:a", "did:key:z" + "1" * 600),
        "did:key:" + did.did_of(ED)[8:-1],
        "did:key:z" + did.base58(did.P256_CODE + b"\x05" + bytes(32)),
        "did:key:z" + did.base58(b"\xec\x01" + bytes(32)),
        *("did:web:", "did:web:127.0.0.1", "did:web:[::1]", "did:web:ex ample.com", "did:web:a@b.example", "did:web:example.com%2Fevil"),
        *("did:web:example.com:..", "did:web:example.com:a%2Fb", "did:web:example.com%3A443%2F", "did:web:example.com::a"),
    ],
)
def test_an_identifier_that_is_none(name: str) -> None:
    with pytest.raises(Denied) as caught:
        did.keys_of(name, WebDocuments())
    assert caught.value.code == "OMG-T007"


def test_documents_are_not_fetched_where_nothing_fetches_them() -> None:
    assert did.address_of("did:web:example.com") == "https://example.com/.well-known/did.json"
    assert did.address_of("did:web:Example.com%3A8443:user:ada") == "https://example.com:8443/user/ada/did.json"
    with pytest.raises(Denied):
        did.keys_of("did:web:example.com")
    with pytest.raises(Denied):
        did.did_of(PublicKey(LatticeSigner(1).public))


def document(name: str, **changed: Any) -> dict[str, Any]:
    methods = [
        {"id": f"{name}#one", "type": "Multikey", "controller": name, "publicKeyMultibase": did.did_of(ED).removeprefix("did:key:")},
        {"id": "#two", "type": "JsonWebKey", "controller": name, "publicKeyJwk": EC.jwk()},
        {"id": "#login", "type": "Multikey", "controller": name, "publicKeyMultibase": did.did_of(EC).removeprefix("did:key:")},
        {"id": "#odd", "type": "X", "controller": name, "publicKeyJwk": {"kty": "RSA"}},
        {"id": "#theirs", "type": "Multikey", "controller": "did:web:evil.example", "publicKeyMultibase": "z1"},
    ]
    asserting = [f"{name}#one", "#two", "#odd", "#theirs", "#nothing"]
    return {"id": name, "verificationMethod": methods, "authentication": ["#login"], "assertionMethod": asserting, **changed}


@pytest.mark.promise("TRUST-13")
def test_only_keys_that_may_assert_are_read() -> None:
    found = did.read_document("did:web:a.example", json.dumps(document("did:web:a.example")).encode())
    assert found == {"did:web:a.example#one": ED, "did:web:a.example#two": EC}


@pytest.mark.promise("TRUST-13")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        json.dumps(document("did:web:b.example")).encode(),
        json.dumps(document("did:web:a.example", assertionMethod=[])).encode(),
        json.dumps(document("did:web:a.example", assertionMethod="#one")).encode(),
        json.dumps(document("did:web:a.example", assertionMethod=["#one"] * 1_000)).encode(),
        json.dumps(document("did:web:a.example", verificationMethod={})).encode(),
        b'{"id":"did:web:a.example","id":"did:web:a.example"}',
        json.dumps(document("did:web:a.example", more="x" * did.MAX_DOCUMENT)).encode(),
    ],
)
def test_a_document_that_does_not_hold(raw: bytes) -> None:
    with pytest.raises(Denied) as caught:
        did.read_document("did:web:a.example", raw)
    assert caught.value.code == "OMG-T007"


class Site:
    """A server of HTTPS on this machine, with answers by path."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.context = ssl.create_default_context(cadata=_certificate(folder))
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = site.answers.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/team/did.json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.server.socket = server_side.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def _certificate(folder: Path) -> str:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pem.decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(tmp_path_factory.mktemp("site"))
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.mark.promise("TRUST-13")
def test_a_document_is_fetched_from_a_real_server(site: Site) -> None:
    name = WEB.format(port=site.port)
    site.answers["/team/did.json"] = (200, json.dumps(document(name)).encode())
    assert did.keys_of(name, WebDocuments(context=site.context, private=True))[f"{name}#two"] == EC


@pytest.mark.promise("TRUST-13")
def test_our_own_network_redirects_strangers_certificates_and_endless_documents_are_refused(site: Site) -> None:
    address = f"https://localhost:{site.port}"
    site.answers |= {"/moved/did.json": (302, b""), "/large/did.json": (200, b"x" * (MAX_BODY + 10))}
    reaching = WebDocuments(context=site.context, private=True)
    cases = [
        (WebDocuments(context=site.context), f"{address}/team/did.json", "not a public"),
        (WebDocuments(private=True), f"{address}/team/did.json", "certificate"),
        (reaching, f"{address}/moved/did.json", "302"),
        (reaching, f"{address}/nothing/did.json", "404"),
        (reaching, f"{address}/large/did.json", "larger"),
        (reaching, "http://localhost/did.json", "https"),
        (reaching, "https://localhost:9/did.json", "refused"),
    ]
    for documents, where, why in cases:
        with pytest.raises(UpstreamError, match=f"(?i){why}") as caught:
            documents.fetch(where)
        assert caught.value.code == "OMG-P007"
