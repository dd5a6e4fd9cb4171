"""Revisions of the protocol, and what each request of the newer era says of itself (MCP 2026-07-28, "Per-request protocol fields")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from omega.wire.jsonrpc import INVALID_PARAMS, ProtocolFault

MODERN: Final = ("2026-07-28",)
"""Revisions without a handshake, newest first."""

HANDSHAKE: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
"""Revisions that begin with `initialize` and go over streamable HTTP, newest first."""

LATEST_HANDSHAKE: Final = HANDSHAKE[0]

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Severities of log messages (RFC 5424), the least severe first."""

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
RESOURCE_NOT_FOUND: Final = -32002
"""The code of revisions up to 2025-11-25; 2026-07-28 says INVALID_PARAMS instead (SEP-2164)."""

_PREFIX: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = f"{_PREFIX}protocolVersion"
CAPABILITIES_KEY: Final = f"{_PREFIX}clientCapabilities"
CLIENT_KEY: Final = f"{_PREFIX}clientInfo"
LOG_LEVEL_KEY: Final = f"{_PREFIX}logLevel"
SERVER_KEY: Final = f"{_PREFIX}serverInfo"
TASKS: Final = f"{_PREFIX}tasks"
"""The extension by which a call may give a task, to be asked after (SEP-2663)."""

SUBSCRIPTION_KEY: Final = f"{_PREFIX}subscriptionId"


@dataclass(frozen=True, slots=True)
class Era:
    """What a request speaks: its revision, what its client can do, the least severe log message that it wants (empty: none)."""

    version: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    log_level: str = ""

    @property
    def modern(self) -> bool:
        """Whether requests stand alone, without handshake and session."""
        return self.version in MODERN


def era_of(params: Mapping[str, Any], header: str) -> Era:
    """What a request of the newer era says of itself, in `params._meta`.

    Raises ProtocolFault: INVALID_PARAMS for what is missing, HEADER_MISMATCH where `header` (MCP-Protocol-Version) says otherwise,
    UNSUPPORTED_VERSION for a revision that is not spoken.
    """
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        raise ProtocolFault(INVALID_PARAMS, f"params._meta is missing; it says at least {VERSION_KEY} and {CAPABILITIES_KEY}")
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]
    if missing:
        raise ProtocolFault(INVALID_PARAMS, f"params._meta says no {' and no '.join(missing)}")
    version, capabilities, level = meta[VERSION_KEY], meta[CAPABILITIES_KEY], meta.get(LOG_LEVEL_KEY, "")
    if version != header:
        raise ProtocolFault(HEADER_MISMATCH, "the header mcp-protocol-version and params._meta name different revisions")
    if version not in MODERN:
        raise unsupported(version)
    if not isinstance(capabilities, dict) or not isinstance(level, str):
        raise ProtocolFault(INVALID_PARAMS, "the capabilities of the client are an object, its log level is text")
    return Era(version, capabilities, level)


def unsupported(version: str) -> ProtocolFault:
    """The refusal of a revision that is not spoken, with those that are."""
    return ProtocolFault(
        UNSUPPORTED_VERSION, "the protocol version is not supported", data={"supported": [*MODERN, *HANDSHAKE], "requested": version[:64]}
    )


def negotiated(wanted: Any) -> str:
    """The revision that a handshake ends with: the one that was asked for, if it is spoken, else the newest that has a handshake."""
    return wanted if wanted in HANDSHAKE else LATEST_HANDSHAKE
