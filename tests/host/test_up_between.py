"""What processes tell each other is sealed for whom it is told to: nobody else on the bus can read it, make it up or send it elsewhere."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from omega.adapters.bus import MemoryBus
from omega.host.between import ASK, MAX_MESSAGE, Between
from omega.trust.sealing import Keyring

SECRET = "a value that nobody else may see"
SOON_S = 60.0


def between(bus: MemoryBus, keyring: Keyring, address: str = "here", root: str = "omega.live.one") -> Between:
    return Between(bus, keyring, root=root, address=address)


def keyring() -> Keyring:
    return Keyring(os.urandom(32), entropy=os.urandom)


async def taken(ours: Between, to: str, work: Any) -> list[Any]:
    """What `ours` takes in of what `work` tells to `to`; it has taken in everything before the last word."""
    found: list[Any] = []
    subscription = await ours.subscribe(to)
    hearing = asyncio.create_task(ours.hear(subscription, found.append))
    await work()
    await ours.tell(to, {"last": True})
    async with asyncio.timeout(SOON_S):
        while {"last": True} not in found:
            await asyncio.sleep(0)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    return [each for each in found if each != {"last": True}]


@pytest.mark.promise("DOOR-17")
def test_a_message_is_for_those_with_the_keys_on_the_topic_it_was_told_on() -> None:
    async def main() -> None:
        bus, keys = MemoryBus(), keyring()
        sender, receiver, stranger = between(bus, keys, "there"), between(bus, keys), between(bus, keyring(), "elsewhere")
        wire = await bus.subscribe(">")

        async def work() -> None:
            await sender.tell("here", {"part": SECRET})
            sent = await wire.next(SOON_S)
            assert sent is not None and SECRET.encode() not in sent[1]
            await bus.publish("omega.live.one.here", sent[1])  # once more, as it was: the same message
            await bus.publish("omega.live.one.there", sent[1])  # to somebody else
            await sender.tell(ASK, {"execution": "exe_1"})
            asked = await wire.next(SOON_S)
            while asked is not None and not asked[0].endswith(ASK):
                asked = await wire.next(SOON_S)
            assert asked is not None
            await bus.publish("omega.live.one.here", asked[1])  # a question as if it were a part
            for nonsense in (b"", b"\xff\xff", sent[1][:-1], sent[1][:40], os.urandom(200)):
                await bus.publish("omega.live.one.here", nonsense)
            await stranger.tell("here", {"part": "made up"})

        assert await taken(receiver, "here", work) == [{"part": SECRET}] * 2

    asyncio.run(main())


@pytest.mark.promise("DOOR-17")
def test_what_is_too_large_for_a_message_is_not_told_and_says_so() -> None:
    async def main() -> None:
        bus, keys = MemoryBus(), keyring()
        sender, receiver = between(bus, keys, "there"), between(bus, keys)
        told: list[bool] = []

        async def work() -> None:
            for size in (MAX_MESSAGE, 10):
                told.append(await sender.tell("here", {"part": "x" * size}))

        assert await taken(receiver, "here", work) == [{"part": "x" * 10}]
        assert told == [False, True]

    asyncio.run(main())
