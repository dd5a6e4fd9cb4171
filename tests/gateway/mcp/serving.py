"""The MCP entrance as `omega up` serves it: an open Omega, its house, the door, a real listener on a free port of this machine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omega.adapters.mcp import Transport, Upstream
from omega.gateway.front.core import App, AsgiScope, Receive, Send
from omega.gateway.front.door import Door, Manners
from omega.gateway.front.server import Listener, Place
from omega.host.embedded import Omega
from omega.host.house import House, entrances
from omega.host.virtual import VIRTUAL
from omega.kernel.ports import Effector
from omega.kernel.service import Offer


@dataclass(frozen=True, slots=True)
class Served:
    """What answers: the open engine, its house, the address of the entrance, and a passport of the owner."""

    omega: Omega
    house: House
    url: str
    passport: str

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends to be the owner."""
        return {"Authorization": f"Bearer {self.passport}"}


@asynccontextmanager
async def serving(
    home: Path,
    upstreams: Iterable[Upstream] = (),
    *,
    virtual: Mapping[str, Mapping[str, Any]] | None = None,
    open_door: bool = False,
    effectors: Sequence[Effector] = (),
    offered: Sequence[Offer] | None = None,
) -> AsyncIterator[Served]:
    """Serve. With `open_door`, whoever comes without a passport is the owner: for clients that cannot send one. `offered` stand in for
    the installed services."""
    os.environ.setdefault("OMEGA_LOG", "")
    async with Omega.open(home, effectors=effectors) as omega:
        for upstream in upstreams:
            await omega.accept(upstream, await omega.describe(upstream))
        for name, body in (virtual or {}).items():
            await omega.arrange(VIRTUAL, name, body)
        house = House(omega, offered=offered)
        manners = Manners(hosts=frozenset({"127.0.0.1", "localhost"}))
        door: App = Door(entrances(house), manners, ready=house.ready, prefix="req_test_")
        passport = omega.passport()
        listener = Listener(_opened(door, passport) if open_door else door, Place(host="127.0.0.1", port=0))  # type: ignore[arg-type]
        await listener.start()
        try:
            yield Served(omega, house, f"{listener.url}/mcp", passport)
        finally:
            listener.close()
            await listener.stop()


def _opened(door: App, passport: str) -> App:
    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not any(name == b"authorization" for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", b"Bearer " + passport.encode())]}
        await door(scope, receive, send)

    return app


def http_upstream(name: str, url: str, **fields: Any) -> Upstream:
    """The record of a server over streamable HTTP."""
    return Upstream(name=name, transport=Transport.HTTP, url=url, **fields)
