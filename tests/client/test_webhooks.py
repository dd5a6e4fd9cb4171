"""Webhooks: every wanted event arrives, signed, at least once, also across restarts and broken receivers; and nowhere it must not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.webhooks import new_secret, sign, verified
from omega.adapters.webhooks.reach import checked_url, may_reach, networks, resolved
from omega.host import webhooks as module
from omega.host.bulk import carry_out
from omega.host.embedded import Omega
from omega.host.events import Feed
from omega.host.webhooks import DELIVER, WEBHOOK, Dispatcher, Webhook, webhooks
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.flow import flow
from omega.kernel.ports import Search

SECRET = new_secret(bytes(range(32)))
SOON_S = 60.0
LOOPBACK = ("127.0.0.0/8",)


@flow(effect="pure")
def double(number: int) -> int:
    return 2 * number


@dataclass
class Inbox:
    """A receiver: what came, and the statuses that it answers with (the last one for ever)."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    came: list[dict[str, Any]] = field(default_factory=list)
    unsigned: int = 0
    ids: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not verified(SECRET, headers, body, now_s=float(headers["webhook-timestamp"])):
            self.unsigned += 1
        self.ids.append(headers["webhook-id"])
        if status < 300:
            self.came.append(json.loads(body))
        return web.Response(status=status, headers={"location": "http://127.0.0.1:1/"} if status == 302 else {})


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[Inbox]:
    inbox = Inbox()
    if statuses:
        inbox.statuses = list(statuses)
    app = web.Application()
    app.router.add_post("/hook", inbox.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    inbox.url = f"http://{host}:{port}/hook"
    try:
        yield inbox
    finally:
        await runner.cleanup()


async def register(omega: Omega, url: str, **facts: Any) -> None:
    hook = Webhook(**{"name": "hook", "url": url, "secret": SECRET, "claims": omega.scope().claims(), "allow": LOOPBACK} | facts)
    await omega.arrange(WEBHOOK, hook.name, hook.seal(omega.identity.keyring))


def dispatcher(omega: Omega) -> Dispatcher:
    return Dispatcher(omega.engine, omega.store, Feed(omega.store, omega.identity.keyring))


@asynccontextmanager
async def dispatching(omega: Omega) -> AsyncIterator[Dispatcher]:
    made = dispatcher(omega)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.02)


def deliveries(omega: Omega) -> list[Any]:
    return omega.store.search(Search(flow=DELIVER))


@pytest.mark.promise("SDK-09")
def test_every_wanted_event_arrives_signed(tmp_path: Path) -> None:
    async def main() -> Inbox:
        async with Omega.open(tmp_path) as omega, receiver() as inbox:
            await register(omega, inbox.url, types=("flow:executed",))
            async with dispatching(omega):
                for name in ("a", "b", "c"):
                    await omega.run(double, 1, execution=name)
                await until(lambda: {each["subject"] for each in inbox.came} >= {"a", "b", "c"})
            return inbox

    inbox = asyncio.run(main())
    assert inbox.unsigned == 0
    assert {each["type"] for each in inbox.came} == {"flow:executed"}
    assert len(inbox.ids) == len(set(inbox.ids))


@pytest.mark.promise("SDK-09")
def test_a_delivery_brings_about_no_other(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        async with Omega.open(tmp_path) as omega, receiver() as inbox:
            await omega.run(double, 1)
            await register(omega, inbox.url)
            made = dispatcher(omega)
            while await made.tick():
                await until(lambda: all(line.status == "done" for line in deliveries(omega)))
            first = len(deliveries(omega))
            for _ in range(5):
                await made.tick()
            return first, len(deliveries(omega))

    first, last = asyncio.run(main())
    assert first == last > 0


@pytest.mark.promise("SDK-09")
def test_a_receiver_that_fails_is_tried_again_with_the_same_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS_S", (0.01, 0.01, 0.01))

    async def main() -> Inbox:
        async with Omega.open(tmp_path) as omega, receiver(500, 302, 204) as inbox:
            await register(omega, inbox.url, types=("flow:executed",), keys=("a",))
            async with dispatching(omega):
                await omega.run(double, 1, execution="a")
                await until(lambda: bool(inbox.came))
            return inbox

    inbox = asyncio.run(main())
    assert len(inbox.ids) == 3
    assert len(set(inbox.ids)) == 1


@pytest.mark.promise("SDK-10")
def test_what_cannot_be_delivered_fails_is_listed_and_can_be_redriven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS_S", (0.01,))

    async def main() -> tuple[str, list[dict[str, Any]]]:
        async with receiver(500, 500, 204) as inbox:
            async with Omega.open(tmp_path) as omega, dispatching(omega):
                await register(omega, inbox.url, types=("flow:executed",), keys=("a",))
                await omega.run(double, 1, execution="a")
                await until(lambda: any(line.status == "failed" for line in deliveries(omega)))
                (dead,) = deliveries(omega)
                outcome = await omega.engine.outcome(dead.execution)
                assert outcome.error is not None
            (redriven,) = await carry_out(tmp_path, "redrive", [dead.execution], lambda done, of: None)
            assert redriven.error is None
            async with Omega.open(tmp_path) as omega, dispatching(omega):
                await until(lambda: bool(inbox.came))
            return outcome.error["code"], inbox.came

    code, came = asyncio.run(main())
    assert code == "OMG-P010"
    assert [each["subject"] for each in came] == ["a"]


@pytest.mark.promise("SDK-09")
def test_two_dispatchers_make_one_delivery(tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with Omega.open(tmp_path) as omega, receiver() as inbox:
            await register(omega, inbox.url, types=("flow:executed",))
            async with dispatching(omega), dispatching(omega):
                for name in ("a", "b", "c", "d"):
                    await omega.run(double, 1, execution=name)
                await until(lambda: {each["subject"] for each in inbox.came} >= {"a", "b", "c", "d"})
            return inbox.ids

    ids = asyncio.run(main())
    assert len(ids) == len(set(ids))


@pytest.mark.promise("SDK-09")
def test_events_from_before_a_restart_are_delivered_after_it(tmp_path: Path) -> None:
    async def before(url: str) -> None:
        async with Omega.open(tmp_path) as omega:
            await register(omega, url, types=("flow:executed",), keys=("a", "b"))
            await omega.run(double, 1, execution="a")
            await omega.run(double, 1, execution="b")

    async def main() -> list[str]:
        async with receiver() as inbox:
            await before(inbox.url)
            async with Omega.open(tmp_path) as omega, dispatching(omega):
                await until(lambda: len(inbox.came) == 2)
            async with Omega.open(tmp_path) as omega:
                made = dispatcher(omega)
                assert await made.tick() == 0
            return sorted(each["subject"] for each in inbox.came)

    assert asyncio.run(main()) == ["a", "b"]


@pytest.mark.promise("SDK-11")
def test_no_private_address_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS_S", ())

    async def main() -> tuple[str, int]:
        async with Omega.open(tmp_path) as omega, receiver() as inbox:
            # a name, not an address: what it resolves to is found out when it is used
            url = inbox.url.replace("127.0.0.1", "localhost").replace("http://", "https://")
            await register(omega, url, types=("flow:executed",), keys=("a",), allow=())
            async with dispatching(omega):
                await omega.run(double, 1, execution="a")
                await until(lambda: any(line.status == "failed" for line in deliveries(omega)))
            outcome = await omega.engine.outcome(deliveries(omega)[0].execution)
            assert outcome.error is not None
            return outcome.error["code"], len(inbox.ids)

    assert asyncio.run(main()) == ("OMG-P011", 0)


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fc00::1",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "64:ff9b:1::5db8:d822",
    "::ffff:0:127.0.0.1",
    "::10.0.0.1",
    "fec0::1",
    "168.63.129.16",
]


@pytest.mark.promise("SDK-11")
@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused_as_text_and_as_a_name(address: str) -> None:
    assert not may_reach(ipaddress.ip_address(address), ())
    host = f"[{address}]" if ":" in address else address
    with pytest.raises((Denied, InputError)):
        checked_url(f"https://{host}/hook")
    with pytest.raises((Denied, OSError)):
        asyncio.run(resolved(address, 443, ()))


@pytest.mark.parametrize("host", ["①②⑦.0.0.1", "127。0。0。1", "⑯⑨.②⑤④.169.254", "localhost%2e", "bücher.example"])
def test_a_host_that_has_two_readings_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="ASCII"):
        checked_url(f"https://{host}/hook")


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_a_public_address_may_be_reached(address: str) -> None:
    assert may_reach(ipaddress.ip_address(address), ())


def test_an_allowed_network_opens_itself_alone() -> None:
    allowed = networks(["10.0.0.0/8"])
    assert may_reach(ipaddress.ip_address("10.1.2.3"), allowed)
    assert may_reach(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert not may_reach(ipaddress.ip_address("127.0.0.1"), allowed)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "ftp://a.example/",
        "https://",
        "https://u:p@a.example/",
        "http://a.example/",
        "https://a.example/#f",
        "https://a.example:99999/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        checked_url(url)


@settings(max_examples=50, deadline=None)
@given(key=st.binary(min_size=24, max_size=64), body=st.binary(max_size=200), at=st.integers(0, 2**33), bad=st.binary(max_size=200))
def test_a_signature_holds_for_its_message_alone(key: bytes, body: bytes, at: int, bad: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = sign(secret, "msg", at, body)
    expected = hmac.new(key, f"msg.{at}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert verified(secret, headers, body, now_s=at)
    assert verified(secret, headers | {"webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}, body, now_s=at)
    assert not verified(secret, headers, body, now_s=at + 301)
    assert not verified(secret, headers | {"webhook-id": "other"}, body, now_s=at)
    assert verified(secret, headers, bad, now_s=at) == (bad == body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_***", base64.b64encode(bytes(32)).decode()])
def test_what_is_no_secret_is_refused_unquoted(secret: str) -> None:
    with pytest.raises(InputError) as refused:
        sign(secret, "msg", 0, b"")
    assert len(secret) < 10 or secret not in str(refused.value)


def test_a_document_that_was_not_sealed_here_is_refused(tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with Omega.open(tmp_path) as omega:
            codes = []
            for body in ({}, {"format": 1, "key": "AAAA", "sealed": "AAAA"}, {"format": 9}):
                with pytest.raises(OmegaError) as refused:
                    await omega.arrange(WEBHOOK, "hook", body)
                codes.append(refused.value.code)
            hook = Webhook(name="hook", url="https://a.example/", secret=SECRET, claims=omega.scope().claims())
            with pytest.raises(OmegaError):
                await omega.arrange(WEBHOOK, "other", hook.seal(omega.identity.keyring))
            await omega.arrange(WEBHOOK, "hook", hook.seal(omega.identity.keyring))
            assert SECRET.encode() not in (omega.store.document(WEBHOOK, "hook") or b"")
            assert webhooks(omega.store, omega.identity.keyring)[0] == [hook]
            return codes

    assert asyncio.run(main()) == ["OMG-I001"] * 3
