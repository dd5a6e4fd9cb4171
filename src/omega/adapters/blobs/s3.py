"""Blobs in a bucket of S3, or of anything that speaks it, by `obstore` (the extra `s3`).

Credentials and region come from where AWS clients look for them (environment, web identity, instance role); none is read or kept here. A
blob is durable when the service says that it has it. A get blocks its caller, who reads a past; puts and deletes do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from omega.adapters.blobs.addresses import MAX_BLOB, check_size, checked, is_address, missing
from omega.kernel.errors import IntegrityError, StorageError

CONNECT_S = 5
"""Longest wait for a connection, in seconds."""

CALL_S = 30
"""Longest that one try may take, in seconds."""

RETRIES = 3
"""How often a call is tried again, with back-off in between. Every call here may be repeated."""

RETRY_S = 60
"""Longest that all tries of a call may take, in seconds."""


class S3Blobs:
    """Implements `omega.kernel.ports.Blobs`. Open it with `S3Blobs.open`."""

    def __init__(self, store: Any, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    @classmethod
    def open(cls, bucket: str, prefix: str = "", *, endpoint: str = "") -> S3Blobs:
        """The blobs in `bucket` under `prefix`. Raises StorageError (OMG-S002) when the extra is missing or the bucket cannot be used."""
        try:
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError as error:
            raise StorageError("OMG-S002", "blobs in S3 need the extra s3", advice="install omega-platform[s3]") from error
        options: dict[str, Any] = {"connect_timeout": f"{CONNECT_S}s", "timeout": f"{CALL_S}s"}
        where: dict[str, Any] = {}
        if endpoint:
            where["endpoint"] = endpoint
            options["allow_http"] = endpoint.startswith("http://")
        try:
            store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options=options,  # type: ignore[arg-type]
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
                **where,
            )
            blobs = cls(store, bucket)
            next(blobs._pages(), None)
        except BaseError as error:
            raise _unusable(bucket, type(error).__name__) from error
        except StorageError as error:
            raise _unusable(bucket, error.cause) from error
        return blobs

    async def put(self, address: str, body: bytes) -> None:
        """See `kernel.ports.Blobs.put`."""
        import obstore
        from obstore.exceptions import BaseError

        checked(address)
        check_size(body)
        try:
            await obstore.put_async(self._store, address, body, use_multipart=False)
        except BaseError as error:
            raise self._failed(error) from error

    def get(self, address: str) -> bytes:
        """See `kernel.ports.Blobs.get`."""
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            found = obstore.get(self._store, checked(address))
            if found.meta["size"] > MAX_BLOB:
                raise IntegrityError("OMG-S005", f"the blob {address[:12]}... is larger than any that was put here")
            return found.bytes().to_bytes()
        except (NotFoundError, FileNotFoundError) as error:
            raise missing(address) from error
        except BaseError as error:
            raise self._failed(error) from error

    async def delete(self, address: str) -> None:
        """See `kernel.ports.Blobs.delete`."""
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            await obstore.delete_async(self._store, checked(address))
        except (NotFoundError, FileNotFoundError):
            return
        except BaseError as error:
            raise self._failed(error) from error

    def held(self) -> Iterator[tuple[str, int]]:
        """See `kernel.ports.Blobs.held`; other objects in the bucket are passed over."""
        for page in self._pages():
            for each in page:
                address = str(each["path"]).rpartition("/")[2]
                if is_address(address):
                    yield address, int(each["last_modified"].timestamp() * 1_000_000)

    def _pages(self) -> Iterator[Any]:
        import obstore
        from obstore.exceptions import BaseError

        try:
            yield from obstore.list(self._store)
        except (BaseError, FileNotFoundError, PermissionError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StorageError:
        """By its kind alone: a service's own words may hold more than belongs in an error."""
        return StorageError("OMG-S004", f"the bucket {self._bucket} failed: {type(error).__name__}")


def _unusable(bucket: str, why: str) -> StorageError:
    return StorageError("OMG-S002", f"the bucket {bucket} cannot be used: {why}", advice="check its name, region and credentials")
