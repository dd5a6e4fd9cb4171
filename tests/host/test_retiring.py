"""Parts of the journal on PostgreSQL are dropped by a command: gated, with a leaf, never under a hold, never what ended lately."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega.adapters.postgres import PostgresStore
from omega.host.asking import ask
from omega.host.embedded import Omega
from omega.host.holds import HOLD
from omega.host.retiring import DAY_S, SHORTEST_S, Retire, RetiringEffector, retire
from omega.kernel.errors import OmegaError
from omega.kernel.flow import flow
from omega.kernel.ports import Search
from omega.kernel.verdict import Permit, mint_permit
from servers.postgres import PostgresServer
from servers.postgres import serve as started

SPAN = 10
"""Executions in a part, for these tests."""


@flow
def double(n: int) -> int:
    return n * 2


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


def permit(tenant: str = "local") -> Permit:
    return mint_permit(
        tenant=tenant, execution="exe", step="s#0", epoch=1, port="retiring", commitment=b"\0" * 32, ttl_s=60.0, clock=time.monotonic
    )


@pytest.mark.slow
def test_what_ended_long_ago_goes_and_its_leaves_stay(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    sound = PostgresStore.open
    monkeypatch.setattr(PostgresStore, "open", lambda dsn, **given: sound(dsn, **{**given, "span": SPAN}))

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            for n in range(3 * SPAN):
                await omega.run(double, n)
            leaves, now_us = len(omega.store.leaves("local")), omega.world.clock.now_us()
            later = RetiringEffector(omega.store, omega.store, lambda: now_us + int((SHORTEST_S + DAY_S) * 1_000_000))
            wanted = Retire(ended_before_us=now_us)
            with pytest.raises(OmegaError) as caught:
                await later.perform(permit("ten_a"), wanted, execution="exe", step="s#0")
            assert caught.value.code == "OMG-W001"
            omega.store.put_document(HOLD, "ten_b", b'{"reason": "a case"}', now_us)
            with pytest.raises(OmegaError) as caught:
                await later.perform(permit(), wanted, execution="exe", step="s#0")
            assert caught.value.code == "OMG-C004"
            omega.store.drop_document(HOLD, "ten_b")
            before = len(omega.store.search(Search(limit=500)))
            done, _ = await later.perform(permit(), wanted, execution="exe", step="s#0")
            assert done["gone"] >= SPAN and len(omega.store.search(Search(limit=500))) == before - done["gone"]
            assert len(omega.store.leaves("local")) == leaves
        assert await ask(tmp_path / "home", retire, 90 * DAY_S) == {"gone": 0}, "down the road, as the command asks"
        with pytest.raises(OmegaError) as caught:
            await ask(tmp_path / "home", retire, DAY_S)
        assert caught.value.code == "OMG-I001"

    asyncio.run(whole())


def test_a_folder_has_no_parts_to_drop(tmp_path: Path) -> None:
    with pytest.raises(OmegaError) as caught:
        asyncio.run(ask(tmp_path / "home", retire, 90 * DAY_S))
    assert caught.value.code == "OMG-I001" and "PostgreSQL" in caught.value.cause
