"""Wake-ups over core NATS: the name of a queue as a message on one subject, kept nowhere.

Streams that keep messages (JetStream) would add nothing: the database is the record, and a hint that got lost costs one sweep. Whoever can
publish on the subject can make workers look more often, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from omega.adapters.net.hints import Heard
from omega.kernel.errors import StorageError
from omega.kernel.queueing import MAX_NAME

SUBJECT = "omega.work"
"""The subject of hints, unless an installation has one of its own."""

CONNECT_S = 3.0
"""Longest wait for the first connection, in seconds."""

RECONNECT_S = 0.5
"""Time between two attempts to connect again, in seconds; they never end."""

PENDING_BYTES = 64 << 10
"""Most that waits to be sent while there is no connection; hints beyond it are lost."""

Tls = Callable[[], ssl.SSLContext]
"""Gives the context to connect with: the same object with a newer certificate in it, or a new one."""

_MAX_BYTES = 4 * MAX_NAME
_EXTRA = "install the extra `nats` of this package: it brings nats-py"


class NatsWakeups:
    """Implements `kernel.ports.Wakeups`; belongs to the event loop that opened it."""

    def __init__(self, client: Any, subject: str, heard: Heard) -> None:
        self._client = client
        self._subject = subject
        self._heard = heard

    @classmethod
    async def open(cls, address: str, *, subject: str = SUBJECT, credentials: str | None = None, tls: Tls | None = None) -> NatsWakeups:
        """Listen on the server at `address` (`nats://`, `tls://`), with a credentials file if need be.

        `tls` gives the context to connect with; it is asked again whenever the connection is lost, so that it can renew its certificate.

        Raises StorageError (OMG-S002) when the server cannot be reached; once it was, a lost connection comes back by itself.
        """
        nats = _library()
        heard = Heard()

        async def missed(*_: object) -> None:
            heard.hear_all()

        async def lost(*_: object) -> None:
            if tls is not None:
                tls()

        async def hear(message: Any) -> None:
            if len(message.data) <= _MAX_BYTES:
                heard.hear(message.data.decode(errors="replace"))

        client = nats.NATS()
        try:
            async with asyncio.timeout(CONNECT_S):  # the client itself would try for ever, the first time too
                await client.connect(
                    address,
                    name="omega wake-ups",
                    reconnect_time_wait=RECONNECT_S,
                    max_reconnect_attempts=-1,
                    pending_size=PENDING_BYTES,
                    user_credentials=credentials,
                    reconnected_cb=missed,
                    disconnected_cb=lost,
                    error_cb=lost,  # one that fails is made again; nothing is lost but hints
                    **({} if tls is None else {"tls": tls()}),
                )
                await client.subscribe(subject, cb=hear)
                await client.flush()
        except (nats.errors.Error, OSError, ValueError) as error:
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.close()
            raise StorageError(  # never with the address, which may hold a password
                "OMG-S002", f"the wake-ups cannot be opened: {type(error).__name__}", advice="correct the address, or start the server"
            ) from None
        return cls(client, subject, heard)

    async def hint(self, queue: str) -> None:
        """See `kernel.ports.Wakeups.hint`."""
        with contextlib.suppress(_library().errors.Error, OSError):  # a hint that cannot be sent is lost
            await self._client.publish(self._subject, queue.encode())

    async def wait(self, queues: Sequence[str], timeout_s: float) -> bool:
        """See `kernel.ports.Wakeups.wait`."""
        return await self._heard.wait(queues, timeout_s)

    async def aclose(self) -> None:
        """Listen no longer. Safe to call twice."""
        with contextlib.suppress(_library().errors.Error, OSError):
            await self._client.close()


def _library() -> Any:
    """The module nats, loaded on first use. Raises StorageError (OMG-S002) when it is not installed."""
    try:
        import nats
        import nats.errors
    except ImportError as error:
        raise StorageError("OMG-S002", "wake-ups over NATS need nats-py", advice=_EXTRA) from error
    return nats
