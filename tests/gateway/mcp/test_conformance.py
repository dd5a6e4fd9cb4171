"""The public conformance suite and other people's clients against the entrance. `.ci/node` installs them, and the Node.js they need.

The suite is run three times for each revision: against a tool server of everything (`servers.everything_mcp`), against the gateway with
that server behind it, and against the gateway with what is its own. What passes directly passes through the gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import http_upstream, serving
from servers.everything_mcp import everything
from servers.notebook_mcp import notebook

TESTS = Path(__file__).resolve().parents[2]
NODE = TESTS / ".node" / "node_modules"
SUITE = NODE / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
INSPECTOR = NODE / ".bin" / "mcp-inspector"
PATIENCE_S = 110

UNPREFIXED = {"all": {"tools": [{"tool": "test/*"}], "prefix": False, "search": False}}
"""A virtual server that shows the tools of the server `test` under their own names: the suite calls them by these."""

DIRECT = {"2025-11-25": (33, 83), "2026-07-28": (50, 196)}
"""How many scenarios of the revision's requirements there are, and how many checks of them the server of everything passes."""

NO_CHECKS = {"tasks-status-notifications"}
"""The suite has the name of it, and no check yet."""

ABSENT = {"server-session-lifecycle": 2, "server-sse-polling": 3}
"""Checks that do not apply to the gateway, by scenario: it ends no session (405, which the protocol allows), because it keeps none, and it
does not send a client away from a stream to come back later."""

OWN = {
    "2025-11-25": [
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "ping",
        "logging-set-level",
        "tools-list",
        "resources-list",
        "prompts-list",
        "dns-rebinding-protection",
    ],
    "2026-07-28": [
        "tools-list",
        "http-header-validation",
        "caching",
        "resources-list",
        "sep-2164-resource-not-found",
        "prompts-list",
        "server-sse-multiple-streams",
        "input-required-result-unsupported-methods",
        "dns-rebinding-protection",
    ],
}
"""What needs no special tools behind the server, by revision."""

CLIENT = {
    "2025-11-25": {
        "initialize": 1,
        "tools_call": 2,
        "elicitation-sep1034-client-defaults": 5,
        "sse-retry": 3,
        "json-schema-2020-12-preservation": 9,
    },
    "2026-07-28": {
        "tools_call": 2,
        "request-metadata": 5,
        "sep-2322-client-request-state": 5,
        "http-standard-headers": 9,
        "http-custom-headers": 18,
        "http-invalid-tool-headers": 12,
        "json-schema-ref-no-deref": 1,
        "json-schema-2020-12-preservation": 9,
    },
}
"""Client scenarios with their checks. Those below `auth/` are about clients that obtain tokens by OAuth; ours is given its credentials."""

LACKING = "the suite is not installed under tests/.node: .ci/node does it"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SUITE.exists() and bool(os.environ.get("OMEGA_WITHOUT_NODE") or not os.environ.get("CI")), reason=LACKING),
]


@pytest.mark.promise("MCP-10")
@pytest.mark.parametrize("revision", sorted(DIRECT))
def test_what_passes_the_suite_directly_passes_it_through_the_gateway(revision: str, tmp_path: Path) -> None:
    async def scenario() -> tuple[dict[str, int], dict[str, int]]:
        async with everything() as (_, url):
            direct = await _required(url, revision)
            async with serving(tmp_path / "home", [http_upstream("test", url)], virtual=UNPREFIXED, open_door=True) as served:
                return direct, await _required(f"{served.url}/all", revision)

    direct, through = asyncio.run(scenario())
    assert (len(direct), sum(direct.values())) == DIRECT[revision]
    assert [name for name, passed in direct.items() if not passed and name not in NO_CHECKS] == []
    assert through == {name: passed - ABSENT.get(name, 0) for name, passed in direct.items()}


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
        assert _passed(text) > 0, f"{name}: {text[-2_000:]}"


@pytest.mark.promise("MCP-14")
@pytest.mark.parametrize("revision", sorted(CLIENT))
def test_client_of_tool_servers_passes_the_public_suite(revision: str) -> None:
    command = f"{sys.executable} {TESTS / 'servers' / 'suite_client.py'}"
    passed = {}
    for name in CLIENT[revision]:
        text = _node(str(SUITE), "client", "--command", command, "--scenario", name, "--spec-version", revision)
        passed[name] = _passed(text)
        assert passed[name] == CLIENT[revision][name], f"{name}: {text[-2_000:]}"


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


@pytest.mark.promise("MCP-10")
def test_official_typescript_client_does_one_of_everything(tmp_path: Path) -> None:
    async def scenario() -> Any:
        async with everything() as (_, url), serving(tmp_path / "home", [http_upstream("test", url)]) as served:
            program = [str(TESTS / "servers" / "official.mjs"), str(NODE.parent / "package.json"), served.url, served.passport, "test__"]
            return json.loads(await asyncio.to_thread(_node, *program))

    seen = asyncio.run(scenario())
    assert seen["tools"] > 25
    assert (seen["text"], seen["failed"]) == ("This is a simple text response for testing.", True)
    assert seen["progress"] == [0, 50, 100]
    assert seen["logs"] == 3
    assert seen["sampled"] == "LLM response: forty-two"
    assert "ada@example.org" in seen["elicited"]
    assert "test://static-text" in seen["resources"]
    assert "Data for ID: 7" in seen["read"]
    assert seen["prompt"] == 1
    assert seen["completed"] == ["paris", "park", "party"]
    assert seen["updated"] == ["test://watched-resource"]
    assert seen["changed"] >= 1


async def _required(url: str, revision: str) -> dict[str, int]:
    """What a revision requires of a server, and what is run beside it: the checks that passed by scenario; none may have failed."""
    text = await asyncio.to_thread(_node, str(SUITE), "server", "--url", url, "--requirements", revision)
    found = re.findall(r"^(\S) (\S+): (\d+) passed, (\d+) failed(.*)$", text, re.MULTILINE)
    assert found, text[-2_000:]
    bad = [each for each in found if each[3] != "0" or each[4]]
    assert not bad, (bad, text[-4_000:])
    return {name: int(passed) for _, name, passed, _, _ in found}


def _passed(text: str) -> int:
    """How many checks passed; nothing where one failed or warned."""
    found = re.search(r"Passed: (\d+)/(\d+), 0 failed, 0 warnings", text)
    return int(found[1]) if found is not None and found[1] == found[2] else 0


def _node(*arguments: str) -> str:
    found = subprocess.run([str(NODE / ".bin" / "node"), *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return found.stdout if found.stdout.strip() else found.stderr
