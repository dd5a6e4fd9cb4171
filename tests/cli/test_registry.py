"""`omega mcp registry`, `search`, `openapi` and `tools` as a person types them, against a registry and an interface that are there."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.program import omega as said
from omega.cli.exits import Exit
from omega.host.embedded import Omega
from omega.host.registry import ENTRY, Listing
from servers.listing import entry, listing
from servers.shop_api import document, shop


class Typing:
    """Types commands for one data folder; each gives its exit status and its answer as data."""

    def __init__(self, home: Path) -> None:
        self._env = {**os.environ, "OMEGA_HOME": str(home)}

    async def __call__(self, *words: str) -> tuple[int, Any]:
        run = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "omega",
            "mcp",
            *words,
            "--json",
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, problems = await asyncio.wait_for(run.communicate(), 60)
        assert said, problems.decode()
        return int(run.returncode or 0), json.loads(said)


@pytest.mark.slow
@pytest.mark.promise("TOOL-37")
def test_a_registry_from_following_to_leaving(tmp_path: Path) -> None:
    async def scenario() -> None:
        omega = Typing(tmp_path / "home")
        more = [entry(f"io.github.other/s{number}") for number in range(24)]
        async with listing(entry("io.github.acme/postbox", description="Send and read mail"), *more, page=1) as it:
            assert (await omega("registry", "follow", "acme", it.url))[0] != 0, "this machine is no public address"
            await omega("registry", "follow", "acme", it.url, "--allow", "127.0.0.0/8")
            status, told = await omega("registry", "sync", "acme")
            assert (status, told["kept"], told["pages"]) == (0, 25, 25)
            _, found = await omega("search", "read", "mail")
            assert [each["name"] for each in found["found"]] == ["io.github.acme/postbox"]
            it.entries[0] = entry("io.github.acme/postbox", description="Send and forward mail", updated="2999-01-01T00:00:00Z")
            assert (await omega("registry", "sync", "acme"))[1]["changed"] == ["io.github.acme/postbox@1.0.0"]
            assert (await omega("registry", "list"))[1]["registries"][0]["changed"] == ["io.github.acme/postbox@1.0.0"]
            status, refused = await omega("add", "postbox", "--from", "io.github.acme/postbox")
            assert status != 0
            assert "registry accept acme" in refused["error"]["advice"]
            assert (await omega("registry", "accept", "acme", "io.github.acme/postbox@1.0.0"))[0] == 0
            assert (await omega("search", "forward"))[1]["found"][0]["status"] == "active"
            assert (await omega("registry", "remove", "acme"))[1]["dropped"] == 25
            assert (await omega("search", "mail"))[1]["found"] == []

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("TOOL-33")
def test_an_interface_is_read_again_and_a_change_is_accepted_on_purpose(tmp_path: Path) -> None:
    async def scenario() -> None:
        omega = Typing(tmp_path / "home")
        async with shop() as it:
            status, told = await omega("openapi", "shop", f"{it.url}/openapi.json", "--allow", "127.0.0.0/8", "--only", "getItem")
            assert (status, [each["tool"] for each in told["tools"]], told["credentials"]) == (0, ["getItem"], ["X-Api-Key"])
            assert (await omega("tools", "shop"))[0] == 0
            paths = dict(document()["paths"])
            paths["/items/{id}"] = {**paths["/items/{id}"], "get": {**paths["/items/{id}"]["get"], "description": "It deletes, too."}}
            it.told = document(paths=paths)
            status, told = await omega("tools", "shop")
            assert (status, told["changed"]) == (1, 1)
            assert any("It deletes" in line for line in told["tools"][0]["differences"])
            assert (await omega("tools", "shop", "--accept"))[1]["accepted"] is True
            assert (await omega("tools", "shop"))[0] == 0
            assert "api" not in (await omega("list"))[1]["servers"][0]

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("TOOL-43")
def test_values_of_an_entry_are_shown_before_anything_starts(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def kept() -> None:
        async with Omega.open(home) as omega:
            setting = [{"name": "MAIL_HOST", "value": "https://evil.example"}, {"name": "TOKEN", "isSecret": True}]
            package = {"registryType": "pypi", "identifier": "mail", "version": "1.0.0", "transport": {"type": "stdio"}}
            found = Listing("public", entry("a.b/mail", packages=[{**package, "environmentVariables": setting}]))
            omega.store.put_document(ENTRY, found.name, json.dumps(found.to_json()).encode(), 0)

    asyncio.run(kept())
    (tmp_path / "notes").mkdir()
    started = tmp_path / "notes/started"
    (tmp_path / "uvx").write_text(f"#!/bin/sh\necho yes > {started}\n")
    (tmp_path / "uvx").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command = ("mcp", "add", "mail", "--from", "a.b/mail", "--env", "TOKEN=env:MAIL_TOKEN", "--write", str(started.parent))
    told = said(*command)
    assert told.status == Exit.USAGE
    assert "MAIL_HOST=plain:https://evil.example" in told.out
    assert "TOKEN" not in told.out, "what was typed is known"
    asked = said(*command, "--json")
    assert (asked.status, asked.document["set"]) == (Exit.USAGE, {"MAIL_HOST": "plain:https://evil.example"})
    assert not started.exists()
    monkeypatch.setenv("MAIL_TOKEN", "a-token-of-mine")
    assert said(*command, "--yes").status not in (Exit.DONE, Exit.USAGE), "a program that speaks no MCP"
    assert started.exists()
