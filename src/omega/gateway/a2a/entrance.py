"""The A2A entrance: cards, and both bindings of the protocol at the address of each agent.

    GET  /a2a                                       which agents there are
    GET  /a2a/{agent}/.well-known/agent-card.json   the signed card of one; that of the agent in front lies at the root as well
    POST /a2a/{agent}                               JSON-RPC
    *    /a2a/{agent}/...                           HTTP+JSON

A card is for everybody where its agent is listed. Everything else needs a passport or an API key, takes the road as that caller, and shows
tasks that this caller may see: those that it began itself, unless it holds `records:read`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from email.utils import formatdate
from hashlib import sha256
from typing import Any, Final

from omega.gateway.a2a import listing, pushing, sending, streaming
from omega.gateway.a2a.asked import Asked
from omega.gateway.a2a.bindings import Binding, Rest, Rpc
from omega.gateway.a2a.desk import Agent, Desk
from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, Headers, arrival_of, dump, reply, reply_json
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.wire.a2a.cards import card_of
from omega.wire.a2a.faults import A2aFault
from omega.wire.a2a.operations import CARD, VERSION_HEADER, Operation, check_version, task_of

PREFIX: Final = "/a2a"

CARD_CACHE_S: Final = 300
"""How long (seconds) a card may be kept by whoever asked."""

MAX_KNOWN: Final = 1_000
"""Most cards of which it is known since when they are as they are."""

Whole = Callable[[Asked, Mapping[str, Any]], Awaitable[dict[str, Any]]]


def entrance(core: Core, desk: Desk) -> Mounted:
    """What answers below `/a2a`."""
    return Mounted(PREFIX, Application(core, desk))


def cards(core: Core, desk: Desk) -> App:
    """What answers at `/.well-known/agent-card.json` of the installation: the card of the agent in front."""

    shown = Cards(core, desk)

    async def front(scope: AsgiScope, receive: Receive, send: Send) -> None:
        name = desk.front()
        if not name:
            raise InputError("OMG-G002", "no agent is published at the root of this installation")
        await shown.show(name, arrival_of(scope), scope, send)

    return front


class Cards:
    """The cards of published agents, signed, and since when each is as it is, as far as this process knows."""

    def __init__(self, core: Core, desk: Desk) -> None:
        self._core, self._desk = core, desk
        self._since: dict[str, int] = {}

    async def show(self, name: str, arrival: Arrival, scope: AsgiScope, send: Send) -> None:
        """The card of an agent; of one that is not listed for those alone who may use it. Raises InputError (OMG-I002, OMG-G003)."""
        if arrival.method != "GET":
            raise InputError("OMG-G003", "a card is read with GET", details={"allow": ["GET"]})
        agent = self._desk.agent(name, scope_of(self._core, arrival, scope))
        body = dump(signed(self._desk, agent, arrival.base))
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        if len(self._since) >= MAX_KNOWN:
            self._since.clear()
        since = self._since.setdefault(tag, self._core.now_us() // 1_000_000)
        headers: Headers = [
            (b"cache-control", (b"public" if agent.listed else b"private") + b", max-age=%d" % CARD_CACHE_S),
            (b"etag", tag.encode()),
            (b"last-modified", formatdate(since, usegmt=True).encode()),
        ]
        same = tag in arrival.header("if-none-match")
        await reply(send, 304 if same else 200, b"" if same else body, headers=headers)


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
        if not name:
            await self._catalogue(arrival, scope, send)
        elif rest == CARD:
            await self._cards.show(name, arrival, scope, send)
        else:
            binding = Rest(arrival, receive, send, rest) if rest else Rpc(arrival, receive, send)
            await self._answer(name, binding, (scope, receive, send))

    async def _answer(self, name: str, binding: Binding, connection: tuple[AsgiScope, Receive, Send]) -> None:
        arrival = binding.arrival
        try:
            _, params, operation = await binding.read()
            visitor = self._core.visitor(
                arrival.headers, method=connection[0]["method"], url=arrival.url, address=arrival.address, peer=arrival.peer
            )
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


# -- cards


def scope_of(core: Core, arrival: Arrival, scope: AsgiScope) -> Any:
    """The scope of a caller that shows who it is; None for one that does not."""
    if not arrival.header("authorization") and not arrival.peer and not arrival.header("cookie"):
        return None
    try:
        shown = core.visitor(arrival.headers, method=scope["method"], url=arrival.url, address=arrival.address, peer=arrival.peer)
    except Denied:
        return None
    return shown.scope


SCHEMAS: Final = "urn:omega:a2a:schemas:1"
"""The extension by which an extended card says what the flow behind an agent takes and gives, as JSON Schema."""


def signed(desk: Desk, agent: Agent, base: str, *, extended: bool = False) -> dict[str, Any]:
    card = card_of(agent.profile, f"{base}{PREFIX}/{agent.name}", base)
    if extended:
        flow = agent.flow
        params: dict[str, Any] = {"flow": flow.name, "effect": flow.effect.value, "takes": agent.takes}
        params |= {"input": flow.input.schema(), "output": flow.output.schema()}
        told = {"uri": SCHEMAS, "description": "the types of the flow behind this agent", "params": params}
        capabilities = card["capabilities"]
        card["capabilities"] = {**capabilities, "extensions": [*capabilities.get("extensions", ()), told]}
    return desk.sign(card, base)
