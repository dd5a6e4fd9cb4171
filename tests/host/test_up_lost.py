"""A gateway whose database goes away goes on listening, says that it is not ready, refuses what is asked again, and comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega import flow
from omega.client import Client, Retry
from omega.client.retrying import passes
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.up import Opening, up
from omega.kernel.errors import OmegaError
from servers.postgres import PostgresServer
from servers.postgres import serve as started

PATIENCE_S = 60.0


@flow
def double(n: int) -> int:
    return n * 2


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


async def until(client: httpx.AsyncClient, status: int) -> httpx.Response:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.get("/readyz")
            if answer.status_code == status:
                return answer
            await asyncio.sleep(0.02)


def handshake(url: str, passport: str) -> bytes:
    """The first line of the answer to a WebSocket's handshake."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as line:
        head = f"GET /rpc HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        line.sendall(f"{head}sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {passport}\r\n\r\n".encode())
        return line.recv(200).partition(b"\r\n")[0]


@pytest.mark.promise("DOOR-32")
@pytest.mark.slow
def test_a_gateway_outlives_its_database(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    home, events = tmp_path / "home", []

    async def whole() -> None:
        where: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def tell(event: str, facts: Mapping[str, Any]) -> None:
            events.append(event)
            if event == "up":
                where.set_result(str(facts["url"]))

        stop = Stop()
        opening = Opening(port=0, targets=(Target("tests:double", double, ()),), lease_s=2.0, drain_s=1.0)
        serving = asyncio.create_task(up(home, opening, tell, stop))
        await asyncio.wait({serving, where}, return_when=asyncio.FIRST_COMPLETED)
        url = where.result()
        passport = Identity.load(Settings.load(home), SystemEntropy()).passport("", now_us=SystemClock().now_us())
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as plain, Client(url, passport) as client:
            assert await client.run("double", 4) == 8
            await asyncio.to_thread(server.kill)
            async with Client(url, passport, retry=Retry(times=0)) as once:
                for _ in range(20):
                    with pytest.raises(OmegaError) as caught:
                        await once.run("double", 5)
                    assert passes(caught.value), caught.value
            refused = await until(plain, 503)
            assert refused.headers["retry-after"] == "1" and refused.json()["code"] == "OMG-G008"
            assert (await plain.get("/livez")).status_code == 200
            assert b" 503 " in await asyncio.to_thread(handshake, url, passport)
            await asyncio.to_thread(server.start)
            await until(plain, 200)
            assert await client.run("double", 6, key="after") == 12
            assert b" 101 " in await asyncio.to_thread(handshake, url, passport)
        stop.ask()
        await serving

    asyncio.run(whole())
    assert events[0] == "up" and "lost" in events and "reopened" in events and events[-1] == "draining"
