"""Telling a bus what the record tells: every event of every tenant, from now on, to whoever listens.

    omega.events.<tenant>.<area>.<verb>        one CloudEvents document per message

A bus loses messages; a listener that must not lose one reads the feed after the `sequence` of the last event that it dealt with. So a relay
keeps no position: two of them tell everything twice, none of them nothing, and the record is the same.
"""

from __future__ import annotations

import asyncio
import json

from omega.adapters.bus import NatsBus
from omega.contracts.events import Event, Interest
from omega.host.events import LOOK_S, Feed
from omega.kernel.errors import InputError
from omega.kernel.ports import Bus, Reader

ROOT = "omega.events"
"""The first words of every topic."""

SCHEMES = ("nats://", "tls://")
"""How the address of a bus begins."""

PAGE = 500
"""Most events of one tenant that are told before the next tenant has its turn."""


class Relay:
    """Publishes what `feed` tells on `bus`; `told` counts how much."""

    def __init__(self, reader: Reader, feed: Feed, bus: Bus, interest: Interest | None = None) -> None:
        self._reader, self._feed, self._bus, self._interest = reader, feed, bus, interest
        self._after = {tenant: feed.newest(tenant) for tenant in reader.tenants()}
        self.told = 0

    async def run(self) -> None:
        """Tell for ever. Raises StorageError when the store fails."""
        while True:
            if not await self.turn():
                await asyncio.sleep(LOOK_S)

    async def turn(self) -> bool:
        """Tell a page of each tenant; whether there may be more right behind it. A tenant that is new is told of from its beginning."""
        more = False
        for tenant in self._reader.tenants():
            page = self._feed.read(tenant, self._after.get(tenant, -1), self._interest, PAGE)
            for event in page.events:
                await self._tell(event)
            self._after[tenant] = page.position
            more = more or page.more
        return more

    async def _tell(self, event: Event) -> None:
        try:
            await self._bus.publish(topic_of(event), json.dumps(event.cloud(), separators=(",", ":")).encode())
        except InputError:  # larger than the bus carries: whoever wants it reads the feed
            return
        self.told += 1


def topic_of(event: Event) -> str:
    """Where `event` is published."""
    return f"{ROOT}.{event.tenant}.{event.type.replace(':', '.')}"


async def open_bus(address: str, credentials: str = "") -> Bus:
    """The bus at `address`, with a credentials file where there is one.

    Raises InputError (OMG-X001) for an address that cannot be meant, StorageError (OMG-S002) for one that cannot be reached.
    """
    if not address.startswith(SCHEMES):  # never with the address, which may hold a password
        raise InputError("OMG-X001", "that is no address of a NATS server", advice="write it as nats://HOST:PORT or tls://HOST:PORT")
    return await NatsBus.open(address, credentials=credentials or None)
