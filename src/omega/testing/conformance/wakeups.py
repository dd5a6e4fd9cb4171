"""The suite for `kernel.ports.Wakeups`: hints may be lost, doubled and late in general, but on a sound connection they arrive.

    class TestMyWakeups(WakeupsConformance):
        @pytest.fixture
        def open_wakeups(self): return MyWakeups.open

`await open_wakeups()` opens another listener, which hears all others of this test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest

from omega.kernel.ports import Wakeups

T = TypeVar("T")

SOON_S = 10.0
"""Longest wait for what must come, in seconds."""

BRIEFLY_S = 0.15
"""How long a test waits for what must not come, in seconds."""

Opener = Callable[[], Awaitable[Wakeups]]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own."""
    return asyncio.run(main)


async def listen(open_wakeups: Opener, stack: AsyncExitStack, *queues: str) -> Wakeups:
    """A listener that has forgotten what it may have missed before it was there."""
    wakeups = await open_wakeups()
    stack.push_async_callback(wakeups.aclose)
    while await wakeups.wait(queues, 0.0):
        pass
    return wakeups


class WakeupsConformance:
    """What every carrier of hints promises. Subclass it; see the module's text for the fixture."""

    @pytest.fixture
    def open_wakeups(self) -> Opener:
        """To be overridden: opens a listener."""
        raise pytest.UsageError("override the fixture open_wakeups")

    def test_a_hint_ends_the_wait_of_every_listener(self, open_wakeups: Opener) -> None:
        async def main() -> list[bool]:
            async with AsyncExitStack() as stack:
                listeners = [await listen(open_wakeups, stack, "work") for _ in range(3)]
                waits = [asyncio.create_task(each.wait(["other", "work"], SOON_S)) for each in listeners]
                await asyncio.sleep(0)
                await listeners[0].hint("work")
                return list(await asyncio.gather(*waits))

        assert run(main()) == [True, True, True]

    def test_a_hint_that_came_before_the_wait_counts_once(self, open_wakeups: Opener) -> None:
        async def main() -> list[bool]:
            async with AsyncExitStack() as stack:
                one, other = [await listen(open_wakeups, stack, "work", "later") for _ in range(2)]
                await other.hint("work")
                await other.hint("later")
                assert await one.wait(["later"], SOON_S), "hints of one sender arrive in order"
                return [await one.wait(["work"], 0.0), await one.wait(["work"], BRIEFLY_S)]

        assert run(main()) == [True, False]

    def test_hints_for_other_queues_are_left_for_those_who_ask(self, open_wakeups: Opener) -> None:
        async def main() -> list[bool]:
            async with AsyncExitStack() as stack:
                one, other = [await listen(open_wakeups, stack, "work", "other") for _ in range(2)]
                await other.hint("other")
                return [await one.wait(["work"], BRIEFLY_S), await one.wait(["other"], SOON_S)]

        assert run(main()) == [False, True]

    def test_without_a_hint_the_wait_ends_by_itself(self, open_wakeups: Opener) -> None:
        async def main() -> list[bool]:
            async with AsyncExitStack() as stack:
                one = await listen(open_wakeups, stack, "work")
                return [await one.wait(["work"], 0.0), await one.wait([], BRIEFLY_S), await one.wait(["work"], -1.0)]

        assert run(main()) == [False, False, False]

    @pytest.mark.parametrize("queue", ["a b", "ünïcode", "star.*.>", "it's", '"quoted"', "x" * 64])
    def test_any_name_of_a_queue_is_carried(self, open_wakeups: Opener, queue: str) -> None:
        async def main() -> bool:
            async with AsyncExitStack() as stack:
                one, other = [await listen(open_wakeups, stack, queue) for _ in range(2)]
                await other.hint(queue)
                return await one.wait([queue], SOON_S)

        assert run(main())

    def test_many_hints_are_one_look(self, open_wakeups: Opener) -> None:
        async def main() -> list[bool]:
            async with AsyncExitStack() as stack:
                one, other = [await listen(open_wakeups, stack, "work", "last") for _ in range(2)]
                for _ in range(500):
                    await other.hint("work")
                await other.hint("last")
                assert await one.wait(["last"], SOON_S)
                return [await one.wait(["work"], 0.0), await one.wait(["work"], 0.0)]

        assert run(main()) == [True, False]

    def test_a_wait_that_is_given_up_takes_nothing_with_it(self, open_wakeups: Opener) -> None:
        async def main() -> bool:
            async with AsyncExitStack() as stack:
                one, other = [await listen(open_wakeups, stack, "work") for _ in range(2)]
                waiting = asyncio.create_task(one.wait(["work"], SOON_S))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                await other.hint("work")
                return await one.wait(["work"], SOON_S)

        assert run(main())

    def test_a_closed_one_says_nothing_and_raises_nothing(self, open_wakeups: Opener) -> None:
        async def main() -> bool:
            async with AsyncExitStack() as stack:
                one, other = [await listen(open_wakeups, stack, "work") for _ in range(2)]
                await other.aclose()
                await other.aclose()
                await other.hint("work")
                await one.hint("work")
                return await one.wait(["work"], SOON_S)

        assert run(main())
