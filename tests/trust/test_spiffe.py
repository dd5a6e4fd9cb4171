"""Names of workloads, and the certificates and tokens that carry them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import SeededSigner
from omega.adapters.certificates import Issuer, Root
from omega.kernel.errors import Denied
from omega.trust import jws, spiffe
from omega.trust.keys import PublicKey
from omega.trust.spiffe import SpiffeId, jwt_svid, workload_of, workload_of_token

NOW = 1_800_000_000.0
DOMAIN = "omega.local"
WORKER = SpiffeId(DOMAIN, "/worker/mail-3")
ROOT_KEY, ISSUER_KEY = SeededSigner(41), SeededSigner(42)


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises(Denied) as caught:
        call()
    assert caught.value.code == "OMG-T010"


def issuer(domain: str = DOMAIN) -> Issuer:
    root = Root.made(domain, ROOT_KEY, now_s=NOW)
    return Issuer(root.issuer(domain, ISSUER_KEY.public, now_s=NOW), ISSUER_KEY, domain)


def leaf(chain: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(chain.decode().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")


@pytest.mark.promise("TRUST-16")
@pytest.mark.parametrize(
    "text", ["spiffe://omega.local", "spiffe://omega.local/a", "spiffe://a.b-c_1/worker/Mail-3.x", f"spiffe://{'a' * 255}/b"]
)
def test_a_name_is_read_as_it_is_written(text: str) -> None:
    assert str(SpiffeId.parse(text)) == text


@pytest.mark.promise("TRUST-16")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "omega.local/a",
        "SPIFFE://omega.local/a",
        "https://omega.local/a",
        "spiffe:///a",
        "spiffe://Omega.local/a",
        "spiffe://omega.local:8443/a",
        "spiffe://user@omega.local/a",
        "spiffe://omega.local/",
        "spiffe://omega.local/a/",
        "spiffe://omega.local//a",
        "spiffe://omega.local/./a",
        "spiffe://omega.local/../a",
        "spiffe://omega.local/a?b",
        "spiffe://omega.local/a#b",
        "spiffe://omega.local/%61",
        "spiffe://omega.local/ä",
        "spiffe://omega.local/a b",
        f"spiffe://{'a' * 256}/b",
        "spiffe://omega.local/" + "a" * 2048,
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_no_name(text: str) -> None:
    refused(lambda: SpiffeId.parse(text))


@pytest.mark.promise("TRUST-16")
@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_a_name_that_is_read_has_one_spelling(text: str) -> None:
    for candidate in (text, f"spiffe://omega.local/{text}"):
        try:
            found = SpiffeId.parse(candidate)
        except Denied:
            continue
        assert str(found) == candidate


@pytest.mark.promise("TRUST-16")
def test_a_certificate_names_its_workload_in_its_time_and_domain_alone() -> None:
    made = issuer().issue(str(WORKER), now_s=NOW)
    der = leaf(made.chain)
    assert workload_of(der, domain=DOMAIN, now_s=NOW) == WORKER
    assert workload_of(der, domain=DOMAIN, now_s=made.ends_s - 1) == WORKER
    for domain, now in ((DOMAIN, made.ends_s), (DOMAIN, NOW - 61), ("other.local", NOW)):
        refused(lambda domain=domain, now=now: workload_of(der, domain=domain, now_s=now))  # type: ignore[misc]


def crafted(names: list[x509.GeneralName] | None, *, ca: bool = False, usage: dict[str, bool] | str | None = None) -> bytes:
    """A certificate that somebody else made, for a key of their own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    begins = datetime.fromtimestamp(NOW - 10, UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(begins).not_valid_after(begins + timedelta(hours=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage != "none":
        words = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        flags = dict.fromkeys(words, False) | {"digital_signature": True, "key_cert_sign": False, "crl_sign": False}
        builder = builder.add_extension(x509.KeyUsage(**(flags | (usage if isinstance(usage, dict) else {}))), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


URI = x509.UniformResourceIdentifier


@pytest.mark.promise("TRUST-16")
@pytest.mark.parametrize(
    "der",
    [
        crafted(None),
        crafted([x509.DNSName("omega.local")]),
        crafted([URI(str(WORKER)), URI("spiffe://omega.local/admin")]),
        crafted([URI("https://omega.local/worker/a")]),
        crafted([URI("spiffe://omega.local")]),
        crafted([URI("spiffe://other.local/worker/a")]),
        crafted([URI(str(WORKER))], ca=True),
        crafted([URI(str(WORKER))], usage={"key_cert_sign": True}),
        crafted([URI(str(WORKER))], usage={"crl_sign": True}),
        crafted([URI(str(WORKER))], usage={"digital_signature": False, "key_agreement": True}),
        crafted([URI(str(WORKER))], usage="none"),
        b"",
        b"\x30\x03\x02\x01\x01",
        b"\x30" * 20_000,
    ],
)
def test_a_certificate_that_is_no_svid_is_refused(der: bytes) -> None:
    assert workload_of(crafted([URI(str(WORKER))]), domain=DOMAIN, now_s=NOW) == WORKER
    refused(lambda: workload_of(der, domain=DOMAIN, now_s=NOW))


# -- tokens

KEYS = {PublicKey(ISSUER_KEY.public).kid: PublicKey(ISSUER_KEY.public)}
TOKEN = jwt_svid(WORKER, ["gateway"], signer=ISSUER_KEY, ttl_s=300, now_s=NOW)


def named(token: str, *, audience: str = "gateway", now: float = NOW, domain: str = DOMAIN) -> SpiffeId:
    return workload_of_token(token, audience=audience, keys=KEYS, domain=domain, now_s=now)


def token(**claims: Any) -> str:
    """A token with these claims in place of the good ones; None leaves one out."""
    good = {"sub": str(WORKER), "aud": ["gateway"], "iat": int(NOW), "exp": int(NOW) + 300}
    kept = {name: value for name, value in (good | claims).items() if value is not None}
    return jws.signed({"kid": next(iter(KEYS)), "typ": "JWT"}, kept, ISSUER_KEY)


@pytest.mark.promise("TRUST-16")
def test_a_token_names_its_workload_to_whom_it_is_for() -> None:
    assert named(TOKEN) == WORKER == named(token(aud="gateway"))
    for call in (lambda: named(TOKEN, audience="other"), lambda: named(TOKEN, now=NOW + 300), lambda: named(TOKEN, domain="other.local")):
        refused(call)


@pytest.mark.promise("TRUST-16")
@pytest.mark.parametrize(
    "forged",
    [
        token(sub=None),
        token(sub=7),
        token(sub="spiffe://omega.local"),
        token(sub="spiffe://other.local/a"),
        token(aud=None),
        token(aud=[]),
        token(exp=None),
        token(exp=True),
        token(exp=int(NOW) + 90_000),
        token(iat=int(NOW) + 60),
        token(nbf=int(NOW) + 60),
        jws.signed({"kid": "unknown", "typ": "JWT"}, {"sub": str(WORKER), "aud": ["gateway"], "exp": int(NOW) + 300}, ISSUER_KEY),
        jwt_svid(WORKER, ["gateway"], signer=SeededSigner(43), ttl_s=300, now_s=NOW),
        TOKEN[:-4] + "AAAA",
        TOKEN.replace(".", "..", 1),
        "a" * 9000,
        "",
    ],
)
def test_a_token_that_does_not_hold_is_refused(forged: str) -> None:
    refused(lambda: named(forged))


@pytest.mark.promise("TRUST-16")
@pytest.mark.parametrize(
    ("workload", "audience", "ttl"), [(SpiffeId(DOMAIN), ["a"], 60), (WORKER, [], 60), (WORKER, ["a"], 0), (WORKER, ["a"], 90_000)]
)
def test_what_would_not_be_accepted_is_not_issued(workload: SpiffeId, audience: list[str], ttl: int) -> None:
    refused(lambda: spiffe.jwt_svid(workload, audience, signer=ISSUER_KEY, ttl_s=ttl, now_s=NOW))
