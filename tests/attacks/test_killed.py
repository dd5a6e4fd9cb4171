"""A gateway that is killed in the middle of a stream: its clients see that the stream broke off, and the next start goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.front.test_up import PATIENCE_S, Process

FLOWS = """
from collections.abc import AsyncIterator

from omega import Context, flow, stream


@flow(effect="read")
async def nap(ctx: Context, seconds: float) -> str:
    await ctx.sleep(seconds)
    return "rested"


@stream(reduce="text", effect="read")
async def counts(ctx: Context, to: int) -> AsyncIterator[str]:
    for number in range(to):
        yield f"{number} "
        if number >= 3:
            await ctx.sleep(0.3)


double = counts
"""


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for each in made:
        each.close()


def started(home: Path, processes: list[Process]) -> tuple[Process, str, int]:
    """An `omega up` on a home, with where it is and its process id."""
    process = Process(home)
    processes.append(process)
    up = process.hear("up")
    return process, up["url"], up["pid"]


@pytest.mark.promise("ATTACK-07")
@pytest.mark.slow
def test_a_stream_of_a_killed_gateway_breaks_off_and_is_taken_up_again(
    tmp_path: Path, processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.front.test_up.FLOWS", FLOWS)
    first, url, pid = started(tmp_path / "home", processes)
    execution, parts = "", 0
    request = {"method": "POST", "url": "/api/v1/flows/counts/run", "json": 12, "headers": {"accept": "text/event-stream"}}
    with first.client(url) as client, pytest.raises(httpx.RemoteProtocolError), client.stream(**request) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and not execution:
                execution = json.loads(line[6:])["execution"]
            parts += line == "event: part"
            if parts == 4:
                os.kill(pid, signal.SIGKILL)
            assert line != "event: outcome", "a stream that was cut must not look like one that ended"
    first.running.wait(PATIENCE_S)
    second, again, _ = started(tmp_path / "home", processes)
    with second.client(again) as client:
        outcome = client.get(f"/api/v1/executions/{execution}/outcome", params={"wait": 30}).json()
        assert (outcome["status"], outcome["value"]) == ("done", "".join(f"{n} " for n in range(12)))
        told = client.get(f"/api/v1/executions/{execution}/events").text
        assert "event: outcome" in told and '"status":"done"' in told
