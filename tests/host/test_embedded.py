"""The embedded host: one folder, one engine, and what survives between two openings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import omega
from omega.host.embedded import Omega
from omega.kernel.context import Context
from omega.kernel.effects import ListExecutions
from omega.kernel.errors import Denied, FlowError, StorageError
from omega.kernel.flow import flow


@flow
def double(n: int) -> int:
    return n * 2


@flow
def broken(n: int) -> int:
    raise ValueError("no number today")


@flow(effect="read", needs="records:read")
async def count(ctx: Context, n: int) -> int:
    return len(await ctx.touch(ListExecutions()))


def test_a_script_runs_a_flow_and_gets_its_value(tmp_path: Path) -> None:
    assert omega.run(double, 21, home=tmp_path / "home") == 42


def test_a_notebook_has_a_loop_already(tmp_path: Path) -> None:
    async def cell() -> int:
        return int(omega.run(double, 4, home=tmp_path / "home"))

    assert asyncio.run(cell()) == 8


def test_a_script_gets_the_error_of_its_flow(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="no number today") as caught:
        omega.run(broken, 1, home=tmp_path / "home")
    assert caught.value.code == "OMG-R001"
    assert "test_embedded.py" in caught.value.cause


@pytest.mark.promise("RUN-11")
def test_a_second_engine_on_the_folder_is_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home"):
            with pytest.raises(StorageError) as caught:
                async with Omega.open(tmp_path / "home"):
                    pass
            assert caught.value.code == "OMG-S001"

    asyncio.run(whole())


def test_a_revoked_passport_ends_a_running_executions_authority(tmp_path: Path) -> None:
    home = tmp_path / "home"
    waiting = asyncio.Event()
    go_on = asyncio.Event()

    @flow
    async def held(ctx: Context, n: int) -> int:
        waiting.set()
        await go_on.wait()
        return int(await ctx.call(count, n))

    async def whole() -> None:
        async with Omega.open(home) as host:
            scope = host.scope()
            execution = await host.engine.start(held, 1, scope)
            await waiting.wait()
            host.revoke(scope.passport)
            go_on.set()
            outcome = await host.engine.outcome(execution)
            assert outcome.error is not None
            assert outcome.error["code"] == "OMG-T001"
            assert outcome.error["details"]["policies"] == ["revoked"]
        async with Omega.open(home) as host:
            with pytest.raises(Denied):
                host.world.authority.check(scope)

    asyncio.run(whole())


def test_a_watcher_that_fails_harms_nothing(tmp_path: Path) -> None:
    def watch(moment: object) -> None:
        raise BrokenPipeError

    async def whole() -> None:
        async with Omega.open(tmp_path / "home", watch=watch) as host:
            assert (await host.run(double, 3)).value == 6

    asyncio.run(whole())
