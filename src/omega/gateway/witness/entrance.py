"""`POST /add-checkpoint` (C2SP tlog-witness): a log shows that it went on, and gets the witness's line.

    200   the line, which is added below the checkpoint
    400   no request at all                       404   a log that this witness does not watch
    403   not signed by the log's key             422   the proof does not hold
    409   the witness has seen another size: that size, as text/x.tlog.size, from which the log asks again

No passport is asked for: what counts is the log's signature on what it sends, and a witness answers a stranger with nothing that the log's
own checkpoints do not say. How many are answered at once is bounded; what waits longer than that is told to come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from omega.gateway.front.core import AsgiScope, Mounted, Receive, Send
from omega.gateway.front.request import arrival_of, read_body, reply
from omega.kernel.errors import InputError, IntegrityError, StorageError

PATH: Final = "/add-checkpoint"
MAX_REQUEST: Final = 80 << 10
"""Largest body read, in bytes: somewhat above what the witness itself takes for a request, so that it is the one who says so."""

AT_ONCE: Final = 8
"""Requests that are answered at once: each writes to disk before it answers."""

MAX_WAITING: Final = 256
"""Most requests that are read, wait for that, or are answered."""

TEXT: Final = b"text/plain; charset=utf-8"
SIZE: Final = b"text/x.tlog.size"

Cosign = Callable[[bytes], Awaitable[bytes]]
"""Gives the line that answers a request. Raises IntegrityError with the status in its details."""


def entrance(cosign: Cosign) -> Mounted:
    """The entrance, in its place."""
    places = asyncio.Semaphore(AT_ONCE)
    waiting = 0

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        nonlocal waiting
        arrival = arrival_of(scope)
        if arrival.path != PATH:
            raise InputError("OMG-G002", f"there is nothing at {arrival.path[:80]!r}")
        if arrival.method != "POST":
            raise InputError("OMG-G003", "checkpoints are sent here", details={"allow": ["POST"]})
        if waiting >= MAX_WAITING:
            raise StorageError("OMG-G008", "too many logs ask at once", details={"retry_after_s": 5})
        waiting += 1  # before a byte of it is read: what is read and waits takes room
        try:
            raw = await read_body(receive, arrival, most=MAX_REQUEST)
            async with places:
                line = await cosign(raw)
        except IntegrityError as error:
            await _refuse(send, error)
        else:
            await reply(send, 200, line, kind=TEXT)
        finally:
            waiting -= 1

    return Mounted(PATH, app)


async def _refuse(send: Send, error: IntegrityError) -> None:
    details: dict[str, Any] = dict(error.details)
    status = details.get("status")
    if status not in (400, 403, 404, 409, 422):
        raise error
    if status == 409:
        await reply(send, 409, b"%d\n" % int(details["size"]), kind=SIZE)
    else:
        await reply(send, status, f"{error.cause}\n".encode(), kind=TEXT)
