"""A conversation with an HTTP interface, as `omega.adapters.mcp` has it with a tool server: each call of a tool is one request.

There is nothing to begin and nothing to keep alive, so a session is over only when it is closed. What it offers is what was read from the
document when somebody accepted it; nothing that the interface says now changes that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from omega.adapters.net.reach import Network
from omega.adapters.net.scrubbing import Scrubber
from omega.adapters.net.web import Web, WebFault
from omega.kernel.errors import Denied, InputError, UpstreamError
from omega.wire.openapi import IN_QUERY, Operation, prepare, result_of

KEY: Final = "omega/idempotency-key"
"""Where a call's key stands in the meta data of the call; the interface gets it as the header `Idempotency-Key`."""
TRACE = "traceparent"
"""Where the trace of a call stands there; the interface gets it as the header of that name (W3C Trace Context)."""

SAFE: Final = frozenset({"get", "head"})

LAST_WORDS: Final = 2_000
"""Characters of an interface's own words that an error carries."""


class ApiSession:
    """A conversation with the interface `name` at `base`. `tools` are the descriptions of its operations, `headers` what every request
    carries (`?NAME` in its query), which no argument outweighs; `secrets` are taken out of every answer."""

    def __init__(
        self,
        name: str,
        base: str,
        operations: Mapping[str, Operation],
        tools: Mapping[str, Any],
        *,
        headers: Mapping[str, str],
        allowed: Sequence[Network],
        secrets: Sequence[str],
    ) -> None:
        self.name, self.tools = name, dict(tools)
        self.capabilities: Mapping[str, Any] = {}
        self._base, self._operations, self._scrubber = base, operations, Scrubber(secrets)
        self._query = {key.removeprefix(IN_QUERY): value for key, value in headers.items() if key.startswith(IN_QUERY)}
        self._headers = {key: value for key, value in headers.items() if not key.startswith(IN_QUERY)}
        self._web = Web(allowed)
        self._over = False
        self._tell: list[Callable[[Any], None]] = []

    @property
    def over(self) -> bool:
        """Whether the conversation has ended, so that a new one is needed."""
        return self._over

    def when_over(self, tell: Callable[[Any], None]) -> None:
        """Have `tell` called with this session once it is closed."""
        self._tell.append(tell)

    def when_changed(self, tell: Callable[[Iterable[str]], None]) -> None:
        """An interface never tells that it has changed."""

    async def start(self, timeout_s: float) -> None:
        """There is nothing to wait for."""

    async def refresh(self, timeout_s: float) -> None:
        """What is offered is what was read from the document."""

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        meta: Mapping[str, str],
        timeout_s: float,
        *,
        more: Mapping[str, Any],
        guest: Any,
    ) -> dict[str, Any]:
        """One request to its answer, as a tool's result.

        Raises UpstreamError OMG-M002 (no answer that can be used), OMG-M003 (hangs), InputError (OMG-I001), Denied (OMG-P011).
        """
        operation = self._operations[tool]
        prepared = prepare(operation, self._base, arguments, self._query, self._headers)
        headers = {**prepared.headers, **self._headers}
        if operation.method not in SAFE and KEY in meta:
            headers["Idempotency-Key"] = meta[KEY]
        if TRACE in meta:
            headers["traceparent"] = meta[TRACE]
        details: dict[str, Any] = {"server": self.name, "tool": tool}
        begun = time.monotonic()
        try:
            answer = await self._web.ask(prepared.method, prepared.url, headers=headers, body=prepared.body, timeout_s=timeout_s)
        except TimeoutError as error:
            waited = f"{time.monotonic() - begun:.1f} s"
            raise UpstreamError("OMG-M003", f"{self.name} did not answer {tool} within {waited}", details=details) from error
        except WebFault as fault:
            unsent = {} if fault.sent else {"unsent": True}
            raise UpstreamError("OMG-M002", f"{self.name} failed in {tool}: it {fault}", details={**details, **unsent}) from fault
        except (Denied, InputError) as refusal:
            refusal.details.update(details)
            raise
        answer = self._scrubber.answer(answer)
        return result_of(operation, answer.status, answer.kind, answer.body)

    async def ask(self, method: str, params: dict[str, Any], timeout_s: float, *, guest: Any = None, what: str = "") -> dict[str, Any]:
        """An interface has tools alone. Raises UpstreamError (OMG-M007)."""
        raise UpstreamError("OMG-M007", f"{self.name} has tools, and no {what or method}", details={"server": self.name})

    async def close(self, *, hurry: bool = False) -> None:
        """End the conversation. Safe to call again."""
        self._over = True
        await self._web.close()
        for tell in self._tell:
            tell(self)
        self._tell.clear()

    def quote(self, text: str, limit: int = LAST_WORDS) -> str:
        """The end of the interface's own words, which were without the secrets it was given as soon as they came."""
        return text[-limit:].strip() if limit > 0 else ""
