"""What both eras of the MCP entrance have in common: the methods, the request as they take it, and cancelling what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from omega.gateway.front.core import Core, Visitor
from omega.gateway.front.turns import Turns
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.calling import call_tool
from omega.gateway.mcp.exchange import Exchange, gone
from omega.gateway.mcp.guests import Guest, Questions, bound
from omega.gateway.mcp.hall import Hall, View
from omega.gateway.mcp.listing import Lists, complete, get_prompt, list_of, list_tools, read_resource
from omega.kernel.errors import InputError, OmegaError
from omega.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Incoming, ProtocolFault
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
    """The methods on a core, for whichever era asks. `questions` are those that clients were asked in the middle of a call, `lists` what
    tool servers listed for callers."""

    def __init__(self, core: Core, hall: Hall, version: str) -> None:
        self._core, self.hall = core, hall
        self.server = {"name": "omega", "title": "Omega", "version": version}
        self.questions = Questions()
        self.lists = Lists()
        self._turns = Turns()
        self._tell_others = core.others("mcp answers", self._answered_elsewhere)

    async def answered(self, whose: str, message: Incoming) -> None:
        """Hand over the answer of a client (`guests.bound`) to what it was asked, here or at another gateway of this installation."""
        if not self.questions.answer(whose, message):
            await self._tell_others({"whose": whose, "id": message.id, "result": message.result, "error": message.error})

    def _answered_elsewhere(self, said: Mapping[str, Any]) -> None:
        self.questions.answer(str(said.get("whose")), Incoming(said.get("id"), "", {}, said.get("result"), said.get("error")))

    async def handled(self, exchange: Exchange, asked: Asked, *, watched: bool) -> dict[str, Any]:
        """The result of the method that is asked for; with `watched`, a call whose client goes away is cancelled. Raises ProtocolFault."""
        handler = HANDLERS.get(exchange.message.method)
        if handler is None:
            raise ProtocolFault(METHOD_NOT_FOUND, f"there is no method {exchange.message.method[:80]}")
        if not watched or handler is not _call:
            return await handler(asked, self.lists)
        watch: list[asyncio.Task[None]] = []
        timer = asyncio.get_running_loop().call_later(WATCH_S, lambda: watch.append(asyncio.ensure_future(self._watch(exchange, asked))))
        try:
            return await handler(asked, self.lists)
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

    def view(self, exchange: Exchange) -> View:
        """What the caller sees. Raises ProtocolFault (INVALID_PARAMS) when there is no such virtual server for this caller."""
        try:
            return self.hall.view(exchange.arrival.path[len(PREFIX) :].strip("/"), exchange.visitor.scope)
        except InputError as error:
            raise ProtocolFault(INVALID_PARAMS, error.cause) from error

    def asked(self, exchange: Exchange, era: Era, session: str) -> Asked:
        """The request as handlers take it. Raises ProtocolFault (INVALID_PARAMS) when there is no such virtual server for this caller."""
        message = exchange.message
        assert message.id is not None  # noqa: S101 - notifications never come here
        view = self.view(exchange)
        scope = exchange.visitor.scope
        guest = Guest(
            era,
            message.params,
            exchange.stream,
            whose=f"{scope.tenant} {scope.principal}",
            session=bound(session, scope),
            streams=exchange.streams,
            questions=self.questions,
        )
        return Asked(
            core=self._core,
            hall=self.hall,
            visitor=exchange.visitor,
            view=view,
            era=era,
            guest=guest,
            id=message.id,
            params=message.params,
            headers=exchange.arrival.headers,
            turns=self._turns,
        )


CAPABILITIES: Final[Mapping[str, Any]] = {
    "tools": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "prompts": {"listChanged": True},
    "completions": {},
}
"""What the server says it can, in both eras."""
