"""The README's first half hour, typed word for word in an empty home, with a client that reads what `omega connect` wrote."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_COMMANDS = 5
PORT = 9405


@pytest.fixture(scope="module")
def pictures() -> Iterator[ModuleType]:
    """The program that walks the way and draws what it sees."""
    spec = importlib.util.spec_from_file_location("omega_pictures", ROOT / ".ci/pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.promise("START-01")
def test_it_is_five_commands_at_most_and_the_picture_shows_them(pictures: ModuleType) -> None:
    told = pictures.commands()
    assert 0 < len(told) <= MOST_COMMANDS
    assert all(command.startswith("omega ") for command in told)
    drawn = (ROOT / "docs/assets/first-half-hour.svg").read_text(encoding="utf-8")
    for command in told:
        assert f">$ {pictures.escape(command, quote=False)}</text>" in drawn, f"make the picture anew: .ci/pictures.py ({command})"


@pytest.mark.slow
@pytest.mark.promise("START-01")
def test_the_first_half_hour_goes_as_the_readme_says(pictures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = pictures.commands()
    if not is_free(PORT):  # somebody's own gateway is there: the way is the same on another port, and the client finds it
        monkeypatch.setattr(pictures, "commands", lambda: [told[0].replace("omega up", "omega up --port 0"), *told[1:]])
    walk = pictures.walked(tmp_path)
    shown = {each.command: each for each in walk.shown}
    assert [each.command for each in walk.shown if each.status] == []
    worked, refused = walk.answers
    assert not worked.get("isError") and "count them faster" in json.dumps(worked)
    assert refused["isError"] and "OMG-W001" in json.dumps(refused)
    assert "5 USD per day" in output(shown, "omega connect")
    runs = output(shown, "omega runs")
    assert "git/git_log" in runs and "agent:claude-code" in runs and "done" in runs
    assert "forbid" in output(shown, "omega policy deny")


def output(shown: dict[str, Any], begin: str) -> str:
    """What the command that begins so printed."""
    found: str = next(each.output for command, each in shown.items() if command.startswith(begin))
    return found
