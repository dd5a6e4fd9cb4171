"""Groups of flows: the laws of their operations, and that none of them takes anything off a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import Context, DefinitionError, Effect, Group, flow, group, tool
from omega.kernel.definition import Flow, Tool
from omega.kernel.groups import Choice, consequential

Any_Flow = Flow[Any, Any]

NAMES = ("find", "look", "send", "wipe", "note", "crm/get", "crm/put")
EFFECTS = ("pure", "read", "idempotent", "write", "irreversible")


def acting(name: str, effect: str) -> Any_Flow:
    if "/" in name:
        server, _, what = name.partition("/")
        return tool(server, what, effect=effect)

    @flow(name=name, effect=effect, needs=f"{name}:use", tags=(effect,))
    async def act(ctx: Context, n: int) -> int:
        return n

    return act


ACTING = {(name, effect): acting(name, effect) for name in NAMES for effect in EFFECTS if "/" not in name or effect != "pure"}


@st.composite
def groups(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> Group:
    chosen: list[str] = draw(st.lists(st.sampled_from(names), unique=True, max_size=5))
    flows = [ACTING[name, draw(st.sampled_from(EFFECTS[1:] if "/" in name else EFFECTS))] for name in chosen]
    composed: bool = draw(st.booleans())
    if flows and composed:
        flows[0] = (flows[0] | flows[0]).named("twice")
    return group("all", *flows)


CHOICES: dict[str, Choice] = {
    "consequential": consequential,
    "harmless": lambda each: each.effect.repeatable,
    "leaf": lambda each: not each.children,
    "none": lambda each: False,
    "every": lambda each: True,
}
CHOICE = st.sampled_from(sorted(CHOICES)).map(CHOICES.__getitem__)
PREFIX = st.sampled_from(["", "x_", "a.", "crm_"])
OPERATIONS: dict[str, Callable[[Group], Group]] = {
    "filtered": lambda each: each.filtered(consequential),
    "prefixed": lambda each: each.prefixed("x_"),
    "approved": lambda each: each.approval_required("owner", when=lambda one: one.effect is not Effect.PURE),
    "bound": lambda each: each.with_policy(needs="extra:use", tags=("bound",), limit="30s"),
    "retrying": lambda each: each.retrying(2),
    "union": lambda each: each | group("other", ACTING["find", "pure"].named("another")),
}
OPERATION = st.sampled_from(sorted(OPERATIONS)).map(OPERATIONS.__getitem__)


def leaves(whole: Group) -> list[tuple[str, str, frozenset[str], str]]:
    return [(leaf.name, leaf.effect.value, leaf.needs, leaf.approver_role) for each in whole for leaf in each.leaves()]


@pytest.mark.promise("FLOW-47")
@given(groups(), CHOICE, CHOICE)
def test_filtered_twice_is_filtered_by_both(whole: Group, one: Choice, other: Choice) -> None:
    twice = whole.filtered(one).filtered(other)
    assert twice.digest == whole.filtered(lambda each: one(each) and other(each)).digest
    assert twice.digest == whole.filtered(other).filtered(one).digest
    assert whole.filtered(one).filtered(one).digest == whole.filtered(one).digest


@pytest.mark.promise("FLOW-47")
@given(groups(), PREFIX, PREFIX)
def test_prefixes_add_up(whole: Group, first: str, second: str) -> None:
    assert whole.prefixed(first).prefixed(second).digest == whole.prefixed(second + first).digest
    assert whole.prefixed("").digest == whole.digest


@pytest.mark.promise("FLOW-47")
@given(groups())
def test_renaming_is_undone_by_the_reverse(whole: Group) -> None:
    there = {name: f"n{index}" for index, name in enumerate(whole.names)}
    renamed = whole.renamed(there)
    assert renamed.names == tuple(there.values())
    assert renamed.renamed({new: old for old, new in there.items()}).digest == whole.digest
    assert whole.renamed({}).digest == whole.digest


def test_a_renaming_that_makes_two_flows_one_is_refused() -> None:
    whole = group("all", ACTING["find", "read"], ACTING["send", "write"])
    with pytest.raises(DefinitionError) as refusal:
        whole.renamed({"find": "send"})
    assert refusal.value.code == "OMG-F005" and "two flows called send" in refusal.value.cause
    with pytest.raises(DefinitionError) as refusal:
        whole.renamed({"gone": "send"})
    assert "there are: find, send" in refusal.value.cause
    assert whole.renamed({"find": "send", "send": "find"}).names == ("send", "find")


@given(groups(), groups(), groups())
def test_a_union_is_associative_and_takes_in_nothing_twice(one: Group, two: Group, three: Group) -> None:
    two, three = two.prefixed("b_"), three.prefixed("c_")
    assert ((one | two) | three).digest == (one | (two | three)).digest
    assert (one | one).digest == one.digest == (one | Group("none", ())).digest
    assert len(one | two) == len(one) + len(two)


def test_a_union_of_different_flows_with_one_name_is_refused() -> None:
    with pytest.raises(DefinitionError) as refusal:
        _ = group("a", ACTING["find", "read"]) | group("b", ACTING["find", "write"])
    assert refusal.value.code == "OMG-F005" and "prefixed" in refusal.value.advice


@given(groups(), OPERATION)
def test_choosing_by_what_does_not_change_may_come_first_or_last(whole: Group, operation: Callable[[Group], Group]) -> None:
    def by_effect(each: Any_Flow) -> bool:
        return each.name == "another" or each.effect.repeatable

    assert operation(whole.filtered(by_effect)).digest == operation(whole).filtered(by_effect).digest


@settings(deadline=None)
@pytest.mark.promise("FLOW-47")
@given(groups(), st.lists(OPERATION, max_size=4))
def test_nothing_takes_a_need_an_approval_or_an_effect_off_a_flow(whole: Group, operations: list[Callable[[Group], Group]]) -> None:
    strict = whole.approval_required("owner")
    changed = strict
    for operation in operations:
        try:
            changed = operation(changed)
        except DefinitionError as refusal:  # the same flow brought in a second time, under another digest
            assert refusal.code == "OMG-F005"
            return
    kept = [
        (leaf.effect, leaf.needs, leaf.approver_role)
        for each in changed.filtered(lambda one: not one.name.endswith("another"))
        for leaf in each.leaves()
    ]
    filtered = OPERATIONS["filtered"] in operations
    before = [leaf for each in (strict.filtered(consequential) if filtered else strict) for leaf in each.leaves()]
    assert len(kept) == len(before)
    for (effect, needs, role), leaf in zip(kept, before, strict=True):
        assert effect is leaf.effect and needs >= leaf.needs and (role == leaf.approver_role or not leaf.approver_role)


@given(groups())
def test_wrapping_keeps_names_and_changes_digests(whole: Group) -> None:
    for changed in (whole.retrying(2), whole.with_policy(limit=5), whole.with_policy(needs="x:y")):
        assert changed.names == whole.names
        touched = [(old, new) for old, new in zip(whole, changed, strict=True) if new is not old]
        assert all(old.digest != new.digest and (old.input, old.output) == (new.input, new.output) for old, new in touched)
    assert [each for each in whole.retrying(2) if not each.effect.repeatable] == [each for each in whole if not each.effect.repeatable]


def test_an_approval_is_asked_for_each_step_that_acts() -> None:
    inner = ACTING["look", "read"] | ACTING["send", "write"]
    whole = group("all", inner.named("both"), ACTING["find", "read"], ACTING["wipe", "irreversible"]).approval_required("owner")
    assert [(name, role) for name, _, _, role in leaves(whole)] == [("look", ""), ("send", "owner"), ("find", ""), ("wipe", "owner")]
    assert whole.approval_required("owner").digest == whole.digest
    with pytest.raises(DefinitionError) as refusal:
        whole.approval_required("auditor")
    assert refusal.value.code == "OMG-F003" and "owner already" in refusal.value.cause
    with pytest.raises(DefinitionError):
        group("all", ACTING["find", "pure"]).approval_required("owner", when=lambda each: True)


def test_tools_of_a_server_stay_tools_of_it_under_any_name() -> None:
    whole = group("crm", tool("crm", "get", effect="read"), tool("crm", "put")).prefixed("our_").renamed({"our_crm/put": "store"})
    assert whole.names == ("our_crm/get", "store")
    assert [each.body.tool for each in whole if isinstance(each.body, Tool)] == ["get", "put"]


def test_looking_up() -> None:
    whole = group("all", ACTING["find", "read"], group("more", ACTING["send", "write"]))
    assert "send" in whole and "gone" not in whole and whole["find"] is ACTING["find", "read"] and len(whole) == 2
    assert repr(whole) == "<group all: find, send>" and str(whole).startswith("all\nfind  int -> int  read\n")
    with pytest.raises(DefinitionError) as refusal:
        whole["gone"]
    assert refusal.value.code == "OMG-F005"
    with pytest.raises(DefinitionError):
        group("all", print)  # type: ignore[arg-type]
