"""`subscriptions/listen`: an event stream that tells a client of the newer era when a list it has may be old."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.guests import Stream
from omega.wire.jsonrpc import INVALID_PARAMS, ProtocolFault, answer, notification
from omega.wire.mcp.eras import SUBSCRIPTION_KEY
from omega.wire.mcp.results import modern
from omega.wire.sse import PING

LOOK_S: Final = 0.25
"""How often a stream looks for changes, in seconds: one comparison of numbers."""

PING_S: Final = 15.0
"""How often a silent stream shows that it is alive, in seconds: proxies close what is silent for a minute."""

KINDS: Final[Mapping[str, str]] = {"toolsListChanged": "tools", "promptsListChanged": "prompts", "resourcesListChanged": "resources"}


async def listen(asked: Asked, stream: Stream, ended: asyncio.Event, server: Mapping[str, Any]) -> None:
    """Tell of changes until `ended` is set; then say so. Raises ProtocolFault (INVALID_PARAMS) before the stream begins."""
    wanted = asked.params.get("notifications")
    if not isinstance(wanted, dict):
        raise ProtocolFault(INVALID_PARAMS, "notifications says which kinds of change to tell of")
    agreed = {name: True for name in KINDS if wanted.get(name) is True}
    meta = {SUBSCRIPTION_KEY: asked.id}
    await stream.put(notification("notifications/subscriptions/acknowledged", {"notifications": agreed, "_meta": meta}))
    seen = _state(asked, agreed)
    silent_s = 0.0
    while not ended.is_set():
        try:
            async with asyncio.timeout(LOOK_S):
                await ended.wait()
        except TimeoutError:
            silent_s += LOOK_S
        now = _state(asked, agreed)
        for name in agreed:
            if now[name] != seen[name]:
                await stream.put(notification(f"notifications/{KINDS[name]}/list_changed", {"_meta": meta}))
                silent_s = 0.0
        seen = now
        if silent_s >= PING_S:
            await stream.raw(PING)
            silent_s = 0.0
    await stream.put(answer(asked.id, modern({"_meta": meta}, server)))
    await stream.raw(b"", last=True)


def _state(asked: Asked, agreed: Mapping[str, bool]) -> dict[str, int]:
    return {name: asked.hall.changes(KINDS[name]) for name in agreed}
