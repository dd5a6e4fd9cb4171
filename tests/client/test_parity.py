"""A method that is written once means the same from everywhere: HTTP, RPC, the Python client, the command line, MCP where it is offered.

Each entrance gets an installation of its own, and all methods of all services are called with their examples, in the same order. What
differs by nature (ids, moments, positions in a log) is blotted out; everything else must be equal, values and codes of errors alike.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.served import Served, served
from omega.cli import run as run_command
from omega.client import services
from omega.host.discover import manifests, offers
from omega.kernel.errors import OmegaError
from omega.kernel.service import Offer

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
NATURAL = re.compile(r"[a-z]{3}_[0-9a-f]{32}|key-[0-9a-f]{40}|\d{4}-\d\d-\d\dT[\d:.]+Z|local\.\d+")
VARYING = frozenset({"sequence", "position", "time", "median_s", "longest_s", "at", "took_s", "executions", "done"})
"""Fields that say how often, when or where in the log: an entrance may take other steps to the same value."""

Result = tuple[str, Any]
Call = Callable[[str, Offer], Awaitable[Result]]


def blotted(value: Any) -> Any:
    """`value` without what differs by nature."""
    if isinstance(value, dict):
        return {name: "~" if name in VARYING or name.endswith(("_us", "_at", "_s")) else blotted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [blotted(each) for each in value]
    return NATURAL.sub("~", value) if isinstance(value, str) else value


def offered() -> list[tuple[str, Offer]]:
    """Every method that has an example and gives one value, by name."""
    found = [(f"{each.service}.{each.name}", each) for each in offers() if each.method.example and not each.method.stream]
    return sorted(found, key=lambda pair: pair[0])


def through(home: Path, calling: Callable[[Served], Awaitable[Call]], entrance: tuple[str, ...]) -> dict[str, Result]:
    """The result of every method, by way of one entrance of a fresh installation."""

    async def main() -> dict[str, Result]:
        async with served(home) as here:
            call = await calling(here)
            found = {}
            for name, offer in offered():
                if any(each in offer.method.entrances for each in entrance):
                    async with asyncio.timeout(60):
                        kind, value = await call(name, offer)
                    found[name] = (kind, blotted(value))
            return found

    return asyncio.run(main())


def document(status: int, body: Any) -> Result:
    """An answer over HTTP."""
    if status == 202:
        return "error", body["waits_for"]["code"]
    return ("value", body) if status == 200 else ("error", body["code"])


async def over_http(here: Served) -> Call:
    async def call(name: str, offer: Offer) -> Result:
        headers = {"authorization": f"Bearer {here.omega.passport()}", "idempotency-key": f"{name} once"}
        address = f"{here.url}/api/v1/{name.replace('.', '/')}"
        async with (
            aiohttp.ClientSession() as http,
            http.post(address, json=dict(offer.method.example), headers=headers) as response,
        ):
            return document(response.status, await response.json(content_type=None))

    return call


async def over_client(here: Served) -> Call:
    async def call(name: str, offer: Offer) -> Result:
        async with here.client() as client:
            try:
                return "value", await client.call(name, dict(offer.method.example))
            except OmegaError as error:
                return "error", error.code

    return call


async def over_rpc(here: Served) -> Call:
    async def call(name: str, offer: Offer) -> Result:
        async with here.client() as client, client.session() as rpc:
            try:
                return "value", await rpc.call(name, dict(offer.method.example), key=f"{name} once")
            except OmegaError as error:
                return "error", error.code

    return call


async def over_mcp(here: Served) -> Call:
    async def call(name: str, offer: Offer) -> Result:
        tool = name.replace(".", "__")
        headers = {"authorization": f"Bearer {here.omega.passport()}", "accept": "application/json, text/event-stream"}
        headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
        params = {"name": tool, "arguments": dict(offer.method.example), "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with aiohttp.ClientSession() as http, http.post(f"{here.url}/mcp", json=body, headers=headers) as response:
            answer = await response.json(content_type=None)
        result = answer["result"]
        assert not result.get("isError"), result
        # Structured content is an object by the protocol: a list, a text or nothing is told as text alone.
        return "value", result["structuredContent"] if "structuredContent" in result else json.loads(result["content"][0]["text"])

    return call


def on_the_command_line(home: Path) -> dict[str, Result]:
    """The result of every method by `omega call`, which opens the installation anew for each."""
    found: dict[str, Result] = {}
    for name, offer in offered():
        if "cli" not in offer.method.entrances:
            continue
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            run_command(["call", name, "--home", str(home), "--json", "--input-json", json.dumps(dict(offer.method.example))])
        answer = json.loads(out.getvalue())
        found[name] = ("value", blotted(answer["value"])) if answer["error"] is None else ("error", answer["error"]["code"])
    return found


def different(one: dict[str, Result], other: dict[str, Result]) -> dict[str, tuple[Result, Result]]:
    """The methods that both entrances have and that do not mean the same."""
    return {name: (one[name], other[name]) for name in one.keys() & other.keys() if one[name] != other[name]}


@pytest.mark.slow
@pytest.mark.promise("SDK-17")
def test_a_method_means_the_same_through_every_entrance(tmp_path: Path) -> None:
    http = through(tmp_path / "http", over_http, ("http",))
    assert len(http) >= 5, "there are methods to compare"
    assert sum(kind == "value" for kind, _ in http.values()) >= 3, "some of them give values"
    for name, other in {
        "client": through(tmp_path / "client", over_client, ("http",)),
        "rpc": through(tmp_path / "rpc", over_rpc, ("http", "client")),
        "command line": on_the_command_line(tmp_path / "cli"),
    }.items():
        assert len(other) >= 5, name
        assert different(http, other) == {}, f"http and {name} differ"
    mcp = through(tmp_path / "mcp", over_mcp, ("mcp",))
    assert {"events.publish", "events.read", "insights.summary"} <= mcp.keys()
    alike = {name: mcp[name] for name in mcp if name != "insights.summary"}  # which tells what ran, and here less did
    assert different(http, alike) == {}, "http and mcp differ"


def test_every_method_of_a_built_in_service_has_a_typed_stub() -> None:
    text = Path(services.__file__).read_text()
    homes = manifests()
    for each in offers():
        if "client" in each.method.entrances and homes[each.service].home.startswith("omega."):
            assert f'"{each.service}.{each.name}"' in text
