"""The house that is attacked: the one of the gateway's tests, with something in it that nobody else may see."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from attacks.judging import SECRET, Faults
from gateway.conftest import house

__all__ = ["faults", "hidden", "house"]


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
