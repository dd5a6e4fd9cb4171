"""What the listeners of a process were seen to do in TLS when it began: a part of what `omega up` says first.

Of each listener: its address, the version, the cipher and the group of key agreement of a handshake with it, whether that is hybrid
post-quantum, and when its certificate ends (Unix seconds). One without TLS is told too, as such.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from omega.adapters.certificates import look, look_there
from omega.host.workload import told

if TYPE_CHECKING:
    from omega.adapters.certificates import Credentials
    from omega.gateway.front.server import Place

HTTP2 = "h2"
"""What gRPC speaks (ALPN)."""


async def reported(url: str, place: Place, held: Credentials | None, grpc: int = 0) -> list[dict[str, Any]]:
    """The listener at `url`, and the one for gRPC at that port. `held` is this installation's own certificate, where that is what it shows.

    Raises InputError (OMG-X001) for a listener that completes no handshake.
    """
    tls = place.tls
    found = [told(url, None if tls is None else look(tls) if held is None else held.look_at(tls))]
    if grpc:
        host = url.rpartition("://")[2].rpartition(":")[0]
        there = None if tls is None else await asyncio.to_thread(look_there, host.strip("[]"), grpc, HTTP2)
        found.append(told(f"grpc://{host}:{grpc}", there))
    return found
