"""The simulator: runs a flow once, then again for each append of that run with the engine dying there, and checks what must hold.

A run has *lives*: an engine starts on what is durable, goes on until it dies or the execution ends. Time is virtual, dice are seeded,
the store is in memory and dies exactly before or exactly after a batch is durable; the world outside is a witness that no crash undoes.
After the last life this must hold:

    the result is that of the uninterrupted run              no step with a durable result ran again
    no write took place twice                                no request left without a durable intent and a durable leaf for it
    rows have no gaps, each position is settled once         the log verifies, and its digests are those of the journal
    a replay is identical and touches nothing                an engine whose lease was taken over appends and touches nothing

`Fleet` is the same for many: several workers on one store that are killed, paused, cut off and misled about the time, and whose wake-ups
get lost (`omega.testing.simulator.fleet`).

A violation names its plan (seed, disk, deaths), and `simulate(scenario, plan, expected)` runs that plan again, as does
`python -m omega.testing.simulator --seed N` for a seed of the soak.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from omega.testing.simulator.fleet import Findings, Fleet, fleets
from omega.testing.simulator.life import Death, Life, Plan, Told
from omega.testing.simulator.scenario import EVERYTHING, Scenario
from omega.testing.simulator.takeover import takeovers
from omega.testing.simulator.witness import Violation

__all__ = [
    "EVERYTHING",
    "Death",
    "Findings",
    "Fleet",
    "Plan",
    "Scenario",
    "Told",
    "Violation",
    "crash_everywhere",
    "crash_twice",
    "every_crash",
    "fleets",
    "simulate",
    "soak",
    "takeovers",
    "uninterrupted",
]


def uninterrupted(scenario: Scenario, *, eager: bool = False, seed: int = 0) -> Told:
    """The run that every other one is compared with. Raises Violation when it is itself at fault."""
    told = Life(scenario, Plan(eager=eager, seed=seed), None).run()
    _refuse([told])
    return told


def simulate(scenario: Scenario, plan: Plan, expected: Told) -> Told:
    """One run under `plan`; its violations are in `problems`."""
    return Life(scenario, plan, expected).run()


def every_crash(scenario: Scenario, expected: Told, *, eager: bool = False, seed: int = 0, every: int = 1) -> Iterator[Told]:
    """One run with a crash before and one with a crash after each (each `every`-th) append of the uninterrupted run."""
    for at in range(0, expected.appends[0], every):
        for after in (False, True):
            yield simulate(scenario, Plan((Death(at, after),), eager, seed), expected)


def crash_everywhere(scenario: Scenario = EVERYTHING, *, eager: bool = False, seed: int = 0, every: int = 1) -> list[Told]:
    """All of `every_crash`. Raises Violation naming the plans that failed."""
    told = list(every_crash(scenario, uninterrupted(scenario, eager=eager, seed=seed), eager=eager, seed=seed, every=every))
    _refuse(told)
    return told


def crash_twice(scenario: Scenario, expected: Told, dice: random.Random, *, seed: int) -> Told:
    """A run with two or three crashes, the later ones during recovery, where the dice put them."""
    appends = expected.appends[0]
    first = Death(dice.randrange(appends), dice.random() < 0.5)
    later = tuple(Death(dice.randrange(0, max(2, appends // 2)), dice.random() < 0.5) for _ in range(dice.choice((1, 1, 2))))
    return simulate(scenario, Plan((first, *later), dice.random() < 0.5, seed), expected)


def soak(seeds: Iterable[int], scenario: Scenario = EVERYTHING) -> dict[str, Any]:
    """For each seed one run with a crash, one with several, one takeover and one fleet, all as the seed has it; the counts, with every
    violation."""
    expected = uninterrupted(scenario)
    counts: dict[str, Any] = {"seeds": 0, "runs": 0, "crashes": 0, "touches": 0, "fates": {}, "recovered_s": 0.0, "violations": []}
    for seed in seeds:
        counts["seeds"] += 1
        for told in _runs(scenario, expected, seed):
            counts["runs"] += 1
            counts["crashes"] += max(0, len(told.appends) - 1)
            counts["touches"] += told.touches
            counts["violations"].extend(f"{told.plan}: {problem}" for problem in told.problems)
        _add_fleet(counts, Fleet(seed).run())
    return counts


def _add_fleet(counts: dict[str, Any], found: Findings) -> None:
    counts["runs"] += 1
    counts["touches"] += found.touches
    counts["recovered_s"] = max(counts["recovered_s"], found.recovered_s)
    for fate, times in found.fates.items():
        counts["fates"][fate] = counts["fates"].get(fate, 0) + times
    counts["violations"].extend(f"fleet {found.seed}: {problem}" for problem in found.problems)


def _runs(scenario: Scenario, expected: Told, seed: int) -> Iterator[Told]:
    dice = random.Random(seed)  # noqa: S311 - dice, not keys
    death = Death(dice.randrange(expected.appends[0]), dice.random() < 0.5)
    yield simulate(scenario, Plan((death,), dice.random() < 0.5, seed), expected)
    yield crash_twice(scenario, expected, dice, seed=seed)
    yield from takeovers(scenario, expected, seed=seed, touches=[dice.randrange(expected.touches)])


def _refuse(runs: Iterable[Told]) -> None:
    faults = [f"{told.plan}: {problem}" for told in runs for problem in told.problems]
    if faults:
        raise Violation(f"{len(faults)} violations; the first: " + "\n".join(faults[:10]))
