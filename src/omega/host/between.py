"""What the processes of one installation tell each other about executions that run: short messages on a bus, sealed under its keys.

    ROOT.ask            heard by every process: tell me when it comes to rest; show me its parts, so many and no more until I ask again
    ROOT.entrances      heard by every process with entrances: what one of them has for the same one elsewhere
    ROOT.<address>      heard by one process: parts, and that an execution came to rest

Messages are lost, doubled and replayed without harm: what counts stands in the records, and whoever waits looks there too, now and then.
Each is sealed for the topic it travels on, so that the bus's server, and whoever else listens there, sees sizes and nothing else.
ROOT names the installation by its log's key: several may share a bus, and none opens another's messages.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

from omega.host.embedded import Omega
from omega.host.storage import open_bus
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.ports import Bus, Subscription
from omega.trust.sealing import Keyring

ASK = "ask"
"""The last word of the topic that every process hears."""

ENTRANCES = "entrances"
"""The last word of the topic that every process with entrances hears."""

WINDOW = 64
"""Parts that may be on their way from one process to one that watches."""

MAX_MESSAGE = 48 << 10
"""Largest message in bytes, before it is sealed."""

HEAR_S = 5.0
"""How often it is looked whether the bus is still there, in seconds."""

_LENGTH = 2
"""Bytes that say how long the wrapped key is."""

Said = Mapping[str, Any]


class Between:
    """One process among those of its installation. `address` is where it is told what concerns it alone."""

    def __init__(self, bus: Bus, keyring: Keyring, *, root: str, address: str) -> None:
        self._bus = bus
        self._keyring = keyring
        self._root = root
        self.address = address
        self.relayed: set[tuple[str, str]] = set()
        """Executions (tenant, execution) whose parts come from elsewhere: they are not told on."""

    async def tell(self, to: str, said: Said) -> bool:
        """Tell the process at `to`, or all of them (`ASK`); whether the message was small enough to go."""
        topic, plain = f"{self._root}.{to}", json.dumps(said, separators=(",", ":")).encode()
        if len(plain) > MAX_MESSAGE:
            return False
        wrapped, sealer = self._keyring.create(topic)
        try:
            await self._bus.publish(topic, len(wrapped).to_bytes(_LENGTH, "big") + wrapped + sealer.seal(plain, topic.encode()))
        except InputError:
            return False
        return True

    async def subscribe(self, to: str) -> Subscription:
        """What is told to `to` from now on."""
        return await self._bus.subscribe(f"{self._root}.{to}")

    async def hear(self, subscription: Subscription, take: Callable[[Said], None]) -> None:
        """Hand on every message of ours that comes, for ever."""
        while True:
            message = await subscription.next(HEAR_S)
            said = None if message is None else self._opened(*message)
            if said is not None:
                take(said)

    def _opened(self, topic: str, body: bytes) -> Said | None:
        size = int.from_bytes(body[:_LENGTH], "big")
        try:
            sealer = self._keyring.open(topic, body[_LENGTH : _LENGTH + size])
            said = json.loads(sealer.open(body[_LENGTH + size :], topic.encode()))
        except (IntegrityError, ValueError):  # somebody else's, or nobody's
            return None
        return said if isinstance(said, dict) else None


@asynccontextmanager
async def between(omega: Omega) -> AsyncIterator[Between | None]:
    """This process among those on the same records, for as long as it is open; None where it is the only one.

    Raises StorageError (OMG-S002) when the bus cannot be reached.
    """
    if not omega.settings.store.shared:
        yield None
        return
    bus = await open_bus(omega.settings)
    root = f"omega.live.{sha256(omega.identity.log_public).hexdigest()[:16]}"
    try:
        yield Between(bus, omega.world.keyring, root=root, address=omega.world.entropy.take(8).hex())
    finally:
        await asyncio.shield(bus.aclose())
