"""Keys elsewhere: a real token (SoftHSM2), a real server that speaks AWS KMS, and devices that are slow, down or wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from omega.adapters.keystore import Keystore
from omega.adapters.kms import open_signer
from omega.adapters.kms.guard import GuardedSigner
from omega.kernel.errors import InputError, IntegrityError, OmegaError, StorageError, UpstreamError
from omega.kernel.ports import Signer
from omega.trust.keys import PublicKey
from omega.trust.passport import Authority
from trust.signers import P256Signer

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
PIN = "2468"
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a token with the keys `passport` (P-256) and `other` (P-384), up to the name of the key."""
    module = next((each for each in MODULES if os.path.exists(each)), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed: apt-get install softhsm2 to test PKCS#11")
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    (folder / "pin").write_text(f"{PIN}\n")
    (folder / "pin").chmod(0o600)
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    run = ["softhsm2-util", "--init-token", "--free", "--label", "omega", "--so-pin", "1357", "--pin", PIN]
    subprocess.run(run, check=True, capture_output=True, timeout=30)
    for at, (label, curve) in enumerate((("passport", SECP256R1()), ("other", SECP384R1())), 1):
        pem = generate_private_key(curve).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{label}.pem").write_bytes(pem)
        put = [
            "softhsm2-util",
            "--import",
            str(folder / f"{label}.pem"),
            "--token",
            "omega",
            "--label",
            label,
            "--id",
            f"0{at}",
            "--pin",
            PIN,
        ]
        subprocess.run(put, check=True, capture_output=True, timeout=30)
    yield f"pkcs11:token=omega;object={{}}?module-path={module}&pin-source=file:{folder / 'pin'}"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(scope="module")
def kms() -> Iterator[tuple[str, Any]]:
    """A server of AWS KMS in a process thread of its own, and a client of it."""
    server = pytest.importorskip("moto.server", reason="moto is a development dependency")
    boto3 = pytest.importorskip("boto3")
    given = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    yield address, boto3.client("kms", endpoint_url=address, region_name="us-east-1")
    running.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def _created(client: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    return str(client.create_key(KeyUsage=usage, KeySpec=spec)["KeyMetadata"]["KeyId"])


def _signs(signer: Signer, *sizes: int) -> None:
    """What every signer promises, for ES256 and messages of those sizes."""
    key = PublicKey(signer.public)
    assert key.algorithm == "ES256"
    for size in sizes:
        assert key.verifies(signer.sign(bytes(size)), bytes(size))
    assert PIN not in repr(signer) and signer.name == "passport"
    office = Authority(signer, issuer="omega.local", audience="omega.local")
    token = office.issue(tenant="acme", principal="person:ada", ttl_s=60, now=NOW, jti="pas_1")
    assert office.verify(token, now=NOW).principal == "person:ada"


@pytest.mark.promise("TRUST-09")
def test_a_token_signs_passports(token: str) -> None:
    _signs(open_signer("passport", token.format("passport")), 0, 7, 5_000)


@pytest.mark.promise("TRUST-09")
def test_a_kms_signs_passports(kms: tuple[str, Any]) -> None:
    """Up to 4096 bytes: this server does not know the message type DIGEST, in which longer ones are sent."""
    address, client = kms
    client.create_alias(AliasName="alias/omega", TargetKeyId=(made := _created(client)))
    for name in ("alias/omega", made):
        _signs(open_signer("passport", f"awskms:{name}?region=us-east-1&endpoint={address}"), 1, 4_096)


def test_several_threads_share_a_token(token: str) -> None:
    signer = open_signer("passport", token.format("passport"))
    good: list[bool] = []

    def work(number: int) -> None:
        good.extend(PublicKey(signer.public).verifies(signer.sign(message), message) for message in [b"%d" % number] * 10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert good == [True] * 40


@pytest.mark.promise("TRUST-09")
def test_a_key_of_the_store_moves_into_a_token_with_overlap(token: str, tmp_path: Path) -> None:
    store = Keystore.open(tmp_path / "keys", opener=open_signer)
    old = store.signer("passport").public
    assert store.prepare("passport", token.format("passport")).public == store.standing("passport").upcoming.public
    store.promote("passport", until_s=100, now_s=50)
    again = Keystore.open(tmp_path / "keys", opener=open_signer).standing("passport")
    assert PublicKey(again.current.public).algorithm == "ES256"
    assert again.retired == ((old, 100),) and again.upcoming is None
    assert PIN.encode() not in (tmp_path / "keys" / "passport.key").read_bytes()
    with pytest.raises(StorageError):
        Keystore.open(tmp_path / "keys").signer("passport")


@pytest.mark.parametrize("label", ["other", "nobody"])
def test_a_token_without_such_a_key_of_p_256_is_refused(token: str, label: str) -> None:
    with pytest.raises(OmegaError) as caught:
        open_signer("passport", token.format(label))
    assert caught.value.code in ("OMG-T005", "OMG-T006")
    assert PIN not in str(caught.value)


def test_a_wrong_pin(token: str, tmp_path: Path) -> None:
    """In a process of its own: a token stays open for all of a process once one session of it has logged in."""
    pin = tmp_path / "pin"
    pin.write_text("9999")
    pin.chmod(0o600)
    address = token.format("passport").rpartition("file:")[0] + f"file:{pin}"
    script = f"from omega.adapters.kms import open_signer\nopen_signer('passport', {address!r})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1 and "OMG-T005" in ended.stderr and "9999" not in ended.stderr


def test_a_pin_that_others_could_read(token: str, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o644)
    with pytest.raises(StorageError) as refused:
        open_signer("passport", token.format("passport").rpartition("file:")[0] + f"file:{pin}")
    assert refused.value.code == "OMG-T003"


def test_a_kms_that_has_no_such_key_has_another_kind_or_is_down(kms: tuple[str, Any]) -> None:
    address, client = kms
    region = f"region=us-east-1&endpoint={address}"
    cases = {
        f"awskms:{_created(client, 'ECC_NIST_P384')}?{region}": "OMG-T006",
        f"awskms:{_created(client, 'RSA_2048')}?{region}": "OMG-T006",
        f"awskms:alias/nobody?{region}": "OMG-T005",
        "awskms:alias/omega?region=us-east-1&endpoint=http://127.0.0.1:9": "OMG-T005",
    }
    for where, code in cases.items():
        with pytest.raises(OmegaError) as caught:
            open_signer("passport", where)
        assert caught.value.code == code, where


@pytest.mark.promise("TRUST-09")
def test_a_kms_key_that_is_disabled_later_signs_nothing_more(kms: tuple[str, Any]) -> None:
    address, client = kms
    made = _created(client)
    signer = open_signer("passport", f"awskms:{made}?region=us-east-1&endpoint={address}")
    signer.sign(b"message")
    client.disable_key(KeyId=made)
    try:
        signature = signer.sign(b"message")
    except UpstreamError as error:
        assert error.code == "OMG-T005"
    else:  # a server that does not know disabled keys: then the signature is still a good one
        assert PublicKey(signer.public).verifies(signature, b"message")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "file:/etc/passwd",
        "pkcs11:",
        "pkcs11:token=omega;object=passport",
        "pkcs11:token=omega?module-path=/x.so&pin-source=file:/x",
        "pkcs11:token=omega;object=a?module-path=/x.so&pin-value=1234",
        "awskms:?region=us-east-1",
        "awskms:alias/a?secret=x",
        "awskms:" + "a" * 3_000,
    ],
)
def test_an_address_that_cannot_be_meant(address: str) -> None:
    with pytest.raises(InputError) as caught:
        open_signer("passport", address)
    assert caught.value.code == "OMG-X001"


class Device:
    """A device of which each call can be told how to go wrong."""

    failures: tuple[type[Exception], ...] = (RuntimeError,)

    def __init__(self) -> None:
        self.inner = P256Signer(1)
        self.calls = 0
        self.held = threading.Event()
        self.wrong: Callable[[bytes], bytes | Exception] | None = None

    def public(self) -> bytes:
        return self.inner.public

    def sign(self, message: bytes) -> bytes:
        self.calls += 1
        found = self.inner.sign(message) if self.wrong is None else self.wrong(message)
        if isinstance(found, Exception):
            raise found
        return found


def _guarded(device: Device, deadline_s: float = 5.0) -> GuardedSigner:
    return GuardedSigner("passport", device, where="the device", deadline_s=deadline_s)


@pytest.mark.promise("TRUST-09")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda message: P256Signer(1).sign(message + b"x"), id="another message"),
        pytest.param(lambda message: P256Signer(2).sign(message), id="another key"),
        pytest.param(lambda message: bytes(64), id="zeros"),
        pytest.param(lambda message: b"", id="nothing"),
        pytest.param(lambda message: P256Signer(1).sign(message) + b"\0", id="longer"),
        pytest.param(lambda message: ValueError("not DER"), id="not a signature"),
    ],
)
def test_what_a_device_signs_wrongly_never_leaves(wrong: Any) -> None:
    device = Device()
    signer = _guarded(device)
    assert PublicKey(signer.public).verifies(signer.sign(b"m"), b"m")
    device.wrong = wrong
    with pytest.raises(IntegrityError) as caught:
        signer.sign(b"secret message")
    assert caught.value.code == "OMG-T006" and "secret" not in str(caught.value)
    device.wrong = None
    signer.sign(b"m")


@pytest.mark.promise("TRUST-09")
def test_a_device_that_hangs_costs_a_deadline_and_one_thread() -> None:
    device = Device()
    signer = _guarded(device, deadline_s=0.2)
    device.wrong = lambda message: b"" if device.held.wait(30) else b"late"
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(UpstreamError) as caught:
            signer.sign(b"m")
        assert caught.value.code == "OMG-T005"
    assert time.monotonic() - began < 5
    assert device.calls == 1, "while one call hangs, no other is made"
    device.wrong = None
    device.held.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            signer.sign(b"m")
        except UpstreamError:
            continue
        break
    assert device.calls >= 2, "it is asked again once it has come back"


@pytest.mark.promise("TRUST-09")
def test_a_device_that_is_down_says_so_in_its_own_words() -> None:
    device = Device()
    signer = _guarded(device)
    device.wrong = lambda message: RuntimeError("token removed " + "x" * 500)
    with pytest.raises(UpstreamError, match="token removed") as caught:
        signer.sign(b"secret message")
    assert caught.value.code == "OMG-T005" and len(str(caught.value)) < 400 and "secret" not in str(caught.value)
