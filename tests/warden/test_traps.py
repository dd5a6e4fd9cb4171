"""Ways in which a policy engine fails open, each first shown in the bare engine, then closed by ours."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.kernel.verdict import Decision
from omega.warden.admit import Warden
from omega.warden.policies import Bundle, shipped_schema
from omega.warden.question import Question, Unaskable, question_of
from warden.asks import PERMIT_ALL, caller, policy, touch

OVERFLOW = "context.cost_micros + 9223372036854775807 > 0"
"""A condition that the validator accepts and that fails for every cost above zero."""

ERRING = PERMIT_ALL + policy("too-dear", f"forbid (principal, action, resource) when {{ {OVERFLOW} }};")


def bare(
    policies: str, question: Question, *, entities: str | None = None, context: object = None, schema: bool = True
) -> cedarpy.AuthzResult:
    """What the engine says by itself."""
    request = {**question.request(), "context": question.context() if context is None else context}
    return cedarpy.is_authorized(
        request, policies, question.entities() if entities is None else entities, schema=shipped_schema() if schema else None
    )


def dear():
    """A step that costs something."""
    ask = touch()
    return replace(ask, estimate=replace(ask.estimate, cost_micros=1))


@pytest.mark.promise("GATE-02")
def test_a_forbid_that_errs_denies() -> None:
    result = bare(ERRING, question_of(dear()))
    assert result.decision is cedarpy.Decision.Allow
    assert result.diagnostics.errors
    verdict = Warden(Bundle.load({"a.cedar": ERRING})).ask(dear())
    assert (verdict.decision, verdict.code) == (Decision.DENY, "OMG-W002")
    assert verdict.policies[0] == "too-dear"
    assert verdict.where == "a.cedar:4"
    assert "too-dear" in verdict.errors[0]
    assert Warden(Bundle.load({"a.cedar": ERRING})).ask(touch()).decision is Decision.DENY  # forbidden, now without an error
    assert Warden(Bundle.load({"a.cedar": ERRING})).ask(touch()).code == "OMG-W001"


@pytest.mark.promise("GATE-02")
def test_a_permit_that_errs_beside_one_that_does_not_denies() -> None:
    erring = PERMIT_ALL + policy("cheap", f"permit (principal, action, resource) when {{ {OVERFLOW} }};")
    assert bare(erring, question_of(dear())).decision is cedarpy.Decision.Allow
    assert Warden(Bundle.load({"a.cedar": erring})).ask(dear()).code == "OMG-W002"


@pytest.mark.promise("GATE-02")
def test_an_absent_entity_does_not_switch_off_a_forbid() -> None:
    crossing = PERMIT_ALL + policy("own", "forbid (principal, action, resource) when { resource.tenant != principal.tenant };")
    question = replace(question_of(touch()), owner="other")
    absent = bare(crossing, question, entities="[]")
    assert absent.decision is cedarpy.Decision.Allow
    assert absent.diagnostics.errors
    bundle = Bundle.load({"a.cedar": crossing})
    answer = bundle.answer(question)
    assert (answer.allowed, [policy.id for policy in answer.deciding], answer.errors) == (False, ["own"], ())
    assert {entity["uid"]["type"] for entity in json.loads(question.entities())} == {"Person", "Flow"}


@pytest.mark.promise("GATE-02")
def test_an_entity_that_a_policy_invents_is_an_error_and_a_deny() -> None:
    invents = PERMIT_ALL + policy("other", 'forbid (principal, action, resource) when { Flow::"other".effect == "write" };')
    question = question_of(touch())
    assert bare(invents, question).decision is cedarpy.Decision.Allow
    verdict = Warden(Bundle.load({"a.cedar": invents})).ask(touch())
    assert (verdict.decision, verdict.code, verdict.policies[0]) == (Decision.DENY, "OMG-W002", "other")


@pytest.mark.promise("GATE-02")
def test_no_decision_is_an_error() -> None:
    for context in ("{}", '{"approved": [], "cost_micros": 1.5, "tokens": 0}', '{"approved": null, "cost_micros": 0, "tokens": 0}'):
        result = bare(PERMIT_ALL, question_of(touch()), context=context)
        assert result.decision is cedarpy.Decision.NoDecision
    bundle = Bundle.load({"a.cedar": PERMIT_ALL})
    for wrong in (
        replace(question_of(touch()), action="zap"),
        replace(question_of(touch()), cost_micros=1.5),
        replace(question_of(touch()), cost_micros=1 << 70),
        replace(question_of(touch()), principal="robot:x"),
        replace(question_of(touch()), facts=(("host", None),)),
    ):
        answer = bundle.evaluate(wrong)
        assert not answer.allowed
        assert answer.errors


@pytest.mark.promise("GATE-02")
@pytest.mark.parametrize("fact", [None, math.nan, math.inf, 1.5, [1], {"a": 1}, 1 << 64, b"x", "x" * 5_000, ("a",)])
def test_a_fact_that_policies_cannot_hold_denies_and_is_named(fact) -> None:
    verdict = Warden(Bundle.load({"a.cedar": PERMIT_ALL})).ask(touch(resource={"host": fact}))
    assert (verdict.decision, verdict.code) == (Decision.DENY, "OMG-W002")
    assert "host" in verdict.errors[0]


@pytest.mark.parametrize(("fact", "text"), [("a", "a"), (True, "true"), (False, "false"), (-3, "-3"), (0, "0")])
def test_facts_are_texts_to_policies(fact, text) -> None:
    only = policy("only", f'permit (principal, action, resource) when {{ resource.hasTag("it") && resource.getTag("it") == "{text}" }};')
    warden = Warden(Bundle.load({"a.cedar": only}))
    assert warden.ask(touch(resource={"it": fact})).decision is Decision.ALLOW
    assert warden.ask(touch(resource={"it": "other"})).decision is Decision.DENY
    assert warden.ask(touch()).policies == ("default-deny",)


NASTY = st.one_of(
    st.sampled_from(['x" || true', 'x"; permit(principal,action,resource);//', "\\", '"', "a\nb", "\x00", "Group::owner", "💥", "policy0"]),
    st.text(min_size=1, max_size=30).filter(lambda text: not any(0xD800 <= ord(letter) < 0xE000 for letter in text)),
)


@settings(max_examples=200, deadline=None)
@given(NASTY, NASTY, NASTY)
def test_names_never_become_syntax(flow, name, fact) -> None:
    narrow = policy("one", 'permit (principal == Person::"ada", action, resource == Flow::"report") when { resource.getTag("k") == "v" };')
    narrow = narrow.replace("when {", 'when { resource.hasTag("k") &&')
    bundle = Bundle.load({"a.cedar": narrow})
    question = question_of(touch(caller(f"person:{name}", groups=(name,)), flow=flow, resource={"k": fact}))
    answer = bundle.evaluate(question)
    assert not answer.allowed or (name, flow, fact) == ("ada", "report", "v")
    assert answer.errors == ()


def test_a_lone_surrogate_is_a_deny_not_a_crash() -> None:
    verdict = Warden(Bundle.load({"a.cedar": PERMIT_ALL})).ask(touch(flow="x\ud800"))
    assert verdict.decision is Decision.DENY


def test_duplicate_ids_are_accepted_by_the_engine_and_refused_by_us() -> None:
    assert bare(PERMIT_ALL + PERMIT_ALL, question_of(touch())).decision is cedarpy.Decision.Allow
    with pytest.raises(InputError, match="repeats the id all") as caught:
        Bundle.load({"a.cedar": PERMIT_ALL, "b.cedar": PERMIT_ALL})
    assert caught.value.code == "OMG-W003"


def test_unparsable_text_is_silent_in_the_engine_and_refused_by_us() -> None:
    assert bare("permit (", question_of(touch())).decision is cedarpy.Decision.NoDecision
    with pytest.raises(InputError):
        Bundle.load({"a.cedar": "permit ("})


def test_a_question_without_a_kind_of_caller_cannot_be_asked() -> None:
    with pytest.raises(Unaskable):
        replace(question_of(touch()), principal="ada").check()
