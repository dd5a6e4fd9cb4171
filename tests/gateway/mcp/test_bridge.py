"""The bridge for clients that start their servers, and the entry that tells such a client of it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mcp.serving import http_upstream
from omega.host.connecting import CLIENTS, connect, disconnect, entry_of
from omega.host.embedded import Omega
from omega.host.virtual import MAX_TOOL, check, exposed
from omega.kernel.errors import InputError
from servers.everything_mcp import everything
from servers.notebook_mcp import notebook

WANTED = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


@pytest.mark.slow
@pytest.mark.promise("MCP-12")
def test_client_over_standard_input_reaches_the_same_entrance(tmp_path: Path) -> None:
    async def scenario() -> None:
        home = tmp_path / "home"
        async with notebook() as (notes, url):
            async with Omega.open(home) as omega:
                upstream = http_upstream("orderly", url)
                await omega.accept(upstream, await omega.describe(upstream))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "omega", "mcp", "serve", "--home", str(home), "--url", "http://127.0.0.1:9/mcp"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None

            async def ask(message: dict[str, Any]) -> Any:
                process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")  # type: ignore[union-attr]
                return json.loads(await process.stdout.readline()) if "id" in message else None  # type: ignore[union-attr]

            async with asyncio.timeout(60):
                assert (await ask({"id": 1, "method": "initialize", "params": WANTED}))["result"]["protocolVersion"] == "2025-11-25"
                await ask({"method": "notifications/initialized"})
                params = {"name": "orderly__echo", "arguments": {"text": "over a pipe"}}
                said = await ask({"id": "two", "method": "tools/call", "params": params})
                assert (said["id"], said["result"]["content"][0]["text"]) == ("two", "over a pipe")
                meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
                said = await ask({"id": 3, "method": "server/discover", "params": {"_meta": meta}})
                assert "2026-07-28" in said["result"]["supportedVersions"]
                process.stdin.close()
                assert await process.wait() == 0
            assert notes.count("tools/call") == 1

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("MCP-15")
def test_client_over_standard_input_is_told_of_changes(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        home, heard = tmp_path / "home", []
        async with everything() as (_, url):
            async with Omega.open(home) as omega:
                upstream = http_upstream("test", url)
                await omega.accept(upstream, await omega.describe(upstream))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "omega", "mcp", "serve", "--home", str(home), "--url", "http://127.0.0.1:9/mcp"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            call = {"name": "test__test_trigger_tool_change", "arguments": {}}
            async with asyncio.timeout(60):
                for message in ({"id": 1, "method": "initialize", "params": WANTED}, {"id": 2, "method": "tools/call", "params": call}):
                    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
                    while "id" not in (said := json.loads(await process.stdout.readline())):
                        heard.append(said["method"])
                while not heard:
                    heard.append(json.loads(await process.stdout.readline())["method"])
                process.stdin.close()
                assert await process.wait() == 0
        return heard

    assert asyncio.run(scenario()) == ["notifications/tools/list_changed"]


@pytest.mark.promise("MCP-12")
@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_connecting_changes_one_entry_and_keeps_the_rest(client: str, tmp_path: Path) -> None:
    path = tmp_path / CLIENTS[client].project
    entry = entry_of(client, ["--as", f"agent:{client}"], "/home/omega")
    assert connect(client, path, "omega", entry).backup is None
    assert json.loads(path.read_text())[CLIENTS[client].key]["omega"]["args"][:4] == ["-m", "omega", "mcp", "serve"]
    before = {"other": {"a": [1]}, CLIENTS[client].key: {"theirs": {"command": "x"}}}
    path.write_text(json.dumps(before))
    path.chmod(0o640)
    done = connect(client, path, "omega", entry)
    assert done.backup is not None
    assert json.loads(done.backup.read_text()) == before
    assert path.stat().st_mode & 0o777 == 0o640
    disconnect(client, path, "omega")
    assert json.loads(path.read_text()) == before
    with pytest.raises(InputError) as caught:
        disconnect(client, path, "omega")
    assert caught.value.code == "OMG-I003"


def test_file_that_is_not_plain_json_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    for text in ('{"servers": {}} // mine', "[]", '{"servers": []}'):
        path.write_text(text)
        with pytest.raises(InputError):
            connect("vscode", path, "omega", entry_of("vscode", [], "/h"))
        assert path.read_text() == text


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80), st.text(min_size=1, max_size=80), st.text(max_size=80), st.text(min_size=1, max_size=80))
def test_names_that_look_alike_are_never_one(server: str, tool: str, other_server: str, other: str) -> None:
    one, two = exposed(server, tool), exposed(other_server, other)
    assert 0 < len(one) <= MAX_TOOL
    assert all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in one)
    plain = f"{server}__{tool}" if server else tool
    also = f"{other_server}__{other}" if other_server else other
    assert (one == two) == (plain == also) or plain == also


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": []},
        {"tools": ["git/*"]},
        {"tools": [{"tool": ""}]},
        {"tools": [{"tool": "git/*", "as": "one"}]},
        {"tools": [{"tool": "git/log", "as": "two words"}]},
        {"tools": [{"tool": "git/log", "approval": "Role!"}]},
        {"tools": [{"tool": "git/log", "colour": "red"}]},
        {"tools": [{"tool": "git/log"}], "prefix": "no"},
        {"tools": [{"tool": "git/log"}], "groups": [7]},
        {"tools": [{"tool": "git/log"}] * 501},
        {"tools": [{"tool": "git/log", "description": "x" * 4_001}]},
    ],
)
def test_virtual_server_that_does_not_fit_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        check("mine", body)
    assert caught.value.code == "OMG-I001"
