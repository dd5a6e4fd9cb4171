"""Values that cannot be kept: the step that gave one ends, once, with its name, its line and the path of what is wrong."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from omega import Command, Context, flow, foreach
from omega.kernel import types
from omega.kernel.journal import Kind
from omega.testing import run_virtual
from runtime.flows import RUNS, code, double, lab


class Row(BaseModel):
    """A row of a table that lacks a type for its cell."""

    cell: Any


def giving(result: Any, annotation: Any, **facts: Any) -> Any:
    """A step that gives `result` where `annotation` is promised."""
    if facts:

        async def odd(ctx: Context, n: int) -> Any:
            await ctx.touch(Command(argv=("look", "1")))
            return result
    else:

        def odd(n: int) -> Any:  # type: ignore[misc]
            RUNS.append("odd")
            return result

    odd.__annotations__["return"] = annotation
    return flow(**facts)(odd) if facts else flow(odd)


NESTED = {"items": [1, {"when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}]}
CASES = [
    (NESTED, Any, "value['items'][1]['when'] is a datetime"),
    ([1, {2, 3}], list[Any], "value[1] is a set"),
    ({"a": {(1, 2): 3}}, dict[str, Any], "value['a'] has a key of type tuple"),
    ({"a": float("nan")}, dict[str, Any], "value['a'] is nan"),
    ([[1.0], [float("inf")]], list[list[float]], "value[1][0] is inf"),
    (Row(cell=object()), Row, "value.cell is a object"),
    ({"n": "x"}, dict[str, int], "n: "),
    (lambda: 1, Any, "value is a function"),
    (Decimal(1), int, "Decimal where int was promised"),
]


@pytest.mark.promise("FLOW-69")
@pytest.mark.parametrize(("result", "annotation", "path"), CASES, ids=[path for *_, path in CASES])
@pytest.mark.parametrize("gated", [False, True])
def test_the_error_names_step_line_and_path_and_nothing_is_tried_again(result: Any, annotation: Any, path: str, gated: bool) -> None:
    async def run() -> None:
        RUNS.clear()
        world = lab()
        step = giving(result, annotation, **({"effect": "read", "needs": "process:run"} if gated else {}))
        failed = await world.run(foreach(step.retry(3)), [1], execution="run")
        error = failed.error or {}
        assert failed.status == "failed" and code(failed) == "OMG-R002"
        assert error["cause"].startswith("foreach.0/odd (test_unstorable.py:") and path in error["cause"]
        assert error["details"]["step"] == "foreach.0/odd"
        assert RUNS.count("odd") + len(world.effectors["process"].touches) == 1, "it was tried again"
        assert sum(row.kind == Kind.FAILED for row in world.store.rows("run")) == 1
        assert (await world.replay("run", foreach(step.retry(3)))).identical

    run_virtual(run())


@pytest.mark.promise("FLOW-69")
@pytest.mark.parametrize("gated", [False, True])
def test_a_result_over_the_limit_is_terminal_and_names_its_step(gated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types, "MAX_PAYLOAD", 10_000)

    async def run() -> None:
        RUNS.clear()
        world = lab()
        step = giving("x" * 10_001, str, **({"effect": "read", "needs": "process:run"} if gated else {}))
        whole = step.retry(5).fallback(step)
        failed = await world.run(whole, 1, execution="run")
        assert code(failed) == "OMG-R003" and (failed.error or {})["cause"].startswith("odd (test_unstorable.py:")
        assert RUNS.count("odd") + len(world.effectors["process"].touches) == 1
        assert max(len(row.payload or b"") for row in world.store.rows("run")) < 10_000, "the value was kept all the same"
        assert (await world.resume("run", whole)).status == "failed"
        assert RUNS.count("odd") + len(world.effectors["process"].touches) == 1

    run_virtual(run())


def test_a_value_handed_to_a_step_is_named_by_the_step_that_hands_it_over() -> None:
    @flow
    def takes(given: dict[str, Any]) -> int:
        return 1

    @flow
    async def hands(ctx: Context, n: int) -> int:
        return int(await ctx.call(double, n)) + int(await ctx.call(takes, {"a": {"b": object()}}))

    async def run() -> None:
        failed = await lab().run(hands, 1)
        assert code(failed) == "OMG-R002"
        cause = (failed.error or {})["cause"]
        assert cause.startswith("hands (test_unstorable.py:") and "value['a']['b'] is a object" in cause

    run_virtual(run())
