"""Virtual tool servers: which tools a client of the gateway sees, under which names, and on which conditions.

    /mcp           all that the caller may use: methods offered to MCP, and every accepted tool of every server
    /mcp/reviews   the virtual server `reviews`: an allow-list, with names and descriptions of its own

A virtual server is an arrangement, so who changed it is on record. It grants nothing: each call takes the road like any other, and what a
policy refuses is refused under every name. A tool that is not on its list does not exist there.

    {"title": "Reviews", "instructions": "...", "prefix": true, "search": true, "resources": true,
     "tools": [{"tool": "git/*"}, {"tool": "git/git_push", "as": "publish", "description": "...", "approval": "reviewer"},
               {"tool": "git/git_reset", "hidden": true}, {"tool": "insights.summary"}],
     "tenants": [], "groups": []}

`tenants` may see it beside the installation's own, `groups` limits it to members of one of them. Later entries outweigh earlier ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from omega.kernel.errors import InputError

SEPARATOR: Final = "__"
"""Between the name of a server or service and that of its tool: every client takes letters, digits, `_` and `-` in the name of a tool."""

VIRTUAL: Final = "virtual-server"
"""The kind of the arrangements."""

MAX_ENTRIES: Final = 500
"""Most entries of one virtual server."""

MAX_TEXT: Final = 4_000
"""Longest description or instructions in characters: a model reads them with every conversation."""

MAX_TOOL: Final = 64
"""Longest name of a tool in characters that every client and model takes."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_TOOL_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOOL}}}")
_ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_FIELDS: Final = {
    "title": str,
    "instructions": str,
    "prefix": bool,
    "search": bool,
    "resources": bool,
    "tools": list,
    "tenants": list,
    "groups": list,
}
_ENTRY: Final = {"tool": str, "as": str, "title": str, "description": str, "approval": str, "hidden": bool}


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a virtual server as it is kept. Raises InputError (OMG-I001) naming what does not fit."""
    if _NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", "a virtual server has a name of lower-case letters, digits and '-', which begins with a letter")
    _typed(body, _FIELDS, "a virtual server")
    entries = body.get("tools", [])
    if not entries or len(entries) > MAX_ENTRIES:
        raise InputError("OMG-I001", f"a virtual server lists 1 to {MAX_ENTRIES} entries under tools")
    for entry in entries:
        _check_entry(entry)
    if any(not isinstance(each, str) or not each for key in ("tenants", "groups") for each in body.get(key, [])):
        raise InputError("OMG-I001", "tenants and groups are lists of names")
    return dict(body)


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise InputError("OMG-I001", 'an entry is an object: {"tool": "SERVER/TOOL"}')
    _typed(entry, _ENTRY, "an entry")
    if not entry.get("tool"):
        raise InputError("OMG-I001", "an entry names a tool: SERVER/TOOL, SERVER/* or SERVICE.METHOD")
    if entry.get("as") and (_TOOL_NAME.fullmatch(entry["as"]) is None or "*" in entry["tool"]):
        raise InputError("OMG-I001", f"a new name is for one tool, and has 1 to {MAX_TOOL} letters, digits, '-' and '_'")
    if entry.get("approval") and _ROLE.fullmatch(entry["approval"]) is None:
        raise InputError("OMG-I001", f"{entry['approval'][:64]!r} is no role: lower-case letters, digits and dashes")


def _typed(given: Mapping[str, Any], fields: Mapping[str, type], what: str) -> None:
    for key, value in given.items():
        if key not in fields or not isinstance(value, fields[key]):
            known = ", ".join(sorted(fields))
            raise InputError("OMG-I001", f"{what} cannot have {key[:40]!r} as {type(value).__name__} (known: {known})")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise InputError("OMG-I001", f"{key} has more than {MAX_TEXT} characters")


def exposed(server: str, tool: str) -> str:
    """The name under which a tool is shown: letters, digits, `_` and `-`, at most `MAX_TOOL`. One that had to be changed says so by a
    number made of what it was, so that two which look alike are never one."""
    wanted = f"{server}{SEPARATOR}{tool}" if server else tool
    label = clean(wanted)
    return label if label == wanted and len(label) <= MAX_TOOL else told_apart(label, wanted)


def clean(text: str) -> str:
    """`text` with letters, digits, `_` and `-` only."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)


def told_apart(label: str, key: str) -> str:
    """`label` with a number made of `key`, still no longer than a name may be."""
    return f"{label[: MAX_TOOL - 9]}_{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
