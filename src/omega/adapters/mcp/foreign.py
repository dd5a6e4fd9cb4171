"""What a conversation must be able to do that does not speak MCP: the host opens it, and its calls go the same way as any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.guests import Guest
from omega.adapters.mcp.limits import LAST_WORDS
from omega.adapters.mcp.upstream import Transport, Upstream


class Foreign(Protocol):
    """A live conversation in another protocol; its methods mean what those of `omega.adapters.mcp.streamable.HttpSession` do."""

    name: str
    tools: dict[str, ToolDescription]
    capabilities: Mapping[str, Any]

    @property
    def over(self) -> bool: ...

    def when_over(self, tell: Callable[[Any], None]) -> None: ...

    def when_changed(self, tell: Callable[[Iterable[str]], None]) -> None: ...

    async def start(self, timeout_s: float) -> None: ...

    async def refresh(self, timeout_s: float) -> None: ...

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        meta: Mapping[str, str],
        timeout_s: float,
        *,
        more: Mapping[str, Any],
        guest: Guest | None,
    ) -> dict[str, Any]: ...

    async def ask(
        self, method: str, params: dict[str, Any], timeout_s: float, *, guest: Guest | None = None, what: str = ""
    ) -> dict[str, Any]: ...

    async def close(self, *, hurry: bool = False) -> None: ...

    def quote(self, text: str, limit: int = LAST_WORDS) -> str: ...


Opener = Callable[[Upstream, Mapping[str, str], tuple[str, ...]], Foreign]
"""Begins a conversation with a server: its record, its headers with their values, and the secrets in these, which no answer may tell."""

Openers = Mapping[Transport, Opener]
NO_OPENERS: Openers = {}
