"""LangGraph's own public suite for checkpointers, the package `langgraph-checkpoint-conformance`, unchanged, on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.conformance")

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer

from interop.graphs import saver_of
from omega.adapters.langgraph import OmegaSaver
from omega.adapters.postgres import PostgresStore
from omega.host.embedded import Omega
from omega.host.interop import langgraph_saver
from omega.testing import Lab
from omega.testing.lab import sequencer
from omega.testing.virtual import LoopClock
from servers.postgres import PostgresServer, serve


def passes_in_full(suite: RegisteredCheckpointer) -> None:
    """Every capability is there and passes."""
    report = asyncio.run(validate(suite))
    failures = [failure for result in report.results.values() for failure in result.failures or ()]
    assert not failures
    assert {name for name, result in report.results.items() if result.passed} == {capability.value for capability in Capability}


@pytest.mark.promise("INT-01")
def test_in_memory() -> None:
    @checkpointer_test(name="memory")
    async def suite() -> AsyncGenerator[OmegaSaver, None]:
        lab = Lab()
        yield saver_of(lab)
        await lab.engine.close()
        assert lab.verify().sound

    passes_in_full(suite)


@pytest.mark.promise("INT-01")
def test_on_sqlite(tmp_path: Path) -> None:
    folders = iter(range(100))

    @checkpointer_test(name="sqlite")
    async def suite() -> AsyncGenerator[OmegaSaver, None]:
        async with Omega.open(tmp_path / str(next(folders))) as omega:
            yield langgraph_saver(omega)

    passes_in_full(suite)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from serve()


@pytest.mark.slow
@pytest.mark.promise("INT-01")
def test_on_postgres(server: PostgresServer) -> None:
    databases = iter([server.fresh() for _ in Capability])

    @checkpointer_test(name="postgres")
    async def suite() -> AsyncGenerator[OmegaSaver, None]:
        clock: Any = LoopClock()
        store = PostgresStore.open(next(databases), sequencer=sequencer(), owner="one", now_us=clock.now_us)
        lab = Lab(store=store, clock=clock, owner="one")
        yield saver_of(lab)
        await lab.engine.close()
        assert lab.verify().sound
        store.close()

    passes_in_full(suite)
