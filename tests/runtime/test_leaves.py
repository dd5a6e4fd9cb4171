"""Each gated decision and each outcome has a leaf, durable with the rows it covers and before the request it admits leaves."""

from __future__ import annotations

from typing import Any

import pytest

from omega import Command, Context, flow
from omega.kernel.journal import Kind
from omega.testing import Lab, Touch, run_virtual


@flow
def pure(value: int) -> int:
    return value + 1


@flow(effect="read", needs="process:run")
async def look(ctx: Context, value: int) -> int:
    found: int = await ctx.touch(Command(argv=("look", str(value))))
    return found


@flow(effect="write", needs="process:run")
async def send(ctx: Context, value: int) -> int:
    sent: int = await ctx.touch(Command(argv=("send", str(value))))
    return sent


@pytest.mark.promise("LOG-03")
def test_every_decision_and_outcome_of_a_touch_has_its_durable_leaf() -> None:
    lab = Lab()
    seen: list[list[tuple[str, str]]] = []

    def answer(touch: Touch) -> Any:
        """What is durable in the log at the very moment of the touch."""
        seen.append([(leaf.kind, leaf.step) for leaf in lab.leaves()])
        return 7

    lab.effectors["process"].answer = answer
    outcome = run_virtual(lab.run(pure | look | send, 1))
    assert (outcome.status, outcome.value) == ("done", 7)
    steps = [touch.step for touch in lab.effectors["process"].touches]
    assert [("admit", step) in before for before, step in zip(seen, steps, strict=True)] == [True, True]
    assert ("outcome", steps[0]) in seen[1], "the first result is durable before the second request leaves"
    kinds = [(leaf.kind, leaf.step) for leaf in lab.leaves()]
    assert kinds[0][0] == "entry"
    assert kinds[-1][0] == "end"
    gated = [row for row in lab.store.rows(outcome.execution) if row.kind in (Kind.INTENT, Kind.DONE) and row.position in steps]
    for row in gated:
        assert ("admit" if row.kind == Kind.INTENT else "outcome", row.position) in kinds


@pytest.mark.promise("LOG-03")
def test_a_denial_has_its_leaf() -> None:
    lab = Lab(policies={"none.cedar": '@id("no-look") @reason("nobody looks") forbid (principal, action == Action::"read", resource);'})
    outcome = run_virtual(lab.run(pure | look, 1))
    assert outcome.error is not None and outcome.error["code"] == "OMG-W001"
    assert not lab.effectors["process"].touches
    assert "deny" in [leaf.kind for leaf in lab.leaves()]
