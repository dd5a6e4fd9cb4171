"""A bus over core NATS: many processes, many hosts, nothing kept.

JetStream would keep messages, but it acknowledges before they are on disk, and the record has them already: a subscriber that was away
reads the feed from the position of its last event.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

from omega.adapters.net.topics import BUFFER, Waiting, checked_body, checked_pattern, checked_topic
from omega.kernel.errors import StorageError

CONNECT_S = 3.0
"""Longest wait for the first connection, in seconds."""

RECONNECT_S = 0.5
"""Time between two attempts to connect again, in seconds; they never end."""

PENDING_BYTES = 4 << 20
"""Most that waits to be sent while there is no connection; messages beyond it are lost."""

Tls = Callable[[], ssl.SSLContext]
"""Gives the context to connect with: the same object with a newer certificate in it, or a new one."""

_EXTRA = "install the extra `nats` of this package: it brings nats-py"


class NatsBus:
    """Implements `kernel.ports.Bus`; belongs to the event loop that opened it."""

    def __init__(self, client: Any, *, buffer: int = BUFFER) -> None:
        self._client = client
        self._buffer = buffer

    @classmethod
    async def open(
        cls, address: str, *, credentials: str | None = None, buffer: int = BUFFER, tls: Tls | None = None, name: str = "omega events"
    ) -> NatsBus:
        """Connect to the server at `address` (`nats://`, `tls://`), with a credentials file if need be.

        `tls` gives the context to connect with; it is asked again whenever the connection is lost, so that it can renew its certificate.

        Raises StorageError (OMG-S002) when it cannot be reached; once it was, a lost connection comes back by itself.
        """
        nats = _library()
        client = nats.NATS()

        async def lost(*_: object) -> None:
            """A connection that fails is made again; nothing is lost but messages that the record has."""
            if tls is not None:
                tls()

        try:
            async with asyncio.timeout(CONNECT_S):  # the client itself would try for ever, the first time too
                await client.connect(
                    address,
                    name=name,
                    reconnect_time_wait=RECONNECT_S,
                    max_reconnect_attempts=-1,
                    pending_size=PENDING_BYTES,
                    user_credentials=credentials,
                    disconnected_cb=lost,
                    error_cb=lost,
                    **({} if tls is None else {"tls": tls()}),
                )
        except (nats.errors.Error, OSError, ValueError) as error:
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.close()
            raise StorageError(  # never with the address, which may hold a password
                "OMG-S002", f"the bus cannot be opened: {type(error).__name__}", advice="correct the address, or start the server"
            ) from None
        return cls(client, buffer=buffer)

    async def publish(self, topic: str, body: bytes) -> None:
        """See `kernel.ports.Bus.publish`."""
        checked_topic(topic)
        checked_body(body)
        with contextlib.suppress(_library().errors.Error, OSError):  # a message that cannot be sent is lost
            await self._client.publish(topic, body)

    async def subscribe(self, pattern: str) -> NatsSubscription:
        """See `kernel.ports.Bus.subscribe`. The server knows of the subscription when this returns."""
        checked_pattern(pattern)
        made = NatsSubscription(self._buffer)
        await made.listen(self._client, pattern)
        return made

    async def aclose(self) -> None:
        """Send what waits and disconnect. Safe to call twice."""
        with contextlib.suppress(_library().errors.Error, OSError):
            if self._client.is_connected:
                await self._client.flush()
            await self._client.close()


class NatsSubscription(Waiting):
    """Implements `kernel.ports.Subscription`."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._heard: Any = None

    async def listen(self, client: Any, pattern: str) -> None:
        """Hear `pattern`. Nothing is done twice: a subscription listens once."""

        async def hear(message: Any) -> None:
            self.put(message.subject, message.data)

        self._heard = await client.subscribe(pattern, cb=hear)
        with contextlib.suppress(_library().errors.Error, OSError):
            await client.flush()

    async def aclose(self) -> None:
        """Hear no more. Safe to call twice."""
        heard, self._heard = self._heard, None
        if heard is not None:
            with contextlib.suppress(_library().errors.Error, OSError):
                await heard.unsubscribe()


def _library() -> Any:
    """The module nats, loaded on first use. Raises StorageError (OMG-S002) when it is not installed."""
    try:
        import nats
        import nats.errors
    except ImportError as error:
        raise StorageError("OMG-S002", "a bus over NATS needs nats-py", advice=_EXTRA) from error
    return nats
