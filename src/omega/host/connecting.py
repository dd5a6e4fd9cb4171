"""Clients of MCP on this machine, and how each is told of this installation: one entry in a file of its own, which is all that is changed.

    claude-code   .mcp.json             {"mcpServers": {"omega": {"command": ..., "args": [...]}}}
    cursor        .cursor/mcp.json      the same
    vscode        .vscode/mcp.json      {"servers": {"omega": {"type": "stdio", "command": ..., "args": [...]}}}

The file as it was is kept beside it once, under another name. A file that is not plain JSON is left alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omega.kernel.errors import InputError

BACKUP: Final = ".before-omega"
"""What the name of the kept file ends with."""

MAX_FILE: Final = 4 << 20
"""Largest file that is changed, in bytes."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Client:
    """Where a client looks for servers: the file in a project, the file of the user (empty: none that is known), the key, the extras."""

    project: str
    user: str
    key: str
    extras: Mapping[str, Any]


CLIENTS: Final[Mapping[str, Client]] = {
    "claude-code": Client(".mcp.json", ".claude.json", "mcpServers", {}),
    "cursor": Client(".cursor/mcp.json", ".cursor/mcp.json", "mcpServers", {}),
    "vscode": Client(".vscode/mcp.json", "", "servers", {"type": "stdio"}),
}


@dataclass(frozen=True, slots=True)
class Written:
    """What was done: the file, where it was kept before (None: there was none, or it was kept earlier), the entry (None: taken out)."""

    path: Path
    backup: Path | None
    entry: Mapping[str, Any] | None


def place_of(client: str, folder: Path | None) -> Path:
    """The file of `client` in the project `folder`, or the user's own. Raises InputError (OMG-X001)."""
    known = CLIENTS[client]
    if folder is not None:
        return folder / known.project
    if not known.user:
        raise InputError("OMG-X001", f"{client} has no file of the user that is known here", advice="run it in a project, without --user")
    return Path.home() / known.user


def entry_of(client: str, arguments: list[str], home: str) -> dict[str, Any]:
    """The entry that has `client` start the bridge: this very Python, so that it works whatever the client's PATH is."""
    entry = {**CLIENTS[client].extras, "command": sys.executable, "args": ["-m", "omega", "mcp", "serve", *arguments]}
    return entry | {"env": {"OMEGA_HOME": home}}


def connect(client: str, path: Path, name: str, entry: Mapping[str, Any]) -> Written:
    """Put `entry` into the file under `name`. Raises InputError (OMG-I001) for a file that cannot be changed safely."""
    if _NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", f"{name[:40]!r} cannot be the name of an entry: letters, digits, '-' and '_'")
    found, text = _read(path)
    servers = found.setdefault(CLIENTS[client].key, {})
    if not isinstance(servers, dict):
        raise InputError("OMG-I001", f"{path} holds something under {CLIENTS[client].key} that is no list of servers")
    servers[name] = dict(entry)
    backup = _keep(path, text)
    _write(path, found)
    return Written(path, backup, entry)


def disconnect(client: str, path: Path, name: str) -> Written:
    """Take the entry out again; all else stays. Raises InputError (OMG-I003) when it is not there."""
    found, _ = _read(path)
    servers = found.get(CLIENTS[client].key)
    if not isinstance(servers, dict) or name not in servers:
        raise InputError("OMG-I003", f"{path} has no entry {name[:40]}")
    del servers[name]
    _write(path, found)
    return Written(path, None, None)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError("OMG-I001", f"{path} is larger than {MAX_FILE:,} bytes")
        text = path.read_text(encoding="utf-8")
        found = json.loads(text or "{}")
    except FileNotFoundError:
        return {}, ""
    except ValueError as error:
        raise InputError(
            "OMG-I001", f"{path} is not plain JSON, so it is left alone", advice="add the entry by hand: --show prints it"
        ) from error
    if not isinstance(found, dict):
        raise InputError("OMG-I001", f"{path} is no JSON object, so it is left alone")
    return found, text


def _keep(path: Path, text: str) -> Path | None:
    backup = path.with_name(path.name + BACKUP)
    if not text or backup.exists():
        return None
    backup.write_text(text, encoding="utf-8")
    backup.chmod(path.stat().st_mode & 0o777)
    return backup


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all: a client that reads meanwhile sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    os.chmod(temporary, mode)
    os.replace(temporary, path)
