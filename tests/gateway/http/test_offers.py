"""What a method says of how it is offered, kept at the door and on the road."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from omega.gateway.front.door import Door, Manners
from omega.host.embedded import Omega
from omega.host.house import House, entrances
from omega.host.identity import Caller
from omega.kernel.context import Context
from omega.kernel.errors import DefinitionError
from omega.kernel.service import Manifest, Offer, method, methods_of

MANIFEST = Manifest(name="shelf", version="1.0.0", summary="books", home="nowhere:Shelf")


class Wanted(BaseModel):
    """What to look for."""

    title: str
    most: int = 3
    loud: bool = False


class Shelf:
    """A service with one method for each way of being offered."""

    @method(effect="read", cache_s=60, example={"title": "x"})
    async def find(self, ctx: Context, wanted: Wanted) -> str:
        """Find a book."""
        return f"{wanted.title} {wanted.most} {wanted.loud}"

    @method(rate="2/h")
    def rare(self, n: int) -> int:
        """Seldom."""
        return n

    @method(effect="idempotent", keyed=True)
    async def lend(self, ctx: Context, title: str) -> str:
        """Lend a book, once for each key."""
        return title

    @method(effect="idempotent", roles="operator")
    async def burn(self, ctx: Context, title: str) -> str:
        """For operators."""
        return title

    @method(roles=("librarian", "owner"))
    def sort(self, n: int) -> int:
        """Takes no context, and is for two roles."""
        return n

    @method(effect="read", stream=True)
    async def leaf(self, ctx: Context, title: str) -> AsyncIterator[str]:
        """Page by page."""
        for page in title:
            yield page

    @method(effect="irreversible", role="owner")
    async def drop(self, ctx: Context, title: str) -> str:
        """Cannot be undone."""
        return title

    @method(effect="read")
    async def wait(self, ctx: Context, name: str) -> str:
        """Takes as long as a minute."""
        await ctx.sleep(60)
        return name

    @method(entrances=("cli",))
    def inside(self, n: int) -> int:
        """Not over HTTP."""
        return n


OFFERS = [Offer("shelf", name, made, how) for name, (made, how) in methods_of(MANIFEST, Shelf()).items()]

Test = Callable[[httpx.AsyncClient, Omega], Awaitable[None]]


def within(home: Path, test: Test) -> None:
    """Run `test` with a client of a house that offers the shelf."""

    async def whole() -> None:
        async with Omega.open(home) as omega:
            house = House(omega, offered=OFFERS)
            door = Door(entrances(house), Manners(hosts=frozenset({"testserver"})), ready=house.ready, prefix="req_")
            transport = httpx.ASGITransport(app=door)  # type: ignore[arg-type]
            shown = {"authorization": f"Bearer {omega.passport()}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=shown) as client:
                await test(client, omega)

    asyncio.run(whole())


def test_a_read_may_be_kept_and_asked_for_by_its_parameters(tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, omega: Omega) -> None:
        first = await client.get("/api/v1/shelf/find", params={"title": "1", "most": 5, "loud": "true"})
        assert (first.status_code, first.json()) == (200, "1 5 True")
        assert first.headers["cache-control"] == "private, max-age=60"
        same = await client.get("/api/v1/shelf/find?title=1&most=5&loud=true", headers={"if-none-match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert (await client.get("/api/v1/shelf/find?title=1&most=x")).json()["code"] == "OMG-I001"
        assert (await client.get("/api/v1/shelf/find?title=1&other=2")).json()["code"] == "OMG-G001"
        posted = await client.post("/api/v1/shelf/find", json={"title": "1"})
        assert posted.headers["cache-control"] == "no-store" and "etag" not in posted.headers

    within(tmp_path, test)


@pytest.mark.promise("DOOR-15")
def test_a_rate_is_kept_for_each_caller(tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, omega: Omega) -> None:
        assert [(await client.post("/api/v1/shelf/rare", json=n)).status_code for n in range(3)] == [200, 200, 429]
        refused = await client.post("/api/v1/shelf/rare", json=1)
        assert refused.json()["code"] == "OMG-G007" and int(refused.headers["retry-after"]) > 1_000
        other = {"authorization": f"Bearer {omega.passport(Caller('person:bob', groups=('owner',)))}"}
        assert (await client.post("/api/v1/shelf/rare", json=1, headers=other)).status_code == 200

    within(tmp_path, test)


def test_a_keyed_method_is_not_called_without_a_key(tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, omega: Omega) -> None:
        assert (await client.post("/api/v1/shelf/lend", json="a")).json()["code"] == "OMG-G001"
        assert (await client.post("/api/v1/shelf/lend", json="a", headers={"idempotency-key": "1"})).json() == "a"

    within(tmp_path, test)


@pytest.mark.promise("DOOR-13")
def test_a_method_for_a_role_refuses_everybody_else_on_record(tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, omega: Omega) -> None:
        bob = {"authorization": f"Bearer {omega.passport(Caller('person:bob', groups=('librarian',)))}"}
        assert (await client.post("/api/v1/shelf/burn", json="a")).json() == "a", "the owner of the installation operates it"
        assert (await client.post("/api/v1/shelf/sort", json=1)).status_code == 200
        refused = await client.post("/api/v1/shelf/burn", json="a", headers=bob)
        assert (refused.status_code, refused.json()["code"]) == (403, "OMG-W001")
        outcome = await omega.run(
            next(each.flow for each in OFFERS if each.name == "burn"), "a", principal=Caller("person:bob", ("owner",))
        )
        assert outcome.value == "a"
        found = (await client.get("/api/v1/executions", params={"by": "person:bob", "status": "failed"})).json()["executions"]
        assert [each["flow"] for each in found] == ["shelf.burn"]

    within(tmp_path, test)


def test_an_operator_of_another_tenant_is_none(tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, omega: Omega) -> None:
        now = omega.world.clock.now_us() / 1e6
        foreign = omega.identity.authority.issue(
            tenant="ten_x", principal="person:eve", groups=("operator", "owner"), capabilities=("*",), ttl_s=60, now=now, jti="pas_x"
        )
        refused = await client.post("/api/v1/shelf/burn", json="a", headers={"authorization": f"Bearer {foreign}"})
        assert (refused.status_code, refused.json()["code"]) == (403, "OMG-W001")

    within(tmp_path, test)


def test_a_stream_an_approval_and_what_is_not_offered_here(tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, omega: Omega) -> None:
        whole = await client.post("/api/v1/shelf/leaf", json="abc")
        assert whole.json() == ["a", "b", "c"]
        assert (await client.get("/api/v1/shelf/leaf?title=a")).status_code == 405
        waits = await client.post("/api/v1/shelf/drop", json="a")
        assert (waits.status_code, waits.json()["waits_for"]["code"]) == (202, "OMG-R011")
        assert (await client.post("/api/v1/shelf/inside", json=1)).json()["code"] == "OMG-G002"
        described = (await client.get("/api/v1/openapi.json")).json()
        assert "/api/v1/shelf/inside" not in described["paths"]

    within(tmp_path, test)


@pytest.mark.promise("DOOR-05")
@pytest.mark.parametrize("why", ["the watcher goes away", "the process stops"])
def test_a_stream_to_nobody_ends_and_its_execution_goes_on(tmp_path: Path, why: str) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            house = House(omega, offered=OFFERS)
            door = Door(entrances(house), Manners(hosts=frozenset({"h"})), ready=house.ready, prefix="req_")
            sent: list[Any] = []
            began, body = asyncio.Event(), [{"type": "http.request", "body": b'"x"', "more_body": False}]

            async def receive() -> Any:
                if body:
                    return body.pop()
                await (began if why == "the watcher goes away" else asyncio.Event()).wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                sent.append(message)
                began.set()

            shown = (b"authorization", f"Bearer {omega.passport()}".encode())
            headers = [(b"host", b"h"), shown, (b"content-type", b"application/json"), (b"accept", b"text/event-stream")]
            path = "/api/v1/shelf/wait"
            scope = {"type": "http", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(), "headers": headers}
            answering = asyncio.create_task(door(scope, receive, send))
            await began.wait()
            if why == "the process stops":
                assert await door.drain(20)
            await asyncio.wait_for(answering, 20)
            assert door.inside == 0
            assert omega.engine.running == 1, "the execution needs no watcher"
            assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    asyncio.run(whole())


@pytest.mark.parametrize(
    "given", [{"entrances": ("door",)}, {"cache_s": -1}, {"cache_s": 10, "effect": "write"}, {"rate": "often"}, {"cache_s": 1e9}]
)
def test_an_offer_that_cannot_be_meant_is_refused_where_it_is_written(given: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError) as caught:
        method(**given)
    assert caught.value.code == "OMG-F003"
