"""Token buckets: what they let through, and that neither clocks nor names get around them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.warden.limits import DEFAULT_LIMITS, UNLIMITED, Limiter, Limits, Rate

pytestmark = pytest.mark.promise("GATE-11")

WIDE = Rate(1e9, 1e9)


def limits(**rates) -> Limits:
    return Limits(**{"tenant": WIDE, "caller": WIDE, "agent": WIDE, "flow": WIDE, **rates})


def granted(limiter: Limiter, times: int, now: float, *, tenant="t", caller="c", flow="f", agent=False) -> int:
    return sum(limiter.take(tenant, caller, flow, agent=agent, now=now) is None for _ in range(times))


def test_burst_then_rate() -> None:
    limiter = Limiter(limits(caller=Rate(10, 5)))
    assert granted(limiter, 20, 100.0) == 5
    assert granted(limiter, 20, 100.125) == 1
    assert granted(limiter, 20, 100.5) == 4
    assert granted(limiter, 20, 999.0) == 5


def test_each_level_has_its_own_bucket() -> None:
    limiter = Limiter(limits(tenant=Rate(1, 6), caller=Rate(1, 4), flow=Rate(1, 2), agent=Rate(1, 1)))
    assert granted(limiter, 9, 0.0, flow="a") == 2
    assert granted(limiter, 9, 0.0, flow="b") == 2
    assert granted(limiter, 9, 0.0, flow="c") == 0
    assert granted(limiter, 9, 0.0, caller="d", agent=True) == 1
    assert granted(limiter, 9, 0.0, caller="e") == 1
    assert granted(limiter, 9, 0.0, tenant="u") == 2
    refusal = limiter.take("t", "z", "z", agent=False, now=0.0)
    assert (refusal.limit, refusal.rate, refusal.wait_s) == ("tenant", Rate(1, 6), 1.0)


def test_a_refusal_costs_nothing() -> None:
    limiter = Limiter(limits(flow=Rate(1, 1)))
    assert granted(limiter, 1, 0.0) == 1
    assert granted(limiter, 1_000, 0.5) == 0
    assert granted(limiter, 2, 1.0) == 1


def test_names_that_run_together_are_told_apart() -> None:
    limiter = Limiter(limits(flow=Rate(1, 1)))
    assert granted(limiter, 2, 0.0, caller="ab", flow="c") == 1
    assert granted(limiter, 2, 0.0, caller="a", flow="bc") == 1


def test_a_clock_that_jumps_back_neither_refunds_nor_locks_out() -> None:
    limiter = Limiter(limits(caller=Rate(1, 3)))
    assert granted(limiter, 9, 10_000.0) == 3
    assert granted(limiter, 9, 0.0) == 0
    assert granted(limiter, 9, 0.5) == 0
    assert granted(limiter, 9, 1.0) == 1
    assert granted(limiter, 9, 3.0) == 2


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=60))
def test_no_sequence_of_times_gives_more_than_burst_and_rate(times) -> None:
    limiter = Limiter(limits(caller=Rate(0.5, 3)))
    passed = sum(limiter.take("t", "c", "f", agent=False, now=now) is None for now in times)
    forward = sum(max(0.0, later - earlier) for earlier, later in pairwise(times))
    assert passed <= 3 + 0.5 * forward + 1e-6
    assert granted(limiter, 1, times[-1] + 2.001) == 1


def test_memory_is_bounded_and_a_flood_of_names_buys_nothing() -> None:
    limiter = Limiter(Limits(tenant=WIDE, caller=Rate(0.001, 1), flow=WIDE, tenants=8, buckets=16))
    passed = sum(granted(limiter, 1, 0.0, caller=f"c{number}") for number in range(5_000))
    assert passed == 16 + 1
    for number in range(5_000):
        granted(limiter, 1, 0.0, tenant=f"t{number}")
    assert limiter.size() <= 8 + (8 + 1) * 3 * 16


def test_one_tenants_flood_leaves_others_alone() -> None:
    limiter = Limiter(Limits(tenant=WIDE, caller=Rate(0.001, 1), flow=WIDE, tenants=8, buckets=16))
    for number in range(1_000):
        granted(limiter, 1, 0.0, tenant="noisy", caller=f"c{number}")
    assert granted(limiter, 3, 0.0, tenant="quiet", caller="new") == 1


def test_full_buckets_and_idle_tenants_make_room() -> None:
    limiter = Limiter(Limits(tenant=WIDE, caller=Rate(1, 1), flow=WIDE, tenants=2, buckets=2))
    for number in range(50):
        assert granted(limiter, 2, number * 10.0, tenant=f"t{number}", caller=f"c{number}") == 1
    assert limiter.size() <= 2 + 3 * 3 * 2


def test_the_defaults_refuse_a_runaway_agent_and_let_people_work() -> None:
    limiter = Limiter(DEFAULT_LIMITS)
    assert granted(limiter, 5_000, 0.0, caller="person:ada agent:x", agent=True) == DEFAULT_LIMITS.agent.burst
    assert granted(limiter, 5_000, 0.0, caller="person:ada") == 5_000


def test_unlimited_is() -> None:
    assert granted(Limiter(UNLIMITED), 10_000, 0.0, agent=True) == 10_000
