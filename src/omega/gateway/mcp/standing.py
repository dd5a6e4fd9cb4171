"""What the older era keeps between two requests: which resources a session watches, and the stream on which it is told (a GET).

A session watches in the process that it asked. Nothing is lost with that process but notices: a client that comes back subscribes again,
as it does after any break.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from omega.gateway.mcp.asked import MAX_URI, Asked
from omega.gateway.mcp.exchange import Exchange
from omega.gateway.mcp.hall import Hall, Source
from omega.gateway.mcp.listening import KINDS, MAX_WATCHED, Watched, begin, follow, forget, numbers, until_gone
from omega.gateway.mcp.listing import Lists, unwatch
from omega.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, ProtocolFault
from omega.wire.sse import PING

MAX_SESSIONS: Final = 10_000
"""Sessions that watch something, in one process; the one that subscribed longest ago is dropped first."""

GRACE_S: Final = 30.0
"""How long a session may be without a stream before what it watches is forgotten, in seconds: clients open a broken stream again."""


@dataclass(slots=True)
class _Sitting:
    """What one session watches, as whom it last asked, and how many streams it has open."""

    asked: Asked | None = None
    watched: dict[str, Watched] = field(default_factory=dict)
    streams: int = 0


class Standing:
    """The streams and subscriptions of the older era in one process."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._sittings: OrderedDict[str, _Sitting] = OrderedDict()

    async def subscribe(self, session: str, asked: Asked, lists: Lists) -> dict[str, Any]:
        """`resources/subscribe`. Raises ProtocolFault."""
        if not session:
            raise ProtocolFault(INVALID_REQUEST, "there is no session to tell: begin with initialize")
        uri = asked.text("uri", MAX_URI)
        sitting = self._sitting(session)
        if uri not in sitting.watched:
            if len(sitting.watched) >= MAX_WATCHED:
                raise ProtocolFault(INVALID_PARAMS, f"a session watches at most {MAX_WATCHED} resources")
            sitting.watched[uri] = await begin(asked, lists, uri)
            sitting.asked = asked
            self._make_room()
        return {}

    async def unsubscribe(self, session: str, asked: Asked, lists: Lists) -> dict[str, Any]:
        """`resources/unsubscribe`. Raises ProtocolFault."""
        uri = asked.text("uri", MAX_URI)
        found = self._sittings[session].watched.pop(uri, None) if session in self._sittings else None
        if found is not None:
            try:
                await unwatch(asked, Source(found.server), uri)
            except ProtocolFault:
                self._hall.forget(found.server, uri, found.scope, modern=asked.era.modern)
                raise
        return {}

    async def stream(self, exchange: Exchange, session: str) -> None:
        """Answer a GET: tell the session of changes until its client goes away or the process drains."""
        sitting = self._sitting(session)
        sitting.streams += 1
        try:
            seen = numbers(self._hall, KINDS.values())
            await exchange.stream.raw(PING)
            async with until_gone(exchange) as ended:
                await follow(self._hall, exchange.stream, ended, seen, sitting.watched, {})
            await exchange.stream.raw(b"", last=True)
        finally:
            sitting.streams -= 1
            if not sitting.streams:
                asyncio.get_running_loop().call_later(GRACE_S, self._left, session)

    def _sitting(self, session: str) -> _Sitting:
        found = self._sittings.setdefault(session, _Sitting())
        self._sittings.move_to_end(session)
        return found

    def _left(self, session: str) -> None:
        """A session had no stream for a while: whoever has none cannot be told."""
        sitting = self._sittings.get(session)
        if sitting is not None and not sitting.streams:
            del self._sittings[session]
            _drop(sitting)

    def _make_room(self) -> None:
        while len(self._sittings) > MAX_SESSIONS:
            _drop(self._sittings.popitem(last=False)[1])


_dropping: set[asyncio.Task[None]] = set()
"""Kept so that none is collected before it has run."""


def _drop(sitting: _Sitting) -> None:
    if sitting.asked is not None and sitting.watched:
        task = asyncio.get_running_loop().create_task(forget(sitting.asked, sitting.watched))
        _dropping.add(task)
        task.add_done_callback(_dropping.discard)
