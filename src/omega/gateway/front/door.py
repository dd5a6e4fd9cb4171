"""The door: the one ASGI application of the process. It looks at every request before any entrance does, and counts who is inside.

    shape        one of each header that may stand there once, a path without tricks, everything within its limits
    host, origin the names this installation answers for (against DNS rebinding and requests of foreign pages)
    way          to the entrance that is mounted at the first part of the path, or to health
    errors       whatever comes out of an entrance becomes problem details; what is not an OmegaError is told by its request id alone
    leaving      while the process drains, nobody new comes in; streams are told by an event

Everything here is in the way of a governed call, so there is one pass over the headers, one look into a dictionary, and no task.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from omega.gateway.front.core import App, AsgiScope, Message, Mounted, Receive, Send
from omega.gateway.front.request import ARRIVAL, Arrival, Headers, reply, reply_error, reply_json
from omega.kernel.errors import Denied, InputError, OmegaError, StorageError

LEAVING = "omega.leaving"
"""The key, in the ASGI scope, of the event that is set when the process drains: streams end then."""

PEER = "omega.peer"
"""The key, in the ASGI scope, of the SPIFFE id of a verified client certificate."""

MAX_IN_FLIGHT = 2_048
"""Most requests at once; a durable call that waits holds no more than its place here."""

MAX_PATH = 2_048
"""Longest path, in bytes as they came."""

COMPRESS_FROM = 1_400
"""Smallest body in bytes that is compressed for those who accept it: what fits into one packet gains nothing."""

COMPRESSION = 1
"""Level of gzip: the fastest, which saves most of what can be saved on JSON."""

DRAIN_LOOK_S = 0.02
"""How often a drain looks whether the last one has left, in seconds."""

PREFLIGHT_S = b"600"
"""How long (seconds) a browser may remember what a preflight said."""

LEAVING_RETRY_S = 1
"""When to come again (seconds) to a process that is stopping: behind a balancer the next connection leads to another one."""

HEALTH = frozenset({"livez", "readyz"})

_ONCE = frozenset(
    {"authorization", "content-length", "content-type", "dpop", "host", "idempotency-key", "mcp-protocol-version", "origin"}
    | {"omega-budget", "omega-deadline", "traceparent", "transfer-encoding"}
)
"""Headers of which a second one would be read by some and not by others."""

_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9\-_~!$&'()*+,;=:@./%]*")
_TRICK = re.compile(rb"//|/\.{1,2}(/|$)|%(2f|5c|2e|00|0a|0d|25)", re.IGNORECASE)
_TRICK_BESIDE_NAMES = re.compile(rb"//|/\.{1,2}(/|$)|%(5c|2e|00|0a|0d|25)", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_TEXTS = (b"application/json", b"application/problem+json", b"text/", b"application/openapi+json", b"application/yaml")

_STRICT = (b"strict-transport-security", b"max-age=31536000")
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names that a browser is not told to come to over HTTPS alone: on a person's own machine other ports speak plain HTTP (RFC 6797)."""

log = logging.getLogger("omega.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """Whom the door lets in: the `hosts` it answers for (names or addresses, without port; lower case), and web pages of other `origins`
    (`https://app.example`) that may call from a browser."""

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()


class Door:
    """The application that the server runs. `ready` says why the process is not ready, nothing when it is; `prefix` begins request ids."""

    def __init__(self, mounted: Sequence[Mounted], manners: Manners, *, ready: Callable[[], str], prefix: str) -> None:
        self.lead(mounted, ready=ready)
        self._manners = manners
        self._prefix = prefix
        self._numbers = count(1)
        self.inside = 0
        self.leaving = asyncio.Event()

    def lead(self, mounted: Sequence[Mounted], *, ready: Callable[[], str], failing: Callable[[], Collection[str]] = tuple) -> None:
        """Lead to these entrances from now on; `failing` names what goes wrong beside them, and keeps nobody from being served."""
        self._ways = {each.prefix.strip("/"): each.app for each in mounted} | {"livez": self._live, "readyz": self._ready}
        self._named = tuple(f"{each.prefix}/".encode() for each in mounted if each.names)
        self._posted = tuple((f"{each.prefix}/", each.posted) for each in mounted if each.posted)
        self._why_not = ready
        self._failing = failing
        self._lost = ""

    def lose(self, why: str) -> None:
        """Refuse everything but health until the door leads somewhere again, because of `why`. Streams are told to end; whoever interrupts
        other requests from now on has them refused too."""
        self._lost, self._why_not = why, lambda: why
        self.leaving.set()
        self.leaving = asyncio.Event()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse one WebSocket."""
        if scope["type"] == "lifespan":
            return
        arrival = Arrival("", "", b"", {}, f"{self._prefix}{next(self._numbers):x}", "", "")
        outgoing = _Outgoing(send, arrival) if scope["type"] == "http" else None
        if outgoing is None:
            send = _Handshake(send)
        self.inside += 1
        leaving = self.leaving
        try:
            self._look(scope, arrival)
            scope[LEAVING] = leaving
            if outgoing is None:
                await self._way(arrival)(scope, receive, send)
                return
            self._greet(outgoing, arrival)
            if arrival.method == "OPTIONS" and "access-control-request-method" in arrival.headers:
                await reply(outgoing, 204, headers=_preflight(arrival))
            else:
                await self._way(arrival)(scope, receive, outgoing)
        except OmegaError as error:
            await _refuse(error, outgoing, send, arrival)
        except asyncio.CancelledError:
            if leaving is self.leaving:
                raise
            await _refuse(StorageError("OMG-S004", "the database was lost meanwhile"), outgoing, send, arrival)
        except Exception as error:  # noqa: BLE001 - a fault of ours, in any entrance: told by its id alone, for it might hold values
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}" if place is not None else "?"
            log.error("%s: %s at %s", arrival.id, type(error).__name__, where)
            fault = OmegaError("OMG-G011", "something happened that was not expected", details={"request": arrival.id})
            await _refuse(fault, outgoing, send, arrival)
        finally:
            self.inside -= 1

    async def drain(self, within_s: float) -> bool:
        """Let nobody new in, and wait for those inside; whether all of them left in time."""
        self.leaving.set()
        try:
            async with asyncio.timeout(within_s):
                while self.inside:  # noqa: ASYNC110 - counting is cheaper on the way of each request than telling an event
                    await asyncio.sleep(DRAIN_LOOK_S)
        except TimeoutError:
            return False
        return True

    # -- looking

    def _look(self, scope: AsgiScope, arrival: Arrival) -> None:
        """Read the request's head into `arrival`. Raises InputError, Denied, StorageError (G codes) for what is not let in."""
        raw = scope.get("raw_path") or scope["path"].encode()
        arrival.headers = headers = _headers(scope["headers"])
        arrival.repeated = len(headers) != len(scope["headers"])
        method = scope.get("method", "GET")
        arrival.method = "GET" if method == "HEAD" else method
        arrival.path, arrival.query = scope["path"], scope.get("query_string", b"")
        arrival.address = str(scope["client"][0]) if scope.get("client") else ""
        arrival.peer = scope.get(PEER, "")
        given = headers.get("x-request-id", "")
        if given and _REQUEST_ID.fullmatch(given):
            arrival.id = given
        scope[ARRIVAL] = arrival
        host = headers.get("host", "").lower()
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        if name_of(host) not in self._manners.hosts:
            raise Denied("OMG-G006", f"this installation does not answer for {host[:80]!r}")
        arrival.base = f"{scheme}://{host}"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != arrival.base and origin not in self._manners.origins and not self._taken(arrival):
            raise Denied("OMG-G006", f"pages of {origin[:80]!r} may not call this installation")
        if len(raw) > MAX_PATH or _PLAIN_PATH.fullmatch(raw) is None or self._tricks(raw):
            raise InputError("OMG-G002" if len(raw) <= MAX_PATH else "OMG-G004", "the path is none of this installation's")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 18:
            raise InputError("OMG-G001", "the length of the body is no number")
        if self.leaving.is_set():
            raise StorageError("OMG-G008", "the process is stopping", details={"retry_after_s": LEAVING_RETRY_S})
        if self.inside > MAX_IN_FLIGHT:
            raise StorageError("OMG-G008", f"{MAX_IN_FLIGHT:,} requests are under way already")

    def _taken(self, arrival: Arrival) -> bool:
        """Whether pages of any site may post to this path."""
        path = arrival.path
        return arrival.method == "POST" and any(path.startswith(prefix) and path.endswith(end) for prefix, end in self._posted)

    def _tricks(self, raw: bytes) -> bool:
        """Whether a path could mean something else to somebody else."""
        if _TRICK.search(raw) is None:
            return False
        return not raw.startswith(self._named) or _TRICK_BESIDE_NAMES.search(raw) is not None

    def _greet(self, outgoing: _Outgoing, arrival: Arrival) -> None:
        if arrival.base.startswith("https:") and name_of(arrival.base[8:]) not in _LOCAL:
            outgoing.extra.append(_STRICT)
        origin = arrival.headers.get("origin")
        if origin is not None and origin in self._manners.origins:
            outgoing.extra += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-expose-headers", b"location, retry-after, x-request-id, etag, omega-execution, link"),
                (b"vary", b"origin"),
            ]

    def _way(self, arrival: Arrival) -> App:
        first = arrival.path.split("/", 2)[1]
        way = self._ways.get(first)
        if self._lost and first not in HEALTH:
            raise StorageError("OMG-G008", self._lost, details={"retry_after_s": LEAVING_RETRY_S})
        if way is None:
            raise InputError("OMG-G002", f"there is nothing at {arrival.path[:80]!r}")
        return way

    # -- health

    async def _live(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """The process answers: enough for a supervisor that restarts it otherwise."""
        await reply_json(send, {"status": "ok"})

    async def _ready(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Whether requests should be sent here: the storage works, and the process is not stopping."""
        why = self._why_not()
        if why:
            raise StorageError("OMG-G008", why)
        failing = sorted(self._failing())
        await reply_json(send, {"status": "ready"} | ({"failing": failing} if failing else {}))


class _Outgoing:
    """What an entrance sends through: adds the headers that every answer has, and compresses whole answers for those who accept it."""

    __slots__ = ("_held", "_send", "arrival", "began", "extra")

    def __init__(self, send: Send, arrival: Arrival) -> None:
        self._send = send
        self.arrival = arrival
        self.began = False
        self.extra: Headers = []
        self._held: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"] = [*message.get("headers", ()), *_SAFE, *self.extra]
            headers.append((b"x-request-id", self.arrival.id.encode()))
            if "gzip" in self.arrival.headers.get("accept-encoding", "") and _compressible(headers):
                self._held = message  # until its body is here: a whole one
                return
            self.began = True
        elif self._held is not None:
            held, self._held, self.began = self._held, None, True
            body = message.get("body", b"")
            if not message.get("more_body", False) and len(body) >= COMPRESS_FROM:
                message = {**message, "body": (body := gzip.compress(body, COMPRESSION, mtime=0))}
                kept = [pair for pair in held["headers"] if pair[0] != b"content-length"]
                held["headers"] = [*kept, (b"content-length", b"%d" % len(body)), (b"content-encoding", b"gzip")]
            held["headers"].append((b"vary", b"accept-encoding"))
            await self._send(held)
        await self._send(message)


class _Handshake:
    """What an entrance answers a WebSocket through: knows whether the handshake has been answered, and can answer it as a request over HTTP
    is (ASGI, extension "websocket.http.response")."""

    __slots__ = ("_send", "begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)

    async def answer(self, message: Message) -> None:
        """Send one message of an answer over HTTP."""
        self.begun = True
        await self._send({**message, "type": f"websocket.{message['type']}"})


async def _refuse(error: OmegaError, outgoing: _Outgoing | None, send: Send, arrival: Arrival) -> None:
    """Tell the caller; where an answer has begun, nothing more can be said, and the server closes the connection."""
    if isinstance(send, _Handshake) and not send.begun and isinstance(error, StorageError):
        await reply_error(send.answer, error, arrival)  # not "403": whoever comes again may be let in
    elif outgoing is None:
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
    elif not outgoing.began:
        headers: Headers = [(b"connection", b"close")] if error.code in ("OMG-G004", "OMG-G005", "OMG-G008") else []
        await reply_error(outgoing, error, arrival, headers=headers)


def _headers(pairs: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Headers by lower-case name; several of a name are joined as HTTP joins them (RFC 9110, 5.3).

    Raises InputError (OMG-G001) for a second one of those that may stand there once.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        if key in found:
            if key in _ONCE:
                raise InputError("OMG-G001", f"the header {key} stands there twice")
            text = f"{found[key]}{'; ' if key == 'cookie' else ', '}{text}"
        found[key] = text
    if "transfer-encoding" in found and "content-length" in found:
        raise InputError("OMG-G001", "the request gives two lengths: content-length and transfer-encoding")
    return found


def name_of(host: str) -> str:
    """The host without its port; brackets of an IPv6 address stay."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host


def _compressible(headers: Headers) -> bool:
    """Whether an answer says its length (it is whole, then) and is of a kind that compresses, and is not compressed yet."""
    names = dict(headers)
    return b"content-length" in names and b"content-encoding" not in names and names.get(b"content-type", b"").startswith(_TEXTS)


def _preflight(arrival: Arrival) -> Headers:
    """What a browser may send from an allowed page (Fetch Standard, 4.9)."""
    asked = arrival.header("access-control-request-headers")
    allowed = ", ".join(name for name in asked.lower().split(",") if re.fullmatch(r"\s*[a-z0-9-]{1,64}\s*", name))
    return [
        (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
        (b"access-control-allow-headers", allowed.encode("latin-1")),
        (b"access-control-max-age", PREFLIGHT_S),
    ]
