"""What every place checks before it touches anything."""

from __future__ import annotations

import re

from omega.kernel.errors import InputError, IntegrityError

MAX_COPY = 64 << 20
"""Largest copy in bytes: a bundle of 256 leaves is at most 16 MiB."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,12}")


def checked(name: str) -> str:
    """`name`, if it can name a copy: no step out of its folder, no hidden file. Raises InputError (OMG-I001)."""
    if _NAME.fullmatch(name) is None or ".." in name:
        raise InputError("OMG-I001", f"{name[:80]!r} cannot name a copy")
    return name


def missing(name: str) -> InputError:
    """The error of a copy that is not there."""
    return InputError("OMG-I003", f"there is no copy {name[:80]}", advice="see what the archive holds: omega log archive --check")


def changed(name: str) -> IntegrityError:
    """The error of a copy that is not what was put there."""
    return IntegrityError("OMG-C007", f"the copy {name[:80]} is not what was put there")


def shorter(name: str) -> IntegrityError:
    """The error of a time that is to be shortened."""
    return IntegrityError("OMG-C007", f"the copy {name[:80]} is kept for longer than that already")
