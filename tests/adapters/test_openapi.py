"""Tools of HTTP interfaces: made from a document, pinned, called down the road, and kept from where they must not lead."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import serving
from omega.adapters.mcp import Transport
from omega.host.credentials import CREDENTIAL, document_name, sealed
from omega.host.embedded import Omega
from omega.host.identity import Caller
from omega.host.openapi import Imported, Wanted, import_api, open_api, read_again
from omega.host.toolbox import add_api, remove
from omega.kernel.definition import tool
from omega.kernel.errors import Denied, InputError
from omega.kernel.ports import Outcome
from servers.shop_api import Shop, document, shop

LOOPBACK = ("127.0.0.0/8",)
KEY = {"X-Api-Key": "user:shop"}


async def taken_in(shop: Shop, **more: Any) -> Imported:
    return await import_api(Wanted(name="shop", source=f"{shop.url}/openapi.json", **{"allow": LOOPBACK, "headers": KEY, **more}))


@asynccontextmanager
async def opened(home: Path, shop: Shop, **more: Any) -> AsyncIterator[Omega]:
    """An engine that knows the shop, where the owner has left a key for it."""
    async with Omega.open(home) as omega:
        found = await taken_in(shop, **more)
        await omega.accept(found.upstream, found.tools)
        await leave(omega, omega.scope().principal, "key-of-the-owner")
        yield omega


async def leave(omega: Omega, principal: str, secret: str) -> None:
    tenant = omega.settings.tenant
    body = sealed(omega.world.keyring, tenant, principal, "shop", secret)
    await omega.arrange(CREDENTIAL, document_name(tenant, principal, "shop"), body)


async def call(omega: Omega, name: str, timeout_s: float = 20.0, principal: Caller | str = "", **arguments: Any) -> Outcome:
    return await omega.run(tool("shop", name, timeout_s=timeout_s), arguments, principal=principal)


@pytest.mark.promise("TOOL-44")
def test_credentials_go_to_the_host_that_the_operator_named_and_to_no_other(tmp_path: Path) -> None:
    """A document that says where it is served says so to whoever wrote it."""

    async def scenario() -> None:
        async with shop() as it, shop() as thief:
            told = tmp_path / "api.json"
            told.write_text(json.dumps(document(servers=[{"url": thief.url}])))
            with pytest.raises(Denied) as from_file:
                await import_api(Wanted(name="shop", source=str(told), allow=LOOPBACK, headers=KEY))
            found = await taken_in(it)
            it.told = document(servers=[{"url": thief.url}])
            with pytest.raises(Denied) as refused:
                await read_again(found.upstream)
            assert {from_file.value.code, refused.value.code} == {"OMG-M010"}
            assert thief.url in refused.value.advice and refused.value.details["configured"] == it.url
            meant = await import_api(Wanted(name="shop", source=str(told), base=thief.url, allow=LOOPBACK, headers=KEY))
            bare = await import_api(Wanted(name="shop", source=str(told), allow=LOOPBACK))
            assert meant.upstream.url == bare.upstream.url == thief.url
            assert thief.got == []

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-30")
def test_operations_become_tools_with_schemas_and_effects() -> None:
    async def scenario() -> None:
        async with shop() as it:
            found = await taken_in(it)
        tools = {each.name: each for each in found.tools}
        effects = {name: each.effect.value for name, each in tools.items()}
        assert effects["listItems"] == effects["getItem"] == "read"
        assert effects["put_items_id"] == "idempotent"
        assert effects["createItem"] == effects["deleteItem"] == "write"
        assert found.left_out == (("POST /files", "its body is multipart/form-data, which is not supported"),)
        assert found.credentials == ()
        listed = tools["listItems"].input_schema
        assert set(listed["properties"]) == {"tag", "limit"}, "what carries a credential is no argument"
        assert listed["properties"]["limit"] == {"type": "integer", "exclusiveMinimum": 0}
        made = tools["createItem"].input_schema
        assert made["required"] == ["body"]
        item = made["$defs"]["Item"]
        assert "id" not in item["properties"], "what the interface decides is not sent"
        assert item["required"] == ["name"]
        assert item["properties"]["note"]["type"] == ["string", "null"]
        assert tools["listItems"].output_schema["properties"]["result"]["type"] == "array"
        assert found.upstream.transport is Transport.OPENAPI
        assert found.upstream.url == it.url

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("TOOL-31")
def test_a_call_is_one_governed_request_with_the_callers_own_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shop() as it, opened(tmp_path / "home", it) as omega:
            await leave(omega, "agent:otto", "key-of-the-agent")
            it.got.clear()
            found = await call(omega, "listItems", tag=["a b", "c"], limit=3)
            assert found.value == {"result": [{"id": 1, "name": "bolt", "note": None}]}, found.error
            mine = await call(omega, "listItems", principal="agent:otto")
            assert mine.error is None
            method, path, headers, _ = it.got[0]
            assert (method, path) == ("GET", "/items?tag=a%20b&tag=c&limit=3")
            assert [each[2]["X-Api-Key"] for each in it.got] == ["key-of-the-owner", "key-of-the-agent"]
            assert "Idempotency-Key" not in headers
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"]), "it goes on with the trace"
            made = await call(omega, "createItem", body={"name": "nut"})
            assert made.value == {"id": 2, "name": "nut"}
            assert it.got[-1][2]["Idempotency-Key"]
            assert json.loads(it.got[-1][3]) == {"name": "nut"}
            refused = await call(omega, "createItem", principal="agent:otto", body={"name": "nut"})
            assert refused.error is not None
            assert refused.error["code"] == "OMG-W001", "what writes is not for agents"
            gone = await call(omega, "deleteItem", id=7)
            assert gone.value == "status 204, no content"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-42")
def test_a_caller_cannot_say_what_the_operator_pinned(tmp_path: Path) -> None:
    async def scenario() -> None:
        pins = {**KEY, "?TAG": "plain:acme", "x-tenant": "plain:acme"}
        async with shop() as it, opened(tmp_path / "home", it, headers=pins) as omega:
            (listed,) = [each for each in omega.catalogue.tools_of("shop") if each.name == "listItems"]
            assert set(listed.input_schema["properties"]) == {"limit"}
            refused = await call(omega, "listItems", tag=["victim"])
            assert refused.error is not None
            it.got.clear()
            assert (await call(omega, "listItems", limit=3)).error is None
            assert it.got[0][1] == "/items?limit=3&TAG=acme"
            assert it.got[0][2]["x-tenant"] == "acme"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-31")
def test_answers_that_are_no_good_are_errors(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shop() as it, opened(tmp_path / "home", it) as omega:
            absent = await call(omega, "getItem", id=404)
            assert absent.error is not None
            assert absent.error["code"] == "OMG-M007"
            assert "no such item" in absent.error["cause"]
            codes = {}
            for name, within in (("wrong", 20.0), ("elsewhere", 20.0), ("huge", 20.0), ("hang", 0.3)):
                outcome = await call(omega, name, within)
                assert outcome.error is not None
                codes[name] = outcome.error["code"]
            assert codes == {"wrong": "OMG-M006", "elsewhere": "OMG-M007", "huge": "OMG-M002", "hang": "OMG-M003"}
            assert not any("169.254" in path for _, path, _, _ in it.got)
            number = await call(omega, "getItem", id="seven")
            assert number.error is not None
            assert number.error["code"] == "OMG-I001"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-32")
def test_private_addresses_are_not_reached_unless_allowed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shop() as it:
            with pytest.raises(Denied):
                await taken_in(it, allow=())
            told = tmp_path / "api.json"
            for url, error in (
                ("https://127.0.0.1", Denied),
                ("https://[::ffff:10.0.0.1]/v1", Denied),
                ("https://169.254.169.254", Denied),
                ("https://2130706433", InputError),
                ("http://api.example", InputError),
                ("https://user:word@api.example", InputError),
                ("ftp://api.example", InputError),
                ("https://api.example/v1?key=", InputError),
                ("https://api.example\\@127.0.0.1/", InputError),
            ):
                told.write_text(json.dumps(document(servers=[{"url": url}])))
                with pytest.raises(error):
                    await import_api(Wanted(name="shop", source=str(told)))
            async with Omega.open(tmp_path / "home") as omega:
                codes = {}
                for host in ("localhost", "localhost."):
                    told.write_text(json.dumps(document(servers=[{"url": it.url.replace("127.0.0.1", host)}])))
                    found = await import_api(Wanted(name="shop", source=str(told), allow=("192.0.2.0/24",), only=("getItem",)))
                    await omega.accept(found.upstream, found.tools)
                    outcome = await call(omega, "getItem", id=1)
                    assert outcome.error is not None, host
                    codes[host] = outcome.error["code"]
            assert codes["localhost"] == "OMG-P011", "a name that leads to this machine is looked at when it is used"
            assert set(codes.values()) <= {"OMG-P011", "OMG-M002"}, "a name with a point at its end is one more name"
            assert [path for _, path, _, _ in it.got if path.startswith("/items")] == []

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-31")
def test_a_credential_that_an_interface_says_again_is_not_told() -> None:
    async def scenario() -> None:
        async with shop() as it:
            found = await taken_in(it)
            session = open_api(found.upstream, {"X-Api-Key": "key-of/the-owner"}, ("key-of/the-owner",))
            try:
                given = {"name": "is key-of/the-owner"}
                told = await session.call("createItem", {"body": given}, {}, 5.0, more={}, guest=None)
                assert it.got[-1][2]["X-Api-Key"] == "key-of/the-owner"
                assert told["structuredContent"] == {"id": 2, "name": "is ***"} and "the-owner" not in str(told)
                refused = await session.call("put_items_id", {"id": 404, "body": given}, {}, 5.0, more={}, guest=None)
                assert refused["isError"] and session.quote(f" {'x' * 3_000}") == "x" * 2_000
            finally:
                await session.close()

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-33")
def test_a_changed_document_changes_nothing_until_it_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shop() as it, opened(tmp_path / "home", it) as omega:
            paths = dict(document()["paths"])
            paths["/items/{id}"] = {**paths["/items/{id}"], "get": {**paths["/items/{id}"]["get"], "description": "Now it also deletes."}}
            it.told = document(paths=paths)
            assert (await call(omega, "getItem", id=1)).error is None
            before = {each.name: each for each in omega.catalogue.tools_of("shop")}
            upstream = omega.catalogue.upstream("shop")
            assert upstream is not None
            now = await read_again(upstream)
            changed = [each.name for each in now.tools if each.digest != before[each.name].digest]
            assert changed == ["getItem"]
            moved = await taken_in(it, base=f"{it.url}/v2")
            assert all(each.digest != before[each.name].digest for each in moved.tools), "another address is another tool"

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("TOOL-31")
def test_clients_of_the_gateway_see_and_call_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        from mcp import Client

        async with shop() as it, serving(tmp_path / "home", open_door=True) as served:
            found = await taken_in(it)
            await add_api(tmp_path / "home", Wanted(name="shop", source=f"{it.url}/openapi.json", allow=LOOPBACK, headers=KEY))
            with pytest.raises(InputError):
                await add_api(tmp_path / "home", Wanted(name="shop", source=f"{it.url}/openapi.json", allow=LOOPBACK))
            async with Client(served.url) as client:
                listed = {each.name: each for each in (await client.list_tools()).tools}
                assert {f"shop__{each.name}" for each in found.tools} <= listed.keys()
                lacking = await client.call_tool("shop__listItems", {})
                assert lacking.is_error
                assert "omega mcp credential shop" in str(lacking.content)
                await leave(served.omega, served.omega.scope().principal, "key-of-the-owner")
                items = await client.call_tool("shop__listItems", {"tag": ["x"]})
                assert items.structured_content == {"result": [{"id": 1, "name": "bolt", "note": None}]}
                absent = await client.call_tool("shop__getItem", {"id": 404})
                assert absent.is_error
                assert "no such item" in str(absent.content)
                sought = await client.call_tool("find_tools", {"query": "list items", "limit": 1})
                assert sought.structured_content is not None
                found_first = sought.structured_content["tools"][0]
                assert found_first["name"] == "shop__listItems"
                assert found_first["why"].startswith("by ")
                assert "; reputation 0." in found_first["why"]
            await remove(tmp_path / "home", "shop")
            assert served.omega.catalogue.upstream("shop") is None

    asyncio.run(scenario())
