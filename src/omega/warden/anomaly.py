"""How unusual a caller's usage is: a few features, each explained, added up to a score. Pure: what happened is handed in.

For each caller an hour is compared with what the caller used to do. The usual value of an hour is an average in which an hour counts half
as much a week later (`HALF_LIFE_H`); a caller seen for less than `YOUNG_H` hours is compared with nothing but the fixed floor, so that a
new one is not suspicious for being new.

    spend        money in an hour, against the usual
    rate         gated calls in an hour, against the usual
    refusals     denials in an hour: somebody tries doors
    new tools    tools that the caller never used before
    odd hour     an hour of the week in which the caller was never seen

Each gives 0 to its own most points. From SUSPICIOUS on the score is worth a look, from ROGUE on the caller is put into quarantine where
that is arranged. No feature alone reaches ROGUE but a spend or rate of many times the usual: two things must be odd.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

SUSPICIOUS = 50
ROGUE = 100

HALF_LIFE_H = 168.0
YOUNG_H = 24
MAX_TOOLS = 1_024
"""Most tools that are remembered of a caller; past it none is new."""

FLOOR_CALLS = 60.0
"""Calls in an hour that are never many."""

FLOOR_MICROS = 500_000.0
"""Money in an hour (millionths) that is never much."""

FLOOR_REFUSALS = 5.0

_HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Feature:
    """One reason: its name, what was seen, what was usual, and the points it gives."""

    name: str
    seen: float
    usual: float
    points: int

    def __str__(self) -> str:
        return f"{self.name}: {self.seen:g} where {self.usual:.3g} is usual ({self.points} points)"


@dataclass(frozen=True, slots=True)
class Score:
    """How unusual an hour is, and why, the weightiest reason first."""

    points: int
    features: tuple[Feature, ...]

    @property
    def suspicious(self) -> bool:
        """Whether somebody should look."""
        return self.points >= SUSPICIOUS

    @property
    def rogue(self) -> bool:
        """Whether the caller is to be locked out."""
        return self.points >= ROGUE

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(map(str, self.features)) or "nothing unusual"


@dataclass(slots=True)
class Hour:
    """What a caller did in one hour: gated calls, money in millionths, denials, tools."""

    calls: int = 0
    cost_micros: int = 0
    refusals: int = 0
    tools: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Profile:
    """What is usual for one caller. Feed it with `note`, and ask with `score`, both in the order of time."""

    began: int = -1
    hour: int = -1
    now: Hour = field(default_factory=Hour)
    calls: float = 0.0
    cost_micros: float = 0.0
    refusals: float = 0.0
    weight: float = 0.0
    tools: set[str] = field(default_factory=set)
    hours: set[int] = field(default_factory=set)

    def note(self, at_s: float, *, cost_micros: int = 0, refused: bool = False, tool: str = "") -> None:
        """Something happened at `at_s` (Unix seconds): a gated call, with what it cost, or a denial."""
        self._turn(int(at_s // _HOUR_S))
        self.now.calls += not refused
        self.now.refusals += refused
        self.now.cost_micros += cost_micros
        if tool and not refused:
            self.now.tools.add(tool)

    def score(self) -> Score:
        """How unusual the current hour is."""
        if self.hour < 0:
            return Score(0, ())
        young = self.hour - self.began < YOUNG_H
        usual = max(self.weight, 1.0)
        new = self.now.tools - self.tools if len(self.tools) < MAX_TOOLS else set()
        odd = self.hour % 168 not in self.hours and len(self.hours) >= YOUNG_H
        found = [
            _excess("spend", self.now.cost_micros, self.cost_micros / usual, FLOOR_MICROS, 100),
            _excess("rate", self.now.calls, self.calls / usual, FLOOR_CALLS, 100),
            _excess("refusals", self.now.refusals, self.refusals / usual, FLOOR_REFUSALS, 60),
            Feature("new tools", len(new), 0, 0 if young else min(40, 15 * len(new))),
            Feature("odd hour", 1, 0, 0 if young or not odd else 25),
        ]
        telling = sorted((each for each in found if each.points), key=lambda each: -each.points)
        return Score(sum(each.points for each in telling), tuple(telling))

    def _turn(self, hour: int) -> None:
        """Close the hour that is over, and weigh what was before by how long ago it was. An hour that comes late counts as the current
        one."""
        if self.hour < 0:
            self.began = self.hour = hour
        if hour <= self.hour:
            return
        fade = 0.5 ** ((hour - self.hour) / HALF_LIFE_H)
        self.calls = (self.calls + self.now.calls) * fade
        self.cost_micros = (self.cost_micros + self.now.cost_micros) * fade
        self.refusals = (self.refusals + self.now.refusals) * fade
        self.weight = (self.weight + 1) * fade
        self.tools |= set(sorted(self.now.tools)[: MAX_TOOLS - len(self.tools)])
        self.hours.add(self.hour % 168)
        self.hour, self.now = hour, Hour()


def _excess(name: str, seen: float, usual: float, floor: float, most: int) -> Feature:
    """Points for how many times the usual (or the floor, where that is more) was seen: none up to three times, `most` from thirty on."""
    base = max(usual, floor)
    times = seen / base
    points = 0 if times <= 3 else min(most, round(most * math.log(times / 3) / math.log(10)))
    return Feature(name, seen, base, points)


def worst(profiles: Iterable[tuple[str, Profile]]) -> tuple[str, Score] | None:
    """The caller with the highest score, and that score; None where nobody does anything unusual."""
    scored = [(name, profile.score()) for name, profile in profiles]
    found = max(scored, key=lambda each: each[1].points, default=None)
    return found if found is not None and found[1].points else None
