"""The A2A entrance: cards, and the bindings of the protocol at the address of each agent.

    GET  /a2a                                       which agents there are
    GET  /a2a/{agent}/.well-known/agent-card.json   the signed card of one; that of the agent in front lies at the root as well
    POST /a2a/{agent}                               JSON-RPC
    *    /a2a/{agent}/...                           HTTP+JSON
    gRPC                                            at a listener of its own (`grpc_listener`), where there is one

A card is for everybody where its agent is listed. Everything else needs a passport or an API key, takes the road as that caller, and shows
tasks that this caller may see: those that it began itself, unless it holds `records:read`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from omega.gateway.a2a import listing, pushing, sending, streaming
from omega.gateway.a2a.asked import Asked
from omega.gateway.a2a.bindings import BINDING, Binding, Rest, Rpc
from omega.gateway.a2a.desk import Desk
from omega.gateway.a2a.showing import PREFIX, Cards, scope_of, signed
from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, arrival_of, reply_json
from omega.kernel.errors import InputError, OmegaError
from omega.wire.a2a.faults import A2aFault
from omega.wire.a2a.operations import CARD, VERSION_HEADER, Operation, check_version, task_of

Whole = Callable[[Asked, Mapping[str, Any]], Awaitable[dict[str, Any]]]


def entrance(core: Core, desk: Desk) -> Mounted:
    """What answers below `/a2a`."""
    return Mounted(PREFIX, Application(core, desk))


class Application:
    """The ASGI application."""

    def __init__(self, core: Core, desk: Desk) -> None:
        self._core, self._desk = core, desk
        self._cards = Cards(core, desk)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise InputError("OMG-G003", "there is no WebSocket at this address")
        arrival = arrival_of(scope)
        name, _, rest = arrival.path.removeprefix(PREFIX).strip("/").partition("/")
        if BINDING in scope:
            await self._answer(name or self._desk.front(), scope[BINDING].at(arrival), (scope, receive, send))
        elif not name:
            await self._catalogue(arrival, scope, send)
        elif rest == CARD:
            await self._cards.show(name, arrival, scope, send)
        else:
            binding = Rest(arrival, receive, send, rest) if rest else Rpc(arrival, receive, send)
            await self._answer(name, binding, (scope, receive, send))

    async def _answer(self, name: str, binding: Binding, connection: tuple[AsgiScope, Receive, Send]) -> None:
        arrival = binding.arrival
        try:
            visitor = self._core.visitor(
                arrival.headers, method=connection[0]["method"], url=arrival.url, address=arrival.address, peer=arrival.peer
            )
            _, params, operation = await binding.read()  # only now: reading costs, and strangers pay nothing
            check_version(arrival.header(VERSION_HEADER))
            agent = self._desk.agent(name, visitor.scope)
            asked = Asked(self._core, self._desk, agent, visitor, arrival, connection)
            if operation.streams:
                await self._stream(asked, operation, params, binding)
            else:
                await binding.answer(await _WHOLE[operation](asked, params))
        except A2aFault as fault:
            await binding.fault(fault)
        except OmegaError as error:
            await binding.refuse(error)

    async def _stream(self, asked: Asked, operation: Operation, params: Mapping[str, Any], binding: Binding) -> None:
        """Begin the answer with the first event: what is refused before it is a plain answer."""
        events: AsyncIterator[streaming.Event]
        events = streaming.sent(asked, params) if operation is Operation.STREAM else streaming.subscribed(asked, task_of(params))
        async with aclosing(events) as coming:  # type: ignore[type-var]
            async for event in coming:
                await binding.event(event)
            await binding.over()

    async def _catalogue(self, arrival: Arrival, scope: AsgiScope, send: Send) -> None:
        """The agents that the caller may use, or the listed ones for whoever shows no passport."""
        if arrival.method != "GET":
            raise InputError("OMG-G003", "the list of agents is read with GET", details={"allow": ["GET"]})
        seen = scope_of(self._core, arrival, scope)
        found = [{"name": each.name, "card": f"{arrival.base}{PREFIX}/{each.name}/{CARD}"} for each in self._desk.agents(seen)]
        await reply_json(send, {"agents": found}, headers=[(b"cache-control", b"no-store")])


async def _extended(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """The card for those who may call the agent: with the types that its flow takes and gives."""
    return signed(asked.desk, asked.agent, asked.arrival.base, extended=True)


async def _get(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    return listing.get(asked, params)


async def _list(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    return await listing.listed(asked, params)


async def _push_get(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    return pushing.get(asked, params)


async def _push_list(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    return pushing.listed(asked, params)


_WHOLE: Final[dict[Operation, Whole]] = {
    Operation.SEND: sending.send,
    Operation.GET: _get,
    Operation.LIST: _list,
    Operation.CANCEL: listing.cancel,
    Operation.CARD: _extended,
    Operation.PUSH_CREATE: pushing.create,
    Operation.PUSH_GET: _push_get,
    Operation.PUSH_LIST: _push_list,
    Operation.PUSH_DELETE: pushing.delete,
}
