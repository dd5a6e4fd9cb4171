"""Quotas: what is set aside counts, windows are those of the clock, and engines that share never use more together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.budget import NOTHING, Spent
from omega.kernel.errors import InputError
from omega.kernel.verdict import Decision, Gate
from omega.warden import quotas
from omega.warden.admit import Warden
from omega.warden.policies import Bundle
from omega.warden.quotas import EACH, MAX_QUOTAS, Ledger, Measure, Quota, Unpriced, Use
from warden.asks import NOW, PERMIT_ALL, agent, caller, touch

BUNDLE = Bundle.load({"all.cedar": PERMIT_ALL})
DAY = 86_400


def quota(of="requests", amount=3, window_s=60, **whose) -> Quota:
    return Quota(name=whose.pop("name", "q"), of=Measure(of), amount=amount, window_s=window_s, **whose)


def gate(*quotas, engines=1) -> Warden:
    warden = Warden(BUNDLE)
    warden.limit(quotas, engines=engines)
    return warden


def step(number, scope=None, flow="git/git_log", now=NOW, **facts):
    return touch(scope, flow, step=f"step#{number}", now=now, **facts)


@pytest.mark.promise("WARD-05")
def test_what_is_set_aside_counts_so_asking_in_parallel_is_no_way_round() -> None:
    warden = gate(quota(amount=3))
    verdicts = [warden.ask(step(number)) for number in range(10)]
    assert [verdict.decision for verdict in verdicts].count(Decision.ALLOW) == 3
    refused = verdicts[-1]
    assert (refused.code, refused.policies) == ("OMG-W004", ("quota",))
    assert refused.details["limit"] == "q" and 0 < refused.details["wait_s"] <= 60
    assert "requests per minute" in refused.reason and refused.how


@pytest.mark.promise("WARD-05")
def test_a_touch_that_was_not_made_gives_back_what_it_set_aside() -> None:
    warden = gate(quota(amount=1))
    assert warden.ask(step(1)).decision is Decision.ALLOW
    warden.settle(step(1), NOTHING, made=False)
    assert warden.ask(step(2)).decision is Decision.ALLOW
    warden.settle(step(2), NOTHING)
    assert warden.ask(step(3)).decision is Decision.DENY
    assert warden.ask(step(4, now=NOW + 60)).decision is Decision.ALLOW


@pytest.mark.promise("WARD-05")
def test_money_is_counted_as_spent_and_closes_the_entrance_too() -> None:
    warden = gate(quota("cost", 1_000_000, DAY, principal="agent:x"))
    scope = agent("x")
    assert warden.ask(step(1, scope)).decision is Decision.ALLOW
    warden.settle(step(1, scope), Spent(cost_micros=999_999))
    assert warden.ask(step(2, scope)).decision is Decision.ALLOW
    warden.settle(step(2, scope), Spent(cost_micros=500))
    for gated in (Gate.TOUCH, Gate.ENTRY):
        refused = warden.ask(step(3, scope, gate=gated))
        assert (refused.code, refused.policies) == ("OMG-W005", ("quota",)), gated
        assert "1 USD per day" in refused.reason
    assert warden.ask(step(4)).decision is Decision.ALLOW, "it is the agent's budget, nobody else's"
    assert warden.ask(step(5, caller(actors=("agent:x",)))).decision is Decision.DENY, "and follows it into other people's names"


@pytest.mark.promise("WARD-05")
def test_a_model_sets_its_tokens_aside_before_it_is_asked() -> None:
    warden = gate(quota("tokens", 1_000, 3_600))
    assert warden.ask(step(1)).decision is Decision.ALLOW
    assert warden.ask(step(2)).decision is Decision.ALLOW
    assert warden.reserve(step(1), Spent(tokens=900)) is None
    refused = warden.reserve(step(2), Spent(tokens=200))
    assert refused is not None and refused.code == "OMG-W004" and refused.details["left"] == 100
    warden.settle(step(1), Spent(tokens=10))
    assert warden.reserve(step(2), Spent(tokens=200)) is None


@pytest.mark.promise("WARD-05")
def test_so_many_at_once_and_a_bulkhead_per_tool() -> None:
    warden = gate(quota("concurrency", 2, 0, flow="git/*", name="git"), quota("concurrency", 1, 0, flow="mail/send", name="mail"))
    assert [warden.ask(step(number)).decision for number in range(3)].count(Decision.ALLOW) == 2
    assert warden.ask(step(9, flow="mail/send")).decision is Decision.ALLOW, "a full bulkhead holds up its own tool alone"
    assert warden.ask(step(10, flow="mail/send")).details["wait_s"] == 0
    warden.settle(step(0), NOTHING)
    assert warden.ask(step(4, flow="git/git_diff")).decision is Decision.ALLOW


def test_each_by_itself_or_all_together() -> None:
    each = gate(quota(amount=1, principal=EACH))
    assert all(each.ask(step(n, caller(f"person:p{n}"))).decision is Decision.ALLOW for n in range(5))
    together = gate(quota(amount=1))
    assert [together.ask(step(n, caller(f"person:p{n}"))).decision for n in range(5)].count(Decision.ALLOW) == 1
    assert together.ask(step(9, caller(tenant="acme"))).decision is Decision.ALLOW, "tenants are each by themselves"
    own = gate(quota(amount=0, tenant="acme"))
    assert own.ask(step(1, caller(tenant="acme"))).decision is Decision.DENY
    assert own.ask(step(2)).decision is Decision.ALLOW


def test_a_clock_that_jumps_back_refunds_nothing() -> None:
    warden = gate(quota(amount=1))
    assert warden.ask(step(1)).decision is Decision.ALLOW
    assert warden.ask(step(2, now=NOW - 3_600)).decision is Decision.DENY


@pytest.mark.promise("WARD-06")
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 40), st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=80))
def test_engines_that_share_never_use_more_together(amount, asked) -> None:
    ledgers = [Ledger() for _ in range(3)]
    for ledger in ledgers:
        ledger.adopt([quota(amount=amount)], engines=3)
    used = 0
    for number, (which, made) in enumerate(asked):
        ask = step(number)
        if ledgers[which].take(ask) is None:
            used += made
            ledgers[which].settle(ask, NOTHING, kept=Spent(calls=int(made)))
    assert used <= amount


@pytest.mark.promise("WARD-06")
def test_an_engine_that_goes_leaves_its_share_until_the_window_ends_and_one_that_comes_counts_what_was_used() -> None:
    ledger = Ledger()
    ledger.adopt([quota(amount=4)], engines=2)
    assert [ledger.take(step(n)) is None for n in range(3)] == [True, True, False]
    ledger.adopt([quota(amount=4)], engines=1)
    assert ledger.take(step(4)) is not None
    assert ledger.take(step(5, now=NOW + 60)) is None
    fresh = Ledger()
    fresh.adopt([quota(amount=4)], engines=2)
    fresh.count(Use("local", ("person:ada",), "git/git_log"), Spent(calls=2), at=NOW)
    assert fresh.take(step(6)) is not None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["take", "reserve", "settle"]), st.integers(0, 9)), max_size=60))
def test_nothing_is_ever_set_aside_for_good(moves) -> None:
    ledger = Ledger()
    ledger.adopt([quota("tokens", 50, 3_600), quota("concurrency", 3, 0, name="c")])
    for number, move, amount in moves:
        ask = step(number)
        if move == "take":
            ledger.take(ask)
        elif move == "reserve":
            ledger.reserve(ask, Spent(tokens=amount))
        else:
            ledger.settle(ask, Spent(tokens=0), kept=NOTHING)
    for number in range(6):
        ledger.settle(step(number), NOTHING, kept=NOTHING)
    assert list(ledger.standing(NOW)) == []
    assert ledger.take(replace(step(7), estimate=Spent(tokens=50))) is None


def by(tenant, number, now=NOW):
    return touch(agent(f"{tenant}-{number}", tenant=tenant), "git/git_log", step=f"{tenant}#{number}", now=now)


@pytest.mark.promise("WARD-05")
def test_who_makes_up_names_fills_a_bound_of_their_own(monkeypatch) -> None:
    """One tenant with many callers is refused at its bound; the other's counts are neither forgotten nor refused."""
    monkeypatch.setattr(quotas, "MAX_OWN", 100)
    ledger = Ledger()
    ledger.adopt([quota(amount=2, principal=EACH, tenant=whose, name=f"q{whose}") for whose in (EACH, "")])  # two counters a caller
    assert ledger.take(by("ours", 1)) is None
    ledger.settle(by("ours", 1), NOTHING)
    taken = [ledger.take(by("theirs", number)) is None for number in range(60)]
    assert taken == [True] * 50 + [False] * 10
    assert ledger.take(by("ours", 2)) is None
    assert ledger.take(by("ours", 1)) is None
    assert ledger.take(replace(by("ours", 1), step="again")) is not None, "what was counted is still counted"
    assert len(ledger._counters) <= 104


@pytest.mark.promise("WARD-05")
def test_a_tenant_has_some_counters_whatever_others_take(monkeypatch) -> None:
    monkeypatch.setattr(quotas, "MAX_COUNTERS", 100)
    monkeypatch.setattr(quotas, "SURE", 3)
    ledger = Ledger()
    ledger.adopt([quota(amount=1, principal=EACH)])
    assert [ledger.take(by("theirs", number)) is None for number in range(101)] == [True] * 100 + [False]
    assert [ledger.take(by("ours", number)) is None for number in range(4)] == [True] * 3 + [False]


def test_counters_that_count_nothing_any_more_make_room(monkeypatch) -> None:
    monkeypatch.setattr(quotas, "MAX_OWN", 4)
    ledger = Ledger()
    ledger.adopt([quota(amount=5, principal=EACH), quota("concurrency", 5, 0, principal=EACH, name="once")])
    assert ledger.take(by("ours", 1)) is None
    assert ledger.take(by("ours", 2)) is None
    ledger.settle(by("ours", 2), NOTHING)
    assert ledger.take(by("ours", 3)) is not None, "the minute is not over, and what counts is not forgotten"
    assert ledger.take(by("ours", 3, NOW + 60)) is None
    under_way = [(used[0].name, *used[2:]) for used in ledger.standing(NOW + 60)]
    assert under_way == [(name, f"agent:ours-{number}", "", 0, 1) for name in ("once", "q") for number in (1, 3)]


def test_all_quotas_hold_however_many_there_are() -> None:
    ledger = Ledger()
    ledger.adopt([*(quota(name=str(n), tenant="theirs") for n in range(MAX_QUOTAS)), quota(amount=0, name="last")])
    assert ledger.take(step(1)) is not None
    with pytest.raises(InputError):
        ledger.adopt([], engines=0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"of": "hearts", "amount": 1},
        {"of": "cost", "amount": 1.5, "window_s": 60},
        {"of": "cost", "amount": -1, "window_s": 60},
        {"of": "cost", "amount": True, "window_s": 60},
        {"of": "cost", "amount": 1, "window_s": 61},
        {"of": "concurrency", "amount": 1, "window_s": 60},
        {"of": "cost", "amount": 1, "window_s": 60, "principal": 7},
        {"of": ["cost"], "amount": 1, "window_s": 60},
        {"of": "cost", "amount": 1, "window_s": 60, "unpriced": "maybe"},
        {"of": "tokens", "amount": 1, "window_s": 60, "unpriced": "pass"},
    ],
)
def test_a_document_that_is_no_quota_is_refused(body) -> None:
    with pytest.raises(InputError) as caught:
        Quota.read("q", body)
    assert caught.value.code == "OMG-I001"


def test_a_quota_is_kept_as_it_is() -> None:
    for each in (quota(), quota("concurrency", 2, 0, flow="git/*"), quota("cost", 5_000_000, DAY, unpriced=Unpriced.ADMIT)):
        assert Quota.read("q", each.record()) == each
    assert str(quota("cost", 5_000_000, DAY)) == "5 USD per day"
    assert str(quota("concurrency", 2, 0)) == "2 at once"


@pytest.mark.promise("WARD-05")
def test_a_tool_counts_as_itself_whatever_the_flow_calls_it() -> None:
    warden = gate(quota(amount=1, flow="git/git_push"))
    facts = {"resource": {"server": "git", "tool": "git_push"}}
    assert warden.ask(step(1, flow="harmless", **facts)).decision is Decision.ALLOW
    assert warden.ask(step(2, flow="harmless", **facts)).decision is Decision.DENY


def test_another_window_under_the_same_name_begins_to_count_anew() -> None:
    warden = gate(quota(amount=1))
    assert warden.ask(step(1)).decision is Decision.ALLOW
    warden.limit([quota(amount=1, window_s=DAY)], engines=1)
    assert warden.ask(step(2)).decision is Decision.ALLOW
    warden.settle(step(2), NOTHING)
    assert warden.ask(step(3)).decision is Decision.DENY
    assert warden.ask(step(4, now=NOW + DAY)).decision is Decision.ALLOW


@pytest.mark.promise("WARD-14")
def test_money_is_set_aside_before_it_is_spent_and_what_is_left_over_is_free_again() -> None:
    warden = gate(quota("cost", 1_000, DAY))
    for number in (1, 2):
        assert warden.ask(step(number)).decision is Decision.ALLOW
    assert warden.reserve(step(1), Spent(cost_micros=700)) is None
    refused = warden.reserve(step(2), Spent(cost_micros=400))
    assert refused is not None and (refused.code, refused.details["left"]) == ("OMG-W005", 300)
    warden.amend(step(1), Spent(cost_micros=50) - Spent(cost_micros=700))
    assert warden.reserve(step(2), Spent(cost_micros=400)) is None, "the first request has ended, its step has not"
    warden.settle(step(1), Spent(cost_micros=50))
    warden.settle(step(2), Spent(cost_micros=400))
    assert [used for *_, used, _ in warden.ledger.standing(NOW)] == [450]


@pytest.mark.promise("WARD-14")
def test_what_nobody_knows_the_price_of_is_refused_where_money_is_limited_unless_that_is_said() -> None:
    strict, lax = gate(quota("cost", 1_000, DAY)), gate(quota("cost", 1_000, DAY, unpriced=Unpriced.ADMIT))
    others = gate(quota("tokens", 1_000, DAY), quota("cost", 1_000, DAY, tenant="acme", name="theirs"))
    for warden in (strict, lax, others):
        assert warden.ask(step(1)).decision is Decision.ALLOW
    refused = strict.reserve(step(1), Spent(tokens=5), priced=False)
    assert refused is not None and refused.code == "OMG-W005" and refused.details["unpriced"] is True and "price" in refused.reason
    assert lax.reserve(step(1), Spent(tokens=5), priced=False) is None
    assert others.reserve(step(1), Spent(tokens=5), priced=False) is None


@pytest.mark.promise("WARD-14")
@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 60), st.integers(0, 60)), max_size=60),
)
def test_no_order_of_spenders_at_engines_side_by_side_spends_more_than_the_limit(amount, moves) -> None:
    """Each spender is admitted, has the most it can spend set aside, spends at most that, and ends; any number are under way at once."""
    wardens = [gate(quota("cost", amount, DAY), engines=3) for _ in range(3)]
    under_way: dict[tuple[int, int], tuple[int, int]] = {}
    spent = 0
    for engine, number, most, used in moves:
        ask = step(number)
        held = under_way.pop((engine, number), None)
        if held is not None:
            wardens[engine].amend(ask, Spent(cost_micros=held[1] - held[0]))
            wardens[engine].settle(ask, Spent(cost_micros=held[1]))
            spent += held[1]
        elif wardens[engine].ask(ask).decision is Decision.ALLOW and wardens[engine].reserve(ask, Spent(cost_micros=most)) is None:
            under_way[engine, number] = (most, min(most, used))
        assert spent + sum(held[1] for held in under_way.values()) <= amount
