"""Data folders as earlier releases wrote them open, read, verify, replay and go on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from golden import make

from omega.adapters.sqlite import SqliteReader
from omega.host.embedded import Omega
from omega.kernel.journal import FORMAT

FOLDERS = sorted(path.name for path in make.HERE.glob("format*"))


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(name: str, tmp_path: Path) -> Path:
    return make.copy_golden(name, tmp_path / "home")


def test_there_is_a_folder_of_the_present_format() -> None:
    assert f"format{FORMAT}" in FOLDERS


@pytest.mark.promise("RUN-17")
def test_everything_reads_as_it_was_written(home: Path) -> None:
    assert make.expectations(home) == json.loads((home / make.EXPECTED).read_text())
    with SqliteReader.open(home) as reader:
        assert reader.damage() == []
        assert reader.installation == make.INSTALLATION


@pytest.mark.promise("RUN-17")
def test_each_execution_replays(home: Path) -> None:
    async def main() -> None:
        async with Omega.open(home) as omega:
            for execution, flow, _ in make.runs():
                report = await omega.replay(execution, flow)
                assert report.divergence is None, execution

    asyncio.run(main())


@pytest.mark.promise("RUN-17")
def test_the_log_goes_on_where_it_stood(home: Path) -> None:
    expected = json.loads((home / make.EXPECTED).read_text())["logs"]["local"]

    async def main() -> None:
        async with Omega.open(home) as omega:
            outcome = await omega.run(make.runs()[0][1], "goes on")
            assert (outcome.status, outcome.value) == ("done", 6)
            assert len(omega.store.leaves("local")) == expected["size"] + 2
            notes = dict(omega.store.checkpoints("local"))
            assert notes[expected["size"]].decode() == expected["checkpoint"]

    asyncio.run(main())
