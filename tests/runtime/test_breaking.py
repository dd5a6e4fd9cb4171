"""Breakers in the runtime's hands: what fails is counted by what became of the touch, and the denial is on record and explained."""

from __future__ import annotations

from typing import Any

import pytest

from omega import UpstreamError
from omega.kernel.effects import Receipt, Request
from omega.kernel.verdict import Permit
from omega.testing import Lab, run_virtual
from omega.warden.breakers import Breaker
from omega.wire.problem import headers_of, status_of
from runtime.flows import code, look


class Moody:
    """A program that hangs, says no, or does what it is asked."""

    port = "process"

    def __init__(self) -> None:
        self.mood = "hangs"
        self.asked = 0

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        permit.spend(self.port)
        self.asked += 1
        if self.mood == "hangs":
            raise UpstreamError("OMG-P003", "it hangs")
        if self.mood == "says no":
            raise UpstreamError("OMG-M007", "no")
        return 1, Receipt()


@pytest.mark.promise("WARD-15")
def test_a_program_that_hangs_again_and_again_is_left_alone_and_tried_once() -> None:
    async def run() -> None:
        moody = Moody()
        world = Lab(effectors={"process": moody})
        world.world.warden.break_on([Breaker(name="moody", flow="look", failures=2, within_s=60, open_s=30)])
        for number in range(4):
            await world.run(look, 1, execution=f"run-{number}")
        assert moody.asked == 2, "nothing was asked of it after that"
        refused = await world.engine.outcome("run-3")
        assert code(refused) == "OMG-W011" and 0 < (refused.error or {})["details"]["wait_s"] <= 30
        told = dict(headers_of(refused.error or {}, status_of("OMG-W011")))
        assert status_of("OMG-W011") == 503 and 1 <= int(told[b"retry-after"]) <= 30
        denials = [leaf for leaf in world.leaves() if leaf.kind == "deny"]
        assert [(leaf.code, leaf.policies) for leaf in denials] == [("OMG-W011", ("circuit",))] * 2
        await world.clock.sleep(30)
        await world.run(look, 1, execution="still")
        assert moody.asked == 3 and code(await world.run(look, 1, execution="open")) == "OMG-W011"
        await world.clock.sleep(30)
        moody.mood = "works"
        assert [code(await world.run(look, 1, execution=f"better-{number}")) for number in range(2)] == ["", ""]
        assert (await world.replay("run-3", look)).identical

    run_virtual(run())


@pytest.mark.promise("WARD-15")
def test_an_answer_that_says_no_opens_nothing() -> None:
    async def run() -> None:
        moody = Moody()
        moody.mood = "says no"
        world = Lab(effectors={"process": moody})
        world.world.warden.break_on([Breaker(name="moody", flow="look", failures=1)])
        for number in range(3):
            assert code(await world.run(look, 1, execution=f"run-{number}")) == "OMG-M007"
        assert moody.asked == 3

    run_virtual(run())
