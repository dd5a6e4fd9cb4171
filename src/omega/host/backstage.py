"""`omega up --role worker`: queues worked off by the command that opens gateways, with nothing at the port but health.

The work is that of `omega worker`. What is added is what whoever runs many processes asks of each: `/livez` while it lives, `/readyz` while
it has its database and takes up work.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omega.gateway.front.door import Door, Manners
from omega.gateway.front.server import Listener, Place
from omega.host.boot import reported
from omega.host.clock import SystemEntropy
from omega.host.serving import Service, Stop, Tell, serve
from omega.host.settings import Settings

if TYPE_CHECKING:
    from omega.adapters.certificates import Credentials

NOT_YET = "the worker does not serve yet"
LOST = "the database is lost, and opened again and again"
STOPPING = "the process is stopping"


async def work_behind(
    home: str | os.PathLike[str] | None,
    service: Service,
    place: Place,
    hosts: frozenset[str],
    tell: Tell,
    stop: Stop,
    *,
    held: Credentials | None = None,
) -> None:
    """Work as `service` says until `stop` says so, with health at `place` under the names `hosts`; `held` is the certificate there, where
    it is this installation's own, and is kept fresh.

    Raises what `serve` raises, and InputError (OMG-X001) for an address that cannot be had.
    """
    why = NOT_YET

    def told(event: str, facts: Mapping[str, Any]) -> None:
        nonlocal why
        why = {"serving": "", "reopened": "", "lost": LOST}.get(event, why)
        tell(event, facts)

    def ready() -> str:
        return STOPPING if stop.asked else why

    door = Door([], Manners(hosts=hosts), ready=ready, prefix=f"req_{SystemEntropy().take(5).hex()}_")
    listener = Listener(door, place)
    await listener.start()
    following = (
        None if held is None else asyncio.create_task(held.follow(lambda error: tell("tls", {"code": error.code, "error": error.cause})))
    )
    try:
        facts = {"url": listener.url, "store": Settings.load(home).place, "pid": os.getpid(), "role": "worker"}
        tell("up", facts | {"listeners": await reported(listener.url, place, held)})
        await serve(home, service, told, stop)
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await listener.stop()
