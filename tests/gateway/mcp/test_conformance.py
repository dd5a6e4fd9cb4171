"""The public conformance suite and other people's clients against the entrance. `.ci/node` installs them, and the Node.js they need."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from gateway.mcp.serving import http_upstream, serving
from servers.notebook_mcp import notebook

NODE = Path(__file__).resolve().parents[2] / ".node" / "node_modules"
SUITE = NODE / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
INSPECTOR = NODE / ".bin" / "mcp-inspector"
PATIENCE_S = 60

OWN = {
    "2025-11-25": [
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "logging-set-level",
        "tools-list",
        "resources-list",
        "prompts-list",
        "dns-rebinding-protection",
    ],
    "2026-07-28": ["tools-list", "http-header-validation", "caching", "resources-list", "prompts-list", "dns-rebinding-protection"],
}
"""What needs no special tools behind the server, by revision."""

LACKING = "the suite is not installed under tests/.node: .ci/node does it"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SUITE.exists() and bool(os.environ.get("OMEGA_WITHOUT_NODE") or not os.environ.get("CI")), reason=LACKING),
]


@pytest.mark.promise("MCP-10")
@pytest.mark.parametrize("revision", sorted(OWN))
def test_own_server_passes_the_public_suite(revision: str, tmp_path: Path) -> None:
    async def scenario() -> dict[str, str]:
        async with notebook() as (_, url), serving(tmp_path / "home", [http_upstream("notebook", url)], open_door=True) as served:
            said = {}
            for name in OWN[revision]:
                arguments = ["server", "--url", served.url, "--spec-version", revision, "--scenario", name]
                said[name] = await asyncio.to_thread(_node, str(SUITE), *arguments)
            return said

    for name, text in asyncio.run(scenario()).items():
        passed = re.search(r"Passed: (\d+)/(\d+), 0 failed, 0 warnings", text)
        assert passed is not None, f"{name}: {text[-2_000:]}"
        assert passed[1] == passed[2] != "0", name


@pytest.mark.promise("MCP-10")
def test_public_inspector_lists_and_calls(tmp_path: Path) -> None:
    async def scenario() -> tuple[str, str]:
        async with notebook() as (_, url), serving(tmp_path / "home", [http_upstream("notebook", url)], open_door=True) as served:
            reach = [str(INSPECTOR), "--cli", served.url, "--transport", "http", "--method"]
            listed = await asyncio.to_thread(_node, *reach, "tools/list")
            call = [*reach, "tools/call", "--tool-name", "notebook__echo", "--tool-arg", "text=hello"]
            return listed, await asyncio.to_thread(_node, *call)

    listed, called = asyncio.run(scenario())
    assert "notebook__echo" in [tool["name"] for tool in json.loads(listed)["tools"]]
    assert json.loads(called)["content"] == [{"type": "text", "text": "hello"}]


def _node(*arguments: str) -> str:
    found = subprocess.run([str(NODE / ".bin" / "node"), *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return found.stdout
