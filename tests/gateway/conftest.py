"""A house that is open on loopback, with the real server, for tests of its entrances."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.up import Opening, up
from omega.kernel.context import Context
from omega.kernel.flow import flow
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.streams import stream

START_S = 60.0
UNBRAKED = 1_000_000
"""One house is for many tests, and most of them show something wrong from one address."""


@flow
def double(n: int) -> int:
    """Twice the number."""
    return n * 2


@flow
def fails(n: int) -> int:
    """Fails in a way that its author did not expect."""
    raise ValueError(f"no {n} here: a secret of the flow")


@stream(reduce="text", effect="read")
async def words(ctx: Context, text: str) -> AsyncIterator[str]:
    """The words of a text, one by one."""
    for word in text.split():
        yield f"{word} "


@flow(effect="read")
async def waits(ctx: Context, name: str) -> Any:
    """Waits for a signal."""
    return await ctx.signal(name)


@flow(effect="irreversible")
async def launches(ctx: Context, what: str) -> str:
    """Cannot be undone."""
    return f"launched {what}"


FLOWS = (double, fails, words, waits, launches.approved_by("owner"))


@dataclass
class Open:
    """A running house: where it is, and passports for whoever calls."""

    url: str
    identity: Identity
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def passport(
        self,
        principal: str = "person:ada",
        *,
        tenant: str = "local",
        groups: Sequence[str] = ("owner",),
        capabilities: Sequence[str] = ("*",),
        age_s: int = 0,
        holder: str = "",
    ) -> str:
        now = SystemClock().now_us() / 1_000_000 - age_s
        return self.identity.authority.issue(
            tenant=tenant,
            principal=principal,
            groups=groups,
            capabilities=capabilities,
            ttl_s=3_600,
            now=now,
            jti=new_id(PASSPORT, now_ms=int(now * 1_000), entropy=SystemEntropy().take(10)),
            holder=holder,
        )

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        shown = {"authorization": f"Bearer {token if token is not None else self.passport()}"} if token != "" else {}
        return httpx.Client(base_url=self.url, headers={**shown, **headers}, timeout=30, trust_env=False)


def opened(home: Path, **given: Any) -> Iterator[Open]:
    """A house in a thread of its own, for as long as the generator stands."""
    ready, told, failed = threading.Event(), [], []
    stop: list[tuple[asyncio.AbstractEventLoop, Stop]] = []

    def tell(event: str, facts: Mapping[str, Any]) -> None:
        told.append((event, facts))
        if event == "up":
            ready.set()

    async def whole() -> None:
        stop.append((asyncio.get_running_loop(), Stop()))
        targets = tuple(Target(f"tests:{each.name}", each, ()) for each in FLOWS)
        await up(home, Opening(port=0, targets=targets, **{"refusals": UNBRAKED, **given}), tell, stop[0][1])

    def run() -> None:
        try:
            asyncio.run(whole())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="house", daemon=True)
    thread.start()
    assert ready.wait(START_S), "the house did not open"
    if failed:
        raise failed[0]
    facts = next(facts for event, facts in told if event == "up")
    try:
        yield Open(facts["url"], Identity.load(Settings.load(home), SystemEntropy()), told)
    finally:
        stop[0][0].call_soon_threadsafe(stop[0][1].ask)
        thread.join(START_S)
        assert not thread.is_alive(), "the house did not close"
        assert not failed, failed


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """One house for all tests that leave it as they found it."""
    yield from opened(tmp_path_factory.mktemp("house") / "home", drain_s=2.0)


@pytest.fixture
def client(house: Open) -> Iterator[httpx.Client]:
    """A client that shows the owner's passport."""
    with house.client() as made:
        yield made
