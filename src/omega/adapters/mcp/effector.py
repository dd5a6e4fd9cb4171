"""The effector for tools of MCP servers: what was pinned is what is called, and what comes back fits what was promised.

In order, for each call: the permit is spent; the server is known and the tool pinned; the arguments fit the pinned input schema; the
server runs (`seats`: one live session per server and working folder, started again after a failure, with a growing pause); what it offers
now is what was pinned; then the call; and its answer fits the pinned output schema, or nothing of it is used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from omega.adapters.mcp.answers import value_of
from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.foreign import NO_OPENERS, Openers
from omega.adapters.mcp.guests import Guests, Whose, nobody
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.passing import READS, TASKS, WATCHES, PassedCall, PassedRead
from omega.adapters.mcp.renewing import Renewals
from omega.adapters.mcp.schema import check_arguments
from omega.adapters.mcp.seats import Confined, Conversation, Credentials, Seat, Seats, Watchful, late, no_credentials, unconfined
from omega.adapters.mcp.stdio import Launch
from omega.adapters.mcp.upstream import Secrets, Upstream
from omega.kernel.effects import Receipt, Request, ToolCall
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.verdict import Permit
from omega.wire.jsonrpc import METHOD_NOT_FOUND

Upstreams = Callable[[str], Upstream | None]
"""The record of a server by name; None when there is none."""

Pins = Callable[[str, str], ToolDescription | None]
"""The accepted description of (server, tool); None when no operator has accepted one."""

META_EXECUTION: Final = "omega/execution"
META_STEP: Final = "omega/step"
META_KEY: Final = "omega/idempotency-key"
META_TENANT: Final = "omega/tenant"
META_TRACE: Final = "traceparent"
"""Reserved by MCP 2026-07-28 (SEP-414) for the trace that a call belongs to."""

_LISTS: Final = {"resources/list": "resources", "resources/templates/list": "resourceTemplates", "prompts/list": "prompts"}
"""Lists with what they hold: a server that does not claim to have them is not asked."""


class McpEffector:
    """Serves `ToolCall`, and `PassedCall` for the clients that `guests` names. Belongs to one event loop; `aclose` ends every server."""

    port = ToolCall.port

    def __init__(  # noqa: PLR0913 - what it needs of an installation, each handed in by the host under its name
        self,
        upstreams: Upstreams,
        pins: Pins,
        launch: Launch,
        *,
        secrets: Secrets = os.environ.get,
        credentials: Credentials = no_credentials,
        guests: Guests = nobody,
        limits: Limits | None = None,
        openers: Openers = NO_OPENERS,
        confined: Confined = unconfined,
        renewals: Renewals | None = None,
    ) -> None:
        self._upstreams, self._pins, self._guests = upstreams, pins, guests
        self._seats = Seats(launch, secrets, credentials, limits or Limits(), openers, confined, renewals=renewals)

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Call one tool once; gives its structured content, else its text, else its content blocks as plain data.

        A `PassedCall` gives the whole result by the protocol, also where the tool reports an error or asks for more input.
        Raises InputError OMG-I001 (arguments), OMG-M005 (unknown server); UpstreamError OMG-M001 (cannot start), M002 (failed),
        M003 (hangs), M004 (description changed or never accepted), M005 (tool is gone), M006 (answer does not fit), M007 (tool error).
        An error whose details hold `sent` came after the request may have reached the server.
        """
        permit.spend(self.port)
        if not isinstance(request, ToolCall):
            raise InputError("OMG-I001", f"the mcp port calls tools, not {type(request).__name__}")
        upstream = self._upstream(request.server)
        pin = None if isinstance(request, PassedRead) else self._pin(request)
        if pin is not None:
            check_arguments(request.server, pin, request.arguments)
        guest = self._guests() if isinstance(request, PassedCall) else None
        older = guest is not None and not guest.modern
        seat = self._seats.seat(upstream, request.cwd, permit.tenant, permit.principal, older=older)
        seat.calls += 1
        try:
            if pin is None:
                result, session = await self._read(seat, request, (permit.tenant, permit.principal))
            else:
                meta = {META_EXECUTION: execution, META_STEP: step, META_KEY: permit.idempotency_key(), META_TENANT: permit.tenant}
                meta |= {META_TRACE: permit.traceparent()} if permit.trace else {}
                result, session = await self._call(seat, request, pin, meta)
        finally:
            seat.calls -= 1
        value = result if pin is None else value_of(session, pin, result, whole=isinstance(request, PassedCall))
        sent = dict(request.arguments or getattr(request, "more", {}))
        return value, Receipt(bytes_out=len(_encode(sent)), bytes_in=len(_encode(result)))

    def changes(self, kind: str) -> int:
        """How often servers have told that their lists of `kind` (`tools`, `prompts`, `resources`) changed."""
        return self._seats.changes(kind)

    def updates(self, server: str, uri: str, tenant: str, principal: str) -> int:
        """How often the server has told that a resource changed which is watched: told this caller, where the session is the caller's own,
        else all who share it."""
        upstream = self._upstreams(server)
        return 0 if upstream is None else self._seats.updates(upstream, uri, tenant, principal)

    def forget(self, server: str, uri: str, tenant: str, principal: str, *, modern: bool) -> None:
        """A watch of this caller is over, and its server could not be told (a passport has ended, say): nothing is sent."""
        self._seats.forget(server, uri, by=(tenant, principal), older=not modern)

    async def aclose(self) -> None:
        """End all servers, and wait until their processes are gone."""
        await self._seats.close()

    def _upstream(self, server: str) -> Upstream:
        upstream = self._upstreams(server)
        if upstream is None:
            raise InputError("OMG-M005", f"there is no tool server {server}", details={"server": server})
        return upstream

    def _pin(self, request: ToolCall) -> ToolDescription:
        pin = self._pins(request.server, request.tool)
        if pin is None:
            raise UpstreamError(
                "OMG-M004",
                f"nobody has accepted the description of {request.server}/{request.tool}",
                advice=f"read it and accept it: omega mcp tools {request.server} --accept",
                details={"server": request.server, "tool": request.tool},
            )
        return pin

    async def _call(self, seat: Seat, request: ToolCall, pin: ToolDescription, meta: dict[str, str]) -> tuple[dict[str, Any], Conversation]:
        deadline = time.monotonic() + request.timeout_s
        session = await self._session(seat, deadline)
        more = request.more if isinstance(request, PassedCall) else {}
        guest = self._guests() if isinstance(request, PassedCall) else None
        if guest is not None:
            guest.begun(meta[META_EXECUTION])
        try:
            await session.refresh(deadline - time.monotonic())
            _compare(pin, session.tools.get(pin.name))
            result = await _sent(session.call(pin.name, request.arguments, meta, deadline - time.monotonic(), more=more, guest=guest))
        finally:
            self._seats.after(seat, session)
        seat.failures = 0
        return result, session

    async def _read(self, seat: Seat, request: ToolCall, by: Whose) -> tuple[dict[str, Any], Conversation]:
        if not isinstance(request, PassedRead) or request.method not in READS | WATCHES | TASKS.keys():
            raise InputError("OMG-I001", f"{request.tool[:80]!r} is nothing that is passed on")
        method, deadline = request.method, time.monotonic() + request.timeout_s
        session = await self._session(seat, deadline)
        if method in _LISTS and method.partition("/")[0] not in session.capabilities:
            return {_LISTS[method]: []}, session
        try:
            if method in WATCHES:
                result = await self._watch(seat, session, request, deadline - time.monotonic(), by)
            else:
                result = await session.ask(method, dict(request.more), deadline - time.monotonic(), guest=self._guests())
        finally:
            self._seats.after(seat, session)
        seat.failures = 0
        return result, session

    async def _watch(self, seat: Seat, session: Conversation, request: PassedRead, timeout_s: float, by: Whose) -> dict[str, Any]:
        resources = session.capabilities.get("resources")
        if not isinstance(session, Watchful) or not isinstance(resources, Mapping) or not resources.get("subscribe"):
            words = f"{request.server} does not tell of changes of a resource"
            details = {"server": request.server, "error_code": METHOD_NOT_FOUND, "message": words}
            raise UpstreamError("OMG-M007", words, details=details)
        change = self._seats.watch if request.method == "resources/subscribe" else self._seats.unwatch
        await change(seat, session, str(request.more.get("uri", "")), timeout_s, by=by)
        return {}

    async def _session(self, seat: Seat, deadline: float) -> Conversation:
        session = await self._seats.session(seat, deadline)
        if time.monotonic() >= deadline:
            raise late(seat)
        return session


_encode = msgspec.json.Encoder().encode


async def _sent(call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Mark errors from here on with `sent`: the request may have reached the server, so the fate of a write is unknown."""
    try:
        return await call
    except UpstreamError as error:
        if not error.details.pop("unsent", False):
            error.details["sent"] = True
        raise


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
