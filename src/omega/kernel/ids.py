"""Identifiers: UUIDv7 (RFC 9562) with a type prefix, so that a reader sees what an id names and ids sort by time of birth.

    exe_01932f6e5b3a7cc09d1f2a4b5c6d7e8f

Pure: the caller brings time and randomness from its ports.
"""

from __future__ import annotations

import re
from hashlib import sha256

EXECUTION = "exe"
TENANT = "ten"
PASSPORT = "pas"
LETTER = "let"

_SHAPE = re.compile(r"[a-z]{3}_[0-9a-f]{32}")
_CHOSEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_id(prefix: str, *, now_ms: int, entropy: bytes) -> str:
    """An id of type `prefix` born at `now_ms` (Unix milliseconds) from 10 bytes of `entropy`."""
    value = (now_ms & (1 << 48) - 1) << 80 | int.from_bytes(entropy[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # RFC 9562 variant
    return f"{prefix}_{value:032x}"


def is_id(text: str) -> bool:
    """Whether `text` has the shape that `new_id` gives."""
    return _SHAPE.fullmatch(text) is not None


def is_chosen_id(text: str) -> bool:
    """Whether a person may choose `text` as the id of an execution: 1 to 64 letters, digits, dots, dashes, underscores."""
    return _CHOSEN.fullmatch(text) is not None


def span_of(trace: str, execution: str, step: str) -> str:
    """The W3C parent id (16 hex digits) of a step: the same in every attempt, so that a repeated call is the same span."""
    return sha256(f"{trace} {execution} {step}".encode()).hexdigest()[:16]
