"""The two bindings of the protocol: how a request is read, and how an answer, a stream and a refusal are written (A2A 1.0, 9 and 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from omega.gateway.front.core import Receive, Send
from omega.gateway.front.request import Arrival, Headers, dump, read_body, read_json_body, reply, reply_json
from omega.kernel.errors import InputError, OmegaError
from omega.wire.a2a.faults import CONTENT_TYPE, NO_SUCH_VERB, PARSE, REQUEST, A2aFault, refusal_of
from omega.wire.a2a.operations import Operation, known_names, method_of, read_query, route_of
from omega.wire.jsonrpc import Id, ProtocolFault, answer, decode, refusal
from omega.wire.problem import headers_of, status_of
from omega.wire.sse import PING

MAX_BODY: Final = 8 << 20
"""Largest body in bytes: messages may carry files, larger ones come as addresses."""

BINDING: Final = "omega.a2a.binding"
"""The key, in the ASGI scope, of the binding of a request that did not come over HTTP."""

MEDIA: Final = b"application/a2a+json"
"""The media type of the HTTP+JSON binding (11.1)."""

_STREAM: Final[Headers] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_FRESH: Final[Headers] = [(b"cache-control", b"no-store")]


class Binding(Protocol):
    """One request and the way back."""

    arrival: Arrival

    async def read(self) -> tuple[Id | None, Mapping[str, Any], Operation]:
        """The id of the request where the binding has one, its parameters, and what it asks. Raises A2aFault."""
        ...

    async def answer(self, result: Mapping[str, Any]) -> None:
        """A whole answer."""
        ...

    async def event(self, event: Mapping[str, Any] | None) -> None:
        """One event of a stream, the first of which begins it; None keeps it open."""
        ...

    async def over(self) -> None:
        """The end of a stream."""
        ...

    async def fault(self, fault: A2aFault) -> None:
        """What the protocol has an error for."""
        ...

    async def refuse(self, error: OmegaError) -> None:
        """What the installation refuses."""
        ...


class _Streamed:
    """Events as they go out; the head goes with the first."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = False

    @property
    def began(self) -> bool:
        return self._began

    async def put(self, body: bytes, *, last: bool = False) -> None:
        if not self._began:
            self._began = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(_STREAM)})
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})


class Rpc:
    """JSON-RPC 2.0 over HTTP: every method at one address."""

    def __init__(self, arrival: Arrival, receive: Receive, send: Send) -> None:
        self.arrival = arrival
        self._receive, self._send = receive, send
        self._stream = _Streamed(send)
        self._id: Id | None = None

    async def read(self) -> tuple[Id | None, Mapping[str, Any], Operation]:
        """The message in the body. Raises A2aFault (NO_SUCH_VERB, PARSE, REQUEST, NO_METHOD), InputError (G codes)."""
        if self.arrival.method != "POST":
            raise A2aFault(NO_SUCH_VERB, "JSON-RPC is posted", metadata={"allow": "POST"})
        kind = self.arrival.header("content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise A2aFault(CONTENT_TYPE, f"the body is {kind[:80] or 'of no type'}, and only application/json is read here")
        try:
            message = decode(await read_body(self._receive, self.arrival, most=MAX_BODY))
        except ProtocolFault as fault:
            self._id = fault.id
            raise A2aFault(PARSE if fault.code == PARSE.code else REQUEST, fault.message) from fault
        self._id = message.id
        if not message.is_request:
            raise A2aFault(REQUEST, "every request has a method and an id")
        return message.id, known_names(message.params), method_of(message.method)

    async def answer(self, result: Mapping[str, Any]) -> None:
        """A result."""
        await reply(self._send, 200, answer(self._id or 0, result), headers=_FRESH)

    async def event(self, event: Mapping[str, Any] | None) -> None:
        """A result of its own in each event (9.4.2)."""
        await self._stream.put(PING if event is None else b"data: " + answer(self._id or 0, event) + b"\n\n")

    async def over(self) -> None:
        """The end of the stream."""
        await self._stream.put(b"", last=True)

    async def fault(self, fault: A2aFault) -> None:
        """An error, with status 200: it is the answer to the message. Where there was none that could be read, with that of its kind."""
        status = fault.kind.http if fault.kind in (NO_SUCH_VERB,) else 200
        await self._told(fault, status, [(b"allow", b"POST")] if fault.kind is NO_SUCH_VERB else [])

    async def refuse(self, error: OmegaError) -> None:
        """An error, with the status that HTTP has for it: clients and proxies act upon 401, 403 and 429."""
        record = error.record()
        status = status_of(error.code)
        await self._told(refusal_of(record, status), status, headers_of(record, status, base=self.arrival.base))

    async def _told(self, fault: A2aFault, status: int, headers: Headers) -> None:
        told = fault.rpc()
        body = refusal(self._id, told["code"], told["message"], told.get("data"))
        if self._stream.began:
            await self._stream.put(b"data: " + body + b"\n\n", last=True)
        else:
            await reply(self._send, status, body, headers=[*headers, *_FRESH])


class Rest:
    """HTTP+JSON: an address and a verb for each operation; `path` is what follows the address of the agent."""

    def __init__(self, arrival: Arrival, receive: Receive, send: Send, path: str) -> None:
        self.arrival = arrival
        self._receive, self._send, self._path = receive, send, path
        self._stream = _Streamed(send)

    async def read(self) -> tuple[Id | None, Mapping[str, Any], Operation]:
        """The body, the query and what the path names. Raises A2aFault (NO_METHOD, NO_SUCH_VERB, PARAMS, CONTENT_TYPE), InputError."""
        method = self.connection_method
        route = route_of(method, self._path)
        given: Any = {}
        if method == "POST":
            try:
                given = await read_json_body(self._receive, self.arrival, most=MAX_BODY)
            except InputError as error:
                if error.code == "OMG-G009":
                    raise A2aFault(CONTENT_TYPE, error.cause) from error
                if error.code == "OMG-G001":
                    raise A2aFault(PARSE, error.cause) from error
                raise
        if given is not None and not isinstance(given, dict):
            raise A2aFault(REQUEST, "the body is an object")
        params = known_names(given or {}) | read_query(known_names(self.arrival.parameters()))
        return None, params | dict(route.named), route.operation

    @property
    def connection_method(self) -> str:
        """The verb of the request."""
        return self.arrival.method

    async def answer(self, result: Mapping[str, Any]) -> None:
        """A result."""
        await reply(self._send, 200, dump(result), kind=MEDIA, headers=_FRESH)

    async def event(self, event: Mapping[str, Any] | None) -> None:
        """An event (11.7)."""
        await self._stream.put(PING if event is None else b"data: " + dump(event) + b"\n\n")

    async def over(self) -> None:
        """The end of the stream."""
        await self._stream.put(b"", last=True)

    async def fault(self, fault: A2aFault) -> None:
        """An error with its own status."""
        allow = fault.metadata.get("allow", "") if fault.kind is NO_SUCH_VERB else ""
        await self._told(fault, [(b"allow", allow.encode("latin-1", "replace"))] if allow else [])

    async def refuse(self, error: OmegaError) -> None:
        """An error of ours."""
        record = error.record()
        status = status_of(error.code)
        await self._told(refusal_of(record, status), headers_of(record, status, base=self.arrival.base))

    async def _told(self, fault: A2aFault, headers: Headers) -> None:
        status, document = fault.rest()
        if self._stream.began:
            await self._stream.put(b"data: " + dump(document) + b"\n\n", last=True)
        else:
            await reply_json(self._send, document, status=status, headers=[*headers, *_FRESH])
