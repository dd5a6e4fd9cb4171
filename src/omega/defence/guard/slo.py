"""Service levels: how fast an error budget burns, and when that is worth waking somebody. Pure.

An objective says which share of executions must end well within a window. What may fail is the *error budget*. The *burn rate* over some
time is the share that failed in it, divided by the share that may: at 1 the budget lasts exactly its window.

Alerts look at two windows each, a long one so that a short hiccup wakes nobody, and a short one so that the alert ends when the trouble
does. The windows and rates are those of the Site Reliability Workbook (Beyer, Murphy, Rensin, Kawahara, Thorne; chapter 5, "Alerting on
SLOs"), for a window of 30 days; for another window the rates are scaled so that an alert still means the same share of the budget.

    page     14.4  over 1 hour and 5 minutes       2 % of the budget in an hour
    page      6    over 6 hours and 30 minutes     5 % in six hours
    ticket    3    over 1 day and 2 hours         10 % in a day
    ticket    1    over 3 days and 6 hours        10 % in three days
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0
WINDOW_S = 30 * DAY_S
"""The window of an objective unless it names another, in seconds."""

PAGE, TICKET, CALM = "page", "ticket", ""

MIN_EVENTS = 10
"""Fewest executions in a long window before its burn rate alerts: two of three is bad luck, not a trend."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert: both windows (seconds) must burn faster than `rate` on a budget of 30 days."""

    severity: str
    rate: float
    long_s: float
    short_s: float


RULES = (
    Rule(PAGE, 14.4, HOUR_S, 5 * MINUTE_S),
    Rule(PAGE, 6.0, 6 * HOUR_S, 30 * MINUTE_S),
    Rule(TICKET, 3.0, DAY_S, 2 * HOUR_S),
    Rule(TICKET, 1.0, 3 * DAY_S, 6 * HOUR_S),
)


@dataclass(frozen=True, slots=True)
class Objective:
    """That at least `target` (0.999 for 99.9 %) of what ends within `window_s` ends well, and within `within_s` seconds where that is set.

    Raises ValueError for a target that leaves no budget or promises nothing.
    """

    target: float = 0.999
    window_s: float = WINDOW_S
    within_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0 or self.window_s < HOUR_S or self.within_s < 0:
            raise ValueError("an objective has a target between 0 and 1, a window of an hour or more and no negative time")

    @property
    def budget(self) -> float:
        """The share that may fail."""
        return 1.0 - self.target


@dataclass(frozen=True, slots=True)
class Event:
    """One execution that ended: when (Unix seconds), whether well, and how long it took (seconds)."""

    at_s: float
    good: bool
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """How an objective stands: `events` in its window, `bad` of them, `left` of the budget (1 untouched, below 0 overspent), the burn rate
    of the last hour, and the alert that is due: `severity` (`page`, `ticket` or none) with the `rule` that asks for it."""

    events: int
    bad: int
    left: float
    burn_hour: float
    severity: str = CALM
    rule: Rule | None = None

    @property
    def availability(self) -> float:
        """The share that ended well; 1 where nothing ended."""
        return 1.0 if not self.events else 1.0 - self.bad / self.events


def judge(events: Iterable[Event], objective: Objective, now_s: float, *, rules: Sequence[Rule] = RULES) -> Judgement:
    """How `objective` stands at `now_s`. What lies outside its window, or ahead, is not counted."""
    counted = [each for each in events if now_s - objective.window_s < each.at_s <= now_s]
    bad = sum(not _well(each, objective) for each in counted)
    allowed = len(counted) * objective.budget
    left = 1.0 if not counted else 1.0 - bad / allowed
    scale = objective.window_s / WINDOW_S
    due = next((rule for rule in rules if _fires(rule, scale, counted, objective, now_s)), None)
    burning = burn_rate(counted, objective, now_s, HOUR_S)
    return Judgement(len(counted), bad, left, burning, CALM if due is None else due.severity, due)


def burn_rate(events: Iterable[Event], objective: Objective, now_s: float, span_s: float) -> float:
    """How many times faster than it may the budget was spent over the last `span_s` seconds; 0 where nothing ended."""
    within = [each for each in events if now_s - span_s < each.at_s <= now_s]
    if not within:
        return 0.0
    return sum(not _well(each, objective) for each in within) / len(within) / objective.budget


def _fires(rule: Rule, scale: float, events: Sequence[Event], objective: Objective, now_s: float) -> bool:
    """A window that is longer by `scale` has a larger budget, so the same share of it is spent at a higher rate."""
    threshold = rule.rate * scale
    if sum(now_s - rule.long_s < each.at_s <= now_s for each in events) < MIN_EVENTS:
        return False
    return all(burn_rate(events, objective, now_s, span) >= threshold for span in (rule.long_s, rule.short_s))


def _well(event: Event, objective: Objective) -> bool:
    return event.good and (not objective.within_s or event.took_s <= objective.within_s)
