"""Tool servers from the operator's side: add one, compare what is pinned with what it offers now, accept a change, remove it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omega.adapters.mcp import ToolDescription, Transport, Upstream, describe
from omega.host.asking import ask
from omega.host.embedded import Omega
from omega.host.listed import find, upstream_from
from omega.host.openapi import OPENERS, Imported, Wanted, import_api, read_again
from omega.host.reading import Archive
from omega.host.sandboxing import Grants, launcher
from omega.host.settings import Settings
from omega.host.suspicion import demand_plain
from omega.host.tools import accept_tools, forget_tools, sandbox_server
from omega.kernel.errors import InputError, StorageError
from omega.kernel.sandbox import Sandbox


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


def new_upstream(  # noqa: PLR0913 - one for each part
    home: str | os.PathLike[str] | None,
    name: str,
    command: Sequence[str],
    url: str,
    *,
    env: Sequence[str],
    headers: Sequence[str],
    grants: Grants,
    timeout_s: float,
    sse: bool = False,
) -> Upstream:
    """The record of a server as it was typed; `sse` is one that speaks HTTP with SSE. Raises InputError: OMG-X001 both or neither of
    command and url, OMG-P009 what cannot be granted, OMG-I001 the rest."""
    if bool(command) == bool(url):
        raise InputError("OMG-X001", "say how to reach it: either --url URL, or -- COMMAND ...", advice="omega mcp add NAME -- COMMAND ...")
    argv = tuple(command)
    if argv and "/" in argv[0]:
        argv = (str(Path(argv[0]).expanduser().absolute()), *argv[1:])
    return Upstream(
        name=name,
        transport=(Transport.SSE if sse else Transport.HTTP) if url else Transport.STDIO,
        argv=argv,
        env=references(env, "--env"),
        url=url,
        headers=references(headers, "--header"),
        timeout_s=timeout_s,
        sandbox=grants.sandbox(Settings.load(home), argv=argv),
    )


async def add(home: str | os.PathLike[str] | None, upstream: Upstream, *, trusting: bool = False) -> list[ToolDescription]:
    """Start the server, pin what it offers, remember it. Raises InputError: OMG-I001 for a name that is taken, OMG-M012 for descriptions
    that give orders, unless somebody trusts them; UpstreamError (M codes)."""
    await _check_free(home, upstream.name)
    tools = await describe(upstream, launcher(Settings.load(home)), openers=OPENERS)
    if not trusting:
        demand_plain(tools)
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
    grants: Grants,
    timeout_s: float,
) -> tuple[Upstream, dict[str, str]]:
    """The record of a server that a registry lists (`omega.host.listed`), and the values in it that are the entry's own: somebody should
    see them before the server is started. Raises what `find` and `upstream_from` raise."""
    with Archive.open(home) as archive:
        listing = find(archive.reader, wanted)
    given = {"env": references(env, "--env"), "headers": references(headers, "--header")}
    upstream = upstream_from(listing, name, arguments=arguments, timeout_s=timeout_s, **given)
    upstream = replace(upstream, sandbox=grants.sandbox(Settings.load(home)))  # what an entry names is granted by nobody
    typed = given["env"] | given["headers"]
    return upstream, {key: value for key, value in {**upstream.env, **upstream.headers}.items() if key not in typed}


async def add_api(home: str | os.PathLike[str] | None, wanted: Wanted, *, trusting: bool = False) -> Imported:
    """Take in an HTTP interface (`omega.host.openapi`), pin its tools. Raises what `add` and `import_api` raise."""
    await _check_free(home, wanted.name)
    imported = await import_api(wanted)
    if not trusting:
        demand_plain(imported.tools)
    await _accept(home, imported.upstream, imported.tools)
    return imported


async def compare(archive: Archive, name: str, *, look: bool = True) -> list[Compared]:
    """The tools of a server, by name. Raises InputError (OMG-M005) for a server that is not known, UpstreamError (M codes)."""
    upstream = known_server(archive, name)
    offered = (await _offered(upstream, archive.settings))[1] if look else []
    return _side_by_side(archive.catalogue.tools_of(name), offered, looked=look)


async def accept(home: str | os.PathLike[str] | None, name: str, *, trusting: bool = False) -> list[Compared]:
    """Pin what a server offers now in place of what was pinned; gives the comparison before it. Raises InputError: OMG-M005 not known,
    OMG-M012 for a new or changed description that gives orders, unless somebody trusts it."""
    with Archive.open(home) as archive:
        upstream, pinned = known_server(archive, name), archive.catalogue.tools_of(name)
    upstream, offered = await _offered(upstream, Settings.load(home))
    if not trusting:
        known = {tool.digest for tool in pinned}
        demand_plain(tool for tool in offered if tool.digest not in known)
    await _accept(home, upstream, offered)
    return _side_by_side(pinned, offered, looked=True)


async def regrant(home: str | os.PathLike[str] | None, name: str, grants: Grants, *, reset: bool = False) -> Sandbox:
    """Change what a server may do on this machine, on record; what `grants` does not say stays, or is as if it were added anew (`reset`).
    Gives what it may do now.

    Raises InputError: OMG-M005 not known, OMG-I001 not a process of ours, and what `Grants.sandbox` raises.
    """
    with Archive.open(home) as archive:
        known = known_server(archive, name)
    if known.transport is not Transport.STDIO:
        raise InputError("OMG-I001", f"{name} is no process of this machine: nothing of it is here that could be confined")
    settings = Settings.load(home)
    wanted = grants.sandbox(settings, argv=known.argv, cwd=known.cwd) if reset else grants.sandbox(settings, before=known.sandbox)
    return Sandbox.from_json(await ask(home, sandbox_server, {"name": name, "sandbox": wanted.to_json()}))


async def remove(home: str | os.PathLike[str] | None, name: str) -> None:
    """Forget a server and what was accepted of it. Raises InputError (OMG-M005)."""
    await ask(home, forget_tools, name)


async def _offered(upstream: Upstream, settings: Settings) -> tuple[Upstream, Sequence[ToolDescription]]:
    """What a server offers now, and its record with that: an interface is read again."""
    if upstream.transport is Transport.OPENAPI:
        imported = await read_again(upstream)
        return imported.upstream, imported.tools
    return upstream, await describe(upstream, launcher(settings), openers=OPENERS)


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


def known_server(archive: Archive, name: str) -> Upstream:
    """The record of a server. Raises InputError (OMG-M005) for one that is not known."""
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
