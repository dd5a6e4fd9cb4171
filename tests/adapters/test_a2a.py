"""Agents elsewhere that lie, hang, change and lead elsewhere; and the commands that are about agents."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.permits import permit_for
from omega.adapters.a2a import AskPeer, Peer, PeerEffector, digest_of, peer
from omega.adapters.a2a.peers import resolved, secrets_of
from omega.adapters.memory import MemoryStore
from omega.cli import run
from omega.host.a2a_push import PUSH, KeepPush, PushEffector, prefix_of
from omega.host.acquainted import PEER, finder
from omega.host.embedded import Omega
from omega.host.peers import accept, add, compare
from omega.kernel.errors import Denied, InputError, OmegaError, Suspended, UpstreamError
from omega.kernel.ports import Line
from omega.testing.conformance import EffectorCase, EffectorConformance, NoteSequencer
from omega.trust.keys import PublicKey
from omega.trust.sealing import Keyring
from omega.wire.a2a.signing import signed_card

ALLOW = ("127.0.0.0/8",)
DONE = {
    "id": "t-1",
    "contextId": "c",
    "status": {"state": "TASK_STATE_COMPLETED"},
    "artifacts": [{"artifactId": "a", "parts": [{"text": "fine"}]}],
}


class Stranger:
    """An agent elsewhere that answers what a test says. `asked` are the bodies that it got, `keys` their idempotency keys."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.answer: Callable[[dict[str, Any]], tuple[int, bytes]] = lambda _: result({"task": DONE})
        self.more: dict[str, Any] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, json.dumps(owner.card).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                owner.asked.append(body)
                owner.keys.append(self.headers["idempotency-key"])
                self._send(*owner.answer(body))

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()
                with suppress(OSError):  # it hung up
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is written."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def card(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "name": "Stranger",
            "description": "does what it likes",
            "version": "1.0.0",
            "supportedInterfaces": [{"url": self.url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
            "capabilities": {},
            "defaultInputModes": ["text/plain"],
            "defaultOutputModes": ["text/plain"],
            "skills": [{"id": "s", "name": "S", "description": "s", "tags": ["s"]}],
            **self.more,
        }


def result(value: Any) -> tuple[int, bytes]:
    """A JSON-RPC answer."""
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """An agent elsewhere, on this machine."""
    made = Stranger()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


async def accepted(home: Path, stranger: Stranger, **given: Any) -> Peer:
    """Accept it as `it`."""
    return await add(home, "it", stranger.url, headers={}, allow=ALLOW, key=None, **{"timeout_s": 5.0, **given})


@pytest.mark.slow
@pytest.mark.promise("A2A-10")
def test_what_an_agent_elsewhere_answers_is_believed_in_no_other_form(stranger: Stranger, tmp_path: Path) -> None:
    wrong: list[tuple[tuple[int, bytes], str]] = [
        ((200, b"no json"), "OMG-M002"),
        ((200, b'{"a":1,"a":2}'), "OMG-M002"),
        ((200, b"[]"), "OMG-M002"),
        ((302, b""), "OMG-M002"),
        ((500, b"{}"), "OMG-M002"),
        (result({}), "OMG-M002"),
        (result({"task": {"id": "../../x", "status": {"state": "TASK_STATE_WORKING"}}}), "OMG-M002"),
        (result({"task": {**DONE, "artifacts": [{"parts": [{"text": 1}]}]}}), "OMG-M006"),
        (result({"task": {**DONE, "artifacts": 5}}), "OMG-M006"),
        (result({"message": {"parts": []}}), "OMG-M006"),
        ((200, json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "not that"}}).encode()), "OMG-M007"),
    ]

    async def whole() -> None:
        await accepted(tmp_path, stranger)
        async with Omega.open(tmp_path) as omega:
            for answer, code in wrong:
                stranger.answer = lambda _, answer=answer: answer  # type: ignore[misc]
                with pytest.raises(UpstreamError) as refused:
                    await omega.ask(peer("it", effect="read"), {"text": "hello"})
                assert refused.value.code == code, answer
            stranger.answer = lambda _: (200, b"no json")
            with pytest.raises(Suspended) as doubt:
                await omega.ask(peer("it"), {"text": "hello"})
            assert doubt.value.code == "OMG-R006", "a write that was heard may have been done: a person says what became of it"
            stranger.answer = lambda _: result({"message": {"parts": [{"text": "hi"}, {"data": [1]}], "contextId": "c"}})
            told = await omega.ask(peer("it"), {"text": "hello"})
            assert told == {
                "state": "answered",
                "text": "hi",
                "data": [[1]],
                "parts": [{"text": "hi"}, {"data": [1]}],
                "context": "c",
                "task": "",
            }
        assert len(set(stranger.keys)) == len(stranger.keys), "each step has a key of its own"

    asyncio.run(whole())


@pytest.mark.slow
@pytest.mark.promise("A2A-10")
def test_an_agent_that_hangs_ends_in_time_and_is_not_asked_again(stranger: Stranger, tmp_path: Path) -> None:
    over = threading.Event()

    def slow(_: dict[str, Any]) -> tuple[int, bytes]:
        over.wait(10)
        return result({"task": DONE})

    async def whole() -> None:
        await accepted(tmp_path, stranger, timeout_s=0.3)
        stranger.answer = slow
        async with Omega.open(tmp_path) as omega:
            with pytest.raises(Suspended) as doubt:
                await omega.ask(peer("it"), {"text": "hello"})
            assert doubt.value.code == "OMG-R006"
        assert len(stranger.asked) == 1

    try:
        asyncio.run(whole())
    finally:
        over.set()


@pytest.mark.slow
def test_a_task_that_goes_on_is_followed_to_its_end(stranger: Stranger, tmp_path: Path) -> None:
    states = iter(["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING", "TASK_STATE_COMPLETED"])

    def on(body: dict[str, Any]) -> tuple[int, bytes]:
        task = {**DONE, "status": {"state": next(states)}}
        return result({"task": task} if body["method"] == "SendMessage" else task)

    async def whole() -> None:
        await accepted(tmp_path, stranger)
        stranger.answer = on
        async with Omega.open(tmp_path) as omega:
            assert (await omega.ask(peer("it"), {"text": "hello", "context": "c"}))["text"] == "fine"
        assert [each["method"] for each in stranger.asked] == ["SendMessage", "GetTask", "GetTask"]
        assert stranger.asked[0]["params"]["message"]["contextId"] == "c"

    asyncio.run(whole())


@pytest.mark.promise("A2A-10")
def test_a_card_that_leads_elsewhere_or_nowhere_is_not_accepted(stranger: Stranger, tmp_path: Path) -> None:
    for address in ("http://localhost:1/", "http://10.0.0.1/", "ftp://127.0.0.1/", "https://user:pass@x.example/"):
        stranger.more = {"supportedInterfaces": [{"url": address, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]}
        with pytest.raises(OmegaError):
            asyncio.run(accepted(tmp_path, stranger))
    stranger.more = {"signatures": [{"protected": "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ", "signature": "AAAA"}]}
    made = asyncio.run(accepted(tmp_path, stranger))
    assert made.signer == "", "a signature whose key nobody has proves nothing, and is not told as one that does"


def test_a_digest_is_of_what_a_card_says(stranger: Stranger) -> None:
    first = digest_of(stranger.card)
    assert digest_of({**stranger.card, "signatures": [{"protected": "x", "signature": "y"}]}) == first
    assert digest_of({**stranger.card, "version": "1.0.1"}) != first


def test_secrets_are_references() -> None:
    found = resolved({"Authorization": "Bearer env:TOKEN", "X-Team": "plain:blue"}, {"TOKEN": "sesame-open"})
    assert found == {"Authorization": "Bearer sesame-open", "X-Team": "blue"}
    with pytest.raises(UpstreamError):
        resolved({"Authorization": "env:MISSING"}, {})


def signed(stranger: Stranger, seed: int, folder: Path) -> tuple[str, Path]:
    """Have the stranger's card signed with a key of its own; gives the key's thumbprint, and a file with its public part."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    public = PublicKey(key.public_key().public_bytes_raw())
    file = folder / f"{seed}.jwk"
    file.write_text(json.dumps(public.jwk()))
    card = {name: value for name, value in stranger.card.items() if name != "signatures"}
    stranger.more["signatures"] = signed_card(card, {"alg": "EdDSA", "kid": public.kid}, key.sign)["signatures"]
    return public.kid, file


@pytest.mark.promise("A2A-10")
def test_a_signed_card_gives_way_to_one_signed_otherwise_only_with_its_key(stranger: Stranger, tmp_path: Path) -> None:
    first, first_file = signed(stranger, 1, tmp_path)
    second, second_file = signed(stranger, 2, tmp_path)
    known = Peer(name="it", at=f"{stranger.url}/card.json", card=stranger.card, signer=first, allow=ALLOW)
    store = MemoryStore(sequencer=NoteSequencer(), owner="test", now_us=lambda: 0)
    store.put_document(PEER, "it", json.dumps(known.record()).encode(), 0)

    async def whole() -> None:
        stranger.more = {}  # the host was taken over, and says the same without a signature
        bare = await compare(store, "it")
        assert bare.state == "changed" and bare.differences[-2:] == [f"-signed with {first}", "+not signed"]
        with pytest.raises(Denied, match="not signed, unlike") as refused:
            await accept(tmp_path / "home", bare)
        assert refused.value.code == "OMG-T001"
        signed(stranger, 2, tmp_path)
        with pytest.raises(Denied):
            await accept(tmp_path / "home", await compare(store, "it"))
        with pytest.raises(Denied, match="does not verify"):
            await compare(store, "it", key=first_file)
        made = await accept(tmp_path / "home", await compare(store, "it", key=second_file))
        assert made.signer == second

    asyncio.run(whole())


def test_credentials_go_where_the_card_lies_or_where_an_operator_says(stranger: Stranger) -> None:
    def known(url: str, **more: Any) -> Peer:
        stranger.more = {"supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]}
        return Peer(name="it", at="https://agents.example/it/card.json", card=stranger.card, **more)

    headers = {"Authorization": "Bearer env:TOKEN"}
    assert known("https://AGENTS.example:443/a2a", headers=headers).headers == headers
    for url in ("https://other.example/a2a", "https://agents.example:8443/a2a"):
        assert known(url), "without credentials a card may lead to any public host"
        with pytest.raises(UpstreamError, match="would get the credentials"):
            known(url, headers=headers)
        made = known(url, headers=headers, credentials_to=url.removesuffix("/a2a"))
        assert Peer.read("it", made.record()) == made
        with pytest.raises(UpstreamError, match="would get the credentials"):
            known(url, headers=headers, credentials_to="https://third.example")


def test_a_credential_that_an_agent_says_again_is_not_kept(stranger: Stranger, tmp_path: Path) -> None:
    token = "sesame-open/42"
    headers = {"Authorization": "Bearer env:TOKEN", "X-Team": "plain:team-blue", "X-Key": "Key plain:in-the-record"}
    assert secrets_of(headers, {"TOKEN": token}) == (token, "in-the-record")
    known = Peer(name="it", at=f"{stranger.url}/card.json", card=stranger.card, headers=headers, allow=ALLOW)
    error = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": f"no: Bearer {token}"}}).replace("/", "\\/").encode()
    said = {**DONE, "artifacts": [{"artifactId": "a", "parts": [{"text": f"{token} of team-blue"}]}]}

    async def whole() -> None:
        effector = PeerEffector(lambda tenant, name: known, {"TOKEN": token})
        stranger.answer = lambda _: (400, error)
        with pytest.raises(UpstreamError, match=r"refuses: no: Bearer \*\*\*$"):
            await effector.perform(permit_for("a2a"), AskPeer(agent="it", text="hello"), execution="e", step="1")
        stranger.answer = lambda _: result({"task": said})
        told, _ = await effector.perform(permit_for("a2a"), AskPeer(agent="it", text="hello"), execution="e", step="2")
        assert told["text"] == "*** of team-blue"

    asyncio.run(whole())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"at": "https://x.example", "card": {}},
        {"at": "https://x.example", "card": {}, "more": 1},
        {"at": 5, "card": {}},
    ],
)
def test_what_is_no_record_of_an_agent_is_not_kept(body: dict[str, Any]) -> None:
    from omega.host.acquainted import check

    with pytest.raises(InputError):
        check("it", body)


@pytest.mark.slow
def test_the_commands_publish_accept_compare_and_ask(stranger: Stranger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def omega(*arguments: str) -> tuple[int, str]:
        status = run([*arguments, "--home", str(tmp_path)])
        return status, capsys.readouterr().out

    assert omega("a2a", "publish", "triage", "--flow", "triage", "--group", "support", "--unlisted")[0] == 0
    assert omega("a2a", "publish", "Not A Name", "--flow", "triage")[0] == 2
    assert omega("a2a", "add", "it", stranger.url, "--allow", ALLOW[0])[1].startswith("it   Stranger 1.0.0   JSONRPC")
    status, shown = omega("a2a", "list", "--json")
    document = json.loads(shown)
    assert status == 0 and document["published"] == [{"name": "triage", "flow": "triage", "groups": ["support"], "listed": False}]
    assert document["elsewhere"][0]["pinned"] == digest_of(stranger.card) and document["elsewhere"][0]["signed_by"] is None
    assert omega("a2a", "ask", "it", "hello") == (0, "fine\ncompleted   task t-1\n")
    stranger.more = {"description": "does what others like"}
    status, shown = omega("a2a", "card", "it")
    assert status == 1 and "does what others like" in shown
    assert omega("a2a", "card", "it", "--accept")[0] == 0
    assert omega("a2a", "card", "it")[0] == 0
    assert omega("a2a", "remove", "it")[0] == 0 and omega("a2a", "remove", "it")[0] == 2
    assert omega("a2a", "withdraw", "triage")[0] == 0


def test_the_group_of_commands_helps() -> None:
    from omega.cli.a2a import a2a

    shown = CliRunner().invoke(a2a, ["--help"]).output
    assert all(name in shown for name in ("publish", "withdraw", "add", "list", "card", "ask", "remove"))


def test_a_peer_document_is_an_arrangement_of_the_installation(stranger: Stranger, tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            with pytest.raises(InputError):
                await omega.arrange(PEER, "it", {"at": stranger.url, "card": stranger.card})

    asyncio.run(whole())


def test_agents_elsewhere_are_the_installations_own(stranger: Stranger) -> None:
    store = MemoryStore(sequencer=NoteSequencer(), owner="test", now_us=lambda: 0)
    known = Peer(name="it", at=f"{stranger.url}/card.json", card=stranger.card, allow=ALLOW)
    store.put_document(PEER, "it", json.dumps(known.record()).encode(), 0)
    find = finder(store, "local")
    assert find("local", "it") == known and find("ten_other", "it") is None and find("local", "other") is None


class TestPeers(EffectorConformance):
    """The effector that asks agents elsewhere keeps what every effector promises."""

    @pytest.fixture
    def case(self, stranger: Stranger) -> EffectorCase:
        known = Peer(name="it", at=f"{stranger.url}/card.json", card=stranger.card, allow=ALLOW)
        return EffectorCase(PeerEffector(lambda tenant, name: known), AskPeer(agent="it", text="hello"), lambda: bool(stranger.asked))


class TestPush(EffectorConformance):
    """The effector that tells callers of their tasks keeps what every effector promises."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> EffectorCase:
        store = MemoryStore(sequencer=NoteSequencer(), owner="test", now_us=lambda: 0)
        line = Line(
            execution="t",
            tenant="ten_one",
            flow="f",
            version="1.0.0",
            status="running",
            principal="p",
            target="",
            epoch=1,
            owner="",
            lease_us=0,
            started_us=0,
            updated_us=0,
        )
        effector = PushEffector(store, Keyring(bytes(32), entropy=bytes), lambda _: line, lambda: 0)
        name = prefix_of("ten_one", "person:ada", "t") + "1"
        return EffectorCase(effector, KeepPush(name=name, task="t", body={}), lambda: bool(store.documents(PUSH)))
