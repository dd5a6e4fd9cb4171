"""The door, on a real socket: whom it lets in, what it refuses, and how long it is patient."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.conftest import opened
from omega.gateway.front import request as reading
from omega.gateway.front import server as listening
from omega.host.clock import SystemClock
from omega.host.visitors import COOKIE, Reception
from omega.kernel.errors import Denied

JSON = "content-type: application/json\r\n"


class Wire:
    """A connection on which a test writes what it wants, byte by byte."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=20)

    def say(self, data: str | bytes) -> None:
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def ask(self, line: str, headers: str = "", body: str | bytes = b"", *, host: str | None = None) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer to one request."""
        body = body.encode() if isinstance(body, str) else body
        named = f"host: {self.name if host is None else host}\r\n"
        self.say(f"{line} HTTP/1.1\r\n{named}{headers}\r\n".encode("latin-1") + body)
        return self.heard()

    def heard(self) -> tuple[int, dict[str, Any]]:
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = self.socket.recv(65_536)
            assert chunk, f"closed without an answer: {answer!r}"
            answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self.socket.recv(65_536)
        return int(head.split()[1]), json.loads(body) if body else {}

    def closed(self) -> bool:
        """Whether the other side closes, within the time of a test."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65_536):
                pass
        return True


@pytest.fixture
def dial(house: Any) -> Iterator[Callable[[], Wire]]:
    """Opens connections that are closed after the test."""
    with contextlib.ExitStack() as closing:

        def dialled() -> Wire:
            made = Wire(house.url)
            closing.callback(made.socket.close)
            return made

        yield dialled


@pytest.fixture
def wire(dial: Callable[[], Wire]) -> Wire:
    return dial()


@pytest.fixture
def shown(house: Any) -> str:
    return f"authorization: Bearer {house.passport()}\r\n"


def sized(body: str | bytes) -> str:
    return f"content-length: {len(body.encode() if isinstance(body, str) else body)}\r\n"


@pytest.mark.promise("DOOR-08")
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "0.0.0.0", "[::1", "127.0.0.1:80:80"])
def test_a_foreign_host_is_refused(wire: Wire, shown: str, host: str) -> None:
    status, problem = wire.ask("GET /api/v1/me", shown, host=host)
    assert (status, problem["code"]) == (403, "OMG-G006")


@pytest.mark.promise("DOOR-08")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1", "file://"])
def test_a_foreign_origin_is_refused(wire: Wire, shown: str, origin: str) -> None:
    status, problem = wire.ask("POST /api/v1/flows/double/run", f"{shown}{JSON}{sized('1')}origin: {origin}\r\n", "1")
    assert (status, problem["code"]) == (403, "OMG-G006")


def test_the_own_names_and_the_own_origin_are_let_in(wire: Wire, house: Any, shown: str) -> None:
    port = house.url.rpartition(":")[2]
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert wire.ask("GET /api/v1/me", shown, host=host)[0] == 200
    assert wire.ask("GET /api/v1/me", f"{shown}origin: {house.url}\r\n")[0] == 200


@pytest.mark.promise("DOOR-09")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b'{"hours": 1, "hours": 2}', "twice"),
        (b'{"a": {"b": 1, "b": 1}}', "twice"),
        (b"[" * 100_000, "nests"),
        (b"[" * 100 + b"]" * 100, "nests"),
        (b'{"hours": NaN}', "NaN"),
        (b'{"hours": 1e999}', "too large"),
        (b"1" * 5_000, "too large"),
        (b'{"hours": "\xff"}', "UTF-8"),
        (b'{"hours": "\\ud800"}', "half a character"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{} {}", "not JSON"),
    ],
)
def test_a_body_that_two_readers_may_understand_differently_is_refused(wire: Wire, shown: str, body: bytes, said: str) -> None:
    status, problem = wire.ask("POST /api/v1/insights/summary", f"{shown}{JSON}{sized(body)}", body)
    assert (status, problem["code"]) == (400, "OMG-G001"), problem
    assert said in problem["detail"]


@pytest.mark.promise("DOOR-09")
@pytest.mark.parametrize(
    ("line", "headers", "status", "code"),
    [
        ("GET /api/v1/me", "authorization: Bearer x\r\nauthorization: Bearer y\r\n", 400, "OMG-G001"),
        ("POST /api/v1/me", "content-length: 1\r\ncontent-length: 2\r\n", 400, "OMG-G001"),
        ("POST /api/v1/me", "content-length: 5\r\ntransfer-encoding: chunked\r\n", 400, "OMG-G001"),
        ("POST /api/v1/me", "content-length: -1\r\n", 400, "OMG-G001"),
        ("GET /api/v1//me", "", 404, "OMG-G002"),
        ("GET /api/../livez", "", 404, "OMG-G002"),
        ("GET /api/v1/%2e%2e/me", "", 404, "OMG-G002"),
        ("GET /api/v1/executions/a%2Fb", "", 404, "OMG-G002"),
        ("GET /api/v1/me%00", "", 404, "OMG-G002"),
        ("GET /api/v1/me\\..\\x", "", 404, "OMG-G002"),
        ("GET /etc/passwd", "", 404, "OMG-G002"),
        (f"GET /{'a' * 5_000}", "", 413, "OMG-G004"),
        ("POST /livez/more/../x", "", 404, "OMG-G002"),
    ],
)
def test_a_head_with_tricks_is_refused(wire: Wire, line: str, headers: str, status: int, code: str) -> None:
    found, problem = wire.ask(line, headers)
    assert (found, problem["code"]) == (status, code), problem


@pytest.mark.promise("DOOR-09")
@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / SPDY/9\r\n\r\n", b"\x00\x00\x00\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n"],
)
def test_what_is_no_http_gets_a_coded_answer_and_no_more(wire: Wire, data: bytes) -> None:
    wire.say(data)
    status, problem = wire.heard()
    assert (status, problem["code"]) == (400, "OMG-G001")
    assert wire.closed()


@pytest.mark.promise("DOOR-09")
def test_a_body_over_the_limit_is_refused_unread(wire: Wire, shown: str) -> None:
    status, problem = wire.ask("POST /api/v1/flows/double/run", f"{shown}{JSON}content-length: {reading.MAX_BODY + 1}\r\n")
    assert (status, problem["code"]) == (413, "OMG-G004")
    assert wire.closed()


@pytest.mark.promise("DOOR-09")
def test_a_body_without_a_length_is_read_up_to_the_limit(wire: Wire, shown: str) -> None:
    wire.say(f"POST /api/v1/flows/double/run HTTP/1.1\r\nhost: {wire.name}\r\n{shown}{JSON}transfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"1" * 0x10000 + b"\r\n"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(reading.MAX_BODY // 0x10000 + 2):
            wire.say(chunk)
    status, problem = wire.heard()
    assert (status, problem["code"]) == (413, "OMG-G004")


@pytest.mark.promise("DOOR-09")
def test_a_head_over_the_limit_is_refused(wire: Wire) -> None:
    wire.say(f"GET /livez HTTP/1.1\r\nhost: {wire.name}\r\n")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for number in range(40):
            wire.say(f"x-filler-{number}: {'y' * 4_000}\r\n")
    status, problem = wire.heard()
    assert (status, problem["code"]) == (431, "OMG-G004")


@pytest.mark.promise("DOOR-09")
def test_half_open_connections_are_let_go(dial: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_TIME_S", 0.3)
    silent, halved, trickling = dial(), dial(), dial()
    halved.say("GET /livez HTTP/1.1\r\nhost: ")
    trickling.say("\r\n\r\n\r\n")
    began = time.monotonic()
    assert silent.closed() and halved.closed() and trickling.closed()
    assert time.monotonic() - began < 15


@pytest.mark.promise("DOOR-09")
def test_a_body_that_does_not_come_is_not_waited_for(wire: Wire, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_TIME_S", 0.3)
    status, problem = wire.ask("POST /api/v1/flows/double/run", f"{shown}{JSON}content-length: 10\r\n", "1")
    assert (status, problem["code"]) == (408, "OMG-G005")
    assert wire.closed()


def test_what_keeps_sending_after_its_answer_is_let_go(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_TIME_S", 0.3)
    assert wire.ask("POST /api/v1/me", f"{JSON}content-length: 1000000\r\n", "1")[0] == 401
    wire.say("1")
    assert wire.closed()


def test_a_body_that_comes_after_its_answer_is_no_part_of_the_next_head(wire: Wire) -> None:
    size = 4 * listening.MAX_HEAD
    assert wire.ask("POST /api/v1/me", f"{JSON}content-length: {size}\r\n", "1")[0] == 401
    for _ in range(4):
        wire.say(b"1" * (size // 4 - 1))
    wire.say(b"1" * 3)
    assert wire.ask("GET /livez")[0] == 200
    assert wire.ask("POST /api/v1/me", f"{JSON}content-length: {1 << 30}\r\n", "1")[0] in (401, 413)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(2 * listening.MAX_DISCARDED // size):
            wire.say(b"1" * size)
    assert wire.closed()


def test_requests_on_one_connection_are_answered_in_order(wire: Wire, shown: str) -> None:
    for n in range(5):
        assert wire.ask("POST /api/v1/flows/double/run", f"{shown}{JSON}{sized(str(n))}", str(n)) == (200, n * 2)


def test_the_request_id_is_the_callers_own_or_a_new_one(house: Any) -> None:
    with house.client() as client:
        mine = client.get("/api/v1/me", headers={"x-request-id": "mine-1"})
        odd = client.get("/api/v1/me", headers={"x-request-id": "<script>"})
        assert mine.headers["x-request-id"] == "mine-1"
        assert odd.headers["x-request-id"].startswith("req_")
        assert client.get("/nothing", headers={"x-request-id": "mine-2"}).json()["instance"] == "mine-2"


def test_large_answers_are_compressed_for_those_who_accept_it(house: Any) -> None:
    with house.client() as client:
        small = client.get("/livez")
        large = client.get("/api/v1/openapi.json")
        plain = client.get("/api/v1/openapi.json", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert large.json() == plain.json()


def test_methods_that_a_path_does_not_take_are_named(house: Any) -> None:
    with house.client() as client:
        answer = client.delete("/api/v1/me")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        assert client.put("/api/v1/flows/double/run", json=1).headers["allow"] == "POST"
        assert client.head("/livez").status_code == 200
        assert client.head("/livez").content == b""


def test_health_says_ready(house: Any) -> None:
    with house.client("") as client:
        assert client.get("/livez").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.promise("DOOR-12")
def test_a_sign_in_link_is_good_once_and_the_cookie_for_own_pages_alone(house: Any) -> None:
    link = next(facts["sign_in"] for event, facts in house.told if event == "up")
    code = link.rpartition("=")[2]
    with house.client("") as browser:
        page = browser.get(link)
        assert page.status_code == 200 and code in page.text and "set-cookie" not in page.headers
        signed = browser.post("/sign-in", data={"code": code})
        assert signed.status_code == 303
        cookie = signed.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert browser.post("/sign-in", data={"code": code}).status_code == 401, "a code is good once"
        assert browser.get("/api/v1/me").json()["groups"] == ["owner"]
        assert browser.post("/api/v1/flows/double/run", json=2).status_code == 401, "nothing says where this came from"
        assert browser.post("/api/v1/flows/double/run", json=2, headers={"origin": house.url}).json() == 4
        assert browser.post("/api/v1/flows/double/run", json=2, headers={"sec-fetch-site": "same-origin"}).json() == 4
        assert browser.post("/api/v1/flows/double/run", json=2, headers={"sec-fetch-site": "cross-site"}).status_code == 401


def test_a_page_of_another_origin_opens_nothing_with_the_cookie_whatever_the_method(house: Any) -> None:
    """A WebSocket begins with GET, and pages of an origin that was allowed get past the door."""
    now = SystemClock().now_us() / 1_000_000
    reception = Reception(house.identity.authority, house.passport, house.identity.keyring)
    cookie = reception.sessions.redeem(reception.sessions.code(now), now)

    def visit(**headers: str) -> str:
        sent = {"cookie": f"{COOKIE}={cookie}", **headers}
        return reception.visitor(sent, method="GET", url="http://127.0.0.1:9405/rpc", address="", peer="", now=now).scope.principal

    assert visit() == visit(origin="http://127.0.0.1:9405") == "person:ada"
    for origin in ("http://localhost:3000", "https://127.0.0.1:9405", "null", ""):
        with pytest.raises(Denied):
            visit(origin=origin)


def test_the_documents_of_rfc_8414_and_9728_lead_to_the_keys(house: Any) -> None:
    with house.client("") as client:
        resource = client.get("/.well-known/oauth-protected-resource/mcp").json()
        assert resource["resource"] == f"{house.url}/mcp"
        server = client.get("/.well-known/oauth-authorization-server").json()
        assert server["issuer"] == resource["authorization_servers"][0] == house.url
        keys = client.get(server["jwks_uri"]).json()["keys"]
        assert keys and all("d" not in key for key in keys)
        refused = client.post(server["token_endpoint"], data={"grant_type": "client_credentials"})
        assert refused.status_code in (400, 401) and refused.json()["error"] and refused.json()["code"].startswith("OMG-")
        assert client.post("/oauth/token", json={}).json()["code"] == "OMG-G009"
        assert client.get("/oauth/token").headers["allow"] == "POST"


@pytest.mark.parametrize(("proxies", "scheme"), [(("127.0.0.1",), "https"), ((), "http")])
def test_what_a_proxy_says_counts_where_it_is_trusted(tmp_path: Path, proxies: tuple[str, ...], scheme: str) -> None:
    for house in opened(tmp_path / "home", drain_s=1.0, proxies=proxies):
        with house.client("") as client:
            refused = client.get("/nothing", headers={"x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.7"})
            assert refused.json()["type"].startswith(f"{scheme}://127.0.0.1")
