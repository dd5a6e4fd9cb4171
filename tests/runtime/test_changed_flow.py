"""A flow that changed while it was running, or since it ran: named with both steps, file and line. The kinds of change are listed as
data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from omega import Context, OmegaError, flow, foreach, parallel, race, switch, tool, when
from omega.kernel.definition import Flow, Tool
from omega.testing import run_virtual
from runtime.flows import double, lab, look, note, save, wipe

Anything = Flow[Any, Any]


@flow
def half(n: int) -> int:
    return n // 2


@flow
def kind(n: int) -> str:
    return "a" if n > 3 else "b"


@flow
def positive(n: int) -> bool:
    return n > 0


@flow
def listed(n: int) -> list[int]:
    return [n, n + 1]


@flow
def summed(items: list[int]) -> int:
    return sum(items)


@flow
def with_arguments(n: int) -> dict[str, Any]:
    return {"id": n}


@flow
def one_of(pair: tuple[int, int]) -> int:
    return pair[0]


def again(part: Anything, source: str) -> Anything:
    """`part` with another function behind it, defined in a text of its own."""
    namespace: dict[str, Any] = {"Context": Context}
    exec(compile(source, "/elsewhere/changed.py", "exec"), namespace)
    return replace(part, body=replace(part.body, function=namespace[part.name], where="changed.py:1"), _digest=[])


def dynamic(*calls: Any) -> Anything:
    """An imperative flow whose source stays the same while what it calls changes; it waits for an approval at its end."""

    @flow
    async def steps(ctx: Context, n: int) -> int:
        for call in calls:
            n = await call(ctx, n)
        return int(await ctx.call(wipe, n))

    return steps


def calls(part: Anything, plus: int = 0) -> Callable[[Context, int], Any]:
    async def call(ctx: Context, n: int) -> int:
        return int(await ctx.call(part, n + plus))

    return call


async def draws(ctx: Context, n: int) -> int:
    await ctx.random()
    return n


async def looks_at_the_clock(ctx: Context, n: int) -> int:
    await ctx.now()
    return n


async def sleeps(ctx: Context, n: int) -> int:
    await ctx.sleep(1)
    return n


async def branches(ctx: Context, n: int) -> int:
    return int(sum(await ctx.parallel((double, n), (half, n))))


async def branches_otherwise(ctx: Context, n: int) -> int:
    return int(sum(await ctx.parallel((half, n), (double, n))))


other_double = again(double, "def double(n: int) -> int:\n    return n * 2 + 0\n")
wrong_double = again(double, "def double(n: int) -> int:\n    return n * 3\n")
lookup = tool("crm", "lookup", effect="read")


def pinned(leaf: Anything, pin: str) -> Anything:
    body = leaf.body
    assert isinstance(body, Tool)
    return with_arguments | replace(leaf, body=replace(body, pin=pin), _digest=[])


@dataclass(frozen=True)
class Change:
    """One kind of change. Each flow ends in `wipe`, which waits for an approval, so that both a resume and a replay meet it."""

    kind: str
    then: Anything
    now: Anything


CHANGES = (
    Change("a step renamed", double | look, double.named("twice") | look),
    Change("a step with another version", double | look, double.named("double", version="2.0.0") | look),
    Change("a step with other code", double | look, other_double | look),
    Change("a step with other code and another result", double | look, wrong_double | look),
    Change("a step replaced", double | look, half | look),
    Change("a step added at the front", double | look, half | double | look),
    Change("a step added in the middle", double | look, double | half | look),
    Change("a step added at the end", double | look, double | look | half),
    Change("a step removed at the front", half | double | look, double | look),
    Change("a step removed in the middle", double | half | look, double | look),
    Change("a step removed at the end", double | look | half, double | look),
    Change("two steps swapped", double | half, half | double),
    Change("a step that reads now writes", look, replace(look, effect=save.effect, _digest=[])),
    Change("a step that was pure reads now", double, replace(double, effect=look.effect, _digest=[])),
    Change("a step that needs an approval", note, note.approved_by("owner")),
    Change("a step with other rights", look, replace(look, needs=frozenset({"process:run", "crm:read"}), _digest=[])),
    Change("branches swapped", parallel(double, half) | one_of, parallel(half, double) | one_of),
    Change("a branch replaced", parallel(double, half) | one_of, parallel(double, double) | one_of),
    Change("a parallel that was a race", parallel(double, half) | one_of, race(double, half)),
    Change("racers swapped", race(double, half), race(half, double)),
    Change("another predicate", when("out > 2", then=double, otherwise=half), when("out > 3", then=double, otherwise=half)),
    Change("a predicate that is a flow now", when("out > 0", then=double), when(positive, then=double)),
    Change("cases of a switch renamed", switch(kind, {"a": double, "b": half}), switch(kind, {"a": double, "c": half}, default=half)),
    Change("cases of a switch swapped", switch(kind, {"a": double, "b": half}), switch(kind, {"b": double, "a": half})),
    Change("a branch that was not there", when("out > 0", then=double), when("out > 0", then=double, otherwise=half)),
    Change("the step of a foreach", listed | foreach(double) | summed, listed | foreach(half) | summed),
    Change("how many at once", listed | foreach(double, at_once=2) | summed, listed | foreach(double, at_once=3) | summed),
    Change("a retry added", look, look.retry(3)),
    Change("more attempts", look.retry(3), look.retry(4)),
    Change("another delay", look.retry(3), look.retry(3, backoff_s=9.0)),
    Change("a timeout added", look, look.timeout(5)),
    Change("another time limit", look.timeout(5), look.timeout(6)),
    Change("a way out of a timeout", look.timeout(5), look.timeout(5, otherwise=double)),
    Change("a fallback added", look, look.fallback(double)),
    Change("another fallback", look.fallback(double), look.fallback(half)),
    Change("a cache added", double, double.cached()),
    Change("another life of a cache", double.cached(ttl_s=5), double.cached(ttl_s=6)),
    Change("a composite renamed", (double | half).named("both") | look, (double | half).named("all") | look),
    Change("another tool", pinned(lookup, "1"), pinned(tool("crm", "search", effect="read"), "1")),
    Change("a tool whose description was accepted anew", pinned(lookup, "1"), pinned(lookup, "2")),
    Change("a tool of another server", pinned(lookup, "1"), pinned(tool("erp", "lookup", effect="read"), "1")),
    Change("called: another step", dynamic(calls(double)), dynamic(calls(half))),
    Change("called: another version", dynamic(calls(double)), dynamic(calls(double.named("double", version="1.1.0")))),
    Change("called: other code", dynamic(calls(double)), dynamic(calls(other_double))),
    Change("called: another input", dynamic(calls(double)), dynamic(calls(double, plus=1))),
    Change("called: one more, first", dynamic(calls(double)), dynamic(calls(half), calls(double))),
    Change("called: one more, last", dynamic(calls(double)), dynamic(calls(double), calls(half))),
    Change("called: one less", dynamic(calls(double), calls(half)), dynamic(calls(double))),
    Change("called: in another order", dynamic(calls(double), calls(half)), dynamic(calls(half), calls(double))),
    Change("called: a drawn number more", dynamic(calls(double)), dynamic(draws, calls(double))),
    Change("called: a drawn number less", dynamic(draws, calls(double)), dynamic(calls(double))),
    Change("called: the clock instead of a number", dynamic(draws), dynamic(looks_at_the_clock)),
    Change("called: a sleep more", dynamic(calls(double)), dynamic(sleeps, calls(double))),
    Change("called: branches in another order", dynamic(branches), dynamic(branches_otherwise)),
)


def test_the_corpus_is_large_enough() -> None:
    assert len({change.kind for change in CHANGES}) == len(CHANGES) >= 30


SOURCELESS = ("crm", "erp", "random", "now", "sleep", "parallel", "nothing", "steps")
"""Beginnings of what has no line of its own: tools, what a context draws, the end of a flow. The other side then says where."""


def assert_names_both(error: dict[str, Any], change: Change) -> None:
    assert error["code"] in ("OMG-R014", "OMG-R015"), error
    sides = [error["details"][side] for side in ("recorded", "now")]
    for told in sides:
        assert told["step"] or error["cause"].endswith(f"the end of {told['flow']}"), error
        assert told["step"].startswith(SOURCELESS) or not told["step"] or ".py:" in told["where"], error
    assert ".py:" in error["cause"] or "called" in change.kind or "tool" in change.kind, error


@pytest.mark.promise("RUN-05")
@pytest.mark.promise("RUN-25")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.kind)
def test_a_change_is_named_on_resume_and_on_replay(change: Change) -> None:
    async def run() -> None:
        world = lab()
        world.effectors["mcp"].answer = lambda touch: 4
        then = _ending(change.then)
        waits = await world.run(then, 4, execution="run")
        assert waits.status == "waiting", waits
        touches = [len(effector.touches) for effector in world.effectors.values()]
        try:
            resumed = await world.resume("run", _ending(change.now))
            error = dict(resumed.error or {})
        except OmegaError as refusal:
            error = refusal.record()
        assert_names_both(error, change)
        assert [len(effector.touches) for effector in world.effectors.values()] == touches, "a changed flow touched the world"
        await world.decide("run", "approve", step="wipe")
        done = await world.resume("run", then)
        assert done.status == "done", done
        touches = [len(effector.touches) for effector in world.effectors.values()]
        report = await world.replay("run", _ending(change.now))
        assert report.divergence is not None
        assert_names_both(dict(report.divergence), change)
        assert [len(effector.touches) for effector in world.effectors.values()] == touches

    run_virtual(run())


def _ending(part: Anything) -> Anything:
    return part if part.name == "steps" else part | tail | wipe


@flow
def tail(value: Any) -> int:
    return 1


def test_where_a_step_stands_in_its_file_does_not_matter() -> None:
    moved = replace(double, body=replace(double.body, where="elsewhere.py:99"), _digest=[])

    async def run() -> None:
        world = lab()
        await world.run(_ending(double), 4, execution="run")
        assert (await world.resume("run", _ending(moved))).status == "waiting"
        await world.decide("run", "approve", step="wipe")
        assert (await world.resume("run", _ending(moved))).status == "done"
        assert (await world.replay("run", _ending(moved))).identical

    run_virtual(run())


@pytest.mark.promise("RUN-04")
def test_a_replay_touches_nothing_and_writes_nothing() -> None:
    async def run() -> None:
        world = lab()
        whole = double | parallel(look, look.retry(2)) | one_of | note | save
        await world.run(whole, 4, execution="run")
        for effector in world.effectors.values():
            effector.touches.clear()
            effector.answer = None
        rows, leaves = len(world.store.rows("run")), len(world.leaves())
        report = await world.replay("run", whole)
        assert report.identical and (report.steps, report.again, report.recalled) == (6, 2, 4)
        assert not any(effector.touches for effector in world.effectors.values())
        await world.store.flush()
        assert (len(world.store.rows("run")), len(world.leaves())) == (rows, leaves)

    run_virtual(run())


def test_a_pure_step_that_gives_something_else_is_found_by_a_replay() -> None:
    drift = [0]

    @flow
    def drifts(n: int) -> int:
        drift[0] += 1
        return n + drift[0]

    @flow
    def breaks_later(n: int) -> int:
        if drift[0] > 1:
            raise ValueError("later")
        return n

    async def run() -> None:
        for whole in (drifts, drifts | breaks_later):
            drift[0] = 0
            world = lab()
            await world.run(whole, 4, execution="run")
            report = await world.replay("run", whole)
            assert report.divergence is not None and report.divergence["code"] == "OMG-R015"
            assert "test_changed_flow.py:" in report.divergence["cause"]

    run_virtual(run())
