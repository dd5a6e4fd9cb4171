"""Errors as they are told over HTTP: problem details (RFC 9457), and which status belongs to which code.

    {"type": ".../errors#omg-w001", "title": "denied by policy", "status": 403, "detail": "an agent may not ...",
     "code": "OMG-W001", "advice": "...", "whose": "policy", "details": {...}, "instance": "req_..."}

`details` hold facts that a program may read, never a secret or a payload; of faults of Omega itself (status 5xx) they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omega.kernel.errors import CODES, Fault, OmegaError

MEDIA_TYPE = "application/problem+json"

DOCUMENTATION = "/api/docs/errors"
"""Where the codes are explained, on the very installation that said one."""

RETRY_AFTER_S = 1
"""What `Retry-After` says (seconds) where the error does not know better."""

_BY_CODE = {
    "OMG-I002": 404,
    "OMG-I003": 404,
    "OMG-I004": 404,
    "OMG-I005": 409,
    "OMG-R002": 400,
    "OMG-R003": 413,
    "OMG-R004": 504,
    "OMG-R005": 409,
    "OMG-R006": 409,
    "OMG-R009": 409,
    "OMG-R010": 409,
    "OMG-R011": 202,
    "OMG-R012": 409,
    "OMG-R014": 409,
    "OMG-R016": 503,
    "OMG-R018": 202,
    "OMG-R020": 202,
    "OMG-R021": 202,
    "OMG-R022": 409,
    "OMG-R023": 409,
    "OMG-R040": 429,
    "OMG-R041": 503,
    "OMG-R042": 202,
    "OMG-R043": 409,
    "OMG-R045": 408,
    "OMG-S003": 500,
    "OMG-S005": 500,
    "OMG-T002": 403,
    "OMG-T003": 500,
    "OMG-T004": 500,
    "OMG-T005": 503,
    "OMG-T006": 503,
    "OMG-T007": 403,
    "OMG-T008": 403,
    "OMG-T011": 403,
    "OMG-T012": 403,
    "OMG-T013": 403,
    "OMG-W002": 403,
    "OMG-W003": 400,
    "OMG-W004": 429,
    "OMG-W005": 402,
    "OMG-W006": 500,
    "OMG-W011": 503,
    "OMG-C003": 400,
    "OMG-C004": 409,
    "OMG-C005": 410,
    "OMG-C006": 403,
    "OMG-M003": 504,
    "OMG-M004": 409,
    "OMG-M005": 404,
    "OMG-M009": 404,
    "OMG-P001": 400,
    "OMG-P003": 504,
    "OMG-P005": 400,
    "OMG-P011": 403,
    "OMG-G002": 404,
    "OMG-G003": 405,
    "OMG-G004": 413,
    "OMG-G005": 408,
    "OMG-G006": 403,
    "OMG-G007": 429,
    "OMG-G008": 503,
    "OMG-G009": 415,
    "OMG-G010": 422,
    "OMG-G011": 500,
    "OMG-X002": 503,
    "OMG-X003": 500,
}
"""Codes whose status is not that of their letter."""

_BY_LETTER = {
    "F": 500,  # a flow that does not stand is a fault of what is installed
    "L": 400,
    "I": 400,
    "R": 500,
    "S": 503,
    "T": 401,
    "W": 403,
    "C": 500,
    "M": 502,
    "P": 502,
    "G": 400,
    "X": 400,
}

CHALLENGE = 'Bearer realm="omega"'
"""What a caller without a good passport is told to send (RFC 6750, 3)."""

RESOURCE = "/.well-known/oauth-protected-resource"
"""Where it is said which authorization server counts here (RFC 9728)."""


def status_of(code: str) -> int:
    """The HTTP status of an error code; 202 for what waits for somebody or something: nothing has failed. 500 for an unknown code."""
    found = _BY_CODE.get(code)
    if found is not None or code not in CODES:
        return found or 500
    found = _BY_LETTER.get(code[4:5], 500)
    return 400 if found == 502 and CODES[code].fault is Fault.CALLER else found


def problem_of(record: Mapping[str, Any], *, instance: str = "", base: str = "") -> tuple[int, dict[str, Any]]:
    """Status and problem document of an error as `OmegaError.record()` gives it.

    `instance` is the id of the request or execution, `base` scheme and host of the installation's own addresses.
    """
    code = str(record.get("code", ""))
    status = status_of(code)
    document = {
        "type": f"{base}{DOCUMENTATION}#{code.lower()}",
        "title": str(record.get("title", "")),
        "status": status,
        "detail": str(record.get("cause", "")),
        "code": code,
        "advice": str(record.get("advice", "")),
        "whose": str(record.get("fault", "")),
    }
    if status < 500 and record.get("details"):
        document["details"] = dict(record["details"])
    if instance:
        document["instance"] = instance
    return status, document


def headers_of(record: Mapping[str, Any], status: int, *, base: str = "") -> list[tuple[bytes, bytes]]:
    """The headers that belong to a refusal: how to prove who one is, which methods there are, or when to come back."""
    if status == 401:
        where = f', resource_metadata="{base}{RESOURCE}"' if base else ""
        return [(b"www-authenticate", f"{CHALLENGE}{where}".encode("latin-1", "replace"))]
    given = record.get("details")
    details: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if status == 405:
        return [(b"allow", ", ".join(details.get("allow", ())).encode())]
    if status in (429, 503):
        wait = details.get("retry_after_s", RETRY_AFTER_S)
        seconds = max(1, round(wait)) if isinstance(wait, (int, float)) else RETRY_AFTER_S
        return [(b"retry-after", b"%d" % seconds)]
    return []


def problem(error: OmegaError, *, instance: str = "", base: str = "") -> tuple[int, dict[str, Any], list[tuple[bytes, bytes]]]:
    """Status, problem document and headers of `error`."""
    record = error.record()
    status, document = problem_of(record, instance=instance, base=base)
    return status, document, headers_of(record, status, base=base)
