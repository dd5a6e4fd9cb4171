"""The protocol's own Python library as a peer: its client calls a published agent, and its server is an agent elsewhere."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.a2a.conftest import Published
from omega.adapters.a2a import peer
from omega.host.embedded import Omega
from omega.host.peers import add

pytest.importorskip("a2a", reason="the protocol's own library is not installed")
pytestmark = pytest.mark.slow

AGENT = Path(__file__).resolve().parents[2] / "servers" / "sdk_a2a.py"
PATIENCE_S = 60.0


async def talked(house: Published, binding: str) -> dict[str, Any]:
    """What the library's client hears of a published agent over one binding."""
    import grpc
    import httpx
    from a2a.client import A2ACardResolver, ClientCallContext, ClientConfig, ClientFactory
    from a2a.types import GetTaskRequest, ListTasksRequest, Message, Part, Role, SendMessageRequest

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {house.passport()}"}, timeout=PATIENCE_S, trust_env=False) as http:
        card = await A2ACardResolver(http, f"{house.url}/a2a/tell").get_agent_card()
        verify(card, (await http.get(f"{house.url}/.well-known/jwks.json")).json()["keys"][0])
        channel = grpc.aio.insecure_channel
        config = ClientConfig(httpx_client=http, streaming=True, supported_protocol_bindings=[binding], grpc_channel_factory=channel)
        shown = ClientCallContext(service_parameters={"authorization": f"Bearer {house.passport()}"} if binding == "GRPC" else {})
        async with ClientFactory(config).create(card) as client:
            message = Message(message_id="sdk-1", role=Role.ROLE_USER, parts=[Part(text="one two")], context_id=f"sdk-{binding}")
            seen = [event async for event in client.send_message(SendMessageRequest(message=message), context=shown)]
            task = seen[0].task
            again = await client.get_task(GetTaskRequest(id=task.id), context=shown)
            listed = await client.list_tasks(ListTasksRequest(context_id=f"sdk-{binding}"), context=shown)
            return {"kinds": [each.WhichOneof("payload") for each in seen], "task": again, "listed": [each.id for each in listed.tasks]}


def verify(card: Any, key: dict[str, Any]) -> None:
    """The library's own look at the signature."""
    from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
    from jwt.api_jwk import PyJWK

    check = create_signature_verifier(lambda kid, jku: PyJWK.from_dict({**key, "alg": "EdDSA"}), ["EdDSA"])
    check(card)
    card.description += "."
    with pytest.raises(InvalidSignaturesError):
        check(card)
    card.description = card.description[:-1]


@pytest.mark.promise("A2A-02")
@pytest.mark.promise("A2A-11")
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON", "GRPC"])
def test_the_librarys_client_talks_to_a_published_agent(published: Published, binding: str) -> None:
    found = asyncio.run(talked(published, binding))
    assert found["kinds"] == ["task", "artifact_update", "artifact_update", "status_update"]
    assert found["task"].artifacts[0].parts[0].text == "one two " and found["listed"] == [found["task"].id]


@pytest.fixture(params=["rpc", "rest", "grpc"])
def echo(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The address of an agent on the library's server, and the binding that its card puts first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(AGENT), str(port), request.param], stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}", {"rpc": "JSONRPC", "rest": "HTTP+JSON", "grpc": "GRPC"}[request.param]
    process.kill()
    process.wait()


@pytest.mark.promise("A2A-10")
@pytest.mark.promise("A2A-14")
def test_an_agent_on_the_librarys_server_is_asked_through_the_gate(echo: tuple[str, str], tmp_path: Path) -> None:
    address, binding = echo

    async def whole() -> None:
        accepted = await add(tmp_path, "echo", address, headers={}, allow=("127.0.0.0/8",), key=None, timeout_s=PATIENCE_S)
        assert accepted.told.binding == binding
        assert accepted.signer == "" and accepted.told.skills[0].id == "echo"
        async with Omega.open(tmp_path) as omega:
            told = await omega.ask(peer("echo"), {"text": "hello"})
            assert (told["state"], told["text"]) == ("completed", "echo hello")
            asks = await omega.ask(peer("echo"), {"text": "ask"})
            assert (asks["state"], asks["text"]) == ("input required", "what?")
            done = await omega.ask(peer("echo"), {"text": "this", "task": asks["task"], "context": asks["context"]})
            assert done["text"] == "echo this" and done["task"] == asks["task"]

    asyncio.run(whole())
