"""Two engines on one database, and keys that change under both: nothing fails, nothing counts longer than it should."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega import flow
from omega.host import keys
from omega.host.embedded import Omega
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.kernel.errors import Denied
from omega.kernel.ports import Call
from servers.postgres import PostgresServer
from servers.postgres import serve as started

SEEN_S = 1.0
PATIENCE_S = 60.0


@flow
def double(n: int) -> int:
    return n * 2


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    return tmp_path / "home"


@pytest.mark.promise("TRUST-07")
@pytest.mark.promise("LOG-10")
def test_keys_rotate_twice_under_load_of_two_engines_and_no_call_fails(home: Path) -> None:
    done: list[int] = []

    async def load(engine: Omega, stop: asyncio.Event) -> None:
        while not stop.is_set():
            outcome = await engine.run(double, len(done))
            assert outcome.error is None, outcome.error
            done.append(outcome.value)

    async def whole() -> None:
        stop = asyncio.Event()
        async with Omega.open(home) as first, Omega.open(home) as second, asyncio.TaskGroup() as group:
            for engine in (first, second):
                group.create_task(load(engine, stop))
            for _ in range(2):
                for name in ("passport", "log"):
                    so_far = len(done)
                    await keys.rotate(home, name)
                    async with asyncio.timeout(PATIENCE_S):
                        while len(done) < so_far + 4:
                            await asyncio.sleep(0.01)
            stop.set()

    asyncio.run(whole())
    with Archive.open(home) as archive:
        (proved,) = prove(archive)
        assert (proved.sound, proved.log.handovers) == (True, 2), proved.log.findings
    assert len(done) >= 16


@pytest.mark.promise("TRUST-03")
def test_a_passport_revoked_at_one_engine_is_refused_by_the_other_within_a_second(home: Path) -> None:
    async def whole() -> float:
        async with Omega.open(home) as first, Omega.open(home) as second:
            passport = second.passport("agent:helper")
            scope = second.world.authority.verify(passport, now=time.time())
            await second.road.call(Call(passport=passport, flow=double, input=1))
            await first.revoke(scope.passport)
            told = time.monotonic()
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        second.world.authority.verify(passport, now=time.time())
                    except Denied:
                        return time.monotonic() - told
                    await asyncio.sleep(0.01)

    assert asyncio.run(whole()) <= SEEN_S
