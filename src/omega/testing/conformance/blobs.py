"""The suite for blob stores: what is put is there, whole, under its address alone, until it is deleted."""

from __future__ import annotations

import asyncio
import time

import pytest

from omega.kernel.errors import FlowError, InputError, IntegrityError
from omega.kernel.journal import MAX_PAYLOAD
from omega.kernel.ports import Blobs

ONE, OTHER, THIRD = "0a" * 32, "0b" * 32, "f0" * 32
_DAY_US = 86_400_000_000


class BlobsConformance:
    """What every blob store promises. Override the fixture `blobs` with an empty store."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        """To be overridden."""
        raise pytest.UsageError("override the fixture blobs")

    @pytest.mark.parametrize("body", [b"", b"\x00", b"sealed" * 50_000, bytes(range(256)) * 5_000], ids=["empty", "zero", "long", "all"])
    def test_what_was_put_is_there(self, blobs: Blobs, body: bytes) -> None:
        asyncio.run(blobs.put(ONE, body))
        assert blobs.get(ONE) == body

    def test_the_largest_value_fits_and_nothing_larger(self, blobs: Blobs) -> None:
        body = b"x" * MAX_PAYLOAD
        asyncio.run(blobs.put(ONE, body))
        assert blobs.get(ONE) == body
        with pytest.raises(FlowError) as caught:
            asyncio.run(blobs.put(OTHER, body + bytes(1 << 16)))
        assert caught.value.code == "OMG-R003"

    def test_what_was_not_put_is_missing(self, blobs: Blobs) -> None:
        asyncio.run(blobs.put(ONE, b"one"))
        with pytest.raises(IntegrityError) as caught:
            blobs.get(OTHER)
        assert caught.value.code == "OMG-S005"

    def test_putting_again_changes_nothing(self, blobs: Blobs) -> None:
        async def both() -> None:
            await asyncio.gather(*(blobs.put(ONE, b"one") for _ in range(8)))

        asyncio.run(both())
        assert blobs.get(ONE) == b"one" and [address for address, _ in blobs.held()] == [ONE]

    def test_what_was_deleted_is_gone_and_the_rest_is_not(self, blobs: Blobs) -> None:
        asyncio.run(blobs.put(ONE, b"one"))
        asyncio.run(blobs.put(OTHER, b"other"))
        asyncio.run(blobs.delete(ONE))
        asyncio.run(blobs.delete(ONE))
        with pytest.raises(IntegrityError):
            blobs.get(ONE)
        assert blobs.get(OTHER) == b"other"
        asyncio.run(blobs.put(ONE, b"one"))
        assert blobs.get(ONE) == b"one"

    def test_all_that_is_held_is_listed_with_its_time(self, blobs: Blobs) -> None:
        assert list(blobs.held()) == []
        for address in (ONE, OTHER, THIRD):
            asyncio.run(blobs.put(address, address.encode()))
        held = dict(blobs.held())
        now = time.time_ns() // 1_000
        assert sorted(held) == [ONE, OTHER, THIRD] and all(abs(now - at_us) < _DAY_US for at_us in held.values())

    @pytest.mark.parametrize(
        "address", ["", "..", "../" * 20 + "etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "/", f"{ONE}\n", "*" * 64]
    )
    def test_what_is_no_address_is_refused(self, blobs: Blobs, address: str) -> None:
        with pytest.raises(InputError):
            asyncio.run(blobs.put(address, b"x"))
        with pytest.raises(InputError):
            blobs.get(address)
        with pytest.raises(InputError):
            asyncio.run(blobs.delete(address))
        assert list(blobs.held()) == []
