"""Engines that share records tell when they come and go; the one engine of a folder has nobody to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega import flow
from omega.contracts.events import Fact, Interest, NodeJoined, NodeLeft
from omega.host.asking import enqueue
from omega.host.embedded import Omega
from omega.host.events import Feed
from omega.host.nodes import announced, is_telling
from omega.host.orders import Placing, Wanted
from omega.host.serving import Service, Stop, serve
from omega.host.targets import Target
from servers.postgres import PostgresServer
from servers.postgres import serve as started

QUEUE = "mail"


@flow
def double(n: int) -> int:
    return n * 2


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    yield from started()


def quiet(event: str, facts: object) -> None:
    """Nobody listens."""


async def told(home: Path) -> list[Fact | None]:
    async with Omega.open(home) as omega:
        page = Feed(omega.store, omega.identity.keyring).read("local", interest=Interest(types=("node:*",)))
        return [event.fact() for event in page.events]


@pytest.mark.slow
@pytest.mark.promise("AGENT-08")
def test_a_worker_of_a_shared_database_joins_and_leaves(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    target = Target("", double, ())  # type: ignore[arg-type]
    service = Service(targets=[target], queues=(QUEUE,), at_once=4, lease_s=2.0, sweep_s=0.1, drain_s=1.0, until_idle=True)

    async def work() -> list[Fact | None]:
        await enqueue(tmp_path, Wanted(target=target, input=4, execution="one", placing=Placing(queue=QUEUE)))
        assert await serve(tmp_path, service, quiet, Stop()) == {"done": 1}, "what tells of nodes is no work"
        return await told(tmp_path)

    joined, left = asyncio.run(work())
    assert isinstance(joined, NodeJoined) and isinstance(left, NodeLeft)
    assert (joined.roles, left.node, left.reason) == (("worker",), joined.node, "stopped")
    assert joined.version


def test_the_engine_of_a_folder_tells_nothing(tmp_path: Path) -> None:
    async def work() -> list[Fact | None]:
        async with Omega.open(tmp_path) as omega, announced(omega, ("gateway",)):
            pass
        return await told(tmp_path)

    assert asyncio.run(work()) == []


def test_only_executions_of_its_own_count_as_telling() -> None:
    assert is_telling("nod_01932f6e5b3a7cc09d1f2a4b5c6d7e8f")
    assert not any(map(is_telling, ("nod_mine", "exe_01932f6e5b3a7cc09d1f2a4b5c6d7e8f", "")))
