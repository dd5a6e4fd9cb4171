"""Registries both ways: what others list is read, pinned and searched; what is published here is listed by the official API, per tenant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mcp.serving import Served, serving
from hosted import Installation
from omega.adapters.mcp import ToolDescription, Transport, Upstream
from omega.gateway.mcp import View
from omega.host.acting import owner_passport
from omega.host.embedded import Omega
from omega.host.following import followed, search
from omega.host.listed import find, upstream_from
from omega.host.published import Publishing
from omega.host.reading import Archive
from omega.host.registry import ENTRY, REGISTRY, SYNC, Listing, accept_listing, listings, read_registry, shown_on, standing
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.scope import Scope
from omega.wire.registry import OFFICIAL, Listed, Wanted, answer, page_of, read_page
from servers.listing import Registry, entry, listing

LOOPBACK = ["127.0.0.0/8"]
HIDDEN = {"tools": [{"tool": "insights.summary"}], "groups": ["auditor"]}
VIRTUAL = {
    "reports": {"title": "Reports", "instructions": "What ran, in figures.", "tools": [{"tool": "insights.summary"}]},
    "audits": HIDDEN,
}


async def following(omega: Omega, it: Registry, **more: Any) -> None:
    await omega.arrange(REGISTRY, "public", {"url": it.url, "allow": LOOPBACK, **more})


async def read(omega: Omega) -> dict[str, Any]:
    told: dict[str, Any] = await omega.ask(read_registry, "public")
    return told


@asynccontextmanager
async def client(served: Served, passport: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    headers = served.headers if passport is None else {"Authorization": f"Bearer {passport}"} if passport else {}
    async with httpx.AsyncClient(base_url=served.url.removesuffix("/mcp"), headers=headers, trust_env=False, timeout=20) as made:
        yield made


@pytest.mark.promise("TOOL-36")
def test_a_registry_is_read_by_pages_from_where_it_broke_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        names = [f"io.github.acme/server-{number}" for number in range(5)]
        async with listing(*(entry(name) for name in names), page=2) as it, Omega.open(tmp_path / "home") as omega:
            await following(omega, it)
            it.broken[2] = (503, "{}")
            with pytest.raises(UpstreamError) as broken:
                await read(omega)
            assert broken.value.code == "OMG-M002"
            assert standing(omega.store, "public").entries == 2
            told = await read(omega)
            assert (told["pages"], told["kept"], told["changed"], told["refused"]) == (2, 3, [], [])
            assert [each.entry.name for each in listings(omega.store)] == names
            assert [query.get("cursor", "") for query in it.queries] == ["", f"{names[1]}@1.0.0", f"{names[1]}@1.0.0", f"{names[3]}@1.0.0"]
            await read(omega)
            assert "updated_since" in it.queries[-1], "the next reading asks for what has changed since this one began"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-37")
def test_what_was_read_is_pinned(tmp_path: Path) -> None:
    async def scenario() -> None:
        good, other = entry("io.github.acme/mail"), entry("io.github.acme/cal")
        async with listing(good, other) as it, Omega.open(tmp_path / "home") as omega:
            await following(omega, it, show=["io.github.acme/*"])
            await read(omega)
            later = "2999-01-01T00:00:00Z"
            evil = entry(good.name, updated=later, packages=[{"registryType": "npm", "identifier": "evil", "version": "1.0.0"}])
            it.entries = [evil, Listed(other.server, "deleted", other.published_at, later)]
            told = await read(omega)
            assert told["changed"] == ["io.github.acme/mail@1.0.0"]
            kept = {each.entry.name: each for each in listings(omega.store)}
            assert kept[good.name].entry.server == good.server, "what it says now does not count"
            assert kept[good.name].changed == evil.digest
            assert kept[other.name].entry.status == "deleted"
            with pytest.raises(InputError):
                await omega.ask(accept_listing, {"name": "public", "entry": "io.github.acme/none@1"})
            await omega.ask(accept_listing, {"name": "public", "entry": "io.github.acme/mail@1.0.0"})
            await read(omega)
            mended = next(each for each in listings(omega.store) if each.entry.name == good.name)
            assert (mended.entry.server, mended.changed) == (evil.server, "")

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-37")
def test_a_hostile_registry_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listing(entry("a.b/c")) as it, Omega.open(tmp_path / "home") as omega:
            with pytest.raises(Denied):
                await omega.arrange(REGISTRY, "public", {"url": it.url})
            await following(omega, it)
            said = [
                (200, "[]", "OMG-M006"),
                (200, '{"servers": 1}', "OMG-M006"),
                (200, '{"servers": [], "metadata": {"nextCursor": "' + "x" * 2_000 + '"}}', "OMG-M006"),
                (200, "[" * 100, "OMG-M006"),
                (200, '{"servers": [], "metadata": {"nextCursor": "again"}}', "OMG-M002"),
                (500, "", "OMG-M002"),
                (302, "", "OMG-M002"),
            ]
            for status, body, code in said:
                it.broken = dict.fromkeys(range(1, 100), (status, body))
                with pytest.raises(OmegaError) as refused:
                    await read(omega)
                assert refused.value.code == code, body[:40]
            bad = [
                {"server": {"name": "x", "version": "1"}},
                {"server": {"name": "a.b/c", "version": "^1"}},
                7,
                {"server": {"name": "a.b/d", "version": "2"}},
            ]
            it.broken, it.queries = {1: (200, json.dumps({"servers": bad}))}, []
            told = await read(omega)
            assert (told["kept"], len(told["refused"])) == (1, 3)

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("TOOL-38")
def test_the_official_api_lists_what_is_published_to_the_caller(tmp_path: Path) -> None:
    async def scenario() -> None:
        shown, hidden = entry("io.github.acme/mail", latest=False), entry("io.github.other/cal")
        newer = entry("io.github.acme/mail", "1.1.0+build.7")
        async with listing(shown, newer, hidden) as it, serving(tmp_path / "home", virtual=VIRTUAL) as served:
            await following(served.omega, it, show=["io.github.acme/*"])
            await read(served.omega)
            async with client(served) as http:
                for root in ("/v0.1", "/v0"):
                    page = (await http.get(f"{root}/servers")).json()
                    assert [each["server"]["name"] for each in page["servers"]] == ["127.0.0.1/reports", shown.name, shown.name]
                    assert page["metadata"] == {"count": 3}
                own = page["servers"][0]["server"]
                assert own["remotes"][0]["url"] == served.url + "/reports"
                assert own["remotes"][0]["type"] == "streamable-http"
                assert 0 < len(own["description"]) <= 100
                first = (await http.get("/v0.1/servers", params={"limit": 1})).json()
                second = (await http.get("/v0.1/servers", params={"limit": 1, "cursor": first["metadata"]["nextCursor"]})).json()
                assert first["servers"] + second["servers"] == page["servers"][:2]
                latest = (await http.get("/v0.1/servers", params={"version": "latest", "search": "MAIL"})).json()
                assert [each["server"]["version"] for each in latest["servers"]] == ["1.1.0+build.7"]
                place = f"/v0.1/servers/{quote(shown.name, safe='')}/versions"
                versions = (await http.get(place)).json()["servers"]
                assert [each["_meta"][OFFICIAL]["isLatest"] for each in versions] == [True, False]
                for version in ("latest", quote("1.1.0+build.7", safe="")):
                    assert (await http.get(f"{place}/{version}")).json() == newer.to_json()
                for absent in (
                    f"{place}/2.0.0",
                    f"/v0.1/servers/{quote(hidden.name, safe='')}/versions",
                    "/v0.1/nothing",
                    "/v0.1/servers/a",
                ):
                    assert (await http.get(absent)).status_code == 404, absent
                assert (await http.get("/v0.1/servers", params={"limit": 0})).status_code == 400
                assert (await http.get("/v0.1/servers", params={"nonsense": 1})).status_code == 400
                assert (await http.post("/v0.1/publish", json={})).status_code == 405
                assert (await http.get("/v0.1/servers/..%2f..%2fx%5cy/versions")).status_code == 404
                assert (await http.get("/mcp%2freports")).status_code == 404, "an encoded slash is refused elsewhere"
            async with client(served, "") as http:
                assert (await http.get("/v0.1/servers")).status_code == 401
            reader = served.omega.passport("agent:otto")
            async with client(served, reader) as http:
                names = {each["server"]["name"] for each in (await http.get("/v0.1/servers")).json()["servers"]}
                assert "127.0.0.1/audits" not in names

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("TOOL-38")
def test_one_installation_follows_another_as_its_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving(tmp_path / "there", virtual=VIRTUAL) as there, Installation.open(tmp_path / "here") as here:
            monkeypatch.setenv("THERE", there.passport)
            root = there.url.removesuffix("/mcp")
            await here.omega.arrange(
                REGISTRY, "public", {"url": root, "allow": LOOPBACK, "show": ["*"], "headers": {"Authorization": "Bearer env:THERE"}}
            )
            assert (await read(here.omega))["kept"] == 1
            assert (await read(here.omega))["changed"] == []
            monkeypatch.setenv("THERE", "none")
            with pytest.raises(UpstreamError):
                await read(here.omega)
            tenant = await here.tenant()
            passport = owner_passport(here.omega.identity, tenant, here.now_us)
            outcome = await here.omega.road.call(_call(passport))
            assert outcome.error is not None
            assert outcome.error["code"] in ("OMG-W001", "OMG-W008"), "a hosted tenant follows nothing"

    asyncio.run(scenario())


def _call(passport: str) -> Any:
    from omega.kernel.ports import Call

    return Call(passport=passport, flow=read_registry, input="public")


@pytest.mark.promise("TOOL-39")
def test_search_covers_tools_and_listed_servers_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        entries = entry("io.github.acme/postbox", description="Send and read mail"), entry("io.github.acme/cal")
        async with listing(*entries) as it, Omega.open(tmp_path / "home") as omega:
            await following(omega, it)
            await read(omega)
            pin = ToolDescription("chat", "send_message", "", "Send a message to a room", {"type": "object"})
            await omega.accept(Upstream(name="chat", transport=Transport.HTTP, url="https://chat.example/mcp"), [pin])
        with Archive.open(tmp_path / "home") as archive:
            found = search(archive, "send mail", 5)
            assert [(each.tool["kind"], each.tool["name"]) for each in found] == [
                ("server", "io.github.acme/postbox"),
                ("tool", "chat/send_message"),
            ]
            assert found[0].why == "by mail, send"
            assert found[0].tool["runs"] == ["pypi:postbox@1.0.0"]
            assert [each.tool["name"] for each in search(archive, "mesage", 5)] == ["chat/send_message"], "a slip of the finger"
            assert search(archive, "zzz", 5) == []
            assert followed(archive)[0].state.entries == 2

    asyncio.run(scenario())


def listed(name: str = "a.b/c", **server: Any) -> Listing:
    return Listing("public", entry(name, **server))


@pytest.mark.promise("TOOL-41")
def test_a_listed_server_is_added_at_its_one_version() -> None:
    def made(found: Listing, **given: Any) -> Upstream:
        return upstream_from(found, "it", **{"env": {}, "headers": {}, "arguments": (), "timeout_s": 5.0, **given})

    stdio = {"transport": {"type": "stdio"}, "version": "1.2.3"}
    npm = {"registryType": "npm", "identifier": "@acme/mail", **stdio}
    assert made(listed(packages=[npm]), arguments=("--quiet",)).argv == ("npx", "--yes", "@acme/mail@1.2.3", "--quiet")
    named = {"type": "named", "name": "--room", "value": "a"}
    argued = {**npm, "registryType": "pypi", "identifier": "mail", "packageArguments": [named, {"type": "positional", "default": "b"}]}
    assert made(listed(packages=[argued])).argv == ("uvx", "mail@1.2.3", "--room", "a", "b")
    header = {"name": "Authorization", "isRequired": True, "isSecret": True}
    remote = {"type": "streamable-http", "url": "https://mail.example/mcp", "headers": [header]}
    reached = made(listed(packages=[npm], remotes=[remote]), headers={"Authorization": "Bearer user:mail"})
    assert (reached.url, reached.headers) == ("https://mail.example/mcp", {"Authorization": "Bearer user:mail"})
    variables = [{"name": "TOKEN", "isRequired": True, "isSecret": True, "value": "leaked"}, {"name": "LEVEL", "default": "low"}]
    wanting = listed(packages=[{**npm, "environmentVariables": variables}])
    assert made(wanting, env={"TOKEN": "env:MAIL"}).env == {"TOKEN": "env:MAIL", "LEVEL": "plain:low"}
    refused = [
        wanting,
        listed(remotes=[remote], packages=[]),
        listed(remotes=[{**remote, "url": "https://{host}/mcp"}], packages=[]),
        listed(packages=[{**npm, "version": "latest"}]),
        listed(packages=[{**npm, "identifier": "--registry=https://evil.example"}]),
        listed(packages=[{**npm, "identifier": "https://evil.example/a.tgz"}]),
        listed(packages=[{**npm, "registryType": "oci"}]),
        listed(packages=[{**npm, "runtimeArguments": [{"type": "positional", "value": "--unsafe"}]}]),
        listed(packages=[{**npm, "packageArguments": [{"type": "positional", "valueHint": "folder", "isRequired": True}]}]),
    ]
    for each in refused:
        with pytest.raises(InputError):
            made(each)


@pytest.mark.promise("TOOL-43")
@pytest.mark.parametrize(
    "name",
    [
        *("npm_config_registry", "NODE_OPTIONS", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "UV_INDEX_URL", "PIP_INDEX_URL", "PYTHONPATH"),
        *("PATH", "HOME", "https_proxy", "SSL_CERT_FILE", "BASH_ENV", "JAVA_TOOL_OPTIONS", "A=B", ""),
    ],
)
def test_no_entry_steers_the_program_that_starts_it(name: str) -> None:
    package = {"registryType": "npm", "identifier": "@acme/mail", "version": "1.2.3", "transport": {"type": "stdio"}}

    def made(variable: dict[str, Any], **env: str) -> Upstream:
        found = listed(packages=[{**package, "environmentVariables": [variable]}])
        return upstream_from(found, "it", env=env, headers={}, arguments=(), timeout_s=5.0)

    for given_ in ("value", "default"):
        with pytest.raises(InputError):
            made({"name": name, given_: "https://evil.example"})
    assert made({"name": "MAIL_LEVEL", "value": "low"}).env == {"MAIL_LEVEL": "plain:low"}
    if name.isidentifier():
        assert made({"name": name, "value": "theirs"}, **{name: "plain:mine"}).env == {name: "plain:mine"}, "an operator may"


@pytest.mark.promise("TOOL-43")
@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://10.0.0.1/mcp", "https://[::1]/mcp", "http://mail.example/mcp"])
def test_no_entry_leads_to_a_private_address(url: str) -> None:
    found = listed(remotes=[{"type": "streamable-http", "url": url}], packages=[])
    with pytest.raises(InputError) as refused:
        upstream_from(found, "it", env={}, headers={}, arguments=(), timeout_s=5.0)
    assert "--url" in refused.value.advice


@pytest.mark.promise("TOOL-38")
def test_our_own_names_are_ours_and_only_what_is_shown_on_is_unpacked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Omega.open(tmp_path / "home") as omega:

            def keep(found: Listed) -> None:
                omega.store.put_document(ENTRY, f"public/{found.key}", json.dumps(Listing("public", found).to_json()).encode(), 0)

            def nobody(name: str, scope: Scope) -> View:
                raise InputError("OMG-I002", "not for you")

            def shown() -> dict[str, Listed]:
                return {each.key: each for each in shelf.published(omega.scope(), "https://gw.example.com")}

            await omega.arrange(REGISTRY, "public", {"url": "https://a.example", "show": ["com.*", "Com.*"]})
            shelf = Publishing(omega.store, nobody)
            for name in ("com.example.gw/ops", "Com.Example.gw/ops", "com.example.gws/ops"):
                keep(entry(name, "9.0.0"))
            omega.store.put_document(ENTRY, "public/org.other/x@1.0.0", b"{", 0)
            before = shown()
            assert list(before) == ["com.example.gws/ops@9.0.0"], "what is shown on of others is never a name of ours"
            keep(entry("com.example/new"))
            omega.store.put_document(SYNC, "public", b'{"changes": 1}', 0)
            after = shown()
            assert len(after) == 2
            assert after["com.example.gws/ops@9.0.0"] is before["com.example.gws/ops@9.0.0"], "what has not changed is unpacked once"
            await omega.arrange(REGISTRY, "public", {"url": "https://a.example", "show": ["com.example/*"]})
            assert list(shown()) == ["com.example/new@1.0.0"]

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-41")
def test_only_what_is_listed_and_unchanged_can_be_added(tmp_path: Path) -> None:
    async def scenario() -> None:
        old, new, gone = entry("a.b/c", "1.0.0", latest=False), entry("a.b/c", "2.0.0"), entry("a.b/d")
        async with listing(old, new, gone) as it, Omega.open(tmp_path / "home") as omega:
            await following(omega, it)
            await read(omega)
            assert find(omega.store, "a.b/c").entry.version == "2.0.0"
            assert find(omega.store, "a.b/c@1.0.0").entry.version == "1.0.0"
            later = "2999-01-01T00:00:00Z"
            it.entries = [entry("a.b/c", "2.0.0", updated=later, title="Other"), Listed(gone.server, "deleted", "", later)]
            await read(omega)
            for wanted in ("a.b/c", "a.b/d", "a.b/c@3", "x.y/z"):
                with pytest.raises(InputError):
                    find(omega.store, wanted)

    asyncio.run(scenario())


names = st.from_regex(r"[a-z]{1,5}\.[a-z]{1,5}/[a-z0-9]{1,6}", fullmatch=True)


@pytest.mark.promise("TOOL-38")
@settings(max_examples=20, deadline=None)
@given(listed=st.lists(st.tuples(names, st.sampled_from(["1.0.0", "1.0.1", "2.0.0"])), unique=True, max_size=12), limit=st.integers(1, 5))
def test_pages_hold_everything_once_and_read_back(listed: list[tuple[str, str]], limit: int) -> None:
    entries = [entry(name, version) for name, version in listed]
    seen: list[Listed] = []
    cursor = ""
    for _ in range(len(entries) + 1):
        page = page_of(entries, Wanted(limit=limit, cursor=cursor))
        again = read_page(json.dumps(answer(page)).encode())
        assert again.entries == page.entries
        seen += again.entries
        cursor = again.cursor
        if not cursor:
            break
    assert sorted(each.key for each in seen) == sorted(each.key for each in entries)


class Documents:
    """Documents in memory."""

    def __init__(self, **bodies: dict[str, Any]) -> None:
        self._bodies = bodies

    def document(self, kind: str, name: str) -> bytes | None:
        return json.dumps(self._bodies[name]).encode() if kind == REGISTRY and name in self._bodies else None

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        found = self._bodies.items() if kind == REGISTRY else ()
        return [(name, json.dumps(body).encode()) for name, body in found if name.startswith(prefix)]


@pytest.mark.promise("TOOL-38")
def test_what_is_shown_on_is_shown_to_the_tenants_that_were_named() -> None:
    documents = Documents(
        public={"url": "https://a.example", "show": ["a.b/*"], "tenants": ["ten_1"]},
        quiet={"url": "https://b.example", "tenants": ["ten_1"]},
    )
    known = [
        listed("a.b/c"),
        listed("x.y/z"),
        Listing("public", entry("a.b/d"), changed="sha256:0"),
        Listing("quiet", entry("a.b/e")),
        Listing("gone", entry("a.b/f")),
    ]
    for tenant, names_shown in (("local", ["a.b/c"]), ("ten_1", ["a.b/c"]), ("ten_2", [])):
        assert [each.name for each in shown_on(documents, tenant, known)] == names_shown, tenant
