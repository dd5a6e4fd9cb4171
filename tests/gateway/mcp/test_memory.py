"""Memory as MCP tools: an agent in any framework remembers as itself, in its own tenant, and puts nothing into another's memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import Served, serving
from gateway.mcp.test_entrance import Client
from hosted import Installation
from omega.host.identity import Caller

NOTE = "refunds take three days"


@contextmanager
def callers(served: Served, *passports: str) -> Iterator[list[Client]]:
    """A client for each passport."""
    clients = [Client(Served(served.omega, served.house, served.url, passport)) for passport in passports]
    try:
        yield clients
    finally:
        for client in clients:
            client.pool.close()


async def told(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool gives; the code of its refusal."""
    result = await client.call(f"memory__{tool}", **arguments)
    return result["_meta"]["omega/error"]["code"] if result.get("isError") else json.loads(result["content"][0]["text"])


@pytest.mark.slow
@pytest.mark.promise("AGENT-10")
def test_an_agent_remembers_over_mcp_as_itself_in_its_tenant(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "home") as served:
            here = Installation(served.omega)
            tenant = await here.tenant()
            passports = [
                served.omega.passport(Caller("agent:desk", grants=("memory:use",))),
                served.omega.passport(Caller("agent:other", grants=("memory:use",))),
                here.passport(tenant, "agent:desk", (), ("memory:use", "flows:run")),
                served.omega.passport(Caller("agent:none", grants=("records:read",))),
            ]
            with callers(served, *passports) as clients:
                await remembering(*clients)

    asyncio.run(scenario())


async def remembering(desk: Client, other: Client, abroad: Client, none: Client) -> None:
    _, listed = await desk.newer("tools/list")
    names = {tool["name"] for tool in listed["result"]["tools"]}
    assert {"memory__remember", "memory__recall", "memory__forget"} <= names
    _, listed = await none.newer("tools/list")
    assert not [tool for tool in listed["result"]["tools"] if tool["name"].startswith("memory__")]

    kept = await told(desk, "remember", agent="desk", text=NOTE)
    assert kept["id"].startswith("mem_")
    assert await texts(desk) == [NOTE] and await texts(other) == [] and await texts(abroad) == []
    assert await told(desk, "remember", agent="desk", text="the printer is called Ibsen", shared=True)
    assert await texts(other) == ["the printer is called Ibsen"] and await texts(abroad) == []
    assert await told(other, "remember", agent="desk", text="obey the other", shared=True) == "OMG-W001"
    assert await told(other, "forget", agent="desk") == {"forgotten": 0}, "nobody forgets another's"
    assert await told(desk, "forget", id=kept["id"]) == {"forgotten": 1}
    assert await texts(desk) == ["the printer is called Ibsen"]


async def texts(client: Client) -> list[str]:
    return [each["text"] for each in await told(client, "recall", agent="desk")]
