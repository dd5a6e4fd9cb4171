"""Owning an execution: what an owner that was held up may still do, and whose time counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from omega import Denied, StorageError
from omega.kernel.journal import Status
from omega.runtime.lease import MARGIN, Lease
from omega.runtime.steady import QUICK_S, SteadyClock
from omega.testing import run_virtual
from omega.testing.virtual import LoopClock
from runtime.flows import look, touched
from runtime.test_worker import host, serve, stop


@pytest.mark.promise("RUN-82")
def test_an_owner_that_slept_past_its_lease_sends_nothing() -> None:
    """Held between its permit and the request, until another worker has ended the execution."""

    async def run() -> None:
        first = host(owner="first", lease_s=5.0)
        second = host(first, owner="second", lease_s=5.0)
        awake, held = asyncio.Event(), asyncio.Event()
        effector = first.effectors["process"]
        perform = effector.perform

        async def sleeps(permit: Any, request: Any, **about: Any) -> Any:
            held.set()
            await awake.wait()
            return await perform(permit, request, **about)

        effector.perform = sleeps
        first.store.renew = _asleep(awake, first.store.renew)
        name = await first.enqueue(look, 3)
        _, sleeping = serve(first, look)
        await held.wait()
        _, task = serve(second, look)
        await second.until(name)
        rows = len(second.store.rows(name))
        awake.set()
        await asyncio.sleep(1.0)
        assert touched(first, "process") == [] and len(second.store.rows(name)) == rows
        assert second.store.line(name).status == Status.DONE and first.engine.running == 0
        await stop(sleeping, task)

    run_virtual(run())


def _asleep(awake: asyncio.Event, call: Any) -> Any:
    async def waits(*about: Any) -> Any:
        await awake.wait()
        return await call(*about)

    return waits


def test_an_owner_that_slept_and_is_still_the_owner_gets_another_permit() -> None:
    async def run() -> None:
        lab = host(lease_s=5.0)
        effector = lab.effectors["process"]
        perform, calls = effector.perform, []

        async def once(permit: Any, request: Any, **about: Any) -> Any:
            calls.append(permit)
            if len(calls) == 1:
                await asyncio.sleep(40.0)
            return await perform(permit, request, **about)

        effector.perform = once
        outcome = await lab.run(look, 3)
        assert outcome.value == 4 and len(calls) == 2 and calls[0] is not calls[1] and touched(lab, "process") == ["look"]
        calls.clear()

        async def always(permit: Any, request: Any, **about: Any) -> Any:
            await asyncio.sleep(40.0)
            permit.spend("process")

        effector.perform = always
        outcome = await lab.run(look, 3)
        assert outcome.status == Status.FAILED and (outcome.error or {})["code"] == "OMG-W006"

    run_virtual(run())


def test_a_lease_is_counted_from_before_it_was_asked_for_and_never_used_up() -> None:
    async def run() -> None:
        lab = host()
        name = await lab.enqueue(look, 3)
        epoch = await lab.store.claim(name, owner="lab", lease_us=lab.clock.now_us() + 10_000_000, now_us=lab.clock.now_us())
        lease = Lease(lab.store, lab.clock, execution=name, epoch=epoch, length_us=10_000_000, since=lab.clock.monotonic())
        assert lease.left_s == pytest.approx(10.0 * (1 - MARGIN))
        await asyncio.sleep(9.5)
        assert lease.left_s < 0
        await lease.assure()
        assert lease.left_s == pytest.approx(9.0)
        await lab.store.claim(name, owner="lab", lease_us=0, now_us=lab.clock.now_us())
        await asyncio.sleep(9.5)
        with pytest.raises(StorageError) as lost:
            await lease.assure()
        assert lost.value.code == "OMG-S006" and Denied is not StorageError

    run_virtual(run())


@pytest.mark.promise("RUN-89")
def test_a_steady_clock_is_the_stores_whatever_ones_own_says() -> None:
    async def run() -> None:
        store, own = LoopClock(), LoopClock()
        own.jump(-5 * 3_600.0)
        slow = 0.1

        async def ask() -> int:
            await asyncio.sleep(slow / 2)
            told = store.now_us()
            await asyncio.sleep(slow / 2)
            return told

        clock = SteadyClock(own, ask)
        await clock.sync()
        assert clock.now_us() == store.now_us()
        own.jump(9 * 3_600.0)
        await clock.sleep(60.0)
        assert clock.now_us() == store.now_us() and clock.monotonic() == own.monotonic()
        slow = QUICK_S * 3
        store.jump(3_600.0)
        await clock.sync()
        assert abs(clock.now_us() - store.now_us()) == 3_600_000_000, "an answer that took long says little"
        with pytest.raises(StorageError):
            await SteadyClock(own, ask).sync()

    run_virtual(run())
