"""From arguments to a request, and from an answer to a tool's result.

Values stand in an address as RFC 6570 has it, in the styles of OpenAPI 3.1.1 (4.8.12.4). A value of the path is one segment: what would
lead to another (`..`, or nothing at all) is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from omega.kernel.errors import InputError
from omega.wire.openapi.operations import BODY, FORM, TEXT, Operation, Parameter
from omega.wire.openapi.pins import IN_QUERY, Pins
from omega.wire.strict import read_json

MAX_URL: Final = 16 << 10
"""Longest address in characters."""

MAX_SAID: Final = 4_000
"""Characters of an error's body that are told."""

_SEPARATORS: Final = {"spaceDelimited": "%20", "pipeDelimited": "%7C", "form": ",", "simple": ","}
_NO_REASON: Final = {301: "leads elsewhere", 302: "leads elsewhere", 303: "leads elsewhere", 307: "leads elsewhere", 308: "leads elsewhere"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request to send; `headers` are without those that are pinned."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def prepare(
    operation: Operation, base: str, arguments: Mapping[str, Any], query: Mapping[str, str] | None = None, pinned: Collection[str] = ()
) -> Prepared:
    """The request of a call; `query` are parameters, `pinned` names of headers that no argument sets.

    Raises InputError (OMG-I001) for a value that cannot be sent, and for one that would set what is pinned.
    """
    pins = Pins.of([*(f"{IN_QUERY}{name}" for name in query or ()), *pinned])
    path, pairs, cookies = operation.path, [], []
    headers = {} if pins.hold("header", "accept") else {"Accept": "application/json, text/*;q=0.5, */*;q=0.1"}
    for parameter in operation.parameters:
        value = arguments.get(parameter.argument)
        if value is None:
            if parameter.place == "path":
                raise InputError("OMG-I001", f"{operation.name} needs {parameter.argument}")
            continue
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", _segment(operation, parameter, value))
        elif parameter.place == "query":
            pairs += _unpinned(operation, parameter, _pairs(parameter, value), pins)
        elif parameter.place == "header":
            _unpinned(operation, parameter, [parameter.name], pins)
            headers[parameter.name] = _header(operation, parameter, value)
        else:
            cookies += _unpinned(operation, parameter, _pairs(parameter, value), pins)
    if not {"..", "."}.isdisjoint(path.split("/")):  # two values side by side may make what neither is
        raise InputError("OMG-I001", f"the arguments of {operation.name} make a path that leads elsewhere")
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    pairs += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in (query or {}).items()]
    url = base.rstrip("/") + path + ("?" + "&".join(pairs) if pairs else "")
    if len(url) > MAX_URL:
        raise InputError("OMG-I001", f"the address of {operation.name} has more than {MAX_URL:,} characters with these arguments")
    body = _body(operation, arguments)
    if body is not None and not pins.hold("header", "content-type"):
        headers["Content-Type"] = operation.media
    return Prepared(operation.method.upper(), url, headers, body or b"")


def result_of(operation: Operation, status: int, kind: str, body: bytes) -> dict[str, Any]:
    """A tool's result by MCP: the answer's value as structured content where it is JSON; a bad status is an error of the tool."""
    media = kind.partition(";")[0].strip().lower()
    if not 200 <= status < 300:
        said = _NO_REASON.get(status) or body[:MAX_SAID].decode("utf-8", "replace").strip()
        return {"isError": True, "content": [_text(f"status {status}{': ' + said if said else ''}")]}
    if not body:
        return {"content": [_text(f"status {status}, no content")]}
    if media.endswith(("/json", "+json")):
        try:
            value = read_json(body, what="the answer")
        except InputError as error:
            return {"isError": True, "content": [_text(error.cause)]}
        structured = value if isinstance(value, dict) and not operation.wrapped else {"result": value}
        return {"content": [_text(body.decode())], "structuredContent": structured}
    if media.startswith("text/") or not media:
        return {"content": [_text(body.decode("utf-8", "replace"))]}
    blob = {"uri": f"omega:answer/{operation.name}", "mimeType": media, "blob": base64.b64encode(body).decode()}
    return {"content": [{"type": "resource", "resource": blob}]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _unpinned(operation: Operation, parameter: Parameter, pairs: list[str], pins: Pins) -> list[str]:
    """`pairs` as `name=value`, none of which is pinned: the names of an exploded object are the caller's. Raises InputError (OMG-I001)."""
    for pair in pairs:
        name = unquote(pair.partition("=")[0])
        if pins.hold(parameter.place, name):
            cause = f"{parameter.argument} of {operation.name} sets {name[:80]!r}, which is pinned by whoever took the interface in"
            raise InputError("OMG-I001", cause, advice="leave it out")
    return pairs


def _segment(operation: Operation, parameter: Parameter, value: Any) -> str:
    text = _joined(parameter, value)
    if text in ("", ".", ".."):
        raise InputError("OMG-I001", f"{parameter.argument} of {operation.name} is one part of a path, and {text!r} is none")
    return text


def _header(operation: Operation, parameter: Parameter, value: Any) -> str:
    text = ",".join(_flat(value, explode=parameter.explode)) if not parameter.as_json else _json(value)
    if not text.isascii() or not text.isprintable():
        raise InputError("OMG-I001", f"{parameter.argument} of {operation.name} is sent as a header: printable ASCII only")
    return text


def _joined(parameter: Parameter, value: Any) -> str:
    """A value in one piece, percent-encoded, its parts with a separator between them that is not encoded."""
    if parameter.as_json:
        return quote(_json(value), safe="")
    safe = "=" if parameter.explode else ""
    return _SEPARATORS[parameter.style].join(quote(part, safe=safe) for part in _flat(value, explode=parameter.explode))


def _pairs(parameter: Parameter, value: Any) -> list[str]:
    """`name=value` as often as the style says, percent-encoded."""
    name = quote(parameter.name, safe="")
    if parameter.as_json or not isinstance(value, (list, dict)):
        return [f"{name}={quote(_json(value) if parameter.as_json else _plain(value), safe='')}"]
    if isinstance(value, dict):
        if parameter.style == "deepObject":
            return [f"{name}%5B{quote(str(key), safe='')}%5D={quote(_plain(each), safe='')}" for key, each in value.items()]
        if parameter.explode:
            return [f"{quote(str(key), safe='')}={quote(_plain(each), safe='')}" for key, each in value.items()]
    elif parameter.explode:
        return [f"{name}={quote(_plain(each), safe='')}" for each in value]
    separator = _SEPARATORS.get(parameter.style, ",")
    return [f"{name}={separator.join(quote(part, safe='') for part in _flat(value, explode=False))}"] if value else []


def _flat(value: Any, *, explode: bool) -> Iterator[str]:
    """The parts of a value in the style `simple`: an object is its names and values, in turns or joined by `=`."""
    if isinstance(value, list):
        yield from (_plain(each) for each in value)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from [f"{key}={_plain(each)}"] if explode else [str(key), _plain(each)]
    else:
        yield _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _body(operation: Operation, arguments: Mapping[str, Any]) -> bytes | None:
    if not operation.media or BODY not in arguments:
        return None
    value = arguments[BODY]
    if operation.media == TEXT:
        return _plain(value).encode("utf-8", "replace")
    if operation.media == FORM:
        if not isinstance(value, Mapping):
            raise InputError("OMG-I001", f"the body of {operation.name} is a form: an object of fields")
        fields = [(str(key), _plain(part)) for key, each in value.items() for part in (each if isinstance(each, list) else [each])]
        return urlencode(fields).encode()
    return _json(value).encode("utf-8", "replace")
