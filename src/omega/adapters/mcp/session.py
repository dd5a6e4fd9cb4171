"""One live conversation with one tool server over standard input and output, on the SDK's client.

Theory. The SDK's client must be entered and left by the same task, but calls come from many, and any of them may be cancelled. So a
session is a task of its own that opens the transport, shakes hands, lists the tools, and then waits until the conversation is over;
calls only send requests through it. Three ways lead out of it:

    the server goes away      every open call fails at once with the server's last words (OMG-M002)
    a call runs out of time   the server counts as hanging and is ended (OMG-M003); other open calls see the first case
    `close`                   the engine is done with it; the server is asked to end, then made to

A call that is cancelled tells the server so and leaves the session as it is. A session that is over is never revived: the next call
opens a new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

from omega.adapters.mcp.asides import CHANGED, EVENTS, Asides, unfinished_or
from omega.adapters.mcp.company import Company
from omega.adapters.mcp.confined import advice
from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.guests import Guest
from omega.adapters.mcp.limits import LAST_WORDS, Limits, quote
from omega.adapters.mcp.sse import SseTransport
from omega.adapters.mcp.stdio import StdioTransport
from omega.kernel.errors import OmegaError, UpstreamError
from omega.wire.mcp.eras import LEVELS, LOG_LEVEL_KEY, MODERN

if TYPE_CHECKING:
    from anyio import CancelScope
    from mcp import Client
    from mcp.client.session import IncomingMessage
    from mcp.shared.dispatcher import ProgressFnT
    from mcp_types import Tool

LAST_WORDS_S: Final = 2.0
"""Patience with a cancelled request, and with the exit status and last words of a server that has closed its output."""

_Result = TypeVar("_Result")
_READS: Final = {
    "resources/list": "ListResources",
    "resources/templates/list": "ListResourceTemplates",
    "resources/read": "ReadResource",
    "prompts/list": "ListPrompts",
    "prompts/get": "GetPrompt",
    "completion/complete": "Complete",
}
"""Reads with the beginning of the names of their types in the SDK."""

_SDK_LOGS: Final = ("mcp", "client", "httpx2", "httpcore2")


class Session:
    """A conversation with the server `name` over `transport`. `secrets` never show in its errors; `confined` says that it has a sandbox."""

    def __init__(
        self, name: str, transport: StdioTransport | SseTransport, limits: Limits, secrets: tuple[str, ...], *, confined: bool = False
    ) -> None:
        self.name, self.confined = name, confined
        self.tools: dict[str, ToolDescription] = {}
        self._transport, self._limits, self._secrets = transport, limits, secrets
        self._client: Client | None = None
        self._scope: CancelScope | None = None
        self._listed_at = 0.0
        self._announced = 0
        self._listed_after = 0
        self._cause: Exception | None = None
        self._told_of: Callable[[Iterable[str]], None] = _nobody_asks
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refreshing = asyncio.Lock()
        self._company, self._numbers, self._level = Company(), count(1), "info"
        self._task = asyncio.create_task(self._live(), name=f"mcp {name}")

    @property
    def over(self) -> bool:
        """Whether the conversation has ended, so that a new one is needed."""
        return self._task.done() or self._leave.is_set()

    def when_over(self, tell: Callable[[Session], None]) -> None:
        """Have `tell` called with this session once its process is gone."""
        self._task.add_done_callback(lambda _: tell(self))

    def when_changed(self, tell: Callable[[Iterable[str]], None]) -> None:
        """Have `tell` called with the kinds of list (`tools`, `prompts`, `resources`) that the server says have changed."""
        self._told_of = tell

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the server said it can do."""
        return {} if self._client is None else self._client.server_capabilities.model_dump(by_alias=True, exclude_none=True)

    async def start(self, timeout_s: float) -> None:
        """Wait until the server has listed its tools. Raises UpstreamError OMG-M001 (cannot be started) or OMG-M003 (hangs)."""
        await asyncio.wait([self._ready, self._task], timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return
        if self._task.done():
            raise self._ended("OMG-M001", "cannot be started")
        raise await self._hangs("did not start", timeout_s)

    async def refresh(self, timeout_s: float) -> None:
        """List the tools again if the server announced a change or the list is old."""
        async with self._refreshing:
            if self._announced > self._listed_after or time.monotonic() - self._listed_at > self._limits.recheck_s:
                await self._within(self._list(self._entered()), timeout_s, "its list of tools")

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        meta: Mapping[str, str],
        timeout_s: float,
        *,
        more: Mapping[str, Any],
        guest: Guest | None,
    ) -> dict[str, Any]:
        """Call `tool`; gives the result as it came. Raises what `ask` raises."""
        from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult

        level = {LOG_LEVEL_KEY: guest.log_level} if guest is not None and guest.log_level else {}
        params = CallToolRequestParams.model_validate({"name": tool, "arguments": dict(arguments), **more, "_meta": {**meta, **level}})
        progress = _progress_to(guest)
        with self._company.joined(next(self._numbers), guest):
            if guest is not None and guest.log_level:
                await self._log_from(guest.log_level, timeout_s)
            request = self._entered().session.send_request(
                CallToolRequest(params=params), unfinished_or(CallToolResult), progress_callback=progress
            )
            return _plain(await self._within(request, timeout_s, f"the call of {tool}"))

    async def _log_from(self, level: str, timeout_s: float) -> None:
        """Have a server of the older era send log messages from `level` on; each client is told what it wants of them."""
        from mcp_types import EmptyResult, SetLevelRequest, SetLevelRequestParams

        client = self._entered()
        if client.protocol_version in MODERN or "logging" not in self.capabilities or level not in LEVELS:
            return
        if LEVELS.index(level) < LEVELS.index(self._level):
            self._level = level
            wanted = SetLevelRequest(params=SetLevelRequestParams.model_validate({"level": level}))
            await self._within(client.session.send_request(wanted, EmptyResult), timeout_s, "logging/setLevel")

    async def ask(
        self, method: str, params: dict[str, Any], timeout_s: float, *, guest: Guest | None = None, what: str = ""
    ) -> dict[str, Any]:
        """One read of a server (`omega.adapters.mcp.passing.READS`) to its result.

        Raises UpstreamError: OMG-M002 (went away), OMG-M003 (hangs), OMG-M006 (no result by the protocol), OMG-M007 (refused).
        """
        import mcp_types

        stem = _READS[method]
        params_of = getattr(mcp_types, f"{stem}RequestParams", mcp_types.PaginatedRequestParams)
        wanted = getattr(mcp_types, f"{stem}Request")(params=params_of.model_validate(params))
        given = getattr(mcp_types, f"{stem}Result")
        asks = method in ("prompts/get", "resources/read")
        with self._company.joined(next(self._numbers), guest):
            request = self._entered().session.send_request(wanted, unfinished_or(given) if asks else given)
            return _plain(await self._within(request, timeout_s, what or method))

    async def close(self, *, hurry: bool = False) -> None:
        """End the conversation and wait until its process is gone. Safe to call again."""
        self._stop(hurry=hurry)
        await asyncio.wait([self._task])

    def _stop(self, *, hurry: bool) -> None:
        self._leave.set()
        if hurry:
            self._transport.hurry()
        if self._scope is not None and (hurry or self._client is None):
            self._scope.cancel()

    def _entered(self) -> Client:
        if self._client is None or self.over:
            raise self._ended("OMG-M002", "is gone")
        return self._client

    async def _live(self) -> None:
        """The session's own task, from the first byte to the last. How it ended is in `_ready` and `_cause`."""
        import anyio
        from mcp import Client
        from mcp_types import Implementation

        for name in _SDK_LOGS:  # they log what servers send, which may hold anything
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        if self._leave.is_set():
            return
        info = Implementation(name="omega", version="1")
        with anyio.CancelScope() as self._scope:
            try:
                asides = Asides(self._company)
                async with Client(
                    self._transport,
                    cache=None,
                    client_info=info,
                    message_handler=self._notice,
                    sampling_callback=asides.sample,
                    elicitation_callback=asides.elicit,
                    logging_callback=asides.log,
                ) as client:
                    await self._list(client)
                    self._client = client
                    self._ready.set_result(None)
                    await self._stay(client)
            except Exception as error:  # noqa: BLE001 - whatever the SDK and its libraries raise ends here and becomes one coded error
                self._cause = _innermost(error)

    async def _stay(self, client: Client) -> None:
        """Until the engine leaves or the server does; meanwhile learn of changed tools."""
        watching = asyncio.create_task(self._watch(client))
        leaving = asyncio.create_task(self._leave.wait())
        ending = asyncio.create_task(self._transport.ended.wait())
        try:
            await asyncio.wait([leaving, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (watching, leaving, ending):
                task.cancel()
            await asyncio.gather(watching, leaving, ending, return_exceptions=True)

    async def _watch(self, client: Client) -> None:
        """Subscribe to changes where the protocol wants that (2026-07-28); earlier revisions send them unasked."""
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
        from mcp.shared.exceptions import MCPError

        found = client.server_capabilities
        tools, prompts, resources = (bool(each and each.list_changed) for each in (found.tools, found.prompts, found.resources))
        if not (tools or prompts or resources):
            return
        try:
            async with client.listen(tools_list_changed=tools, prompts_list_changed=prompts, resources_list_changed=resources) as events:
                async for each in events:
                    kind = EVENTS.get(type(each).__name__, "tools")
                    self._announced += kind == "tools"
                    self._told_of([kind])
        except ListenNotSupportedError:
            return
        except (SubscriptionLost, MCPError):
            self._announced += 1  # from now on unheard changes are found when the list grows old

    async def _notice(self, message: IncomingMessage) -> None:
        kind = CHANGED.get(getattr(message, "method", ""))
        if kind is not None:
            self._announced += kind == "tools"
            self._told_of([kind])

    async def _list(self, client: Client) -> None:
        announced = self._announced  # a change announced while the list is on its way counts for the next one
        tools: dict[str, ToolDescription] = {}
        cursor: str | None = None
        for _ in range(self._limits.pages):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                if tool.name in tools or len(tools) >= self._limits.tools:
                    reason = "twice" if tool.name in tools else f"beyond the limit of {self._limits.tools} tools"
                    raise UpstreamError("OMG-M006", f"{self.name} lists {tool.name!r} {reason}", details={"server": self.name})
                tools[tool.name] = _described(self.name, tool)
            cursor = page.next_cursor
            if cursor is None:
                self.tools, self._listed_at, self._listed_after = tools, time.monotonic(), announced
                return
        raise UpstreamError(
            "OMG-M006", f"{self.name} lists its tools in more than {self._limits.pages} pages", details={"server": self.name}
        )

    async def _within(self, request: Coroutine[Any, Any, _Result], timeout_s: float, what: str) -> _Result:
        """The outcome of `request`, unless the time or the session ends first. A cancelled caller leaves the session intact."""
        asking = asyncio.ensure_future(request)
        try:
            done, _ = await asyncio.wait([asking, self._task], timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking], timeout=LAST_WORDS_S)
        if asking in done:
            return await self._outcome(asking, what)
        if self._task in done:
            raise self._ended("OMG-M002", f"went away during {what}")
        raise await self._hangs(f"did not answer {what}", timeout_s)

    async def _outcome(self, asked: asyncio.Future[_Result], what: str) -> _Result:
        from mcp.shared.exceptions import MCPError
        from mcp_types import CONNECTION_CLOSED, PARSE_ERROR
        from pydantic import ValidationError

        try:
            return asked.result()
        except MCPError as error:
            if error.code not in (CONNECTION_CLOSED, PARSE_ERROR):
                words = self.quote(error.message)
                details = {"server": self.name, "error_code": error.code, "message": words}
                raise UpstreamError("OMG-M007", f"{self.name} refused {what}: {words}", details=details) from error
            self._cause = self._cause or error
            self._stop(hurry=False)
            await asyncio.wait([self._task], timeout=self._limits.exit_s + LAST_WORDS_S)
            raise self._ended("OMG-M002", f"went away during {what}") from error
        except ValidationError as error:
            message = f"{self.name} answered {what} with something that is no result by the protocol"
            raise UpstreamError("OMG-M006", message, details={"server": self.name}) from error

    async def _hangs(self, what: str, timeout_s: float) -> UpstreamError:
        """End the server and give the error that says it hangs."""
        await self.close(hurry=True)
        details = {"server": self.name, "timeout_s": round(timeout_s, 3), "last_words": self.quote(self._transport.last_words)}
        return UpstreamError("OMG-M003", f"{self.name} {what} within {timeout_s:.3g} s", details=details)

    def _ended(self, code: str, what: str) -> OmegaError:
        """The error of a conversation that is over, with everything known about why."""
        if isinstance(self._cause, OmegaError):
            return self._cause
        transport = self._transport
        details: dict[str, Any] = {"server": self.name}
        if over := transport.over_cap:
            return UpstreamError("OMG-P008", f"{self.name} and what it started used {over}", details=details | {"cap": over})
        reason = transport.fault
        if transport.exit_code is not None:
            details["exit_code"] = transport.exit_code
            reason = reason or f"it ended with exit code {transport.exit_code}"
        if transport.last_words:
            details["last_words"] = self.quote(transport.last_words)
        if not reason and self._cause is not None:
            reason = self.quote(str(self._cause)) or type(self._cause).__name__
        hint = advice(self.name, f"{transport.last_words} {reason}") if self.confined else ""
        return UpstreamError(code, f"{self.name} {what}: {reason or 'the connection was closed'}", advice=hint, details=details)

    def quote(self, text: str, limit: int = LAST_WORDS) -> str:
        """The end of the server's own words, without the secrets it was given."""
        return quote(text, self._secrets, limit=limit)


def _described(server: str, tool: Tool) -> ToolDescription:
    annotations = {} if tool.annotations is None else tool.annotations.model_dump(by_alias=True, exclude_none=True, mode="json")
    made = ToolDescription(server, tool.name, tool.title or "", tool.description or "", tool.input_schema, tool.output_schema, annotations)
    try:
        _ = made.digest
    except ValueError as error:
        raise UpstreamError("OMG-M006", f"{server}/{tool.name} has a description that is not JSON", details={"server": server}) from error
    return made


def _nobody_asks(kinds: Iterable[str]) -> None:
    """Nobody wants to know of changes."""


def _plain(result: Any) -> dict[str, Any]:
    """A result of the SDK as the data that the server sent."""
    sent: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return sent


def _progress_to(guest: Guest | None) -> ProgressFnT | None:
    if guest is None or not guest.wants_progress:
        return None

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        parts = {"progress": progress, "total": total, "message": message}
        await guest.tell("notifications/progress", {key: value for key, value in parts.items() if value is not None})

    return tell


def _innermost(error: Exception) -> Exception:
    """The first plain error inside nested groups: task groups wrap what their tasks raise."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
