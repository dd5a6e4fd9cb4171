"""What of this installation is published in the registry entrance: virtual servers, each to those who may see it, and what is shown on."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from omega.gateway.mcp import View
from omega.host.arrangements import Documents, all_arranged
from omega.host.registry import SYNC, Listing, listings, shown_on
from omega.host.virtual import VIRTUAL
from omega.kernel.errors import InputError
from omega.kernel.scope import Scope
from omega.wire.registry import SCHEMA, Listed

MAX_DESCRIPTION: Final = 100
"""Longest description of a server in characters, as the schema of server.json has it."""

Looking = Callable[[str, Scope], View]
"""What somebody sees at a virtual server. Raises InputError (OMG-I002) where they see none of that name."""


class Publishing:
    """The shelf of the registry entrance (`omega.gateway.registry.Shelf`)."""

    def __init__(self, documents: Documents, look: Looking) -> None:
        self._documents, self._look = documents, look
        self._known: tuple[list[tuple[str, bytes]], list[Listing]] = ([], [])

    def published(self, scope: Scope, base: str) -> Sequence[Listed]:
        """What `scope` is shown: the virtual servers that have a tool for it, and what is shown on of other registries."""
        own = []
        for name, body in all_arranged(self._documents, VIRTUAL).items():
            try:
                view = self._look(name, scope)
            except InputError:  # not for this caller: it is not there
                continue
            if view.tools:
                own.append(_listed(name, body, view, base))
        return [*own, *shown_on(self._documents, scope.tenant, self._listings())]

    def _listings(self) -> list[Listing]:
        """What is kept of other registries; read again when any of them was."""
        state = self._documents.documents(SYNC)
        if state != self._known[0]:
            self._known = (state, list(listings(self._documents)))
        return self._known[1]


def _listed(name: str, body: Mapping[str, Any], view: View, base: str) -> Listed:
    """A virtual server as an entry: its version says which document it is, so another document is another version."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
    said = view.instructions.strip().partition("\n")[0] or f"{len(view.tools)} governed tools"
    header = {"name": "Authorization", "description": "Bearer and a passport or an API key", "isRequired": True, "isSecret": True}
    server = {
        "$schema": SCHEMA,
        "name": f"{namespace(base)}/{name}",
        "description": said[:MAX_DESCRIPTION],
        **({"title": view.title[:MAX_DESCRIPTION]} if view.title else {}),
        "version": f"1.0.0+{digest}",
        "remotes": [{"type": "streamable-http", "url": f"{base}/mcp/{name}", "headers": [header]}],
    }
    return Listed(server)


def namespace(base: str) -> str:
    """The reverse-DNS namespace of an address: `https://gw.example.com` is `com.example.gw`; an address in digits stays what it is."""
    host = urlsplit(base).hostname or "localhost"
    try:
        return str(ipaddress.ip_address(host)).replace(":", "-")
    except ValueError:
        return ".".join(reversed(host.split(".")))
