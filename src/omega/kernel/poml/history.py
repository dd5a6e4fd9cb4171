"""What is recorded of flows and their steps, as estimates see it: samples, whole runs, prices, and the figures that sum them up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Key = tuple[str, str]
"""Name and version of a step's flow."""
NORMAL_95 = 1.96
"""Two-sided 95 % quantile of the normal distribution: half-width of an average is this times its standard error."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One recorded outcome of a step, all attempts together. `priced` says that `cost_micros` is all it cost."""

    took_s: float = 0.0
    cost_micros: int = 0
    tokens: int = 0
    priced: bool = True
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run of the flow itself: its totals, and how often each step was done."""

    total: Sample
    steps: Mapping[Key, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """What is recorded: whole runs of the flow, and outcomes of its steps wherever they ran."""

    runs: Sequence[Run] = ()
    steps: Mapping[Key, Sequence[Sample]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prices:
    """What models cost: millionths of the currency per million tokens, by name (`*` for any other), as of a day (ISO 8601)."""

    as_of: str = ""
    currency: str = "USD"
    per_million: Mapping[str, int] = field(default_factory=dict)

    def price(self, model: str, tokens: int) -> int | None:
        """Micros for so many tokens, rounded up; None where the model is not listed."""
        rate = self.per_million.get(model, self.per_million.get("*"))
        return None if rate is None else -(-tokens * rate // 1_000_000)


@dataclass(frozen=True, slots=True)
class Spread:
    """An average and a 95th percentile. `width` is the half-width of the average's 95 % interval; None for fewer than two samples."""

    average: float
    p95: float
    width: float | None
    samples: int


def spread(values: Sequence[float]) -> Spread | None:
    """Average, 95th percentile by nearest rank, and half-width of the average; None for no values."""
    if not values:
        return None
    count, average = len(values), math.fsum(values) / len(values)
    p95 = sorted(values)[math.ceil(0.95 * count) - 1]
    if count < 2:
        return Spread(average, p95, None, count)
    deviation = math.sqrt(math.fsum((value - average) ** 2 for value in values) / (count - 1))
    return Spread(average, p95, NORMAL_95 * deviation / math.sqrt(count), count)
