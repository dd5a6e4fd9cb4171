"""Tool servers of a remote installation: `omega mcp list` and `omega mcp tools` where a remote context is current.

Where a server is reached and what it is given is told on its own machine alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omega.cli.output import Answer, Session, clip, count, plain, table
from omega.cli.remote import Found, at
from omega.client import Client
from omega.host.reputation import words_of
from omega.kernel.errors import InputError

MAX_SUMMARY = 60


def servers_there(session: Session, found: Found) -> Answer:
    """The tool servers there and how each is; nothing for those who may not read the records there."""
    told = at(session, found, Client.servers)
    rows = [[each["name"], each["transport"], count(each["tools"], "tool"), words_of(each["health"])] for each in told]
    return Answer({"servers": told}, table(rows, indent="") or [f"no tool servers are known at {found[0]}, or you may not see them"])


def tools_there(session: Session, found: Found, name: str) -> Answer:
    """The accepted tools of a server there. Raises InputError (OMG-M005) where there are none."""
    own = [each for each in at(session, found, Client.tools) if str(each["name"]).partition("/")[0] == name]
    if not own:
        raise InputError("OMG-M005", f"no tool of {name[:80]!r} is accepted at {found[0]}", advice="omega mcp list")
    told = [_pinned(each) for each in own]
    rows = [[each["tool"], each["effect"], each["state"], clip(plain(each["description"]), MAX_SUMMARY)] for each in told]
    return Answer({"server": name, "changed": 0, "accepted": False, "tools": told}, table(rows, indent=""))


def _pinned(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as `omega mcp tools` tells it; the digest of its description is told on its own machine alone."""
    name, words = str(tool["name"]).partition("/")[2], str(tool.get("summary", ""))
    known = {"tool": name, "state": "pinned", "effect": str(tool["effect"]), "description": words}
    return {**known, "pinned": None, "offered": None, "differences": []}
