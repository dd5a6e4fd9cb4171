"""A tenant's own policies: they narrow, and nothing else; other tenants never notice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.kernel.verdict import Decision
from omega.warden.admit import Warden
from omega.warden.limits import UNLIMITED
from omega.warden.policies import Bundle
from warden.asks import PERMIT_ALL, caller, policy, touch
from warden.test_laws import QUESTIONS, RANK, ask_of, load, rules

OPEN = Bundle.load({"all.cedar": PERMIT_ALL})
NO_WRITES = policy("no-writes", 'forbid (principal, action == Action::"write", resource);')


def verdict(bundle, tenant, effect="write"):
    return Warden(bundle).ask(touch(caller(tenant=tenant), flow="report", effect=effect))


@pytest.mark.promise("WARD-04")
@settings(max_examples=200, deadline=None)
@given(st.lists(rules(), max_size=6), st.lists(rules(effects=(False,)), max_size=5), QUESTIONS)
def test_whatever_a_tenant_writes_opens_nothing_and_touches_nobody_else(installation, own, question) -> None:
    bundle = load(installation)
    narrowed = bundle.with_tenant("acme", {"own.cedar": "\n".join(rule.text(f"o{number}") for number, rule in enumerate(own))})
    ask = ask_of(question, frozenset({"*"}))
    before, after = Warden(bundle, limits=UNLIMITED).ask(ask), Warden(narrowed, limits=UNLIMITED).ask(ask)
    assert RANK[after.decision] <= RANK[before.decision]
    if question.tenant != "acme":
        assert (after.decision, after.policies, after.errors) == (before.decision, before.policies, before.errors)


@pytest.mark.promise("WARD-04")
def test_a_permit_among_them_does_not_load() -> None:
    with pytest.raises(InputError, match="can only forbid") as caught:
        OPEN.with_tenant("acme", {"own.cedar": NO_WRITES + PERMIT_ALL})
    assert caught.value.code == "OMG-W003"
    assert caught.value.details["problems"][0]["line"] == 4


@pytest.mark.promise("WARD-04")
def test_they_hold_for_that_tenant_and_are_named_after_it() -> None:
    bundle = OPEN.with_tenant("acme", {"own.cedar": NO_WRITES}).with_tenant("globex", {"own.cedar": NO_WRITES.replace("write", "read")})
    told = verdict(bundle, "acme")
    assert (told.decision, told.policies, told.where) == (Decision.DENY, ("acme/no-writes",), "acme/own.cedar:1")
    assert verdict(bundle, "globex").decision is Decision.ALLOW
    assert verdict(bundle, "globex", "read").policies == ("globex/no-reads",) or verdict(bundle, "globex", "read").decision is Decision.DENY
    assert verdict(bundle, "local").decision is Decision.ALLOW
    again = bundle.with_tenant("acme", {})
    assert verdict(again, "acme").decision is Decision.ALLOW
    assert verdict(again, "globex", "read").decision is Decision.DENY
    assert len({bundle.digest, OPEN.digest, again.digest}) == 3
    assert again.with_tenant("globex", {}).digest == OPEN.digest, "the digest says which policies hold, not how they came to"


@pytest.mark.promise("WARD-04")
def test_one_that_cannot_be_evaluated_denies_that_tenant_alone() -> None:
    errs = policy("errs", 'forbid (principal, action, resource) when { Flow::"other".effect == "x" };')
    bundle = OPEN.with_tenant("acme", {"own.cedar": errs})
    told = verdict(bundle, "acme")
    assert (told.code, told.policies[0]) == ("OMG-W002", "acme/errs")
    assert verdict(bundle, "local").decision is Decision.ALLOW


def test_it_cannot_reach_beyond_itself_by_naming_another_tenant() -> None:
    greedy = policy("greedy", 'forbid (principal in Tenant::"local", action, resource);')
    bundle = OPEN.with_tenant("acme", {"own.cedar": greedy})
    assert verdict(bundle, "local").decision is Decision.ALLOW
    assert verdict(bundle, "acme").decision is Decision.ALLOW
    with pytest.raises(InputError):
        OPEN.with_tenant("", {"own.cedar": NO_WRITES})
