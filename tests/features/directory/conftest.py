"""An installation with tenants, for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hosted import Installation

Run = Callable[[Callable[[Installation], Awaitable[Any]]], Any]


@pytest.fixture
def installed(tmp_path: Path) -> Run:
    """Runs an async function with a new installation; called again, with the same folder opened anew."""

    def run(work: Callable[[Installation], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            async with Installation.open(tmp_path / "home") as installation:
                return await work(installation)

        return asyncio.run(whole())

    return run
