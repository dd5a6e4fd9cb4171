"""The embedded host: one folder, one engine, and what survives between two openings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import omega
from omega.chronicle.record import decode
from omega.host.embedded import Omega
from omega.kernel.context import Context
from omega.kernel.effects import ListExecutions, Receipt, Request
from omega.kernel.errors import DefinitionError, Denied, FlowError, InputError, StorageError, Suspended
from omega.kernel.flow import flow
from omega.kernel.verdict import Permit


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
            await host.revoke(scope.passport)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock(Request):
    port: ClassVar[str] = "door"


class Door:
    port = "door"

    def __init__(self) -> None:
        self.knocks = 0
        self.closed = False

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[int, Receipt]:
        permit.spend(self.port)
        self.knocks += 1
        if self.knocks > 1:
            raise ConnectionResetError("in the middle of it")
        return self.knocks, Receipt()

    async def aclose(self) -> None:
        self.closed = True


@flow(effect="write", needs="door:use")
async def knock(ctx: Context, n: int) -> int:
    return int(await ctx.touch(Knock()))


def test_an_effector_of_ones_own_serves_its_port(tmp_path: Path) -> None:
    door = Door()
    assert omega.run(knock, 1, home=tmp_path / "home", effectors=[door]) == 1
    assert door.closed


@pytest.mark.promise("RUN-06")
def test_an_effector_that_fails_without_a_word_leaves_a_write_in_doubt(tmp_path: Path) -> None:
    door = Door()
    door.knocks = 1
    with pytest.raises(Suspended) as caught:
        omega.run(knock, 1, home=tmp_path / "home", effectors=[door])
    assert caught.value.code == "OMG-R006"


def test_a_port_that_nothing_serves_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="nothing here serves the port door") as caught:
        omega.run(knock, 1, home=tmp_path / "home")
    assert caught.value.code == "OMG-R019"


def test_a_port_cannot_be_served_twice(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="two effectors serve the port door"):
        omega.run(knock, 1, home=tmp_path / "home", effectors=[Door(), Door()])
    assert omega.run(double, 1, home=tmp_path / "home") == 2  # the folder was let go


@flow(effect="write", needs="door:use")
async def calls_only(ctx: Context, n: int) -> int:
    return int(await ctx.call(knock.approved_by("owner"), n))


@pytest.mark.promise("RUN-06")
@pytest.mark.promise("RUN-04")
def test_a_function_that_only_calls_others_is_in_doubt_about_nothing(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home", effectors=[Door()]) as host:
            outcome = await host.run(calls_only, 1, execution="one")
            assert outcome.status == "waiting"
            assert (await host.resume("one", calls_only)).status == "waiting"
            await host.decide("one", "approve", {"step": "knock"})
            with pytest.raises(InputError, match="approved already"):
                await host.decide("one", "approve", {"step": "knock"})
            assert (await host.resume("one", calls_only)).value == 1
            assert (await host.replay("one", calls_only)).identical

    asyncio.run(whole())


@pytest.mark.promise("GATE-01")
def test_only_an_owner_or_whoever_started_it_decides_and_a_refusal_is_on_record(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home", effectors=[Door()]) as host:
            assert (await host.run(calls_only, 1, execution="one")).status == "waiting"
            for who in ("agent:x", "person:mallory"):
                for verb, body in (("cancel", {}), ("signal", {"name": "go", "value": 1}), ("resolve", {"step": "knock", "done": True})):
                    before = len(host.store.leaves("local"))
                    with pytest.raises(Denied) as caught:
                        await host.decide("one", verb, body, who)
                    assert caught.value.code == "OMG-W001"
                    last = decode(host.store.leaves("local")[-1])
                    assert (len(host.store.leaves("local")), last.kind, last.execution) == (before + 1, "deny", "one")
            await host.decide("one", "signal", {"name": "go", "value": 1})
            assert decode(host.store.leaves("local")[-1]).kind == "admin"

    asyncio.run(whole())


def test_a_revoked_run_cannot_go_on_and_can_be_cancelled(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home", effectors=[Door()]) as host:
            scope = host.scope()
            await host.engine.start(calls_only, 1, scope, execution="one")
            assert (await host.engine.outcome("one")).status == "waiting"
            await host.revoke(scope.passport)
            with pytest.raises(Denied, match="revoked"):
                await host.resume("one", calls_only)
            await host.decide("one", "cancel", {})
            assert (await host.engine.outcome("one")).status == "cancelled"

    asyncio.run(whole())
