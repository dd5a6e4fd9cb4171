"""Contexts as headers: what goes out is what the recommendations say, and what comes in grants nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import Budget, Context, DefinitionError, InputError, OmegaError, flow
from omega.kernel.ports import Call
from omega.kernel.propagation import MAX_BAGGAGE, MAX_STATES, Carried, extract, inject, span_of
from omega.runtime.road import EngineRoad
from omega.testing import Lab, run_virtual
from runtime.flows import lab, look

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


SCOPE = Lab().scope()


def context(**facts: Any) -> Context:
    nobody: Any = None
    made = Context(SCOPE, Budget(), "run-1", None, TRACE, "local", nobody)
    return replace(made, **facts)


amounts = st.none() | st.integers(0, 10**12)
texts = st.text(max_size=20)
names = st.text("abcdefghijklmnop-_.", min_size=1, max_size=10)


@pytest.mark.promise("FLOW-68")
@given(
    budget=st.builds(Budget, cost_micros=amounts, tokens=amounts, calls=amounts),
    deadline=st.none() | st.floats(0, 4e9),
    baggage=st.dictionaries(names, texts, max_size=8),
    step=texts,
)
@settings(max_examples=80, deadline=None)
def test_what_goes_out_comes_in(budget: Budget, deadline: float | None, baggage: dict[str, str], step: str) -> None:
    ctx = context(budget=budget, deadline=deadline)
    headers = inject(ctx, step=step, passport="a.b.c", baggage=baggage)
    assert all(text.isascii() and "\n" not in text for text in headers.values())
    came = extract({name.title(): text for name, text in headers.items()})
    assert (came.trace, came.parent, came.sampled) == (TRACE, span_of(TRACE, "run-1", step), True)
    assert (came.budget, came.deadline, dict(came.baggage), came.passport) == (budget, deadline, baggage, "a.b.c")
    assert came.state == (("omega", came.parent),)


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        (VALID, TRACE),
        (f" {VALID} ", TRACE),
        (f"01-{TRACE}-{PARENT}-01", TRACE),
        (f"01-{TRACE}-{PARENT}-01-more", TRACE),
        (f"{VALID}-more", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"01-{TRACE}-{PARENT}-01more", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (VALID.upper(), ""),
        (VALID[:-1], ""),
        ("", ""),
        (f"00-{TRACE}-{PARENT}-0g", ""),
    ],
)
def test_a_traceparent_is_read_as_the_recommendation_says(text: str, trace: str) -> None:
    came = extract({"traceparent": text, "tracestate": "a=1"})
    assert came.trace == trace
    assert came.state == ((("a", "1"),) if trace else ()), "a tracestate without a valid traceparent means nothing"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a=1,b=2", 2),
        ("a=1 , b=2,,", 2),
        ("tenant@vendor=x", 1),
        (",".join(f"k{n}=1" for n in range(MAX_STATES)), MAX_STATES),
        (",".join(f"k{n}=1" for n in range(MAX_STATES + 1)), 0),
        ("a=1,a=2", 0),
        ("A=1", 0),
        ("a", 0),
        ("a=1=2", 0),
        (f"a={'x' * 257}", 0),
        ("a=", 0),
    ],
)
def test_a_tracestate_with_anything_odd_in_it_is_left_out_whole(text: str, count: int) -> None:
    assert len(extract({"traceparent": VALID, "tracestate": text}).state) == count


def test_our_state_goes_first_and_that_of_others_goes_on() -> None:
    came = extract({"traceparent": VALID, "tracestate": "a=1,omega=old,b=2", "baggage": "user=ada;secret=1, city=z%C3%BCrich"})
    headers = inject(context(), step="x", carried=came, baggage={"more": "1"})
    span = span_of(TRACE, "run-1", "x")
    assert headers["tracestate"] == f"omega={span},a=1,b=2" and headers["traceparent"] == f"00-{TRACE}-{span}-01"
    assert headers["baggage"] == "user=ada,city=z%C3%BCrich,more=1"
    assert inject(context(), carried=replace(came, sampled=False))["traceparent"].endswith("-00")
    full = replace(came, state=tuple((f"k{n}", "1") for n in range(MAX_STATES)))
    assert inject(context(), carried=full)["tracestate"].count(",") == MAX_STATES - 1


def test_baggage_that_does_not_fit_is_refused_going_out_and_left_out_coming_in() -> None:
    for baggage in ({"a b": "1"}, {"": "1"}, {"a": "x" * 9_000}, {f"k{n}": "" for n in range(MAX_BAGGAGE + 1)}):
        with pytest.raises(DefinitionError, match="OMG-F003"):
            inject(context(), baggage=baggage)
    assert extract({"baggage": "a=1,b c=2,novalue,=3, d = 4 ;p=1"}).baggage == {"a": "1", "d": "4"}
    assert extract({"baggage": "a=" + "x" * 9_000}).baggage == {} == extract({"baggage": ",".join(["a=1"] * 65)}).baggage


@pytest.mark.parametrize(
    "headers",
    [
        {"omega-budget": "cost_micros=1.5"},
        {"omega-budget": "calls=-1"},
        {"omega-budget": "hours=1"},
        {"omega-budget": "calls"},
        {"omega-budget": "calls=1;currency=1"},
        {"omega-budget": "calls=1;calls=1000"},
        {"omega-budget": "currency=USD"},
        {"omega-budget": ";"},
        {"omega-deadline": "soon"},
        {"omega-deadline": "nan"},
        {"omega-deadline": "inf"},
        {"omega-deadline": "-1"},
        {"authorization": "Basic abc"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer " + "x" * 9_000},
    ],
)
def test_a_limit_or_a_passport_that_does_not_parse_is_refused_and_not_dropped(headers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="OMG-I001"):
        extract(headers)


@given(
    st.dictionaries(
        st.sampled_from(["traceparent", "tracestate", "baggage", "authorization", "omega-budget", "omega-deadline"]), st.text(max_size=80)
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_arrives_is_read_or_refused_with_a_code(headers: dict[str, str]) -> None:
    try:
        assert isinstance(extract(headers), Carried)
    except OmegaError as error:
        assert error.code == "OMG-I001"


@pytest.mark.promise("FLOW-68")
@given(
    mine=st.builds(Budget, cost_micros=amounts, tokens=amounts, calls=amounts),
    theirs=st.builds(Budget, cost_micros=amounts, tokens=amounts, calls=amounts),
    limit=st.none() | st.floats(0, 1e6),
    deadline=st.none() | st.floats(0, 2e6),
)
@settings(max_examples=60, deadline=None)
def test_what_arrives_only_narrows_the_call(mine: Budget, theirs: Budget, limit: float | None, deadline: float | None) -> None:
    call = Call(passport="", flow=None, input=None, budget=mine, timeout_s=limit)
    made = Carried(budget=theirs, deadline=deadline, passport="p").onto(call, now=1e6)
    for amount, ceiling in (
        (made.budget.calls, mine.calls),
        (made.budget.tokens, mine.tokens),
        (made.budget.cost_micros, mine.cost_micros),
    ):
        assert ceiling is None or amount <= ceiling
    assert limit is None or made.timeout_s <= limit
    assert deadline is None or made.timeout_s <= max(0.0, deadline - 1e6)


@flow
async def probe(ctx: Context, n: int) -> dict[str, Any]:
    """What the callee may do."""
    return {"trace": ctx.trace, "capabilities": sorted(ctx.scope.capabilities), "actors": list(ctx.scope.actors), "calls": ctx.budget.calls}


@pytest.mark.promise("FLOW-68")
def test_a_call_to_another_host_has_the_rights_of_its_passport_and_no_others() -> None:
    """Two engines with one authority: the caller delegates a part of its rights, and sends the rest of its context as headers."""

    async def run() -> None:
        here, there = lab(), lab(seed=5)
        scope = here.scope(capabilities=["flows:run", "process:run", "tools:call"])
        now = here.clock.now_us() / 1_000_000
        passport = here.authority.delegate(
            scope, actor="agent:there", capabilities=["flows:run", "tools:call"], ttl_s=60, now=now, jti="d1"
        )
        ctx = context(scope=scope, budget=Budget(calls=5), deadline=now + 30)
        came = extract(inject(ctx, step="ask", passport=passport))
        road = EngineRoad(there.engine)
        call = came.onto(Call(passport="", flow=probe, input=1, budget=Budget(calls=9)), now=now)
        done = await road.call(call)
        assert done.value == {"trace": TRACE, "capabilities": ["flows:run", "tools:call"], "actors": ["agent:there"], "calls": 5}
        assert there.leaves()[0].trace == TRACE
        refused = await road.call(replace(call, flow=look))
        assert (refused.error or {})["code"] == "OMG-W008" and not there.effectors["process"].touches
        nobody = await road.call(extract({"traceparent": VALID}).onto(Call(passport="x", flow=probe, input=1), now=now))
        assert (nobody.error or {})["code"] == "OMG-T001"

    run_virtual(run())


def test_a_child_goes_on_with_the_trace_of_its_parent() -> None:
    @flow
    async def parent(ctx: Context, n: int) -> list[str]:
        child = await ctx.start(probe, n)
        return [ctx.trace, (await ctx.join(child))["trace"]]

    async def run() -> None:
        done = await lab().run(parent, 1)
        assert done.value is not None and done.value[0] == done.value[1]

    run_virtual(run())
