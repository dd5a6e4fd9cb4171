"""`omega witness serve`: a witness on a listener of its own, with the door and the bounds that every entrance has.

One process has the folder, so nothing comes between what is remembered and what is answered; each answer waits for the disk in a thread.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from omega.host.serving import Stop
from omega.host.up import Opening, Tell, tls_of
from omega.host.witnessing import Desk
from omega.kernel.errors import OmegaError, lacking


async def serve_witness(
    folder: Path, opening: Opening, tell: Tell, stop: Stop, now_s: Callable[[], int] = lambda: int(time.time())
) -> None:
    """Answer logs until `stop` says so. Raises InputError (OMG-X001), StorageError (OMG-T003), and what `Desk.open` raises."""
    from omega.gateway.front.door import Door, Manners

    try:
        from omega.gateway.front.server import Listener, Place
    except ImportError as error:
        raise lacking(str(error.name)) from error
    from omega.gateway.witness import entrance

    desk = Desk.open(folder)

    async def cosign(raw: bytes) -> bytes:
        return await asyncio.to_thread(desk.cosign, raw, now_s())

    def ready() -> str:
        with suppress(OmegaError, OSError):
            desk.logs()
            return ""
        return "the folder cannot be read"

    door = Door([entrance(cosign)], Manners(hosts=opening.hosts), ready=ready, prefix=f"wit_{os.urandom(4).hex()}_")
    place = Place(host=opening.host, port=opening.port, proxies=tuple(opening.proxies), tls=tls_of(opening))
    listener = Listener(door, place)
    await listener.start()
    try:
        tell("up", {"url": listener.url, "store": str(folder), "name": desk.name, "key": desk.key.text(), "pid": os.getpid()})
        asked, ended = asyncio.create_task(stop.wait()), listener.ended
        await asyncio.wait({asked, *([ended] if ended else [])}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        listener.close()
        await door.drain(opening.drain_s)
    finally:
        await listener.stop()
