"""Learning on the durable engine: every trial is a step, paid once, and what is found is the same after a crash."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from omega import Among, Command, Context, Grid, flow, learn, tuned
from omega.testing import Crash, Touch, run_virtual
from runtime.flows import code, lab

EXAMPLES = [(n, n > 8) for n in range(24)]


class Cut(BaseModel):
    """Where large begins, and which of two models is asked."""

    above: Annotated[float, Grid(0, 16, 3)] = 0.0
    model: Annotated[str, Among("small", "large")] = "small"


@flow(effect="read", needs="process:run")
async def judged(ctx: Context, given: tuple[Cut, int]) -> bool:
    cut, n = given
    return float(await ctx.touch(Command(argv=("ask", cut.model, str(n))))) > cut.above


async def answer(touch: Touch) -> Any:
    assert isinstance(touch.request, Command)
    return int(touch.request.argv[2])


def school(**facts: Any) -> Any:
    world = lab(**facts)
    world.effectors["process"].answer = answer
    return world


@pytest.mark.promise("FLOW-63")
def test_a_crash_in_the_middle_repeats_no_trial_and_finds_the_same() -> None:
    async def run() -> None:
        calm = school()
        expected = await calm.run(learn(judged, at_once=4), EXAMPLES, execution="run")
        assert expected.value["parameters"] == {"above": 8.0, "model": "small"}
        trials = len(calm.effectors["process"].touches)
        assert trials == 7 * 14 + 2 * 10

        world = school()

        async def dies(touch: Touch) -> Any:
            if len(world.effectors["process"].touches) == 60:
                raise Crash
            return await answer(touch)

        world.effectors["process"].answer = dies
        with pytest.raises(Crash):
            await world.run(learn(judged, at_once=4), EXAMPLES, execution="run")
        world.clock.jump(120)
        other = school(store=world.store, seed=1)
        done = await other.resume("run", learn(judged, at_once=4))
        assert done.value == expected.value
        assert len(world.effectors["process"].touches) + len(other.effectors["process"].touches) <= trials + 4
        report = await other.replay("run", learn(judged, at_once=4))
        assert report.identical, report.divergence
        better = tuned(judged, done.value["parameters"])
        assert (await other.run(better, 9)).value is True and (await other.run(better, 7)).value is False

    run_virtual(run())


def test_what_does_not_help_is_on_record_as_a_failure() -> None:
    async def run() -> None:
        world = school()
        failed = await world.run(learn(judged), [(n, n > 0) for n in range(24)], execution="run")
        assert code(failed) == "OMG-R044" and (failed.error or {})["details"]["report"]["gain"] == 0
        assert (await world.replay("run", learn(judged))).identical

    run_virtual(run())
