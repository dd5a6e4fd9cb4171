"""A real server in the test's own loop: the door, the entrances that the host lists, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from omega.client import Client
from omega.gateway.front.core import Mounted
from omega.gateway.front.door import Door, Manners
from omega.gateway.front.server import Listener, Place
from omega.host.embedded import Omega
from omega.host.house import House, entrances


@dataclass(frozen=True, slots=True)
class Served:
    """A house that answers at `url`."""

    omega: Omega
    house: House
    url: str

    def client(self, principal: str = "", **options: object) -> Client:
        """A client with a passport of `principal` (the owner's unless named)."""
        return Client(self.url, self.omega.passport(principal), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def served(home: Path, *, mounted: Callable[[House], list[Mounted]] = entrances) -> AsyncIterator[Served]:
    """Open an Omega in `home` and answer for it on a free port of the loopback interface, through the entrances that the host lists."""
    async with Omega.open(home) as omega:
        house = House(omega)
        hosts = frozenset({"127.0.0.1", "localhost"})
        door = Door(mounted(house), Manners(hosts=hosts), ready=house.ready, prefix="t")
        listener = Listener(door, Place(host="127.0.0.1", port=0))
        await listener.start()
        try:
            yield Served(omega, house, listener.url)
        finally:
            await door.drain(5)
            await listener.stop()
