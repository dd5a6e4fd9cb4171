"""Opening a sealed root: the private half lies in a file that OMEGA_UNSEAL names, on another medium than the key store.

What is gained: whoever copies the data folder, keys and all (a backup, a lost disk), holds a root that neither today's nor a quantum
computer opens without that file.
"""

from __future__ import annotations

import os
from pathlib import Path

from omega.kernel.errors import StorageError
from omega.trust import hybrid

UNSEAL = "OMEGA_UNSEAL"
"""The variable that names the file with the private half."""

MAX_FILE = 4096
PURPOSE = b"omega seal root 1"


def unsealed(sealed: bytes) -> bytes:
    """The root in `sealed`. Raises StorageError (OMG-T003) without the file, IntegrityError (OMG-T004) when it is not the right one."""
    path = os.environ.get(UNSEAL, "")
    if not path:
        raise StorageError("OMG-T003", "the root is sealed", advice=f"set {UNSEAL} to the file with the private half")
    return hybrid.Opening.parse(read_opening(Path(path))).opened(sealed, PURPOSE)


def read_opening(path: Path) -> bytes:
    """What the file of a private half holds. Raises StorageError (OMG-T003) when it cannot be read, or others could read it."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & 0o077 or found.st_uid != os.geteuid():
                raise StorageError("OMG-T003", f"{path} is open to others", advice="chmod 600 it; who could read it may have done so")
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise StorageError("OMG-T003", f"{path} cannot be read: {(error.strerror or 'unknown').lower()}") from error
