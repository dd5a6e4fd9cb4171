"""Large values through the host: where OMEGA_BLOBS says, written by the engine, read by whoever looks later."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from omega import InputError, flow
from omega.host.account import account
from omega.host.embedded import Omega
from omega.host.proof import prove
from omega.host.reading import Archive

NOISE = os.urandom(60_000).hex()


@flow
def large(seed: str) -> str:
    return seed + NOISE


@pytest.mark.promise("STORE-03")
def test_where_the_setting_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = tmp_path / "blobs"
    monkeypatch.setenv("OMEGA_BLOBS", f"file://{blobs}")

    async def run() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            assert (await omega.run(large, "a", execution="run")).value == "a" + NOISE

    asyncio.run(run())
    files = [path for path in blobs.rglob("*") if path.is_file()]
    assert len(files) == 1 and NOISE[:64].encode() not in files[0].read_bytes()
    with Archive.open(tmp_path / "home") as archive:
        assert account(archive, "run", values=True)["value"] == "a" + NOISE
        [proof] = prove(archive)
        assert proof.sound and proof.values >= 3
        files[0].write_bytes(b"something else")
        [proof] = prove(archive)
        assert not proof.sound


def test_a_setting_that_names_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_BLOBS", "somewhere")

    async def run() -> None:
        async with Omega.open(tmp_path / "home"):
            pass

    with pytest.raises(InputError):
        asyncio.run(run())
