"""Streams that tell a client what changed: `subscriptions/listen` of the newer era, the standing stream (a GET) of the older one.

A stream compares numbers every now and then, so that any gateway tells of whatever its own conversations with tool servers heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from omega.gateway.front.door import LEAVING
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.exchange import Exchange, gone
from omega.gateway.mcp.guests import Stream
from omega.gateway.mcp.hall import Hall, Source
from omega.gateway.mcp.listing import Lists, source_of, unwatch, watch
from omega.kernel.scope import Scope
from omega.wire.jsonrpc import INVALID_PARAMS, ProtocolFault, answer, notification
from omega.wire.mcp.eras import SUBSCRIPTION_KEY
from omega.wire.mcp.results import modern
from omega.wire.sse import PING, event

LOOK_S: Final = 0.25
"""How often a stream looks for changes, in seconds: one comparison of numbers."""

PING_S: Final = 15.0
"""How often a silent stream shows that it is alive, in seconds: proxies close what is silent for a minute."""

MAX_WATCHED: Final = 100
"""Most resources that one stream or session watches."""

KINDS: Final[Mapping[str, str]] = {"toolsListChanged": "tools", "promptsListChanged": "prompts", "resourcesListChanged": "resources"}
RESOURCES: Final = "resourceSubscriptions"


@dataclass(slots=True)
class Watched:
    """A resource that is watched: at which tool server, for whom, and the number of its changes that the client knows of."""

    server: str
    scope: Scope
    number: int


async def listen(asked: Asked, lists: Lists, exchange: Exchange, server: Mapping[str, Any]) -> None:
    """Tell a client of the newer era what changes, until it goes away or the process drains; then say so.

    Raises ProtocolFault (INVALID_PARAMS) before the stream begins.
    """
    wanted = asked.params.get("notifications")
    if not isinstance(wanted, dict):
        raise ProtocolFault(INVALID_PARAMS, "notifications says which kinds of change to tell of")
    agreed: dict[str, Any] = {name: True for name in KINDS if wanted.get(name) is True}
    watched = await _watched(asked, lists, wanted.get(RESOURCES, []))
    meta = {SUBSCRIPTION_KEY: asked.id}
    told = agreed | ({RESOURCES: sorted(watched)} if watched else {})
    acknowledged = event(notification("notifications/subscriptions/acknowledged", {"notifications": told, "_meta": meta}))
    try:
        seen = numbers(asked.hall, [KINDS[name] for name in agreed])
        await exchange.stream.raw(acknowledged)
        async with until_gone(exchange) as ended:
            await follow(asked.hall, exchange.stream, ended, seen, watched, meta)
        await exchange.stream.put(answer(asked.id, modern({"_meta": meta}, server)))
        await exchange.stream.raw(b"", last=True)
    finally:
        await forget(asked, watched)


async def begin(asked: Asked, lists: Lists, uri: str) -> Watched:
    """Begin to watch a resource: what changes from now on is told, however soon. Raises ProtocolFault."""
    source = await source_of(asked, lists, uri)
    scope = asked.visitor.scope
    number = asked.hall.updates(source.server, uri, scope)
    await watch(asked, source, uri)
    return Watched(source.server, scope, number)


def numbers(hall: Hall, kinds: Iterable[str]) -> dict[str, int]:
    """How often the lists of `kinds` have changed by now: taken before a client is told that somebody looks."""
    return {kind: hall.changes(kind) for kind in kinds}


async def follow(
    hall: Hall,
    stream: Stream,
    ended: asyncio.Event,
    seen: MutableMapping[str, int],
    watched: Mapping[str, Watched],
    meta: Mapping[str, Any],
) -> None:
    """Tell of changes of lists since `seen`, and of what is `watched` by then, until `ended` is set; `meta` goes along."""
    silent_s = 0.0
    while not ended.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await ended.wait()
        silent_s += LOOK_S
        for notice in _news(hall, seen, watched, meta):
            await stream.put(notice)
            silent_s = 0.0
        if silent_s >= PING_S:
            await stream.raw(PING)
            silent_s = 0.0


@asynccontextmanager
async def until_gone(exchange: Exchange) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client has gone away or the process drains."""
    ended = asyncio.Event()
    leaving = exchange.scope.get(LEAVING)
    watching: list[asyncio.Future[Any]] = [asyncio.ensure_future(gone(exchange.receive))]
    if isinstance(leaving, asyncio.Event):
        watching.append(asyncio.ensure_future(leaving.wait()))
    for task in watching:
        task.add_done_callback(lambda _: ended.set())
    try:
        yield ended
    finally:
        for task in watching:
            task.cancel()


async def forget(asked: Asked, watched: Mapping[str, Watched]) -> None:
    """Watch these resources no more. What cannot be said to their servers is left: they tell of changes that nobody hears."""
    for uri, each in watched.items():
        try:
            await unwatch(asked, Source(each.server), uri)
        except ProtocolFault:
            asked.hall.forget(each.server, uri, each.scope, modern=asked.era.modern)


async def _watched(asked: Asked, lists: Lists, uris: Any) -> dict[str, Watched]:
    """Begin to watch what the client names; what cannot be watched is left out, as the acknowledgement shows."""
    if not isinstance(uris, list) or len(uris) > MAX_WATCHED or not all(isinstance(uri, str) for uri in uris):
        raise ProtocolFault(INVALID_PARAMS, f"{RESOURCES} is a list of at most {MAX_WATCHED} addresses")
    found: dict[str, Watched] = {}
    for uri in dict.fromkeys(uris):
        with suppress(ProtocolFault):
            found[uri] = await begin(asked, lists, uri)
    return found


def _news(hall: Hall, seen: MutableMapping[str, int], watched: Mapping[str, Watched], meta: Mapping[str, Any]) -> list[bytes]:
    """Notices of whatever changed since the last look, which is noted."""
    found = []
    more = {"_meta": dict(meta)} if meta else {}
    for kind, number in seen.items():
        now = hall.changes(kind)
        if now != number:
            seen[kind] = now
            found.append(notification(f"notifications/{kind}/list_changed", more))
    for uri, each in watched.items():
        now = hall.updates(each.server, uri, each.scope)
        if now != each.number:
            each.number = now
            found.append(notification("notifications/resources/updated", {"uri": uri} | more))
    return found
