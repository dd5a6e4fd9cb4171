"""What goes wrong in the protocol, in the words of each binding (A2A 1.0, 5.4 "Error Code Mappings").

JSON-RPC     {"code": -32001, "message": "...", "data": [{"@type": ".../google.rpc.ErrorInfo", "reason": "TASK_NOT_FOUND", ...}]}
HTTP+JSON    404 {"error": {"code": 404, "status": "NOT_FOUND", "message": "...", "details": [the same]}}   (google.aip.dev/193)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.wire.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

DOMAIN: Final = "a2a-protocol.org"
ERROR_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"

OURS: Final = "omega"
"""The domain of reasons that are codes of this installation."""

REFUSED: Final = -32000
"""The JSON-RPC code of what a policy, a limit or a missing passport refuses: the protocol has none of its own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: its JSON-RPC code, the HTTP status, the status of google.rpc.Code, and the protocol's reason where it has one."""

    code: int
    http: int
    status: str
    reason: str = ""


TASK_NOT_FOUND: Final = Kind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
TASK_NOT_CANCELABLE: Final = Kind(-32002, 409, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
PUSH_NOT_SUPPORTED: Final = Kind(-32003, 400, "UNIMPLEMENTED", "PUSH_NOTIFICATION_NOT_SUPPORTED")
UNSUPPORTED: Final = Kind(-32004, 400, "UNIMPLEMENTED", "UNSUPPORTED_OPERATION")
CONTENT_TYPE: Final = Kind(-32005, 415, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
BAD_AGENT_ANSWER: Final = Kind(-32006, 502, "INTERNAL", "INVALID_AGENT_RESPONSE")
NO_EXTENDED_CARD: Final = Kind(-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
EXTENSION_REQUIRED: Final = Kind(-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
VERSION: Final = Kind(-32009, 400, "UNIMPLEMENTED", "VERSION_NOT_SUPPORTED")
PARAMS: Final = Kind(INVALID_PARAMS, 400, "INVALID_ARGUMENT")
NO_METHOD: Final = Kind(METHOD_NOT_FOUND, 404, "NOT_FOUND")
NO_SUCH_VERB: Final = Kind(METHOD_NOT_FOUND, 405, "UNIMPLEMENTED")
REQUEST: Final = Kind(INVALID_REQUEST, 400, "INVALID_ARGUMENT")
PARSE: Final = Kind(PARSE_ERROR, 400, "INVALID_ARGUMENT")
INTERNAL: Final = Kind(INTERNAL_ERROR, 500, "INTERNAL")

KINDS: Final = {
    each.code: each
    for each in (
        TASK_NOT_FOUND,
        TASK_NOT_CANCELABLE,
        PUSH_NOT_SUPPORTED,
        UNSUPPORTED,
        CONTENT_TYPE,
        BAD_AGENT_ANSWER,
        NO_EXTENDED_CARD,
        EXTENSION_REQUIRED,
        VERSION,
        PARAMS,
        NO_METHOD,
        REQUEST,
        PARSE,
        INTERNAL,
    )
}
"""The kinds by their JSON-RPC code."""

_STATUS: Final = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"} | {
    413: "OUT_OF_RANGE",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    402: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class A2aFault(Exception):
    """What the protocol answers instead of a result. `metadata` are facts as text, never a secret or a payload; `domain` says whose reason
    it is, the protocol's unless it is one of our codes."""

    def __init__(self, kind: Kind, message: str, *, metadata: Mapping[str, str] | None = None, domain: str = DOMAIN) -> None:
        super().__init__(message)
        self.kind, self.message, self.metadata, self.domain = kind, message, dict(metadata or {}), domain

    @property
    def details(self) -> list[dict[str, Any]]:
        """The reason as google.rpc.ErrorInfo; empty for a plain error of JSON-RPC."""
        if not self.kind.reason:
            return []
        told: dict[str, Any] = {"@type": ERROR_INFO, "reason": self.kind.reason, "domain": self.domain}
        return [told | ({"metadata": self.metadata} if self.metadata else {})]

    def rpc(self) -> dict[str, Any]:
        """As the error of a JSON-RPC answer."""
        error: dict[str, Any] = {"code": self.kind.code, "message": self.message}
        return error | ({"data": self.details} if self.details else {})

    def rest(self) -> tuple[int, dict[str, Any]]:
        """As status and body of an HTTP+JSON answer."""
        error = {"code": self.kind.http, "status": self.kind.status, "message": self.message, "details": self.details}
        return self.kind.http, {"error": error}


def refusal_of(record: Mapping[str, Any], status: int) -> A2aFault:
    """The fault that tells an error of ours (`OmegaError.record()`) whose HTTP status is `status`: the reason is its code."""
    code = str(record.get("code", ""))
    advice = str(record.get("advice", ""))
    kind = Kind(REFUSED if status < 500 else INTERNAL_ERROR, status, _STATUS.get(status, "INTERNAL"), code.replace("-", "_") or "INTERNAL")
    return A2aFault(kind, str(record.get("cause", "")), metadata={"advice": advice} if advice else None, domain=OURS)
