"""Who may approve what."""

from __future__ import annotations

import pytest

from omega.kernel.errors import Denied
from omega.kernel.verdict import Decision
from omega.warden.admit import Warden
from omega.warden.approvals import approve, is_role, roles_of
from omega.warden.policies import Bundle
from warden.asks import agent, caller, touch

pytestmark = pytest.mark.promise("GATE-10")

ADA = caller("person:ada", groups=("oncall",))
BOB = caller("person:bob", groups=("oncall",))
OWNER = caller("person:olga", groups=("owner",))


def refused(approver, role, requester) -> str:
    with pytest.raises(Denied) as caught:
        approve(approver, role=role, requester=requester)
    assert caught.value.code == "OMG-W007"
    return caught.value.cause


def test_another_person_of_the_role_approves() -> None:
    assert approve(BOB, role="oncall", requester=ADA) == "person:bob#oncall"
    assert roles_of([approve(BOB, role="oncall", requester=ADA)]) == {"oncall"}


def test_nobody_approves_their_own_call_but_an_owner() -> None:
    assert "their own call" in refused(ADA, "oncall", ADA)
    assert approve(OWNER, role="owner", requester=OWNER) == "person:olga#owner"


def test_a_person_approves_what_their_agent_asked() -> None:
    assert approve(ADA, role="oncall", requester=caller("person:ada", groups=("oncall",), actors=("agent:x",))) == "person:ada#oncall"


def test_an_owner_stands_in_for_every_role() -> None:
    assert approve(OWNER, role="oncall", requester=ADA) == "person:olga#oncall"


def test_only_a_person_acting_themself_approves() -> None:
    for approver in (
        agent(groups=("owner",)),
        caller("service:timers"),
        caller("person:olga", groups=("owner",), actors=("agent:reviewer",)),
    ):
        assert "only a person acting themself" in refused(approver, "oncall", ADA)


def test_role_and_tenant_must_fit() -> None:
    assert "does not have the role" in refused(BOB, "finance", ADA)
    assert "another tenant" in refused(caller("person:bob", tenant="other"), "oncall", ADA)
    for role in ("", "Owner", "a b", "x#y", "*"):
        assert not is_role(role)
        refused(OWNER, role, ADA)


def test_what_approve_did_not_write_counts_for_nothing() -> None:
    worthless = ["person:bob", "bob#owner", "agent:x#owner", "person:#owner", "person:bob#", "person:bob#OWNER", "#owner", ""]
    assert roles_of(worthless) == frozenset()


def test_an_approval_lets_the_step_through() -> None:
    warden = Warden(Bundle.default())
    ask = touch(OWNER, "pay", "irreversible")
    assert warden.ask(ask).decision is Decision.NEEDS
    approval = approve(OWNER, role=warden.ask(ask).role, requester=ask.scope)
    assert warden.ask(touch(OWNER, "pay", "irreversible", approvals=(approval,))).decision is Decision.ALLOW
