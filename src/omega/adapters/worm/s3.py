"""Copies in a bucket with S3 object lock in compliance mode, by `boto3` (the extra `keys`).

In compliance mode nobody deletes a version or shortens its time, the account's owner included, as AWS documents it. Not every service that
speaks S3 holds to that: some accept a shorter time without a word. So `check` tries it, with a copy of its own, and refuses the place when
it gives way. And every call here looks at the time that a copy has before it sends another one.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from omega.adapters.worm.names import MAX_COPY, changed, checked, missing, shorter
from omega.kernel.errors import InputError, IntegrityError, StorageError

DIGEST = "sha256"
"""The metadata of an object that says what was put there."""

PROBE = "probe"
PROBE_S, SHORTER_S = 86_400, 3_600
"""How long the copy of a check is kept at first, and what the check tries to shorten that to, in seconds."""

CALL_S = 30
RETRIES = 3


class S3Worm:
    """Implements `omega.adapters.worm.Worm`. Open it with `S3Worm.open`."""

    def __init__(self, client: Any, bucket: str, prefix: str, now_s: Any = None) -> None:
        self._client, self._bucket, self._prefix = client, bucket, f"{prefix}/" if prefix else ""
        self._now_s = now_s or (lambda: int(datetime.now(UTC).timestamp()))

    @classmethod
    def open(cls, bucket: str, prefix: str = "", *, endpoint: str = "") -> S3Worm:
        """The copies in `bucket` under `prefix`. Raises StorageError (OMG-S002) without the extra."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise StorageError("OMG-S002", "archives in S3 take boto3", advice="install omega-platform[keys]") from error
        config = Config(connect_timeout=CALL_S, read_timeout=CALL_S, retries={"max_attempts": RETRIES, "mode": "standard"})
        return cls(boto3.client("s3", endpoint_url=endpoint or None, config=config), bucket, prefix)

    def check(self) -> None:
        """See `Worm.check`: versioning and lock are on, and a time that was given is neither shortened nor taken back."""
        versioning = self._call("get_bucket_versioning").get("Status")
        lock = self._call("get_object_lock_configuration").get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        if versioning != "Enabled" or lock != "Enabled":
            raise IntegrityError("OMG-C007", f"the bucket {self._bucket} has no object lock", advice="make the bucket with object lock")
        now_s = self._now_s()
        self.put(PROBE, b"omega checks this bucket", now_s + PROBE_S)
        kept_s = self.until(PROBE)
        if self._gives_way(now_s + SHORTER_S):
            self._retain(PROBE, kept_s)
            raise IntegrityError("OMG-C007", f"the bucket {self._bucket} lets the time of a locked copy be shortened")

    def put(self, name: str, body: bytes, until_s: int) -> None:
        """See `Worm.put`."""
        if len(body) > MAX_COPY:
            raise InputError("OMG-I001", f"a copy of {len(body):,} bytes is over the limit of {MAX_COPY:,}")
        try:
            found = self.get(name)
        except InputError as error:
            if error.code != "OMG-I003":
                raise
            self._call(
                "put_object",
                Key=self._key(name),
                Body=body,
                Metadata={DIGEST: hashlib.sha256(body).hexdigest()},
                ChecksumAlgorithm="SHA256",
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=datetime.fromtimestamp(until_s, UTC),
            )
            return
        if found != body:
            raise changed(name)
        if until_s > self.until(name):
            self.extend(name, until_s)

    def get(self, name: str) -> bytes:
        """See `Worm.get`."""
        found = self._call("get_object", missing_name=name, Key=self._key(name))
        body: bytes = found["Body"].read(MAX_COPY + 1)
        if len(body) > MAX_COPY or hashlib.sha256(body).hexdigest() != found.get("Metadata", {}).get(DIGEST):
            raise changed(name)
        return body

    def until(self, name: str) -> int:
        """See `Worm.until`."""
        found = self._call("head_object", missing_name=name, Key=self._key(name))
        if found.get("ObjectLockMode") != "COMPLIANCE" or "ObjectLockRetainUntilDate" not in found:
            raise IntegrityError("OMG-C007", f"the copy {name[:80]} is not locked")
        return int(found["ObjectLockRetainUntilDate"].timestamp())

    def extend(self, name: str, until_s: int) -> None:
        """See `Worm.extend`."""
        if until_s < self.until(name):
            raise shorter(name)
        self._retain(name, until_s)

    def _gives_way(self, until_s: int) -> bool:
        """Whether the service shortens the time of the probe when it is told to."""
        try:
            self._retain(PROBE, until_s)
        except StorageError:
            return False
        return self.until(PROBE) <= until_s

    def _retain(self, name: str, until_s: int) -> None:
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.fromtimestamp(until_s, UTC)}
        self._call("put_object_retention", Key=self._key(name), Retention=retention)

    def _key(self, name: str) -> str:
        return self._prefix + checked(name)

    def _call(self, operation: str, *, missing_name: str = "", **given: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **given)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if missing_name and code in ("NoSuchKey", "404", "NotFound"):
                raise missing(missing_name) from error
            if code == "ObjectLockConfigurationNotFoundError":
                return {}
            raise StorageError("OMG-S004", f"the bucket {self._bucket} refused {operation}: {code}") from error
        except BotoCoreError as error:
            raise StorageError("OMG-S004", f"the bucket {self._bucket} cannot be reached: {type(error).__name__}") from error
