"""Signing on where a provider is slow, or whoever comes back shows nothing that is good."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from omega.host import sso_adding
from omega.host.embedded import Omega
from omega.host.house import House
from omega.host.methods import ask_method
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import Denied, OmegaError

pytestmark = pytest.mark.slow

BASE = "https://omega.example"
PATIENCE_S = 60.0


class Provider(ThreadingHTTPServer):
    """A provider that says where its page is once it may, and then what it was told to."""

    daemon_threads = True
    may = threading.Event()
    asked = 0
    status = 200

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked += 1
        assert self.server.may.wait(PATIENCE_S)
        issuer = self.server.issuer
        places = {"authorization_endpoint": "page", "token_endpoint": "token", "jwks_uri": "keys"}
        signs = {"id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"]}
        body = json.dumps({"issuer": issuer, **{name: f"{issuer}/{path}" for name, path in places.items()}, **signs}).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@contextmanager
def provider(*, answers: bool = True, status: int = 200) -> Iterator[Provider]:
    server = Provider(("127.0.0.1", 0), _Answers)
    server.may, server.status = threading.Event(), status
    if answers:
        server.may.set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.may.set()
        server.shutdown()
        thread.join()
        server.server_close()


def home_of(path: Path, issuers: Mapping[str, str]) -> Path:
    """A home with a tenant, and a connection for each provider."""
    home = path / "home"
    made = {"organisation": "acme", "project": "web", "environment": "production"}
    tenant = str(asyncio.run(ask_method(home, "tenancy.create", made))["tenant"])
    for name, issuer in issuers.items():
        openid = sso_adding.for_openid(issuer, "omega", "")
        asyncio.run(sso_adding.add(home, name, tenant=tenant, allow=("127.0.0.0/8",), **openid))
    return home


def counting(house: House) -> list[str]:
    """The flows that are run as the installation itself, as they are asked for."""
    asked: list[str] = []
    road = house.road

    class Counted:
        async def call(self, call: Any) -> Any:
            flow: AnyFlow = call.flow
            asked.append(flow.name)
            return await road.call(call)

    house.road = Counted()  # type: ignore[assignment]
    return asked


def test_a_provider_that_does_not_answer_holds_up_its_own_people_alone_and_is_asked_once(tmp_path: Path) -> None:
    async def scene(home: Path, slow: Provider) -> None:
        async with Omega.open(home) as omega:
            house = House(omega)
            asked = counting(house)
            desk = house.signing_on()
            waiting = [asyncio.create_task(desk.begin("slow", BASE, "/")) for _ in range(5)]
            gone = asyncio.create_task(desk.begin("slow", BASE, "/"))
            while not slow.asked:
                await asyncio.sleep(0.01)
            gone.cancel()
            sent = await asyncio.wait_for(desk.begin("fast", BASE, "/"), PATIENCE_S)
            assert parse_qs(urlsplit(sent.location).query)["client_id"] == ["omega"]
            assert not any(each.done() for each in waiting)
            slow.may.set()
            places = {(await each).location.partition("?")[0] for each in waiting}
            assert places == {f"{slow.issuer}/page"} and asked == ["sign-on.ask"] * 2

    with provider(answers=False) as slow, provider() as fast:
        asyncio.run(scene(home_of(tmp_path, {"slow": slow.issuer, "fast": fast.issuer}), slow))


def test_one_that_cannot_be_asked_is_left_alone_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(home: Path, broken: Provider) -> None:
        async with Omega.open(home) as omega:
            house = House(omega)
            asked = counting(house)
            desk = house.signing_on()

            async def code() -> str:
                with pytest.raises(OmegaError) as caught:
                    await desk.begin("broken", BASE, "/")
                return caught.value.code

            assert {await code() for _ in range(3)} == {"OMG-P007"} and len(asked) == 1
            broken.status = 200
            assert await code() == "OMG-P007", "it is believed for a while"
            monkeypatch.setattr("omega.host.sso_desk.FAILED_S", 0.0)
            assert (await desk.begin("broken", BASE, "/")).cookie and len(asked) == 2

    with provider(status=500) as broken:
        asyncio.run(scene(home_of(tmp_path, {"broken": broken.issuer}), broken))


def test_whoever_comes_back_with_nothing_good_is_braked(tmp_path: Path) -> None:
    async def scene(home: Path) -> None:
        async with Omega.open(home) as omega:
            house = House(omega)
            asked = counting(house)
            house.guesses.most = 2
            desk = house.signing_on()

            async def refused(address: str) -> str:
                with pytest.raises(Denied) as caught:
                    await desk.end("acme", "x.y", {"state": "x", "code": "x"}, address=address)
                return caught.value.code

            assert [await refused("192.0.2.1") for _ in range(3)] == ["OMG-T001", "OMG-T001", "OMG-G007"]
            with pytest.raises(Denied, match="refused within a minute"):
                await desk.begin("acme", BASE, "/", address="192.0.2.1")
            assert await refused("192.0.2.2") == "OMG-T001" and asked == []

    with provider() as acme:
        asyncio.run(scene(home_of(tmp_path, {"acme": acme.issuer})))


def test_a_provider_that_fails_lets_no_stranger_make_executions_without_end(tmp_path: Path) -> None:
    async def scene(home: Path, acme: Provider) -> None:
        async with Omega.open(home) as omega:
            house = House(omega)
            house.guesses.most = 2
            desk = house.signing_on()
            cookies = [await desk.begin("acme", BASE, "/", address="192.0.2.1") for _ in range(3)]
            acme.status = 503
            asked = counting(house)
            desk = house.signing_on()

            async def failed(sent: Any) -> str:
                given = {"state": parse_qs(urlsplit(sent.location).query)["state"][0], "code": "x"}
                with pytest.raises(OmegaError) as caught:
                    await desk.end("acme", sent.cookie, given, address="192.0.2.1")
                return caught.value.code

            assert [await failed(each) for each in cookies] == ["OMG-P007", "OMG-P007", "OMG-G007"]
            with pytest.raises(Denied, match="refused within a minute"):
                await desk.end("acme", cookies[0].cookie, {}, address="192.0.2.1")
            assert asked == ["sign-on"] * 2, "and nothing is run for whoever is braked"

    with provider() as acme:
        asyncio.run(scene(home_of(tmp_path, {"acme": acme.issuer}), acme))
