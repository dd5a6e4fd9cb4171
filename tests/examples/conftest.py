"""What the tests of the code-review example share: repositories made on the spot, the programs run as the flow runs them, whole reviews."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.repositories import Repository, new_repository

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "code_review"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository."""
    return new_repository(tmp_path / "repository")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own for private copies."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


Program = Callable[..., dict[str, Any]]


@pytest.fixture
def program(scratch: Path) -> Program:
    """Run one of the example's programs in isolated mode, as the flow does; gives what it printed, with its exit status as `exit`."""

    def run(name: str, *arguments: str, repo: Path, since: str = "", key: str = "key", commit: str = "") -> dict[str, Any]:
        order = {"repo": str(repo), "since": since, "key": key, "commit": commit}
        done = subprocess.run(
            [sys.executable, "-I", str(EXAMPLE / "programs" / name), *arguments],
            input=json.dumps(order).encode(),
            capture_output=True,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "TMPDIR": str(scratch)},
            check=False,
        )
        assert done.stdout, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer | {"exit": done.returncode}

    return run


@dataclass(frozen=True)
class Reviewed:
    """A whole review: how it ended, and the report as data and files."""

    outcome: Any
    out: Path

    @property
    def report(self) -> dict[str, Any]:
        """report.json."""
        loaded: dict[str, Any] = json.loads((self.out / "report.json").read_text("utf-8"))
        return loaded

    def findings(self, analyser: str) -> list[dict[str, Any]]:
        """The findings of one analyser."""
        return [one for one in self.report["findings"] if one["analyser"] == analyser]

    def analyser(self, name: str) -> dict[str, Any]:
        """What the report says of one analyser."""
        return next(one for one in self.report["analysers"] if one["analyser"] == name)


@pytest.fixture
def review(tmp_path: Path, scratch: Path) -> Callable[..., Reviewed]:
    """Run the whole flow durably in a fresh data folder."""

    def run(repo: Path, since: str = "", out: str = "out") -> Reviewed:
        from omega.host.embedded import Omega
        from omega.host.targets import load_target

        async def work() -> Any:
            target = load_target(str(EXAMPLE))
            async with Omega.open(tmp_path / "home") as omega:
                value = {"repo": str(repo), "since": since, "out": str(tmp_path / out)}
                return await omega.run(target.flow, value, target=target.text, servers=target.servers)

        return Reviewed(asyncio.run(work()), tmp_path / out)

    return run
