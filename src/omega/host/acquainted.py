"""The agents elsewhere that an operator has accepted: documents by name, and how one is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from omega.adapters.a2a import Peer
from omega.host.arrangements import Documents, all_arranged, arranged
from omega.kernel.errors import InputError, OmegaError

PEER: Final = "a2a-peer"
"""The kind of the arrangements."""


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of an agent elsewhere as it is kept. Raises InputError (OMG-I001)."""
    try:
        return Peer.read(name, body).record()
    except OmegaError as error:
        raise InputError("OMG-I001", error.cause, advice=error.advice) from error


def finder(documents: Documents, tenant: str) -> Callable[[str, str], Peer | None]:
    """Looks an agent elsewhere up by tenant and name. All belong to `tenant`, the installation's own: nobody else uses its credentials."""

    def find(whose: str, name: str) -> Peer | None:
        body = arranged(documents, PEER, name) if whose == tenant else None
        return None if body is None else Peer.read(name, body)

    return find


def peers(documents: Documents) -> list[Peer]:
    """All of them, by name."""
    return [Peer.read(name, body) for name, body in all_arranged(documents, PEER).items()]


def known(documents: Documents, name: str) -> Peer:
    """The agent of that name. Raises InputError (OMG-M005)."""
    body = arranged(documents, PEER, name)
    if body is None:
        there = ", ".join(each.name for each in peers(documents)) or "none"
        raise InputError("OMG-M005", f"there is no agent elsewhere called {name[:80]} (known: {there})", advice="omega a2a list")
    return Peer.read(name, body)
