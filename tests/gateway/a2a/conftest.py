"""A house with published agents, open on loopback with the real server, and what callers of it need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from gateway.a2a.kit import kit
from gateway.conftest import Open
from omega.host.clock import SystemEntropy
from omega.host.embedded import Omega
from omega.host.identity import Identity
from omega.host.publishing import PUBLISHED
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.up import Opening, up
from omega.kernel.context import Context
from omega.kernel.flow import flow
from omega.kernel.people import form
from omega.kernel.streams import stream

START_S = 60.0


class Order(BaseModel):
    """What is ordered."""

    dish: str
    count: int = 1


class Address(BaseModel):
    """Where it goes."""

    street: str


@flow(name="cook")
def cook(order: Order) -> dict[str, Any]:
    """Cooks what is ordered."""
    return {"dish": order.dish.upper(), "count": order.count}


@flow(name="shout")
def shout(text: str) -> str:
    """Says it louder."""
    if text == "fail":
        raise ValueError("not that")
    return text.upper()


@stream(name="tell", reduce="text", effect="read")
async def tell(ctx: Context, text: str) -> AsyncIterator[str]:
    """The words of a text, one by one."""
    for word in text.split():
        yield f"{word} "


@flow(name="deliver", effect="read")
async def deliver(ctx: Context, dish: str) -> str:
    """Asks where to."""
    where = await ctx.call(form(Address, message="where to?", name="where"), dish)
    return f"{dish} to {where.street}"


@flow(name="launch", effect="irreversible")
async def launch(ctx: Context, what: str) -> str:
    """Cannot be undone."""
    return f"launched {what}"


FLOWS = (cook, shout, tell, deliver, launch.approved_by("owner"), kit)
AGENTS: Mapping[str, Mapping[str, Any]] = {
    "cook": {"flow": "cook", "title": "Cook", "skills": [{"id": "c", "name": "Cooking", "description": "cooks", "tags": ["food"]}]},
    "shout": {"flow": "shout", "front": True, "provider": {"organization": "Example", "url": "https://example.com"}},
    "tell": {"flow": "tell"},
    "deliver": {"flow": "deliver"},
    "launch": {"flow": "launch"},
    "kit": {"flow": "tck", "takes": "message", "networks": ["127.0.0.0/8"]},
    "hidden": {"flow": "shout", "listed": False, "groups": ["kitchen"]},
    "gone": {"flow": "not-here"},
}


@dataclass
class Published(Open):
    """The running house. Its clients are closed with it."""

    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def grpc(self) -> str:
        """Where the gRPC binding answers."""
        return f"127.0.0.1:{next(facts['a2a_grpc'] for event, facts in self.told if event == 'up')}"

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        shown = {"authorization": f"Bearer {self.passport() if token is None else token}"} if token != "" else {}
        made = httpx.Client(base_url=self.url, headers={**shown, **headers}, timeout=30, trust_env=False, verify=False)
        self.clients.append(made)
        return made

    def ask(self, agent: str, token: str | None = None, **headers: str) -> Callable[..., dict[str, Any]]:
        """Calls methods of an agent over JSON-RPC; gives the whole answer."""
        client = self.client(token, **{"a2a-version": "1.0", **headers})

        def call(method: str, **params: Any) -> dict[str, Any]:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            found: dict[str, Any] = client.post(f"/a2a/{agent}", json=message).json()
            return found

        return call


def said(text: str = "", *, data: Any = None, id: str = "m-1", **more: Any) -> dict[str, Any]:
    """A message of a user."""
    parts = ([{"text": text}] if text else []) + ([{"data": data}] if data is not None else [])
    return {"messageId": id, "role": "ROLE_USER", "parts": parts, **more}


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """One house for all tests of the entrance."""
    yield from _opened(tmp_path_factory.mktemp("a2a") / "home")


@pytest.fixture
def browser(published: Published) -> Iterator[httpx.Client]:
    """A client that shows the owner's passport and speaks the protocol's version."""
    with published.client(**{"a2a-version": "1.0"}) as made:
        yield made


def _opened(home: Path) -> Iterator[Published]:
    ready, failed = threading.Event(), []
    told: list[tuple[str, Mapping[str, Any]]] = []
    stop: list[tuple[asyncio.AbstractEventLoop, Stop]] = []

    def tell_it(event: str, facts: Mapping[str, Any]) -> None:
        told.append((event, facts))
        if event == "up":
            ready.set()

    async def whole() -> None:
        async with Omega.open(home) as omega:
            for name, body in AGENTS.items():
                await omega.arrange(PUBLISHED, name, body)
        stop.append((asyncio.get_running_loop(), Stop()))
        targets = tuple(Target(f"tests:{each.name}", each, ()) for each in FLOWS)
        await up(home, Opening(port=0, targets=targets, drain_s=0.2, a2a_grpc=0), tell_it, stop[0][1])

    def run() -> None:
        try:
            asyncio.run(whole())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="agents", daemon=True)
    thread.start()
    assert ready.wait(START_S), "the house did not open"
    if failed:
        raise failed[0]
    facts = next(facts for event, facts in told if event == "up")
    try:
        yield (house := Published(facts["url"], Identity.load(Settings.load(home), SystemEntropy()), told))
    finally:
        for client in house.clients:
            client.close()
        stop[0][0].call_soon_threadsafe(stop[0][1].ask)
        thread.join(START_S)
        assert not thread.is_alive(), "the house did not close"
        assert not failed, failed
