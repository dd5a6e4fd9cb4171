"""Watching a stream from the program that embeds Omega, on a real folder and a real clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omega import stream
from omega.host.embedded import Omega


@stream(reduce="text")
async def letters(word: str) -> AsyncIterator[str]:
    for letter in word:
        yield letter


@pytest.mark.promise("FLOW-66")
def test_a_program_sees_the_parts_of_its_run(tmp_path: Path) -> None:
    async def whole() -> tuple[list[str], object]:
        async with Omega.open(tmp_path / "home") as omega, omega.watch("run-1", buffer=2) as parts:
            running = asyncio.create_task(omega.run(letters, "parts", execution="run-1"))
            seen = [part.value async for part in parts]
            return seen, (await running).value

    seen, value = asyncio.run(whole())
    assert seen == list("parts") and value == "parts"
