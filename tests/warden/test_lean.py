"""What the engine is given is less than what was written, and says the same: against the whole bundle with its scopes, asked through the
public interface of the engine."""

from __future__ import annotations

import json
from dataclasses import replace

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.warden.policies import Bundle, shipped_schema
from omega.warden.question import ACTIONS, CONTEXT, Question
from omega.warden.reach import lean, read_of
from omega.warden.slices import Slice, failing
from warden.asks import policy

CALLERS = (
    "principal",
    'principal == Person::"ada"',
    'principal in Person::"ada"',
    "principal is Agent",
    'principal in Group::"owner"',
    'principal in Group::""',
    'principal in Tenant::"acme"',
    'principal in Tenant::""',
    'principal is Person in Tenant::"local"',
    'principal is Agent in Group::"owner"',
)
ACTED = (
    "action",
    'action == Action::"write"',
    'action in Action::"touch"',
    'action in Action::"read"',
    'action in [Action::"run", Action::"touch"]',
    'action in [Action::"decide", Action::"write"]',
)
TARGETS = (
    "resource",
    "resource is Flow",
    'resource == Flow::"git/push"',
    'resource in Flow::"git/push"',
    'resource in Server::"git"',
    'resource in Server::""',
    'resource in Tenant::"acme"',
    'resource is Flow in Server::"crm"',
    'resource is Flow in Tenant::"local"',
)
CONDITIONS = (
    "true",
    "context.cost_micros > 3",
    "context.cost_micros + 9223372036854775807 > 0",
    "context.tokens * 9223372036854775807 > 0 || principal.delegated",
    'context.approved.contains("owner")',
    'resource.hasTag("host") && resource.getTag("host") == "evil"',
    'context has own && principal.name == "ada"',
    "[context, {approved: [], cost_micros: 0, tokens: 0}].containsAny([context])",
    'principal in Group::"other" && resource in Tenant::"acme"',
)


@st.composite
def texts(draw, effects=("permit", "forbid")):
    """Policies by id, in Cedar's text."""
    written = []
    for number in range(draw(st.integers(0, 6))):
        scope = ", ".join(draw(st.sampled_from(part)) for part in (CALLERS, ACTED, TARGETS))
        kind = draw(st.sampled_from(("when", "unless")))
        text = f"{draw(st.sampled_from(effects))} ({scope}) {kind} {{ {draw(st.sampled_from(CONDITIONS))} }};"
        written.append(policy(f"r{number}", text))
    return "\n".join(each for each in written if sound(each))


def sound(text: str) -> bool:
    """Whether the gate would load it: some forms of scope and condition do not go together."""
    return bool(cedarpy.validate_policies(text, shipped_schema()).validation_passed)


QUESTIONS = st.builds(
    Question,
    tenant=st.sampled_from(["local", "acme", "else"]),
    principal=st.sampled_from(["person:ada", "person:bob", "agent:ada"]),
    action=st.sampled_from(ACTIONS),
    flow=st.sampled_from(["git/push", "git/log", "crm/push", "review"]),
    groups=st.frozensets(st.sampled_from(["owner", "other"])),
    actors=st.sampled_from([(), ("agent:x",)]),
    owner=st.sampled_from(["", "acme"]),
    facts=st.sampled_from([(), (("host", "evil"),)]),
    approved=st.frozensets(st.sampled_from(["owner"])),
    cost_micros=st.sampled_from([0, 5]),
    tokens=st.sampled_from([0, 2]),
    own=st.booleans(),
)


def whole(bundle: Bundle, question: Question) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """(allowed, deciding ids, erring ids) as the engine says of every policy that was written, each with its scope."""
    asked = [each for each in bundle.policies if each.tenant in ("", question.tenant)]
    document = {"staticPolicies": {each.id: json.loads(each.rule) for each in asked}, "templates": {}, "templateLinks": []}
    handle = cedarpy.PolicySet.from_json_str(json.dumps(document))
    entities = cedarpy.Entities.from_json_str(question.entities(), shipped_schema())
    said = cedarpy.is_authorized({**question.request(), "context": question.context()}, handle, entities, shipped_schema())
    order = {each.id: each.order for each in asked}
    erring = tuple(sorted(failing(said.diagnostics.errors), key=order.__getitem__))
    deciding = tuple(sorted(said.diagnostics.reasons, key=order.__getitem__))
    return said.decision is cedarpy.Decision.Allow and not erring, deciding, erring


@pytest.mark.promise("GATE-02")
@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(texts(), texts(effects=("forbid",)), texts(effects=("forbid",)), st.lists(QUESTIONS, min_size=1, max_size=6))
def test_leaving_out_what_is_proven_changes_nothing(common, acmes, locals_, questions) -> None:
    bundle = Bundle.load({"a.cedar": common}).with_tenant("acme", {"own.cedar": acmes}).with_tenant("local", {"own.cedar": locals_})
    others = [replace(each, cost_micros=5 - each.cost_micros, approved=frozenset({"owner"}) - each.approved) for each in questions]
    for question in [*questions, *others, *questions]:  # what is fixed for a caller and a target is known from the second question on
        answer = bundle.evaluate(question)
        assert (answer.allowed, tuple(each.id for each in answer.deciding), failing(answer.errors)) == whole(bundle, question)


def test_equal_rules_of_two_tenants_are_parsed_once_and_name_their_own() -> None:
    rule = "forbid (principal, action, resource) when { context.cost_micros + 9223372036854775807 > 0 };"
    bundle = Bundle.load({"a.cedar": policy("all", "permit (principal, action, resource);")})
    for tenant in ("acme", "local"):
        bundle = bundle.with_tenant(tenant, {"own.cedar": policy("dear", rule)})
    for tenant in ("acme", "local"):
        question = Question(tenant=tenant, principal="person:ada", action="read", flow="x", cost_micros=1)
        assert bundle.evaluate(question).deciding == (bundle.by_id["all"],)
        assert failing(bundle.evaluate(question).errors) == (f"{tenant}/dear",)
    assert len(bundle._slices) == len(bundle._splits) == 2
    assert len(bundle._parsed) == 4, "the whole slice, and its permits, forbids and rest"


COSTS = "context.cost_micros > 3"


@pytest.mark.promise("GATE-02")
def test_what_is_fixed_and_what_is_asked_come_together_in_file_order() -> None:
    errs = '[principal.name].contains("a") && 9223372036854775807 + 1 > 0'
    texts = (
        ("r0", "permit", COSTS),
        ("r1", "permit", "true"),
        ("r2", "forbid", COSTS),
        ("r3", "forbid", "principal.delegated"),
        ("r4", "permit", COSTS),
        ("r5", "permit", "true"),
    )
    bundle = Bundle.load(
        {"a.cedar": "\n".join(policy(name, f"{does} (principal, action, resource) when {{ {if_} }};") for name, does, if_ in texts)}
    )
    question = Question(tenant="t", principal="person:a", action="read", flow="x")
    acted = replace(question, actors=("agent:b",))
    for _ in range(3):
        assert ids(bundle, question) == (True, "r1 r5")
        assert ids(bundle, replace(question, cost_micros=5)) == (False, "r2")
        assert ids(bundle, acted) == (False, "r3")
        assert ids(bundle, replace(acted, cost_micros=5)) == (False, "r2 r3")
    own = bundle.with_tenant("t", {"own.cedar": policy("bad", f"forbid (principal, action, resource) when {{ {errs} }};")})
    for _ in range(3):
        answer = own.evaluate(replace(question, cost_micros=5))
        assert not answer.allowed and failing(answer.errors) == ("t/bad",) and [each.id for each in answer.deciding] == ["r2"]
        assert not own.evaluate(question).allowed


def ids(bundle: Bundle, question: Question) -> tuple[bool, str]:
    answer = bundle.evaluate(question)
    assert answer.errors == ()
    return answer.allowed, " ".join(each.id for each in answer.deciding)


def test_a_question_that_nothing_of_the_context_changes_is_put_to_the_engine_no_more(monkeypatch) -> None:
    bundle = Bundle.load({"a.cedar": policy("all", "permit (principal, action, resource) when { !principal.delegated };")})
    question = Question(tenant="t", principal="person:a", action="read", flow="x")
    for cost in (0, 1):
        assert ids(bundle, replace(question, cost_micros=cost)) == (True, "all")
    monkeypatch.setattr(Slice, "ask", lambda *_: pytest.fail("the engine was asked"))
    assert ids(bundle, replace(question, cost_micros=2)) == (True, "all")
    assert not bundle.evaluate(replace(question, cost_micros=1 << 64)).allowed, "what no policy reads must be sound all the same"


def test_errors_come_in_file_order() -> None:
    erring = "permit (principal, action, resource) when { context.cost_micros + 9223372036854775807 > 0 };"
    bundle = Bundle.load({"a.cedar": "\n".join(policy(f"r{number}", erring) for number in range(12))})
    answer = bundle.evaluate(Question(tenant="t", principal="person:a", action="read", flow="x", cost_micros=1))
    assert not answer.allowed
    assert failing(answer.errors) == tuple(f"r{number}" for number in range(12))


def test_only_the_beginning_of_an_error_names_a_policy() -> None:
    assert failing(["error while evaluating policy `a`: no tag `x` on error while evaluating policy `b`"]) == ("a",)
    assert failing(["the question does not fit: policy `b`"]) == ()


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        ("principal, action, resource", ()),
        ('principal is Person in Group::"g", action in Action::"touch", resource == Flow::"f"', ()),
        ('principal in Tenant::"t", action == Action::"read", resource is Flow in Server::"s"', ()),
        ('principal == Person::"ada", action, resource in Flow::"f"', ("principal", "resource")),
        ('principal in Person::"ada", action, resource in Server::""', ("principal", "resource")),
        ('principal in Group::"", action, resource', ("principal",)),
    ],
)
def test_what_is_left_of_a_scope(scope, left) -> None:
    (found,) = Bundle.load({"a.cedar": policy("a", f"permit ({scope});")}).policies
    assert tuple(part for part in ("principal", "action", "resource") if lean(found)[part] != {"op": "All"}) == left


@pytest.mark.parametrize(
    ("condition", "read"),
    [
        ("principal.delegated", set()),
        ("context.cost_micros > 1", {"cost_micros"}),
        ('context.approved.contains("a") || context.tokens > 1', {"approved", "tokens"}),
        ("context has own", {"own"}),
        ("context == context", CONTEXT),
        ("{a: context}.a.tokens > 1", CONTEXT),
    ],
)
def test_what_of_the_context_is_read(condition, read) -> None:
    rule = json.loads(cedarpy.policies_to_json_str(f"permit (principal, action, resource) when {{ {condition} }};"))
    assert read_of(rule["staticPolicies"].values()) == read
    question = Question(tenant="t", principal="person:a", action="cancel", flow="x", own=True)
    assert set(json.loads(question.context(frozenset(read)))) == set(read)
