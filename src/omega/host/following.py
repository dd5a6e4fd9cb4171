"""Following registries from the operator's side: which are followed, reading them, and searching what is known of tools and servers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from omega.adapters.mcp import ToolDescription
from omega.gateway.mcp.finding import Found, ranked
from omega.host.arrangements import all_arranged
from omega.host.asking import ask, forget, keep
from omega.host.reading import Archive
from omega.host.registry import REGISTRY, Listing, Standing, accept_listing, check, drop_registry, listings, read_registry, standing
from omega.kernel.errors import InputError

MAX_PAGES: Final = 2_000
"""Most pages that one reading asks for: a registry that never ends is left, and gone on with the next time."""

MOST: Final = 50
"""Most that one search gives."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A registry that is followed, how far it was read, and which of its entries now say something else."""

    name: str
    body: Mapping[str, Any]
    state: Standing
    changed: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As data."""
        return {"registry": self.name, **self.body, **self.state.to_json(), "changed": list(self.changed)}


async def follow(home: str | os.PathLike[str] | None, name: str, body: Mapping[str, Any]) -> None:
    """Follow a registry, in place of what was said of it before. Raises InputError (OMG-I001), Denied (OMG-P011)."""
    await keep(home, REGISTRY, name, check(name, body))


async def sync(home: str | os.PathLike[str] | None, name: str) -> dict[str, Any]:
    """Read a registry from where it was left to its end, some pages at a time. Raises what the flow `read-registry` raises."""
    told = dict(await ask(home, read_registry, name))
    while told["more"] and told["pages"] < MAX_PAGES:
        next_ = dict(await ask(home, read_registry, name))
        told = next_ | {key: told[key] + next_[key] for key in ("pages", "kept", "changed", "refused")}
    return told


async def accept(home: str | os.PathLike[str] | None, name: str, entry: str) -> dict[str, Any]:
    """Have what a registry says now of `entry` count, and read it. Raises InputError (OMG-I003), and what `sync` raises."""
    await ask(home, accept_listing, {"name": name, "entry": entry})
    return await sync(home, name)


async def leave(home: str | os.PathLike[str] | None, name: str) -> dict[str, Any]:
    """Follow a registry no more, and forget what was read of it. Raises InputError (OMG-I003)."""
    await forget(home, REGISTRY, name)
    return dict(await ask(home, drop_registry, name))


def followed(archive: Archive) -> list[Followed]:
    """The registries that are followed."""
    changed: dict[str, list[str]] = {}
    for each in listings(archive.reader):
        if each.changed:
            changed.setdefault(each.registry, []).append(each.entry.key)
    return [
        Followed(name, body, standing(archive.reader, name), tuple(changed.get(name, ())))
        for name, body in all_arranged(archive.reader, REGISTRY).items()
    ]


def search(archive: Archive, query: str, limit: int) -> list[Found]:
    """Accepted tools and listed servers that fit `query`, the best first, each with why. Raises InputError (OMG-X001)."""
    if not query.strip() or not 1 <= limit <= MOST:
        raise InputError("OMG-X001", f"say what it should do in a few words, and ask for 1 to {MOST}")
    return ranked(_pages(archive), query, limit)


def _pages(archive: Archive) -> Iterator[Mapping[str, Any]]:
    """What is searched: tools and servers in the same form."""
    yield from (_tool(pin) for _, pin in sorted(archive.catalogue.pins.items()))
    yield from (_server(each) for each in listings(archive.reader) if each.entry.latest and each.entry.status != "deleted")


def _tool(pin: ToolDescription) -> dict[str, Any]:
    named = f"{pin.server}/{pin.name}"
    return {"kind": "tool", "name": named, "title": pin.title, "description": pin.description, "inputSchema": dict(pin.input_schema)}


def _server(listing: Listing) -> dict[str, Any]:
    server = listing.entry.server
    return {
        "kind": "server",
        "name": listing.entry.name,
        "title": str(server.get("title", "")),
        "description": str(server.get("description", "")),
        "version": listing.entry.version,
        "registry": listing.registry,
        "status": "changed" if listing.changed else listing.entry.status,
        "runs": ways(listing),
    }


def ways(listing: Listing) -> Sequence[str]:
    """How a listed server says that it is reached: addresses, and packages with the registry that each comes from."""
    server = listing.entry.server
    remotes, packages = server.get("remotes"), server.get("packages")
    found = [str(each.get("url", "")) for each in remotes if isinstance(each, Mapping)] if isinstance(remotes, list) else []
    for each in packages if isinstance(packages, list) else []:
        if isinstance(each, Mapping):
            found.append(f"{each.get('registryType', '?')}:{each.get('identifier', '?')}@{each.get('version', '?')}")
    return [each[:200] for each in found[:5]]
