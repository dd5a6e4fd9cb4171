"""What authors' code may throw at the engine: odd exceptions, values that cannot be stored, tasks left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from omega import Command, Context, FlowError, flow, parallel
from omega.kernel.journal import MAX_PAYLOAD, Kind
from omega.testing import Crash, run_virtual
from runtime.flows import code, double, lab, look

SECRET = "hunter2-hunter2"


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Holds(Exception):
    def __init__(self) -> None:
        super().__init__({"password": SECRET})
        self.password = SECRET


class OnlyABase(BaseException):
    pass


def raises(error: BaseException) -> Any:
    @flow
    def odd(n: int) -> int:
        raise error

    return odd


@pytest.mark.parametrize(
    "error",
    [
        ValueError("plain"),
        Wordless(),
        Holds(),
        SystemExit(3),
        StopIteration(),
        StopAsyncIteration(),
        TimeoutError(),
        RecursionError("deep"),
        MemoryError(),
        ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        OSError(28, "no space left on device"),
        ValueError("x" * 100_000),
        ValueError("\ud800 lone surrogate \x00"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("gated", [False, True])
def test_whatever_a_step_raises_is_its_failure(error: BaseException, gated: bool) -> None:
    @flow(effect="read", needs="process:run")
    async def odd_read(ctx: Context, n: int) -> int:
        raise error

    whole = odd_read if gated else raises(error)

    async def run() -> None:
        world = lab()
        failed = await world.run(whole, 1, execution="run")
        assert failed.status == "failed" and code(failed) == "OMG-R001"
        cause = (failed.error or {})["cause"]
        assert (
            type(error).__name__ in cause or "RuntimeError" in cause
        )  # Python itself turns StopIteration of a coroutine into a RuntimeError
        assert ("test_odd_values.py:" in cause or isinstance(error, StopIteration)) and len(cause) < 1_000
        assert all(SECRET.encode() not in row.meta for row in world.store.rows("run"))
        assert not any(SECRET.encode() in leaf for leaf in world.store.leaves("lab"))
        assert not any(SECRET in repr(moment) for moment in world.moments)
        assert (await world.replay("run", whole)).identical and world.verify().sound
        assert (await world.run(whole.fallback(double), 4)).value == 8

    run_virtual(run())


def test_what_is_no_exception_of_anybody_leaves_the_run_to_be_resumed() -> None:
    async def run() -> None:
        world = lab()
        with pytest.raises(OnlyABase):
            await world.run(double | raises(OnlyABase()), 1, execution="run")
        assert world.store.line("run") is None or world.store.line("run").status == "running"

    run_virtual(run())


@pytest.mark.promise("FLOW-18")
@pytest.mark.parametrize(
    ("value", "refused", "path"),
    [
        (lambda: {"rows": [1, {"seen": {1, 2}}]}, "OMG-R002", "value['rows'][1]['seen'] is a set"),
        (lambda: {"file": open}, "OMG-R002", "value['file'] is a"),
        (lambda: {"ratio": float("nan")}, "OMG-R002", "value['ratio'] is nan"),
        (lambda: ["x" * MAX_PAYLOAD], "OMG-R003", "over the limit"),
    ],
)
@pytest.mark.parametrize("gated", [False, True])
def test_a_result_that_cannot_be_stored_fails_its_step_with_the_path(value: Any, refused: str, path: str, gated: bool) -> None:
    @flow
    def pure(n: int) -> Any:
        return value()

    @flow(effect="read", needs="process:run")
    async def read(ctx: Context, n: int) -> Any:
        await ctx.touch(Command(argv=("look", "1")))
        return value()

    async def run() -> None:
        world = lab()
        failed = await world.run(read if gated else pure, 1, execution="run")
        assert failed.status == "failed" and code(failed) == refused and path in (failed.error or {})["cause"]
        assert [Kind(row.kind) for row in world.store.rows("run")][-2:] == [Kind.FAILED, Kind.FINISHED]

    run_virtual(run())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.promise("RUN-01")
@given(JSON)
@example(2.510426587846637e195)
@example({"small": 5e-324, "zero": -0.0, "whole": 1e22, "long": 10**40})
def test_whatever_was_stored_is_found_whole_again(value: Any) -> None:
    """The same number has several spellings in JSON: what is checked on the way back is the bytes, not one of them."""

    @flow(effect="read", needs="process:run")
    async def dies_once(ctx: Context, given: Any) -> Any:
        await ctx.touch(Command(argv=("look", "1")))
        return given

    @flow
    def same(given: Any) -> Any:
        return given

    async def run() -> None:
        world, whole = lab(), same | dies_once | same
        world.effectors["process"].answer = crashes
        with pytest.raises(Crash):
            await world.run(whole, value, execution="run")
        again = lab(start=world.store.snapshot(), clock=world.clock, seed="next")
        assert (await again.resume("run", whole)).value == value
        assert (await again.replay("run", whole)).identical and again.verify().sound

    run_virtual(run())


def crashes(touch: Any) -> Any:
    raise Crash


class Sent(BaseModel):
    to: str
    amount: int


@pytest.mark.promise("GATE-15")
@pytest.mark.parametrize("kind", [dict[str, Any], Sent])
def test_nobody_changes_what_a_step_was_admitted_with(kind: Any) -> None:
    """A branch that runs beside it, whoever made the value, and an attempt before it all held the same object once."""
    made: list[Any] = []

    def changed(given: Any) -> int:
        if isinstance(given, Sent):
            given.amount = 1_000_000
        else:
            given["amount"] = 1_000_000
        return 1

    def order(n: int) -> Any:
        made.append(kind(to="ada", amount=n))
        return made[-1]

    async def pay(ctx: Context, given: Any) -> int:
        changed(made[-1])
        return int(given.amount if isinstance(given, Sent) else given["amount"])

    async def first(ctx: Context, given: Any) -> int:
        changed(given)
        raise ValueError("no")

    order.__annotations__ |= {"return": kind}
    for task in (changed, pay, first):
        task.__annotations__ |= {"given": kind}
    taken, paid, tried = flow(order), flow(effect="write", needs="process:run")(pay), flow(effect="read", needs="process:run")(first)

    async def run() -> None:
        world = lab()
        assert (await world.run(taken | parallel(flow(changed), paid), 5, execution="beside")).value == [1, 5]
        assert (await world.run(taken | tried.fallback(paid), 5, execution="after")).value == 5
        assert (await world.run(taken | tried.retry(2).fallback(paid), 5)).value == 5
        for name, whole in (("beside", taken | parallel(flow(changed), paid)), ("after", taken | tried.fallback(paid))):
            assert (await world.replay(name, whole)).identical

    run_virtual(run())


def test_a_touch_in_a_pure_flow_is_refused() -> None:
    @flow
    async def sly(ctx: Context, n: int) -> int:
        return int(await ctx.touch(Command(argv=("look", "1"))))

    async def run() -> None:
        world = lab()
        refused = await world.run(sly, 1)
        assert code(refused) == "OMG-R013" and world.effectors["process"].touches == []

    run_virtual(run())


@pytest.mark.promise("GATE-15")
def test_a_pure_step_cannot_reach_an_effector_by_another_door() -> None:
    """A context kept from a step that had one, or from a step that ended, opens nothing."""
    kept: list[Context] = []

    @flow(effect="read", needs="process:run")
    async def keeps(ctx: Context, n: int) -> int:
        kept.append(ctx)
        return n

    @flow
    async def borrows(ctx: Context, n: int) -> int:
        return int(await kept[0].touch(Command(argv=("look", "1"))))

    async def run() -> None:
        world = lab()
        refused = await world.run(keeps | borrows, 1)
        assert code(refused) == "OMG-R008" and world.effectors["process"].touches == []

    run_virtual(run())


def test_a_task_left_behind_touches_nothing_after_its_step() -> None:
    late: list[asyncio.Task[Any]] = []

    @flow(effect="read", needs="process:run")
    async def leaves(ctx: Context, n: int) -> int:
        async def later() -> Any:
            await asyncio.sleep(5)
            return await ctx.touch(Command(argv=("look", "1")))

        late.append(asyncio.create_task(later()))
        return n

    async def run() -> None:
        world = lab()
        assert (await world.run(leaves, 1)).status == "done"
        with pytest.raises(FlowError) as refused:
            await late[0]
        assert refused.value.code == "OMG-R008" and world.effectors["process"].touches == []

    run_virtual(run())


def test_a_step_touches_the_world_a_bounded_number_of_times() -> None:
    @flow(effect="read", needs="process:run")
    async def greedy(ctx: Context, n: int) -> int:
        for _ in range(1_000):
            await ctx.touch(Command(argv=("look", "1")))
        return n

    async def run() -> None:
        world = lab()
        assert code(await world.run(greedy, 1)) == "OMG-R016" and len(world.effectors["process"].touches) == 64

    run_virtual(run())


def test_many_runs_at_once_do_not_meet() -> None:
    async def run() -> None:
        world = lab()
        outcomes = await asyncio.gather(*(world.run(double | look, n, execution=f"run{n}") for n in range(50)))
        assert [outcome.value for outcome in outcomes] == [2 * n + 1 for n in range(50)] and world.verify().sound

    run_virtual(run())


class Named(BaseModel):
    n: int


@flow
def says_anything(n: int) -> Any:
    return {"n": n}


@flow
def takes_named(named: Named) -> str:
    return f"{type(named).__name__} {named.n}"


@flow
def takes_text(text: str) -> str:
    return text


@flow
def pair(both: tuple[Named, Named]) -> int:
    return both[0].n + both[1].n


def test_what_anything_gives_is_read_as_the_next_flow_takes_it() -> None:
    async def whole() -> None:
        world = lab()
        told = await world.run(says_anything | takes_named, 3)
        assert (told.status, told.value) == ("done", "Named 3")
        assert (await world.run(parallel(says_anything, says_anything) | pair, 3)).value == 6
        wrong = await world.run(says_anything | takes_text, 3)
        assert wrong.error is not None
        assert wrong.error["code"] == "OMG-I001"

    run_virtual(whole())
