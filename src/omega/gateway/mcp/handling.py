"""What both eras of the MCP entrance have in common: the methods, the request as they take it, and cancelling what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from omega.gateway.front.core import Core, Visitor
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.calling import call_tool
from omega.gateway.mcp.exchange import Exchange, gone
from omega.gateway.mcp.guests import Guest, Questions
from omega.gateway.mcp.hall import Hall
from omega.gateway.mcp.listing import Lists, complete, get_prompt, list_of, list_tools, read_resource
from omega.kernel.errors import InputError, OmegaError
from omega.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, ProtocolFault
from omega.wire.mcp.eras import Era

PREFIX: Final = "/mcp"

WATCH_S: Final = 0.25
"""How long a call runs before anybody looks whether its client is still there, in seconds."""

Handler = Callable[[Asked, Lists], Awaitable[dict[str, Any]]]


async def _call(asked: Asked, lists: Lists) -> dict[str, Any]:
    return await call_tool(asked)


HANDLERS: Final[Mapping[str, Handler]] = {
    "tools/call": _call,
    "tools/list": list_tools,
    "resources/list": list_of("resources/list"),
    "resources/templates/list": list_of("resources/templates/list"),
    "resources/read": read_resource,
    "prompts/list": list_of("prompts/list"),
    "prompts/get": get_prompt,
    "completion/complete": complete,
}
"""Methods that both eras have."""


class Handling:
    """The methods on a core, for whichever era asks. `questions` are those that clients were asked in the middle of a call."""

    def __init__(self, core: Core, hall: Hall, version: str) -> None:
        self._core, self._hall = core, hall
        self.server = {"name": "omega", "title": "Omega", "version": version}
        self.questions = Questions()
        self._lists = Lists()

    async def handled(self, exchange: Exchange, asked: Asked, *, watched: bool) -> dict[str, Any]:
        """The result of the method that is asked for; with `watched`, a call whose client goes away is cancelled. Raises ProtocolFault."""
        handler = HANDLERS.get(exchange.message.method)
        if handler is None:
            raise ProtocolFault(METHOD_NOT_FOUND, f"there is no method {exchange.message.method[:80]}")
        if not watched or handler is not _call:
            return await handler(asked, self._lists)
        watch: list[asyncio.Task[None]] = []
        timer = asyncio.get_running_loop().call_later(WATCH_S, lambda: watch.append(asyncio.ensure_future(self._watch(exchange, asked))))
        try:
            return await handler(asked, self._lists)
        finally:
            timer.cancel()
            for task in watch:
                task.cancel()

    async def _watch(self, exchange: Exchange, asked: Asked) -> None:
        """Cancel the call when its client goes away."""
        await gone(exchange.receive)
        await self.cancel(asked.guest, asked.visitor)

    async def cancel(self, guest: Guest, visitor: Visitor) -> None:
        """Cancel what runs for `guest`, as `visitor`."""
        if guest.execution:
            with suppress(OmegaError):  # it has ended meanwhile, or the caller may not: then it goes on, and nobody waits
                await self._core.decide(guest.execution, "cancel", {}, visitor)

    def asked(self, exchange: Exchange, era: Era, session: str) -> Asked:
        """The request as handlers take it. Raises ProtocolFault (INVALID_PARAMS) when there is no such virtual server for this caller."""
        message = exchange.message
        assert message.id is not None  # noqa: S101 - notifications never come here
        try:
            view = self._hall.view(exchange.arrival.path[len(PREFIX) :].strip("/"), exchange.visitor.scope)
        except InputError as error:
            raise ProtocolFault(INVALID_PARAMS, error.cause) from error
        guest = Guest(era, message.params, exchange.stream, session=session, streams=exchange.streams, questions=self.questions)
        return Asked(
            core=self._core,
            hall=self._hall,
            visitor=exchange.visitor,
            view=view,
            era=era,
            guest=guest,
            id=message.id,
            params=message.params,
            headers=exchange.arrival.headers,
        )


def capabilities(*, listens: bool) -> dict[str, Any]:
    """What the server says it can; `listens` where changes of lists are told."""
    changed = {"listChanged": True} if listens else {}
    return {"tools": changed, "resources": changed, "prompts": changed, "completions": {}}
