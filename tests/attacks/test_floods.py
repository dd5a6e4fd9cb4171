"""Thousands who only hold a connection open: whoever comes after them is answered, and they are let go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from attacks.test_killed import started
from gateway.front.test_up import PATIENCE_S, Process
from omega.gateway.front.server import HEAD_TIME_S, MAX_CONNECTIONS

HALF_OPEN = 2_000
BESIDE = 30
"""Good requests that are made while the others hold on."""

SOON_S = 10.0
"""How long a good request may take on a machine that is busy with other tests."""

KINDS = (b"", b"GET /livez HTTP/1.1\r\nhost: ")
"""Silent, and in the middle of a head."""


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for each in made:
        each.close()


def descriptors(wanted: int) -> int:
    """How many files this process may open, raised to `wanted` where the machine lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.promise("ATTACK-06")
@pytest.mark.slow
def test_two_thousand_half_open_connections_keep_nobody_waiting(tmp_path: Path, processes: list[Process]) -> None:
    held = min(HALF_OPEN, descriptors(HALF_OPEN + 500) - 300)
    process, url, pid = started(tmp_path / "home", processes)
    place = urlsplit(url)
    before = memory_of(pid)

    async def half_open(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(KINDS[number % len(KINDS)])
        return reader, writer

    async def scenario() -> None:
        began = time.monotonic()
        opened = []
        for start in range(0, held, 200):
            opened += await asyncio.gather(*(half_open(number) for number in range(start, min(start + 200, held))))
        ask = json.dumps(2).encode()
        with process.client(url) as client:
            for _ in range(BESIDE):
                at = time.monotonic()
                answer = await asyncio.to_thread(
                    client.post, "/api/v1/flows/double/run", content=ask, headers={"content-type": "application/json"}
                )
                assert (answer.status_code, answer.json()) == (200, 4)
                assert time.monotonic() - at < SOON_S
        assert memory_of(pid) - before < held * 100_000, "a connection that says nothing costs little"
        async with asyncio.timeout(PATIENCE_S + HEAD_TIME_S):
            for reader, writer in opened:
                with contextlib.suppress(ConnectionResetError):
                    while await reader.read(65_536):
                        pass
                writer.close()
        assert time.monotonic() - began >= HEAD_TIME_S / 2, "they were held for a while, not refused"

    assert held > 0 and held < MAX_CONNECTIONS
    asyncio.run(scenario())
