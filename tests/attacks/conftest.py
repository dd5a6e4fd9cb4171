"""The house that is attacked: the one of the gateway's tests, with something in it that nobody else may see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attacks.judging import SECRET, Faults
from gateway.conftest import opened
from omega.host.embedded import Omega
from omega.host.publishing import PUBLISHED

AGENTS = {"double": {"flow": "double"}, "words": {"flow": "words"}, "hidden": {"flow": "words", "listed": False, "groups": ["kitchen"]}}
"""Agents that the house publishes."""


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A house that publishes agents."""
    home = tmp_path_factory.mktemp("attacked") / "home"
    asyncio.run(_published(home))
    yield from opened(home, drain_s=2.0)


async def _published(home: Path) -> None:
    async with Omega.open(home) as omega:
        for name, body in AGENTS.items():
            await omega.arrange(PUBLISHED, name, body)


@pytest.fixture(scope="session")
def hidden(house: Any) -> str:
    """An execution of the owner that holds the secret."""
    with house.client() as client:
        return str(client.post("/api/v1/flows/words/run", json=SECRET).headers["omega-execution"])


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Faults that are reported while a test runs; there must be none in the end."""
    handler = Faults()
    for name in Faults.NAMES:
        logging.getLogger(name).addHandler(handler)
    yield handler.found
    for name in Faults.NAMES:
        logging.getLogger(name).removeHandler(handler)
    assert not handler.found, handler.found[:5]
