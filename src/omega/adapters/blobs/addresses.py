"""What every blob store checks before it touches anything."""

from __future__ import annotations

import re

from omega.kernel.errors import FlowError, InputError, IntegrityError
from omega.kernel.journal import MAX_PAYLOAD

MAX_BLOB = MAX_PAYLOAD + (1 << 12)
"""Largest blob in bytes: the largest value of a step, sealed."""

_ADDRESS = re.compile(r"[0-9a-f]{64}")


def checked(address: str) -> str:
    """`address`, if it is one: never a path, never a pattern. Raises InputError (OMG-I001)."""
    if _ADDRESS.fullmatch(address) is None:
        raise InputError("OMG-I001", f"{address[:80]!r} is no address of a blob")
    return address


def is_address(text: str) -> bool:
    """Whether `text` is an address, and so something that was put here."""
    return _ADDRESS.fullmatch(text) is not None


def check_size(body: bytes) -> None:
    """Raises FlowError (OMG-R003) for a blob that no step's value can be."""
    if len(body) > MAX_BLOB:
        raise FlowError("OMG-R003", f"a blob of {len(body):,} bytes is over the limit of {MAX_BLOB:,}")


def missing(address: str) -> IntegrityError:
    """The error of a blob that is not there."""
    return IntegrityError("OMG-S005", f"the blob {address[:12]}... is not in the blob store")
