"""Retention as workers carry it out: what is over its time goes, blobs too, and the log says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from omega import flow
from omega.adapters.blobs import open_blobs
from omega.chronicle.record import decode
from omega.host.embedded import Omega
from omega.host.holds import HOLD
from omega.host.retention import RETENTION, SWEEP_EVERY_US, Keeper
from omega.host.settings import TENANT
from omega.kernel.ports import Call
from omega.runtime.payloads import Sweep

LARGE = 200_000


@flow
def grow(seed: int) -> list[int]:
    return [(seed * 2_654_435_761 + at * 40_503) % 4_294_967_291 for at in range(LARGE // 8)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMEGA_BLOBS", (tmp_path / "blobs").as_uri())
    return tmp_path / "home"


def later(omega: Omega, us: int) -> None:
    """Turn the clock of an engine forward."""
    clock = omega.world.clock
    now = clock.now_us
    clock.now_us = lambda: now() + us  # type: ignore[method-assign]


@pytest.mark.promise("LOG-38")
def test_what_is_over_its_time_goes_with_its_blobs_and_the_log_holds_the_receipt(home: Path, tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as omega:
            await omega.run(grow, 1, execution="exe_old")
            assert len(list(open_blobs((tmp_path / "blobs").as_uri()).held())) == 1
            await omega.arrange(RETENTION, TENANT, {"after_s": 60})
            keeper = Keeper(omega)
            assert await keeper.round() == {}, "nothing is over its time yet"
            before = len(omega.store.leaves(TENANT))
            assert keeper._swept_us, "the sweep of the first round is through"
            keeper._swept_us -= 2 * SWEEP_EVERY_US
            later(omega, 120_000_000)
            done = await keeper.round()
            assert done[TENANT] >= 1
            assert omega.store.key("exe_old") is None
            receipt = [decode(raw) for raw in omega.store.leaves(TENANT, before)]
            assert [leaf.kind for leaf in receipt] == ["entry", "admit", "outcome", "end"]
            assert {leaf.flow for leaf in receipt if leaf.flow} == {"retained"}
            held = list(open_blobs((tmp_path / "blobs").as_uri()).held())
            assert len(held) == 1, "a blob of today is left alone: its row may be on its way"
            sweep = Sweep(omega.store, omega.world.blobs, before_us=1 << 60, page=2)  # type: ignore[arg-type]
            steps = []
            while not steps or steps[-1] is None:
                steps.append(await sweep.step())
            assert steps[-1] == 1 and len(steps) > 1
            assert not list(open_blobs((tmp_path / "blobs").as_uri()).held())

    asyncio.run(whole())


@pytest.mark.promise("LOG-28")
def test_a_hold_stops_the_sweep_of_blobs_too(home: Path, tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as omega:
            await omega.run(grow, 1, execution="exe_old")
            await omega.arrange(HOLD, TENANT, {"reason": "case 7"})
            await omega.arrange(RETENTION, TENANT, {"after_s": 60})
            later(omega, 4 * SWEEP_EVERY_US)
            keeper = Keeper(omega)
            assert await keeper.round() == {}
            assert omega.store.key("exe_old") is not None
            assert len(list(open_blobs((tmp_path / "blobs").as_uri()).held())) == 1

    asyncio.run(whole())


@pytest.mark.promise("LOG-34")
def test_an_entry_says_where_its_call_came_from(home: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as omega:
            origin = {"address": "203.0.113.7", "agent": "curl/8\n" + "x" * 400, "secret": "not kept"}
            outcome = await omega.road.call(Call(passport=omega.passport(), flow=grow, input=1, origin=origin))
            assert outcome.error is None
            leaves = [decode(raw) for raw in omega.store.leaves(TENANT)]
            entry = next(leaf for leaf in leaves if leaf.kind == "entry")
            assert entry.address == "203.0.113.7"
            assert entry.agent.startswith("curl/8\\n") and len(entry.agent) == 200
            assert not any(leaf.address or leaf.agent for leaf in leaves if leaf.kind != "entry")
            assert not any(b"not kept" in raw for raw in omega.store.leaves(TENANT))

    asyncio.run(whole())
