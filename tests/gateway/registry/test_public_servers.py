"""Ten real public MCP servers behind the gateway: each is added while it runs, listed, found by what it does, and called."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import Served, serving
from omega.adapters.mcp import Transport, Upstream
from omega.adapters.mcp.http import Pool
from omega.host.toolbox import add
from omega.kernel.sandbox import Sandbox
from servers.public_mcp import Public, install, servers

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


async def ask(served: Served, pool: Pool, method: str, **params: Any) -> dict[str, Any]:
    """The result of one request of the newer era."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **served.headers,
        **({"Mcp-Name": str(params["name"])} if "name" in params else {}),
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}).encode()
    text = await pool.whole(await pool.ask("POST", body, headers))
    answered = json.loads(text)
    assert "result" in answered, answered
    result: dict[str, Any] = answered["result"]
    return result


async def check(served: Served, pool: Pool, listed: set[str], each: Public) -> list[str]:
    """What is wrong with one server, seen through the gateway."""
    name = f"{each.name}__{each.tool}"
    if name not in listed:
        return [f"{name} is not listed"]
    found = await ask(served, pool, "tools/call", name="find_tools", arguments={"query": each.query, "limit": 3})
    names = [tool["name"] for tool in found["structuredContent"]["tools"]]
    wrong = [] if name in names else [f"{name} is not found by {each.query!r}, but {names}"]
    result = await ask(served, pool, "tools/call", name=name, arguments=dict(each.arguments))
    if result.get("isError") or each.answer not in json.dumps(result):
        wrong.append(f"{name} answered {json.dumps(result)[:400]}")
    line = served.omega.store.line(str(result.get("_meta", {}).get("omega/execution", "")))
    if line is None or (line.flow, line.status) != (f"{each.name}/{each.tool}", "done"):
        wrong.append(f"{name} has no record of its call")
    return wrong


@pytest.mark.slow
@pytest.mark.promise("TOOL-35")
def test_ten_public_servers_are_added_listed_found_and_called(tmp_path: Path) -> None:
    install_npm = not os.environ.get("OMEGA_WITHOUT_NODE")
    install(npm=install_npm)

    async def scenario() -> None:
        folder = tmp_path / "work"
        folder.mkdir()
        wanted = [each for each in servers(folder) if install_npm or not each.npm]
        assert len(wanted) == (10 if install_npm else 6)
        async with serving(tmp_path / "home") as served:
            for each in wanted:
                grants = Sandbox(write=(str(folder),) if each.writes else ())
                upstream = Upstream(
                    name=each.name, transport=Transport.STDIO, argv=each.argv, env=each.env, cwd=str(folder), timeout_s=60, sandbox=grants
                )
                tools = await add(tmp_path / "home", upstream)
                assert each.tool in {tool.name for tool in tools}
            pool = Pool(served.url, {}, 1 << 24)
            listed = {tool["name"] for tool in (await ask(served, pool, "tools/list"))["tools"]}
            wrong = [problem for each in wanted for problem in await check(served, pool, listed, each)]
            pool.close()
        assert not wrong, "\n".join(wrong)

    asyncio.run(scenario())
