"""Clients that others wrote sign in by themselves: the official ones in Python and TypeScript, and the public suite's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.conftest import Open
from gateway.oauth.browsing import REDIRECT, browser, decide, registered
from gateway.oauth.browsing import tools as tools_of

TESTS = Path(__file__).resolve().parents[2]
NODE = TESTS / ".node" / "node_modules"
SUITE = NODE / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
PATIENCE_S = 60
LACKING = "the suite is not installed under tests/.node: .ci/node does it"
without_node = not SUITE.exists() and bool(os.environ.get("OMEGA_WITHOUT_NODE") or not os.environ.get("CI"))

pytestmark = [pytest.mark.slow, pytest.mark.promise("OAUTH-08")]


def answered(house: Open, where: str) -> str:
    """Where the browser of somebody who allows everything is sent back to."""
    with browser(house) as person:
        return str(decide(person, person.get(where.removeprefix(house.url))).headers["location"])


class Memory:
    """Keeps what the Python client wants kept."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


def test_official_python_client_signs_in(house: Open) -> None:
    import httpx2
    from mcp import Client
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

    sent: list[str] = []

    async def send(where: str) -> None:
        sent.append(where)

    async def come_back() -> AuthorizationCodeResult:
        found = parse_qs(urlsplit(await asyncio.to_thread(answered, house, sent[-1])).query)
        return AuthorizationCodeResult(code=found["code"][0], state=found["state"][0], iss=found["iss"][0])

    async def scenario() -> tuple[int, str]:
        memory = Memory()
        about = OAuthClientMetadata(client_name="official python", redirect_uris=[REDIRECT])
        provider = OAuthClientProvider(f"{house.url}/mcp", about, memory, send, come_back)
        async with (
            httpx2.AsyncClient(auth=provider, trust_env=False) as http,
            Client(streamable_http_client(f"{house.url}/mcp", http_client=http)) as client,
        ):
            return len((await client.list_tools()).tools), memory.tokens.scope

    tools, scope = asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    assert tools >= 0 and "tools:call" in scope and "*" not in scope.split()
    assert parse_qs(urlsplit(sent[0]).query)["resource"] == [f"{house.url}/mcp"]


@pytest.mark.skipif(without_node, reason=LACKING)
def test_official_typescript_client_signs_in_and_refreshes(house: Open) -> None:
    program = [
        str(NODE / ".bin" / "node"),
        str(TESTS / "servers" / "signing.mjs"),
        str(NODE.parent / "package.json"),
        f"{house.url}/mcp",
        REDIRECT,
    ]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None and running.stdout is not None
        where = json.loads(running.stdout.readline())["where"]
        running.stdin.write(answered(house, where) + "\n")
        running.stdin.flush()
        seen = json.loads(running.stdout.readline())
    assert seen["refreshed"] == "AUTHORIZED" and seen["rotated"] and "tools:call" in seen["scope"]


@pytest.mark.skipif(without_node, reason=LACKING)
def test_public_suite_for_authorization_servers_passes(house: Open) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = registered(house, f"http://127.0.0.1:{port}/callback")
    program = [str(NODE / ".bin" / "node"), str(SUITE), "authorization", "--url", house.url, "--client-id", app.id, "--port", str(port)]
    with subprocess.Popen([*program, "--resource", f"{house.url}/mcp"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = []
        for line in running.stdout:
            said.append(line)
            if line.startswith(f"{house.url}/oauth/authorize?"):
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(answered(house, line.strip())).close()
    text = "".join(said)
    assert running.returncode == 0, text[-3_000:]
    assert re.search(r"Total: 3 passed, 0 failed", text), text[-3_000:]


def test_our_own_client_signs_in_to_another_installation_and_renews(house: Open, tmp_path: Path) -> None:
    from omega.host.credentials import credentials
    from omega.host.embedded import Omega
    from omega.host.reading import Archive
    from omega.host.signing_up import SignIn, sign_in

    async def begun() -> None:
        async with Omega.open(tmp_path / "home"):
            return

    asyncio.run(begun())
    wanted = SignIn(name="primary", url=f"{house.url}/mcp", allowed=("127.0.0.0/8",))
    sent: list[str] = []

    def tell(where: str) -> None:
        sent.append(where)
        asyncio.get_running_loop().run_in_executor(None, lambda: _opened(answered(house, where)))

    tokens = []
    for _ in range(2):
        scopes = asyncio.run(sign_in(tmp_path / "home", wanted, tell))
        with Archive.open(tmp_path / "home") as archive:
            whose = f"person:{archive.settings.person}"
            tokens.append(credentials(archive.reader, archive.world.keyring)(archive.settings.tenant, whose, "primary"))
        assert "tools:call" in scopes and tools_of(house, str(tokens[-1])) == 200
    assert len(sent) == 1 and tokens[0] != tokens[1], "the second time nobody is asked"


def test_the_owner_lists_and_ends_clients_at_the_command_line(house: Open) -> None:
    from gateway.oauth.browsing import allowed

    app = registered(house, client_name="from the shell")
    with browser(house) as person:
        given = app.redeem(allowed(person, app)).json()
    home = str(house.identity.settings.home)

    def omega(*arguments: str) -> Any:
        command = [sys.executable, "-m", "omega", *arguments, "--home", home, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout)

    mine = next(each for each in omega("clients", "list")["grants"] if each["client"] == app.id)
    assert mine["client_name"] == "from the shell"
    assert omega("clients", "end", mine["grant"])["ended"] is True
    assert tools_of(house, given["access_token"]) == 401


def _opened(where: str) -> None:
    """A browser goes where it is sent."""
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(where).close()
