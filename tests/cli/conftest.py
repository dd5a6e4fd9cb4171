"""A data folder for each test of the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.program import STARTED


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An OMEGA_HOME of its own that nothing has used yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("OMEGA_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """What a test started ends with it, also when it fails half-way."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(autouse=True)
def _forget_targets(tmp_path: Path) -> Iterator[None]:
    """Flow files of a test are loaded anew by the next, which may have another of the same name."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
