"""The pipeline: what is looked at, in which order, and what each answer says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.budget import Budget, Spent
from omega.kernel.effects import Effect
from omega.kernel.errors import CODES
from omega.kernel.scope import mint_scope
from omega.kernel.verdict import Ask, Decision, Gate
from omega.warden.admit import Warden
from omega.warden.limits import UNLIMITED, Limits, Rate
from omega.warden.policies import Bundle
from warden.asks import EXPIRES, PERMIT_ALL, agent, caller, policy, touch

DEFAULT = Warden(Bundle.default())
OPEN = Warden(Bundle.load({"all.cedar": PERMIT_ALL}))


@pytest.mark.promise("GATE-01")
def test_without_a_bundle_everything_is_denied() -> None:
    verdict = Warden().ask(touch())
    assert (verdict.decision, verdict.policies, verdict.code) == (Decision.DENY, ("no-policy",), "OMG-W001")
    assert verdict.reason
    assert verdict.how


@pytest.mark.promise("GATE-01")
def test_without_a_matching_policy_it_is_denied_and_says_so() -> None:
    for bundle in (Bundle.load({}), Bundle.default()):
        verdict = Warden(bundle).ask(touch(caller("person:eve", groups=())))
        assert (verdict.decision, verdict.policies, verdict.code) == (Decision.DENY, ("default-deny",), "OMG-W001")
        assert "person:eve" in verdict.reason
        assert verdict.bundle == bundle.digest


@pytest.mark.promise("GATE-06")
def test_a_decision_names_rule_place_and_reason() -> None:
    bundle = Bundle.default()
    allowed = DEFAULT.ask(touch())
    assert (allowed.decision, allowed.policies) == (Decision.ALLOW, ("owner-acts",))
    assert allowed.where == bundle.by_id["owner-acts"].where == "default.cedar:7"
    denied = DEFAULT.ask(touch(agent(), "git/git_commit", "write"))
    assert denied.policies == ("agents-read-only", "agents-leave-git-alone")
    assert denied.reason == "an agent may call what reads or is safe to repeat; git/git_commit is write"
    assert "git/git_commit" in denied.how


@pytest.mark.promise("GATE-06")
def test_a_name_that_looks_like_a_placeholder_stays_a_name() -> None:
    verdict = DEFAULT.ask(touch(agent(), "{principal}/{step}", "write"))
    assert verdict.reason.endswith("; {principal}/{step} is write")


@pytest.mark.promise("GATE-09")
@pytest.mark.parametrize("who", [agent(), caller(actors=("agent:reviewer",)), caller("person:eve", groups=(), actors=("agent:x",))])
@pytest.mark.parametrize("effect", ["write", "irreversible"])
def test_agents_do_not_write(who, effect) -> None:
    assert DEFAULT.ask(touch(who, "git/git_commit", effect)).decision is Decision.DENY
    assert DEFAULT.ask(touch(who, "crm/update", effect)).decision is Decision.DENY


@pytest.mark.promise("GATE-09")
def test_agents_read() -> None:
    assert DEFAULT.ask(touch(agent())).decision is Decision.ALLOW
    assert DEFAULT.ask(touch(caller(actors=("agent:reviewer",)))).decision is Decision.ALLOW


@pytest.mark.promise("GATE-09")
def test_a_tool_under_another_name_is_still_that_tool() -> None:
    for effect in ("read", "write"):
        verdict = DEFAULT.ask(touch(agent(groups=("writers",)), "harmless", effect, resource={"server": "git", "tool": "git_push"}))
        assert (verdict.decision, verdict.policies[-1]) == (Decision.DENY, "agents-leave-git-alone")
    for half in ({"tool": "git_log"}, {"server": "git"}, {"server": "git/x", "tool": "y"}, {"server": "git", "tool": 5}):
        assert OPEN.ask(touch(resource=half)).code == "OMG-W002"


@pytest.mark.promise("GATE-08")
def test_a_missing_capability_is_named() -> None:
    poor = caller(capabilities=("files:*", "tools:call"))
    verdict = OPEN.ask(touch(poor, needs=("files:read", "process:run", "model:ask")))
    assert (verdict.decision, verdict.code, verdict.policies) == (Decision.DENY, "OMG-W008", ("capabilities",))
    assert verdict.details["missing"] == ["model:ask", "process:run"]
    assert "model:ask, process:run" in verdict.reason
    entry = OPEN.ask(touch(poor, gate=Gate.ENTRY, needs=()))
    assert entry.details["missing"] == ["flows:run"]


@pytest.mark.promise("GATE-12")
def test_a_spent_budget_denies() -> None:
    for left, estimate in (
        (Budget(calls=0), Spent()),
        (Budget(cost_micros=99, calls=5), Spent(cost_micros=100)),
        (Budget(tokens=9), Spent(tokens=10)),
    ):
        verdict = OPEN.ask(touch(left=left, estimate=estimate))
        assert (verdict.decision, verdict.code, verdict.policies) == (Decision.DENY, "OMG-W005", ("budget",))
    assert OPEN.ask(touch(left=Budget(cost_micros=100, calls=1), estimate=Spent(cost_micros=100))).decision is Decision.ALLOW
    assert OPEN.ask(touch(left="plenty")).code == "OMG-W005"


def test_the_end_of_a_passport_counts_at_the_entry_only() -> None:
    assert OPEN.ask(touch(gate=Gate.ENTRY, now=EXPIRES - 1)).decision is Decision.ALLOW
    late = OPEN.ask(touch(gate=Gate.ENTRY, now=EXPIRES))
    assert (late.decision, late.code) == (Decision.DENY, "OMG-T001")
    assert OPEN.ask(touch(now=EXPIRES + 86_400)).decision is Decision.ALLOW


@pytest.mark.parametrize("target", ["other", "", None, 5])
def test_another_tenants_target_is_out_of_reach_whatever_policies_say(target) -> None:
    verdict = OPEN.ask(touch(resource={"tenant": target}))
    assert (verdict.decision, verdict.policies) == (Decision.DENY, ("tenant-boundary",))


def test_a_pure_step_is_never_admitted_to_touch() -> None:
    verdict = OPEN.ask(touch(effect="pure"))
    assert (verdict.decision, verdict.policies) == (Decision.DENY, ("pure-step",))
    assert OPEN.ask(touch(effect="pure", gate=Gate.ENTRY)).decision is Decision.ALLOW


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
def test_a_clock_that_does_not_tell_the_time_denies(now) -> None:
    assert OPEN.ask(touch(now=now)).decision is Decision.DENY


@pytest.mark.parametrize("principal", ["ada", "person:", ":ada", "robot:x", "Person:ada"])
def test_a_caller_that_policies_do_not_know_is_denied(principal) -> None:
    assert OPEN.ask(touch(caller(principal))).policies == ("scope",)


def test_the_first_rule_that_says_no_decides() -> None:
    nobody = caller("person:eve", groups=(), capabilities=())
    everything_wrong = touch(nobody, resource={"tenant": "other"}, left=Budget(calls=0))
    assert DEFAULT.ask(everything_wrong).policies == ("tenant-boundary",)
    assert DEFAULT.ask(touch(nobody, left=Budget(calls=0))).policies == ("capabilities",)
    nobody = caller("person:eve", groups=())
    strict = Warden(Bundle.default(), limits=Limits(tenant=Rate(1, 2)))
    assert strict.ask(touch(nobody, left=Budget(calls=0))).policies == ("budget",)
    assert strict.ask(touch(nobody)).policies == ("default-deny",)
    assert strict.ask(touch(nobody)).policies == ("rate-limit",)


@pytest.mark.promise("GATE-11")
def test_a_rate_limit_says_how_long_to_wait() -> None:
    strict = Warden(Bundle.default(), limits=Limits(flow=Rate(0.5, 1)))
    assert strict.ask(touch()).decision is Decision.ALLOW
    verdict = strict.ask(touch())
    assert (verdict.decision, verdict.code) == (Decision.DENY, "OMG-W004")
    assert verdict.details == {"limit": "flow", "per_s": 0.5, "burst": 1, "wait_s": 2.0, "retry_after_s": 2.0}
    assert strict.ask(touch(flow="git/git_diff")).decision is Decision.ALLOW
    assert strict.ask(touch(now=touch().now + 2)).decision is Decision.ALLOW


@pytest.mark.promise("GATE-10")
def test_an_irreversible_step_waits_for_its_role() -> None:
    ask = touch(effect="irreversible", flow="pay")
    verdict = DEFAULT.ask(ask)
    assert (verdict.decision, verdict.role) == (Decision.NEEDS, "owner")
    assert verdict.how == "omega approve exe_1 findings.1/log   (needs one person of role owner)"
    for worthless in ("person:ada", "agent:x#owner", "person:#owner", "person:ada#", "owner", "person:bob#oncall"):
        assert DEFAULT.ask(touch(effect="irreversible", flow="pay", approvals=(worthless,))).decision is Decision.NEEDS
    assert DEFAULT.ask(touch(effect="irreversible", flow="pay", approvals=("person:bob#owner",))).decision is Decision.ALLOW


@pytest.mark.promise("GATE-10")
def test_a_flow_may_demand_a_role_of_its_own() -> None:
    for gate in Gate:
        verdict = OPEN.ask(touch(effect="write", role="oncall", gate=gate))
        assert (verdict.decision, verdict.role, verdict.policies) == (Decision.NEEDS, "oncall", ("approved-by",))
        assert OPEN.ask(touch(effect="write", role="oncall", gate=gate, approvals=("person:bob#oncall",))).decision is Decision.ALLOW
    assert OPEN.ask(touch(effect="write", role="No Such Role", approvals=("person:bob#owner",))).decision is Decision.DENY


@pytest.mark.promise("GATE-10")
def test_two_demands_take_two_approvals() -> None:
    first = DEFAULT.ask(touch(effect="irreversible", flow="pay", role="oncall"))
    assert (first.decision, first.details["roles"]) == (Decision.NEEDS, ["owner", "oncall"])
    second = DEFAULT.ask(touch(effect="irreversible", flow="pay", role="oncall", approvals=("person:bob#oncall",)))
    assert (second.decision, second.details["roles"]) == (Decision.NEEDS, ["owner"])


def test_nobody_is_asked_to_approve_what_stays_forbidden() -> None:
    waits = policy("waits", 'forbid (principal, action, resource) unless { context.approved.contains("owner") };', '@approval("owner")')
    never = policy("never", "forbid (principal, action, resource);")
    verdict = Warden(Bundle.load({"a.cedar": PERMIT_ALL + waits + never})).ask(touch())
    assert (verdict.decision, verdict.policies) == (Decision.DENY, ("never",))
    unpermitted = Warden(Bundle.load({"a.cedar": waits})).ask(touch())
    assert unpermitted.decision is Decision.DENY


SOME = st.sampled_from
ASKS = st.builds(
    Ask,
    gate=SOME(Gate),
    scope=st.builds(
        mint_scope,
        tenant=SOME(["local", "acme", ""]),
        principal=SOME(["person:ada", "agent:r", "service:t", "ghost", "person:" + "x" * 300]),
        groups=st.frozensets(SOME(["owner", "writers", "oncall"])),
        capabilities=st.frozensets(SOME(["*", "flows:run", "tools:*", "process:run"])),
        actors=st.lists(SOME(["agent:a", "person:p"]), max_size=2),
        passport=st.just("p"),
        epoch=st.just(0),
        expires_at=SOME([0, 10**10]),
    ),
    execution=st.just("exe_1"),
    step=st.text(max_size=20),
    epoch=st.just(1),
    flow=st.one_of(SOME(["git/git_push", "review", 'x" || true || "', ""]), st.text(max_size=20)),
    flow_digest=st.just(""),
    effect=SOME(Effect),
    input_commitment=st.just(b""),
    now=SOME([0.0, 1e9, math.nan]),
    needs=st.frozensets(SOME(["tools:call", "process:run"])),
    approver_role=SOME(["", "oncall", "Bad Role"]),
    approvals=st.lists(SOME(["person:a#owner", "person:b#oncall", "person:c", "x"]), max_size=2).map(tuple),
    resource=st.dictionaries(
        SOME(["tenant", "host", "n"]), st.one_of(st.none(), st.text(max_size=4), st.integers(), st.floats(), st.booleans()), max_size=3
    ),
    left=SOME([None, Budget(), Budget(calls=0), 7]),
    estimate=st.builds(Spent, cost_micros=st.integers(), tokens=st.integers()),
)


@pytest.mark.promise("GATE-06")
@settings(max_examples=300, deadline=None)
@given(ASKS)
def test_every_answer_is_explained(ask) -> None:
    verdict = DEFAULT.ask(ask)
    assert verdict.policies
    assert verdict.where
    assert verdict.reason
    assert verdict.record()["decision"] == verdict.decision.value
    if verdict.decision is Decision.ALLOW:
        assert (verdict.code, verdict.errors) == ("", ())
    else:
        assert verdict.how
    assert (verdict.decision is Decision.DENY) == (verdict.code in CODES)
    assert (verdict.decision is Decision.NEEDS) == bool(verdict.role)


@settings(max_examples=100, deadline=None)
@given(st.lists(ASKS, min_size=1, max_size=6))
def test_what_a_gate_remembers_changes_no_answer(asks) -> None:
    """A gate that has answered others, and this one before, says what a new gate says."""
    seasoned = Warden(DEFAULT.bundle, limits=UNLIMITED)
    for ask in (*asks, *asks):
        assert seasoned.ask(ask) == Warden(DEFAULT.bundle, limits=UNLIMITED).ask(ask)
