"""Places where copies are written once: a folder, and a bucket with object lock. One set of promises for both."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from omega.adapters.worm import Worm, open_worm
from omega.adapters.worm.folder import NOTE, FolderWorm
from omega.adapters.worm.s3 import S3Worm
from omega.kernel.errors import InputError, IntegrityError

BUCKET = "archive"
LATER = int(time.time()) + 30 * 86_400


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Worm]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client = boto3.client("s3")
        place = {"LocationConstraint": "eu-central-1"}
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True, CreateBucketConfiguration=place)
        client.create_bucket(Bucket="open", CreateBucketConfiguration=place)
        yield S3Worm(client, BUCKET, "log")


@pytest.fixture(params=["folder", "s3"])
def worm(request: pytest.FixtureRequest, tmp_path: Path) -> Worm:
    if request.param == "folder":
        return FolderWorm.open(tmp_path / "kept")
    found: S3Worm = request.getfixturevalue("bucket")
    return found


@pytest.mark.promise("LOG-37")
def test_what_was_put_stays_and_its_time_only_grows(worm: Worm) -> None:
    worm.put("tile/0/000", b"one", LATER)
    worm.put("tile/0/000", b"one", LATER - 5)
    assert (worm.get("tile/0/000"), worm.until("tile/0/000")) == (b"one", LATER)
    worm.put("tile/0/000", b"one", LATER + 5)
    assert worm.until("tile/0/000") == LATER + 5
    worm.extend("tile/0/000", LATER + 10)
    for refused in (
        lambda: worm.put("tile/0/000", b"two", LATER + 99),
        lambda: worm.extend("tile/0/000", LATER),
    ):
        with pytest.raises(IntegrityError) as caught:
            refused()
        assert caught.value.code == "OMG-C007"
    assert (worm.get("tile/0/000"), worm.until("tile/0/000")) == (b"one", LATER + 10)


def test_what_is_not_there_and_what_is_no_name(worm: Worm) -> None:
    for call in (worm.get, worm.until):
        with pytest.raises(InputError) as caught:
            call("nothing")
        assert caught.value.code == "OMG-I003"
    for name in ("", "../x", "/etc/passwd", ".hidden", "a//b", "a/../b", "x" * 2000, "a b"):
        with pytest.raises(InputError) as caught:
            worm.put(name, b"x", LATER)
        assert caught.value.code == "OMG-I001"


@pytest.mark.promise("LOG-37")
def test_a_copy_in_a_folder_that_was_changed_or_taken_away_is_found(tmp_path: Path) -> None:
    worm = FolderWorm.open(tmp_path)
    worm.put("a/one", b"one", LATER)
    worm.put("two", b"two", LATER)
    worm.check()
    path = tmp_path / "a" / "one"
    assert path.stat().st_mode & 0o222 == 0
    path.chmod(0o600)
    with pytest.raises(IntegrityError):
        worm.check()
    path.write_bytes(b"other")
    path.chmod(0o400)
    with pytest.raises(IntegrityError):
        worm.get("a/one")
    path.unlink()
    with pytest.raises(IntegrityError):
        worm.check()
    os.chmod(tmp_path / f"two{NOTE}", 0o600)
    (tmp_path / f"two{NOTE}").write_text("{}")
    with pytest.raises(IntegrityError):
        worm.until("two")


@pytest.mark.promise("LOG-37")
def test_a_service_that_lets_a_time_be_shortened_is_refused(bucket: S3Worm) -> None:
    """The stand-in for S3 in these tests accepts a shorter time without a word: the very fault that the check is there to find."""
    with pytest.raises(IntegrityError) as caught:
        bucket.check()
    assert caught.value.code == "OMG-C007"
    assert "shortened" in caught.value.cause
    assert bucket.until("probe") > time.time() + 3_600 * 2, "the probe has its first time again"


@pytest.mark.promise("LOG-37")
def test_a_bucket_without_object_lock_is_refused(bucket: S3Worm) -> None:
    with pytest.raises(IntegrityError) as caught:
        S3Worm(boto3.client("s3"), "open", "").check()
    assert "object lock" in caught.value.cause


def test_a_strict_service_passes_the_check(bucket: S3Worm) -> None:
    """The same stand-in with the rule that AWS documents put in front of it: no shorter time in compliance mode."""
    client = boto3.client("s3")

    class Strict:
        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def put_object_retention(self, **given: object) -> object:
            from botocore.exceptions import ClientError

            held = client.head_object(Bucket=given["Bucket"], Key=given["Key"])["ObjectLockRetainUntilDate"]
            if given["Retention"]["RetainUntilDate"] < held:  # type: ignore[index]
                raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObjectRetention")
            return client.put_object_retention(**given)

    S3Worm(Strict(), BUCKET, "log").check()


def test_an_address_names_its_place(tmp_path: Path) -> None:
    assert isinstance(open_worm((tmp_path / "kept").as_uri()), FolderWorm)
    for address in ("", "ftp://x", "s3://", "file://host/x", "s3://user:secret@bucket/x"):
        with pytest.raises(InputError) as caught:
            open_worm(address)
        assert "secret" not in str(caught.value)
