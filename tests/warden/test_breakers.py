"""Breakers at the gate: closed, open, half open; each circuit by itself; nobody is locked out for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.verdict import Decision
from omega.warden.admit import Warden
from omega.warden.breakers import MAX_BREAKERS, Breaker, Breakers, blamed
from omega.warden.policies import Bundle
from omega.warden.quotas import Measure, Quota
from warden.asks import NOW, PERMIT_ALL, caller, touch

BUNDLE = Bundle.load({"all.cedar": PERMIT_ALL})


def breaker(flow="git/*", failures=2, within_s=60.0, open_s=30.0, **more) -> Breaker:
    return Breaker(name=more.pop("name", "b"), flow=flow, failures=failures, within_s=within_s, open_s=open_s, **more)


def gate(*breakers) -> Warden:
    warden = Warden(BUNDLE)
    warden.break_on(breakers)
    return warden


def step(number, flow="git/git_log", now=NOW, scope=None):
    return touch(scope, flow, step=f"step#{number}", now=now)


def made(warden, number, failed, *, at=NOW, flow="git/git_log", scope=None):
    """One touch to its end; the decision about it."""
    ask = step(number, flow, at, scope)
    verdict = warden.ask(ask)
    if verdict.decision is Decision.ALLOW:
        warden.settle(ask, touch().estimate, failed=failed, now=at)
    return verdict


@pytest.mark.promise("WARD-15")
def test_what_fails_too_often_is_left_alone_tried_once_and_let_in_again() -> None:
    warden = gate(breaker())
    assert [made(warden, n, True).decision for n in range(3)] == [Decision.ALLOW, Decision.ALLOW, Decision.DENY]
    refused = made(warden, 4, False, at=NOW + 10)
    assert (refused.code, refused.policies, refused.where) == ("OMG-W011", ("circuit",), "the gate itself")
    assert (refused.details["target"], refused.details["wait_s"], refused.details["retry_after_s"]) == ("git/*", 20.0, 20.0)
    assert "git/*" in refused.reason and "wait 20 s" in refused.how
    probe = step(5, now=NOW + 30)
    assert warden.ask(probe).decision is Decision.ALLOW
    assert made(warden, 6, False, at=NOW + 31).decision is Decision.DENY, "one at a time while it is half open"
    warden.settle(probe, touch().estimate, failed=True, now=NOW + 32)
    assert made(warden, 7, False, at=NOW + 40).decision is Decision.DENY
    assert made(warden, 8, False, at=NOW + 62).decision is Decision.ALLOW
    assert [made(warden, n, False, at=NOW + 63).decision for n in (9, 10)] == [Decision.ALLOW] * 2


@pytest.mark.promise("WARD-15")
def test_each_server_each_tool_and_each_tenant_has_a_circuit_of_its_own() -> None:
    warden = gate(breaker(), breaker("mail/send", name="m"), breaker("*", name="each"))
    for number in range(2):
        made(warden, number, True)
    assert made(warden, 3, False, flow="git/git_diff").decision is Decision.DENY
    assert made(warden, 4, False, flow="mail/send").decision is Decision.ALLOW
    assert made(warden, 5, False, scope=caller(tenant="acme")).decision is Decision.ALLOW
    shared = gate(breaker(tenant=""))
    for number in range(2):
        made(shared, number, True)
    assert made(shared, 6, False, scope=caller(tenant="acme")).decision is Decision.DENY


@pytest.mark.promise("WARD-15")
def test_failures_are_forgotten_and_what_proves_nothing_changes_nothing() -> None:
    warden = gate(breaker())
    made(warden, 1, True)
    made(warden, 2, True, at=NOW + 61)
    assert made(warden, 3, False, at=NOW + 62).decision is Decision.ALLOW
    made(warden, 4, True, at=NOW + 63)
    assert made(warden, 5, None, at=NOW + 100).decision is Decision.ALLOW, "a probe that proves nothing"
    assert made(warden, 6, False, at=NOW + 101).decision is Decision.ALLOW
    assert list(warden.breakers.standing(NOW + 102)) == []


@pytest.mark.promise("WARD-15")
def test_a_probe_that_a_quota_refuses_is_given_back() -> None:
    warden = gate(breaker())
    for number in range(2):
        made(warden, number, True)
    warden.limit([Quota(name="none", of=Measure.REQUESTS, amount=0, window_s=60)])
    assert made(warden, 3, False, at=NOW + 31).code == "OMG-W004"
    warden.limit([])
    assert made(warden, 4, False, at=NOW + 32).decision is Decision.ALLOW


@pytest.mark.promise("WARD-15")
@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(-40, 60), st.sampled_from([True, False, None]), st.booleans()), max_size=40))
def test_whatever_happens_and_however_the_clock_jumps_it_is_let_in_again(moves) -> None:
    breakers, now = Breakers(), NOW
    breakers.adopt([breaker()])
    for number, (passed_s, failed, ends) in enumerate(moves):
        now += passed_s
        broken = breakers.take(step(number, now=now))
        assert broken is None or 0.0 <= broken.wait_s <= 30.0
        if broken is None and ends:
            breakers.settle(step(number), failed, now=now)
    broken = breakers.take(step(98, now=now))
    if broken is not None:
        assert breakers.take(step(99, now=now + broken.wait_s + 0.001)) is None


def test_a_breaker_that_is_changed_begins_anew_and_one_that_is_not_goes_on() -> None:
    breakers = Breakers()
    breakers.adopt([breaker(), breaker("mail/*", name="m")])
    for number in range(2):
        for flow in ("git/git_log", "mail/send"):
            assert breakers.take(step(number, flow)) is None
            breakers.settle(step(number, flow), True, now=NOW)
    held = step(8, "mail/send", NOW + 31)
    assert breakers.take(held) is None
    breakers.adopt([breaker(), breaker("mail/*", failures=9, name="m")])
    breakers.settle(held, True, now=NOW + 32)
    assert [each[0].name for each in breakers.standing(NOW)] == ["b"]
    breakers.adopt([])
    assert not breakers.busy and breakers.take(step(9)) is None


def test_all_breakers_hold_however_many_there_are_and_concern_their_own_tenant_alone() -> None:
    breakers = Breakers()
    breakers.adopt(breaker("mail/*", name=str(n), tenant="theirs") for n in range(MAX_BREAKERS))
    assert list(breakers._met(step(1, "mail/send"))) == []
    breakers.adopt([*breakers._breakers, breaker("mail/*", failures=1, name="last", tenant="local")])
    assert breakers.take(step(1, "mail/send")) is None
    breakers.settle(step(1, "mail/send"), True, now=NOW)
    assert breakers.take(step(2, "mail/send")) is not None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"flow": ""},
        {"flow": 7},
        {"flow": "git/*", "failures": 0},
        {"flow": "git/*", "failures": True},
        {"flow": "git/*", "within_s": 0},
        {"flow": "git/*", "open_s": 86_401},
        {"flow": "git/*", "open_s": "30s"},
        {"flow": "git/*", "tenant": None},
    ],
)
def test_a_document_that_is_no_breaker_is_refused(body) -> None:
    with pytest.raises(InputError) as caught:
        Breaker.read("b", body)
    assert caught.value.code == "OMG-I001"


def test_a_breaker_is_kept_as_it_is_and_an_answer_is_no_failure() -> None:
    assert Breaker.read("b", breaker(tenant="acme").record()) == breaker(tenant="acme")
    assert str(breaker()) == "open for 30 s after 2 failures within 60 s"
    assert blamed(UpstreamError("OMG-M003", "hangs")) and blamed(UpstreamError("OMG-M006", "lied"))
    assert not blamed(UpstreamError("OMG-M007", "says no")) and not blamed(InputError("OMG-I001", "wrong"))
