"""Combinators: flows from flows. A composite is a flow like any other, and its joins are checked when it is made.

    sequence   a | b          the output of one is the input of the next
    parallel   parallel(a, b) all get the same input; the output is the tuple of theirs, in order
    race       race(a, b)     the first to succeed; the others are cancelled
    when       when(p, then=a, otherwise=b)
    switch     switch(p, {"x": a}, default=b)
    foreach    foreach(a)     a on each item of a list, some at a time, results in order
    retry      a.retry(3)     again after a failure, later each time
    timeout    a.timeout(30)  give up after a while
    fallback   a.fallback(b)  b where a failed
    cache      a.cached()     the same input need not be worked out twice

What each does when the machine dies in the middle is part of its meaning: see docs/flows.md. Raises DefinitionError throughout: OMG-F001
for types that do not fit (both ends are named), OMG-F003 for a combinator that cannot mean what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar

from omega.kernel.definition import Body, Flow
from omega.kernel.effects import Effect, strongest
from omega.kernel.errors import DefinitionError
from omega.kernel.expressions import Expression
from omega.kernel.types import ANY, Type, assignable, type_of

AnyFlow = Flow[Any, Any]

MAX_BRANCHES = 1_000
"""Most branches of one parallel or race written down in a flow."""

MAX_ITEMS = 10_000
"""Most items that one foreach takes; more are a batch for several executions."""

MAX_ATTEMPTS = 100
"""Most attempts of one retry: nothing is tried for ever."""

AT_ONCE = 64
"""Items of a foreach that run at the same time unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Sequence(Body):
    """One after the other."""

    kind: ClassVar[str] = "sequence"
    flows: tuple[AnyFlow, ...]

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return self.flows


@dataclass(frozen=True, slots=True)
class Parallel(Body):
    """All on the same input, at the same time."""

    kind: ClassVar[str] = "parallel"
    flows: tuple[AnyFlow, ...]

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return self.flows


@dataclass(frozen=True, slots=True)
class Race(Body):
    """All on the same input; the first success wins."""

    kind: ClassVar[str] = "race"
    flows: tuple[AnyFlow, ...]

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return self.flows


@dataclass(frozen=True, slots=True)
class When(Body):
    """One of two, by a predicate on the input: a CEL expression or a pure flow that gives a bool."""

    kind: ClassVar[str] = "when"
    predicate: Expression | AnyFlow
    then: AnyFlow
    otherwise: AnyFlow | None

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        asked = (self.predicate,) if isinstance(self.predicate, Flow) else ()
        return (*asked, self.then) if self.otherwise is None else (*asked, self.then, self.otherwise)

    def parameters(self) -> Mapping[str, Any]:
        return {"predicate": spelled(self.predicate), "otherwise": self.otherwise is not None}


@dataclass(frozen=True, slots=True)
class Switch(Body):
    """One of several, by a selector on the input that gives a case's name."""

    kind: ClassVar[str] = "switch"
    selector: Expression | AnyFlow
    cases: tuple[tuple[str, AnyFlow], ...]
    default: AnyFlow | None

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        asked = (self.selector,) if isinstance(self.selector, Flow) else ()
        rest = () if self.default is None else (self.default,)
        return (*asked, *(case for _, case in self.cases), *rest)

    def parameters(self) -> Mapping[str, Any]:
        return {"selector": spelled(self.selector), "cases": [name for name, _ in self.cases], "default": self.default is not None}


@dataclass(frozen=True, slots=True)
class Foreach(Body):
    """The same flow on each item."""

    kind: ClassVar[str] = "foreach"
    flow: AnyFlow
    at_once: int

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"at_once": self.at_once}


@dataclass(frozen=True, slots=True)
class Retry(Body):
    """Again after a failure. Delays grow by `factor` from `backoff_s` to `longest_s` seconds, each shortened at random by up to half."""

    kind: ClassVar[str] = "retry"
    flow: AnyFlow
    attempts: int
    backoff_s: float
    factor: float
    longest_s: float

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"attempts": self.attempts, "backoff_s": self.backoff_s, "factor": self.factor, "longest_s": self.longest_s}

    def delay_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after the `failures`-th failure (from 1); `chance` in [0, 1) spreads attempts of many flows apart."""
        full = min(self.longest_s, self.backoff_s * self.factor ** (failures - 1))
        return full * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class Timeout(Body):
    """Give up after `limit_s` seconds; then `otherwise`, or OMG-R004."""

    kind: ClassVar[str] = "timeout"
    flow: AnyFlow
    limit_s: float
    otherwise: AnyFlow | None

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,) if self.otherwise is None else (self.flow, self.otherwise)

    def parameters(self) -> Mapping[str, Any]:
        return {"limit_s": self.limit_s, "otherwise": self.otherwise is not None}


@dataclass(frozen=True, slots=True)
class Fallback(Body):
    """The first that does not fail."""

    kind: ClassVar[str] = "fallback"
    flows: tuple[AnyFlow, ...]

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return self.flows


@dataclass(frozen=True, slots=True)
class Cache(Body):
    """A result kept for `ttl_s` seconds per input, within one tenant."""

    kind: ClassVar[str] = "cache"
    flow: AnyFlow
    ttl_s: float

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)

    def parameters(self) -> Mapping[str, Any]:
        return {"ttl_s": self.ttl_s}


def sequence(*flows: AnyFlow) -> AnyFlow:
    """`flows` one after the other:

    the output of each is the input of the next. Sequences inside sequences are flattened: `|` is associative.
    """
    parts: list[AnyFlow] = []
    for part in flows_of("sequence", flows, least=1):
        parts.extend(part.body.flows if isinstance(part.body, Sequence) and part.name == "sequence" else (part,))
    for left, right in pairwise(parts):
        check_join(left, right)
    return composite(Sequence(tuple(parts)), parts[0].input, parts[-1].output) if len(parts) > 1 else parts[0]


def parallel(*flows: AnyFlow) -> AnyFlow:
    """`flows` at the same time on the same input; the output is the tuple of their outputs in order. The first failure ends all."""
    parts = flows_of("parallel", flows, least=1)
    outputs = tuple(part.output.annotation for part in parts)
    return composite(Parallel(parts), common_input("parallel", parts), type_of(tuple.__class_getitem__(outputs)))


def race(*flows: AnyFlow) -> AnyFlow:
    """The first of `flows` to succeed; the others are cancelled. Only flows that may safely be cut short can race: no writes."""
    parts = flows_of("race", flows, least=1)
    for part in parts:
        if not part.effect.repeatable:
            raise DefinitionError(
                "OMG-F003", f"{part.name} cannot race: losers are cancelled, and a {part.effect.value} must not be cut short"
            )
    return composite(Race(parts), common_input("race", parts), either(parts))


def when(predicate: str | AnyFlow, *, then: AnyFlow, otherwise: AnyFlow | None = None) -> AnyFlow:
    """`then` where `predicate` holds for the input, else `otherwise` (without it: the input, unchanged). The branch gets the input."""
    asked = predicate_of("when", predicate, bool)
    branches = flows_of("when", (then,) if otherwise is None else (then, otherwise), least=1)
    source = common_input("when", (*branches, asked) if isinstance(asked, Flow) else branches)
    output = either(branches) if otherwise is not None else union_of(then.output, source)
    return composite(When(asked, then, otherwise), source, output)


def switch(selector: str | AnyFlow, cases: Mapping[str, AnyFlow], *, default: AnyFlow | None = None) -> AnyFlow:
    """The case that `selector` names for the input; `default` for a name that is not there (without it: OMG-R001)."""
    asked = predicate_of("switch", selector, str)
    parts = flows_of("switch", tuple(cases.values()) + (() if default is None else (default,)), least=1)
    source = common_input("switch", (*parts, asked) if isinstance(asked, Flow) else parts)
    return composite(Switch(asked, tuple(cases.items()), default), source, either(parts))


def foreach(flow: AnyFlow, *, at_once: int = AT_ONCE) -> AnyFlow:
    """`flow` on each item of a list, at most `at_once` at a time; the output is the list of results in the items' order."""
    (part,) = flows_of("foreach", (flow,), least=1)
    if not 1 <= at_once <= MAX_ITEMS:
        raise DefinitionError("OMG-F003", f"foreach of {part.name}: at_once must be between 1 and {MAX_ITEMS}")
    return composite(Foreach(part, at_once), type_of(list[part.input.annotation]), type_of(list[part.output.annotation]))  # type: ignore[name-defined]


def retry(flow: AnyFlow, attempts: int = 3, *, backoff_s: float = 0.5, factor: float = 2.0, longest_s: float = 30.0) -> AnyFlow:
    """`flow`, up to `attempts` times in all.

    Denials, bad input and steps in doubt are not tried again; a write is never repeated by itself.
    """
    (part,) = flows_of("retry", (flow,), least=1)
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise DefinitionError("OMG-F003", f"retry of {part.name}: attempts must be between 1 and {MAX_ATTEMPTS}")
    if backoff_s < 0 or factor < 1 or longest_s < 0:
        raise DefinitionError("OMG-F003", f"retry of {part.name}: backoff_s and longest_s must not be negative, factor at least 1")
    if not part.effect.repeatable:
        raise DefinitionError(
            "OMG-F003",
            f"{part.name} is a {part.effect.value}: doing it twice may do harm, so it is never retried by itself",
            advice="declare it idempotent if its target drops repeats by key, or retry only the reads around it",
        )
    return composite(Retry(part, attempts, backoff_s, factor, longest_s), part.input, part.output)


def timeout(flow: AnyFlow, limit: float | str, *, otherwise: AnyFlow | None = None) -> AnyFlow:
    """`flow`, given up after `limit`; then `otherwise` on the same input, or OMG-R004. A write under way is waited for, never cut short."""
    parts = flows_of("timeout", (flow,) if otherwise is None else (flow, otherwise), least=1)
    return composite(Timeout(flow, seconds(limit), otherwise), common_input("timeout", parts), either(parts))


def fallback(flow: AnyFlow, *others: AnyFlow) -> AnyFlow:
    """`flow`, and where it fails the next of `others` on the same input.

    A denial and a step in doubt are not failures: they are not worked around.
    """
    parts = flows_of("fallback", (flow, *others), least=2)
    return composite(Fallback(parts), common_input("fallback", parts), either(parts))


def cache(flow: AnyFlow, *, ttl_s: float = 3600.0, reads: bool = False) -> AnyFlow:
    """`flow`, whose result for an input is kept `ttl_s` seconds within the tenant.

    Pure flows only, unless `reads` admits old answers of reads.
    """
    (part,) = flows_of("cache", (flow,), least=1)
    allowed = Effect.READ if reads else Effect.PURE
    if part.effect.rank > allowed.rank:
        raise DefinitionError(
            "OMG-F003",
            f"{part.name} is a {part.effect.value}: its result cannot be kept",
            advice="cache pure flows, or reads with reads=True",
        )
    return composite(Cache(part, ttl_s), part.input, part.output)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(limit: float | str) -> float:
    """Seconds from a number or a text such as "500ms", "30s", "2m", "1h", "7d". Raises DefinitionError (OMG-F003)."""
    if isinstance(limit, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", limit.strip())
        if match is None:
            raise DefinitionError("OMG-F003", f"{limit!r} is no duration", advice='write it as "500ms", "30s", "2m", "1h" or "7d"')
        limit = float(match[1]) * _UNITS[match[2]]
    if not 0 < limit <= 366 * 24 * 3600:
        raise DefinitionError("OMG-F003", f"a time limit of {limit} s is not between 0 and a year")
    return float(limit)


def composite(body: Body, source: Type, output: Type) -> AnyFlow:
    """A flow of `body`, named after its kind: its effect is the strongest of its parts, its needs are all of theirs."""
    parts = body.children
    return Flow(
        name=body.kind,
        body=body,
        input=source,
        output=output,
        effect=strongest(*(part.effect for part in parts)),
        needs=frozenset().union(*(part.needs for part in parts)),
    )


def flows_of(kind: str, parts: tuple[Any, ...], *, least: int) -> tuple[AnyFlow, ...]:
    """`parts`, which must be flows and at least `least`. Raises DefinitionError (OMG-F003)."""
    odd = next((part for part in parts if not isinstance(part, Flow)), None)
    if odd is not None:
        raise DefinitionError("OMG-F003", f"{kind} takes flows, not {type(odd).__name__}", advice="decorate the function with @flow")
    lost = next((part for part in parts if part.body.inside not in ("", kind)), None)
    if lost is not None:
        raise DefinitionError(
            "OMG-F003", f"{lost.name} ({lost.body.kind}) is a step of a {lost.body.inside}: in a {kind} it would mean nothing"
        )
    if not least <= len(parts) <= MAX_BRANCHES:
        raise DefinitionError("OMG-F003", f"{kind} takes {least} to {MAX_BRANCHES} flows, not {len(parts)}")
    return parts


def check_join(left: AnyFlow, right: AnyFlow) -> None:
    """Raise DefinitionError (OMG-F001), naming both, where `right` does not take what `left` gives."""
    if not left.output.fits(right.input):
        raise DefinitionError(
            "OMG-F001",
            f"{left.name} gives {left.output.name}, {right.name} takes {right.input.name}",
            details={"left": left.name, "left_at": left.where, "gives": left.output.name}
            | {"right": right.name, "right_at": right.where, "takes": right.input.name},
        )


def common_input(kind: str, parts: tuple[AnyFlow, ...]) -> Type:
    """The narrowest of the parts' input types that fits all the others."""
    for candidate in parts:
        if all(candidate.input.fits(part.input) for part in parts) and candidate.input is not ANY:
            return candidate.input
    if all(part.input.annotation is Any for part in parts):
        return ANY
    first = parts[0]
    other = next(part for part in parts if not first.input.fits(part.input) or not part.input.fits(first.input))
    raise DefinitionError(
        "OMG-F001",
        f"in {kind}, {first.name} takes {first.input.name}, {other.name} takes {other.input.name}: no input fits both",
        details={"left": first.name, "takes": first.input.name, "right": other.name, "also_takes": other.input.name},
    )


def union_of(*types: Type) -> Type:
    """The type of a value that is of one of `types`; members that are part of others are left out."""
    kept: list[Any] = []
    for each in types:
        if each.annotation is Any:
            return ANY
        if not any(assignable(each.annotation, other) for other in kept):
            kept = [other for other in kept if not assignable(other, each.annotation)]
            kept.append(each.annotation)
    joined = kept[0]
    for annotation in kept[1:]:
        joined = joined | annotation
    return type_of(joined)


def either(parts: tuple[AnyFlow, ...]) -> Type:
    """What one of `parts` gives, whichever it is."""
    return union_of(*(part.output for part in parts))


def predicate_of(kind: str, given: str | AnyFlow, wanted: type) -> Expression | AnyFlow:
    """A compiled CEL expression, or a pure flow that gives `wanted`. Raises DefinitionError (OMG-F001, OMG-F003, OMG-F004)."""
    if isinstance(given, str):
        return Expression(given)
    if not isinstance(given, Flow):
        raise DefinitionError("OMG-F003", f"{kind} takes a CEL expression or a pure flow, not {type(given).__name__}")
    if given.effect is not Effect.PURE:
        raise DefinitionError(
            "OMG-F003", f"{given.name} decides a {kind} but is a {given.effect.value}: put it before, as a step of its own"
        )
    if not assignable(given.output.annotation, wanted):
        raise DefinitionError("OMG-F001", f"{given.name} decides a {kind} and gives {given.output.name}, not {wanted.__name__}")
    return given


def spelled(predicate: Expression | AnyFlow) -> str:
    """A predicate as it stands in a definition."""
    return predicate.source if isinstance(predicate, Expression) else f"flow {predicate.name}"


def rebuilt(flow: AnyFlow, leaf: Callable[[AnyFlow], AnyFlow]) -> AnyFlow:
    """`flow` with every leaf replaced by what `leaf` gives for it; effects and needs of the composites follow.

    The same object when nothing changed.
    """
    if not flow.children:
        return leaf(flow)
    changes: dict[str, Any] = {}
    for each in fields(flow.body):  # type: ignore[arg-type]
        part = getattr(flow.body, each.name)
        new = _rebuilt_part(part, leaf)
        if new is not part:
            changes[each.name] = new
    if not changes:
        return flow
    body = replace(flow.body, **changes)  # type: ignore[type-var]
    return replace(
        flow,
        body=body,
        effect=strongest(*(part.effect for part in body.children)),
        needs=frozenset().union(*(part.needs for part in body.children)),
        _digest=[],
    )


def _rebuilt_part(part: Any, leaf: Callable[[AnyFlow], AnyFlow]) -> Any:
    if isinstance(part, Flow):
        return rebuilt(part, leaf)
    if isinstance(part, tuple):
        new = tuple(_rebuilt_part(item, leaf) for item in part)
        return part if all(a is b for a, b in zip(part, new, strict=True)) else new
    return part
