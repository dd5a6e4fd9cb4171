"""The effector for tools of MCP servers: what was pinned is what is called, and what comes back fits what was promised.

In order, for each call: the permit is spent; the server is known and the tool pinned; the arguments fit the pinned input schema; the
server runs (one live session per server and working folder, started again after a failure, with a growing pause); what it offers now
is what was pinned; then the call; and its answer fits the pinned output schema, or nothing of it is used.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.http import HttpTransport
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.schema import check_answer, check_arguments
from omega.adapters.mcp.session import Session
from omega.adapters.mcp.stdio import Launch, StdioTransport
from omega.adapters.mcp.upstream import Secrets, Transport, Upstream, resolve, secret_values
from omega.kernel.effects import Receipt, Request, ToolCall
from omega.kernel.errors import InputError, OmegaError, UpstreamError
from omega.kernel.verdict import Permit

if TYPE_CHECKING:
    from mcp_types import CallToolResult

Upstreams = Callable[[str], Upstream | None]
"""The record of a server by name; None when there is none."""

Pins = Callable[[str, str], ToolDescription | None]
"""The accepted description of (server, tool); None when no operator has accepted one."""

META_EXECUTION: Final = "omega/execution"
META_STEP: Final = "omega/step"
META_KEY: Final = "omega/idempotency-key"


@dataclass(slots=True)
class _Seat:
    """The place of one session: kept over restarts, so that failures are counted. `running` is what the session was started with."""

    upstream: Upstream
    running: Upstream | None = None
    session: Session | None = None
    failures: int = 0
    not_before: float = 0.0
    calls: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class McpEffector:
    """Serves `ToolCall`. Belongs to one event loop; `aclose` ends every server it started."""

    port = ToolCall.port

    def __init__(
        self, upstreams: Upstreams, pins: Pins, launch: Launch, *, secrets: Secrets = os.environ.get, limits: Limits | None = None
    ) -> None:
        self._upstreams, self._pins, self._launch = upstreams, pins, launch
        self._secrets, self._limits = secrets, limits or Limits()
        self._seats: dict[tuple[str, str | None], _Seat] = {}
        self._living: set[Session] = set()

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Call one tool once; gives its structured content, else its text, else its content blocks as plain data.

        Raises InputError OMG-I001 (arguments), OMG-M005 (unknown server); UpstreamError OMG-M001 (cannot start), M002 (failed),
        M003 (hangs), M004 (description changed or never accepted), M005 (tool is gone), M006 (answer does not fit), M007 (tool error).
        An error whose details hold `sent` came after the request may have reached the server.
        """
        permit.spend(self.port)
        if not isinstance(request, ToolCall):
            raise InputError("OMG-I001", f"the mcp port calls tools, not {type(request).__name__}")
        upstream, pin = self._known(request)
        check_arguments(request.server, request.tool, pin.input_schema, request.arguments)
        meta = {META_EXECUTION: execution, META_STEP: step, META_KEY: permit.idempotency_key()}
        seat = self._seat(upstream, request.cwd)
        seat.calls += 1
        try:
            result, session = await self._call(seat, request, pin, meta)
        finally:
            seat.calls -= 1
        value = _answer(session, pin, result)
        sent = len(json.dumps(dict(request.arguments)))
        return value, Receipt(bytes_out=sent, bytes_in=len(result.model_dump_json(by_alias=True, exclude_none=True)))

    async def aclose(self) -> None:
        """End all servers, and wait until their processes are gone."""
        self._seats.clear()
        await asyncio.gather(*(session.close() for session in self._living))

    def _known(self, request: ToolCall) -> tuple[Upstream, ToolDescription]:
        upstream = self._upstreams(request.server)
        if upstream is None:
            raise InputError("OMG-M005", f"there is no tool server {request.server}", details={"server": request.server})
        pin = self._pins(request.server, request.tool)
        if pin is None:
            raise UpstreamError(
                "OMG-M004",
                f"nobody has accepted the description of {request.server}/{request.tool}",
                advice=f"read it and accept it: omega mcp tools {request.server} --accept",
                details={"server": request.server, "tool": request.tool},
            )
        return upstream, pin

    async def _call(self, seat: _Seat, request: ToolCall, pin: ToolDescription, meta: dict[str, str]) -> tuple[CallToolResult, Session]:
        deadline = time.monotonic() + request.timeout_s
        session = await self._session(seat, request.cwd, deadline)
        if time.monotonic() >= deadline:
            raise _late(seat)
        try:
            await session.refresh(deadline - time.monotonic())
            _compare(pin, session.tools.get(pin.name))
            result = await _sent(session.call(pin.name, request.arguments, meta, deadline - time.monotonic()))
        finally:
            if session.over and seat.session is session:  # the first of its open calls to notice counts the failure, once
                seat.session = None
                self._count_failure(seat)
        seat.failures = 0
        return result, session

    def _seat(self, upstream: Upstream, cwd: str | None) -> _Seat:
        key = (upstream.name, cwd)
        seat = self._seats.pop(key, None) or _Seat(upstream)
        seat.upstream = upstream
        self._seats[key] = seat  # at the end: the order of the dictionary is the order of use
        return seat

    async def _session(self, seat: _Seat, cwd: str | None, deadline: float) -> Session:
        """The live session of this seat, started if need be."""
        await self._make_room(seat)
        async with _held(seat, deadline):
            if seat.session is not None and (seat.session.over or seat.running != seat.upstream):
                await seat.session.close()
                seat.session = None
            if seat.session is None:
                await asyncio.sleep(max(0.0, min(seat.not_before, deadline) - time.monotonic()))
                seat.session = await self._open(seat, cwd, deadline)
            return seat.session

    async def _open(self, seat: _Seat, cwd: str | None, deadline: float) -> Session:
        upstream = seat.running = seat.upstream
        session: Session | None = None
        try:
            session = open_session(upstream, self._launch, cwd=cwd, secrets=self._secrets, limits=self._limits)
            self._living.add(session)
            session.when_over(self._living.discard)
            await session.start(min(upstream.timeout_s, deadline - time.monotonic()))
        except OmegaError:
            self._count_failure(seat)
            raise
        except asyncio.CancelledError:
            if session is not None:
                await session.close(hurry=True)
            raise
        return session

    async def _make_room(self, wanted: _Seat) -> None:
        """Close the longest unused sessions when there are more than the limit."""
        spare = [key for key, seat in self._seats.items() if seat.calls == 0 and seat is not wanted]
        for key in spare[: max(0, len(self._seats) - self._limits.sessions)]:
            seat = self._seats.pop(key)
            if seat.session is not None:
                await seat.session.close()

    def _count_failure(self, seat: _Seat) -> None:
        pause_s = min(self._limits.backoff_s * 2.0 ** min(seat.failures, 30), self._limits.backoff_max_s)
        seat.failures += 1
        seat.not_before = time.monotonic() + pause_s


@asynccontextmanager
async def _held(seat: _Seat, deadline: float) -> AsyncIterator[None]:
    """The seat's lock, unless another call is still starting the server when the time of this one is over."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await seat.lock.acquire()
    except TimeoutError as error:
        raise _late(seat) from error
    try:
        yield
    finally:
        seat.lock.release()


async def _sent(call: Awaitable[CallToolResult]) -> CallToolResult:
    """Mark errors from here on with `sent`: the request may have reached the server, so the fate of a write is unknown."""
    try:
        return await call
    except UpstreamError as error:
        error.details["sent"] = True
        raise


def _late(seat: _Seat) -> UpstreamError:
    name = seat.upstream.name
    return UpstreamError("OMG-M003", f"{name} was still starting when the time of the call was over", details={"server": name})


def open_session(upstream: Upstream, launch: Launch, *, cwd: str | None, secrets: Secrets, limits: Limits) -> Session:
    """Begin a conversation with `upstream`. Secrets are looked up now. Raises UpstreamError (OMG-M001)."""
    hidden = secret_values(upstream, secrets)
    if upstream.transport is Transport.HTTP:
        return Session(upstream.name, HttpTransport(upstream.url, resolve(upstream, upstream.headers, secrets), limits), limits, hidden)
    folder = cwd or upstream.cwd
    try:
        argv, env = launch(upstream.argv, cwd=folder, env=resolve(upstream, upstream.env, secrets))
    except InputError as error:
        details = {"server": upstream.name, **error.details}
        raise UpstreamError("OMG-M001", f"{upstream.name} cannot be started: {error.cause}", details=details) from error
    return Session(upstream.name, StdioTransport(upstream.name, argv, env, folder, limits), limits, hidden)


async def describe(
    upstream: Upstream, launch: Launch, *, secrets: Secrets = os.environ.get, limits: Limits | None = None
) -> list[ToolDescription]:
    """What `upstream` offers now, in its own order. Starts the server and ends it again. Raises UpstreamError (OMG-M001, M003, M006)."""
    session = open_session(upstream, launch, cwd=None, secrets=secrets, limits=limits or Limits())
    try:
        await session.start(upstream.timeout_s)
        return list(session.tools.values())
    finally:
        await session.close()


def _compare(pin: ToolDescription, offered: ToolDescription | None) -> None:
    name = f"{pin.server}/{pin.name}"
    if offered is None:
        raise UpstreamError("OMG-M005", f"{pin.server} no longer offers {pin.name}", details={"server": pin.server, "tool": pin.name})
    if offered.digest != pin.digest:
        changed = pin.changed_fields(offered)
        details = {
            "server": pin.server,
            "tool": pin.name,
            "changed": changed,
            "pinned": pin.digest,
            "offered": offered.digest,
            "diff": pin.differences(offered),
        }
        raise UpstreamError("OMG-M004", f"{name} is not what was accepted: {', '.join(changed)} changed", details=details)


def _answer(session: Session, pin: ToolDescription, result: CallToolResult) -> Any:
    name = f"{pin.server}/{pin.name}"
    details: dict[str, Any] = {"server": pin.server, "tool": pin.name, "sent": True}
    texts = [block.text for block in result.content if block.type == "text"]
    if result.is_error:
        words = session.quote("\n".join(texts)) or "it gave no reason"
        raise UpstreamError("OMG-M007", f"{name} reported: {words}", details={**details, "message": words})
    if result.result_type != "complete":
        raise UpstreamError("OMG-M006", f"{name} asks for more input in the middle of a call, which is not supported", details=details)
    structured = "structured_content" in result.model_fields_set
    if pin.output_schema is not None:
        if not structured:
            raise UpstreamError("OMG-M006", f"{name} promised structured content and gave none", details=details)
        check_answer(pin.server, pin.name, pin.output_schema, result.structured_content)
    if structured and result.structured_content is not None:
        return result.structured_content
    if len(texts) == len(result.content):
        return "\n".join(texts)
    return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
