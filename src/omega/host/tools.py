"""The catalogue of tool servers: which are known, which descriptions an operator has accepted, and what a tool leaf becomes with them.

Servers and pins are documents of the store (`upstream`, `pin`), and taking one in or out is a flow like any other: admitted, journaled,
sealed. A server that a flow declares beside itself is accepted by running that flow, at its first use: its descriptions are pinned then,
and from then on a change is refused until somebody accepts it on purpose (`omega mcp tools NAME --accept`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from omega.adapters.mcp import ToolDescription, Transport, Upstream
from omega.host.sandboxing import of_flow
from omega.host.settings import TENANT, Settings
from omega.kernel.compose import AnyFlow, rebuilt
from omega.kernel.context import Context
from omega.kernel.definition import Tool, flow
from omega.kernel.effects import Effect, Receipt, Request
from omega.kernel.errors import DefinitionError, Denied, InputError, UpstreamError
from omega.kernel.sandbox import PLAIN, Sandbox
from omega.kernel.servers import Server
from omega.kernel.types import Type
from omega.kernel.verdict import Permit

GUEST: ContextVar[Any] = ContextVar("omega-guest", default=None)
"""The client of the gateway for whom the current task works, if any: what a tool server says in the middle of a call goes there."""

UPSTREAM = "upstream"
PIN = "pin"


class Shelf(Protocol):
    """Where documents are written."""

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None: ...

    def drop_document(self, kind: str, name: str) -> bool: ...


class Documents(Protocol):
    """Small named records: the store's, or a reader's."""

    def document(self, kind: str, name: str) -> bytes | None: ...

    def documents(self, kind: str) -> list[tuple[str, bytes]]: ...


class Catalogue:
    """What is known of tools, read at the start and kept up to date by whoever writes; `read` again tells what other engines wrote."""

    def __init__(self, documents: Documents) -> None:
        self.upstreams: dict[str, Upstream] = {}
        self.pins: dict[str, ToolDescription] = {}
        self.changes = 0
        self.read(documents)

    def read(self, documents: Documents) -> None:
        """Take in what is accepted now; `changes` counts how often that was something else than before."""
        before = self.upstreams, self.pins
        self.upstreams = {name: Upstream.from_json(json.loads(body)) for name, body in documents.documents(UPSTREAM)}
        self.pins = {name: ToolDescription.from_json(json.loads(body)) for name, body in documents.documents(PIN)}
        self.changes += before != (self.upstreams, self.pins)

    def upstream(self, name: str) -> Upstream | None:
        """The server of that name."""
        return self.upstreams.get(name)

    def pin(self, server: str, tool: str) -> ToolDescription | None:
        """The accepted description of a tool."""
        return self.pins.get(f"{server}/{tool}")

    def tools_of(self, server: str) -> list[ToolDescription]:
        """The accepted descriptions of a server's tools, by name."""
        return [pin for name, pin in sorted(self.pins.items()) if pin.server == server]

    def bind(self, leaf: AnyFlow) -> AnyFlow:
        """A tool leaf with the effect, schema and digest of its accepted description; any other leaf as it is.

        Raises InputError (OMG-M005) for a tool that is not known, DefinitionError (OMG-F003) when the description says more than the
        author reckons with.
        """
        body = leaf.body
        if not isinstance(body, Tool) or body.pin:
            return leaf
        pin = self.pin(body.server, body.tool)
        if pin is None:
            known = ", ".join(tool.name for tool in self.tools_of(body.server)) or "none"
            raise InputError(
                "OMG-M005", f"{body.server}/{body.tool} is not a tool that anybody has accepted (known of {body.server}: {known})"
            )
        effect = Effect(body.declared) if body.declared else pin.effect
        if pin.effect.rank > effect.rank:
            raise DefinitionError(
                "OMG-F003",
                f"{leaf.name} is used as a {effect.value}; its description says {pin.effect.value}",
                advice="declare the stronger effect, or use another tool",
            )
        schema = {key: value for key, value in dict(pin.input_schema).items() if key != "$schema"}
        return replace(
            leaf,
            body=replace(body, pin=pin.digest),
            effect=effect,
            description=pin.description,
            input=Type(dict[str, Any], schema or None, name=f"{leaf.name} arguments"),
            _digest=[],
        )

    def bound(self, flow: AnyFlow) -> AnyFlow:
        """`flow` with every tool leaf bound."""
        return rebuilt(flow, self.bind)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepServer(Request):
    """Remember a server and the accepted descriptions of its tools, in place of what was accepted before."""

    port: ClassVar[str] = "catalogue"
    upstream: Upstream
    tools: tuple[ToolDescription, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropServer(Request):
    """Forget a server and what was accepted of it."""

    port: ClassVar[str] = "catalogue"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantServer(Request):
    """Change what a known server may do on this machine; what was accepted of it stays."""

    port: ClassVar[str] = "catalogue"
    name: str
    sandbox: Sandbox


class CatalogueEffector:
    """Serves `KeepServer`, `GrantServer` and `DropServer` on a catalogue and the store behind it."""

    port = KeepServer.port

    def __init__(self, catalogue: Catalogue, shelf: Shelf, now_us: Callable[[], int]) -> None:
        self._catalogue, self._shelf, self._now_us = catalogue, shelf, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the names of the tools that are accepted now, or the sandbox that holds now.

        Raises InputError (OMG-M005) for a server to drop or change that is not known, Denied (OMG-W001) for any tenant but the
        installation's own.
        """
        permit.spend(self.port)
        if permit.tenant != TENANT:
            raise Denied("OMG-W001", "tool servers are the installation's", advice="have an operator add it")
        self._catalogue.changes += 1
        if isinstance(request, KeepServer):
            self._drop(request.upstream.name)
            self._keep(request)
            return [tool.name for tool in request.tools], Receipt()
        if isinstance(request, GrantServer):
            return self._grant(request).to_json(), Receipt()
        if isinstance(request, DropServer):
            if self._catalogue.upstream(request.name) is None:
                raise InputError("OMG-M005", f"there is no tool server {request.name}")
            self._drop(request.name)
            return [], Receipt()
        raise InputError("OMG-I001", f"the catalogue keeps and drops servers, it does no {type(request).__name__}")

    def _keep(self, request: KeepServer) -> None:
        now, upstream = self._now_us(), request.upstream
        for tool in request.tools:
            name = f"{upstream.name}/{tool.name}"
            self._shelf.put_document(PIN, name, json.dumps(tool.to_json()).encode(), now)
            self._catalogue.pins[name] = tool
        self._shelf.put_document(UPSTREAM, upstream.name, json.dumps(upstream.to_json()).encode(), now)
        self._catalogue.upstreams[upstream.name] = upstream

    def _grant(self, request: GrantServer) -> Sandbox:
        known = self._catalogue.upstream(request.name)
        if known is None:
            raise InputError("OMG-M005", f"there is no tool server {request.name[:80]}")
        changed = replace(known, sandbox=request.sandbox)
        self._shelf.put_document(UPSTREAM, known.name, json.dumps(changed.to_json()).encode(), self._now_us())
        self._catalogue.upstreams[known.name] = changed
        return changed.sandbox

    def _drop(self, name: str) -> None:
        self._shelf.drop_document(UPSTREAM, name)
        self._catalogue.upstreams.pop(name, None)
        for tool in self._catalogue.tools_of(name):
            self._shelf.drop_document(PIN, f"{name}/{tool.name}")
            self._catalogue.pins.pop(f"{name}/{tool.name}", None)


@flow(name="accept-tools", effect="idempotent", needs="catalogue:use")
async def accept_tools(ctx: Context, offer: dict[str, Any]) -> list[str]:
    """Accept a server (`upstream`) and the descriptions of its tools (`tools`); gives their names."""
    tools = tuple(ToolDescription.from_json(tool) for tool in offer["tools"])
    names: list[str] = await ctx.touch(KeepServer(upstream=Upstream.from_json(offer["upstream"]), tools=tools))
    return names


@flow(name="forget-tools", effect="idempotent", needs="catalogue:use")
async def forget_tools(ctx: Context, name: str) -> list[str]:
    """Forget a server and what was accepted of it."""
    left: list[str] = await ctx.touch(DropServer(name=name))
    return left


@flow(name="sandbox-server", effect="idempotent", needs="catalogue:use")
async def sandbox_server(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Change what the server `name` may do on this machine (`sandbox`, as `omega.kernel.sandbox` writes it); gives what it may do now."""
    changed: dict[str, Any] = await ctx.touch(GrantServer(name=str(wanted["name"]), sandbox=Sandbox.from_json(wanted["sandbox"])))
    return changed


def upstream_of(server: Server, settings: Settings) -> Upstream:
    """The record of a server declared beside a flow. Raises InputError for grants that cannot be meant (`omega.host.sandboxing`)."""
    stdio = bool(server.argv)
    return Upstream(
        name=server.name,
        transport=Transport.STDIO if stdio else Transport.HTTP,
        argv=server.argv,
        env=dict(server.env),
        cwd=server.cwd or None if stdio else None,
        url=server.url,
        headers=dict(server.headers),
        timeout_s=server.timeout_s,
        sandbox=of_flow(server, settings) if stdio else PLAIN,
    )


def unpinned(catalogue: Catalogue, servers: Iterable[Server], settings: Settings) -> list[Upstream]:
    """The declared servers of which nothing is accepted yet.

    Raises UpstreamError (OMG-M004) for one that is known under the same name with another command or address.
    """
    fresh: list[Upstream] = []
    for server in servers:
        wanted, known = upstream_of(server, settings), catalogue.upstream(server.name)
        if known is None:
            fresh.append(wanted)
        elif (known.transport, _programs(known), known.url) != (wanted.transport, _programs(wanted), wanted.url):
            raise UpstreamError(
                "OMG-M004",
                f"the flow wants {server.name} as {_reached(wanted)}; here it is known as {_reached(known)}",
                advice=f"rename one of the two, or remove the known one: omega mcp remove {server.name}",
            )
    return fresh


def _programs(upstream: Upstream) -> tuple[str, ...]:
    """The command with its files spelled out: the same words in two folders may be two programs."""
    folder = Path(upstream.cwd) if upstream.cwd else None
    return tuple(str(folder / part) if folder is not None and (folder / part).is_file() else part for part in upstream.argv)


def _reached(upstream: Upstream) -> str:
    return " ".join(upstream.argv) or upstream.url
