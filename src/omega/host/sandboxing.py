"""What tool servers that are processes may do on this machine: as an operator typed it, as a flow declares it, and as it is enforced.

The data folder is protected: it holds the keys of the installation, its records and its policies. No server gets anything of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from omega.adapters.mcp import Launch
from omega.adapters.process import NO_CAPS, Caps, launch
from omega.adapters.process.places import check_grant, named
from omega.host import vetting
from omega.host.settings import Settings
from omega.kernel.errors import InputError
from omega.kernel.sandbox import NOTHING, Sandbox
from omega.kernel.servers import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What is granted to a server, as it was written: paths as they were typed; None where nothing is said of it."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: str | None = None
    on: bool | None = None

    def sandbox(self, settings: Settings, *, argv: Sequence[str] = (), cwd: str | None = None, before: Sandbox | None = None) -> Sandbox:
        """As a record keeps it: real paths, those that `argv` names to be read, and what is not said here as it was `before`.

        Raises InputError: OMG-X001 for a path that is not there, OMG-I001 for no network, OMG-P009 for a path that cannot be granted.
        """
        kept = protected(settings)
        read = (*named(argv, cwd, kept), *(_real(path, cwd, kept) for path in self.read))
        write = tuple(_real(path, cwd, kept) for path in self.write)
        network = self.network if self.network is not None else before.network if before is not None else NOTHING
        on = self.on if self.on is not None else before is None or before.on
        if before is not None:
            read, write = read or before.read, write or before.write
        return Sandbox(read=tuple(dict.fromkeys(read)), write=tuple(dict.fromkeys(write)), network=network, on=on)


def of_flow(server: Server, settings: Settings) -> Sandbox:
    """The sandbox of a server that is declared beside a flow. Raises what `Grants.sandbox` raises."""
    grants = Grants(read=server.read, write=server.write, network=server.network, on=server.sandbox)
    return grants.sandbox(settings, argv=server.argv, cwd=server.cwd or None)


def protected(settings: Settings) -> tuple[str, ...]:
    """The folders of which no server gets anything: the data folder, and the one with large values where that is another."""
    parts = urlsplit(settings.blobs)
    blobs = (url2pathname(parts.path),) if parts.scheme == "file" and len(parts.path) > 1 else ()
    return (str(settings.home), *blobs)


def launcher(settings: Settings, caps: Caps = NO_CAPS) -> Launch:
    """How tool servers of this installation are started: the same one for the same folders and caps."""
    return guarded(protected(settings), caps)


@lru_cache(1_000)
def guarded(folders: tuple[str, ...], caps: Caps = NO_CAPS) -> Launch:
    """How servers are started that get nothing of `folders` and are held to `caps`; where attestations are asked for, only what has one."""
    return partial(_started, folders, caps)


def _started(
    folders: tuple[str, ...], caps: Caps, argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str], sandbox: Sandbox
) -> tuple[tuple[str, ...], dict[str, str]]:
    vetting.demand_server(argv, cwd=cwd, env=env)
    return launch(argv, cwd=cwd, env=env, caps=caps, sandbox=sandbox, protected=folders)


def _real(path: str, cwd: str | None, kept: Sequence[str]) -> str:
    place = os.path.realpath(os.path.join(cwd or os.curdir, os.path.expanduser(path)))
    if not Path(place).exists():
        raise InputError("OMG-X001", f"there is no {path[:200]} that could be granted", advice="grant the folder in which it will be made")
    check_grant(place, [os.path.realpath(each) for each in kept])
    return place
