"""Migration: a plan that says what would become of each execution, and carrying out exactly that."""

from __future__ import annotations

from typing import Any

import pytest

from omega import Context, Denied, FlowError, InputError, flow
from omega.kernel.journal import Kind, Status
from omega.runtime.migration import MAPPED, REFUSED, UNAFFECTED, migrate, plan
from omega.testing import run_virtual
from runtime.flows import RUNS, add, double, look, note
from runtime.test_worker import host, serve, stop


@flow
async def hold(ctx: Context, n: int) -> int:
    return n + int(await ctx.signal("go"))


@flow(version="2.0.0")
def tenfold(n: int) -> int:
    return n * 10


FIRST = (double | look | hold | add).named("order")
SECOND = (double | look | hold | tenfold).named("order")
OTHER = (look | double | hold | add).named("order")


@pytest.mark.promise("RUN-88")
def test_what_stands_still_goes_on_as_the_new_version_with_what_is_recorded() -> None:
    async def run() -> None:
        lab = host()
        _, task = serve(lab, FIRST)
        begun = await lab.enqueue(FIRST, 3)
        await lab.until(begun, Status.WAITING)
        await stop(task)
        waiting = await lab.enqueue(FIRST, 3)
        before = lab.store.counts.commits
        found = {step.execution: step for step in await plan(lab.world, [begun, waiting], SECOND)}
        assert found[begun].verdict == MAPPED and found[begun].steps == 2
        assert found[waiting].verdict == UNAFFECTED and lab.store.counts.commits == before
        for name in (begun, waiting):
            await migrate(lab.engine, name, SECOND, lab.scope())
        RUNS.clear()
        _, task = serve(lab, SECOND)
        for name in (begun, waiting):
            await lab.until(name, Status.WAITING)
            await lab.decide(name, "signal", name="go", value=3)
            await lab.until(name)
            assert (await lab.engine.outcome(name)).value == 100
        assert RUNS == ["double"], "only what was not begun runs its first step anew"
        assert lab.store.line(begun).version == SECOND.version
        await stop(task)
        assert [row.kind for row in lab.store.rows(begun)].count(Kind.MIGRATED) == 1 and lab.verify().sound

    run_virtual(run())


@pytest.mark.promise("RUN-88")
def test_what_took_another_way_is_refused_with_the_step_that_differs_and_left_as_it_is() -> None:
    async def run() -> None:
        lab = host()
        _, task = serve(lab, FIRST)
        begun = await lab.enqueue(FIRST, 3)
        await lab.until(begun, Status.WAITING)
        await stop(task)
        (step,) = await plan(lab.world, [begun], OTHER)
        assert step.verdict == REFUSED and "double" in step.reason and "look" in step.reason
        rows = len(lab.store.rows(begun))
        with pytest.raises(FlowError) as refused:
            await migrate(lab.engine, begun, OTHER, lab.scope())
        assert refused.value.code == "OMG-R023" and len(lab.store.rows(begun)) == rows
        _, task = serve(lab, FIRST)
        await lab.decide(begun, "signal", name="go", value=3)
        await lab.until(begun)
        assert (await lab.engine.outcome(begun)).value == 11
        await stop(task)

    run_virtual(run())


def test_a_changed_input_or_effect_is_refused() -> None:
    @flow(name="look", effect="idempotent", needs="process:run")
    async def bolder(ctx: Context, n: int) -> int:
        return n

    async def run() -> None:
        lab = host()
        _, task = serve(lab, FIRST)
        begun = await lab.enqueue(FIRST, 3)
        await lab.until(begun, Status.WAITING)
        await stop(task)
        steps = await plan(lab.world, [begun], (double | bolder | hold | add).named("order"))
        assert steps[0].verdict == REFUSED and "idempotent" in steps[0].reason

    run_virtual(run())


def test_an_imperative_flow_is_walked_through_its_own_steps() -> None:
    def made(last: Any) -> Any:
        @flow(name="imperative")
        async def imperative(ctx: Context, n: int) -> int:
            n = await ctx.call(double, n)
            n, _ = await ctx.parallel((look, n), (note, n))
            n = n + int(await ctx.signal("go"))
            return int(await ctx.call(last, n))

        return imperative

    old, new = made(add), made(tenfold)

    async def run() -> None:
        lab = host()
        _, task = serve(lab, old)
        begun = await lab.enqueue(old, 3)
        await lab.until(begun, Status.WAITING)
        await stop(task)
        (step,) = await plan(lab.world, [begun], new)
        assert step.verdict == MAPPED and step.steps == 3
        await migrate(lab.engine, begun, new, lab.scope())
        _, task = serve(lab, new)
        await lab.decide(begun, "signal", name="go", value=3)
        await lab.until(begun)
        assert (await lab.engine.outcome(begun)).value == 100
        await stop(task)

    run_virtual(run())


def test_only_who_may_decide_carries_over_and_only_what_stands_still() -> None:
    async def run() -> None:
        lab = host()
        name = await lab.enqueue(FIRST, 3)
        with pytest.raises(Denied):
            await migrate(lab.engine, name, SECOND, lab.scope("agent:helper"))
        _, task = serve(lab, FIRST)
        await lab.until(name, Status.WAITING)
        await lab.decide(name, "cancel")
        with pytest.raises(InputError):
            await migrate(lab.engine, name, SECOND, lab.scope())
        await stop(task)

    run_virtual(run())


def paid(version: str) -> Any:
    @flow(name="pay", effect="write", needs="process:run", version=version)
    def pay(n: int) -> int:
        RUNS.append(f"pay {version}")
        return n

    return (double | pay.approved_by("finance")).named("order")


def test_an_approval_of_the_old_code_is_no_approval_of_the_new() -> None:
    first, second = paid("1.0.0"), paid("2.0.0")

    async def run() -> None:
        lab = host()
        _, task = serve(lab, first)
        begun = await lab.enqueue(first, 3)
        await lab.until(begun, Status.WAITING)
        await stop(task)
        await lab.decide(begun, "approve")
        await migrate(lab.engine, begun, second, lab.scope())
        RUNS.clear()
        _, task = serve(lab, second)
        while not lab.past(begun).waits():
            await lab.clock.sleep(0.1)
        assert RUNS == [], "it was done on the word about other code"
        await lab.decide(begun, "approve")
        await lab.until(begun)
        assert RUNS == ["pay 2.0.0"] and (await lab.engine.outcome(begun)).value == 6
        await stop(task)
        assert lab.verify().sound

    run_virtual(run())


FORBIDDEN = """@id("held") @reason("version 2 is held back")
forbid(principal, action == Action::"run", resource == Flow::"order") when { resource.effect == "write" };
"""


def test_the_gate_is_asked_for_the_new_version_and_another_flow_is_none() -> None:
    async def run() -> None:
        lab = host(policies={"held.cedar": FORBIDDEN})
        name = await lab.enqueue(FIRST, 3)
        (step,) = await plan(lab.world, [name], FIRST.named("payroll"))
        assert step.verdict == REFUSED and "payroll is another flow" in step.reason
        with pytest.raises(Denied, match="held back"):
            await migrate(lab.engine, name, paid("1.0.0"), lab.scope())
        assert [row.kind for row in lab.store.rows(name)] == [Kind.STARTED]
        assert lab.leaves()[-1].kind == "deny" and lab.verify().sound

    run_virtual(run())


def test_who_lost_rights_since_carries_nothing_over() -> None:
    async def run() -> None:
        lab = host()
        name = await lab.enqueue(FIRST, 3, scope=lab.scope("person:bob", groups=("owner",)))
        with pytest.raises(Denied, match="does not hold now"):
            await migrate(lab.engine, name, SECOND, lab.scope("person:bob", groups=()))

    run_virtual(run())
