"""Error budgets and burn rates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.defence.guard.slo import DAY_S, HOUR_S, MINUTE_S, PAGE, TICKET, WINDOW_S, Event, Objective, burn_rate, judge

NOW = 1_800_000_000.0
THREE_NINES = Objective(0.999)


def steady(share_bad: float, span_s: float, *, until_s: float = NOW, count: int = 2_000) -> list[Event]:
    """Executions at even distances over `span_s`, of which that share ended badly, evenly too."""
    bad, events = 0.0, []
    for number in range(count):
        bad += share_bad
        good = bad < 1.0
        bad -= 0.0 if good else 1.0
        events.append(Event(until_s - span_s * number / count, good))
    return events


@pytest.mark.promise("WATCH-01")
@pytest.mark.parametrize(
    ("share", "span", "severity"),
    [
        (0.0, 30 * DAY_S, ""),
        (0.0009, 30 * DAY_S, ""),  # within the budget
        (0.0144 * 1.1, 3 * DAY_S, PAGE),  # 2 % of the budget in an hour
        (0.006 * 1.2, 3 * DAY_S, PAGE),
        (0.003 * 1.2, 3 * DAY_S, TICKET),
        (0.001 * 1.5, 3 * DAY_S, TICKET),
    ],
)
def test_alerts_come_at_the_rates_of_the_workbook(share: float, span: float, severity: str) -> None:
    found = judge(steady(share, span, count=20_000), THREE_NINES, NOW)
    assert found.severity == severity


@pytest.mark.promise("WATCH-01")
def test_an_alert_ends_with_its_trouble() -> None:
    """Ten minutes after the last failure the hour still burns, and the short window says that it is over."""
    trouble = steady(0.5, HOUR_S, until_s=NOW - 10 * MINUTE_S, count=600)
    assert judge(trouble, THREE_NINES, NOW - 10 * MINUTE_S).severity == PAGE
    calm = steady(0.0, 10 * MINUTE_S, count=100)
    found = judge([*trouble, *calm], THREE_NINES, NOW)
    assert found.burn_hour > 14.4 and (found.rule is None or found.rule.long_s > HOUR_S)


@pytest.mark.promise("WATCH-01")
def test_a_handful_of_runs_wakes_nobody() -> None:
    assert judge([Event(NOW - 1, False)] * 9, THREE_NINES, NOW).severity == ""
    assert judge([Event(NOW - 1, False)] * 10, THREE_NINES, NOW).severity == PAGE


@pytest.mark.promise("WATCH-01")
def test_a_budget_is_counted_over_its_window_alone() -> None:
    events = [Event(NOW - WINDOW_S - 1, False), *(Event(NOW - 5 * DAY_S, number >= 2) for number in range(1_000)), Event(NOW + 1, False)]
    found = judge(events, THREE_NINES, NOW)
    assert (found.events, found.bad) == (1_000, 2)
    assert found.left == pytest.approx(-1.0) and found.availability == pytest.approx(0.998)
    nothing = judge([], THREE_NINES, NOW)
    assert (nothing.left, nothing.availability, nothing.burn_hour, nothing.severity) == (1.0, 1.0, 0.0, "")


def test_too_slow_is_bad_where_a_time_is_promised() -> None:
    events = [Event(NOW - 1, True, took) for took in (0.5, 2.0, 2.1)]
    assert judge(events, Objective(0.9, within_s=2.0), NOW).bad == 1
    assert judge(events, Objective(0.9), NOW).bad == 0


@pytest.mark.promise("WATCH-01")
def test_a_shorter_window_means_the_same_share_of_its_budget() -> None:
    """On a window of three days two percent of the budget in an hour is a burn rate of 1.44."""
    week = Objective(0.99, 3 * DAY_S)
    events = steady(0.01 * 1.44 * 1.1, DAY_S, count=20_000)
    assert judge(events, week, NOW).severity == PAGE
    assert judge(events, Objective(0.99), NOW).severity != PAGE


@pytest.mark.parametrize(("target", "window", "within"), [(0.0, WINDOW_S, 0), (1.0, WINDOW_S, 0), (0.9, 60.0, 0), (0.9, WINDOW_S, -1)])
def test_an_objective_that_promises_nothing_is_refused(target: float, window: float, within: float) -> None:
    with pytest.raises(ValueError, match="objective"):
        Objective(target, window, within)


@pytest.mark.promise("WATCH-01")
@given(
    marks=st.lists(st.tuples(st.floats(0, WINDOW_S - 1), st.booleans()), max_size=60),
    target=st.floats(0.5, 0.9999),
)
@settings(max_examples=80, deadline=None)
def test_another_failure_never_makes_it_look_better(marks: list[tuple[float, bool]], target: float) -> None:
    objective = Objective(target)
    events = [Event(NOW - age, good) for age, good in marks]
    before = judge(events, objective, NOW)
    worse = [Event(each.at_s, False) for each in events]
    after = judge(worse, objective, NOW)
    assert after.left <= before.left + 1e-9 and after.availability <= before.availability
    assert burn_rate(worse, objective, NOW, HOUR_S) >= burn_rate(events, objective, NOW, HOUR_S) - 1e-9
    assert before.left <= 1.0 and 0.0 <= before.availability <= 1.0
