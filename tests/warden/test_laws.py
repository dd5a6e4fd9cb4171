"""Laws that hold for every set of policies: generated policies against a model of what they mean."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.budget import Spent
from omega.kernel.verdict import Decision
from omega.warden.admit import Warden
from omega.warden.limits import UNLIMITED
from omega.warden.policies import MAX_KEPT, Bundle
from omega.warden.question import ACTIONS, Question
from warden.asks import caller, policy, touch

EFFECTS = ("read", "idempotent", "write", "irreversible")

PRINCIPALS = {
    "principal": lambda q: True,
    'principal == Person::"ada"': lambda q: q.principal == "person:ada",
    "principal is Agent": lambda q: q.principal.startswith("agent:"),
    'principal in Group::"owner"': lambda q: "owner" in q.groups,
    'principal in Tenant::"acme"': lambda q: q.tenant == "acme",
    'principal is Person in Tenant::"local"': lambda q: q.tenant == "local" and q.principal.startswith("person:"),
}

ACTED = {
    "action": lambda q: True,
    'action == Action::"write"': lambda q: q.action == "write",
    'action in Action::"touch"': lambda q: q.action in EFFECTS,
    'action in [Action::"run", Action::"read"]': lambda q: q.action in ("run", "read"),
}

RESOURCES = {
    "resource": lambda q: True,
    "resource is Flow": lambda q: True,
    'resource == Flow::"git/git_push"': lambda q: q.flow == "git/git_push",
    'resource in Server::"git"': lambda q: q.flow.startswith("git/"),
    'resource in Tenant::"acme"': lambda q: q.tenant == "acme",
    'resource is Flow in Server::"crm"': lambda q: q.flow.startswith("crm/"),
}

CONDITIONS = {
    "true": lambda q: True,
    "false": lambda q: False,
    "context.cost_micros + 9223372036854775807 > 0": lambda q: None if q.cost_micros else True,
    'resource.hasTag("host") && resource.getTag("host") == "evil"': lambda q: ("host", "evil") in q.facts,
    'context.approved.contains("owner")': lambda q: "owner" in q.approved,
    "principal.delegated": lambda q: bool(q.actors),
    'resource.tool == "git_push"': lambda q: q.flow.endswith("/git_push"),
}
"""Conditions with their meaning; None is an error in evaluation."""


@dataclass(frozen=True)
class Rule:
    permits: bool
    principal: str
    action: str
    resource: str
    condition: str

    def text(self, name: str) -> str:
        effect = "permit" if self.permits else "forbid"
        return policy(name, f"{effect} ({self.principal}, {self.action}, {self.resource}) when {{ {self.condition} }};")

    def says(self, question: Question) -> bool | None:
        inside = PRINCIPALS[self.principal](question) and ACTED[self.action](question) and RESOURCES[self.resource](question)
        return CONDITIONS[self.condition](question) if inside else False


def rules(effects=(True, False)):
    return st.builds(
        Rule,
        permits=st.sampled_from(effects),
        principal=st.sampled_from(sorted(PRINCIPALS)),
        action=st.sampled_from(sorted(ACTED)),
        resource=st.sampled_from(sorted(RESOURCES)),
        condition=st.sampled_from(sorted(CONDITIONS)),
    )


QUESTIONS = st.builds(
    Question,
    tenant=st.sampled_from(["local", "acme"]),
    principal=st.sampled_from(["person:ada", "person:bob", "agent:ada"]),
    action=st.sampled_from(ACTIONS),
    flow=st.sampled_from(["git/git_push", "git/git_log", "crm/git_push", "review"]),
    groups=st.frozensets(st.sampled_from(["owner", "other"])),
    actors=st.sampled_from([(), ("agent:x",)]),
    facts=st.sampled_from([(), (("host", "evil"),), (("host", "good"),)]),
    approved=st.frozensets(st.sampled_from(["owner", "oncall"])),
    cost_micros=st.sampled_from([0, 5]),
)


def load(found: list[Rule]) -> Bundle:
    return Bundle.load({"a.cedar": "\n".join(rule.text(f"r{number}") for number, rule in enumerate(found))})


@pytest.mark.promise("GATE-02")
@settings(max_examples=100, deadline=None)
@given(st.lists(rules(), max_size=7), st.lists(QUESTIONS, min_size=1, max_size=4))
def test_a_bundle_means_what_its_policies_mean(found, questions) -> None:
    """Slicing, entities and the fail-closed rule together agree with a model that knows none of them; so no allow with an error."""
    bundle = load(found)
    for question in questions:
        said = [(rule.permits, rule.says(question)) for rule in found]
        erring = any(value is None for _, value in said)
        forbidden = (False, True) in said
        permitted = (True, True) in said
        answer = bundle.evaluate(question)
        assert answer.allowed == (permitted and not forbidden and not erring)
        assert bool(answer.errors) == erring
        assert bundle.answer(question) == bundle.answer(question) == answer


def ask_of(question: Question, capabilities: frozenset[str]):
    """The question as a step would put it; an entry is left out, it has no effect of its own."""
    return touch(
        caller(question.principal, groups=question.groups, actors=question.actors, tenant=question.tenant, capabilities=capabilities),
        question.flow,
        question.action if question.action in EFFECTS else "read",
        resource=dict(question.facts),
        approvals=tuple(f"person:zoe#{role}" for role in sorted(question.approved)),
        estimate=Spent(cost_micros=question.cost_micros),
    )


RANK = {Decision.DENY: 0, Decision.NEEDS: 1, Decision.ALLOW: 2}


@pytest.mark.promise("GATE-07")
@settings(max_examples=100, deadline=None)
@given(st.lists(rules(), max_size=6), rules(effects=(False,)), QUESTIONS)
def test_another_forbid_never_opens_anything(found, forbid, question) -> None:
    ask = ask_of(question, frozenset({"*"}))
    before = Warden(load(found), limits=UNLIMITED).ask(ask)
    after = Warden(load([*found, forbid]), limits=UNLIMITED).ask(ask)
    assert RANK[after.decision] <= RANK[before.decision]


CAPABILITIES = st.frozensets(st.sampled_from(["*", "tools:*", "tools:call", "files:read"]))


@pytest.mark.promise("GATE-07")
@settings(max_examples=100, deadline=None)
@given(st.lists(rules(), max_size=6), QUESTIONS, CAPABILITIES, CAPABILITIES)
def test_fewer_capabilities_never_open_anything(found, question, held, kept) -> None:
    warden = Warden(load(found), limits=UNLIMITED)
    ask = ask_of(question, held)
    narrowed = ask_of(question, ask.scope.narrow(kept).capabilities)
    assert RANK[warden.ask(narrowed).decision] <= RANK[warden.ask(ask).decision]


@settings(max_examples=100, deadline=None)
@given(st.lists(rules(), max_size=6), QUESTIONS)
def test_approval_never_lifts_what_lacks_it(found, question) -> None:
    """What NEEDS asks for is enough: with the approval of every role it names, the answer is ALLOW."""
    waits = policy("waits", 'forbid (principal, action, resource) unless { context.approved.contains("oncall") };', '@approval("oncall")')
    bundle = Bundle.load({"a.cedar": "\n".join(rule.text(f"r{number}") for number, rule in enumerate(found)) + waits})
    warden = Warden(bundle, limits=UNLIMITED)
    first = warden.ask(ask_of(question, frozenset({"*"})))
    if first.decision is Decision.NEEDS:
        ask = ask_of(question, frozenset({"*"}))
        given_now = tuple(f"person:zoe#{role}" for role in first.details["roles"])
        again = warden.ask(
            touch(ask.scope, ask.flow, ask.effect.value, resource=ask.resource, approvals=ask.approvals + given_now, estimate=ask.estimate)
        )
        assert again.decision is Decision.ALLOW


def test_what_is_kept_is_bounded() -> None:
    bundle = Bundle.default()
    for number in range(MAX_KEPT + 100):
        bundle.answer(Question(tenant="local", principal="agent:x", action="read", flow=f"flow{number}"))
    assert len(bundle._answers) <= MAX_KEPT
    assert len(bundle._prepared) <= MAX_KEPT
    assert len(bundle._slices) <= len(ACTIONS) * 3  # one per action and kind of caller: no policy names these flows
