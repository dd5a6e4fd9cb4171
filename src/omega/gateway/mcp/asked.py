"""One request of a client, read: who asks, what they see, what they speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from omega.gateway.front.core import Core, Visitor
from omega.gateway.front.turns import Turns
from omega.gateway.mcp.guests import Guest
from omega.gateway.mcp.hall import Hall, View
from omega.kernel.errors import InputError
from omega.kernel.ports import Call, Outcome
from omega.kernel.propagation import extract
from omega.wire.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, Id, ProtocolFault
from omega.wire.mcp.eras import RESOURCE_NOT_FOUND, Era

MAX_NAME: Final = 256
"""Longest name of a tool or prompt in characters."""

MAX_URI: Final = 4_096
"""Longest address of a resource in characters."""

TRACING: Final = ("traceparent", "tracestate", "baggage")
"""Keys of `_meta` that say which trace a request belongs to (MCP 2026-07-28, "Reserved _meta keys"; SEP-414)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: the process, the caller, what the caller sees, the client that waits, and what it asks."""

    core: Core
    hall: Hall
    visitor: Visitor
    view: View
    era: Era
    guest: Guest
    id: Id
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    turns: Turns

    def text(self, key: str, most: int) -> str:
        """The parameter `key`, which is text. Raises ProtocolFault (INVALID_PARAMS)."""
        value = self.params.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise ProtocolFault(INVALID_PARAMS, f"{key} is text of 1 to {most} characters")
        return value

    def call(self, flow: Any, value: Any, *, execution: str = "") -> Call:
        """`flow` on `value`, for this caller: within the budget, deadline and trace that came along.

        Raises ProtocolFault (INVALID_PARAMS) for a budget or deadline that cannot be read.
        """
        origin = self.visitor.origin(self.headers)
        call = Call(passport=self.visitor.passport, flow=flow, input=value, execution=execution, origin=origin)
        given = self.params.get("_meta")
        meta: dict[str, Any] = given if isinstance(given, dict) else {}
        traced = {key: meta[key] for key in TRACING if key in meta and isinstance(meta[key], str)}
        limits = {name: self.headers[name] for name in ("traceparent", "omega-budget", "omega-deadline") if name in self.headers}
        if not traced and not limits:
            return call
        try:
            carried = extract(limits | traced)
        except InputError as error:
            raise ProtocolFault(INVALID_PARAMS, error.cause) from error
        made = carried.onto(call, now=self.core.now_us() / 1_000_000)
        return replace(made, passport=call.passport)

    async def run(self, call: Call) -> Outcome:
        """Take `call` down the road, with the client listening."""
        token = self.hall.guest.set(self.guest)
        try:
            return await self.core.road.call(call)
        finally:
            self.hall.guest.reset(token)


def passed_on(error: Mapping[str, Any], era: Era) -> ProtocolFault | None:
    """The error of a tool server that refused by the protocol, as it said it; None for any other error."""
    details: Any = error.get("details")
    code = details.get("error_code") if isinstance(details, Mapping) else None
    if error.get("code") != "OMG-M007" or not isinstance(code, int) or code == 0:
        return None
    if code == RESOURCE_NOT_FOUND and era.modern:
        code = INVALID_PARAMS
    return ProtocolFault(code, str(details["message"]), data=details.get("data"))


def fault_of(error: Mapping[str, Any]) -> ProtocolFault:
    """An error of the road as the protocol tells it: its code, advice and what else may be known are in the data."""
    code = INVALID_PARAMS if error.get("fault") == "caller" else INTERNAL_ERROR
    return ProtocolFault(code, str(error.get("cause", "")), data=told(error))


def told(error: Mapping[str, Any]) -> dict[str, Any]:
    """What a client is told of an error beside its words."""
    found = {key: error[key] for key in ("code", "title", "advice", "fault") if error.get(key)}
    details = error.get("details")
    known: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
    if known.get("policies"):
        found["policies"] = list(known["policies"])
    return found | ({"retry_after_s": known["retry_after_s"]} if "retry_after_s" in known else {})
