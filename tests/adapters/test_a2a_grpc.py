"""An agent elsewhere over gRPC that means harm, or fails: bounded, without the secrets it was sent, and never sent anywhere else."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from omega.adapters.a2a import Peer
from omega.adapters.a2a.talking import Conversation
from omega.adapters.net.reach import networks
from omega.adapters.net.scrubbing import Scrubber
from omega.adapters.net.web import MAX_ANSWER
from omega.kernel.errors import Denied, OmegaError, UpstreamError
from omega.wire.a2a.protobuf import SERVICE, decode, encode

grpc = pytest.importorskip("grpc", reason="the extra a2a-grpc is not installed")

LOOPBACK = ("127.0.0.0/8",)
SECRET = "s3cret-of-the-owner"
SAID = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
CARD = {
    "name": "Far",
    "description": "answers over gRPC",
    "version": "1",
    "skills": [],
    "capabilities": {},
    "supportedInterfaces": [{"url": "127.0.0.1:1", "protocolBinding": "GRPC", "protocolVersion": "1.0", "tenant": "far"}],
}


class Far:
    """What an agent was asked: method, message, metadata; `answer` says what it does."""

    def __init__(self, answer: Callable[[str, bytes, Any], bytes]) -> None:
        self.answer, self.port = answer, 0
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []


@contextmanager
def far(answer: Callable[[str, bytes, Any], bytes]) -> Iterator[Far]:
    made = Far(answer)

    def handler(method: str) -> Any:
        def call(raw: bytes, context: Any) -> bytes:
            made.asked.append((method, raw, dict(context.invocation_metadata())))
            return made.answer(method, raw, context)

        return grpc.unary_unary_rpc_method_handler(call)

    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {name: handler(name) for name in ("SendMessage", "GetTask")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    made.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield made
    finally:
        server.stop(0).wait()


def peer(port: int, at: str = "http://127.0.0.1:9/card.json", url: str = "", **more: Any) -> Peer:
    interface = {**CARD["supportedInterfaces"][0], "url": url or f"127.0.0.1:{port}"}  # type: ignore[index]
    return Peer(name="far", at=at, card={**CARD, "supportedInterfaces": [interface]}, **{"allow": LOOPBACK, **more})


async def send(known: Peer, timeout_s: float = 10.0) -> dict[str, Any]:
    from omega.adapters.a2a.calling import GrpcConversation

    talk: Conversation = GrpcConversation(networks(known.allow), known.told, {"Authorization": f"Bearer {SECRET}"}, Scrubber([SECRET]))
    try:
        return await talk.send(SAID, key="k-1", timeout_s=timeout_s)
    finally:
        await talk.close()


def failure(known: Peer, timeout_s: float = 10.0) -> OmegaError:
    with pytest.raises(OmegaError) as caught:
        asyncio.run(send(known, timeout_s))
    return caught.value


@pytest.mark.promise("A2A-14")
def test_a_task_is_followed_to_its_end_with_version_key_tenant_and_credentials() -> None:
    states = iter(["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"])

    def answer(method: str, raw: bytes, context: Any) -> bytes:
        task = {"id": "t-1", "status": {"state": next(states)}, "artifacts": [{"artifactId": "a", "parts": [{"text": f"for {SECRET}"}]}]}
        return encode("SendMessageResponse", {"task": task}) if method == "SendMessage" else encode("Task", task)

    with far(answer) as it:
        found = asyncio.run(send(peer(it.port)))
    assert found["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert found["task"]["artifacts"][0]["parts"] == [{"text": "for ***"}], "what was sent is not told again"
    (first, raw, metadata), (second, _, _) = it.asked
    assert (first, second) == ("SendMessage", "GetTask")
    assert decode("SendMessageRequest", raw) == {"tenant": "far", "message": SAID}
    assert (metadata["a2a-version"], metadata["idempotency-key"], metadata["authorization"]) == ("1.0", "k-1", f"Bearer {SECRET}")


@pytest.mark.promise("A2A-14")
def test_what_an_agent_answers_is_bounded_and_holds_no_secret() -> None:
    def refuse(method: str, raw: bytes, context: Any) -> bytes:
        return bytes(context.abort(grpc.StatusCode.PERMISSION_DENIED, f"not with {SECRET} " + "x" * 3_000))

    with far(refuse) as it:
        error = failure(peer(it.port))
        assert error.code == "OMG-M007" and error.details["sent"] is True and error.details["status"] == "PERMISSION_DENIED"
        assert SECRET not in json.dumps(error.record()) and "not with ***" in error.cause and len(error.cause) < 600
    with far(lambda *_: b"\xff" * 100) as it:
        assert (failure(peer(it.port)).code, it.asked[0][0]) == ("OMG-M002", "SendMessage")
    with far(lambda *_: encode("SendMessageResponse", {"message": {**SAID, "parts": [{"text": "x" * (MAX_ANSWER + 1)}]}})) as it:
        assert failure(peer(it.port)).code == "OMG-M007"
    with far(lambda *_: b"") as it:
        error = failure(peer(it.port))
        assert error.code == "OMG-M002" and error.details["sent"] is True, "neither a message nor a task"


@pytest.mark.promise("A2A-14")
def test_one_that_hangs_or_is_not_there_costs_no_longer_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.adapters.a2a.calling.CONNECT_S", 0.3)
    stopped = threading.Event()

    def hang(method: str, raw: bytes, context: Any) -> bytes:
        stopped.wait(20)
        return b""

    with far(hang) as it:
        error = failure(peer(it.port), timeout_s=0.4)
        stopped.set()
        assert error.code == "OMG-M003" and error.details["sent"] is True
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    error = failure(peer(port))
    assert error.code == "OMG-M002" and error.details["sent"] is False, "nobody heard us"


@pytest.mark.promise("A2A-14")
def test_addresses_and_credentials_are_held_to_the_same_rules() -> None:
    known = peer(7, at="http://127.0.0.1:9/card.json")
    assert known.told.url == "http://127.0.0.1:7", "the card was read over http, in a network that was allowed"
    assert peer(0, at="https://far.example/card.json", url="far.example:7", allow=()).told.url == "https://far.example:7"
    assert peer(0, at="https://far.example/card.json", url="grpcs://far.example:7", allow=()).told.url == "https://far.example:7"
    for url in ("127.0.0.1:7", "169.254.169.254:80", "http://far.example:7", "dns:///far.example", "unix:///run/x.sock"):
        with pytest.raises(OmegaError):
            peer(0, at="https://far.example/card.json", url=url, allow=())
    headers = {"Authorization": "Bearer env:TOKEN"}
    with pytest.raises(UpstreamError) as caught:
        peer(0, at="https://far.example/card.json", url="thief.example:443", allow=(), headers=headers)
    assert "--credentials-to https://thief.example:443" in caught.value.advice
    meant = peer(
        0, at="https://far.example/card.json", url="far.example:7", allow=(), headers=headers, credentials_to="https://far.example:7"
    )
    assert meant.told.binding == "GRPC"
    hidden = replace(peer(7, at="http://127.0.0.1:9/card.json"), allow=LOOPBACK)
    with pytest.raises(Denied):
        asyncio.run(send(_reaching(hidden, ("192.0.2.0/24",))))


def _reaching(known: Peer, allow: tuple[str, ...]) -> Peer:
    """The same agent, looked at again when it is called: by then the name may lead elsewhere."""
    object.__setattr__(known, "allow", allow)
    return known
