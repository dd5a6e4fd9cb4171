"""`omega up` as a process: it says where it is, drains when told to stop, and goes on with what was left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings
from omega.host.up import Opening

FLOWS = """
import os, pathlib, time
from omega import Context, flow

@flow(effect="read")
async def nap(ctx: Context, seconds: float) -> str:
    await ctx.sleep(seconds)
    return "rested"

@flow
def double(n: int) -> int:
    return n * 2
"""
PATIENCE_S = 60.0


class Process:
    """One `omega up --json` on a home of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        flows = home.parent / "flows_of_up.py"
        flows.write_text(FLOWS)
        command = [sys.executable, "-m", "omega", "up", "--json", "--port", "0", "--home", str(home), *arguments]
        self.home = home
        self.running = subprocess.Popen(
            [*command, f"{flows}:nap", f"{flows}:double"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home.parent
        )

    def hear(self, event: str) -> dict[str, Any]:
        """The facts of the next event of that name."""
        assert self.running.stdout is not None
        for line in self.running.stdout:
            told: dict[str, Any] = json.loads(line)
            if told.get("event") == event:
                return told
        raise AssertionError(f"ended without {event}: {self.running.stderr.read() if self.running.stderr else ''}")

    def client(self, url: str) -> httpx.Client:
        identity = Identity.load(Settings.load(self.home), SystemEntropy())
        token = identity.passport("", now_us=SystemClock().now_us())
        return httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE_S, trust_env=False)

    def close(self) -> None:
        self.running.kill()
        self.running.communicate()


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.slow
@pytest.mark.promise("DOOR-11")
def test_told_to_stop_it_lets_what_is_inside_end_and_takes_nothing_new(tmp_path: Path, processes: list[Process]) -> None:
    process = Process(tmp_path / "home")
    processes.append(process)
    up = process.hear("up")
    with process.client(up["url"]) as client, process.client(up["url"]) as late:
        assert client.post("/api/v1/flows/double/run", json=2).json() == 4
        assert late.get("/livez").status_code == 200
        answers: list[httpx.Response] = []
        inside = threading.Thread(target=lambda: answers.append(client.post("/api/v1/flows/nap/run", json=2.0)))
        inside.start()
        waited = time.monotonic()
        while not late.get("/api/v1/executions", params={"status": "running"}).json()["executions"]:
            assert time.monotonic() - waited < PATIENCE_S
        os.kill(up["pid"], signal.SIGTERM)
        assert process.hear("draining")["inside"] == 1
        refused = late.get("/livez")
        assert (refused.status_code, refused.json()["code"]) == (503, "OMG-G008")
        inside.join(PATIENCE_S)
        assert answers[0].json() == "rested"
    process.hear("stopped")
    assert process.running.wait(PATIENCE_S) == 0


@pytest.mark.slow
@pytest.mark.promise("DOOR-11")
def test_what_a_killed_process_left_running_the_next_one_goes_on_with(tmp_path: Path, processes: list[Process]) -> None:
    first = Process(tmp_path / "home")
    processes.append(first)
    up = first.hear("up")
    with first.client(up["url"]) as client:
        place = client.post("/api/v1/flows/nap/run", json=0.5, headers={"prefer": "respond-async"}).json()["outcome"]
        os.kill(up["pid"], signal.SIGKILL)
        first.running.wait(PATIENCE_S)
    second = Process(tmp_path / "home")
    processes.append(second)
    again = second.hear("up")
    assert again["recovered"] == 1
    with second.client(again["url"]) as client:
        began = time.monotonic()
        while (outcome := client.get(place, params={"wait": 5}).json())["status"] != "done":
            assert time.monotonic() - began < PATIENCE_S, outcome
    assert outcome["value"] == "rested"


@pytest.mark.slow
def test_a_folder_has_one_engine_and_a_port_one_listener(tmp_path: Path, processes: list[Process]) -> None:
    first = Process(tmp_path / "home")
    processes.append(first)
    up = first.hear("up")
    same = Process(tmp_path / "home")
    processes.append(same)
    said, _ = same.running.communicate(timeout=PATIENCE_S)
    assert same.running.returncode != 0 and "OMG-S001" in said
    taken = Process(tmp_path / "other", "--port", up["url"].rpartition(":")[2])
    processes.append(taken)
    said, _ = taken.running.communicate(timeout=PATIENCE_S)
    assert taken.running.returncode != 0 and "OMG-X001" in said


@pytest.mark.parametrize(
    ("host", "names", "let_in", "kept_out"),
    [
        ("127.0.0.1", (), {"127.0.0.1", "localhost", "[::1]"}, {"10.0.0.1"}),
        ("0.0.0.0", ("omega.example",), {"localhost", "omega.example"}, {"10.0.0.1"}),
        ("10.0.0.7", (), {"10.0.0.7"}, {"localhost"}),
        ("::1", (), {"[::1]", "localhost"}, {"example"}),
    ],
)
def test_a_house_answers_for_its_own_names(host: str, names: tuple[str, ...], let_in: set[str], kept_out: set[str]) -> None:
    hosts = Opening(host=host, names=names).hosts
    assert let_in <= hosts and not kept_out & hosts
