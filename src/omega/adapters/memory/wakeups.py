"""Wake-ups within one process: whoever shares a bus hears what any of them says."""

from __future__ import annotations

from collections.abc import Sequence

from omega.adapters.net.hints import Heard


class MemoryWakeups:
    """Implements `kernel.ports.Wakeups` for one listener; `beside` another one it hears what that one says, and the other way round."""

    def __init__(self, *, beside: MemoryWakeups | None = None) -> None:
        self._heard = Heard()
        self._bus: set[Heard] = set() if beside is None else beside._bus
        self._bus.add(self._heard)

    async def hint(self, queue: str) -> None:
        """See `kernel.ports.Wakeups.hint`."""
        for heard in tuple(self._bus):
            heard.hear(queue)

    async def wait(self, queues: Sequence[str], timeout_s: float) -> bool:
        """See `kernel.ports.Wakeups.wait`."""
        return await self._heard.wait(queues, timeout_s)

    async def aclose(self) -> None:
        """Listen no longer. Safe to call twice."""
        self._bus.discard(self._heard)
