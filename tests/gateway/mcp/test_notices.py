"""What clients are told without asking, what holds for methods that are offered as tools, and streams that break off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import Served, http_upstream, serving
from omega.adapters.mcp import Limits
from omega.adapters.mcp.http import Answer, Pool
from omega.adapters.mcp.streamable import HttpSession
from omega.host.identity import Caller
from omega.kernel.context import Context
from omega.kernel.ports import Search
from omega.kernel.service import Manifest, Offer, method, methods_of
from omega.wire.sse import Reader
from servers.everything_mcp import everything
from servers.suite_client import Person

PATIENCE_S = 60.0
WATCHED = "test://watched-resource"
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
NEWER, OLDER = {"MCP-Protocol-Version": "2026-07-28"}, {"MCP-Protocol-Version": "2025-11-25"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
MANIFEST = Manifest(name="shelf", version="1.0.0", summary="books", home="nowhere:Shelf")


class Client:
    """A client that reads streams as they come."""

    def __init__(self, served: Served) -> None:
        self.pool = Pool(served.url, {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}, 1 << 20)
        self.served, self.headers = served, dict(served.headers)

    async def send(self, method: str, params: dict[str, Any], headers: dict[str, str], id: int = 1) -> Answer:
        """The answer to a request whose body is still to be read."""
        named = {"Mcp-Method": method} | ({"Mcp-Name": params["name"]} if "name" in params else {})
        more = named if "_meta" in params else {}
        body = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()
        return await self.pool.ask("POST", body, {**self.headers, **headers, **more})

    async def ask(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> Any:
        """The result or error of a request that is answered by a body."""
        answer = json.loads(await self.pool.whole(await self.send(method, params, headers)))
        return answer.get("result") or answer.get("error")

    async def call(self, tool: str, headers: dict[str, str], meta: dict[str, Any] | None = None, **arguments: Any) -> Any:
        """The result of a call."""
        params = {"name": tool, "arguments": arguments, **({} if meta is None else {"_meta": meta})}
        return await self.ask("tools/call", params, headers)


@asynccontextmanager
async def reading(client: Client, answer: Answer) -> AsyncIterator[Any]:
    """What gives the next message on a stream."""
    reader, ready = Reader(1 << 20), asyncio.Queue[Any]()
    assert (answer.status, answer.kind) == (200, "text/event-stream")

    async def pump() -> None:
        async for piece in client.pool.pieces(answer):
            for event in reader.feed(piece):
                ready.put_nowait(json.loads(event.data))

    async def message() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await ready.get()

    task = asyncio.create_task(pump())
    try:
        yield message
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def client_of_everything(home: Path) -> AsyncIterator[tuple[Any, Client]]:
    async with everything() as (server, url), serving(home, [http_upstream("test", url)]) as served:
        client = Client(served)
        try:
            yield server, client
        finally:
            client.pool.close()


@pytest.mark.slow
@pytest.mark.promise("MCP-15")
def test_client_of_the_newer_era_is_told_of_what_it_watches_and_of_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client_of_everything(tmp_path / "home") as (_, client):
            wanted = {"resourceSubscriptions": [WATCHED, "test://absent"], "promptsListChanged": True}
            answer = await client.send("subscriptions/listen", {"notifications": wanted, "_meta": META}, NEWER, id=77)
            async with reading(client, answer) as message:
                acknowledged = (await message())["params"]
                assert acknowledged["notifications"] == {"resourceSubscriptions": [WATCHED], "promptsListChanged": True}
                await client.call("test__test_trigger_tool_change", NEWER, META)
                await client.call("test__test_touch_resource", NEWER, META)
                told = await message()
                assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", WATCHED)
                assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 77
                await client.call("test__test_trigger_prompt_change", NEWER, META)
                assert (await message())["method"] == "notifications/prompts/list_changed"
            ended = Search(tenant="local", flow="test/mcp.resources.unsubscribe")
            async with asyncio.timeout(PATIENCE_S):
                while not client.served.omega.store.search(ended):
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("MCP-15")
def test_session_of_the_older_era_is_told_on_its_own_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client_of_everything(tmp_path / "home") as (server, client):
            hello = await client.send("initialize", HELLO, {})
            await client.pool.whole(hello)
            session = {**OLDER, "Mcp-Session-Id": hello.headers["mcp-session-id"]}
            assert await client.ask("resources/subscribe", {"uri": "test://absent"}, session) | {"message": ""} == {
                "code": -32002,
                "message": "",
                "data": {"uri": "test://absent"},
            }
            assert await client.ask("resources/subscribe", {"uri": WATCHED}, session) in ({}, None)
            await client.call("test__test_touch_resource", session)
            stranger = {"Authorization": "Bearer " + "x" * 40}
            assert (await client.pool.ask("GET", b"", {**client.headers, **session, **stranger})).status == 401
            assert (await client.pool.ask("GET", b"", {**client.headers, **OLDER})).status == 400
            async with reading(client, await client.pool.ask("GET", b"", {**client.headers, **session})) as message:
                assert (await message())["params"] == {"uri": WATCHED}, "it changed before the stream began, after it was subscribed to"
                await client.call("test__test_trigger_tool_change", session)
                assert (await message())["method"] == "notifications/tools/list_changed"
                await client.ask("resources/unsubscribe", {"uri": WATCHED}, session)
                assert server.count("resources/unsubscribe") == 1
                await client.call("test__test_touch_resource", session)
                await client.call("test__test_trigger_prompt_change", session)
                assert (await message())["method"] == "notifications/prompts/list_changed"

    asyncio.run(scenario())


class Shelf:
    """A service whose methods have terms."""

    @method(rate="2/h", entrances=("mcp",))
    def rare(self, n: int) -> int:
        """Seldom."""
        return n

    @method(effect="idempotent", keyed=True, entrances=("mcp",))
    async def lend(self, ctx: Context, title: str) -> str:
        """Lend a book, once for each key."""
        return title


OFFERS = [Offer("shelf", name, made, how) for name, (made, how) in methods_of(MANIFEST, Shelf()).items()]


@pytest.mark.slow
@pytest.mark.promise("MCP-16")
def test_terms_of_a_method_hold_for_calls_as_a_tool(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "home", offered=OFFERS) as served:
            client = Client(served)

            async def code(tool: str, headers: dict[str, str] | None = None, **arguments: Any) -> str:
                result = await client.call(tool, {**NEWER, **(headers or {})}, META, **arguments)
                return str(result.get("_meta", {}).get("omega/error", {}).get("code", "done"))

            assert [await code("shelf__rare", input=n) for n in range(3)] == ["done", "done", "OMG-G007"]
            refused = await client.call("shelf__rare", NEWER, META, input=1)
            assert refused["_meta"]["omega/error"]["retry_after_s"] > 1_000
            bob = {"Authorization": f"Bearer {served.omega.passport(Caller('person:bob', ('owner',)))}"}
            assert await code("shelf__rare", bob, input=1) == "done"
            assert await code("shelf__lend", input="a") == "OMG-G001"
            assert await code("shelf__lend", {"Idempotency-Key": "x" * 256}, input="a") == "OMG-G001"
            key = META | {"omega/idempotency-key": "k1"}
            first = await client.call("shelf__lend", NEWER, key, input="a")
            again = await client.call("shelf__lend", {**NEWER, "Idempotency-Key": "ignored"}, key, input="a")
            assert first["_meta"]["omega/execution"] == again["_meta"]["omega/execution"]
            assert again["content"] == first["content"]
            assert await code("shelf__lend", {"Idempotency-Key": "k1"}, input="b") == "OMG-G010"
            client.pool.close()

    asyncio.run(scenario())


@pytest.mark.promise("MCP-14")
def test_stream_that_breaks_off_is_asked_for_again_and_asides_find_the_one_caller(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with everything() as (server, url):
            session = HttpSession("it", url, {}, Limits(), (), older=True)
            await session.start(PATIENCE_S)
            try:
                result = await session.call("test_reconnection", {}, {}, PATIENCE_S, more={}, guest=None)
                assert result["content"][0]["text"] == "reconnected"
                (held,) = server.sessions.values()
                assert held.later == {}, "it was asked for once, by the id of its last event"
                heard = [Person(), Person()]
                heard[1].whose = "somebody else"
                for person in heard:  # the token of a call that is no longer open belongs to nobody, and two callers share no asides
                    await session.call("test_simple_text", {}, {}, PATIENCE_S, more={}, guest=person)
                    assert session._company.meant({"progressToken": 1}) is None
            finally:
                await session.close()

    asyncio.run(scenario())
