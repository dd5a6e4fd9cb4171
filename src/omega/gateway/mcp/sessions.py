"""Sessions of revisions up to 2025-11-25, which no gateway keeps: all that a session is stands in its id.

What a session holds is what its client said when it shook hands: the revision and what it can do. None of that grants anything (each
request proves by its own passport who is calling), so the id needs no seal, and any gateway of an installation can serve any session.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.wire.mcp.eras import HANDSHAKE

MARK: Final = "o1."
"""The first letters of an id: another form gets other ones."""

MAX_ID: Final = 1_024
"""Longest id in characters."""

KEPT: Final = ("elicitation", "roots", "sampling")
"""Capabilities of a client that change what a server may ask of it."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client said: its revision, what it can do, and a number that tells its sessions apart."""

    version: str
    capabilities: Mapping[str, Any]
    nonce: str

    def id(self) -> str:
        """The session id that says all of this."""
        text = json.dumps([self.version, sorted(self.capabilities), self.nonce], separators=(",", ":"))
        return MARK + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def opened(version: str, capabilities: Any) -> Handshake:
    """A new session of a client that can do `capabilities`."""
    known = capabilities if isinstance(capabilities, dict) else {}
    return Handshake(version, {name: {} for name in KEPT if isinstance(known.get(name), dict)}, secrets.token_hex(8))


def read(id: str) -> Handshake | None:
    """The session that an id says; None for one that was not made here."""
    if not id.startswith(MARK) or len(id) > MAX_ID:
        return None
    text = id[len(MARK) :]
    try:
        version, names, nonce = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        return None
    sound = version in HANDSHAKE and isinstance(nonce, str) and isinstance(names, list) and all(name in KEPT for name in names)
    return Handshake(version, {name: {} for name in names}, nonce) if sound else None
