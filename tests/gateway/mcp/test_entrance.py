"""The MCP entrance over a real listener, in front of a real tool server: both eras, every call governed, no request that breaks it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import Served, http_upstream, serving
from omega.adapters.mcp.http import Answer, Pool
from omega.host.credentials import CREDENTIAL, document_name, sealed
from omega.host.identity import Caller
from omega.kernel.journal import Kind
from omega.kernel.ports import Search
from omega.wire.mcp.eras import HEADER_MISMATCH
from servers.notebook_mcp import RICH, notebook

SERVERS = Path(__file__).resolve().parents[2] / "servers"
PATIENCE_S = 60.0
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
NEWER = {"MCP-Protocol-Version": "2026-07-28"}
OLDER = {"MCP-Protocol-Version": "2025-11-25"}


@pytest.fixture(scope="module")
def tools() -> Iterator[str]:
    """The address of a well-behaved tool server on the official SDK."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SERVERS / "sdk_mcp.py"), "http", str(port)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait()


class Client:
    """Sends what it is told to, byte for byte."""

    def __init__(self, served: Served, name: str = "") -> None:
        self.served = served
        self.pool = Pool(served.url + (f"/{name}" if name else ""), {}, 1 << 24)

    async def post(self, body: Any, headers: dict[str, str] | None = None, **replaced: str) -> tuple[Answer, Any]:
        """The answer to a POST, and its body as JSON (None: it is none)."""
        known = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **self.served.headers}
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.pool.ask("POST", sent, {**known, **(headers or {}), **replaced})
        text = await self.pool.whole(answer)
        try:
            return answer, json.loads(text)
        except ValueError:
            return answer, None

    async def newer(self, method: str, **params: Any) -> tuple[Answer, Any]:
        """A request of the newer era, with the headers that belong to it."""
        headers = {**NEWER, "Mcp-Method": method} | ({"Mcp-Name": str(params["name"])} if "name" in params else {})
        return await self.post({"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": META}}, headers)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a call in the newer era."""
        answer, body = await self.newer("tools/call", name=tool, arguments=arguments)
        assert answer.status == 200, body
        result: dict[str, Any] = body["result"]
        return result


@asynccontextmanager
async def client(home: Path, *upstreams: str, name: str = "", **options: Any) -> AsyncIterator[Client]:
    named = [http_upstream("orderly", url) for url in upstreams]
    async with serving(home, named, **options) as served:
        made = Client(served, name)
        try:
            yield made
        finally:
            made.pool.close()


@pytest.mark.promise("MCP-01")
def test_newer_era_from_discovery_to_a_governed_call(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home", tools) as it:
            _, found = await it.newer("server/discover")
            assert "2026-07-28" in found["result"]["supportedVersions"]
            assert found["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "omega"
            _, listed = await it.newer("tools/list")
            names = {tool["name"]: tool for tool in listed["result"]["tools"]}
            assert {"orderly__add", "orderly__put", "find_tools"} <= names.keys()
            assert names["orderly__add"]["annotations"] == {"readOnlyHint": True}
            assert listed["result"]["cacheScope"] == "private"
            result = await it.call("orderly__add", a=1, b=2)
            assert result["structuredContent"] == {"result": 3}
            execution = result["_meta"]["omega/execution"]
            line = it.served.omega.store.line(execution)
            assert line is not None
            assert (line.flow, line.status) == ("orderly/add", "done")
            leaves = it.served.omega.store.leaves(line.tenant)
            assert len(leaves) >= 4, "entry, admit, result and end are in the log"
            (entry,) = (each for leaf in leaves if (each := json.loads(leaf)).get("kind") == "entry" and each["execution"] == execution)
            (outcome,) = (each for leaf in leaves if (each := json.loads(leaf)).get("kind") == "outcome" and each["execution"] == execution)
            assert outcome["bytes_out"] == len(b'{"a":1,"b":2}') and outcome["bytes_in"] > 10, "how much went and came is in the log"
            assert (entry["address"], entry["agent"]) == ("127.0.0.1", "omega"), "who called from where is in the log"

    asyncio.run(scenario())


@pytest.mark.promise("MCP-02")
def test_older_era_with_a_session_that_nobody_keeps(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        wanted = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "c", "version": "1"}}
        async with client(tmp_path / "home", tools) as it:
            answer, body = await it.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": wanted})
            session = answer.headers["mcp-session-id"]
            assert body["result"]["protocolVersion"] == "2025-11-25"
            headers = {**OLDER, "Mcp-Session-Id": session}
            assert (await it.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, headers))[0].status == 202
        async with client(tmp_path / "other", tools) as other:  # another process would do as well: nothing of the session was kept
            request = {
                "jsonrpc": "2.0",
                "id": "x",
                "method": "tools/call",
                "params": {"name": "orderly__add", "arguments": {"a": 2, "b": 2}},
            }
            _, body = await other.post(request, headers)
            assert body["result"]["structuredContent"] == {"result": 4}
            assert not {"resultType", "ttlMs", "cacheScope"} & body["result"].keys()
            answer, _ = await other.post(request, {**OLDER, "Mcp-Session-Id": "o1.bm9uc2Vuc2U"})
            assert answer.status == 404
            _, body = await other.post({"jsonrpc": "2.0", "id": 3, "method": "ping"}, headers)
            assert body == {"jsonrpc": "2.0", "id": 3, "result": {}}

    asyncio.run(scenario())


@pytest.mark.promise("MCP-01")
def test_official_client_speaks_with_it_in_both_eras(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        from mcp import Client as Official

        async with serving(tmp_path / "home", [http_upstream("orderly", tools)], open_door=True) as served:
            for mode in ("2026-07-28", "legacy"):
                async with Official(served.url, mode=mode) as official:
                    listed = await official.list_tools()
                    assert "orderly__put" in [tool.name for tool in listed.tools]
                    result = await official.call_tool("orderly__put", {"key": "a", "value": "b"})
                    assert result.structured_content == {"a": "b"}
                    assert (await official.list_prompts()).prompts == []
                    failed = await official.call_tool("orderly__add", {"a": "one", "b": 2})
                    assert failed.is_error
                    assert "/a" in failed.content[0].text

    asyncio.run(scenario())


@pytest.mark.promise("MCP-03")
def test_whoever_has_no_good_passport_learns_where_to_get_one_and_nothing_else(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home", tools) as it:
            for bad in ("", "Bearer x", "Bearer " + it.served.passport[:-3] + "abc", "Basic x"):
                answer, body = await it.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, Authorization=bad)
                assert answer.status == 401
                assert "resource_metadata=" in answer.headers["www-authenticate"]
                assert "orderly" not in json.dumps(body)

    asyncio.run(scenario())


@pytest.mark.promise("MCP-04")
def test_refusals_explain_themselves_and_an_empty_list_says_why(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home", tools) as it:
            agent = {"Authorization": f"Bearer {it.served.omega.passport('agent:helper')}"}
            request = {"name": "orderly__wait", "arguments": {"seconds": 0}, "_meta": META}
            headers = {**NEWER, "Mcp-Method": "tools/call", "Mcp-Name": "orderly__wait"}
            _, body = await it.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": request}, headers | agent)
            result = body["result"]
            assert result["isError"]
            assert result["_meta"]["omega/error"]["code"] == "OMG-W001"
            assert result["_meta"]["omega/error"]["policies"]
            _, body = await it.newer("resources/list")
            assert body["result"]["resources"] == []
            assert body["result"]["_meta"]["omega/empty"]["reason"]
        virtual = {"nothing": {"tools": [{"tool": "absent/*"}]}}
        async with client(tmp_path / "fresh", virtual=virtual) as fresh:
            empty = Client(fresh.served, "nothing")
            _, body = await empty.newer("tools/list")
            assert body["result"]["tools"] == []
            assert "omega mcp add" in body["result"]["_meta"]["omega/empty"]["reason"]
            empty.pool.close()
            _, body = await fresh.newer("tools/call", name="nothing", arguments={})
            assert body["error"]["code"] == -32602

    asyncio.run(scenario())


@pytest.mark.promise("MCP-05")
def test_virtual_server_is_an_allow_list_with_names_of_its_own(tools: str, tmp_path: Path) -> None:
    virtual = {
        "sums": {
            "title": "Sums",
            "instructions": "adds",
            "prefix": False,
            "search": False,
            "tools": [
                {"tool": "orderly/*", "hidden": True},
                {"tool": "orderly/add", "as": "plus", "description": "Adds, for you."},
                {"tool": "orderly/put", "approval": "reviewer"},
            ],
        },
        "inner": {"tools": [{"tool": "orderly/add"}], "groups": ["inner-circle"]},
    }

    async def scenario() -> None:
        async with client(tmp_path / "home", tools, name="sums", virtual=virtual) as it:
            _, body = await it.newer("tools/list")
            assert {tool["name"]: tool["description"] for tool in body["result"]["tools"]} == {
                "plus": "Adds, for you.",
                "put": "Put a value under a key.",
            }
            assert (await it.call("plus", a=1, b=1))["structuredContent"] == {"result": 2}
            for hidden in ("orderly__add", "add", "wait", "orderly__wait", "find_tools"):
                _, body = await it.newer("tools/call", name=hidden, arguments={})
                assert body["error"]["code"] == -32602, hidden
            reviewer = it.served.omega.passport(Caller("person:rita", ("owner", "reviewer")))
            held = await it.call("put", key="a", value="b")
            assert held["isError"]
            execution = held["_meta"]["omega/execution"]
            assert it.served.omega.store.line(execution).status == "waiting"  # type: ignore[union-attr]
            visitor = it.served.house.visitor({"authorization": f"Bearer {reviewer}"}, method="POST", url=it.served.url, address="")
            await it.served.house.decide(execution, "approve", {}, visitor)
            assert await _until(lambda: it.served.omega.store.line(execution).status == "done")  # type: ignore[union-attr]
            asked = {"name": "put", "arguments": {}, "_meta": {**META, "omega/execution": execution}}
            headers = {**NEWER, "Mcp-Method": "tools/call", "Mcp-Name": "put"}
            _, body = await it.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}, headers)
            assert body["result"]["structuredContent"] == {"a": "b"}, "approved, it went on, and its end is there"
            inner = Client(it.served, "inner")
            _, body = await inner.newer("tools/list")
            assert "no virtual server" in body["error"]["message"]
            await it.served.omega.dissolve("virtual-server", "sums")
            assert await _until(lambda: "sums" not in it.served.omega.store.documents("virtual-server"))
            inner.pool.close()

    asyncio.run(scenario())


async def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.mark.promise("MCP-06")
def test_client_that_goes_away_has_cancelled_its_call(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with notebook() as (notes, url), client(tmp_path / "home", url) as it:
            task = asyncio.create_task(it.call("orderly__slow"))
            assert await _until(lambda: notes.count("tools/call") == 1)
            task.cancel()
            it.pool.close()
            assert await _until(lambda: notes.left == 1)
            search = Search(tenant="local", flow="orderly/slow")
            assert await _until(lambda: it.served.omega.store.search(search)[0].status == "cancelled")

    asyncio.run(scenario())


@pytest.mark.promise("MCP-06")
def test_client_of_the_older_era_cancels_by_saying_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with notebook() as (notes, url), client(tmp_path / "home", url) as it:
            params = {"name": "orderly__slow", "arguments": {}}
            task = asyncio.create_task(it.post({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params}, OLDER))
            assert await _until(lambda: notes.count("tools/call") == 1)
            other = Client(it.served)
            said = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
            assert (await other.post(said, OLDER))[0].status == 202
            _, body = await task
            assert body["result"]["isError"]
            other.pool.close()

    asyncio.run(scenario())


@pytest.mark.promise("MCP-06")
@pytest.mark.parametrize("stolen", [False, True])
def test_nobody_cancels_what_another_caller_asked_for(tmp_path: Path, stolen: bool) -> None:
    """Two people who share nothing, and one who knows the id of the other's session."""

    async def scenario() -> None:
        async with notebook() as (notes, url), client(tmp_path / "home", url) as it:
            wanted = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
            opened, _ = await it.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": wanted})
            own = {**OLDER, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
            params = {"name": "orderly__slow", "arguments": {}}
            task = asyncio.create_task(it.post({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params}, own))
            assert await _until(lambda: notes.count("tools/call") == 1)
            mallory = {"Authorization": f"Bearer {it.served.omega.passport(Caller('person:mallory', ('owner',)))}"}
            said = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
            other = Client(it.served)
            assert (await other.post(said, {**(own if stolen else OLDER), **mallory}))[0].status == 202
            (line,) = it.served.omega.store.search(Search(tenant=it.served.omega.settings.tenant, flow="orderly/slow"))
            assert line.status == "running" and not task.done()
            assert not any(row.kind == Kind.CANCEL for row in it.served.omega.store.rows(line.execution)), "nothing was decided"
            assert (await other.post(said, own))[0].status == 202
            _, body = await task
            assert body["result"]["isError"]
            other.pool.close()

    asyncio.run(scenario())


@pytest.mark.promise("MCP-13")
def test_warm_call_is_one_request_and_its_whole_answer_arrives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with notebook() as (notes, url), client(tmp_path / "home", url) as it:
            await it.call("orderly__echo", text="warm")
            before = len(notes.requests)
            for number in range(10):
                assert (await it.call("orderly__echo", text=str(number)))["content"] == [{"type": "text", "text": str(number)}]
            assert [each[0] for each in notes.requests[before:]] == ["tools/call"] * 10
            assert (await it.call("orderly__rich"))["content"] == RICH
            assert (await it.call("orderly__echo", text="fail"))["isError"]
            answer, body = await it.newer("tools/call", name="orderly__broken", arguments={})
            assert (answer.status, body["error"]["code"]) == (400, -32021)
            assert body["error"]["data"] == {"requiredCapabilities": {"sampling": {}}}

    asyncio.run(scenario())


def test_resources_and_prompts_are_governed_reads_of_their_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with notebook() as (notes, url), client(tmp_path / "home", url) as it:
            _, body = await it.newer("resources/list")
            assert [each["uri"] for each in body["result"]["resources"]] == ["note://one"]
            await it.newer("resources/list")
            assert notes.count("resources/list") == 1, "a list is asked for once in a while"
            for uri, known in (("note://one", True), ("note://monday/page", True), ("note://two", False)):
                headers = {**NEWER, "Mcp-Method": "resources/read", "Mcp-Name": uri}
                request = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri, "_meta": META}}
                _, body = await it.post(request, headers)
                assert ("result" in body) == known, uri
            _, body = await it.newer("prompts/list")
            assert [each["name"] for each in body["result"]["prompts"]] == ["orderly__greet"]
            _, body = await it.newer("prompts/get", name="orderly__greet", arguments={"who": "you"})
            assert body["result"]["messages"][0]["content"]["text"] == "greet {'who': 'you'}"
            flows = {line.flow for line in it.served.omega.store.search(Search(tenant="local"))}
            assert {"orderly/mcp.resources.read", "orderly/mcp.prompts.get"} <= flows

    asyncio.run(scenario())


@pytest.mark.promise("MCP-11")
def test_credentials_are_the_callers_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with notebook() as (notes, url), client(tmp_path / "home") as it:
            omega = it.served.omega
            upstream = http_upstream("orderly", url, headers={"X-Token": "user:token"})
            open_one = http_upstream("orderly", url)
            await omega.accept(upstream, await omega.describe(open_one))
            owner = f"person:{omega.settings.person}"
            for principal, secret in ((owner, "s3cret-of-the-owner"), ("person:bob", "s3cret-of-bob")):
                body = sealed(omega.world.keyring, "local", principal, "token", secret)
                await omega.arrange(CREDENTIAL, document_name("local", principal, "token"), body)
            headers = {**NEWER, "Mcp-Method": "tools/call", "Mcp-Name": "orderly__echo"}
            request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
            params = {"name": "orderly__echo", "arguments": {"text": "x"}, "_meta": META}
            seen = []
            for principal in ("", "person:bob", "", "person:eve"):
                auth = {"Authorization": f"Bearer {omega.passport(Caller(principal, ('owner',)) if principal else '')}"}
                before = notes.count("tools/call")
                _, body = await it.post(request | {"params": params}, headers | auth)
                asked = [each for each in notes.requests if each[0] == "tools/call"][before:]
                seen.append(asked[0][1]["x-token"] if asked else body["result"]["_meta"]["omega/error"]["code"])
            assert seen == ["s3cret-of-the-owner", "s3cret-of-bob", "s3cret-of-the-owner", "OMG-M001"]

    asyncio.run(scenario())


@pytest.mark.promise("MCP-07")
def test_tool_that_says_something_else_is_blocked_and_listeners_are_told(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home", tools) as it:
            assert (await it.call("orderly__add", a=1, b=1))["structuredContent"] == {"result": 2}
            params = {"notifications": {"toolsListChanged": True}, "_meta": META}
            headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **NEWER, **it.served.headers}
            body = {"jsonrpc": "2.0", "id": "sub", "method": "subscriptions/listen", "params": params}
            stream = await it.pool.ask("POST", json.dumps(body).encode(), {**headers, "Mcp-Method": "subscriptions/listen"})
            heard = it.pool.pieces(stream)
            assert b"acknowledged" in await anext(heard)
            await it.call("orderly__grow")
            async with asyncio.timeout(PATIENCE_S):
                assert b"notifications/tools/list_changed" in await anext(heard)
            await heard.aclose()  # type: ignore[attr-defined]
            result = await it.call("orderly__add", a=1, b=1)
            assert result["isError"]
            assert result["_meta"]["omega/error"]["code"] == "OMG-M004"

    asyncio.run(scenario())


def test_methods_that_are_offered_to_mcp_are_tools(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home") as it:
            _, body = await it.newer("tools/list")
            shown = {tool["name"]: tool for tool in body["result"]["tools"]}["insights__summary"]
            assert shown["annotations"] == {"readOnlyHint": True}
            assert shown["inputSchema"]["type"] == "object"
            result = await it.call("insights__summary", hours=1)
            assert not result.get("isError"), result
            refused = await it.call("insights__summary", hours="many")
            assert refused["isError"]
            assert refused["_meta"]["omega/error"]["code"] == "OMG-I001"

    asyncio.run(scenario())


@pytest.mark.promise("MCP-08")
def test_search_finds_tools_by_what_they_do(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home", tools) as it:
            found = await it.call("find_tools", query="add numbers", limit=1)
            assert found["structuredContent"]["tools"][0]["name"] == "orderly__add"
            assert (await it.call("find_tools", query="zzz"))["content"][0]["text"]
            assert (await it.call("find_tools", query=7))["isError"]

    asyncio.run(scenario())


BOMBS: list[tuple[bytes, dict[str, str], int]] = [
    (b"", {}, 400),
    (b"nonsense", {}, 400),
    (b"[" + b'{"jsonrpc":"2.0","id":1,"method":"ping"},' * 5_000 + b"1]", {}, 400),
    (b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", {}, 400),
    (b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b',"method":"ping"}', {}, 400),
    (b'{"jsonrpc":"2.0","id":"' + b"x" * 100_000 + b'","method":"ping"}', {}, 400),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', {}, 400),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"Content-Type": "text/plain"}, 415),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"Accept": "text/html"}, 406),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"MCP-Protocol-Version": "2031-01-01"}, 400),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"Origin": "http://evil.example"}, 403),
]


@pytest.mark.promise("MCP-09")
def test_nothing_that_is_sent_breaks_it(tools: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(tmp_path / "home", tools) as it:
            for body, headers, status in BOMBS:
                lone = Client(it.served)
                try:
                    answer, _ = await lone.post(body, headers)
                    assert answer.status == status, (body[:60], headers, answer.status)
                finally:
                    lone.pool.close()
            for params in ({"name": 7}, {"name": ""}, {"name": "x" * 300}, {"name": "orderly__add", "arguments": []}, {"cursor": "-1"}):
                method = "tools/list" if "cursor" in params else "tools/call"
                headers = {**OLDER}
                _, said = await it.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers)
                assert said["error"]["code"] == -32602, params
            answer, said = await it.post(
                {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "orderly__add", "arguments": {}, "_meta": META}},
                {**NEWER, "Mcp-Method": "tools/call", "Mcp-Name": "orderly__put"},
            )
            assert (answer.status, said["error"]["code"]) == (400, HEADER_MISMATCH)
            assert (await it.call("orderly__add", a=1, b=2))["structuredContent"] == {"result": 3}, "it answers as before"

    asyncio.run(scenario())
