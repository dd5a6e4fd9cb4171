"""A request as entrances read it, and replies as they write them: thin over raw ASGI, because every governed call passes here.

The door (`omega.gateway.front.door`) looks at a request once, and leaves what it found in the ASGI scope under `ARRIVAL`; an entrance takes
it from there with `arrival_of`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from omega.gateway.front.core import AsgiScope, Receive, Send
from omega.kernel.errors import InputError, OmegaError
from omega.wire.problem import MEDIA_TYPE, headers_of, problem_of
from omega.wire.strict import read_json

ARRIVAL = "omega.arrival"
"""The key of an `Arrival` in the ASGI scope."""

MAX_BODY = 4 << 20
"""Largest body in bytes, unless an entrance says otherwise: calls are small, and large values go as blobs."""

BODY_TIME_S = 20.0
"""How long (seconds) a body may take to arrive."""

MAX_QUERY = 100
"""Most parameters of a query."""

Headers = list[tuple[bytes, bytes]]
JSON = b"application/json"


@dataclass(slots=True)
class Arrival:
    """What the door found out about a request.

    `headers` have lower-case names and Latin-1 values, `id` is its own, `url` is scheme, host and path as the caller meant them, `base`
    scheme and host, `address` the peer's; `peer` the SPIFFE id of its verified certificate, where it showed one. `repeated` tells whether
    any header came more than once.
    """

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    id: str
    base: str
    address: str
    peer: str = ""
    repeated: bool = False
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Scheme, host and path, without the query: what a DPoP proof is made for."""
        return self.base + self.path

    def header(self, name: str) -> str:
        """The value of a header by its lower-case name; empty where it did not come."""
        return self.headers.get(name, "")

    def parameters(self, allowed: Iterable[str] | None = None) -> dict[str, str]:
        """The query as names and values. Raises InputError (OMG-G001) for a name that comes twice or is not `allowed`."""
        pairs = query_pairs(self.query)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise InputError("OMG-G001", "a parameter of the query stands there twice")
        unknown = None if allowed is None else next((name for name in found if name not in set(allowed)), None)
        if unknown is not None:
            raise InputError("OMG-G001", f"there is no parameter {unknown[:80]!r}", details={"parameter": unknown[:80]})
        return found


def arrival_of(scope: AsgiScope) -> Arrival:
    """What the door left in the scope."""
    found: Arrival = scope[ARRIVAL]
    return found


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """The parameters of a query in order. Raises InputError (OMG-G001) for what is not UTF-8, or for too many."""
    if not query:
        return []
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY)
    except ValueError:  # bytes that are no UTF-8, or more fields than that
        raise InputError("OMG-G001", f"the query cannot be read: at most {MAX_QUERY} parameters in UTF-8") from None


async def read_body(receive: Receive, arrival: Arrival, *, most: int = MAX_BODY) -> bytes:
    """The whole body.

    Raises InputError: OMG-G004 above `most` bytes, OMG-G005 when it does not come in time, OMG-G001 when it breaks off.
    """
    length = arrival.header("content-length")
    if length and int(length) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(BODY_TIME_S):
            message = await receive()
            body: bytes = message.get("body", b"")
            if message["type"] == "http.request" and not message.get("more_body", False):
                if len(body) > most:
                    raise _too_large(most)
                return body
            return await _rest(receive, message, most)
    except TimeoutError:
        raise InputError("OMG-G005", f"the body did not arrive within {BODY_TIME_S:g} s") from None


async def _rest(receive: Receive, message: Any, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise InputError("OMG-G001", "the caller went away before the end of the body")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


def _too_large(most: int) -> InputError:
    return InputError("OMG-G004", f"the body is larger than {most:,} bytes", details={"most": most})


async def read_json_body(receive: Receive, arrival: Arrival, *, most: int = MAX_BODY) -> Any:
    """The body as a JSON value; None where there is no body. Raises what `read_body` raises, and InputError (OMG-G001, OMG-G009)."""
    body = await read_body(receive, arrival, most=most)
    if not body:
        return None
    kind = arrival.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        what = f"is {kind[:80]!r}" if kind else "has no type"
        raise InputError("OMG-G009", f"the body {what}, and only application/json is read here")
    return read_json(body)


async def reply(send: Send, status: int, body: bytes = b"", *, kind: bytes = JSON, headers: Headers | None = None) -> None:
    """One whole answer."""
    lines: Headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *(headers or ())] if body or status != 204 else []
    if status == 204 and headers:
        lines = headers
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def reply_json(send: Send, value: Any, *, status: int = 200, headers: Headers | None = None) -> None:
    """One whole answer in JSON."""
    await reply(send, status, dump(value), headers=headers)


async def reply_error(send: Send, error: OmegaError | Mapping[str, Any], arrival: Arrival, *, headers: Headers | None = None) -> None:
    """An error, or its record, as problem details with the status and the headers that belong to it."""
    record = error.record() if isinstance(error, OmegaError) else error
    status, document = problem_of(record, instance=arrival.id, base=arrival.base)
    lines = [*headers_of(record, status, base=arrival.base), (b"cache-control", b"no-store"), *(headers or ())]
    await reply(send, status, dump(document), kind=MEDIA_TYPE.encode(), headers=lines)


_dump: Callable[[Any], str] = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def dump(value: Any) -> bytes:
    """`value` as JSON in UTF-8, without spaces. A character that UTF-8 cannot hold is replaced: an answer is always readable."""
    return _dump(value).encode("utf-8", "replace")
