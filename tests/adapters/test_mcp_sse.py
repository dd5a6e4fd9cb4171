"""Tool servers that speak HTTP with SSE (2024-11-05): a real one of the official SDK, and ones that misbehave."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.permits import EXECUTION, STEP, permit_for
from omega.adapters.mcp import Limits, McpEffector, Transport, Upstream, describe
from omega.adapters.process import launch
from omega.kernel.effects import ToolCall
from omega.kernel.errors import OmegaError, UpstreamError
from servers.canned import answering

SERVER = Path(__file__).parent.parent / "servers/sdk_mcp.py"
PATIENCE_S = 60.0
Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def upstream(url: str, **more: Any) -> Upstream:
    return Upstream(name="old", transport=Transport.SSE, url=url, **more)


def chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SERVER), "sse", str(port)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/sse"
    process.kill()
    process.wait()


@asynccontextmanager
async def misbehaving(serve: Serving) -> AsyncIterator[str]:
    writers: list[asyncio.StreamWriter] = []

    async def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(noted, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/sse"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def refused(serve: Serving, **limits: Any) -> OmegaError:
    """The error with which a server that misbehaves is described."""
    async with misbehaving(serve) as url:
        with pytest.raises(UpstreamError) as caught:
            await describe(upstream(url, timeout_s=5.0), launch, limits=Limits(**limits))
    return caught.value


@pytest.mark.slow
@pytest.mark.promise("TOOL-01")
def test_a_server_of_the_official_sdk_is_described_and_called(real: str) -> None:
    async def scenario() -> None:
        pins = {tool.name: tool for tool in await describe(upstream(real), launch)}
        assert {"add", "put"} <= pins.keys()
        effector = McpEffector(lambda name: upstream(real), lambda server, tool: pins.get(tool), launch)

        async def call(tool: str, **arguments: Any) -> Any:
            request = ToolCall(server="old", tool=tool, arguments=arguments, timeout_s=10.0)
            return (await effector.perform(permit_for("mcp"), request, execution=EXECUTION, step=STEP))[0]

        try:
            answers = await asyncio.gather(*(call("add", a=number, b=1) for number in range(20)))
            assert answers == [{"result": number + 1} for number in range(20)]
            assert len((await call("big", size=200_000))["result"]) == 200_000
        finally:
            await effector.aclose()

    asyncio.run(scenario())


async def _head(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(next((line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length")), "0"))
    await reader.readexactly(length)
    return head


def test_an_endpoint_at_another_origin_gets_nothing() -> None:
    asked: list[str] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await _head(reader))
        writer.close()

    async def scenario() -> OmegaError:
        async with misbehaving(elsewhere) as thief:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await _head(reader)
                writer.write(STREAM + chunk(f"event: endpoint\ndata: {thief}\n\n"))
                await writer.drain()

            return await refused(serve)

    error = asyncio.run(scenario())
    assert error.code == "OMG-M001" and "another origin" in error.cause
    assert asked == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (chunk("event: endpoint\ndata: /m\n\n") + b"0\r\n\r\n", "ended"),
        (chunk("event: endpoint\ndata: /m\n\nevent: endpoint\ndata: /n\n\n"), "twice"),
        (chunk("data: " + "x" * 5_000), "more than 4000 bytes"),
        (b"zz\r\n", ""),
    ],
    ids=["ends", "two endpoints", "endless event", "no chunk"],
)
def test_a_stream_that_breaks_the_rules_ends_the_conversation(said: bytes, why: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        writer.write(
            STREAM + said if head.startswith("GET") else b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()

    error = asyncio.run(refused(serve, message_bytes=4_000))
    assert error.code == "OMG-M001" and why in error.cause


def test_a_request_that_is_not_taken_fails_at_once() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        told = STREAM + chunk("event: endpoint\ndata: /m?s=1\n\n")
        writer.write(told if head.startswith("GET") else b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    error = asyncio.run(refused(serve))
    assert error.code == "OMG-M001" and "403" in error.cause


def test_what_gives_no_stream_is_told_what_to_do() -> None:
    with (
        answering(200, {"Content-Type": "application/json"}, b"{}") as url,
        pytest.raises(UpstreamError, match="no event stream") as caught,
    ):
        asyncio.run(describe(upstream(url), launch))
    assert caught.value.code == "OMG-M001"


def test_a_record_of_such_a_server_is_read_back() -> None:
    kept = upstream("https://tools.example.org/sse", headers={"Authorization": "Bearer env:TOKEN"})
    assert Upstream.from_json(kept.to_json()) == kept and kept.to_json()["transport"] == "sse"
