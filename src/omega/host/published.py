"""What of this installation is published in the registry entrance: virtual servers, each to those who may see it, and what is shown on."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from omega.gateway.mcp import View
from omega.host.arrangements import Documents, all_arranged
from omega.host.registry import ENTRY, REGISTRY, SYNC, Listing, is_shown, shown_on, unpacked
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
        self._state: list[list[tuple[str, bytes]]] = []
        self._kept: dict[str, tuple[bytes, Listing]] = {}

    def published(self, scope: Scope, base: str) -> Sequence[Listed]:
        """What `scope` is shown: the virtual servers that have a tool for it, and what is shown on of other registries. Names below this
        installation's own belong to its virtual servers alone, whoever else lists them."""
        own = []
        for name, body in all_arranged(self._documents, VIRTUAL).items():
            try:
                view = self._look(name, scope)
            except InputError:  # not for this caller: it is not there
                continue
            if view.tools:
                own.append(_listed(name, body, view, base))
        ours = f"{namespace(base)}/".lower()
        shown = shown_on(self._documents, scope.tenant, self._listings())
        return [*own, *(each for each in shown if not each.name.lower().startswith(ours))]

    def _listings(self) -> list[Listing]:
        """What is kept of other registries and may be shown to somebody; looked at again when a registry was read or arranged anew."""
        state = [self._documents.documents(SYNC), self._documents.documents(REGISTRY)]
        if state != self._state:
            self._kept = dict(self._looked(all_arranged(self._documents, REGISTRY)))
            self._state = state
        return [listing for _, listing in self._kept.values()]

    def _looked(self, registries: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, tuple[bytes, Listing]]]:
        """The entries by place, with the digest of each. Unpacking one may take a millisecond, and there may be tens of thousands: only
        those are unpacked that are shown on, and of them those that are new."""
        for place, body in self._documents.documents(ENTRY):
            registry, _, key = place.partition("/")
            if is_shown(registries.get(registry, {}), key.partition("@")[0]):
                digest, (before, listing) = hashlib.sha256(body).digest(), self._kept.get(place, (b"", None))
                yield place, (digest, listing if listing is not None and before == digest else unpacked(place, body))


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
