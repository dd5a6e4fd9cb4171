"""The gRPC port of an open house: its certificates, its beginning and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omega import flow
from omega.adapters.a2a import Peer
from omega.adapters.a2a.calling import GrpcConversation
from omega.adapters.certificates import Credentials
from omega.adapters.net.reach import networks
from omega.adapters.net.scrubbing import Scrubber
from omega.host import certifying, workload
from omega.host.embedded import Omega
from omega.host.publishing import PUBLISHED
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.up import Opening, up
from omega.kernel.context import Context
from omega.kernel.errors import InputError, UpstreamError
from omega.wire.a2a.protobuf import SERVICE, decode, encode

grpc = pytest.importorskip("grpc", reason="the extra a2a-grpc is not installed")
pytestmark = pytest.mark.slow

WORKER = "spiffe://omega.local/worker/mail-3"
PATIENCE_S = 60.0


@flow(name="louder")
def louder(text: str) -> str:
    return text.upper()


@flow(name="waits")
async def waits(ctx: Context, text: str) -> str:
    await ctx.sleep(3_600)
    return text


@asynccontextmanager
async def opened(home: Path, **more: Any) -> AsyncIterator[tuple[dict[str, Any], Stop]]:
    """A house with a published agent and a gRPC port; gives what it told, and how it is stopped."""
    async with Omega.open(home) as omega:
        await omega.arrange(PUBLISHED, "louder", {"flow": "louder", "front": True})
        await omega.arrange(PUBLISHED, "waits", {"flow": "waits"})
        passport = omega.passport()
    targets = tuple(Target(f"tests:{each.name}", each, ()) for each in (louder, waits))
    told: dict[str, Any] = {"passport": passport}
    ready, stop = asyncio.Event(), Stop()

    def tell(event: str, facts: Any) -> None:
        told.update(facts)
        if event == "up":
            ready.set()

    serving = asyncio.create_task(up(home, replace(Opening(port=0, a2a_grpc=0, targets=targets, drain_s=5.0), **more), tell, stop))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
        if serving.done():
            serving.result()
        yield told, stop
    finally:
        waiting.cancel()
        stop.now()
        await asyncio.wait_for(serving, PATIENCE_S)


def ask(port: int, credentials: Any, passport: str = "", method: str = "SendMessage", agent: str = "", words: str = "hello") -> Any:
    """An answer, or the name of the status."""
    metadata = [("a2a-version", "1.0")] + ([("authorization", f"Bearer {passport}")] if passport else [])
    place = f"localhost:{port}"
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": words}]}
    with grpc.insecure_channel(place) if credentials is None else grpc.secure_channel(place, credentials) as channel:
        request = encode("SendMessageRequest", {"message": message, "tenant": agent})
        try:
            return decode("SendMessageResponse", channel.unary_unary(f"/{SERVICE}/{method}")(request, metadata=metadata, timeout=20))
        except grpc.RpcError as error:
            return error.code().name


def credentials_of(held: Credentials) -> Any:
    files = [(held.folder / name).read_bytes() for name in ("bundle.pem", "key.pem", "chain.pem")]
    return grpc.ssl_channel_credentials(files[0], files[1], files[2])


@pytest.mark.promise("A2A-13")
def test_with_mutual_tls_a_certificate_is_demanded_and_says_who_calls(tmp_path: Path) -> None:
    home = tmp_path / "home"
    asyncio.run(certifying.change(home, "establish"))
    settings = Settings.load(home)
    worker, other = workload.credentials(settings, "worker/mail-3"), workload.credentials(settings, "worker/other")
    asyncio.run(certifying.admit(home, WORKER, groups=["owner"], capabilities=["flows:run"]))
    (home / "policies").mkdir()
    policy = '@id("workers-act")\n@reason("workers run flows")\npermit (principal is Service, action, resource);\n'
    (home / "policies" / "workers.cedar").write_text(policy)

    async def whole() -> None:
        async with opened(home, mutual="demand") as (told, _):
            port = told["a2a_grpc"]
            bare = grpc.ssl_channel_credentials((worker.folder / "bundle.pem").read_bytes())
            assert await asyncio.to_thread(ask, port, None, told["passport"]) == "UNAVAILABLE", "nothing is understood without TLS"
            assert await asyncio.to_thread(ask, port, bare, told["passport"]) == "UNAVAILABLE", "a passport is no certificate"
            assert await asyncio.to_thread(ask, port, credentials_of(other)) == "UNAUTHENTICATED", "nobody has let it in"
            found = await asyncio.to_thread(ask, port, credentials_of(worker))
            assert found["task"]["artifacts"][0]["parts"] == [{"text": "HELLO"}]

    asyncio.run(whole())


@pytest.mark.promise("A2A-13")
def test_with_a_certificate_of_the_operator_a_passport_says_who_calls(tmp_path: Path) -> None:
    home = tmp_path / "home"
    asyncio.run(certifying.change(home, "establish"))
    asyncio.run(certifying.certify(home, "gateway", tmp_path / "tls", ["localhost"]))
    files = {"certificate": str(tmp_path / "tls" / "chain.pem"), "key": str(tmp_path / "tls" / "key.pem")}

    async def whole() -> None:
        async with opened(home, **files) as (told, _):
            http, rpc = told["listeners"]
            assert (http["address"], rpc["address"]) == (told["url"], f"grpc://127.0.0.1:{told['a2a_grpc']}")
            assert http["tls"] == rpc["tls"] == "TLSv1.3" and http["ends_s"] == rpc["ends_s"]
            trusted = grpc.ssl_channel_credentials((tmp_path / "tls" / "bundle.pem").read_bytes())
            found = await asyncio.to_thread(ask, told["a2a_grpc"], trusted, told["passport"])
            assert found["task"]["artifacts"][0]["parts"] == [{"text": "HELLO"}]
            assert await asyncio.to_thread(ask, told["a2a_grpc"], trusted) == "UNAUTHENTICATED"
            strange = grpc.ssl_channel_credentials()
            assert await asyncio.to_thread(ask, told["a2a_grpc"], strange, told["passport"]) == "UNAVAILABLE"

    asyncio.run(whole())


@pytest.mark.promise("A2A-14")
def test_an_agent_elsewhere_shows_a_certificate_for_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own client at our own port, over TLS: with the authority that this machine trusts, and without."""
    home = tmp_path / "home"
    asyncio.run(certifying.change(home, "establish"))
    asyncio.run(certifying.certify(home, "gateway", tmp_path / "tls", ["localhost"]))
    files = {"certificate": str(tmp_path / "tls" / "chain.pem"), "key": str(tmp_path / "tls" / "key.pem")}

    async def asked(told: dict[str, Any], host: str) -> dict[str, Any]:
        interface = {"url": f"{host}:{told['a2a_grpc']}", "protocolBinding": "GRPC", "protocolVersion": "1.0"}
        card = {"name": "Louder", "description": "louder", "version": "1", "skills": [], "supportedInterfaces": [interface]}
        known = Peer(name="louder", at=f"https://{host}/card.json", card=card, allow=("127.0.0.0/8", "::1/128"))
        talk = GrpcConversation(networks(known.allow), known.told, {"authorization": f"Bearer {told['passport']}"}, Scrubber(()))
        try:
            message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
            return await talk.send(message, key="k", timeout_s=30)
        finally:
            await talk.close()

    async def here(host: str, port: int, allowed: Any, *, secure: bool) -> list[dict[str, Any]]:
        return [{"host": "127.0.0.1", "port": port}]  # a name that leads here, and for which we have no certificate

    async def whole() -> None:
        async with opened(home, **files) as (told, _):
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "bundle.pem"))
            assert (await asked(told, "localhost"))["task"]["artifacts"][0]["parts"] == [{"text": "HELLO"}]
            monkeypatch.setattr("omega.adapters.a2a.calling.CONNECT_S", 1.0)
            with monkeypatch.context() as patched, pytest.raises(UpstreamError):
                patched.setattr("omega.adapters.a2a.calling.resolved", here)
                await asked(told, "far.example")
            monkeypatch.delenv("SSL_CERT_FILE")
            with pytest.raises(UpstreamError):
                await asked(told, "localhost")

    asyncio.run(whole())


@pytest.mark.promise("A2A-13")
def test_a_port_that_is_taken_is_told_and_nothing_is_left_open(tmp_path: Path) -> None:
    async def whole() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(InputError) as caught:
                async with opened(tmp_path / "home", a2a_grpc=taken.getsockname()[1]):
                    raise AssertionError("it came up")
            assert caught.value.code == "OMG-X001" and "a2a-grpc" in caught.value.advice

    asyncio.run(whole())


@pytest.mark.promise("A2A-13")
def test_who_is_inside_when_it_stops_is_answered_and_nobody_new_comes_in(tmp_path: Path) -> None:
    async def whole() -> None:
        async with opened(tmp_path / "home") as (told, stop):
            port, passport = told["a2a_grpc"], told["passport"]
            inside = asyncio.create_task(asyncio.to_thread(ask, port, None, passport, agent="waits"))
            async with asyncio.timeout(PATIENCE_S):
                while not await asyncio.to_thread(_begun, told):
                    await asyncio.sleep(0.02)
            stop.ask()
            found = await inside
            assert found["task"]["status"]["state"] == "TASK_STATE_WORKING", "it is told where the task stands"

    def _begun(told: dict[str, Any]) -> bool:
        import httpx

        headers = {"authorization": f"Bearer {told['passport']}", "a2a-version": "1.0"}
        found = httpx.get(f"{told['url']}/a2a/waits/tasks", headers=headers, trust_env=False).json()
        return bool(found.get("tasks"))

    asyncio.run(whole())
