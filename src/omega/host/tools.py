"""The catalogue of tool servers: which are known, which descriptions an operator has accepted, and what a tool leaf becomes with them.

Servers and pins are documents of the store (`upstream`, `pin`). A server that a flow declares beside itself is accepted by running that
flow, at its first use: its descriptions are pinned then, and from then on a change is refused until somebody accepts it on purpose (`omega
mcp tools NAME --accept`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

from omega.adapters.mcp import ToolDescription, Transport, Upstream
from omega.kernel.compose import AnyFlow, rebuilt
from omega.kernel.definition import Tool
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError, InputError, UpstreamError
from omega.kernel.servers import Server
from omega.kernel.types import Type

UPSTREAM = "upstream"
PIN = "pin"


class Documents(Protocol):
    """Small named records: the store's, or a reader's."""

    def document(self, kind: str, name: str) -> bytes | None: ...

    def documents(self, kind: str) -> list[tuple[str, bytes]]: ...


class Catalogue:
    """What is known of tools, read once and kept up to date by whoever writes."""

    def __init__(self, documents: Documents) -> None:
        self.upstreams = {name: Upstream.from_json(json.loads(body)) for name, body in documents.documents(UPSTREAM)}
        self.pins = {name: ToolDescription.from_json(json.loads(body)) for name, body in documents.documents(PIN)}

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


def upstream_of(server: Server) -> Upstream:
    """The record of a server declared beside a flow."""
    stdio = bool(server.argv)
    return Upstream(
        name=server.name,
        transport=Transport.STDIO if stdio else Transport.HTTP,
        argv=server.argv,
        env=dict(server.env),
        url=server.url,
        headers=dict(server.headers),
        timeout_s=server.timeout_s,
    )


def unpinned(catalogue: Catalogue, servers: Iterable[Server]) -> list[Upstream]:
    """The declared servers of which nothing is accepted yet.

    Raises UpstreamError (OMG-M004) for one that is known under the same name with another command or address.
    """
    fresh: list[Upstream] = []
    for server in servers:
        wanted, known = upstream_of(server), catalogue.upstream(server.name)
        if known is None:
            fresh.append(wanted)
        elif (known.transport, known.argv, known.url) != (wanted.transport, wanted.argv, wanted.url):
            raise UpstreamError(
                "OMG-M004",
                f"the flow wants {server.name} as {_reached(wanted)}; here it is known as {_reached(known)}",
                advice=f"rename one of the two, or remove the known one: omega mcp remove {server.name}",
            )
    return fresh


def _reached(upstream: Upstream) -> str:
    return " ".join(upstream.argv) or upstream.url
