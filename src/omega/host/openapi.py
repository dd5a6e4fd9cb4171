"""HTTP interfaces as tool servers: an OpenAPI document is read once, its operations become tools, and these are pinned like any other.

    omega mcp openapi NAME SOURCE     reads a file or an https address; what was read is kept in the record of the server
    omega mcp tools NAME              reads SOURCE again and compares: a change is used only once somebody accepts it

Nothing is asked of the interface when its tools are listed, and what it answers never changes them. Requests go where the whole internet
can reach, and into networks that were allowed when it was taken in; credentials are references, looked up for each caller.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import yaml

from omega.adapters.mcp import Openers, ToolDescription, Transport, Upstream
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web, WebFault, check_address
from omega.adapters.openapi import ApiSession
from omega.kernel.errors import Denied, InputError, UpstreamError
from omega.wire.openapi import Interface, Operation, Pins, read_interface
from omega.wire.strict import read_json

MAX_DOCUMENT: Final = 8 << 20
"""Largest document in bytes."""

MAX_YAML: Final = 4 << 20
"""Largest document in bytes that is written in YAML, which takes long to read."""

MAX_LEVELS: Final = 100
"""Most levels of a document in YAML."""

FETCH_S: Final = 30.0
"""Patience with the address of a document, in seconds."""

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An interface to take in. `source` is a file or an address, `base` where it is served (empty: what the document says), `headers` are
    references to credentials (`?NAME` for one of the query), `allow` networks that may be reached beside the public ones, `only` patterns
    of names or `METHOD /path`. Without `outputs` nothing is promised about answers."""

    name: str
    source: str
    base: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    allow: Sequence[str] = ()
    only: Sequence[str] = ()
    outputs: bool = True
    timeout_s: float = FETCH_S


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it: the record, its tools, what was left out and why, and the credentials that the document asks for."""

    upstream: Upstream
    tools: tuple[ToolDescription, ...]
    left_out: tuple[tuple[str, str], ...]
    credentials: tuple[str, ...]


async def import_api(wanted: Wanted) -> Imported:
    """Read a document and make tools of it. Raises InputError (OMG-I001, OMG-X001), Denied (OMG-P011, OMG-M010), UpstreamError (M001)."""
    document = parsed(await _text(wanted), wanted.source)
    interface = read_interface(document, outputs=wanted.outputs, pins=Pins.of(wanted.headers))
    chosen = [each for each in interface.operations if _is_wanted(each, wanted.only)]
    if not chosen:
        known = ", ".join(each.name for each in interface.operations[:10]) or "none"
        raise InputError("OMG-I001", f"no operation of {wanted.name} can be a tool here (in the document: {known})")
    base = _without_query(check_address(wanted.base or _base(interface, wanted.source), networks(wanted.allow)))
    _check_origin(wanted, base)
    api = {
        "format": FORMAT,
        "source": _whole(wanted.source),
        "base": wanted.base,
        "allow": list(wanted.allow),
        "only": list(wanted.only),
        "outputs": wanted.outputs,
        "title": interface.title,
        "version": interface.version,
        "operations": [each.to_json() for each in chosen],
    }
    upstream = Upstream(
        name=wanted.name, transport=Transport.OPENAPI, url=base, headers=dict(wanted.headers), timeout_s=wanted.timeout_s, api=api
    )
    missing = tuple(key for key in interface.credentials if key.lower() not in {each.lower() for each in wanted.headers})
    return Imported(upstream, tuple(described(upstream)), interface.left_out, missing)


async def read_again(upstream: Upstream) -> Imported:
    """What the source of an interface says now, read as it was read before. Raises what `import_api` raises."""
    api = upstream.api
    wanted = Wanted(
        name=upstream.name,
        source=str(api["source"]),
        base=str(api["base"]),
        headers=upstream.headers,
        allow=tuple(api["allow"]),
        only=tuple(api["only"]),
        outputs=bool(api["outputs"]),
        timeout_s=upstream.timeout_s,
    )
    return await import_api(wanted)


def described(upstream: Upstream) -> list[ToolDescription]:
    """The tools of the operations that are kept in a record."""
    return [_tool(upstream, each) for each in _operations(upstream).values()]


def open_api(upstream: Upstream, headers: Mapping[str, str], secrets: tuple[str, ...]) -> ApiSession:
    """Begin a conversation with an interface. Raises InputError (OMG-I001) for a record that cannot be read."""
    operations = _operations(upstream)
    tools = {name: _tool(upstream, each) for name, each in operations.items()}
    return ApiSession(
        upstream.name, upstream.url, operations, tools, headers=headers, allowed=networks(upstream.api.get("allow", ())), secrets=secrets
    )


OPENERS: Final[Openers] = {Transport.OPENAPI: open_api}
"""How servers are spoken to that do not speak MCP."""


def parsed(text: bytes, source: str) -> Any:
    """A document in JSON or YAML as plain data. Raises InputError (OMG-I001)."""
    try:
        if text.lstrip()[:1] == b"{":
            return read_json(text, what="the document")
    except InputError as error:
        raise InputError("OMG-I001", f"{source[:200]}: {error.cause}") from error
    if len(text) > MAX_YAML:
        raise InputError("OMG-I001", f"{source[:200]} has more than {MAX_YAML >> 20} MB of YAML", advice="convert it to JSON")
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, without dates
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise InputError("OMG-I001", f"{source[:200]} is neither JSON nor plain YAML: {words}") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as data, and a date as the text that it is."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check_events(text: bytes) -> None:
    """An alias could make a small document as large as it likes, and levels without end overflow the reader. Raises ValueError."""
    level = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases are not read")
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MAX_LEVELS:
            raise ValueError(f"it has more than {MAX_LEVELS} levels")


async def _text(wanted: Wanted) -> bytes:
    if not _is_address(wanted.source):
        return _from_file(Path(wanted.source))
    web = Web(networks(wanted.allow), limit=MAX_DOCUMENT)
    try:
        answer = await web.ask("GET", wanted.source, headers={"Accept": "application/json, */*;q=0.5"}, timeout_s=wanted.timeout_s)
    except (WebFault, TimeoutError) as error:
        words = str(error) or f"did not answer within {wanted.timeout_s:g} s"
        raise UpstreamError("OMG-M001", f"the document of {wanted.name} {words}", details={"server": wanted.name}) from error
    finally:
        await web.close()
    if answer.status != 200:
        raise UpstreamError(
            "OMG-M001", f"the document of {wanted.name} is not there: status {answer.status}", details={"server": wanted.name}
        )
    return answer.body


def _from_file(path: Path) -> bytes:
    try:
        path = path.expanduser()
        if path.stat().st_size > MAX_DOCUMENT:
            raise InputError("OMG-I001", f"{path} has more than {MAX_DOCUMENT >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise InputError("OMG-X001", f"{path} cannot be read: {error.strerror}") from error


def _whole(source: str) -> str:
    """A source that means the same in every folder."""
    return source if _is_address(source) else str(Path(source).expanduser().absolute())


def _is_address(source: str) -> bool:
    return urlsplit(source).scheme in ("http", "https")


def _is_wanted(operation: Operation, patterns: Sequence[str]) -> bool:
    label = f"{operation.method.upper()} {operation.path}"
    return not patterns or any(fnmatch.fnmatchcase(operation.name, each) or fnmatch.fnmatchcase(label, each) for each in patterns)


def _base(interface: Interface, source: str) -> str:
    """Where the document says that the interface is served; a relative address belongs to that of the document (OpenAPI 3.1.1, 4.8.5)."""
    for url in interface.servers or (("/",) if _is_address(source) else ()):
        whole = urljoin(source, url) if _is_address(source) else url
        if _is_address(whole) and "{" not in whole:
            return whole.rstrip("/")
    raise InputError("OMG-X001", "the document does not say where the interface is served", advice="say it: --base https://HOST/PATH")


def _check_origin(wanted: Wanted, base: str) -> None:
    """What every request carries goes where the operator said and nowhere else: to `--base`, or to the origin (RFC 6454) that the document
    was read from. Raises Denied (OMG-M010) where the document alone names the host."""
    named = wanted.base or (wanted.source if _is_address(wanted.source) else "")
    if wanted.headers and _origin(base) != _origin(named):
        read = f"was read from {_origin(named)}" if named else "is a file"
        raise Denied(
            "OMG-M010",
            f"the document of {wanted.name} {read}, and would have what is configured for it sent to {_origin(base)}",
            advice=f"if that is meant, say it: --base {base}",
            details={"server": wanted.name, "named": _origin(base), "configured": _origin(named)},
        )


def _origin(address: str) -> str:
    """Scheme, host and port of an address; empty for none."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{port}" if parts.hostname else ""


def _without_query(base: str) -> str:
    """`base`, unless it ends in a query: paths that follow it would become a part of that."""
    if "?" in base:
        raise InputError("OMG-I001", "the address where an interface is served has no query", advice="say it: --base https://HOST/PATH")
    return base


def _operations(upstream: Upstream) -> dict[str, Operation]:
    if upstream.api.get("format") != FORMAT:
        raise InputError("OMG-I001", f"the record of {upstream.name} has a form that is not known here", advice="take it in again")
    return {each.name: each for each in map(Operation.from_json, upstream.api["operations"])}


def _tool(upstream: Upstream, operation: Operation) -> ToolDescription:
    return ToolDescription(
        upstream.name,
        operation.name,
        operation.title,
        operation.description,
        operation.input_schema,
        operation.output_schema,
        operation.annotations(upstream.url),
    )
