"""Rights and budgets only shrink on the way down; permits serve once; ids sort by birth; errors survive their record."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega import Budget, Context, Denied, Effect, FlowError, OmegaError
from omega.kernel.budget import Spent
from omega.kernel.effects import strongest
from omega.kernel.errors import CODES, Fault, from_record
from omega.kernel.ids import is_chosen_id, is_id, new_id
from omega.kernel.scope import MAX_DELEGATION_DEPTH, Scope, mint_scope
from omega.kernel.verdict import Permit, mint_permit

CEILING = st.one_of(st.none(), st.integers(0, 1_000))
BUDGETS = st.builds(Budget, cost_micros=CEILING, tokens=CEILING, calls=CEILING)
SPENT = st.builds(Spent, cost_micros=st.integers(0, 500), tokens=st.integers(0, 500), calls=st.integers(0, 500))
WORDS = st.sampled_from(["files:read", "files:write", "files:*", "crm:read", "*", "tools:call", "crm:*"])
RIGHTS = st.frozensets(WORDS, max_size=5)


def scope(capabilities: frozenset[str] = frozenset({"*"})) -> Scope:
    return mint_scope(tenant="t", principal="person:ada", capabilities=capabilities, passport="pas_1", epoch=0, expires_at=10)


def within(inner: Budget, outer: Budget) -> bool:
    return all(
        b is None or (a is not None and a <= b)
        for a, b in ((inner.cost_micros, outer.cost_micros), (inner.tokens, outer.tokens), (inner.calls, outer.calls))
    )


@given(BUDGETS, BUDGETS)
@pytest.mark.promise("FLOW-17")
def test_a_narrowed_budget_is_within_both(one: Budget, other: Budget) -> None:
    assert within(one.narrow(other), one) and within(one.narrow(other), other)
    assert one.narrow(other) == other.narrow(one) and one.narrow(one) == one


@given(BUDGETS, SPENT, SPENT)
def test_spending_never_gives_back_and_never_goes_below_zero(budget: Budget, first: Spent, second: Spent) -> None:
    left = budget.spend(first)
    assert within(left, budget) and within(left.spend(second), left)
    assert left.spend(second) == budget.spend(first + second)
    if not budget.allows(first):
        assert not budget.spend(second).allows(first)


def test_money_is_not_converted_silently() -> None:
    with pytest.raises(Denied) as refusal:
        Budget(cost_micros=1, currency="USD").narrow(Budget(cost_micros=1, currency="EUR"))
    assert refusal.value.code == "OMG-W005"


@given(RIGHTS, RIGHTS, WORDS)
@pytest.mark.promise("FLOW-17")
def test_a_narrowed_scope_holds_nothing_that_it_did_not_hold(held: frozenset[str], wanted: frozenset[str], word: str) -> None:
    whole = scope(held)
    narrowed = whole.narrow(wanted)
    assert not narrowed.has(word) or whole.has(word)
    assert narrowed.narrow(held | wanted).capabilities <= whole.capabilities | wanted
    assert (narrowed.tenant, narrowed.principal, narrowed.actors) == (whole.tenant, whole.principal, whole.actors)


def test_a_scope_cannot_be_made_widened_or_delegated_for_ever() -> None:
    with pytest.raises(Denied) as refusal:
        Scope("t", "person:ada", frozenset(), frozenset({"*"}), (), "local", "p", 0, 1)
    assert refusal.value.code == "OMG-T001"
    chain = scope()
    for depth in range(MAX_DELEGATION_DEPTH):
        chain = chain.acting(f"agent:{depth}")
    with pytest.raises(Denied) as refusal:
        chain.acting("agent:last")
    assert refusal.value.code == "OMG-T002"


@given(BUDGETS, BUDGETS, RIGHTS, RIGHTS)
def test_a_context_spawns_only_smaller_ones(mine: Budget, theirs: Budget, held: frozenset[str], wanted: frozenset[str]) -> None:
    nobody: Any = None
    context = Context(scope(held), mine, "exe", None, "0" * 32, "local", nobody)
    child = context.spawn(capabilities=wanted, budget=theirs)
    assert within(child.budget, mine) and all(context.scope.has(word) for word in child.scope.capabilities)
    assert not child.isolate().scope.capabilities


def test_the_fields_of_a_context_are_these() -> None:
    assert [each.name for each in fields(Context)] == ["scope", "budget", "execution", "deadline", "trace", "region", "_operations"]


@given(st.lists(st.sampled_from(list(Effect)), max_size=6))
def test_the_strongest_effect_bounds_all(effects: list[Effect]) -> None:
    top = strongest(*effects)
    assert all(effect.rank <= top.rank for effect in effects) and (top in effects or not effects)


def permit(now: list[float], **changes: Any) -> Permit:
    facts: dict[str, Any] = {"tenant": "t", "execution": "e", "step": "s", "epoch": 1, "port": "files", "commitment": b"\1" * 32}
    return mint_permit(**{**facts, "ttl_s": 30.0, "clock": lambda: now[0], **changes})


@pytest.mark.promise("GATE-04")
def test_a_permit_serves_once_for_its_port_while_it_is_fresh() -> None:
    now = [100.0]
    used = permit(now)
    used.spend("files")
    with pytest.raises(Denied):
        used.spend("files")
    other = permit(now)
    with pytest.raises(Denied):
        other.spend("process")
    with pytest.raises(Denied):
        other.spend("files")
    old = permit(now)
    now[0] += 31
    with pytest.raises(Denied) as refusal:
        old.spend("files")
    assert refusal.value.code == "OMG-W006"
    assert permit(now).covers(b"\1" * 32) and not permit(now).covers(b"\2" * 32)


@pytest.mark.promise("GATE-05")
def test_a_permit_is_not_forged_copied_or_sent() -> None:
    real = permit([0.0])
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(Denied):
            way(real)
    with pytest.raises(Denied):
        Permit(object(), tenant="t", execution="e", step="s", epoch=1, port="files", commitment=b"", ttl_s=1.0, clock=lambda: 0.0)
    with pytest.raises(TypeError):
        replace(real)  # type: ignore[type-var]


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_have_their_form_and_sort_by_birth(one: int, other: int, first: bytes, second: bytes) -> None:
    a, b = new_id("exe", now_ms=one, entropy=first), new_id("exe", now_ms=other, entropy=second)
    assert is_id(a) and a[4 + 12] == "7" and a[4 + 16] in "89ab"
    if one != other:
        assert (a < b) == (one < other)


@pytest.mark.parametrize("text", ["", "a/b", "../x", "a b", "-a", ".a", "x" * 65, "ä", "a\n"])
def test_an_id_that_a_person_cannot_choose(text: str) -> None:
    assert not is_chosen_id(text)


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_survives_its_record(code: str) -> None:
    assert CODES[code].title and CODES[code].advice and isinstance(CODES[code].fault, Fault)
    for kind in OmegaError.__subclasses__():
        error = kind(code, "it happened", details={"a": [1]})
        again = from_record(error.record())
        assert type(again) is kind and again.record() == error.record()
        assert pickle.loads(pickle.dumps(error)).record() == error.record()


def test_a_record_of_a_later_release_is_read_as_well_as_can_be() -> None:
    error = from_record({"family": "future", "code": "OMG-Z999", "cause": "new"})
    assert isinstance(error, FlowError) and error.code == "OMG-R001" and error.cause == "new"
