"""Blob stores: a folder, or a bucket of anything that speaks S3. Both implement `omega.kernel.ports.Blobs`.

    file:///var/lib/omega/blobs                             a folder, made when it is missing
    s3://bucket/prefix                                      credentials and region as the AWS SDK finds them
    s3://bucket/prefix?endpoint=https://minio.example       another service that speaks S3

Both keep sealed bytes under opaque addresses and know nothing else.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from omega.kernel.errors import InputError
from omega.kernel.ports import Blobs

ADVICE = "write file:///FOLDER or s3://BUCKET/PREFIX"


def open_blobs(address: str) -> Blobs:
    """The blob store at `address`.

    Raises InputError (OMG-X001) for an address that names none, StorageError (OMG-S002) when it cannot be used.
    """
    parts = urlsplit(address)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        from omega.adapters.blobs.folder import FolderBlobs

        return FolderBlobs.open(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc and parts.username is None:
        from omega.adapters.blobs.s3 import S3Blobs

        endpoint = parse_qs(parts.query).get("endpoint", [""])[0]
        return S3Blobs.open(parts.netloc, parts.path.strip("/"), endpoint=endpoint)
    shown = f"{parts.scheme}://..." if parts.scheme else address[:40]
    raise InputError("OMG-X001", f"{shown} is no blob store", advice=ADVICE)


__all__ = ["open_blobs"]
