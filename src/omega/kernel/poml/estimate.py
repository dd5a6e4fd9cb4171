"""What a flow will probably cost, before it runs: averages and 95th percentiles from what was recorded of the same steps.

Where enough whole runs of the very flow are recorded they are the estimate; otherwise it is put together from the steps, by drawing runs
of a plan (`omega.kernel.poml.plan`). Nothing is guessed silently: a step without history, a branch without a recorded frequency and a
cost without a price are named, and a cost that is not known is None, never 0.

Pure: `chance` gives numbers in [0, 1), and the same numbers give the same estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from omega.kernel.compose import AnyFlow
from omega.kernel.poml.history import History, Prices, Spread, spread
from omega.kernel.poml.plan import Expected, Plan

ENOUGH_RUNS = 8
"""Whole runs of a flow from which its totals are taken directly."""
MEDIUM, HIGH = 10, 30
"""Samples from which an estimate is of medium and of high confidence."""
NARROW = 0.2
"""Half-width of the average, relative to it, above which confidence is never high."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The whole. `measured` says that whole runs were averaged, else steps were put together.

    A total is None where nothing is known of it. With `unknown` steps (no history) or `unpriced` ones (cost not known) totals are a lower
    bound, and None where they would be nothing else than 0. `assumed` names branches and repetitions of unknown frequency.
    """

    runs: int
    measured: bool
    confidence: str
    took_s: Spread | None
    tokens: Spread | None
    cost_micros: Spread | None
    steps: tuple[Expected, ...]
    unknown: tuple[str, ...]
    unpriced: tuple[str, ...]
    assumed: tuple[str, ...]


_SIDES = ("took_s", "tokens", "cost_micros")


def estimate(flow: AnyFlow, history: History, prices: Prices, chance: Callable[[], float]) -> Estimate:
    """What `flow` will take and cost."""
    plan = Plan(flow, history, prices, chance)
    outcomes = plan.trials(flow)
    steps = plan.expected(len(outcomes))
    plan.forget(step.name for step in steps if not step.per_run)
    whole = [plan.priced(run.total, "") for run in history.runs]
    measured = len(whole) >= ENOUGH_RUNS
    totals = whole if measured else outcomes
    if any(not total.priced for total in totals) and not plan.unpriced:
        plan.unpriced.add(flow.name)
    took, tokens, cost = (
        spread([float(getattr(each, name)) for each in totals]) if measured or any(getattr(step, name) for step in steps) else None
        for name in _SIDES
    )
    if plan.unpriced and cost is not None and not cost.average:
        cost = None  # whatever could cost something has no price: nothing is known
    if not measured:
        took, tokens, cost = (
            _widened(side, [(step, getattr(step, name)) for step in steps]) for name, side in zip(_SIDES, (took, tokens, cost), strict=True)
        )
    samples = len(whole) if measured else min((step.took_s.samples if step.took_s else 0 for step in steps), default=0)
    return Estimate(
        runs=len(whole),
        measured=measured,
        confidence=_confidence(samples, bool(plan.unknown) and not measured, took),
        took_s=took,
        tokens=tokens,
        cost_micros=cost,
        steps=steps,
        unknown=tuple(sorted(plan.unknown)),
        unpriced=tuple(sorted(plan.unpriced)),
        assumed=tuple(sorted(plan.assumed)),
    )


def _widened(total: Spread | None, parts: Iterable[tuple[Expected, Spread | None]]) -> Spread | None:
    """A drawn total with the half-width that the samples behind it allow: standard errors of the steps, as often as each is done."""
    if total is None:
        return None
    widths = [(step.per_run * part.width) if part.width is not None else None for step, part in parts if part is not None]
    known = [width for width in widths if width is not None]
    width = math.sqrt(math.fsum(each**2 for each in known)) if len(known) == len(widths) and known else None
    return replace(total, width=width)


def _confidence(samples: int, lacking: bool, took: Spread | None) -> str:
    if samples == 0 or took is None:
        return "none" if took is None else "low"
    if samples < MEDIUM or lacking:
        return "low"
    narrow = took.width is not None and took.width <= NARROW * took.average
    return "high" if samples >= HIGH and narrow else "medium"
