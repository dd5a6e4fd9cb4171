"""Headers that repeat the body (MCP 2026-07-28, "Standard request headers" and "Custom headers", SEP-2243).

Whoever stands between client and server may route and refuse by headers alone, so a server must not act on a body that says something else.

    MCP-Protocol-Version   params._meta["io.modelcontextprotocol/protocolVersion"]
    Mcp-Method             method
    Mcp-Name               params.name (tools/call, prompts/get), params.uri (resources/read) or params.taskId (tasks/..., SEP-2663)
    Mcp-Param-<TOKEN>      the argument whose schema says `"x-mcp-header": TOKEN`

A value that a header cannot carry as it is goes as `=?base64?...?=`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from omega.wire.jsonrpc import ProtocolFault
from omega.wire.mcp.eras import HEADER_MISMATCH

NAMED: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Methods whose target is repeated in Mcp-Name, with the key it stands under."""

ROUTING: Final = frozenset({"mcp-protocol-version", "mcp-method", "mcp-name"})
PARAMETER: Final = "mcp-param-"
MARK: Final = "x-mcp-header"
"""The key in a property's schema that names its header."""

MAX_MARKED: Final = 64
"""Most properties of one tool with a header of their own; servers bound the number of headers at about a hundred."""

MAX_DEPTH: Final = 32
"""How deep properties are looked through for marks."""

_WRAPPED: Final = re.compile(r"=\?base64\?(.*)\?=")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.0+)?")
_MARKABLE: Final = ("string", "integer", "boolean")


def encode_header(value: str) -> str:
    """`value` as a header can carry it."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _WRAPPED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_header(value: str) -> str | None:
    """What a header carries; None when it says base64 and is none. Only the one canonical form counts."""
    wrapped = _WRAPPED.fullmatch(value)
    if wrapped is None:
        return value
    try:
        plain = base64.b64decode(wrapped[1], validate=True)
        return plain.decode() if base64.b64encode(plain).decode() == wrapped[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def check_routing(method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Whether Mcp-Method and Mcp-Name say what the body says. `headers` have lower-case names. Raises ProtocolFault (HEADER_MISMATCH)."""
    if headers.get("mcp-method") != method:
        raise ProtocolFault(HEADER_MISMATCH, "the header mcp-method does not say the method of the body")
    key = NAMED.get(method)
    if key is None:
        return
    name = params.get(key)
    if isinstance(name, str) and decode_header(headers.get("mcp-name", "").strip(" \t")) != name:
        raise ProtocolFault(HEADER_MISMATCH, f"the header mcp-name does not say the {key} of the body")


def check_single(names: Iterable[str]) -> None:
    """Raises ProtocolFault (HEADER_MISMATCH) when a header that is compared comes twice: two readers could take different ones."""
    seen: set[str] = set()
    for name in names:
        if name in ROUTING or name.startswith(PARAMETER):
            if name in seen:
                raise ProtocolFault(HEADER_MISMATCH, f"the header {name[:80]} comes twice")
            seen.add(name)


def marked(schema: Any) -> dict[tuple[str, ...], tuple[str, str]]:
    """Properties with a header of their own: their path, with the header's name in lower case and the property's type.

    Empty where the marks do not hold together (a name that is no token, one that comes twice, a type that has no exact text): conforming
    clients send no such header then.
    """
    return _marks(schema) or {}


def unsound(schema: Any) -> bool:
    """Whether a schema names headers in a way that does not hold together: conforming clients do not use such a tool."""
    return _marks(schema) is None


def _marks(schema: Any) -> dict[tuple[str, ...], tuple[str, str]] | None:
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for path, inner in _properties(schema, ()):
        if MARK not in inner:
            continue
        token, kind = inner[MARK], inner.get("type")
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None or kind not in _MARKABLE:
            return None
        found[path] = (PARAMETER + token.lower(), str(kind))
    names = [name for name, _ in found.values()]
    return found if len(set(names)) == len(names) <= MAX_MARKED else None


def check_arguments_in_headers(
    marks: Mapping[tuple[str, ...], tuple[str, str]], arguments: Mapping[str, Any], headers: Mapping[str, str]
) -> None:
    """Whether each marked argument and its header are there together and say the same. Raises ProtocolFault (HEADER_MISMATCH)."""
    for path, (name, kind) in marks.items():
        value, sent = _at(arguments, path), headers.get(name)
        if value is None and sent is None:
            continue
        where = ".".join(path)
        if value is None or sent is None:
            raise ProtocolFault(HEADER_MISMATCH, f"the header {name} and the argument {where} are not there together")
        if not _same(kind, value, decode_header(sent.strip(" \t"))):
            raise ProtocolFault(HEADER_MISMATCH, f"the header {name} does not say the argument {where}")


def argument_headers(marks: Mapping[tuple[str, ...], tuple[str, str]], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The headers that a call with `arguments` carries."""
    texts = {name: _text(_at(arguments, path)) for path, (name, _) in marks.items()}
    return {name: encode_header(text) for name, text in texts.items() if text is not None}


def _properties(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or len(path) >= MAX_DEPTH:
        return
    for name, inner in properties.items():
        if isinstance(inner, Mapping):
            yield (*path, name), inner
            yield from _properties(inner, (*path, name))


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(key)
    return arguments


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _same(kind: str, value: Any, sent: str | None) -> bool:
    whole = kind == "integer" and not isinstance(value, bool) and isinstance(value, int | float) and value == int(value)
    if whole and sent is not None and _NUMBER.fullmatch(sent):
        return int(sent.partition(".")[0]) == int(value)
    return sent is not None and sent == _text(value)
