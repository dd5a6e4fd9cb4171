"""Estimates from the operator's side: what the journals of a data folder say about a flow and its steps, and the prices of models.

Only what stands readable in the journals is used: names, versions, times, tokens, costs. No value is opened.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from omega.host.reading import Archive
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, IntegrityError, StorageError
from omega.kernel.journal import Kind, Note, Status, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.poml.estimate import Estimate, estimate
from omega.kernel.poml.history import History, Key, Prices, Run, Sample
from omega.kernel.poml.plan import key_of
from omega.kernel.trail import shown

RUNS = 200
"""Executions looked at unless told otherwise, the newest first: enough for a percentile, read in a second."""
MOST_CHILDREN = 1_000
"""Child executions of one run that are looked at; further ones, and theirs, are left out."""
PRICES = "prices.json"
"""The list of prices in a data folder, where there is one."""
MAX_PRICES = 1 << 20
"""Bytes of a list of prices."""
MAX_PRICE = 1_000_000_000
"""Highest price of a million tokens."""
SEED = 1
"""What the drawing begins with, so that the same history gives the same estimate."""

_MARKS = re.compile(r"(\.\d+|~[^/]*)+$")


def estimated(
    flow: AnyFlow, home: str | os.PathLike[str] | None, *, runs: int = RUNS, prices: Path | None = None
) -> tuple[Estimate, Prices]:
    """The estimate of `flow` from the newest `runs` executions of the folder, and the prices it was made with.

    A folder without data gives an estimate without history. Raises InputError (OMG-I002) for a list of prices that cannot be read.
    """
    listed: Path | None = prices
    try:
        with Archive.open(home) as archive:
            listed = prices or archive.settings.home / PRICES
            history = recorded_history(archive, flow, runs)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        history = History()
    known = read_prices(listed) if listed is not None and (prices is not None or listed.is_file()) else Prices()
    return estimate(flow, history, known, random.Random(SEED).random), known  # noqa: S311 - for sampling, not for secrets


def recorded_history(archive: Archive, flow: AnyFlow, limit: int) -> History:
    """What the newest `limit` executions say of `flow` and of its steps. Damaged ones are passed over: they are not to be believed."""
    wanted = {key_of(leaf) for leaf in flow.leaves()}
    runs: list[Run] = []
    steps: dict[Key, list[Sample]] = {}
    for line in archive.reader.lines(limit=limit):
        try:
            past = Past(archive.reader.rows(line.execution))
            outcomes = outcomes_of(past)
            if (line.flow, line.version) == key_of(flow) and line.status == Status.DONE:
                took_s = (line.updated_us - line.started_us - past.paused_us) / 1_000_000
                runs.append(_run(archive, past, outcomes, took_s))
        except IntegrityError:
            continue
        for key, sample in outcomes:
            if key in wanted:
                steps.setdefault(key, []).append(sample)
    return History(runs, steps)


def _run(archive: Archive, past: Past, outcomes: list[tuple[Key, Sample]], took_s: float) -> Run:
    """A whole run, its child executions counted in: what they did and spent, not how long they took beside each other."""
    counts = Counter(key for key, _ in outcomes)
    spent, priced = past.spent, all(sample.priced for _, sample in outcomes)
    waiting = list(_children(past))
    for _ in range(MOST_CHILDREN):
        if not waiting:
            break
        child = Past(archive.reader.rows(waiting.pop()))
        inner = outcomes_of(child)
        counts.update(key for key, _ in inner)
        spent, priced = spent + child.spent, priced and all(sample.priced for _, sample in inner)
        waiting.extend(_children(child))
    return Run(Sample(took_s, spent.cost_micros, spent.tokens, priced), counts)


def _children(past: Past) -> Iterable[str]:
    """The ids of the executions that this one has started."""
    for recorded in past.at.values():
        note = decode_meta(recorded.first)
        if recorded.first.kind == Kind.CHILD and isinstance(note, Note):
            yield note.text


def outcomes_of(past: Past) -> list[tuple[Key, Sample]]:
    """One sample for each step that ended: all attempts together, and what it called counted in."""
    ended: dict[str, Key] = {}
    own: dict[str, Sample] = {}
    for position, recorded in past.at.items():
        found = _sample(recorded)
        if found is not None:
            name = shown(position)
            ended[name] = found[0]
            own[name] = _together(own[name], found[1]) if name in own else found[1]
    samples = dict(own)
    for name, sample in own.items():
        for caller in set(_callers(name)) & own.keys():
            samples[caller] = _within(samples[caller], sample)
    return [(key, samples[name]) for name, key in ended.items()]


def _sample(recorded: Recorded) -> tuple[Key, Sample] | None:
    metas = [meta for row in recorded.rows if row.kind in (Kind.DONE, Kind.FAILED) and isinstance(meta := decode_meta(row), Step)]
    if not metas:
        return None
    tried = sum(row.kind == Kind.INTENT for row in recorded.rows) or len(metas)
    total = Sample(
        took_s=sum(meta.took_us for meta in metas) / 1_000_000,
        cost_micros=sum(meta.cost_micros for meta in metas),
        tokens=sum(meta.tokens for meta in metas),
        priced=all(meta.priced for meta in metas),
        attempts=tried,
    )
    return (metas[-1].flow, metas[-1].version), total


def _together(before: Sample, now: Sample) -> Sample:
    """Another attempt at the same step."""
    return Sample(
        before.took_s + now.took_s,
        before.cost_micros + now.cost_micros,
        before.tokens + now.tokens,
        before.priced and now.priced,
        before.attempts + now.attempts,
    )


def _within(caller: Sample, inner: Sample) -> Sample:
    """A step that called another: cost and tokens count for it too, its own time holds that of the other."""
    return Sample(
        caller.took_s,
        caller.cost_micros + inner.cost_micros,
        caller.tokens + inner.tokens,
        caller.priced and inner.priced,
        caller.attempts,
    )


def _callers(position: str) -> Iterable[str]:
    """The positions of the steps that may have made the step at `position`, nearest first."""
    place = position.rpartition("/")[0]
    while place:
        yield place
        plain = _MARKS.sub("", place)
        if plain != place:
            yield plain
        place = place.rpartition("/")[0]


def read_prices(path: Path) -> Prices:
    """The prices in a file, money per million tokens; where input and output differ, the dearer one counts, since records hold their sum.

        {"as_of": "2026-11-01", "currency": "USD", "models": {"small": "0.60", "large": {"input": "3", "output": "15"}}}

    Raises InputError (OMG-I002) naming what is wrong.
    """
    try:
        data: Any = json.loads(path.read_bytes()[: MAX_PRICES + 1])
        models = {str(name): _rate(given) for name, given in data["models"].items()}
        return Prices(date.fromisoformat(data["as_of"]).isoformat(), str(data.get("currency", "USD")), models)
    except OSError as error:
        raise InputError("OMG-I002", f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidOperation) as error:
        raise InputError(
            "OMG-I002",
            f"{path} is no list of prices ({type(error).__name__})",
            advice='write {"as_of": "2026-11-01", "currency": "USD", "models": {"NAME": "PRICE PER MILLION TOKENS"}}',
        ) from error


def _rate(given: Any) -> int:
    amounts = [Decimal(str(each)) for each in (given.values() if isinstance(given, dict) else (given,))]
    highest = max(amounts)
    if not highest.is_finite() or min(amounts) < 0 or highest > MAX_PRICE:
        raise ValueError(f"a price is a number from 0 to {MAX_PRICE:,}")
    return int((highest * 1_000_000).to_integral_value())
