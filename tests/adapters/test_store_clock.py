"""The fake clock: time passes when a test says so, and then completely."""

from __future__ import annotations

import asyncio

import pytest

from omega.kernel.ports import Clock
from omega.testing.clock import START_US, FakeClock


def test_it_stands_still_until_advanced() -> None:
    async def main() -> None:
        clock = FakeClock()
        port: Clock = clock
        assert (port.now_us(), port.monotonic()) == (START_US, 0.0)
        await clock.advance(1.5)
        assert (port.now_us(), port.monotonic()) == (START_US + 1_500_000, 1.5)

    asyncio.run(main())


def test_sleepers_wake_in_order_of_their_deadlines_at_their_own_time() -> None:
    async def main() -> list[tuple[str, float]]:
        clock = FakeClock()
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic()))

        async with asyncio.TaskGroup() as group:
            for name, naps in (("late", (3.0,)), ("twice", (1.0, 1.0)), ("early", (1.0,)), ("now", (0.0,))):
                group.create_task(sleeper(name, *naps))
            while clock.sleeping < 3 or not woken:
                await asyncio.sleep(0)
            await clock.advance(2.5)
            woken.append(("advanced", clock.monotonic()))
            await clock.advance(0.5)
        return woken

    expected = [("now", 0.0), ("twice", 1.0), ("early", 1.0), ("twice", 2.0), ("advanced", 2.5), ("late", 3.0)]
    assert asyncio.run(main()) == expected


def test_a_jump_moves_wall_time_alone() -> None:
    async def main() -> None:
        clock = FakeClock()
        nap = asyncio.ensure_future(clock.sleep(10))
        await asyncio.sleep(0)
        clock.jump(3_600)
        assert (clock.now_us(), clock.monotonic()) == (START_US + 3_600_000_000, 0.0)
        clock.jump(-7_200)
        assert clock.now_us() == START_US - 3_600_000_000
        await clock.advance(9.999)
        assert not nap.done()
        await clock.advance(0.001)
        assert nap.done()
        assert clock.now_us() == START_US - 3_590_000_000

    asyncio.run(main())


def test_a_cancelled_sleeper_is_forgotten() -> None:
    async def main() -> None:
        clock = FakeClock()
        nap = asyncio.ensure_future(clock.sleep(1))
        await asyncio.sleep(0)
        assert clock.sleeping == 1
        nap.cancel()
        await asyncio.gather(nap, return_exceptions=True)
        assert clock.sleeping == 0
        await clock.advance(2)
        assert clock.monotonic() == 2.0

    asyncio.run(main())


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="jump"):
        asyncio.run(FakeClock().advance(-1))
