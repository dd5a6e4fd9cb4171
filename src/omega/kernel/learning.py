"""Fitting what a flow leaves open to labelled examples: thresholds, choices, few-shot examples.

What is left open is a record of parameters with defaults, whose annotations say what may be tried:

    class Knobs(BaseModel):
        threshold: Annotated[float, Grid(0, 1, 21)] = 0.5
        style: Annotated[str, Among("short", "long")] = "long"
        shots: Annotated[list[tuple[Ticket, str]], Shots(4)] = []

    @flow
    def urgent(given: tuple[Knobs, Ticket]) -> bool: ...

    found = learn(urgent)(examples)          # or `omega run`: every trial is a durable step, paid once
    better = tuned(urgent, found)            # a flow from Ticket to bool, of a version of its own

`learn` tries the parameters on one part of the examples and compares the best with the defaults on the rest, which it has not seen. The
difference must be above zero by a confidence interval (percentile bootstrap, paired: B. Efron and R. Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13), or nothing is learned (OMG-R044). The same examples and seed give the same answer everywhere: chance comes
from a generator in this file (SplitMix64: G. Steele, D. Lea, C. Flood, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from omega.kernel.compose import AT_ONCE, AnyFlow
from omega.kernel.definition import Body, Flow
from omega.kernel.effects import Effect, strongest
from omega.kernel.errors import DefinitionError, FlowError, InputError, OmegaError
from omega.kernel.evaluate import Branch, Driver, evaluate, is_failure, rule
from omega.kernel.trail import Trail
from omega.kernel.types import Type, assignable, type_of

MAX_CANDIDATES = 256
"""Most settings tried; of more possible ones this many are drawn."""

MAX_TRIALS = 10_000
"""Most runs of the flow in one `learn`: settings times examples."""

MIN_HELD_OUT = 10
"""Fewest examples to compare on: with fewer, an interval says nothing."""

RESAMPLES = range(200, 1_001)
"""How many bootstrap samples stand behind an interval: fewer of more examples, down to the least that give a 95 % interval its ends."""

MAX_DRAWS = 200_000
"""Most draws for one interval, as far as `RESAMPLES` allows: it is worked out in one go, and other executions wait meanwhile."""

EXACT = "exact"
"""The metric that is 1 where the flow gives what was expected, else 0."""


# -- what may be tried


@dataclass(frozen=True, slots=True, init=False)
class Among:
    """One of these values."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)

    def options(self, examples: Sequence[Any], chance: Chance) -> list[Any]:
        """What to try."""
        return list(self.values)


@dataclass(frozen=True, slots=True)
class Grid:
    """`steps` numbers at even distances from `least` to `most`."""

    least: float
    most: float
    steps: int

    def options(self, examples: Sequence[Any], chance: Chance) -> list[Any]:
        """What to try."""
        last = max(self.steps - 1, 1)
        return [self.least + (self.most - self.least) * step / last for step in range(self.steps)]


@dataclass(frozen=True, slots=True)
class Shots:
    """Up to `most` of the examples themselves, as (input, expected); `tries` different selections."""

    most: int
    tries: int = 8

    def options(self, examples: Sequence[Any], chance: Chance) -> list[Any]:
        """What to try: selections drawn from the examples that are trained on."""
        size = min(self.most, len(examples))
        return [[examples[index] for index in chance.sample(len(examples), size)] for _ in range(self.tries)]


class Chance:
    """SplitMix64 from a seed: the same numbers on every machine and in every release."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, use: str) -> None:
        self._state = int.from_bytes(hashlib.sha256(f"{seed} {use}".encode()).digest()[:8], "big")

    def below(self, limit: int) -> int:
        """A number from 0 up to, not including, `limit`."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((self._state ^ self._state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ mixed >> 31) * limit >> 64

    def sample(self, size: int, count: int) -> list[int]:
        """`count` different numbers below `size`, in the order drawn."""
        pool = list(range(size))
        for place in range(count):
            other = place + self.below(size - place)
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:count]


_MASK = (1 << 64) - 1


# -- what comes out


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the parameters that were found compare with the defaults. Scores are means of the metric in [0, 1].

    `gain` is the difference on the examples held out, from `low` to `high` at the confidence `level`.
    """

    train_score: float
    train_baseline: float
    held_out_score: float
    held_out_baseline: float
    gain: float
    low: float
    high: float
    level: float
    trained_on: int
    held_out: int
    candidates: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What `learn` gives: the parameters as plain data, of the flow `flow` with the digest `of`, and the report that speaks for them."""

    flow: str
    of: str
    parameters: dict[str, Any]
    report: Report


@dataclass(frozen=True, slots=True)
class Tuned(Body):
    """A flow of (parameters, input) with the parameters filled in; `settings` is their JSON, and part of the digest."""

    kind: ClassVar[str] = "tuned"
    flow: AnyFlow
    settings: str

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"settings": json.loads(self.settings)}


@dataclass(frozen=True, slots=True)
class Learn(Body):
    """The search for parameters of `flow`: everything that decides what it finds. `of` is the digest of `flow` as its author wrote it:
    tools inside are bound to their descriptions later."""

    kind: ClassVar[str] = "learn"
    flow: AnyFlow
    metric: AnyFlow | None
    held_out: float
    level: float
    seed: int
    at_once: int
    of: str

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,) if self.metric is None else (self.flow, self.metric)

    def parameters(self) -> Mapping[str, Any]:
        return {
            "held_out": self.held_out,
            "level": self.level,
            "seed": self.seed,
            "at_once": self.at_once,
            "metric": self.metric is not None,
        }


# -- making them


def tuned(flow: AnyFlow, parameters: Any) -> AnyFlow:
    """`flow`, which takes (parameters, input), with `parameters` filled in: a `Learned`, a record of them, or plain data.

    A flow of the input alone, whose version names the parameters. Raises DefinitionError (OMG-F003), InputError (OMG-I001).
    """
    record, source = _open_part(flow)
    if isinstance(parameters, Learned):
        if parameters.of != flow.digest:
            raise DefinitionError(
                "OMG-F003", f"these parameters were learned for another {parameters.flow} than {flow.name} {flow.version}"
            )
        parameters = parameters.parameters
    data = record.encode(record.read(parameters))[0].decode()
    mark = hashlib.sha256(data.encode()).hexdigest()[:8]
    base = flow.version.partition("+")[0]
    return Flow(
        name=flow.name,
        body=Tuned(flow, data),
        input=source,
        output=flow.output,
        version=f"{base}{'.' if '-' in base else '+'}{mark}",
        description=flow.description,
        effect=flow.effect,
        needs=flow.needs,
    )


def learn(
    flow: AnyFlow, *, metric: str | AnyFlow = EXACT, held_out: float = 0.3, level: float = 0.95, seed: int = 0, at_once: int = AT_ONCE
) -> AnyFlow:
    """A flow from examples, as a list of (input, expected), to the `Learned` parameters of `flow`, which takes (parameters, input).

    `metric` is "exact", or a pure flow from (expected, given) to a number in [0, 1]; where `flow` fails, it counts 0. A share `held_out` of
    the examples is kept to compare with the defaults; unless the gain on them is above zero at the confidence `level`, the result is
    OMG-R044. Raises DefinitionError (OMG-F003) for a flow that leaves nothing open.
    """
    record, source = _open_part(flow)
    if not _space(record):
        raise DefinitionError("OMG-F003", f"no parameter of {record.name} says what may be tried: annotate one with Among, Grid or Shots")
    if not (0 < held_out < 1 and 0 < level < 1 and 1 <= at_once <= MAX_TRIALS):
        raise DefinitionError("OMG-F003", f"learn of {flow.name}: held_out and level lie between 0 and 1, at_once from 1 to {MAX_TRIALS:,}")
    judge = _metric(flow, metric)
    parts = (flow,) if judge is None else (flow, judge)
    pair = tuple.__class_getitem__((source.annotation, flow.output.annotation))
    return Flow(
        name="learn",
        body=Learn(flow, judge, held_out, level, seed, at_once, flow.digest),
        input=type_of(list.__class_getitem__(pair)),
        output=type_of(Learned),
        effect=strongest(*(part.effect for part in parts)),
        needs=flow.needs,
    )


def _open_part(flow: AnyFlow) -> tuple[Type, Type]:
    """The types of parameters and input of a flow that takes both."""
    taken = get_args(flow.input.annotation)
    if get_origin(flow.input.annotation) is not tuple or len(taken) != 2 or Ellipsis in taken:
        raise DefinitionError("OMG-F003", f"{flow.name} takes {flow.input.name}: what can be tuned takes tuple[parameters, input]")
    record = type_of(taken[0])
    try:
        record.read({})
    except InputError as error:
        raise DefinitionError("OMG-F003", f"every parameter in {record.name} needs a default: {error.cause}") from error
    return record, type_of(taken[1])


def _metric(flow: AnyFlow, metric: str | AnyFlow) -> AnyFlow | None:
    if isinstance(metric, str):
        if metric != EXACT:
            raise DefinitionError("OMG-F003", f"{metric!r} is no metric", advice='"exact", or a pure flow of (expected, given)')
        return None
    both = tuple.__class_getitem__((flow.output.annotation, flow.output.annotation))
    if metric.effect is not Effect.PURE:
        raise DefinitionError("OMG-F003", f"{metric.name} measures but is a {metric.effect.value}: measuring must not touch anything")
    if not assignable(both, metric.input.annotation) or not assignable(metric.output.annotation, float):
        raise DefinitionError(
            "OMG-F001",
            f"{metric.name} takes {metric.input.name} and gives {metric.output.name}: a metric of {flow.name} takes {type_of(both).name}"
            " and gives float",
            details={"left": flow.name, "right": metric.name},
        )
    return metric


def _space(record: Type) -> dict[str, Among | Grid | Shots]:
    model = getattr(record.annotation, "model_fields", None)
    if model is not None:
        marked = {name: tuple(field.metadata) for name, field in model.items()}
    else:
        hints = get_type_hints(record.annotation, include_extras=True)
        marked = {name: get_args(hint)[1:] for name, hint in hints.items() if get_origin(hint) is Annotated}
    found = {name: [mark for mark in marks if isinstance(mark, (Among, Grid, Shots))] for name, marks in marked.items()}
    return {name: marks[0] for name, marks in found.items() if marks}


# -- what they mean


@rule(Tuned)
async def _tuned(flow: AnyFlow, body: Tuned, value: Any, trail: Trail, driver: Driver) -> Any:
    record, _ = _open_part(body.flow)
    return await evaluate(body.flow, (record.decode(body.settings.encode()), value), trail, driver)


@rule(Learn)
async def _learn(flow: AnyFlow, body: Learn, value: Any, trail: Trail, driver: Driver) -> Any:
    train, held = split([tuple(pair) for pair in value], body.held_out, body.seed)
    settings = list(candidates(body.flow, train, body.seed))
    if len(settings) * len(train) + 2 * len(held) > MAX_TRIALS:
        raise FlowError(
            "OMG-R016", f"{len(settings)} settings on {len(train)} examples are over the limit of {MAX_TRIALS:,} trials of one learn"
        )
    trained = await _scored(body, settings, train, trail, driver, "train")
    best = max(range(len(settings)), key=lambda index: (_mean(trained[index]), -index))
    default, found = await _scored(body, [settings[0], settings[best]], held, trail, driver, "held_out")
    low, high = interval([given - was for given, was in zip(found, default, strict=True)], body.level, body.seed)
    report = Report(
        train_score=_mean(trained[best]),
        train_baseline=_mean(trained[0]),
        held_out_score=_mean(found),
        held_out_baseline=_mean(default),
        gain=_mean(found) - _mean(default),
        low=low,
        high=high,
        level=body.level,
        trained_on=len(train),
        held_out=len(held),
        candidates=len(settings),
        seed=body.seed,
    )
    if low <= 0:
        raise FlowError(
            "OMG-R044",
            f"on {len(held)} examples held out, {body.flow.name} scores {report.held_out_score:.3f} with what was found and"
            f" {report.held_out_baseline:.3f} with its defaults: a gain from {low:.3f} to {high:.3f} is not surely one",
            details={"report": asdict(report)},
        )
    record, _ = _open_part(body.flow)
    return Learned(flow=body.flow.name, of=body.of, parameters=record.plain(settings[best]), report=report)


async def _scored(
    body: Learn, settings: Sequence[Any], examples: Sequence[Any], trail: Trail, driver: Driver, name: str
) -> list[list[float]]:
    """The scores of each of `settings` on each of `examples`. A setting that holds examples is not scored on these."""
    trials = [(index, each) for index, setting in enumerate(settings) for each in examples if not _holds(setting, each)]
    branches = [_trial(body, settings[index], example, driver) for index, example in trials]
    scores = await driver.all_of(trail.step(name), branches, trail, body.at_once)
    found: list[list[float]] = [[] for _ in settings]
    for (index, _), score in zip(trials, scores, strict=True):
        found[index].append(score)
    return found


def _trial(body: Learn, setting: Any, example: tuple[Any, Any], driver: Driver) -> Branch:
    given, expected = example

    async def work(trail: Trail) -> float:
        try:
            result = await evaluate(body.flow, (setting, given), trail, driver)
        except OmegaError as error:
            if not is_failure(error):
                raise
            return 0.0
        if body.metric is None:
            return float(result == expected)
        score = float(await evaluate(body.metric, (expected, result), trail, driver))
        if not 0 <= score <= 1:
            raise FlowError("OMG-R001", f"{body.metric.name} measured {score:g}, which is not between 0 and 1")
        return score

    return work


def _holds(setting: Any, example: tuple[Any, Any]) -> bool:
    """Whether a selection of examples in `setting` includes this one, which it would then only recite."""
    shots = [name for name, mark in _space(type_of(type(setting))).items() if isinstance(mark, Shots)]
    return any(tuple(shot) == example for name in shots for shot in getattr(setting, name))


# -- the arithmetic


def split(examples: Sequence[Any], held_out: float, seed: int) -> tuple[list[Any], list[Any]]:
    """The examples to train on and those held out, drawn by `seed`. Raises InputError (OMG-I001) when there are too few."""
    count = max(MIN_HELD_OUT, round(len(examples) * held_out))
    if len(examples) < 2 * MIN_HELD_OUT or count >= len(examples):
        raise InputError("OMG-I001", f"learn needs {2 * MIN_HELD_OUT} examples at least, and some to train on; there are {len(examples)}")
    order = Chance(seed, "split").sample(len(examples), len(examples))
    held = frozenset(order[:count])
    return [each for index, each in enumerate(examples) if index not in held], [
        each for index, each in enumerate(examples) if index in held
    ]


def candidates(flow: AnyFlow, train: Sequence[Any], seed: int) -> Iterator[Any]:
    """The settings to try, as records: the defaults, then every combination, or `MAX_CANDIDATES` drawn from them."""
    record, _ = _open_part(flow)
    chance = Chance(seed, "candidates")
    space = {name: mark.options(train, chance) for name, mark in _space(record).items()}
    sizes = [len(options) for options in space.values()]
    total = prod(sizes)
    yield record.read({})
    for number in range(total) if total < MAX_CANDIDATES else sorted({chance.below(total) for _ in range(MAX_CANDIDATES - 1)}):
        setting, rest = {}, number
        for name, options in space.items():
            rest, index = divmod(rest, len(options))
            setting[name] = options[index]
        yield record.read(setting)


def interval(differences: Sequence[float], level: float, seed: int) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of `differences` at the confidence `level`."""
    chance, size = Chance(seed, "bootstrap"), len(differences)
    samples = min(max(MAX_DRAWS // size, RESAMPLES.start), RESAMPLES.stop - 1)
    means = sorted(sum(differences[chance.below(size)] for _ in range(size)) / size for _ in range(samples))
    cut = int((1 - level) / 2 * samples)
    return means[cut], means[samples - 1 - cut]


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores) if scores else 0.0
