"""Parts for another process: as many as it asked for, of its own tenant's executions, while it asks; and a word when they come to rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from omega import Context, stream
from omega.adapters.bus import MemoryBus
from omega.host.between import ASK, WINDOW, Between
from omega.host.elsewhere import Elsewhere
from omega.host.embedded import Omega
from omega.host.orders import Placing, Wanted
from omega.host.showing import STALE_US, Showing
from omega.host.targets import Target
from omega.kernel.errors import StorageError

SOON_S = 60.0
MANY = WINDOW + 30


@stream(reduce="last", effect="read")
async def count(ctx: Context, to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


def nobody(execution: str) -> bool:
    """Nobody goes on with it."""
    return False


class Asker:
    """Another process, by hand: it asks, and keeps what it is told."""

    def __init__(self, omega: Omega, bus: MemoryBus, address: str) -> None:
        self.omega = omega
        self.between = Between(bus, omega.world.keyring, root="omega.live.one", address=address)
        self.heard: list[Any] = []

    async def listen(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.between.hear(await self.between.subscribe(self.between.address), self.heard.append))

    async def ask(self, execution: str, credit: int, *, tenant: str = "local", age_us: int = 0, by: str = "") -> None:
        at_us = self.omega.world.clock.now_us() - age_us
        said = {"tenant": tenant, "execution": execution, "to": self.between.address, "watch": self.between.address, "credit": credit}
        await self.between.tell(ASK, {**said, "by": by, "at_us": at_us})

    async def until(self, number: int) -> None:
        async with asyncio.timeout(SOON_S):
            while len(self.heard) < number:
                await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.promise("DOOR-17")
def test_no_more_parts_are_sent_than_were_asked_for_and_none_to_those_who_may_not_see_them(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with Omega.open(tmp_path / "home") as omega:
            showing = Showing(omega, Between(bus, omega.world.keyring, root="omega.live.one", address="here"))
            askers = [Asker(omega, bus, name) for name in ("near", "foreign", "late", "waiting", "moved")]
            near, foreign, late, waiting, moved = askers
            listening = [await each.listen() for each in askers]
            running = asyncio.create_task(showing.run())
            await asyncio.sleep(0)
            await near.ask("one", 3)
            await foreign.ask("one", 99, tenant="ten_other")
            await late.ask("one", 99, age_us=STALE_US + 1_000_000)
            await waiting.ask("one", 0)
            await moved.ask("one", 10_000, by="a process that was killed")  # what it counts is nothing to this one
            async with asyncio.timeout(SOON_S):
                while not omega.world.streams.watched("local", "one"):
                    await asyncio.sleep(0.01)
            making = asyncio.create_task(omega.run(count, MANY, execution="one"))  # it waits for its readers, once their buffers are full
            await near.until(3)
            await moved.until(WINDOW)
            assert ([each["part"][2] for each in near.heard], len(moved.heard)) == ([0, 1, 2], WINDOW)
            await moved.ask("one", MANY, by="here")
            await near.ask("one", MANY)
            await near.until(MANY + 1)
            await moved.until(MANY + 1)
            assert (await making).value == MANY - 1
            await waiting.until(1)
            assert [each["part"][1:] for each in near.heard[:-1]] == [[number, number] for number in range(MANY)]
            assert [each["n"] for each in near.heard[:-1]] == list(range(1, MANY + 1))
            assert near.heard[-1] == {"watch": "near", "over": True}
            assert (waiting.heard, foreign.heard, late.heard) == ([{"watch": "waiting", "over": True}], [], [])
            for task in (running, *listening):
                task.cancel()
            await asyncio.gather(running, *listening, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.promise("DOOR-17")
def test_whoever_takes_a_stream_up_is_heard_and_nothing_is_shown_twice(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with Omega.open(tmp_path / "home") as omega:
            here, there = (Between(bus, omega.world.keyring, root="omega.live.one", address=name) for name in ("here", "there"))
            elsewhere = Elsewhere(omega, here, nobody, nobody)
            hearing = asyncio.create_task(elsewhere.hear())
            asked: list[Any] = []
            listening = asyncio.create_task(there.hear(await there.subscribe(ASK), asked.append))
            await omega.enqueue(Wanted(target=Target("tests:count", count, ()), input=3, execution="one", placing=Placing(queue="away")))
            watching = omega.world.streams.watch("local", "one")
            await elsewhere.follow("local", "one").wait()
            async with asyncio.timeout(SOON_S):
                while not asked:
                    await asyncio.sleep(0.01)

            async def show(by: str, *numbers: int) -> None:
                for number in numbers:
                    said = {"watch": asked[0]["watch"], "by": by, "n": number + 1, "part": ["count", number, f"{by} {number}"]}
                    await there.tell("here", said)

            await there.tell("here", {"watch": asked[0]["watch"], "part": "none"})
            await show("first", 0, 1, 1)
            await show("second", 0, 1)  # the first was killed, and its step begins again
            await show("first", 0, 1)  # somebody repeats what they heard
            await show("second", 0, 2)
            async with asyncio.timeout(SOON_S):
                seen = [(await anext(watching)).value for _ in range(5)]
            assert seen == ["first 0", "first 1", "second 0", "second 1", "second 2"]
            watching.close()
            for task in (hearing, listening):
                task.cancel()
            await asyncio.gather(hearing, listening, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.promise("DOOR-17")
def test_records_out_of_reach_end_what_is_watched_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with Omega.open(tmp_path / "home") as omega:
            here, there = (Between(bus, omega.world.keyring, root="omega.live.one", address=name) for name in ("here", "there"))
            elsewhere = Elsewhere(omega, here, nobody, nobody)
            hearing = asyncio.create_task(elsewhere.hear())
            asked: list[Any] = []
            listening = asyncio.create_task(there.hear(await there.subscribe(ASK), asked.append))
            await omega.enqueue(Wanted(target=Target("tests:count", count, ()), input=3, execution="one", placing=Placing(queue="away")))
            watching = omega.world.streams.watch("local", "one")
            await elsewhere.follow("local", "one").wait()
            following = elsewhere._following["local", "one"].task
            async with asyncio.timeout(SOON_S):
                while not asked:
                    await asyncio.sleep(0.01)

            def gone(execution: str) -> Any:
                raise StorageError("OMG-S002", "the database is away")

            with monkeypatch.context() as patched:
                patched.setattr(omega.store, "line", gone)
                await there.tell("here", {"watch": asked[0]["watch"], "over": True})
                async with asyncio.timeout(SOON_S):
                    assert [part async for part in watching] == []
                    await following
            for task in (hearing, listening):
                task.cancel()
            await asyncio.gather(hearing, listening, return_exceptions=True)

    asyncio.run(main())
