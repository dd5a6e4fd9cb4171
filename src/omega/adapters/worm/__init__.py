"""Places where a copy is written once and kept for its time: a folder, or a bucket with S3 object lock.

    file:///mnt/archive/omega                               a folder; best on a medium or a mount that the engine cannot change
    s3://bucket/prefix                                      a bucket with object lock; credentials and region as the AWS SDK finds them
    s3://bucket/prefix?endpoint=https://store.example       another service that speaks S3

Both promise the same: what was put stays byte for byte, its time only grows, and `check` proves that of the place itself before anything is
trusted to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from omega.kernel.errors import InputError

ADVICE = "write file:///FOLDER or s3://BUCKET/PREFIX"


class Worm(Protocol):
    """Written once, read many times. Names are paths of letters, digits, `.`, `-`, `_` and `/`; times are Unix seconds."""

    def check(self) -> None:
        """Prove that the place keeps what it is given. Raises IntegrityError (OMG-C007) when it would let it be changed or shortened."""
        ...

    def put(self, name: str, body: bytes, until_s: int) -> None:
        """Keep `body` under `name` until that time; the same again is the same, with the later of both times.

        Raises IntegrityError (OMG-C007) when something else lies there, StorageError (OMG-S004) when the place fails.
        """
        ...

    def get(self, name: str) -> bytes:
        """What lies there. Raises InputError (OMG-I003) when nothing does, IntegrityError (OMG-C007) when it was changed."""
        ...

    def until(self, name: str) -> int:
        """Until when it is kept. Raises InputError (OMG-I003)."""
        ...

    def extend(self, name: str, until_s: int) -> None:
        """Keep it longer. Raises IntegrityError (OMG-C007) for a time that is earlier than the one it has."""
        ...


def open_worm(address: str) -> Worm:
    """The place at `address`. Raises InputError (OMG-X001) for one that names none, StorageError (OMG-S002) when it cannot be used."""
    parts = urlsplit(address)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        from omega.adapters.worm.folder import FolderWorm

        return FolderWorm.open(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc and parts.username is None:
        from omega.adapters.worm.s3 import S3Worm

        return S3Worm.open(parts.netloc, parts.path.strip("/"), endpoint=parse_qs(parts.query).get("endpoint", [""])[0])
    shown = f"{parts.scheme}://..." if parts.scheme else address[:40]
    raise InputError("OMG-X001", f"{shown!r} is no place to keep copies", advice=ADVICE)


__all__ = ["Worm", "open_worm"]
