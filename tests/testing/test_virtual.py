"""Virtual time, seeded entropy, and effectors that remember."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega import Command, Denied, FlowError
from omega.kernel.verdict import Permit, mint_permit
from omega.testing import Crash, LoopClock, RecordingEffector, SeededEntropy, VirtualLoop, run_virtual
from omega.testing.clock import START_US
from omega.testing.effectors import after, always, failing, hanging
from omega.testing.virtual import Deadlock


@given(st.lists(st.floats(0, 1e6), max_size=8))
def test_sleepers_wake_in_the_order_of_their_deadlines_and_nobody_waits(delays: list[float]) -> None:
    woken: list[float] = []

    async def sleeper(delay: float) -> None:
        await asyncio.sleep(delay)
        woken.append(delay)

    async def run() -> float:
        await asyncio.gather(*map(sleeper, delays))
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    passed = run_virtual(run())
    assert woken == sorted(woken) and len(woken) == len(delays)
    assert passed == pytest.approx(max(delays, default=0), abs=1e-3)
    assert time.monotonic() - began < 5


def test_a_time_limit_passes_exactly_when_it_is_due() -> None:
    async def run() -> list[str]:
        said = []
        for limit, wait in ((1.0, 2.0), (2.0, 1.0)):
            try:
                async with asyncio.timeout(limit):
                    await asyncio.sleep(wait)
                said.append("in time")
            except TimeoutError:
                said.append("late")
        return said

    assert run_virtual(run()) == ["late", "in time"]


def test_waiting_for_what_never_comes_is_an_error_and_not_a_hang() -> None:
    async def run() -> None:
        await asyncio.get_running_loop().create_future()

    loop = VirtualLoop()
    task = loop.create_task(run())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_the_clock_of_the_loop_jumps_only_on_the_wall() -> None:
    async def run() -> None:
        clock = LoopClock()
        assert clock.now_us() == START_US
        await clock.sleep(2.5)
        clock.jump(-100)
        assert clock.now_us() == START_US + 2_500_000 - 100_000_000 and clock.monotonic() == pytest.approx(2.5)

    run_virtual(run())


def test_entropy_is_the_same_for_a_seed_and_differs_between_seeds() -> None:
    one, same, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    drawn = [one.take(16) for _ in range(20)]
    assert drawn == [same.take(16) for _ in range(20)] and len(set(drawn)) == 20
    assert other.take(16) not in drawn and len(other.take(7)) == 7


def permit(clock: LoopClock) -> Permit:
    return mint_permit(tenant="t", execution="e", step="s", epoch=1, port="process", commitment=b"", ttl_s=30.0, clock=clock.monotonic)


def test_an_effector_remembers_only_what_its_permit_allowed() -> None:
    async def run() -> None:
        clock = LoopClock()
        effector = RecordingEffector("process", clock, always(7))
        good, request = permit(clock), Command(argv=("look",))
        assert (await effector.perform(good, request, execution="e", step="s"))[0] == 7
        with pytest.raises(Denied):
            await effector.perform(good, request, execution="e", step="s")
        assert [touch.step for touch in effector.touches] == ["s"]

    run_virtual(run())


def test_answers_come_late_fail_hang_or_are_the_last_thing_that_happens() -> None:
    async def run() -> None:
        clock = LoopClock()
        request = Command(argv=("look",))
        late = RecordingEffector("process", clock, after(9, always("late"), clock))
        assert (await late.perform(permit(clock), request, execution="e", step="s"))[0] == "late" and clock.monotonic() == pytest.approx(9)
        for answer, error in ((failing(Crash()), Crash), (failing(ValueError()), ValueError), (None, FlowError)):
            effector = RecordingEffector("process", clock, answer)
            with pytest.raises(error):
                await effector.perform(permit(clock), request, execution="e", step="s")
            assert len(effector.touches) == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                hung = RecordingEffector("process", clock, hanging(clock))
                await hung.perform(permit(clock), request, execution="e", step="s")

    run_virtual(run())
