"""The MCP entrance: streamable HTTP in both eras, on raw ASGI.

    POST /mcp            everything that the caller may see
    POST /mcp/{name}     one virtual server

A request of either era is told by the header MCP-Protocol-Version and, where that is missing, by what its `_meta` says. Nothing is kept
between two requests but lists that may be asked for again: any gateway of an installation serves any of them.

The fast path of `tools/call` is: read, decode, who is calling, look the tool up, one await of the road, encode. A call that takes longer
than `WATCH_S` is watched from then on: a client of the newer era that closes the connection has cancelled it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send, Visitor
from omega.gateway.front.request import MAX_BODY, Arrival, arrival_of, read_body, reply
from omega.gateway.mcp import sessions
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.calling import call_tool
from omega.gateway.mcp.guests import LEVELS, Guest, Questions, Stream
from omega.gateway.mcp.hall import Hall
from omega.gateway.mcp.listening import listen
from omega.gateway.mcp.listing import Lists, complete, get_prompt, list_of, list_tools, read_resource
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.wire.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Id,
    Incoming,
    ProtocolFault,
    answer,
    decode,
    refusal,
)
from omega.wire.mcp.eras import (
    HANDSHAKE,
    HEADER_MISMATCH,
    MISSING_CAPABILITY,
    MODERN,
    UNSUPPORTED_VERSION,
    VERSION_KEY,
    Era,
    era_of,
    negotiated,
)
from omega.wire.mcp.headers import check_routing, check_single
from omega.wire.mcp.results import LIST_TTL_MS, modern
from omega.wire.problem import CHALLENGE

PREFIX: Final = "/mcp"
OLDEST: Final = "2025-03-26"
"""What a request speaks that names no revision (2025-06-18, "Protocol Version Header")."""

WATCH_S: Final = 0.25
"""How long a call runs before anybody looks whether its client is still there, in seconds."""

LEAVING: Final = "omega.leaving"
"""The key, in the ASGI scope, of the event that is set when the process drains."""

METADATA: Final = "/.well-known/oauth-protected-resource"
"""Where a client learns how to get a passport (RFC 9728)."""

MAX_LEVELS: Final = 10_000
"""Sessions whose wish for log messages is remembered here."""

_STATUS: Final[Mapping[int, int]] = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    METHOD_NOT_FOUND: 404,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
}
"""HTTP status of an error in the newer era (2026-07-28, "HTTP status codes"); others are answers like any (200)."""

_OLD_ONLY: Final = ("resultType", "ttlMs", "cacheScope")
"""What results of the newer era have beside those of the older one."""

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


def entrance(core: Core, hall: Hall, version: str) -> Mounted:
    """What answers MCP below `/mcp`; `version` is the one that the server says it has."""
    return Mounted(PREFIX, Handling(core, hall, version))


class Handling:
    """The ASGI application."""

    def __init__(self, core: Core, hall: Hall, version: str) -> None:
        self._core, self._hall = core, hall
        self._server = {"name": "omega", "title": "Omega", "version": version}
        self._lists = Lists()
        self._questions = Questions()
        self._running: dict[tuple[str, Id], Guest] = {}
        self._levels: dict[str, str] = {}

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrival = arrival_of(scope)
        if arrival.method != "POST":
            await reply(send, 405, headers=[(b"allow", b"POST")])
            return
        try:
            check_single(name.decode("latin-1").lower() for name, _ in scope["headers"])
            await self._post(scope, arrival, receive, send)
        except ProtocolFault as fault:
            await _refuse(send, fault, status=_STATUS.get(fault.code, 400))
        except Denied as refused:
            if refused.code != "OMG-T001":
                raise
            await _challenge(send, refused, arrival)

    # -- reading

    async def _post(self, scope: AsgiScope, arrival: Arrival, receive: Receive, send: Send) -> None:
        kind = arrival.header("content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            await reply(send, 415)
            return
        taken = arrival.header("accept")
        if taken and not any(each in taken for each in ("application/json", "*/*", "application/*")):
            await reply(send, 406)
            return
        body = await read_body(receive, arrival, most=MAX_BODY)
        visitor = self._core.visitor(arrival.headers, method="POST", url=arrival.url, address=arrival.address, peer=arrival.peer)
        message = decode(body)
        exchange = _Exchange(self, scope, arrival, receive, send, visitor, message, streams="text/event-stream" in taken)
        header = arrival.header("mcp-protocol-version")
        meta = message.params.get("_meta")
        if header not in HANDSHAKE if header else isinstance(meta, dict) and VERSION_KEY in meta:
            await self._newer(exchange, header)
        else:
            await self._older(exchange, header or OLDEST)

    # -- the newer era

    async def _newer(self, exchange: _Exchange, header: str) -> None:
        message = exchange.message
        if message.is_response:
            raise ProtocolFault(INVALID_REQUEST, "no answer of a client is waited for")
        if message.id is None:
            await reply(exchange.send, 202)
            return
        try:
            era = era_of(message.params, header)
            check_routing(message.method, message.params, exchange.arrival.headers)
            asked = exchange.asked(era, "")
            if message.method == "subscriptions/listen":
                await self._listen(exchange, asked)
                return
            if message.method == "server/discover":
                result = self._discovered(asked)
            else:
                result = await self._handled(exchange, asked, watched=True)
        except ProtocolFault as fault:
            await exchange.refuse(fault, status=_STATUS.get(fault.code, 200))
            return
        await exchange.answer(modern(result, self._server))

    def _discovered(self, asked: Asked) -> dict[str, Any]:
        return {
            "supportedVersions": [*MODERN, *HANDSHAKE],
            "capabilities": _capabilities(listens=True),
            "instructions": asked.view.instructions,
            "ttlMs": LIST_TTL_MS,
            "cacheScope": "private",
        }

    async def _listen(self, exchange: _Exchange, asked: Asked) -> None:
        if not exchange.streams:
            await reply(exchange.send, 406)
            return
        ended = asyncio.Event()
        leaving = exchange.scope.get(LEAVING)
        watching: list[asyncio.Future[Any]] = [asyncio.ensure_future(_gone(exchange.receive))]
        if isinstance(leaving, asyncio.Event):
            watching.append(asyncio.ensure_future(leaving.wait()))
        for task in watching:
            task.add_done_callback(lambda _: ended.set())
        try:
            await listen(asked, exchange.stream, ended, self._server)
        finally:
            for task in watching:
                task.cancel()

    # -- the older era

    async def _older(self, exchange: _Exchange, version: str) -> None:
        message, id = exchange.message, exchange.arrival.header("mcp-session-id")
        if message.method == "initialize" and message.id is not None:
            await self._initialize(exchange)
            return
        session = sessions.read(id) if id else None
        if id and session is None:
            await _refuse(
                exchange.send, ProtocolFault(INVALID_REQUEST, "the session is none of this installation", id=message.id), status=404
            )
            return
        if message.is_response or message.id is None:
            await self._heard(exchange, id)
            return
        capabilities = session.capabilities if session is not None else {}
        era = Era(session.version if session is not None else version, capabilities, self._levels.get(id, "info"))
        try:
            result = await self._answered(exchange, exchange.asked(era, id), id)
        except ProtocolFault as fault:
            await exchange.refuse(fault, status=200)
            return
        await exchange.answer({key: value for key, value in result.items() if key not in _OLD_ONLY})

    async def _answered(self, exchange: _Exchange, asked: Asked, session: str) -> dict[str, Any]:
        method = exchange.message.method
        if method == "ping":
            return {}
        if method == "logging/setLevel":
            level = exchange.message.params.get("level")
            if level not in LEVELS:
                raise ProtocolFault(INVALID_PARAMS, f"a level is one of {', '.join(LEVELS)}")
            self._remember_level(session, str(level))
            return {}
        key = (session or asked.visitor.scope.passport, asked.id)
        self._running[key] = asked.guest
        try:
            return await self._handled(exchange, asked, watched=False)
        finally:
            self._running.pop(key, None)

    async def _initialize(self, exchange: _Exchange) -> None:
        params = exchange.message.params
        session = sessions.opened(negotiated(params.get("protocolVersion")), params.get("capabilities"))
        try:
            asked = exchange.asked(Era(session.version, session.capabilities), "")
        except ProtocolFault as fault:
            await exchange.refuse(fault, status=200)
            return
        result = {
            "protocolVersion": session.version,
            "capabilities": _capabilities(listens=False) | {"logging": {}},
            "serverInfo": self._server,
            "instructions": asked.view.instructions,
        }
        await exchange.answer(result, headers=[(b"mcp-session-id", session.id().encode())])

    async def _heard(self, exchange: _Exchange, session: str) -> None:
        """A notification, or the answer to a question: both are taken, and nothing is owed."""
        message = exchange.message
        if message.is_response:
            self._questions.answer(session, message)
        elif message.method == "notifications/cancelled":
            wanted = message.params.get("requestId")
            guest = self._running.get((session or exchange.visitor.scope.passport, wanted)) if isinstance(wanted, str | int) else None
            if guest is not None:
                await self._cancel(guest, exchange.visitor)
        await reply(exchange.send, 202)

    def _remember_level(self, session: str, level: str) -> None:
        if session:
            self._levels.pop(session, None)
            self._levels[session] = level
            while len(self._levels) > MAX_LEVELS:
                del self._levels[next(iter(self._levels))]

    # -- both

    async def _handled(self, exchange: _Exchange, asked: Asked, *, watched: bool) -> dict[str, Any]:
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

    async def _watch(self, exchange: _Exchange, asked: Asked) -> None:
        """Cancel the call when its client goes away."""
        await _gone(exchange.receive)
        await self._cancel(asked.guest, asked.visitor)

    async def _cancel(self, guest: Guest, visitor: Visitor) -> None:
        if guest.execution:
            with suppress(OmegaError):  # it has ended meanwhile, or the caller may not: then it goes on, and nobody waits
                await self._core.decide(guest.execution, "cancel", {}, visitor)

    def asked(self, exchange: _Exchange, era: Era, session: str) -> Asked:
        """The request as handlers take it. Raises ProtocolFault (INVALID_PARAMS) when there is no such virtual server for this caller."""
        message = exchange.message
        assert message.id is not None  # noqa: S101 - notifications never come here
        try:
            view = self._hall.view(exchange.arrival.path[len(PREFIX) :].strip("/"), exchange.visitor.scope)
        except InputError as error:
            raise ProtocolFault(INVALID_PARAMS, error.cause) from error
        guest = Guest(era, message.params, exchange.stream, session=session, streams=exchange.streams, questions=self._questions)
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


class _Exchange:
    """One POST and its answer, which is a body, or an event stream once something was said before it."""

    __slots__ = ("_handling", "arrival", "message", "receive", "scope", "send", "stream", "streams", "visitor")

    def __init__(  # noqa: PLR0917 - what a request consists of
        self,
        handling: Handling,
        scope: AsgiScope,
        arrival: Arrival,
        receive: Receive,
        send: Send,
        visitor: Visitor,
        message: Incoming,
        *,
        streams: bool,
    ) -> None:
        self._handling, self.scope, self.arrival, self.receive, self.send = handling, scope, arrival, receive, send
        self.visitor, self.message, self.streams = visitor, message, streams
        self.stream = Stream(send)

    def asked(self, era: Era, session: str) -> Asked:
        """The request as handlers take it. Raises ProtocolFault."""
        return self._handling.asked(self, era, session)

    async def answer(self, result: Mapping[str, Any], headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """The result. A value that JSON cannot hold is a fault of whoever made it, told as such."""
        assert self.message.id is not None  # noqa: S101 - notifications are never answered
        try:
            body = answer(self.message.id, result)
        except (TypeError, ValueError, msgspec.EncodeError):
            body = refusal(self.message.id, -32603, "the result is not JSON")
        await self._out(body, 200, headers)

    async def refuse(self, fault: ProtocolFault, *, status: int) -> None:
        """An error."""
        await self._out(refusal(self.message.id, fault.code, fault.message, fault.data), status, None)

    async def _out(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]] | None) -> None:
        if self.stream.open:
            await self.stream.put(body)
            await self.stream.raw(b"", last=True)
        else:
            await reply(self.send, status, body, headers=headers)


async def _gone(receive: Receive) -> None:
    """Until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        continue


async def _refuse(send: Send, fault: ProtocolFault, *, status: int) -> None:
    await reply(send, status, refusal(fault.id, fault.code, fault.message, fault.data))


async def _challenge(send: Send, refused: Denied, arrival: Arrival) -> None:
    """Tell a client without a good passport where to get one (RFC 9728, 5.1)."""
    where = f'{CHALLENGE}, resource_metadata="{arrival.base}{METADATA}"'
    body = refusal(None, INVALID_REQUEST, refused.cause, {"code": refused.code, "advice": refused.advice})
    await reply(send, 401, body, headers=[(b"www-authenticate", where.encode("latin-1", "replace"))])


def _capabilities(*, listens: bool) -> dict[str, Any]:
    changed = {"listChanged": True} if listens else {}
    return {"tools": changed, "resources": changed, "prompts": changed, "completions": {}}
