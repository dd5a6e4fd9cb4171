"""Flows that a Ray cluster imports by name."""

from __future__ import annotations

from omega.kernel.errors import InputError
from omega.kernel.flow import flow


@flow
def cube(number: int) -> int:
    """The third power; 13 is refused."""
    if number == 13:
        raise InputError("OMG-I001", "thirteen is refused")
    return number**3


@flow(effect="read", needs="files:read")
def look(number: int) -> int:
    """Not pure by its own word."""
    return number
