"""Secrets that stand in files: a PIN, a token, the secret half of a role. The file belongs to whoever runs this, alone."""

from __future__ import annotations

import os
from typing import Final

from omega.kernel.errors import StorageError

MAX_SECRET: Final = 8 << 10
"""Longest secret in bytes: a token of a service takes a few thousand at most."""


def read_secret(source: str, what: str, *, mode: int = 0o077) -> str:
    """The text in the file that `source` names (a path, or `file:PATH`), without what surrounds it.

    Raises StorageError (OMG-T003) when it cannot be read, or when others have one of the rights in `mode` on it.
    """
    path = source.removeprefix("file:").removeprefix("//")
    try:
        with open(path, encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & mode or (mode and found.st_uid != os.geteuid()):
                raise StorageError("OMG-T003", f"{path} is open to others", advice=f"chmod 600 it, and change the {what}")
            return file.read(MAX_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError("OMG-T003", f"the {what} in {path} cannot be read") from error
