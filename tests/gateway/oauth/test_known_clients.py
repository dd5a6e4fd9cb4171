"""Who a client is: by a document that its host publishes, or by registering itself; and what neither can bring about."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from gateway.conftest import Open
from gateway.oauth.browsing import VERIFIER, decide, told
from omega.host.clients import MAX_FETCHES, MAX_PER_ADDRESS, UNUSED_S, Clients
from omega.host.clock import SystemEntropy
from omega.kernel.errors import Denied, InputError
from omega.trust.sealing import Keyring
from omega.wire.oauth import challenge_of

PATIENCE_S = 60.0
ANSWERED = "http://127.0.0.1:3118/callback"


class Shelf:
    """Documents in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def document(self, kind: str, name: str) -> bytes | None:
        return self.kept.get((kind, name))

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        return [(name, body) for (its, name), body in self.kept.items() if its == kind]

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self.kept[kind, name] = body

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        if self.kept.get((kind, name)) != was:
            return False
        self.kept[kind, name] = body
        return True

    def drop_document(self, kind: str, name: str) -> bool:
        return self.kept.pop((kind, name), None) is not None


class Registry:
    """The clients of an installation whose time a test moves."""

    def __init__(self) -> None:
        self.now_s, self.shelf = 1_800_000_000, Shelf()
        entropy = SystemEntropy()
        self.clients = Clients(self.shelf, Keyring(b"r" * 32, entropy=entropy.take), entropy, lambda: self.now_s * 1_000_000)

    def register(self, address: str = "192.0.2.1") -> str:
        document = {"redirect_uris": [ANSWERED], "token_endpoint_auth_method": "none"}
        return str(self.clients.register(document, address)["client_id"])


@pytest.mark.promise("OAUTH-07")
def test_who_registers_too_often_is_told_when_to_come_back() -> None:
    registry = Registry()
    for _ in range(MAX_PER_ADDRESS):
        registry.register()
    with pytest.raises(Denied) as refused:
        registry.register()
    assert refused.value.code == "OMG-G007" and refused.value.details["retry_after_s"] > 0
    assert registry.register("192.0.2.2"), "others may"
    for number in range(MAX_PER_ADDRESS):
        registry.register(f"2001:db8:0:1::{number:x}")
    with pytest.raises(Denied):
        registry.register("2001:db8:0:1:ffff::1")
    assert registry.register("2001:db8:0:2::1"), "one subscriber has a /64 of addresses"
    registry.now_s += 3_601
    assert registry.register()


@pytest.mark.promise("OAUTH-07")
def test_registrations_end_unless_somebody_allows_the_client_and_never_fill_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.host.clients.MAX_CLIENTS", 50)
    registry = Registry()
    kept, dropped = registry.register(), registry.register()
    used = registry.clients.known(kept)
    assert used is not None
    registry.clients.allowed(used)
    registry.now_s += UNUSED_S + 1
    assert registry.clients.known(kept) is not None and registry.clients.known(dropped) is None
    for turn in range(4):
        for _ in range(MAX_PER_ADDRESS):
            registry.register(f"192.0.2.{turn}")
    assert len(registry.shelf.kept) <= 50 and registry.clients.known(kept) is not None, "a flood takes nobody's place who is used"


@pytest.mark.promise("OAUTH-07")
def test_clients_that_were_allowed_make_room_unless_a_grant_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.host.clients.MAX_CLIENTS", 3)
    registry = Registry()
    standing: set[str] = set()
    registry.clients = Clients(
        registry.shelf, Keyring(b"r" * 32, entropy=os.urandom), SystemEntropy(), lambda: registry.now_s * 1_000_000, lambda: standing
    )
    names = []
    for _ in range(3):
        names.append(registry.register())
        found = registry.clients.known(names[-1])
        assert found is not None
        registry.clients.allowed(found)
        registry.now_s += 1
    standing.update(names[:1])
    fresh = registry.register()
    assert [registry.clients.known(each) is not None for each in (*names, fresh)] == [True, False, True, True]
    standing.update((*names, fresh))
    registry.clients.allowed(registry.clients.known(fresh) or pytest.fail("it has just registered"))
    with pytest.raises(Denied):
        registry.register()


@pytest.mark.promise("OAUTH-07")
def test_strangers_do_not_use_up_the_hour_of_everybody() -> None:
    registry = Registry()
    for turn in range(30):
        for _ in range(MAX_PER_ADDRESS):
            registry.register(f"192.0.2.{turn}")
    assert registry.register("198.51.100.7")


@pytest.mark.promise("OAUTH-07")
def test_who_asks_about_made_up_clients_takes_the_minute_of_nobody_else() -> None:
    registry = Registry()

    async def asked(who: str, number: int) -> str:
        try:
            await registry.clients.find(f"https://127.0.0.1/made-up-{number}.json", who, f"192.0.2.{who}")
        except (Denied, InputError) as error:
            return error.code
        return ""

    async def all_of_it() -> tuple[set[str], str, str]:
        codes = {await asked("1", number) for number in range(MAX_FETCHES)}
        return codes, await asked("1", 99), await asked("2", 99)

    assert asyncio.run(all_of_it()) == ({"OMG-P011"}, "OMG-G007", "OMG-P011")


@pytest.mark.promise("OAUTH-07")
def test_who_writes_to_the_records_makes_no_client() -> None:
    registry = Registry()
    one, other = registry.register(), registry.register()
    registry.shelf.kept["oauth-client", other] = registry.shelf.kept["oauth-client", one]
    registry.shelf.kept["oauth-client", one] = json.dumps({"client": {"id": one}}).encode()
    assert registry.clients.known(one) is None and registry.clients.known(other) is None


def test_registration_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_REGISTRATION", "off")
    registry = Registry()
    assert not registry.clients.registers
    with pytest.raises(InputError, match="do not register"):
        registry.register()


def test_a_body_that_is_no_registration_is_refused(house: Open) -> None:
    with house.client("") as outside:
        for body in ([], {}, {"redirect_uris": []}, {"redirect_uris": [1]}, {"redirect_uris": [ANSWERED], "grant_types": ["implicit"]}):
            answer = outside.post("/oauth/register", json=body)
            assert answer.status_code == 400 and answer.json()["error"].startswith("invalid_"), body
        large = outside.post("/oauth/register", content=b"[" + b" " * 40_000 + b"]", headers={"content-type": "application/json"})
        assert large.status_code == 413


# -- published documents


@dataclass
class Published:
    """A host that publishes documents over https: where, and how often each was asked for."""

    url: str
    certificate: Path
    asked: list[str]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("published")
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            own = f"https://localhost:{server.server_port}{self.path}"
            document: dict[str, Any] = {"client_id": own, "client_name": "Published", "redirect_uris": [ANSWERED], "client_uri": own}
            document |= {"/other.json": {"client_id": own + "x"}, "/secret.json": {"client_secret": "s"}}.get(self.path, {})
            document |= {"/large.json": {"padding": "x" * 40_000}}.get(self.path, {})
            self.send_response(302 if self.path == "/redirect.json" else 200)
            self.send_header("location", "/client.json")
            self.send_header("content-type", "text/html" if self.path == "/page.json" else "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate := _certificate(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Published(f"https://localhost:{server.server_port}", certificate, asked)
    server.shutdown()
    thread.join()
    server.server_close()


def _certificate(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "both.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@contextmanager
def opened(home: Path, certificate: Path, networks: str) -> Iterator[httpx.Client]:
    """A browser that has signed in to a process that trusts the certificate and may reach those networks."""
    command = [sys.executable, "-m", "omega", "up", "--json", "--port", "0", "--home", str(home)]
    environment = {**os.environ, "SSL_CERT_FILE": str(certificate), "OMEGA_CLIENT_NETWORKS": networks}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        try:
            with httpx.Client(base_url=facts["url"], headers={"origin": facts["url"]}, trust_env=False, timeout=PATIENCE_S) as person:
                assert person.post("/sign-in", data={"code": facts["sign_in"].rpartition("=")[2]}).status_code == 303
                yield person
        finally:
            process.kill()


def asking(person: httpx.Client, client: str) -> httpx.Response:
    given = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": ANSWERED,
        "state": "s",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    return person.get("/oauth/authorize?" + urlencode(given))


@pytest.mark.slow
@pytest.mark.promise("OAUTH-07")
def test_a_client_is_known_by_the_document_at_its_address(published: Published, tmp_path: Path) -> None:
    client = f"{published.url}/client.json"
    with opened(tmp_path / "home", published.certificate, "127.0.0.0/8 ::1/128") as person:
        page = asking(person, client)
        host = published.url.removeprefix("https://")
        assert page.status_code == 200 and f"{host} vouches for this name" in page.text and "Published" in page.text
        code = told(decide(person, page))["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": ANSWERED, "code_verifier": VERIFIER, "client_id": client}
        given = person.post("/oauth/token", data=form)
        assert given.status_code == 200, given.text
        assert published.asked.count("/client.json") == 1, "it is kept for a while"
        for name in ("other.json", "secret.json", "redirect.json", "large.json", "page.json"):
            refused = asking(person, f"{published.url}/{name}")
            assert refused.status_code == 400 and "location" not in refused.headers, name
        before = len(published.asked)
        person.cookies.clear()
        assert "sign in first" in asking(person, f"{published.url}/unasked.json").text
        form |= {"client_id": f"{published.url}/unasked.json"}
        assert person.post("/oauth/token", data=form).json()["error"] == "invalid_grant"
        assert len(published.asked) == before, "for a stranger nothing is fetched"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-07")
def test_a_document_at_a_private_address_is_not_fetched(published: Published, tmp_path: Path) -> None:
    before = len(published.asked)
    with opened(tmp_path / "home", published.certificate, "") as person:
        for client in (f"{published.url}/client.json", published.url.replace("localhost", "127.0.0.1") + "/client.json"):
            refused = asking(person, client)
            assert refused.status_code == 403 and "OMG-P011" in refused.text and "location" not in refused.headers
    assert len(published.asked) == before
