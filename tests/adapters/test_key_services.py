"""Keys in Google Cloud KMS, Azure Key Vault and Vault's transit engine, against a stand-in that their own libraries work against too."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.kms import open_signer
from omega.adapters.kms.google import crc32c
from omega.kernel.errors import InputError, OmegaError, StorageError, UpstreamError
from omega.kernel.ports import Signer
from omega.trust.keys import PublicKey
from omega.trust.passport import Authority
from servers.keyservices import BEARER, RING, SECRET_ID, VAULT_TOKEN, KeyServices, digest, serving

NOW = 1_800_000_000.0
FAST = 1.0
"""A deadline for services that hang, in seconds."""


@pytest.fixture(scope="module")
def made() -> Iterator[KeyServices]:
    state = KeyServices()
    with serving(state):
        yield state


@pytest.fixture
def services(made: KeyServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyServices:
    """The stand-in with the key `omega` (P-256, two versions), `edwards` and `wide`, and credentials for each service."""
    made.fault, made.times, made.signed, made.logins, made.token = "", 0, 0, 0, "hvs.login"
    made.keys.clear()
    made.make("omega", "p256", "p256")
    made.make("edwards", "ed25519")
    made.make("wide", "p384")
    pem = made.account.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "client_email": "omega@acme.iam.gserviceaccount.com", "private_key": pem, "project_id": "acme"}
    (tmp_path / "account.json").write_text(json.dumps({**account, "private_key_id": "1", "token_uri": f"{made.url}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{made.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "stand-in")
    monkeypatch.setenv("VAULT_TOKEN", VAULT_TOKEN)
    return made


def place(service: str, url: str, key: str = "omega", version: int = 1) -> str:
    """The address of a key."""
    return {
        "google": f"gcpkms:{RING}/{key}/cryptoKeyVersions/{version}?endpoint={url}",
        "azure": f"azurekv:{url}/keys/{key}/{version}",
        "vault": f"vault:transit/{key}?server={url}&version={version}",
    }[service]


SERVICES = ["google", "azure", "vault"]


def signs(signer: Signer, algorithm: str) -> None:
    """What every signer promises."""
    key = PublicKey(signer.public)
    assert (key.algorithm, signer.name) == (algorithm, "passport")
    for size in (0, 7, 5_000):
        assert key.verifies(signer.sign(bytes(size)), bytes(size))
    office = Authority(signer, issuer="omega.local", audience="omega.local")
    token = office.issue(tenant="acme", principal="person:ada", ttl_s=60, now=NOW, jti="pas_1")
    assert office.verify(token, now=NOW).principal == "person:ada"
    for secret in (BEARER, VAULT_TOKEN):
        assert secret not in repr(signer)


@pytest.mark.promise("TRUST-20")
@pytest.mark.parametrize("service", SERVICES)
def test_a_key_service_signs_passports(services: KeyServices, service: str) -> None:
    before = services.connections
    signs(open_signer("passport", place(service, services.url)), "ES256")
    assert services.signed == 4
    assert services.connections - before <= 3, "signatures share a connection; credentials may take their own"


@pytest.mark.promise("TRUST-20")
@pytest.mark.parametrize("service", ["google", "vault"])
def test_where_a_service_has_ed25519_that_signs_too(services: KeyServices, service: str) -> None:
    signs(open_signer("passport", place(service, services.url, "edwards")), "Ed25519")


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
@pytest.mark.parametrize("service", SERVICES)
def test_an_address_names_one_version_and_stays_with_it(services: KeyServices, service: str) -> None:
    first, second = (open_signer("passport", place(service, services.url, version=number)) for number in (1, 2))
    assert first.public != second.public
    services.make("other", "p256")
    services.keys["omega"].append(services.keys["other"][0])
    assert PublicKey(first.public).verifies(first.sign(b"m"), b"m"), "a newer version changes nothing"
    with pytest.raises(OmegaError) as caught:
        open_signer("passport", place(service, services.url, version=9))
    assert caught.value.code in ("OMG-T005", "OMG-T006")


WRONG = {
    "other key": "OMG-T006",
    "other version": "OMG-T006",
    "no json": "OMG-T006",
    "endless": "OMG-T006",
    "redirect": "OMG-T005",
    "throttled": "OMG-T005",
    "truncated": "OMG-T005",
    "gone": "OMG-T005",
}


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
@pytest.mark.parametrize("service", SERVICES)
def test_nothing_wrong_leaves_and_the_next_signature_is_good_again(services: KeyServices, service: str) -> None:
    signer = open_signer("passport", place(service, services.url))
    for fault, code in WRONG.items():
        services.fault = fault
        with pytest.raises(OmegaError) as caught:
            signer.sign(b"secret message")
        assert caught.value.code == code, fault
        for secret in ("secret message", BEARER, VAULT_TOKEN, digest(b"secret message").hex()):
            assert secret not in str(caught.value), fault
        services.fault = ""
        assert PublicKey(signer.public).verifies(signer.sign(b"m"), b"m"), fault
    services.fault, services.times = "again", 2
    assert PublicKey(signer.public).verifies(signer.sign(b"m"), b"m"), "two failures that pass by themselves are waited out"
    services.times = 3
    with pytest.raises(UpstreamError):
        signer.sign(b"m")


@pytest.mark.promise("TRUST-20")
@pytest.mark.parametrize("fault", ["checksum", "unverified"])
def test_what_google_says_of_checksums_is_heeded(services: KeyServices, fault: str) -> None:
    signer = open_signer("passport", place("google", services.url))
    services.fault = fault
    with pytest.raises(OmegaError, match="damaged"):
        signer.sign(b"m")


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_hangs_costs_its_deadline(services: KeyServices, service: str) -> None:
    from omega.adapters.kms import azure, google, vault

    opened = {"google": google.open_google, "azure": azure.open_azure, "vault": vault.open_vault}[service]
    signer = opened("passport", place(service, services.url).partition(":")[2], deadline_s=FAST)
    services.fault = "slow"
    began = time.monotonic()
    with pytest.raises(UpstreamError) as caught:
        signer.sign(b"m")
    assert caught.value.code == "OMG-T005" and time.monotonic() - began < 20 * FAST


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_a_key_of_another_kind_or_none_and_a_service_that_is_down(services: KeyServices, service: str) -> None:
    for where in (
        place(service, services.url, "wide"),
        place(service, services.url, "nobody"),
        place(service, "http://127.0.0.1:9"),
    ):
        with pytest.raises(OmegaError) as caught:
            open_signer("passport", where)
        assert caught.value.code in ("OMG-T005", "OMG-T006"), where


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
def test_vault_is_asked_with_roles_and_the_token_is_fetched_anew(services: KeyServices, tmp_path: Path) -> None:
    secret, account = tmp_path / "secret", tmp_path / "account"
    secret.write_text(f"{SECRET_ID}\n")
    secret.chmod(0o600)
    account.write_text("header.claims.signature")
    ways = [f"auth=approle&role-id=omega&secret-id-file={secret}", f"auth=kubernetes&role=omega&jwt-file={account}"]
    for number, way in enumerate(ways, 1):
        signer = open_signer("passport", f"{place('vault', services.url)}&{way}")
        signs(signer, "ES256")
        services.token = f"hvs.other-{number}"  # the token of before is refused from now on
        signer.sign(b"m")
        assert services.logins == 2 * number
    secret.chmod(0o644)
    with pytest.raises(StorageError) as caught:
        open_signer("passport", f"{place('vault', services.url)}&{ways[0]}")
    assert caught.value.code == "OMG-T003"


def test_a_token_in_a_file_is_read_for_each_signature(services: KeyServices, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VAULT_TOKEN)
    file.chmod(0o600)
    signer = open_signer("passport", f"{place('vault', services.url)}&token-file={file}")
    file.write_text("hvs.ended")
    with pytest.raises(UpstreamError, match="permission denied"):
        signer.sign(b"m")
    file.write_text(VAULT_TOKEN)
    signer.sign(b"m")


@pytest.mark.parametrize(
    "address",
    [
        f"gcpkms:{RING}/omega",
        f"gcpkms:{RING}/omega/cryptoKeyVersions/1/../2",
        f"gcpkms:{RING}/omega/cryptoKeyVersions/1?token=x",
        f"gcpkms:{RING}/omega/cryptoKeyVersions/1?endpoint=http://kms.example",
        "azurekv:https://acme.vault.azure.net/keys/omega",
        "azurekv:https://evil.example/keys/omega/1",
        "azurekv:https://acme.vault.azure.net.evil.example/keys/omega/1",
        "azurekv:http://acme.vault.azure.net/keys/omega/1",
        "azurekv:https://acme.vault.azure.net/keys/omega/1?x=y",
        "vault:transit/omega?server=https://vault.example",
        "vault:transit/../sys/omega?server=https://vault.example&version=1",
        "vault:transit/omega?server=http://vault.example&version=1",
        "vault:transit/omega?server=https://user:secret@vault.example&version=1",
        "vault:transit/omega?server=https://vault.example&version=1&token=x",
        "vault:transit/omega?server=https://vault.example&version=1&auth=approle",
        "vault:transit/omega?server=https://vault.example&version=1&version=2",
    ],
)
def test_an_address_that_cannot_be_meant(services: KeyServices, address: str) -> None:
    with pytest.raises(InputError) as caught:
        open_signer("passport", address)
    assert caught.value.code == "OMG-X001"


@given(data=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_checksums_are_those_of_the_reference(data: bytes) -> None:
    assert crc32c(data) == google_crc32c.value(data)


# -- the stand-in is held to the interfaces by the services' own libraries


def verifies(services: KeyServices, key: str, version: int, message: bytes, der: bytes) -> None:
    from omega.adapters.kms.guard import raw_point, raw_signature

    spki = services.keys[key][version - 1][1].public_key().public_bytes(Encoding.DER, _spki())
    assert PublicKey(raw_point(spki)).verifies(raw_signature(der), message)


def _spki() -> Any:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    return PublicFormat.SubjectPublicKeyInfo


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
def test_the_library_of_google_works_against_the_stand_in(services: KeyServices) -> None:
    kms = pytest.importorskip("google.cloud.kms_v1")
    from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport
    from google.oauth2.credentials import Credentials

    transport = KeyManagementServiceRestTransport(
        host=services.url.removeprefix("http://"), credentials=Credentials(BEARER), url_scheme="http"
    )
    client = kms.KeyManagementServiceClient(transport=transport)
    name = f"{RING}/omega/cryptoKeyVersions/2"
    public = client.get_public_key(request={"name": name})
    assert public.name == name and public.pem_crc32c == google_crc32c.value(public.pem.encode())
    hashed = digest(b"m")
    signed = client.asymmetric_sign(request={"name": name, "digest": {"sha256": hashed}, "digest_crc32c": google_crc32c.value(hashed)})
    assert signed.verified_digest_crc32c and signed.signature_crc32c == google_crc32c.value(signed.signature)
    verifies(services, "omega", 2, b"m", signed.signature)
    edwards = client.asymmetric_sign(request={"name": f"{RING}/edwards/cryptoKeyVersions/1", "data": b"m"})
    services.keys["edwards"][0][1].public_key().verify(edwards.signature, b"m")


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
def test_the_library_of_microsoft_works_against_the_stand_in_over_tls(services: KeyServices, tmp_path: Path) -> None:
    keys = pytest.importorskip("azure.keyvault.keys")
    from azure.core.credentials import AccessToken
    from azure.keyvault.keys.crypto import SignatureAlgorithm

    class Credential:
        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            assert scopes == ("https://vault.azure.net/.default",)
            return AccessToken(BEARER, int(time.time()) + 3600)

    ca, context = certified(tmp_path)
    state = KeyServices(keys=services.keys)
    with serving(state, context) as url:
        client = keys.KeyClient(url, Credential(), verify_challenge_resource=False, connection_verify=str(ca))
        key = client.get_key("omega", "2")
        assert key.properties.version == "2"
        signed = client.get_cryptography_client("omega", key_version="2").sign(SignatureAlgorithm.es256, digest(b"m"))
        r, s = (int.from_bytes(half, "big") for half in (signed.signature[:32], signed.signature[32:]))
        verifies(services, "omega", 2, b"m", encode_dss_signature(r, s))


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
def test_a_well_known_library_of_vault_works_against_the_stand_in(services: KeyServices) -> None:
    hvac = pytest.importorskip("hvac")
    client = hvac.Client(url=services.url, token=VAULT_TOKEN)
    transit = client.secrets.transit
    transit.create_key("made", key_type="ecdsa-p256")
    transit.rotate_key("made")
    assert transit.read_key("made")["data"]["latest_version"] == 2
    hashed = base64.b64encode(digest(b"m")).decode()
    signed = transit.sign_data(
        "made", hash_input=hashed, key_version=1, prehashed=True, hash_algorithm="sha2-256", marshaling_algorithm="asn1"
    )
    head, version, value = signed["data"]["signature"].split(":")
    assert (head, version) == ("vault", "v1")
    verifies(services, "made", 1, b"m", base64.b64decode(value))
    assert client.auth.approle.login("omega", SECRET_ID)["auth"]["client_token"] == services.token


@pytest.mark.slow
@pytest.mark.promise("TRUST-20")
def test_over_tls_only_the_authorities_that_are_named_count(services: KeyServices, tmp_path: Path) -> None:
    ca, context = certified(tmp_path)
    state = KeyServices(keys=services.keys)
    with serving(state, context) as url:
        signs(open_signer("passport", f"{place('vault', url)}&ca={ca}"), "ES256")
        with pytest.raises(UpstreamError, match="cannot be reached"):
            open_signer("passport", place("vault", url))
        script = f"from omega.adapters.kms import open_signer\nprint(len(open_signer('passport', {place('azure', url)!r}).sign(b'm')))"
        run = [sys.executable, "-c", script]
        ended = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "SSL_CERT_FILE": str(ca)})
        assert ended.stdout.strip() == "64", ended.stderr


def certified(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for this machine that signs itself, and the server's side of TLS with it."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256

    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = builder.sign(key, SHA256())
    pem = made.public_bytes(Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return folder / "ca.pem", context
