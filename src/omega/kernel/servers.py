"""A tool server declared beside the flow that needs it: data only; the host starts it, pins its descriptions and supervises it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omega.kernel.errors import DefinitionError
from omega.kernel.sandbox import NOTHING


@dataclass(frozen=True, slots=True)
class Server:
    """An MCP server: `argv` for one that speaks over standard input and output, `url` for one over HTTP.

    `env` and `headers` name secrets by reference only (`{"TOKEN": "env:GIT_TOKEN"}`), resolved when the server is started or called.
    `read`, `write`, `network`: what it may do on this machine (`omega.kernel.sandbox`), paths relative to `cwd`; not `sandbox`: anything.
    """

    name: str
    argv: tuple[str, ...] = ()
    url: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0
    cwd: str = ""
    """The folder it starts in: that of the file which declares it, filled in when the file is loaded."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: str = NOTHING
    sandbox: bool = True


def server(  # noqa: PLR0913 - one for each part
    name: str,
    argv: Sequence[str] = (),
    *,
    url: str = "",
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    read: Sequence[str] = (),
    write: Sequence[str] = (),
    network: str = NOTHING,
    sandbox: bool = True,
) -> Server:
    """Declare an MCP server for the flows of a file: put the result into its `servers` list. Raises DefinitionError (OMG-F003)."""
    if bool(argv) == bool(url):
        raise DefinitionError("OMG-F003", f"server {name}: give either a command or a url")
    for key, reference in {**(env or {}), **(headers or {})}.items():
        if not re.fullmatch(r"([A-Za-z][\w-]* )?env:[A-Za-z_]\w*", reference):
            raise DefinitionError("OMG-F003", f"server {name}: {key} must be a reference such as env:NAME, never the secret itself")
    grants = (tuple(read), tuple(write), network, sandbox)
    if url and grants != ((), (), NOTHING, True):
        raise DefinitionError("OMG-F003", f"server {name}: what it may do on this machine is said of one with a command only")
    return Server(name, tuple(argv), url, dict(env or {}), dict(headers or {}), timeout_s, "", *grants)
