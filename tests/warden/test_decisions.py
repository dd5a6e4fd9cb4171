"""What people decide about executions, asked of the policies; and the persons behind an approval."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import Denied
from omega.kernel.scope import SCHEDULER
from omega.kernel.verdict import Decision
from omega.warden.admit import Act, Warden
from omega.warden.approvals import approve, demand_of, roles_of, same_person, standing_in
from omega.warden.policies import Bundle, default_sources
from omega.warden.question import DECISIONS
from warden.asks import NOW, PERMIT_ALL, agent, caller, policy, touch

DEFAULT = Warden(Bundle.default())
BOB = caller("person:bob", groups=())
ADA = caller()


def decided(verb, scope, requester, warden=DEFAULT):
    return warden.decide(Act(verb=verb, scope=scope, requester=requester, execution="exe_1", flow="review", now=NOW))


@pytest.mark.promise("WARD-01")
@pytest.mark.parametrize("verb", DECISIONS)
def test_people_decide_about_their_own_and_owners_about_all_and_agents_about_nothing(verb) -> None:
    """But for this: whoever started a run may stop it."""
    assert decided(verb, ADA, BOB).decision is Decision.ALLOW
    assert decided(verb, BOB, BOB).decision is Decision.ALLOW
    for nobody in (
        agent(),
        agent(groups=("owner",)),
        caller(actors=("agent:x",)),
        caller("service:timers"),
        caller("service:t", groups=("owner",)),
    ):
        assert decided("cancel", nobody, nobody).decision is Decision.ALLOW
        verdict = decided(verb, nobody, BOB if verb == "cancel" else nobody)
        assert (verdict.decision, verdict.policies, verdict.code) == (Decision.DENY, ("people-decide",), "OMG-W001")
        assert verdict.how
    stranger = decided(verb, caller("person:eve", groups=()), BOB)
    assert stranger.decision is (Decision.ALLOW if verb in ("approve", "answer") else Decision.DENY)


@pytest.mark.promise("WARD-01")
def test_a_schedule_ends_what_it_started_for_the_same_person_and_nothing_else() -> None:
    mine = caller("person:bob", groups=(), actors=(SCHEDULER,))
    assert decided("cancel", mine, mine).decision is Decision.ALLOW
    assert decided("cancel", mine, ADA).decision is Decision.DENY
    assert decided("cancel", caller(actors=(SCHEDULER,)), BOB).policies == ("people-decide",)


@pytest.mark.promise("WARD-01")
def test_another_tenants_execution_is_nobodys() -> None:
    assert decided("cancel", caller(tenant="acme"), ADA).policies == ("tenant-boundary",)
    assert decided("sell", ADA, ADA).decision is Decision.DENY
    assert decided("cancel", ADA, ADA, Warden()).policies == ("no-policy",)


@pytest.mark.promise("WARD-01")
def test_a_policy_may_forbid_a_decision_and_a_decision_waits_for_nobody() -> None:
    no_cancel = policy("no-cancel", 'forbid (principal, action == Action::"cancel", resource == Flow::"review");')
    waits = policy(
        "waits",
        'forbid (principal, action == Action::"signal", resource) unless { context.approved.contains("owner") };',
        '@approval("owner")',
    )
    errs = policy("errs", 'forbid (principal, action == Action::"redrive", resource) when { Flow::"other".effect == "x" };')
    warden = Warden(Bundle.load({**default_sources(), "mine.cedar": no_cancel + waits + errs}))
    assert decided("cancel", ADA, ADA, warden).policies == ("no-cancel",)
    assert decided("resolve", ADA, ADA, warden).decision is Decision.ALLOW
    assert decided("signal", ADA, ADA, warden).decision is Decision.DENY
    assert decided("redrive", ADA, ADA, warden).code == "OMG-W002"


def test_policies_written_before_decisions_were_asked_still_load_and_an_owner_may_all() -> None:
    before = '@id("owner-acts") @reason("an owner may") permit (principal is Person in Group::"owner", action, resource)'
    before += " when { context.tokens < 5 };"
    warden = Warden(Bundle.load({"default.cedar": before}))
    assert decided("cancel", ADA, BOB, warden).decision is Decision.ALLOW
    assert decided("cancel", BOB, BOB, warden).decision is Decision.DENY


@pytest.mark.promise("WARD-02")
def test_two_of_many_are_two_persons_not_two_names() -> None:
    two = policy(
        "two",
        'forbid (principal, action == Action::"write", resource) unless { context.approved.contains("finance:2") };',
        '@approval("finance:2")',
    )
    warden = Warden(Bundle.load({"a.cedar": PERMIT_ALL + two}))

    def asked(*approvals):
        return warden.ask(touch(effect="write", flow="pay", approvals=approvals))

    first = asked()
    assert (first.decision, first.role, first.details["persons"], first.details["have"]) == (Decision.NEEDS, "finance", 2, 0)
    assert "2 different persons of role finance" in first.how
    assert asked("person:bob#finance").details["have"] == 1
    assert asked("person:bob#finance", "person:bob#finance").decision is Decision.NEEDS
    for name in ("person:BOB", "person:\uff42\uff4f\uff42", "person:bob "):
        assert asked("person:bob#finance", f"{name}#finance").decision is Decision.NEEDS, name
    assert asked("person:bob#finance", "person:eve#finance").decision is Decision.ALLOW
    assert asked("person:bob#finance", "person:ada#owner").decision is Decision.ALLOW
    assert asked("person:ada#owner").decision is Decision.NEEDS, "one owner stands in for one person, not for two"
    assert asked("person:ada#owner", "person:zoe#owner").decision is Decision.ALLOW
    warden.recognise({"person:robert": "person:bob"})
    assert asked("person:bob#finance", "person:robert#finance").decision is Decision.NEEDS


@pytest.mark.promise("WARD-02")
def test_nobody_approves_under_another_name_what_they_asked_for() -> None:
    role = caller("person:Bob", groups=("oncall",))
    with pytest.raises(Denied, match="cannot approve their own"):
        approve(role, role="oncall", requester=caller("person:bob", groups=()))
    with pytest.raises(Denied, match="cannot approve their own"):
        approve(caller("person:robert", groups=("oncall",)), role="oncall", requester=BOB, aliases={"person:robert": "person:bob"})


@pytest.mark.promise("WARD-03")
def test_a_second_factor_is_the_requesters_own() -> None:
    careful = policy(
        "careful",
        'forbid (principal, action == Action::"write", resource) unless { context.approved.contains("step-up") };',
        '@approval("step-up")',
    )
    warden = Warden(Bundle.load({"a.cedar": PERMIT_ALL + careful}))
    ask = touch(effect="write", flow="pay")
    verdict = warden.ask(ask)
    assert (verdict.decision, verdict.role) == (Decision.NEEDS, "step-up")
    assert "--code" in verdict.how
    assert warden.ask(touch(effect="write", flow="pay", approvals=("person:zoe#owner",))).decision is Decision.NEEDS, "no owner stands in"
    by = approve(ADA, role="step-up", requester=ADA)
    assert warden.ask(touch(effect="write", flow="pay", approvals=(by,))).decision is Decision.ALLOW
    with pytest.raises(Denied, match="second factor"):
        approve(caller("person:zoe"), role="step-up", requester=ADA)
    with pytest.raises(Denied, match="acting themself"):
        approve(caller(actors=("agent:x",)), role="step-up", requester=ADA)


@pytest.mark.parametrize(
    "text", ["", "Finance", "finance:1", "finance:0", "finance:10", "finance:x", "finance:²", "finance:", ":2", "step-up:2", "a:2:3"]
)
def test_what_is_no_demand_does_not_load(text) -> None:
    assert demand_of(text)[1] == 0


ROLES = st.sampled_from(["owner", "finance", "oncall"])
PEOPLE = st.sampled_from(["ada", "Ada", "bob", "BOB", "eve"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PEOPLE, ROLES), max_size=8))
def test_counted_are_the_persons_of_a_role_and_owners(given_now) -> None:
    found = standing_in(roles_of([f"person:{who}#{role}" for who, role in given_now]), [f"finance:{n}" for n in range(2, 5)] + ["finance"])
    persons = {who.lower() for who, role in given_now if role in ("finance", "owner")}
    for number in range(2, 5):
        assert (f"finance:{number}" in found) == (len(persons) >= number)
    assert ("finance" in found) == bool(persons)


@given(st.text(max_size=20))
def test_a_person_is_one_whatever_is_done_to_the_letters(name) -> None:
    assert same_person(same_person(name)) == same_person(name)
