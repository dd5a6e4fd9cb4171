"""Callers who want what is somebody else's: another's credentials at a tool server, another's execution, more than their share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from attacks.test_upstreams import META, NEWER, Caller, code_of, text_of
from gateway.mcp.serving import Served, http_upstream, serving
from omega.host.credentials import CREDENTIAL, document_name, sealed
from omega.host.identity import Caller as Identified
from omega.host.limits import LIMIT
from omega.host.tenants import Bearer, passport_for
from servers.notebook_mcp import notebook

USERS = ("person:ann", "person:ben", "person:cyd")
SERVERS = ("first", "second")
ROUNDS = 40


@asynccontextmanager
async def calling(served: Served) -> AsyncIterator[Caller]:
    """A client whose connections are closed afterwards."""
    with closing(Caller(served)) as caller:
        yield caller


def passport_of(served: Served, principal: str, *capabilities: str, tenant: str = "local") -> str:
    """A passport of somebody with no more than these rights."""
    world = served.omega.world
    bearer = Bearer(tenant=tenant, principal=principal, roles=("guest",), capabilities=capabilities)
    return passport_for(world.authority, world.entropy, bearer, ttl_s=600, now_us=world.clock.now_us())


def secret_of(user: str, server: str) -> str:
    return f"what-{user.partition(':')[2]}-left-for-the-{server}-server"


@pytest.mark.slow
@pytest.mark.promise("ATTACK-05")
@pytest.mark.promise("MCP-11")
def test_three_users_and_two_servers_never_mix_under_concurrency(tmp_path: Path, faults: list[str]) -> None:
    """Each call carries who made it in its arguments, and each server notes which credential came with it."""

    async def scenario() -> None:
        async with notebook() as (first, one), notebook() as (second, two), serving(tmp_path / "home") as served, calling(served) as caller:
            omega = served.omega
            for name, url in zip(SERVERS, (one, two), strict=True):
                described = await omega.describe(http_upstream(name, url))
                await omega.accept(http_upstream(name, url, headers={"X-Token": f"Bearer user:for_{name}"}), described)
            for user in USERS:
                for server in SERVERS:
                    body = sealed(omega.world.keyring, "local", user, f"for_{server}", secret_of(user, server))
                    await omega.arrange(CREDENTIAL, document_name("local", user, f"for_{server}"), body)
            passports = {user: omega.passport(Identified(user, ("owner",))) for user in (*USERS, "person:eve")}

            async def call(user: str, server: str, n: int) -> dict[str, Any]:
                return await caller.call(f"{server}__echo", {"text": f"{user} {server} {n}"}, passport=passports[user])

            asked = [(user, server, n) for n in range(ROUNDS) for server in SERVERS for user in USERS]
            answers = await asyncio.gather(*(call(*each) for each in asked), call("person:eve", "first", 0))
            assert code_of(answers.pop()) == "OMG-M001", "whoever left nothing is called for with nobody's"
            assert [text_of(each) for each in answers] == [f"{user} {server} {n}" for user, server, n in asked]
            for name, server_ in zip(SERVERS, (first, second), strict=True):
                calls = [each for each in server_.requests if each[0] == "tools/call"]
                assert len(calls) == ROUNDS * len(USERS)
                for _, headers, params in calls:
                    user = params["arguments"]["text"].partition(" ")[0]
                    assert headers["x-token"] == f"Bearer {secret_of(user, name)}"
                _nothing_of_the_callers(server_.requests, list(passports.values()))

    asyncio.run(scenario())


def _nothing_of_the_callers(requests: list[tuple[str, dict[str, str], dict[str, Any]]], passports: list[str]) -> None:
    """No passport was handed on, in a header or in the body, and no header that a caller sent."""
    told = json.dumps(requests)
    assert not any(passport in told or passport.rpartition(".")[2] in told for passport in passports)
    assert not any({"authorization", "cookie", "dpop", "omega-budget"} & headers.keys() for _, headers, _ in requests)


@pytest.mark.promise("ATTACK-05")
def test_an_execution_is_told_to_whoever_started_it_alone(tmp_path: Path, faults: list[str]) -> None:
    """`_meta["omega/execution"]` asks how an earlier call ended; with somebody else's it is a confused deputy's."""

    async def scenario() -> None:
        async with notebook() as (_, url), serving(tmp_path / "home", [http_upstream("notes", url)]) as served, calling(served) as caller:
            mine = await caller.call("notes__echo", {"text": "for-the-owner-alone"})
            execution = mine["result"]["_meta"]["omega/execution"]
            eve = passport_of(served, "person:eve", "tools:call")
            far = passport_of(served, "person:ada", "*", tenant="ten_0000000000000000000000000000000f")
            for stranger in (eve, far, served.omega.passport("agent:bot")):
                answer = await _again(caller, execution, stranger)
                assert "for-the-owner-alone" not in json.dumps(answer), answer
                assert code_of(answer) == "OMG-I003" or answer.get("error"), answer
            assert "for-the-owner-alone" in json.dumps(await _again(caller, execution, served.passport))

    asyncio.run(scenario())


async def _again(caller: Caller, execution: str, passport: str) -> dict[str, Any]:
    params = {"name": "notes__echo", "arguments": {"text": "x"}, "_meta": {**META, "omega/execution": execution}}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {passport}", "MCP-Protocol-Version": NEWER}
    headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "notes__echo"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    answer = await caller.pool.ask("POST", body, headers)
    found: dict[str, Any] = json.loads(await caller.pool.whole(answer))
    return found


MISMATCHES: dict[str, Mapping[str, str]] = {
    "another tool": {"Mcp-Name": "notes__slow"},
    "another method": {"Mcp-Method": "tools/list"},
    "another tool, encoded": {"Mcp-Name": "=?base64?bm90ZXNfX3Nsb3c=?="},
    "a revision that is none": {"MCP-Protocol-Version": "2026-07-29"},
    "no name": {"Mcp-Name": ""},
}


@pytest.mark.promise("ATTACK-01")
def test_what_a_header_says_and_the_body_does_not_is_done_by_neither(tmp_path: Path, faults: list[str]) -> None:
    async def scenario() -> None:
        async with (
            notebook() as (server, url),
            serving(tmp_path / "home", [http_upstream("notes", url)]) as served,
            calling(served) as caller,
        ):
            for name, changed in MISMATCHES.items():
                before = server.count("tools/call")
                params = {"name": "notes__echo", "arguments": {"text": "x"}, "_meta": META}
                headers = {"Content-Type": "application/json", "Authorization": f"Bearer {served.passport}", "MCP-Protocol-Version": NEWER}
                headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "notes__echo", **changed}
                body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
                answer = await caller.pool.ask("POST", body, headers)
                text = await caller.pool.whole(answer)
                assert answer.status == 400 and json.loads(text)["error"]["code"] in (-32020, -32022, -32602, -32004), (name, text)
                assert server.count("tools/call") == before, name

    asyncio.run(scenario())


LOOKALIKES = (
    "notes__ech\u043e",
    "notes__echo\u200b",
    "notes__\u0435cho",
    "NOTES__ECHO",
    "notes__echo ",
    "notes__echo\x00",
    "notes/echo",
    "\uff4eotes__echo",
)


@pytest.mark.promise("ATTACK-01")
def test_a_name_that_looks_like_a_tools_is_none(tmp_path: Path, faults: list[str]) -> None:
    async def scenario() -> None:
        async with (
            notebook() as (server, url),
            serving(tmp_path / "home", [http_upstream("notes", url)]) as served,
            calling(served) as caller,
        ):
            session = {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {served.passport}",
                "MCP-Protocol-Version": "2025-11-25",
            }
            for name in LOOKALIKES:
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {"text": "x"}}}
                answer = await caller.pool.ask("POST", json.dumps(body).encode(), session)
                found = json.loads(await caller.pool.whole(answer))
                assert found["error"]["code"] == -32602, (name, found)
            assert server.count("tools/call") == 0

    asyncio.run(scenario())


AT_MOST = 7


@pytest.mark.promise("ATTACK-08")
@pytest.mark.slow
def test_asking_through_every_entrance_at_once_finds_no_more_room(tmp_path: Path, faults: list[str]) -> None:
    """A limit of so many requests a day on a tool, asked for at once over HTTP, MCP of both eras and a virtual server."""

    async def scenario() -> None:
        virtual = {"shown": {"tools": [{"tool": "notes/echo", "as": "say"}]}}
        async with notebook() as (server, url), serving(tmp_path / "home", [http_upstream("notes", url)], virtual=virtual) as served:
            body = {"of": "requests", "amount": AT_MOST, "window_s": 86_400, "tenant": "*", "principal": "", "flow": "notes/echo"}
            await served.omega.arrange(LIMIT, "seven", body)
            base = served.url.removesuffix("/mcp")
            headers = {"authorization": f"Bearer {served.passport}"}
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False) as client:

                async def over_http(n: int) -> bool:
                    answer = await client.post("/api/v1/tools/notes/echo/call", json={"text": f"{n}"})
                    assert answer.status_code in (200, 429), answer.text
                    return answer.status_code == 200

                async def over_mcp(n: int, path: str, tool: str) -> bool:
                    request = {"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": tool, "arguments": {"text": "x"}}}
                    answer = await client.post(path, json=request, headers={"mcp-protocol-version": "2025-11-25"})
                    return not answer.json()["result"].get("isError", False)

                calls = [over_http(n) for n in range(20)] + [over_mcp(n, "/mcp", "notes__echo") for n in range(20)]
                calls += [over_mcp(n, "/mcp/shown", "say") for n in range(20)]
                done = await asyncio.gather(*calls)
            assert sum(done) == AT_MOST == server.count("tools/call")

    asyncio.run(scenario())
