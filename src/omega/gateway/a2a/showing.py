"""Cards of published agents: what each may show to whom, signed by the installation."""

from __future__ import annotations

from email.utils import formatdate
from hashlib import sha256
from typing import Any, Final

from omega.gateway.a2a.desk import Agent, Desk
from omega.gateway.front.core import App, AsgiScope, Core, Receive, Send
from omega.gateway.front.door import name_of
from omega.gateway.front.request import Arrival, Headers, arrival_of, dump, reply
from omega.kernel.errors import Denied, InputError
from omega.wire.a2a.cards import card_of

PREFIX: Final = "/a2a"

CARD_CACHE_S: Final = 300
"""How long (seconds) a card may be kept by whoever asked."""

MAX_KNOWN: Final = 1_000
"""Most cards of which it is known since when they are as they are."""

SCHEMAS: Final = "urn:omega:a2a:schemas:1"
"""The extension by which an extended card says what the flow behind an agent takes and gives, as JSON Schema."""


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


def scope_of(core: Core, arrival: Arrival, scope: AsgiScope) -> Any:
    """The scope of a caller that shows who it is; None for one that does not."""
    if not arrival.header("authorization") and not arrival.peer and not arrival.header("cookie"):
        return None
    try:
        shown = core.visitor(arrival.headers, method=scope["method"], url=arrival.url, address=arrival.address, peer=arrival.peer)
    except Denied:
        return None
    return shown.scope


def signed(desk: Desk, agent: Agent, base: str, *, extended: bool = False) -> dict[str, Any]:
    """The card of `agent` as it is shown at `base`, signed; `extended` with the types of its flow."""
    card = card_of(agent.profile, f"{base}{PREFIX}/{agent.name}", base, grpc=_grpc_of(desk, base), tenant=agent.name)
    if extended:
        flow = agent.flow
        params: dict[str, Any] = {"flow": flow.name, "effect": flow.effect.value, "takes": agent.takes}
        params |= {"input": flow.input.schema(), "output": flow.output.schema()}
        told = {"uri": SCHEMAS, "description": "the types of the flow behind this agent", "params": params}
        capabilities = card["capabilities"]
        card["capabilities"] = {**capabilities, "extensions": [*capabilities.get("extensions", ()), told]}
    return desk.sign(card, base)


def _grpc_of(desk: Desk, base: str) -> str:
    """Where the gRPC binding answers, under the name by which the caller knows this installation; empty where it does not."""
    port = desk.grpc_port()
    return f"{name_of(base.partition('://')[2])}:{port}" if port else ""
