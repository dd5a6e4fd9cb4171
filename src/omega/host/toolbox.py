"""Tool servers from the operator's side: add one, compare what is pinned with what it offers now, accept a change, remove it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omega.adapters.mcp import ToolDescription, Transport, Upstream, describe
from omega.adapters.process import launch
from omega.host.asking import ask
from omega.host.embedded import Omega
from omega.host.listed import find, upstream_from
from omega.host.openapi import OPENERS, Imported, Wanted, import_api, read_again
from omega.host.reading import Archive
from omega.host.tools import accept_tools, forget_tools
from omega.kernel.errors import InputError, StorageError


@dataclass(frozen=True, slots=True)
class Compared:
    """One tool: what is pinned, what is offered now; None where there is none (or nobody has looked)."""

    name: str
    pinned: ToolDescription | None
    offered: ToolDescription | None
    looked: bool = True

    @property
    def state(self) -> str:
        """`pinned` (nobody looked), `same`, `changed`, `new` or `gone`."""
        if not self.looked:
            return "pinned"
        if self.pinned is None:
            return "new"
        if self.offered is None:
            return "gone"
        return "same" if self.pinned.digest == self.offered.digest else "changed"

    @property
    def differences(self) -> list[str]:
        """What changed, as lines of a unified diff."""
        return self.pinned.differences(self.offered) if self.pinned is not None and self.offered is not None and self.looked else []

    def record(self) -> dict[str, Any]:
        """As data."""
        shown = self.pinned or self.offered
        return {
            "tool": self.name,
            "state": self.state,
            "effect": shown.effect.value if shown is not None else "",
            "description": shown.description if shown is not None else "",
            "pinned": self.pinned.digest if self.pinned is not None else None,
            "offered": self.offered.digest if self.offered is not None else None,
            "differences": self.differences,
        }


def new_upstream(name: str, command: Sequence[str], url: str, *, env: Sequence[str], headers: Sequence[str], timeout_s: float) -> Upstream:
    """The record of a server as it was typed. Raises InputError: OMG-X001 both or neither of command and url, OMG-I001 the rest."""
    if bool(command) == bool(url):
        raise InputError("OMG-X001", "say how to reach it: either --url URL, or -- COMMAND ...", advice="omega mcp add NAME -- COMMAND ...")
    argv = tuple(command)
    if argv and "/" in argv[0]:
        argv = (str(Path(argv[0]).expanduser().absolute()), *argv[1:])
    return Upstream(
        name=name,
        transport=Transport.HTTP if url else Transport.STDIO,
        argv=argv,
        env=references(env, "--env"),
        url=url,
        headers=references(headers, "--header"),
        timeout_s=timeout_s,
    )


async def add(home: str | os.PathLike[str] | None, upstream: Upstream) -> list[ToolDescription]:
    """Start the server, pin what it offers, remember it. Raises InputError (OMG-I001) for a name that is taken, UpstreamError (M codes)."""
    await _check_free(home, upstream.name)
    tools = await describe(upstream, launch, openers=OPENERS)
    await _accept(home, upstream, tools)
    return tools


def listed_upstream(
    home: str | os.PathLike[str] | None,
    name: str,
    wanted: str,
    *,
    env: Sequence[str],
    headers: Sequence[str],
    arguments: Sequence[str],
    timeout_s: float,
) -> tuple[Upstream, dict[str, str]]:
    """The record of a server that a registry lists (`omega.host.listed`), and the values in it that are the entry's own: somebody should
    see them before the server is started. Raises what `find` and `upstream_from` raise."""
    with Archive.open(home) as archive:
        listing = find(archive.reader, wanted)
    given = {"env": references(env, "--env"), "headers": references(headers, "--header")}
    upstream = upstream_from(listing, name, arguments=arguments, timeout_s=timeout_s, **given)
    typed = given["env"] | given["headers"]
    return upstream, {key: value for key, value in {**upstream.env, **upstream.headers}.items() if key not in typed}


async def add_api(home: str | os.PathLike[str] | None, wanted: Wanted) -> Imported:
    """Take in an HTTP interface (`omega.host.openapi`), pin its tools. Raises what `add` and `import_api` raise."""
    await _check_free(home, wanted.name)
    imported = await import_api(wanted)
    await _accept(home, imported.upstream, imported.tools)
    return imported


async def compare(archive: Archive, name: str, *, look: bool = True) -> list[Compared]:
    """The tools of a server, by name. Raises InputError (OMG-M005) for a server that is not known, UpstreamError (M codes)."""
    upstream = _known(archive, name)
    offered = (await _offered(upstream))[1] if look else []
    return _side_by_side(archive.catalogue.tools_of(name), offered, looked=look)


async def accept(home: str | os.PathLike[str] | None, name: str) -> list[Compared]:
    """Pin what a server offers now in place of what was pinned; gives the comparison before it."""
    with Archive.open(home) as archive:
        upstream, pinned = _known(archive, name), archive.catalogue.tools_of(name)
    upstream, offered = await _offered(upstream)
    await _accept(home, upstream, offered)
    return _side_by_side(pinned, offered, looked=True)


async def remove(home: str | os.PathLike[str] | None, name: str) -> None:
    """Forget a server and what was accepted of it. Raises InputError (OMG-M005)."""
    await ask(home, forget_tools, name)


async def _offered(upstream: Upstream) -> tuple[Upstream, Sequence[ToolDescription]]:
    """What a server offers now, and its record with that: an interface is read again."""
    if upstream.transport is Transport.OPENAPI:
        imported = await read_again(upstream)
        return imported.upstream, imported.tools
    return upstream, await describe(upstream, launch, openers=OPENERS)


async def _accept(home: str | os.PathLike[str] | None, upstream: Upstream, tools: Sequence[ToolDescription]) -> None:
    await ask(home, accept_tools, {"upstream": upstream.to_json(), "tools": [tool.to_json() for tool in tools]})


async def _check_free(home: str | os.PathLike[str] | None, name: str) -> None:
    """Raise InputError (OMG-I001) for a name that is taken. A folder without data is made one, before any server is started."""
    try:
        with Archive.open(home) as archive:
            taken = archive.catalogue.upstream(name) is not None
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        async with Omega.open(home) as omega:
            taken = omega.catalogue.upstream(name) is not None
    if taken:
        advice = f"omega mcp tools {name} compares it, omega mcp remove {name} forgets it"
        raise InputError("OMG-I001", f"there is a tool server {name} already", advice=advice)


def reached(upstream: Upstream) -> str:
    """The command or address of a server."""
    return " ".join(upstream.argv) or upstream.url


def _known(archive: Archive, name: str) -> Upstream:
    upstream = archive.catalogue.upstream(name)
    if upstream is None:
        known = ", ".join(sorted(archive.catalogue.upstreams)) or "none"
        raise InputError("OMG-M005", f"there is no tool server {name[:80]} (known: {known})")
    return upstream


def _side_by_side(pinned: Iterable[ToolDescription], offered: Iterable[ToolDescription], *, looked: bool) -> list[Compared]:
    before, now = {tool.name: tool for tool in pinned}, {tool.name: tool for tool in offered}
    return [Compared(name, before.get(name), now.get(name), looked) for name in sorted(before.keys() | now.keys())]


def references(texts: Sequence[str], option: str) -> dict[str, str]:
    """Credentials as they were typed. Raises InputError (OMG-X001)."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError("OMG-X001", f"{option} takes NAME=env:VARIABLE or NAME=plain:TEXT")
        found[key] = value
    return found
