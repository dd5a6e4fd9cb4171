"""The gRPC binding of the protocol (A2A 1.0, 10): how a call is read, and how an answer, a stream and a refusal are written.

A call comes in as the request of an ASGI application like those of the other bindings, through the same door, to the same address of an
agent: the field `tenant` of the request names it, and without one it is the agent in front. Everything behind is one for all bindings.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.gateway.front.core import Message
from omega.gateway.front.request import Arrival
from omega.kernel.errors import OmegaError
from omega.wire.a2a.faults import ERROR_INFO, TASK_NOT_FOUND, A2aFault, refusal_of
from omega.wire.a2a.operations import METHODS, Operation
from omega.wire.a2a.protobuf import CALLS, decode, encode, text_ahead
from omega.wire.jsonrpc import Id
from omega.wire.problem import status_of

DETAILS: Final = "grpc-status-details-bin"
"""The trailer that holds a google.rpc.Status (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md)."""

CARRIED: Final = frozenset(
    {"a2a-extensions", "a2a-version", "authorization", "baggage", "dpop", "idempotency-key", "omega-budget", "omega-deadline"}
    | {"traceparent", "tracestate", "user-agent", "x-request-id"}
)
"""The metadata of a call that means something here; all else is left where it is. There are no browsers, so there is no cookie."""

MAX_PROBLEM: Final = 64 << 10
"""Longest words of the door, in bytes."""

_CODES: Final = {
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
"""google.rpc.Code."""

AGENT: Final = "tenant"
"""The field of every request that names an agent."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")

Write = Callable[[bytes], Awaitable[None]]
"""Sends one message of a stream."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call failed: the name of the status, the words, and the google.rpc.Status that says more."""

    status: str
    words: str
    details: bytes


class GrpcCall:
    """One call of `method` with the request `raw`; `write` sends the messages of a stream. `answered` is the answer of a call that is no
    stream, `failure` what is wrong, once the application has come back."""

    arrival: Arrival

    def __init__(self, method: str, raw: bytes, write: Write) -> None:
        self._method, self._raw, self._write = method, raw, write
        self.answered: bytes | None = None
        self.failure: Failure | None = None
        self._refused = 0
        self._words = b""

    def agent(self) -> str:
        """The agent that the request is for; empty for the one in front. Nothing else is read: nobody has said who they are yet. Raises
        A2aFault (PARSE, TASK_NOT_FOUND for one that cannot be)."""
        name = text_ahead(CALLS[self._method][0], self._raw, AGENT)
        if name and _NAME.fullmatch(name) is None:
            raise A2aFault(TASK_NOT_FOUND, "the field `tenant` names the agent, as its card has it")
        return name

    @property
    def streams(self) -> bool:
        """Whether it is answered with a stream."""
        return METHODS[self._method].streams

    # -- what the application asks and says (`bindings.Binding`)

    def at(self, arrival: Arrival) -> GrpcCall:
        """This call, with what the door found out."""
        self.arrival = arrival
        return self

    async def read(self) -> tuple[Id | None, Mapping[str, Any], Operation]:
        """The whole request, but for the agent that it is for. Raises A2aFault (PARSE)."""
        params = decode(CALLS[self._method][0], self._raw)
        params.pop(AGENT, None)
        return None, params, METHODS[self._method]

    async def answer(self, result: Mapping[str, Any]) -> None:
        """The one answer."""
        self.answered = self._written(result)

    async def event(self, event: Mapping[str, Any] | None) -> None:
        """An event; HTTP/2 keeps a stream open by itself."""
        if event is not None:
            await self._write(self._written(event))

    async def over(self) -> None:
        """The end of a stream is the end of the call."""

    async def fault(self, fault: A2aFault) -> None:
        """What the protocol has an error for."""
        self.failure = failure_of(fault)

    async def refuse(self, error: OmegaError) -> None:
        """What the installation refuses."""
        self.failure = failure_of(refusal_of(error.record(), status_of(error.code)))

    # -- what the door says

    async def send(self, message: Message) -> None:
        """A message of ASGI: the door refuses in the words of HTTP, which are told in those of gRPC."""
        if message["type"] == "http.response.start":
            self._refused = int(message["status"])
            return
        self._words += bytes(message.get("body", b""))[: MAX_PROBLEM - len(self._words)]
        if not message.get("more_body", False):
            self.failure = failure_of(_refusal(self._refused, self._words))

    def _written(self, value: Mapping[str, Any]) -> bytes:
        return encode(CALLS[self._method][1], value)


def failure_of(fault: A2aFault) -> Failure:
    """A fault as the end of a call (10.6): the status, and its reason as google.rpc.ErrorInfo."""
    info = {"reason": fault.kind.reason, "domain": fault.domain, "metadata": {str(k): str(v) for k, v in fault.metadata.items()}}
    details = [{"typeUrl": ERROR_INFO, "value": _b64(encode("ErrorInfo", info))}] if fault.kind.reason else []
    code = _CODES.get(fault.kind.status, _CODES["INTERNAL"])
    status = encode("Status", {"code": code, "message": fault.message, "details": details})
    return Failure(fault.kind.status if fault.kind.status in _CODES else "INTERNAL", fault.message, status)


def _refusal(status: int, body: bytes) -> A2aFault:
    try:
        problem = json.loads(body)
        known = {"code": str(problem["code"]), "cause": str(problem["detail"]), "advice": str(problem.get("advice", ""))}
    except (ValueError, KeyError, TypeError):
        known = {"code": "OMG-G011", "cause": "something happened that was not expected", "advice": ""}
    return refusal_of(known, status)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
