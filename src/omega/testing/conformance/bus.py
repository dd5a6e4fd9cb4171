"""The suite for `kernel.ports.Bus`: messages may be lost in general, but on a sound connection they arrive, in order.

    class TestMyBus(BusConformance):
        @pytest.fixture
        def open_bus(self): return MyBus.open

`await open_bus(buffer=N)` opens another connection to the same bus, whose subscribers keep N messages each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest

from omega.kernel.errors import InputError
from omega.kernel.ports import Bus, Subscription

T = TypeVar("T")

SOON_S = 10.0
"""Longest wait for what must come, in seconds."""

BRIEFLY_S = 0.15
"""How long a test waits for what must not come, in seconds."""

Opener = Callable[..., Awaitable[Bus]]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own."""
    return asyncio.run(main)


async def opened(open_bus: Opener, stack: AsyncExitStack, **options: int) -> Bus:
    """A connection that is closed with the stack."""
    bus = await open_bus(**options)
    stack.push_async_callback(bus.aclose)
    return bus


async def heard(subscription: Subscription, count: int) -> list[tuple[str, bytes]]:
    """The next `count` messages."""
    found = []
    for _ in range(count):
        message = await subscription.next(SOON_S)
        assert message is not None, "a message did not come"
        found.append(message)
    return found


class BusConformance:
    """What every bus promises. Subclass it; see the module's text for the fixture."""

    @pytest.fixture
    def open_bus(self) -> Opener:
        """To be overridden: opens a connection."""
        raise pytest.UsageError("override the fixture open_bus")

    def test_every_subscriber_hears_every_message_in_order(self, open_bus: Opener) -> None:
        async def main() -> list[list[tuple[str, bytes]]]:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                listening = [await bus.subscribe("a.>") for _ in range(2)]
                for number in range(100):
                    await bus.publish("a.b", b"%d" % number)
                return [await heard(each, 100) for each in listening]

        assert run(main()) == [[("a.b", b"%d" % number) for number in range(100)]] * 2

    @pytest.mark.parametrize(
        ("pattern", "topic", "fits"),
        [
            ("a.b", "a.b", True),
            ("a.b", "a.b.c", False),
            ("a.*", "a.b", True),
            ("a.*", "a.b.c", False),
            ("*.b", "a.b", True),
            ("a.>", "a.b.c", True),
            ("a.>", "a", False),
            (">", "x.y:z", True),
            ("a.*.c", "a.b.c", True),
            ("A.b", "a.b", False),
        ],
    )
    def test_patterns_choose_topics(self, open_bus: Opener, pattern: str, topic: str, fits: bool) -> None:
        async def main() -> list[tuple[str, bytes]]:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                one, last = await bus.subscribe(pattern), await bus.subscribe("last")
                await bus.publish(topic, b"1")
                await bus.publish("last", b"2")
                await heard(last, 1)
                message = await one.next(SOON_S if fits else BRIEFLY_S)
                return [] if message is None else [message]

        expected = [(topic, b"1")] if fits else []
        found = [message for message in run(main()) if message[0] != "last"]
        assert found == expected

    def test_nobody_hears_what_was_said_before(self, open_bus: Opener) -> None:
        async def main() -> tuple[str, bytes] | None:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                before = await bus.subscribe("a")
                await bus.publish("a", b"early")
                await heard(before, 1)
                late = await bus.subscribe("a")
                await bus.publish("a", b"late")
                return await late.next(SOON_S)

        assert run(main()) == ("a", b"late")

    def test_a_slow_subscriber_keeps_the_newest_and_counts_what_it_missed(self, open_bus: Opener) -> None:
        async def main() -> tuple[list[bytes], int]:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack, buffer=4)
                slow, quick = await bus.subscribe("a"), await bus.subscribe("a")
                for number in range(10):
                    await bus.publish("a", b"%d" % number)
                    await heard(quick, 1)
                return [body for _, body in await heard(slow, 4)], slow.missed

        assert run(main()) == ([b"6", b"7", b"8", b"9"], 6)

    def test_a_closed_subscription_hears_nothing(self, open_bus: Opener) -> None:
        async def main() -> tuple[str, bytes] | None:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                gone, there = await bus.subscribe("a"), await bus.subscribe("a")
                await gone.aclose()
                await gone.aclose()
                await bus.publish("a", b"1")
                await heard(there, 1)
                return await gone.next(BRIEFLY_S)

        assert run(main()) is None

    def test_a_wait_ends_by_itself(self, open_bus: Opener) -> None:
        async def main() -> list[Any]:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                one = await bus.subscribe("a")
                return [await one.next(0.0), await one.next(BRIEFLY_S), await one.next(-1.0)]

        assert run(main()) == [None, None, None]

    @pytest.mark.parametrize("topic", ["", ".", "a.", ".a", "a b", "a..b", "a.*", ">", "a\n", "ä", "a" * 256])
    def test_what_is_no_topic_is_refused(self, open_bus: Opener, topic: str) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                with pytest.raises(InputError):
                    await bus.publish(topic, b"")

        run(main())

    @pytest.mark.parametrize("pattern", ["", "a.", ">.a", "a>", "a*", "a b", "a" * 256])
    def test_what_is_no_pattern_is_refused(self, open_bus: Opener, pattern: str) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                with pytest.raises(InputError):
                    await bus.subscribe(pattern)

        run(main())

    def test_what_is_too_large_is_refused(self, open_bus: Opener) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                with pytest.raises(InputError):
                    await bus.publish("a", b"x" * ((64 << 10) + 1))

        run(main())

    def test_closing_twice_and_publishing_afterwards_does_no_harm(self, open_bus: Opener) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                bus = await opened(open_bus, stack)
                await bus.subscribe("a")
                await bus.aclose()
                await bus.aclose()
                await bus.publish("a", b"1")

        run(main())
