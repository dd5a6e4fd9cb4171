"""A bus within one process: a message is in the buffers of its subscribers when `publish` returns."""

from __future__ import annotations

from omega.adapters.net.topics import BUFFER, Waiting, checked_body, checked_pattern, checked_topic, fits


class MemoryBus:
    """Implements `kernel.ports.Bus`; belongs to one event loop."""

    def __init__(self, *, buffer: int = BUFFER) -> None:
        self._buffer = buffer
        self._heard: dict[MemorySubscription, str] = {}

    async def publish(self, topic: str, body: bytes) -> None:
        """See `kernel.ports.Bus.publish`."""
        checked_topic(topic)
        checked_body(body)
        for subscription, pattern in self._heard.items():
            if fits(pattern, topic):
                subscription.put(topic, body)

    async def subscribe(self, pattern: str) -> MemorySubscription:
        """See `kernel.ports.Bus.subscribe`."""
        made = MemorySubscription(self, self._buffer)
        self._heard[made] = checked_pattern(pattern)
        return made

    async def aclose(self) -> None:
        """Let go of every subscriber. Safe to call twice."""
        self._heard.clear()

    def drop(self, subscription: MemorySubscription) -> None:
        """Let go of one subscriber."""
        self._heard.pop(subscription, None)


class MemorySubscription(Waiting):
    """Implements `kernel.ports.Subscription`."""

    def __init__(self, bus: MemoryBus, size: int) -> None:
        super().__init__(size)
        self._bus = bus

    async def aclose(self) -> None:
        """Hear no more. Safe to call twice."""
        self._bus.drop(self)
