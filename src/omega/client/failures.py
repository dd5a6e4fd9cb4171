"""What a server says went wrong, as the same errors that an embedded Omega raises; and what went wrong on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from omega.kernel.errors import CODES, OmegaError, UpstreamError, from_record

UNREACHABLE: Final = "OMG-X010"
"""The installation cannot be reached, or did not answer as one."""

_BY_LETTER: Final = {
    "F": "definition",
    "L": "definition",
    "I": "input",
    "R": "flow",
    "S": "storage",
    "T": "denied",
    "W": "denied",
    "C": "integrity",
    "M": "upstream",
    "P": "upstream",
    "G": "input",
    "X": "input",
}

_BY_CODE: Final = {
    "OMG-R006": "suspended",
    "OMG-R010": "input",
    "OMG-R011": "suspended",
    "OMG-R018": "suspended",
    "OMG-R020": "suspended",
    "OMG-R021": "suspended",
    "OMG-R042": "suspended",
    "OMG-S005": "integrity",
    "OMG-T003": "storage",
    "OMG-T004": "integrity",
    "OMG-T005": "upstream",
    "OMG-T006": "upstream",
    "OMG-W003": "input",
    "OMG-C003": "input",
    "OMG-C004": "denied",
    "OMG-M005": "input",
    "OMG-P001": "input",
    "OMG-P005": "input",
    "OMG-G006": "denied",
    "OMG-G007": "denied",
    "OMG-G008": "storage",
}


def family_of(code: str) -> str:
    """The family of errors that a code belongs to: problem details do not say it."""
    return _BY_CODE.get(code) or _BY_LETTER.get(code[4:5], "flow")


def of_problem(status: int, document: Any) -> OmegaError:
    """The error of an answer with a status of 400 and more. An answer without a code of ours came from something in between."""
    code = document.get("code") if isinstance(document, Mapping) else None
    if not isinstance(code, str) or code not in CODES:
        return unreachable(f"answered with status {status} and no word of why", status=status)
    record = {
        "family": family_of(code),
        "code": code,
        "cause": str(document.get("detail", "")),
        "advice": str(document.get("advice", "")),
        "details": dict(document["details"]) if isinstance(document.get("details"), Mapping) else {},
    }
    return from_record(record)


def unreachable(what: str, **details: Any) -> OmegaError:
    """The installation could not be reached, or something else answered. `what` never holds the address, which may hold a secret."""
    return UpstreamError(UNREACHABLE, f"the installation {what}", details=details)
