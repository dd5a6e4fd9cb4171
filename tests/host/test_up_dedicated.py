"""A core of one's own beside a primary: it lists the primary's tools and reads with them, and can write nothing there."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.mcp.serving import http_upstream, serving
from omega.kernel.ports import Search

SERVERS = Path(__file__).resolve().parents[1] / "servers"
PATIENCE_S = 90.0
CORE = "agent:core-of-acme"
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
SHARED = {
    "shared": {"title": "what all may use", "tools": [{"tool": "orderly/add"}, {"tool": "orderly/wait"}], "prefix": False, "search": False}
}


@pytest.fixture
def tools() -> Iterator[str]:
    """The address of a tool server on the official SDK."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, str(SERVERS / "sdk_mcp.py"), "http", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait()


async def asked(url: str, passport: str, method: str, **params: Any) -> dict[str, Any]:
    """The result of one request of the newer era."""
    headers = {"mcp-protocol-version": "2026-07-28", "authorization": f"Bearer {passport}", "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        answer = (await client.post(url, json=body, headers={**headers, "accept": "application/json, text/event-stream"})).json()
    assert "result" in answer, answer
    result: dict[str, Any] = answer["result"]
    return result


@pytest.mark.slow
@pytest.mark.promise("DOOR-20")
def test_a_core_reads_with_the_tools_of_its_primary_and_writes_nothing_there(
    tools: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with serving(tmp_path / "primary", [http_upstream("orderly", tools)], virtual=SHARED) as primary:
            monkeypatch.setenv("PRIMARY_TOKEN", primary.omega.passport(CORE))
            bridge = http_upstream("primary", f"{primary.url}/shared", headers={"Authorization": "Bearer env:PRIMARY_TOKEN"})
            async with serving(tmp_path / "core", [bridge]) as core:
                there = {tool["name"] for tool in (await asked(f"{primary.url}/shared", primary.passport, "tools/list"))["tools"]}
                here = {tool["name"] for tool in (await asked(core.url, core.passport, "tools/list"))["tools"]}
                assert there == {"add", "wait"} and {f"primary__{name}" for name in there} <= here
                read = await asked(core.url, core.passport, "tools/call", name="primary__add", arguments={"a": 1, "b": 2})
                assert read["structuredContent"] == {"result": 3}
                written = await asked(core.url, core.passport, "tools/call", name="primary__wait", arguments={"seconds": 0})
                assert written["isError"] and "denied" in str(written).lower()
                lines = primary.omega.store.search(Search(principal=CORE))
                assert {(line.flow, line.status) for line in lines} == {("orderly/add", "done"), ("orderly/wait", "failed")}

    asyncio.run(main())
