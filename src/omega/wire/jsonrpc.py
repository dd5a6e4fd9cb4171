"""JSON-RPC 2.0 messages, as the Model Context Protocol uses them (jsonrpc.org/specification; MCP 2026-07-28, "Messages").

    request       {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {...}}     an answer is owed
    notification  the same without an id                                                   none is
    response      {"jsonrpc": "2.0", "id": 7, "result": {...}}   or   "error": {"code", "message", "data"}

What is read here is what is acted on, recorded and passed on: nothing that arrived is ever forwarded as bytes, so no second reader can see
another message in it. A key that comes twice in the envelope or in `params` is refused all the same: whoever sends it hopes for two
readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from omega.kernel.errors import InputError
from omega.wire.strict import read_json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

MAX_ID: Final = 256
"""Longest id in characters: it is repeated in the answer, and kept while the call runs."""

MAX_METHOD: Final = 128
"""Longest name of a method in characters; the longest that the protocol defines has 40."""

SAFE_INTEGER: Final = 1 << 53
"""Whole numbers from here on are read differently by readers that hold them as binary floating point."""

_META: Final = tuple(f"io.modelcontextprotocol/{what}" for what in ("clientInfo", "protocolVersion", "clientCapabilities"))
"""What each request of the newer era says in `_meta` (MCP 2026-07-28). The first holds the client's name: another key that is called so."""

Id = str | int
"""What an id may be: MCP forbids null, and a fraction has no exact form."""

_KEYS: Final = ("jsonrpc", "id", "method", "params", "name", "arguments", "_meta", "uri", *_META)
_WATCHED: Final = tuple((name, f'"{name}"'.encode()) for name in _KEYS)
"""Keys that two readers of one message must not understand differently, each as it stands in the text."""


class ProtocolFault(Exception):
    """What arrived is no message, or one that cannot be answered as asked: a code and words for the answer, and the id if there was one."""

    def __init__(self, code: int, message: str, *, id: Id | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.id, self.data = code, message, id, data


class Incoming(msgspec.Struct, frozen=True):
    """One message as it came. `id` is None for a notification; `method` is empty for a response; `params` is an object, empty if absent."""

    id: Id | None
    method: str
    params: dict[str, Any]
    result: Any = None
    error: Any = None

    @property
    def is_request(self) -> bool:
        """Whether an answer is owed."""
        return bool(self.method) and self.id is not None

    @property
    def is_response(self) -> bool:
        """Whether it answers a request of ours."""
        return not self.method


class _Raw(msgspec.Struct):
    jsonrpc: Any = None
    id: Any = msgspec.UNSET
    method: Any = msgspec.UNSET
    params: Any = msgspec.UNSET
    result: Any = msgspec.UNSET
    error: Any = msgspec.UNSET


_decode = msgspec.json.Decoder(_Raw).decode
_encode = msgspec.json.Encoder().encode


def decode(body: bytes) -> Incoming:
    """The one message in `body`. Raises ProtocolFault: PARSE_ERROR for what is no JSON, INVALID_REQUEST for what is no message.

    Batches are refused: MCP took them out in 2025-06-18, and one request may then stand for any number.
    """
    try:
        raw = _decode(body)
    except (msgspec.ValidationError, TypeError) as error:
        raise ProtocolFault(INVALID_REQUEST, "the body is one JSON-RPC message: an object, and no batch") from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ProtocolFault(PARSE_ERROR, "the body is not JSON") from error
    if _may_repeat(body, raw):
        _refuse_repeated(body)
    return _checked(raw)


def answer(id: Id, result: Any) -> bytes:
    """The response that carries `result`."""
    return _encode({"jsonrpc": "2.0", "id": id, "result": result})


def refusal(id: Id | None, code: int, message: str, data: Any = None) -> bytes:
    """The response that carries an error; `id` is None when the request could not be read."""
    error = {"code": code, "message": message} if data is None else {"code": code, "message": message, "data": data}
    return _encode({"jsonrpc": "2.0", "id": id, "error": error})


def request(id: Id, method: str, params: Mapping[str, Any]) -> bytes:
    """A request."""
    return _encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """A notification."""
    return _encode({"jsonrpc": "2.0", "method": method, "params": params})


def _checked(raw: _Raw) -> Incoming:
    id = None if raw.id is msgspec.UNSET else _id(raw.id)
    if raw.jsonrpc != "2.0":
        raise ProtocolFault(INVALID_REQUEST, 'the message does not say "jsonrpc": "2.0"', id=id)
    if raw.method is msgspec.UNSET:
        return _response(raw, id)
    if not isinstance(raw.method, str) or not 0 < len(raw.method) <= MAX_METHOD:
        raise ProtocolFault(INVALID_REQUEST, f"a method is text of 1 to {MAX_METHOD} characters", id=id)
    if raw.result is not msgspec.UNSET or raw.error is not msgspec.UNSET:
        raise ProtocolFault(INVALID_REQUEST, "a message with a method has no result and no error", id=id)
    params = {} if raw.params is msgspec.UNSET else raw.params
    if not isinstance(params, dict):
        raise ProtocolFault(INVALID_PARAMS, "params is an object", id=id)
    return Incoming(id, raw.method, params)


def _response(raw: _Raw, id: Id | None) -> Incoming:
    answers = (raw.result is not msgspec.UNSET) + (raw.error is not msgspec.UNSET)
    if answers != 1 or id is None:
        raise ProtocolFault(INVALID_REQUEST, "a message has a method, or an id with either a result or an error", id=id)
    if raw.error is not msgspec.UNSET:
        return Incoming(id, "", {}, error=raw.error if isinstance(raw.error, dict) else {"code": INTERNAL_ERROR, "message": "no reason"})
    return Incoming(id, "", {}, result=raw.result)


def _id(value: Any) -> Id:
    if isinstance(value, str) and len(value) <= MAX_ID:
        return value
    if type(value) is int and abs(value) < SAFE_INTEGER:
        return value
    raise ProtocolFault(INVALID_REQUEST, f"an id is text of at most {MAX_ID} characters or a whole number below 2 to the 53rd")


def _may_repeat(body: bytes, raw: _Raw) -> bool:
    """Whether a watched key stands in the text more often than in what was read: then it is worth reading it again, key by key.

    Every key that was read stands in the text at least once, and one that came twice was read once. An escape could hide one.
    """
    if b"\\u" in body:
        return True
    for name, text in _WATCHED:
        count = body.count(text)
        if count > 1 and count > _read(raw, name):
            return True
    return False


def _read(raw: _Raw, name: str) -> int:
    """How often `name` was read as a key: of the envelope, of its parameters, of their arguments, of what they say about the client."""
    params = raw.params if isinstance(raw.params, dict) else {}
    count = (getattr(raw, name, msgspec.UNSET) is not msgspec.UNSET) + (name in params)
    for part in (params.get("arguments"), meta := params.get("_meta")):
        count += isinstance(part, dict) and name in part
    client = meta.get(_META[0]) if isinstance(meta, dict) else None
    return count + (isinstance(client, dict) and name in client)


def _refuse_repeated(body: bytes) -> None:
    """Raises ProtocolFault for a key that comes twice in one object, and for whatever else two readers might understand differently."""
    try:
        read_json(body, what="the message")
    except InputError as error:
        raise ProtocolFault(PARSE_ERROR, error.cause) from error
