"""`/v0.1/servers` (and `/v0/servers`): the API of MCP registries, for reading (`omega.wire.registry` says which).

Whoever asks shows a passport, as at every entrance: what is published is published to a tenant. Nothing can be published from here, and
being listed runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, Headers, arrival_of, reply_error, reply_json
from omega.kernel.errors import InputError
from omega.kernel.scope import Scope
from omega.wire.registry import LATEST, Listed, Wanted, answer, page_of, versions_of, with_one_latest

PREFIXES: Final = ("/v0.1", "/v0")
"""The frozen version of the API, and the one that may still change: the same here."""

LIST: Final = ("cursor", "limit", "search", "updated_since", "version", "include_deleted")
_PRIVATE: Final[Headers] = [(b"cache-control", b"private, max-age=60")]


class Shelf(Protocol):
    """What is published. The host implements it (`omega.host.registry`)."""

    def published(self, scope: Scope, base: str) -> Sequence[Listed]:
        """What `scope` is shown; `base` is scheme and host of this installation as the caller meant them."""
        ...


def entrances(core: Core, shelf: Shelf) -> list[Mounted]:
    """The entrance under each of its prefixes."""

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        prefix = next(each for each in PREFIXES if arrival.path == each or arrival.path.startswith(f"{each}/"))
        steps = arrival.path.removeprefix(prefix).strip("/").split("/")
        if arrival.method != "GET":
            raise InputError("OMG-G003", "registries are read here", details={"allow": ["GET"]})
        if steps == ["health"]:
            await reply_json(send, {"status": "ok"})
            return
        if steps[0] != "servers":
            raise InputError("OMG-G002", f"there is nothing at {arrival.path[:80]!r}")
        visitor = core.visitor(arrival.headers, method=arrival.method, url=arrival.url, address=arrival.address, peer=arrival.peer)
        await _answer(arrival, steps[1:], with_one_latest(shelf.published(visitor.scope, arrival.base)), send)

    return [Mounted(prefix, app, names=True) for prefix in PREFIXES]


async def _answer(arrival: Arrival, steps: Sequence[str], entries: Sequence[Listed], send: Send) -> None:
    if not steps:
        page = page_of(entries, Wanted.from_query(arrival.parameters(LIST)))
        await reply_json(send, answer(page), headers=_PRIVATE)
        return
    name, rest = "/".join(steps[:2]), steps[2:]
    deleted = Wanted.from_query(arrival.parameters(("include_deleted",))).deleted
    found = versions_of(entries, name, deleted=deleted)
    if rest[1:] and rest[0] == "versions" and len(rest) == 2:
        found = [each for each in found if (each.latest if rest[1] == LATEST else each.version == rest[1])]
    elif rest != ["versions"]:
        raise InputError("OMG-G002", f"there is nothing at {arrival.path[:80]!r}")
    if not found:
        error = InputError("OMG-G002", f"no server {name[:200]} of that version is published to you")
        await reply_error(send, error, arrival)
    elif rest == ["versions"]:
        await reply_json(send, {"servers": [each.to_json() for each in found], "metadata": {"count": len(found)}}, headers=_PRIVATE)
    else:
        await reply_json(send, found[0].to_json(), headers=_PRIVATE)
