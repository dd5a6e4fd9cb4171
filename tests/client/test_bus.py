"""The buses pass the suite of their port, and a relay tells them what the record tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from omega.adapters.bus import MemoryBus, NatsBus
from omega.contracts.events import Event
from omega.host.embedded import Omega
from omega.host.events import Feed
from omega.host.relay import Relay
from omega.kernel.errors import StorageError
from omega.kernel.flow import flow
from omega.kernel.ports import Bus
from omega.testing.conformance import BusConformance
from servers.nats import NatsServer
from servers.nats import serve as serve_nats


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    yield from serve_nats()


@pytest.mark.promise("SDK-04")
class TestMemory(BusConformance):
    @pytest.fixture
    def open_bus(self) -> Callable[..., Awaitable[Bus]]:
        async def open_one(**options: int) -> Bus:
            return MemoryBus(**options)

        return open_one


@pytest.mark.promise("SDK-04")
class TestNats(BusConformance):
    @pytest.fixture
    def open_bus(self, nats_server: NatsServer) -> Callable[..., Awaitable[Bus]]:
        async def open_one(**options: int) -> Bus:
            return await NatsBus.open(nats_server.address, **options)

        return open_one


@flow(effect="pure")
def double(number: int) -> int:
    return 2 * number


async def relayed(home: Path, bus: Bus, listener: Bus) -> list[Event]:
    """What a listener hears of three runs."""
    async with Omega.open(home) as omega:
        await omega.run(double, 0, execution="before")
        relay = Relay(omega.store, Feed(omega.store, omega.identity.keyring), bus)
        heard = await listener.subscribe("omega.events.local.flow.executed")
        telling = asyncio.create_task(relay.run())
        for name in ("a", "b", "c"):
            await omega.run(double, 1, execution=name)
        found = []
        for _ in range(3):
            message = await heard.next(20)
            assert message is not None
            found.append(Event.read(json.loads(message[1])))
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        return found


@pytest.mark.promise("SDK-04")
def test_a_relay_tells_a_bus_what_happens_from_now_on(tmp_path: Path) -> None:
    async def main() -> list[Event]:
        bus = MemoryBus()
        return await relayed(tmp_path, bus, bus)

    assert [event.key for event in asyncio.run(main())] == ["a", "b", "c"]


@pytest.mark.promise("SDK-04")
def test_a_relay_reaches_other_processes_over_nats(tmp_path: Path, nats_server: NatsServer) -> None:
    async def main() -> list[Event]:
        bus, listener = await NatsBus.open(nats_server.address), await NatsBus.open(nats_server.address)
        try:
            return await relayed(tmp_path, bus, listener)
        finally:
            await bus.aclose()
            await listener.aclose()

    assert [event.key for event in asyncio.run(main())] == ["a", "b", "c"]


@pytest.mark.slow
def test_an_unreachable_server_is_named_without_its_password() -> None:
    async def main() -> None:
        await NatsBus.open("nats://user:hidden@127.0.0.1:1")

    with pytest.raises(StorageError) as refused:
        asyncio.run(main())
    assert refused.value.code == "OMG-S002"
    assert "hidden" not in str(refused.value)
