"""Where the gateway of a data folder answers, for programs of the same person on the same machine that look for it.

`omega up` notes its address in a file of the folder while it listens; `omega mcp serve`, which clients start without knowing any of its
options, reads it there. Passports are shown at that address, so it must be nobody else's: the file names its process too, and counts for as
long as that one lives and is of the same user. It is left behind by a process that is killed, and written over by the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omega.kernel.errors import StorageError

FILE = "gateway.url"
MAX_URL = 2_048
_MODE = 0o600


@contextmanager
def noted(folder: Path, url: str) -> Iterator[None]:
    """Note that the gateway of `folder` answers at `url`, for as long as this is open. Raises StorageError (OMG-S004)."""
    path, fresh = folder / FILE, folder / f"{FILE}.{os.getpid()}"
    try:
        fresh.write_text(f"{os.getpid()} {url}", encoding="ascii")
        fresh.chmod(_MODE)
        fresh.replace(path)  # whole or not at all: a reader sees the old address or the new one
    except OSError as error:
        raise StorageError("OMG-S004", f"{path} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    try:
        yield
    finally:
        if known(folder) == url:  # several gateways of one shared installation have one folder: the last one that began is noted
            with suppress(OSError):
                path.unlink()


def known(folder: Path) -> str:
    """Where the gateway of `folder` said that it answers; empty when none did, or its process has gone."""
    try:
        with (folder / FILE).open(encoding="ascii") as file:
            pid, _, url = file.read(MAX_URL).strip().partition(" ")
        if not url.startswith(("http://", "https://")) or not pid.isdigit() or not int(pid):
            return ""
        os.kill(int(pid), 0)  # a look, no signal: it fails for a process that has gone, and for one of another user
    except (OSError, OverflowError, UnicodeDecodeError):
        return ""
    return url


def named(url: str) -> str:
    """`url` with `localhost` in the place of a loopback address: browsers bind passkeys to names."""
    scheme, _, rest = url.partition("://")
    for address in ("127.0.0.1", "[::1]"):
        if rest == address or rest.startswith((f"{address}:", f"{address}/")):
            return f"{scheme}://localhost{rest.removeprefix(address)}"
    return url
