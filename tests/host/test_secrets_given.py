"""Secrets of tool servers: by name in the log when a session is given them, with their age in a list, never their value."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from omega.adapters.mcp import ToolDescription, Transport, Upstream
from omega.chronicle.record import Leaf, decode
from omega.cli import run
from omega.host import toolbox
from omega.host.arrangements import arranged
from omega.host.asking import ask, keep
from omega.host.credentials import CREDENTIAL, USE, credentials, document_name, sealed
from omega.host.reading import Archive
from omega.host.tools import accept_tools

VALUES = ("value-of-the-token-in-the-environment", "value-of-the-secret-that-ada-left-here")
SERVER = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    said = {"type": "text", "text": "+".join(os.environ.get(name, "none")[-4:] for name in ("TOKEN", "OWN"))}
    told = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}},
        "tools/list": {"tools": [{"name": "look", "description": "Looks.", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [said], "isError": len(sys.argv) > 1},
    }.get(asked["method"])
    body = {"result": told} if told else {"error": {"code": -32601, "message": "no such method"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **body}), flush=True)
"""
FLOW = """
from omega import flow, tool

look = tool("looker", "look")


@flow(effect="write", needs="tools:call")
async def twice(ctx, n: int) -> str:
    first = await ctx.call(look, {})
    return await ctx.call(look, {})
"""


class Place:
    """A folder with a data folder, a tool server and a flow that calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, str(folder / "home")
        (folder / "server.py").write_text(SERVER)
        (folder / "looking.py").write_text(FLOW)

    def add(self, *more: str, **env: str) -> None:
        argv = (sys.executable, str(self.folder / "server.py"), *more)
        asyncio.run(toolbox.add(self.home, Upstream(name="looker", transport=Transport.STDIO, argv=argv, env=env)))

    async def looked(self, **env: str) -> tuple[Upstream, list[ToolDescription]]:
        """The record with references to secrets of callers, and what the server offers without them."""
        with Archive.open(self.home) as archive:
            known = archive.catalogue.upstreams["looker"]
            return Upstream.from_json({**known.to_json(), "env": env}), list(archive.catalogue.tools_of("looker"))

    def leave(self, value: str, *, name: str = "github", principal: str = "", at_us: int = 0) -> str:
        with Archive.open(self.home) as archive:
            whose = principal or f"person:{archive.settings.person}"
            body = sealed(archive.identity.keyring, "local", whose, name, value, at_us=at_us)
        asyncio.run(keep(self.home, CREDENTIAL, document_name("local", whose, name), body))
        return whose

    def leaves(self) -> list[Leaf]:
        with Archive.open(self.home) as archive:
            return [decode(raw) for raw in archive.reader.leaves("local")]

    def kept(self, whose: str) -> str | None:
        with Archive.open(self.home) as archive:
            return credentials(archive.reader, archive.identity.keyring)("local", whose, "github")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("OMEGA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GIVEN_TOKEN", VALUES[0])
    return Place(tmp_path)


def cli(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == status, capsys.readouterr()
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.slow
@pytest.mark.promise("CRED-07")
def test_a_session_and_what_it_was_given_are_in_the_log_by_name(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add(TOKEN="env:GIVEN_TOKEN", PLAIN="plain:nothing")
    place.leave(VALUES[1])
    done = cli(capsys, "run", "looking.py:twice", "--input", "1")
    assert done["value"] == f"{VALUES[0][-4:]}+none"
    (told,) = [leaf for leaf in place.leaves() if "was given" in leaf.reason]  # two calls, one session
    assert (told.reason, told.kind, told.execution) == ("looker was given env:GIVEN_TOKEN", "admin", done["execution"])
    assert told.principal and told.step
    found = {each["name"]: each for each in cli(capsys, "secrets", "list")["secrets"]}
    assert found["env:GIVEN_TOKEN"]["used_by"] == told.principal and found["env:GIVEN_TOKEN"]["server"] == "looker"
    assert not found["env:GIVEN_TOKEN"]["kept"] and found["user:github"]["used_us"] == 0
    assert cli(capsys, "verify")["ok"]
    kept = b"".join(file.read_bytes() for file in Path(place.home).rglob("*") if file.is_file())
    assert all(value.encode() not in kept for value in VALUES)


@pytest.mark.slow
@pytest.mark.promise("CRED-07")
def test_a_call_that_fails_has_told_it_too(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add("fail", TOKEN="env:GIVEN_TOKEN")
    assert run(["run", "looking.py:twice", "--input", "1"]) != 0
    assert [leaf.reason for leaf in place.leaves() if "was given" in leaf.reason] == ["looker was given env:GIVEN_TOKEN"]


@pytest.mark.slow
@pytest.mark.promise("CRED-07")
def test_a_secret_of_the_callers_own_is_told_and_forgotten_with_its_use(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add()
    upstream, tools = asyncio.run(place.looked(OWN="user:github"))
    asyncio.run(ask(place.home, accept_tools, {"upstream": upstream.to_json(), "tools": [tool.to_json() for tool in tools]}))
    whose = place.leave(VALUES[1])
    assert cli(capsys, "run", "looking.py:twice", "--input", "1")["value"] == f"none+{VALUES[1][-4:]}"
    assert [leaf.reason for leaf in place.leaves() if "was given" in leaf.reason] == ["looker was given user:github"]
    (found,) = cli(capsys, "secrets", "list")["secrets"]
    assert (found["name"], found["principal"], found["used_by"], found["server"]) == ("user:github", whose, whose, "looker")
    cli(capsys, "mcp", "credential", "github", "--remove")
    assert cli(capsys, "secrets", "list")["secrets"] == []
    with Archive.open(place.home) as archive:
        assert arranged(archive.reader, USE, document_name("local", whose, "github")) is None


@pytest.mark.slow
@pytest.mark.promise("CRED-08")
def test_secrets_have_an_age_and_are_rotated(place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place.add()
    whose = place.leave(VALUES[1], at_us=1)
    place.leave("of-ada-and-older-than-that-is-kept", principal="person:ada")
    said = cli(capsys, "secrets", "list")
    assert said["old"] == 2
    assert [(each["principal"], each["set_us"], each["old"]) for each in said["secrets"]] == [("person:ada", 0, True), (whose, 1, True)]
    assert run(["secrets", "list"]) == 0
    assert "warn   2 secrets older than 90d" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(VALUES[1] + "\n"))
    assert cli(capsys, "secrets", "rotate", "github", status=2)["error"]["code"] == "OMG-X001"  # the same one again
    monkeypatch.setattr(sys, "stdin", io.StringIO("a-new-one\n"))
    cli(capsys, "secrets", "rotate", "github")
    assert place.kept(whose) == "a-new-one"
    said = cli(capsys, "secrets", "list", "--older", "1h")
    assert [each["old"] for each in said["secrets"]] == [True, False]
    monkeypatch.setattr(sys, "stdin", io.StringIO("a-new-one\n"))
    assert cli(capsys, "secrets", "rotate", "nothing", status=2)["error"]["code"] == "OMG-I003"
