"""How well models have answered lately, and in which order those of a route are asked. Pure but for what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from omega.adapters.models.registry import Candidate

FAILURES: Final = 3
"""Failures in a row after which a model is asked last for a while."""

COOL_OFF_S: Final = 30.0
"""For how long it is."""

WEIGHT: Final = 0.2
"""How much the newest answer counts in the mean of the latencies."""

UNKNOWN: Final = float("inf")


@dataclass(slots=True)
class Standing:
    """Of one model: answers and failures since the start, failures in a row, mean seconds to an answer (0: none yet)."""

    answers: int = 0
    failures: int = 0
    row: int = 0
    until_s: float = 0.0
    latency_s: float = 0.0


class Health:
    """The standing of each model, by the label of its provider and name."""

    def __init__(self) -> None:
        self._known: dict[str, Standing] = {}

    def of(self, candidate: Candidate) -> Standing:
        """The standing of a model."""
        return self._known.setdefault(candidate.provider.label, Standing())

    def answered(self, candidate: Candidate, took_s: float) -> None:
        """It gave an answer."""
        standing = self.of(candidate)
        standing.answers, standing.row, standing.until_s = standing.answers + 1, 0, 0.0
        standing.latency_s = took_s if not standing.latency_s else (1 - WEIGHT) * standing.latency_s + WEIGHT * took_s

    def failed(self, candidate: Candidate, now_s: float) -> None:
        """It gave none."""
        standing = self.of(candidate)
        standing.failures, standing.row = standing.failures + 1, standing.row + 1
        if standing.row >= FAILURES:
            standing.until_s = now_s + COOL_OFF_S

    def ordered(
        self, candidates: Sequence[Candidate], order: str, now_s: float, price: Callable[[Candidate], float | None]
    ) -> list[Candidate]:
        """The models in the order to ask in; those that fail again and again come last, whatever they cost. What is not known of a model
        (its price, its latency) counts as the worst."""

        def key(candidate: Candidate) -> tuple[bool, float]:
            standing = self.of(candidate)
            rank = 0.0
            if order == "cost":
                found = price(candidate)
                rank = UNKNOWN if found is None else found
            elif order == "latency":
                rank = standing.latency_s or UNKNOWN
            elif order == "quality":
                rank = -candidate.quality
            return standing.until_s > now_s, rank

        return sorted(candidates, key=key)

    def record(self, candidate: Candidate, now_s: float) -> dict[str, Any]:
        """The standing as data."""
        standing = self.of(candidate)
        state = (
            "unknown" if not standing.answers + standing.failures else "failing" if standing.until_s > now_s or standing.row else "healthy"
        )
        return {
            "state": state,
            "answers": standing.answers,
            "failures": standing.failures,
            "latency_s": round(standing.latency_s, 3),
        }
