"""The listener of the gRPC binding: a socket of its own, and behind it the door of all others.

    certificates     the same as at the HTTP listener; a client certificate is demanded or not asked for, gRPC knows nothing between
    messages         at most `MAX_BODY` bytes, decompressed
    metadata         at most `MAX_METADATA` bytes; only what means something here is looked at
    calls            as many at once as the door lets in; of one connection `MAX_STREAMS`
    deadlines        a call that is over its deadline is let go, and its task goes on, as for any caller who goes away

grpcio is loaded here alone, when a listener is made.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from omega.gateway.a2a.bindings import BINDING, MAX_BODY
from omega.gateway.a2a.grpc_calls import CARRIED, DETAILS, Failure, GrpcCall, failure_of
from omega.gateway.a2a.showing import PREFIX
from omega.gateway.front.core import App, AsgiScope, Message
from omega.gateway.front.door import MAX_IN_FLIGHT, PEER
from omega.kernel.errors import InputError
from omega.wire.a2a.faults import INTERNAL, A2aFault
from omega.wire.a2a.operations import METHODS
from omega.wire.a2a.protobuf import CALLS, SERVICE

MAX_METADATA: Final = 64 << 10
"""Most metadata of a call in bytes, as the head of an HTTP request."""

MAX_STREAMS: Final = 256
"""Most calls at once of one connection."""

IDLE_MS: Final = 300_000
"""How long (milliseconds) a connection without a call is kept."""

PING_MS: Final = 10_000
"""How often (milliseconds) a client may ping; one that does more often is let go."""

INTERRUPT_S: Final = 1.0
"""How long (seconds) calls that are interrupted may take to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """A certificate chain and its key; `authorities` are the roots of client certificates, which are then demanded."""

    chain: bytes
    key: bytes
    authorities: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcPlace:
    """Where to listen. `base` is scheme, host and port of the HTTP listener beside it: what cards and proofs are made for. `certificates`
    gives those of now, asked for anew with every connection; without it nothing is encrypted."""

    host: str
    port: int
    base: str
    certificates: Callable[[], Pem] | None = None


class GrpcListener:
    """A server on one socket in front of `door`."""

    def __init__(self, door: App, place: GrpcPlace) -> None:
        self._door, self._place = door, place
        self._running: set[asyncio.Task[Any]] = set()
        self._server: Any = None
        self.port = place.port

    async def start(self) -> None:
        """Begin to answer. Raises InputError (OMG-X001) for an address that cannot be had, or where grpcio is not installed."""
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else every handshake that fails is a line on standard error
        try:
            import grpc  # noqa: PLC0415 - heavy, and an extra
            from grpc import aio  # noqa: PLC0415
        except ImportError as error:
            advice = "install the extra `a2a-grpc` of this package: it brings grpcio"
            raise InputError("OMG-X001", "the gRPC binding needs grpcio, which is not installed", advice=advice) from error
        self._server = aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_IN_FLIGHT)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers(grpc)),))
        host = self._place.host.strip("[]")
        address = f"[{host}]:{self._place.port}" if ":" in host else f"{host}:{self._place.port}"
        try:
            if self._place.certificates is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(grpc, self._place.certificates))
        except RuntimeError as error:
            raise InputError("OMG-X001", f"{address} cannot be listened on", advice="choose another --a2a-grpc port") from error
        await self._server.start()

    async def stop(self, within_s: float = 0.0) -> None:
        """Take no new calls, and wait for the others at most so long. Safe to call again."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(within_s)

    async def interrupt(self) -> None:
        """Cancel every call that is under way, and wait until they have ended, at most a moment."""
        under_way = list(self._running)
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=INTERRUPT_S)

    # -- calls

    def _handlers(self, grpc: Any) -> dict[str, Any]:
        """A handler for each method, from bytes to bytes: the codec is ours."""
        made = {}
        for method in CALLS:
            if METHODS[method].streams:
                made[method] = grpc.unary_stream_rpc_method_handler(self._handler(grpc, method))
            else:
                made[method] = grpc.unary_unary_rpc_method_handler(self._handler(grpc, method))
        return made

    def _handler(self, grpc: Any, method: str) -> Any:
        async def answer(raw: bytes, context: Any) -> bytes | None:
            call = GrpcCall(method, raw, context.write)
            failure = await self._asked(call, context)
            if failure is not None:
                await context.abort(grpc.StatusCode[failure.status], failure.words, ((DETAILS, failure.details),))
            return call.answered

        return answer

    async def _asked(self, call: GrpcCall, context: Any) -> Failure | None:
        """Bring a call to the door; what it failed with."""
        try:
            scope = self._scope(call, context)
        except A2aFault as fault:
            return failure_of(fault)
        asking = asyncio.ensure_future(self._door(scope, _nothing_more, call.send))
        self._running.add(asking)
        try:
            await asking
        finally:
            self._running.discard(asking)
            asking.cancel()
        if call.failure is None and call.answered is None and not call.streams:
            return failure_of(A2aFault(INTERNAL, "there is no answer"))
        return call.failure

    def _scope(self, call: GrpcCall, context: Any) -> AsgiScope:
        """A call as a request to the address of its agent. Raises A2aFault for a request that cannot be read."""
        path = f"{PREFIX}/{call.agent()}".rstrip("/")
        scheme, _, host = self._place.base.partition("://")
        told = [(name, value) for name, value in context.invocation_metadata() or () if name in CARRIED and isinstance(value, str)]
        return {
            "type": "http",
            "scheme": scheme,
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", host.encode()), *((name.encode(), value.encode("latin-1", "replace")) for name, value in told)],
            "client": (_address(context.peer()), 0),
            PEER: _spiffe(context.auth_context()),
            BINDING: call,
        }


async def _nothing_more() -> Message:
    """The request has come whole; that its caller goes away is a cancellation of the call."""
    await asyncio.Event().wait()
    raise AssertionError


def _address(peer: str) -> str:
    """The address of `ipv4:192.0.2.1:4711` or `ipv6:%5B::1%5D:4711`; empty for any other."""
    kind, _, place = unquote(peer).partition(":")
    return place.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def _spiffe(known: Any) -> str:
    """The SPIFFE id of a verified client certificate; empty unless it has exactly one URI, as X.509-SVIDs do."""
    names = [bytes(each).decode("ascii", "replace") for each in known.get("peer_uri", ())]
    return names[0] if len(names) == 1 and names[0].startswith("spiffe://") else ""


def _credentials(grpc: Any, certificates: Callable[[], Pem]) -> Any:
    def configuration() -> Any:
        pem = certificates()
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], root_certificates=pem.authorities or None)

    demanded = bool(certificates().authorities)
    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, require_client_authentication=demanded)


_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_BODY),
    ("grpc.max_metadata_size", MAX_METADATA),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.max_connection_idle_ms", IDLE_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_MS),
    ("grpc.so_reuseport", 0),
)
