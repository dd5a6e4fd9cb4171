"""Several processes of an installation on one database, each in its role: what one began, the others know, show and decide about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.mcp.serving import http_upstream
from omega import Context, flow, stream
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.embedded import Omega
from omega.host.governing import Governor
from omega.host.identity import Identity
from omega.host.limits import LIMIT
from omega.host.reading import Archive
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.showing import Showing
from omega.host.targets import Target
from omega.host.up import ALL, GATEWAY, WORKER, Opening, up
from omega.kernel.errors import InputError
from servers.everything_mcp import everything
from servers.postgres import PostgresServer
from servers.postgres import serve as started

PATIENCE_S = 60.0


class Gates:
    """What lets the flows of these tests go on: they run in the process of the test."""

    doors: dict[str, asyncio.Event]


@flow
def double(n: int) -> int:
    return n * 2


@flow(effect="read")
async def told(ctx: Context, name: str) -> Any:
    return await ctx.signal(name)


@stream(reduce="text", effect="read")
async def words(ctx: Context, name: str) -> AsyncIterator[str]:
    for number in range(200):
        if number == 2:
            await Gates.doors.setdefault(name, asyncio.Event()).wait()
        yield f"{name}-{number} "


@flow(effect="read")
async def held(ctx: Context, name: str) -> str:
    await Gates.doors.setdefault(name, asyncio.Event()).wait()
    return name


FLOWS = (double, told, words, held)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    monkeypatch.setattr(Gates, "doors", {}, raising=False)
    return tmp_path / "home"


class Fleet:
    """Processes of one installation, in tasks of this one, each with an engine and a listener of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: list[tuple[Stop, asyncio.Task[None]]] = []
        self.clients: list[httpx.AsyncClient] = []
        self.links: list[str] = []

    async def start(self, role: str, lease_s: float = 2.0) -> httpx.AsyncClient:
        """Another process; gives a client of the owner's."""
        where: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def tell(event: str, facts: Any) -> None:
            if event == "up":
                self.links.append(str(facts.get("sign_in", "")).partition("code=")[2])
                where.set_result(facts["url"])

        stop = Stop()
        targets = tuple(Target(f"tests:{each.name}", each, ()) for each in FLOWS)
        opening = Opening(port=0, role=role, targets=targets, lease_s=lease_s, drain_s=1.0)
        serving = asyncio.create_task(up(self.home, opening, tell, stop))
        self.running.append((stop, serving))
        await asyncio.wait({serving, where}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        return self.client(where.result())

    def client(self, url: str) -> httpx.AsyncClient:
        identity = Identity.load(Settings.load(self.home), SystemEntropy())
        token = identity.passport("", now_us=SystemClock().now_us())
        headers = {"authorization": f"Bearer {token}"}
        self.clients.append(httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S, trust_env=False))
        return self.clients[-1]

    async def stop(self, which: int = -1) -> None:
        stop, serving = self.running.pop(which)
        stop.now()
        await serving


@asynccontextmanager
async def fleet(home: Path, *roles: str) -> AsyncIterator[tuple[Fleet, list[httpx.AsyncClient]]]:
    made = Fleet(home)
    try:
        yield made, [await made.start(role) for role in roles]
    finally:
        for client in made.clients:
            await client.aclose()
        while made.running:
            await made.stop()


async def ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 110))


def events_of(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@pytest.mark.slow
@pytest.mark.promise("DOOR-16")
def test_a_gateway_admits_what_a_worker_runs_and_any_gateway_answers_for_it(home: Path) -> None:
    async def main() -> None:
        async with fleet(home, GATEWAY, GATEWAY, WORKER) as (_, (first, second, worker)):
            await ready(worker)
            key = {"idempotency-key": "once"}
            made = await first.post("/api/v1/flows/double/run", json=21, headers=key)
            assert (made.status_code, made.json()) == (200, 42)
            again = await second.post("/api/v1/flows/double/run", json=21, headers=key)
            assert (again.json(), again.headers["idempotent-replayed"]) == (42, "true")
            assert again.headers["omega-execution"] == made.headers["omega-execution"]

            pair = [client.post("/api/v1/flows/held/run", json="pair", headers=key) for client in (first, second)]
            waiting = [asyncio.create_task(each) for each in pair]
            while "pair" not in Gates.doors:
                await asyncio.sleep(0.01)
            Gates.doors["pair"].set()
            answers = [await each for each in waiting]
            assert [each.json() for each in answers] == ["pair", "pair"]
            assert len({each.headers["omega-execution"] for each in answers}) == 1

            assert (await worker.get("/api/v1/flows")).status_code == 404
            assert (await worker.get("/livez")).status_code == 200

    run(main())
    with Archive.open(home) as archive:
        assert {line.queue for line in archive.reader.lines(tenant="local") if line.flow in ("double", "held")} == {"default"}


@pytest.mark.slow
@pytest.mark.promise("DOOR-16")
def test_what_stands_still_is_decided_at_another_gateway_and_says_there_what_it_waits_for(home: Path) -> None:
    async def main() -> None:
        async with fleet(home, GATEWAY, GATEWAY, WORKER) as (_, (first, second, worker)):
            await ready(worker)
            asked = await first.post("/api/v1/flows/told/run", json="news", headers={"idempotency-key": "news"})
            assert (asked.status_code, asked.json()["waits_for"]["code"]) == (202, "OMG-R018")
            again = await second.post("/api/v1/flows/told/run", json="news", headers={"idempotency-key": "news"})
            assert (again.status_code, again.json()["waits_for"]["code"]) == (202, "OMG-R018")
            place = f"/api/v1/executions/{asked.json()['execution']}"
            assert (await second.post(f"{place}/signal", json={"name": "news", "value": "rain"})).status_code == 200
            ended = (await first.get(f"{place}/outcome", params={"wait": 30})).json()
            assert (ended["status"], ended["value"]) == ("done", "rain")

            asked = await first.post("/api/v1/flows/told/run", json="more", headers={"prefer": "respond-async"})
            place = asked.json()["outcome"]
            while (await first.get(place)).json()["status"] != "waiting":
                await asyncio.sleep(0.02)
            async with Omega.open(home) as omega:  # decided by a command, and asked about at once
                await omega.decide(asked.json()["execution"], "signal", {"name": "more", "value": 7})
            assert (await second.get(place, params={"wait": 30})).json()["value"] == 7

            cancelled = await first.post("/api/v1/flows/held/run", json="never", headers={"prefer": "respond-async"})
            place = f"/api/v1/executions/{cancelled.json()['execution']}"
            while "never" not in Gates.doors:
                await asyncio.sleep(0.01)
            assert (await second.post(f"{place}/cancel")).status_code == 200
            assert (await first.get(f"{place}/outcome", params={"wait": 30})).json()["status"] == "cancelled"

    run(main())


@pytest.mark.slow
@pytest.mark.promise("DOOR-17")
def test_parts_made_in_one_process_are_shown_in_every_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, set[str]] = {}
    parts = Showing._parts

    async def noticing(self: Showing, asked: Any) -> None:
        heard.setdefault(self._between.address, set()).add(asked.to)
        await parts(self, asked)

    monkeypatch.setattr(Showing, "_parts", noticing)
    wanted = [f"s-{number} " for number in range(200)]

    async def main() -> None:
        async with fleet(home, GATEWAY, GATEWAY, WORKER) as (_, (first, second, worker)):
            await ready(worker)
            stream = {"accept": "text/event-stream", "idempotency-key": "stream"}
            watching = asyncio.create_task(first.post("/api/v1/flows/words/run", json="s", headers=stream))
            while "s" not in Gates.doors:
                await asyncio.sleep(0.01)
            running = (await second.get("/api/v1/executions", params={"flow": "words"})).json()["executions"][0]["execution"]
            late = asyncio.create_task(second.get(f"/api/v1/executions/{running}/events"))
            while not any(len(asking) == 2 for asking in heard.values()):  # the worker has heard both gateways
                await asyncio.sleep(0.01)
            Gates.doors["s"].set()
            seen = events_of((await watching).text)
            assert [each[0] for each in seen] == ["started", *["part"] * 200, "outcome"]
            assert [each[1]["value"] for each in seen[1:-1]] == wanted
            assert [each[1]["index"] for each in seen[1:-1]] == list(range(200))
            assert seen[-1][1]["value"] == "".join(wanted)
            seen = events_of((await late).text)
            assert [each[1]["value"] for each in seen[1:-1]] == wanted[2:]
            assert seen[-1][1]["status"] == "done"

    run(main())


@pytest.mark.slow
@pytest.mark.promise("DOOR-18")
def test_what_a_gateway_leaves_behind_another_goes_on_with(home: Path) -> None:
    async def main() -> None:
        async with fleet(home, ALL, ALL) as (all_of_them, (first, second)):
            key = {"idempotency-key": "left", "prefer": "respond-async"}
            place = (await first.post("/api/v1/flows/held/run", json="left", headers=key)).json()["outcome"]
            while "left" not in Gates.doors:
                await asyncio.sleep(0.01)
            asking = asyncio.create_task(second.get(place, params={"wait": 60}))
            await all_of_them.stop(0)  # its engine closes: what is recorded stands
            Gates.doors["left"].set()
            assert (await asking).json()["value"] == "left"
            again = await second.post("/api/v1/flows/held/run", json="left", headers={"idempotency-key": "left"})
            assert (again.status_code, again.json()) == (200, "left")

    run(main())


@pytest.mark.slow
@pytest.mark.promise("DOOR-12")
@pytest.mark.promise("DOOR-16")
def test_a_browser_that_signed_in_at_one_gateway_is_known_at_every_other_and_its_link_is_used_up(home: Path) -> None:
    async def main() -> None:
        async with fleet(home, ALL, ALL) as (made, (first, second)):
            here, there = str(first.base_url), str(second.base_url)
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as browser:
                form = {"code": made.links[0]}  # the link that the first one printed, opened at the second
                twice = [await browser.post(f"{url}/sign-in", data=form, headers={"origin": url}) for url in (there, here)]
                assert [each.status_code for each in twice] == [303, 401]
                cookie = {"cookie": twice[0].headers["set-cookie"].partition(";")[0]}
                for url in (here, there):
                    assert (await browser.get(f"{url}/api/v1/me", headers=cookie)).json()["tenant"] == "local"
                assert (await browser.get(f"{here}/api/v1/me", headers={"cookie": "omega_session=made-up"})).status_code == 401

    run(main())
    with Archive.open(home) as archive:
        assert made_of(archive, "sign-in code") == 1 and made_of(archive, "signed in") == 1


def made_of(archive: Archive, kind: str) -> int:
    """How many documents of a kind there are; what they are named after is a digest."""
    found = archive.reader.documents(kind)
    assert all(len(name) == 64 for name, _ in found)
    return len(found)


OLDER = {"mcp-protocol-version": "2025-11-25", "accept": "application/json, text/event-stream"}


def message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.mark.slow
@pytest.mark.promise("MCP-02")
@pytest.mark.promise("DOOR-16")
def test_the_answer_to_a_question_in_a_call_may_come_to_any_gateway(home: Path) -> None:
    wanted = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "c", "version": "1"}}
    call = message("tools/call", {"name": "test__test_elicitation", "arguments": {"message": "who are you"}})

    async def main() -> None:
        async with everything() as (_, url):
            async with Omega.open(home) as omega:
                upstream = http_upstream("test", url)
                await omega.accept(upstream, await omega.describe(upstream))
            async with fleet(home, ALL, ALL) as (_, (first, second)):
                session = (await first.post("/mcp", json=message("initialize", wanted), headers=OLDER)).headers["mcp-session-id"]
                headers = {**OLDER, "mcp-session-id": session}
                async with first.stream("POST", "/mcp", json=call, headers=headers) as answer:
                    lines = (line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: "))
                    said = [json.loads(await anext(lines))]
                    while said[-1].get("method") != "elicitation/create":
                        said.append(json.loads(await anext(lines)))
                    content = {"username": "ada", "email": "ada@example.org", "response": "ada"}
                    answered = {"jsonrpc": "2.0", "id": said[-1]["id"], "result": {"action": "accept", "content": content}}
                    assert (await second.post("/mcp", json=answered, headers=headers)).status_code == 202
                    said += [json.loads(line) async for line in lines]
                assert "ada" in json.dumps(said[-1]["result"]) and not said[-1]["result"].get("isError")

    run(main())


@pytest.mark.slow
@pytest.mark.promise("DOOR-19")
def test_a_tenants_limit_holds_over_two_gateways_together(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    governors: dict[str, int] = {}
    follow = Governor.follow

    def noticing(self: Governor, owner: str) -> None:
        follow(self, owner)
        governors[owner] = self._engines

    monkeypatch.setattr(Governor, "follow", noticing)
    body = {"of": "requests", "amount": 20, "window_s": 86_400, "tenant": "local", "principal": "", "flow": "held"}

    async def main() -> None:
        async with Omega.open(home) as omega:
            await omega.arrange(LIMIT, "few", body)
        governors.clear()
        async with fleet(home, ALL, ALL) as (_, clients):
            while len(governors) < 2 or any(engines < 2 for engines in governors.values()):  # each has noticed the other
                await asyncio.sleep(0.05)
            Gates.doors["x"] = asyncio.Event()
            Gates.doors["x"].set()
            answers = await asyncio.gather(*(each.post("/api/v1/flows/held/run", json="x") for each in clients for _ in range(30)))
            codes = [each.json()["code"] for each in answers if each.status_code != 200]
            assert set(codes) == {"OMG-W004"} and 0 < len(answers) - len(codes) <= 20

    run(main())


def test_a_role_that_cannot_be_had_here_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMEGA_STORE", raising=False)

    def refused(opening: Opening) -> str:
        with pytest.raises(InputError) as caught:
            asyncio.run(up(tmp_path / "home", opening, lambda event, facts: None, Stop()))
        return caught.value.code

    assert refused(Opening(port=0, role=GATEWAY)) == "OMG-X001"
    assert refused(Opening(port=0, role=WORKER)) == "OMG-X001"
    assert refused(Opening(port=0, role="pilot")) == "OMG-X001"
    assert not (tmp_path / "home").exists()
