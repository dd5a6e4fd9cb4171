"""Blob stores: the suite on a folder and on a real server that speaks S3; and values that lie in them, through the engine."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omega import Context, InputError, IntegrityError, StorageError, flow
from omega.adapters.blobs import open_blobs
from omega.adapters.blobs.folder import FolderBlobs
from omega.adapters.blobs.s3 import S3Blobs
from omega.host.clock import SystemClock
from omega.kernel.ports import Blobs
from omega.runtime.payloads import REFERENCE, addresses, sweep
from omega.testing import Lab
from omega.testing.conformance import BlobsConformance
from omega.testing.lab import TENANT
from omega.trust.sealing import Keyring

NOISE = os.urandom(40_000).hex()
"""80 kB that do not deflate below the limit of a blob's size by much."""


class TestFolder(BlobsConformance):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return FolderBlobs.open(tmp_path / "blobs")

    def test_files_are_the_users_alone_and_no_draft_stays(self, blobs: FolderBlobs) -> None:
        asyncio.run(blobs.put("0a" * 32, b"x"))
        files = [path for path in blobs.root.rglob("*") if path.is_file()]
        assert len(files) == 1 and files[0].stat().st_mode & 0o077 == 0 and files[0].parent.stat().st_mode & 0o077 == 0

    def test_a_disk_that_fails_is_a_storage_error(self, blobs: FolderBlobs) -> None:
        (blobs.root / "0a").write_text("in the way")
        with pytest.raises(StorageError) as caught:
            asyncio.run(blobs.put("0a" * 32, b"x"))
        assert caught.value.code == "OMG-S004"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = pytest.importorskip("moto.server", reason="moto is a development dependency")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket of the server, and credentials for it in the environment."""
    boto3 = pytest.importorskip("boto3")
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    name = f"omega-{os.urandom(6).hex()}"
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="somebody/elses", Body=b"not ours")
    return name


class TestS3(BlobsConformance):
    @pytest.fixture
    def blobs(self, bucket: str, s3_server: str) -> Blobs:
        return S3Blobs.open(bucket, "omega/blobs", endpoint=s3_server)

    def test_a_bucket_that_is_not_there_is_refused_when_it_is_opened(self, bucket: str, s3_server: str) -> None:
        with pytest.raises(StorageError) as caught:
            S3Blobs.open("no-such-bucket-here", endpoint=s3_server)
        assert caught.value.code == "OMG-S002"

    def test_by_its_address(self, bucket: str, s3_server: str) -> None:
        blobs = open_blobs(f"s3://{bucket}/there?endpoint={s3_server}")
        asyncio.run(blobs.put("0a" * 32, b"x"))
        assert blobs.get("0a" * 32) == b"x"


def test_a_server_that_refuses_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.adapters.blobs.s3.RETRIES", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2-secret")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StorageError) as caught:
        open_blobs(f"s3://bucket/x?endpoint=http://127.0.0.1:{port}")
    assert caught.value.code == "OMG-S002" and "hunter2" not in str(caught.value.record())


@pytest.mark.parametrize("address", ["", "blobs", "/tmp/x", "ftp://x/y", "file://host/x", "s3://", "s3://key:secret@bucket/x"])
def test_an_address_that_names_no_blob_store_is_refused(address: str) -> None:
    with pytest.raises(InputError) as caught:
        open_blobs(address)
    assert "secret" not in str(caught.value)


# -- through the engine


@flow
def large(seed: str) -> str:
    return seed + NOISE * 3


@flow
async def twice(ctx: Context, seed: str) -> int:
    first = await ctx.call(large, seed)
    second = await ctx.call(large, seed + "x")
    return len(first) + len(second)


def lab(tmp_path: Path, **facts: Any) -> Lab:
    made = Lab(clock=SystemClock(), **facts)
    made.world.blobs = FolderBlobs.open(tmp_path / "blobs")
    return made


@pytest.mark.promise("STORE-03")
def test_a_large_value_lies_once_and_is_read_again(tmp_path: Path) -> None:
    async def run() -> None:
        world = lab(tmp_path)
        for name in ("one", "two"):
            assert (await world.run(large, "a", execution=name)).status == "done"
        held = list(world.world.blobs.held())
        assert len(held) == 1, "equal values of one tenant are one blob"
        rows = world.store.rows("one")
        assert sum(len(row.payload or b"") for row in rows) < 4_000 and addresses(rows) == {held[0][0]}
        assert any((row.payload or b"")[:1] == REFERENCE for row in rows)
        again = lab(tmp_path, start=world.store.snapshot(), seed="next")
        assert (await again.engine.outcome("two")).value == "a" + NOISE * 3
        assert (await again.replay("one", large)).identical and again.verify().sound

    asyncio.run(run())


@pytest.mark.promise("STORE-03")
def test_no_plain_byte_leaves_and_no_other_tenant_meets_it(tmp_path: Path) -> None:
    ring = Keyring(bytes(32), entropy=os.urandom)
    plain = NOISE.encode()
    ours, theirs = ring.vault("ours"), ring.vault("theirs")
    one, same, other = ours.seal(plain), ours.seal(plain), theirs.seal(plain)
    assert one == same and other.address != one.address and other.body != one.body
    assert Keyring(bytes(31) + b"\x01", entropy=os.urandom).vault("ours").seal(plain).address != one.address
    assert plain[:16] not in one.body and ours.open(one.key, one.body) == plain
    for key, body in ((other.key, one.body), (one.key, other.body), (one.key, one.body[:-1] + b"\x00"), (one.key, b"")):
        with pytest.raises(IntegrityError):
            ours.open(key, body)


def test_what_stays_small_when_packed_goes_into_no_blob(tmp_path: Path) -> None:
    async def run() -> None:
        world = lab(tmp_path)
        await world.run(twice, "a", execution="run")
        assert len(list(world.world.blobs.held())) == 1, "the second value is a difference from the first"

    asyncio.run(run())


@pytest.mark.promise("STORE-04")
def test_what_nobody_refers_to_is_swept_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        world = lab(tmp_path)
        blobs = world.world.blobs
        await world.run(large, "a", execution="one")
        await blobs.put("ab" * 32, b"orphan")
        assert await sweep(world.store, blobs, before_us=0) == 0
        assert await sweep(world.store, blobs, before_us=1 << 60) == 1
        assert (await world.engine.outcome("one")).status == "done"
        assert await world.store.compact(TENANT, 1 << 60, 10) == 1
        with pytest.raises(IntegrityError):
            await world.engine.outcome("one")
        assert await sweep(world.store, blobs, before_us=1 << 60) == 1 and list(blobs.held()) == []

    asyncio.run(run())


def test_a_blob_that_is_lost_or_changed_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        world = lab(tmp_path)
        await world.run(large, "a", execution="one")
        [path] = [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()]
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IntegrityError) as caught:
            await lab(tmp_path, start=world.store.snapshot()).engine.outcome("one")
        assert caught.value.code == "OMG-T004"
        path.unlink()
        with pytest.raises(IntegrityError) as caught:
            await lab(tmp_path, start=world.store.snapshot()).engine.outcome("one")
        assert caught.value.code == "OMG-S005"
        with pytest.raises(StorageError):
            await Lab(start=world.store.snapshot(), clock=world.clock).engine.outcome("one")

    asyncio.run(run())


def test_a_recalled_blob_is_fetched_beside_the_event_loop(tmp_path: Path) -> None:
    """A flow that is resumed meets its own past without holding up the others: the fetch runs in a thread."""

    async def run() -> None:
        world = lab(tmp_path)
        whole = large | stop
        assert (await world.run(whole, "a", execution="one")).status == "waiting"
        again = lab(tmp_path, start=world.store.snapshot())
        threads: list[str] = []

        class Watched(FolderBlobs):
            def get(self, address: str) -> bytes:
                threads.append(threading.current_thread().name)
                return super().get(address)

        again.world.blobs = Watched(tmp_path / "blobs")
        assert (await again.resume("one", whole)).status == "waiting"
        assert threads and "MainThread" not in threads

    asyncio.run(run())


@flow
async def stop(ctx: Context, text: str) -> int:
    return len(text) + len(await ctx.signal("go"))


def test_a_blob_store_that_fails_loses_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        world = lab(tmp_path)

        class Failing(FolderBlobs):
            async def put(self, address: str, body: bytes) -> None:
                raise StorageError("OMG-S004", "the bucket is gone")

        healthy, world.world.blobs = world.world.blobs, Failing(tmp_path)
        stands = await world.run(large, "a", execution="one")
        assert stands.error is not None and stands.error["code"] == "OMG-S004" and stands.status == "running"
        await world.store.flush()
        world.world.blobs = healthy
        assert (await world.resume("one", large)).status == "done"

    asyncio.run(run())
