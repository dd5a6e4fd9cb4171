"""Contexts: no sequence of spawn, isolate, merge, checkpoint, restore and call ever widens rights, budget or time."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import Budget, Context, Denied, FlowError, InputError, flow
from omega.kernel.scope import Scope
from omega.testing import Lab, run_virtual
from runtime.flows import code, lab, look

AREAS = ("files", "tools", "process")
CAPABILITIES = [f"{area}:{verb}" for area in AREAS for verb in ("read", "write", "*")] + ["*"]
LAB = Lab()

capabilities = st.lists(st.sampled_from(CAPABILITIES), max_size=5)
amounts = st.none() | st.integers(0, 1_000)
budgets = st.builds(Budget, cost_micros=amounts, tokens=amounts, calls=amounts)
steps = st.one_of(
    st.tuples(st.just("spawn"), capabilities, budgets),
    st.tuples(st.just("isolate")),
    st.tuples(st.just("merge"), st.integers(0, 20)),
    st.tuples(st.just("checkpoint"), st.integers(0, 20)),
    st.tuples(st.just("restore"), st.integers(0, 20)),
)


def context(held: list[str], budget: Budget | None = None, deadline: float | None = None, **facts: Any) -> Context:
    scope: Scope = LAB.scope(capabilities=held or ["none:none"])
    nobody: Any = None
    return replace(Context(scope, budget or Budget(), "run-1", deadline, "0" * 32, "local", nobody), **facts)


def may(scope: Scope) -> frozenset[str]:
    """Every capability of a small world that a scope holds, wildcards spelled out."""
    return frozenset(f"{area}:{verb}" for area in AREAS for verb in ("read", "write", "call") if scope.has(f"{area}:{verb}"))


def within(child: Budget, parent: Budget) -> bool:
    pairs = ((child.cost_micros, parent.cost_micros), (child.tokens, parent.tokens), (child.calls, parent.calls))
    return all(ceiling is None or (amount is not None and amount <= ceiling) for amount, ceiling in pairs)


@pytest.mark.promise("FLOW-17")
@pytest.mark.promise("FLOW-67")
@given(
    held=capabilities,
    budget=budgets,
    deadline=st.none() | st.floats(1, 1e9),
    tree=st.lists(st.tuples(st.integers(0, 20), steps), max_size=25),
)
@settings(max_examples=120, deadline=None)
def test_nothing_in_any_tree_of_contexts_is_wider_than_what_it_was_made_from(
    held: list[str], budget: Budget, deadline: float | None, tree: list[tuple[int, Any]]
) -> None:
    root = context(held, budget, deadline)
    made, saved = [root], [root.checkpoint()]
    for which, step in tree:
        parent = made[which % len(made)]
        match step:
            case ("spawn", wanted, wanted_budget):
                child = parent.spawn(capabilities=wanted, budget=wanted_budget)
                assert within(child.budget, wanted_budget)
            case ("isolate",):
                child = parent.isolate()
                assert not may(child.scope)
            case ("merge", other):
                partner = made[other % len(made)]
                child = parent.merge(partner)
                assert may(child.scope) == may(parent.scope) & may(partner.scope), "a merge is what both may do, no more and no less"
                assert within(child.budget, partner.budget) and may(partner.merge(parent).scope) == may(child.scope)
            case ("checkpoint", _):
                saved.append(json.loads(json.dumps(parent.checkpoint())))
                child = parent.restore(saved[-1])
                assert (may(child.scope), child.budget) == (may(parent.scope), parent.budget)
            case _:
                child = parent.restore(saved[step[1] % len(saved)])
        made.append(child)
        assert may(child.scope) <= may(parent.scope) <= may(root.scope)
        assert within(child.budget, parent.budget) and within(child.budget, root.budget)
        assert root.deadline is None or (child.deadline is not None and child.deadline <= root.deadline)
        assert (child.scope.principal, child.execution, child.trace) == (root.scope.principal, root.execution, root.trace)


@given(a=capabilities, b=capabilities, c=capabilities)
@settings(max_examples=60, deadline=None)
def test_merging_is_commutative_associative_and_idempotent(a: list[str], b: list[str], c: list[str]) -> None:
    root = context(["*"])
    one, two, three = (root.spawn(capabilities=held) for held in (a, b, c))
    assert may(one.merge(two).scope) == may(two.merge(one).scope)
    assert may(one.merge(two).merge(three).scope) == may(one.merge(two.merge(three)).scope)
    assert one.merge(one).scope == one.scope


@pytest.mark.promise("FLOW-67")
def test_a_forged_checkpoint_gives_nothing() -> None:
    weak = context(["files:read"], Budget(calls=3))
    forged = weak.checkpoint() | {"capabilities": ["*"], "budget": Budget().record(), "deadline": None}
    assert weak.restore(forged) == weak


def test_contexts_of_others_are_neither_merged_nor_restored() -> None:
    mine = context(["*"])
    others = [
        replace(mine, execution="run-2"),
        replace(mine, scope=LAB.scope("person:grace")),
        replace(mine, scope=mine.scope.acting("agent:bot")),
    ]
    for other in others:
        for act in (lambda other=other: mine.merge(other), lambda other=other: mine.restore(other.checkpoint())):
            with pytest.raises(FlowError, match="OMG-R046"):
                act()


@pytest.mark.parametrize(
    "change",
    [
        {"who": None},
        {"capabilities": 1},
        {"budget": {}},
        {"budget": {"cost_micros": "1", "tokens": None, "calls": None, "currency": "USD"}},
        {"budget": {"cost_micros": -1, "tokens": None, "calls": None, "currency": "USD"}},
        {"deadline": "soon"},
    ],
)
def test_what_is_no_checkpoint_is_refused(change: dict[str, Any]) -> None:
    mine = context(["*"])
    with pytest.raises(InputError, match="OMG-I001"):
        mine.restore(mine.checkpoint() | change)
    with pytest.raises(InputError, match="OMG-I001"):
        mine.restore({})


def test_money_is_not_converted_when_contexts_are_merged() -> None:
    with pytest.raises(Denied, match="OMG-W005"):
        mine = context(["*"], Budget(cost_micros=1))
        mine.merge(replace(mine, budget=Budget(cost_micros=1, currency="EUR")))


def test_a_context_has_these_attributes_and_no_others() -> None:
    assert [field.name for field in fields(Context)] == ["scope", "budget", "execution", "deadline", "trace", "region", "_operations"]


@flow
async def saves(ctx: Context, n: int) -> dict[str, Any]:
    """Narrow, save, and hand the record on."""
    return ctx.spawn(capabilities=["tools:call"]).checkpoint()


@flow
async def tries(ctx: Context, n: int) -> int:
    """What was saved under narrow rights is restored, in the very same run, under wide ones."""
    narrow = ctx.restore(await ctx.call(saves, n))
    return int(await narrow.call(look, n))


@flow
async def merged(ctx: Context, n: int) -> int:
    """One side lacks what the other has."""
    left, right = ctx.spawn(capabilities=["process:run", "tools:call"]), ctx.spawn(capabilities=["process:*"])
    return int(await left.merge(right).call(look, n)) + int(await left.merge(ctx.isolate()).call(look, n))


@pytest.mark.promise("FLOW-67")
@pytest.mark.parametrize("whole", [tries, merged])
def test_the_gate_sees_the_narrowed_rights(whole: Any) -> None:
    async def run() -> None:
        world = lab()
        denied = await world.run(whole, 1)
        assert code(denied) == "OMG-W008" and len(world.effectors["process"].touches) == (whole is merged)
        assert (await world.replay(denied.execution, whole)).identical

    run_virtual(run())


@flow
async def explore(ctx: Context, plan: list[Any]) -> list[Any]:
    """What this context may do, and what those below it may: the plan says for each how its context is made."""
    below = []
    for how, wanted, rest in plan:
        child = ctx.isolate() if how == "isolate" else ctx.spawn(capabilities=wanted, budget=Budget(calls=len(wanted)))
        child = ctx.merge(child) if how == "merge" else ctx.restore(child.checkpoint()) if how == "restore" else child
        below.append(await child.call(explore, rest))
    return [sorted(may(ctx.scope)), ctx.budget.calls, below]


plans = st.recursive(
    st.just([]),
    lambda inner: st.lists(st.tuples(st.sampled_from(["spawn", "isolate", "merge", "restore"]), capabilities, inner).map(list), max_size=3),
    max_leaves=8,
)


@pytest.mark.promise("FLOW-17")
@given(held=capabilities, plan=plans)
@settings(max_examples=25, deadline=None)
def test_nothing_called_in_any_tree_has_more_than_its_caller(held: list[str], plan: list[Any]) -> None:
    async def run() -> list[Any]:
        world = Lab()
        done = await world.run(explore, plan, scope=world.scope(capabilities=[*held, "flows:run"]), budget=Budget(calls=9))
        assert (await world.replay(done.execution, explore)).identical
        return list(done.value)

    def check(node: list[Any]) -> None:
        rights, calls, below = node
        for child in below:
            assert set(child[0]) <= set(rights) and child[1] <= calls
            check(child)

    root = run_virtual(run())
    assert root[1] == 9
    check(root)
