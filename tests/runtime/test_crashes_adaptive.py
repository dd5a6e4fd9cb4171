"""Crash at every append, before and after it is durable, eagerly and lazily: flows that adapt, ask and stream end as they would have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from omega import Command, Context, approval, flow, foreach, form, optimize, stream, wait_for
from omega.adapters.memory import MemoryStore
from omega.kernel.errors import InputError
from omega.testing import Crash, Lab, run_virtual
from omega.testing.lab import sequencer
from omega.testing.simulator.store import MortalStore
from omega.testing.virtual import LoopClock
from runtime.flows import add, double, fails, lab, look, save

MOST_LIVES = 12


@stream(reduce="text", effect="read", needs="process:run")
async def told(ctx: Context, n: int) -> AsyncIterator[str]:
    for number in range(n):
        yield str(await ctx.touch(Command(argv=("look", str(number)))))


@flow
def size(text: str) -> int:
    return len(text)


# What a lost engine remembered is lost with it: another turn may then be had, and the second outcome is allowed too.
WHOLE: dict[str, tuple[Any, Any, Any]] = {
    "rate": (foreach(add.rate_limited("2/s")) | foreach(save), [1, 2, 3, 4], [2, 3, 4, 5]),
    "refused": (foreach(add.rate_limited("1/h", patience=0).fallback(double)) | foreach(save), [1, 2], ([2, 4], [2, 3])),
    "breaker": (fails.breaker(failures=1, otherwise=double).fallback(save) | save, 3, 3),
    "optimize": (optimize(look, add, goal="latency", score=None) | save, 3, 4),
    "form": (add | form(int, within="2h") | save, 3, 7),
    "approval": (save | approval("owner") | look, 3, 4),
    "signal": (wait_for("go", int) | save, 3, 9),
    "stream": (told | size | save, 3, 3),
}


async def live(world: Lab, whole: Any, value: Any, born: bool) -> Any:
    """One life of an engine: start or take up, answer whatever is asked, until it ends or dies."""
    if born and world.store.line("run") is None:
        outcome = await world.run(whole, value, execution="run")
    else:
        outcome = await world.resume("run", whole)
    while outcome.status == "waiting":
        asked = (outcome.error or {})["code"]
        verb, facts = {
            "OMG-R042": ("answer", {"value": 7}),
            "OMG-R011": ("approve", {}),
            "OMG-R018": ("signal", {"name": "go", "value": 9}),
        }[asked]
        try:
            await world.decide("run", verb, **facts)
        except InputError as error:
            assert error.code == "OMG-I005", "it was decided in an earlier life"
        outcome = await world.resume("run", whole)
    return outcome


async def lives(whole: Any, value: Any, die_at: int | None, after: bool, eager: bool) -> tuple[Any, int, int]:
    """The outcome, how many appends the first life made, and how often the world was written to, over all lives."""
    clock, snapshot, appends, written = LoopClock(), None, 0, 0
    for number in range(MOST_LIVES):
        store: Any = (
            MortalStore(
                sequencer=sequencer(),
                owner=f"life-{number}",
                now_us=clock.now_us,
                start=snapshot,
                die_at=die_at if number == 0 else None,
                after=after,
                eager=eager,
            )
            if number == 0
            else MemoryStore(sequencer=sequencer(), owner=f"life-{number}", now_us=clock.now_us, start=snapshot)
        )
        world = lab(store=store, seed=number, clock=clock)
        try:
            outcome = await live(world, whole, value, True)
        except Crash:
            snapshot = store.snapshot()
            clock.jump(60)
            continue
        finally:
            written += len(world.effectors["files"].touches)
            appends = store.appends if number == 0 else appends
        await world.engine.close()
        if outcome.status == "in doubt":
            return outcome, appends, written
        report = await world.replay("run", whole)
        assert report.identical, report.divergence
        assert world.verify().sound
        return outcome, appends, written
    raise AssertionError("it never ended")


@pytest.mark.promise("FLOW-60")
@pytest.mark.promise("FLOW-61")
@pytest.mark.promise("FLOW-64")
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("eager", [False, True])
def test_wherever_it_dies_it_ends_the_same_and_writes_once(name: str, eager: bool) -> None:
    whole, value, expected = WHOLE[name]

    async def calm() -> tuple[Any, int, int]:
        return await lives(whole, value, None, False, eager)

    outcome, appends, written = run_virtual(calm())
    allowed = expected if isinstance(expected, tuple) else (expected,)
    assert outcome.value == allowed[0], outcome
    for die_at in range(appends):
        for after in (False, True):

            async def one(die_at: int = die_at, after: bool = after) -> tuple[Any, int, int]:
                return await lives(whole, value, die_at, after, eager)

            outcome, _, again = run_virtual(one())
            if outcome.status == "in doubt":
                continue  # a write was under way when it died: shown, never repeated
            assert outcome.value in allowed, (die_at, after, outcome)
            assert again == written, (die_at, after)
