"""The listener: uvicorn on one address, with bounds that it does not have itself.

    half-open connections    what has not sent a whole head within HEAD_TIME_S is let go, and what goes on sending after its answer too
    heads                    longer than MAX_HEAD bytes: 431
    connections              more than MAX_CONNECTIONS: 503, and closed
    refusals of the parser   problem details too, not plain text
    client certificates      the SPIFFE id of a verified one goes to the door in the ASGI scope

Stopping is the owner's business, not a signal's: `stop` closes the listener first, then waits for whoever is inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from omega.gateway.front.core import App
from omega.gateway.front.door import PEER
from omega.kernel.errors import InputError
from omega.wire.problem import DOCUMENTATION, MEDIA_TYPE

HEAD_TIME_S = 10.0
"""How long (seconds) the head of a request may take to arrive."""

KEEP_ALIVE_S = 60
"""How long (seconds) an idle connection is kept for the next request."""

MAX_DISCARDED = 1 << 20
"""Most bytes of a body that are let go of once its request was answered: a client that sends more loses its connection."""

MAX_HEAD = 64 << 10
"""Longest head of a request, in bytes: a passport has 8 KiB, a baggage 8."""

MAX_CONNECTIONS = 4_096
"""Most connections at once."""

TWO_PLACES = "the request target and the header host name two places"

BACKLOG = 1_024
"""Connections that the system holds until they are taken."""

_HEAD = b"HTTP/1.1 "
"""How the head of an answer begins."""

INTERRUPT_S = 1.0
"""How long (seconds) requests that are cancelled may take to end."""

START_S = 30.0
"""How long (seconds) the listener may take to begin."""

MAX_WEBSOCKET_MESSAGE = 1 << 20
"""Largest WebSocket message, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen. `proxies` are addresses whose `X-Forwarded-*` headers are believed; `tls` makes it HTTPS."""

    host: str
    port: int
    proxies: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None


class Listener:
    """A server on one socket. `await start()`, later `await stop()`; `ended` is done when it stopped by itself."""

    def __init__(self, app: App, place: Place) -> None:
        self._place = place
        self._socket = _bound(place)
        tls = place.tls
        config = Config(
            app,
            http=_Bounded,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            backlog=BACKLOG,
            proxy_headers=bool(place.proxies),
            forwarded_allow_ips=list(place.proxies),
            ws_max_size=MAX_WEBSOCKET_MESSAGE,
            ssl_context_factory=None if tls is None else lambda config, default: tls,
        )
        self._server = _Quiet(config)
        self.ended: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on: the one that was asked for, or for 0 the one that the system chose."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Scheme, host and port, as somebody on this machine types it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._place.host, self._place.host)  # noqa: S104 - compared, not bound
        bare = host if ":" not in host or host.startswith("[") else f"[{host}]"
        return f"{'http' if self._place.tls is None else 'https'}://{bare}:{self.port}"

    async def start(self) -> None:
        """Begin to answer. Raises InputError (OMG-X001) when it does not come up."""
        self.ended = asyncio.create_task(self._server.serve([self._socket]))
        async with asyncio.timeout(START_S):
            while not self._server.started and not self.ended.done():  # noqa: ASYNC110 - uvicorn tells by a flag alone
                await asyncio.sleep(0.005)
        if self.ended.done():
            raise InputError("OMG-X001", f"nothing could be served at {self.url}")

    async def stop(self, within_s: float = 1.0) -> None:
        """Take no new connections, close idle ones, and wait for the others, at most so long."""
        if self.ended is None:
            self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(within_s))
        self._server.should_exit = True
        try:
            await self.ended
        finally:
            self._socket.close()  # a server that was stopped while it began leaves it open

    async def interrupt(self) -> None:
        """Cancel every request that is under way, and wait until they have ended, at most a moment; where one has not, nobody is left to
        wait for it: the connections are closed."""
        under_way: set[asyncio.Task[None]] = set(self._server.server_state.tasks)
        for task in under_way:
            task.cancel()
        if under_way and (await asyncio.wait(under_way, timeout=INTERRUPT_S))[1]:
            for connection in list(self._server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()

    def close(self) -> None:
        """Take no new connections from now on; those that are open go on."""
        for server in getattr(self._server, "servers", []):
            server.close()


class _Quiet(Server):
    """Signals belong to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Joined:
    """A transport that sends the head of an answer together with what follows at once: one call of the system, one packet.

    uvicorn writes the two apart, and each write wakes the other side. A head that nothing follows goes out by itself in the same turn of
    the loop. Whatever else is asked of the transport goes straight to it.
    """

    __slots__ = ("_flushing", "_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""
        self._flushing: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, a head a moment later."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD):
            self._head = data
            if self._flushing is None:
                self._flushing = self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        """Send all of `parts`."""
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        """Send what is held, and no more."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what is held, and hang up."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        self._flushing = None
        if self._head:
            held, self._head = self._head, b""
            if not self._transport.is_closing():
                self._transport.write(held)


class _Bounded(HttpToolsProtocol):
    """uvicorn's protocol with a time and a size for what comes before a request is known."""

    _patience: asyncio.TimerHandle | None = None
    _head = 0
    _peer: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _Joined(transport, self.loop)))
        if len(self.connections) > MAX_CONNECTIONS:
            self._say(503, "OMG-G008", "too many connections", "try again later")
            return
        self._begin_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._discard(data, self.cycle)
            return
        between = self.cycle is None or self.cycle.response_complete
        if between:
            self._head += len(data)
        super().data_received(data)
        if between and self._head and not self.transport.is_closing():  # a head that came whole counts nothing, and needs no timer
            if self._head > MAX_HEAD:
                self._say(431, "OMG-G004", f"the head of the request is longer than {MAX_HEAD:,} bytes", "send fewer or shorter headers")
            elif self._patience is None:
                self._begin_waiting()

    def _discard(self, data: bytes, answered: Any) -> None:
        """Let go of what comes of a body after its request was answered (it is too large, say): it is no part of the next head."""
        self._head += len(data)
        super().data_received(data)
        if not answered.more_body:
            if self.cycle is answered:
                self._end_waiting()
        elif self._head > MAX_DISCARDED:
            self.transport.close()
        elif self._patience is None:
            self._begin_waiting()

    def on_headers_complete(self) -> None:
        self._end_waiting()
        if not self.url.startswith(b"/") and not self._of_here():
            raise ValueError(TWO_PLACES)  # the parser answers with 400, and closes
        if self.scheme == "https":
            cast("dict[str, Any]", self.scope)[PEER] = self._certified()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._say(400, "OMG-G001", "this is no HTTP/1.1 request", "send well-formed HTTP")

    def _begin_waiting(self) -> None:
        self._patience = self.loop.call_later(HEAD_TIME_S, self._give_up)

    def _end_waiting(self) -> None:
        self._head = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.close()

    def _of_here(self) -> bool:
        """Whether a request target that is a whole address names the host that the header names (RFC 9112, 3.2.2); `*` names none."""
        _, scheme, rest = self.url.partition(b"://")
        host = next((value for name, value in self.headers if name == b"host"), b"")
        return self.url == b"*" or (bool(scheme) and rest.partition(b"/")[0].lower() == host.lower())

    def _certified(self) -> str:
        if self._peer is None:
            certificate = self.transport.get_extra_info("peercert")
            self._peer = spiffe_of(certificate or {})
        return self._peer

    def _say(self, status: int, code: str, cause: str, advice: str) -> None:
        """Answer where no request is known, and close."""
        document = {"type": f"{DOCUMENTATION}#{code.lower()}", "title": HTTPStatus(status).phrase.lower(), "status": status}
        body = json.dumps({**document, "detail": cause, "code": code, "advice": advice, "whose": "caller"}).encode()
        retry = "retry-after: 1\r\n" if status == 503 else ""
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}{retry}connection: close\r\n\r\n".encode() + body)
        self.transport.close()


def spiffe_of(certificate: Mapping[str, Any]) -> str:
    """The SPIFFE id in a verified certificate, as `ssl` gives it; empty unless it has exactly one URI, as X.509-SVIDs do."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    return names[0] if len(names) == 1 and names[0].startswith("spiffe://") else ""


def _bound(place: Place) -> socket.socket:
    """A socket on the address. Raises InputError (OMG-X001) when it cannot be had."""
    host = place.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, place.port))
    except OSError as error:
        made.close()
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(
            "OMG-X001", f"{place.host}:{place.port} cannot be listened on: {reason}", advice="choose another --port"
        ) from error
    return made
