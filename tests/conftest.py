"""What holds for every test: nobody's own data folder, settings or repository variables leak in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from requirements import BY_ID
from servers.chromium import chromium

NOWHERE = "/dev/null/omega"
"""A data folder that nobody can make: a test that forgets to name its own fails instead of touching the user's."""

SURROUNDINGS = (
    "ANTHROPIC_API_KEY",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "MISTRAL_API_KEY",
    "OMEGA_MODEL",
    "OMEGA_MODEL_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENROUTER_API_KEY",
)
"""Variables by which whoever runs the tests could change what they see."""


def pytest_configure(config: pytest.Config) -> None:
    """Clear the surroundings once, before anything is collected; child processes inherit the cleared ones."""
    for name in SURROUNDINGS:
        os.environ.pop(name, None)
    os.environ["OMEGA_HOME"] = NOWHERE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse marks that name no promise before anything runs; tests/repo/test_requirements.py checks the other direction."""
    for item in items:
        for mark in item.iter_markers("promise"):
            if len(mark.args) != 1 or mark.args[0] not in BY_ID:
                raise pytest.UsageError(f"{item.nodeid}: {mark.args} is no promise of tests/requirements.py")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser for the tests of one file: no longer, because none of them may run an event loop of its own beside it."""
    with chromium() as running:
        yield running
