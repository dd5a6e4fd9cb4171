"""Policies that are asked together, and how the engine is asked.

Theory. Cedar's answer is a function of what each policy says by itself: one that errs is named; of the others, the forbids that are
satisfied decide, or else the permits. What a policy says depends on the caller, the target and the context, and only the context changes
between questions of one caller about one target. So what the policies that read nothing of the context say is fixed for such a caller and
target (`Fixed`), and the engine need be asked for the others alone. Permits and forbids are asked apart to find it, because a satisfied
forbid hides what the permits say.

The engine is asked itself, not through its public wrapper, which costs a quarter of a decision for timings that nobody reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import cedarpy
import msgspec
from cedarpy import _internal

from omega.warden.source import Policy

ALLOW, NO_DECISION = "Allow", "NoDecision"

UNDECIDED = "the policy engine gave no decision"

_FAILING = re.compile(r"(error while evaluating policy `)([^`]+)`")
"""How the engine begins to say that a policy could not be evaluated. What follows may hold whatever a caller gave it."""

_by_order = attrgetter("order")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policies say: `deciding` those that decided (in file order), `errors` what failed. Allowed only without errors."""

    allowed: bool
    deciding: tuple[Policy, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """Rules as the engine keeps them, under their numbers, and what of the context they can read."""

    handle: cedarpy.PolicySet
    reads: frozenset[str]


class _Diagnostics(msgspec.Struct):
    reason: list[str] = []
    errors: list[str] = []


class _Result(msgspec.Struct):
    """What the engine answers, as far as it is read here."""

    decision: str
    diagnostics: _Diagnostics


_read_result = msgspec.json.Decoder(_Result).decode


@dataclass(frozen=True, slots=True)
class Said:
    """What the engine says of a slice: its word, the policies that decided and, where one could not be evaluated, what it says of that."""

    decision: str
    deciding: tuple[Policy, ...]
    errors: tuple[tuple[int, str], ...]
    """(place in the bundle, text): -1 for what concerns no policy, after the others."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Policies in file order: the engine knows each by its number among them."""

    policies: tuple[Policy, ...]
    parsed: Parsed

    def ask(self, request: Mapping[str, Any], context: str, entities: Any, schema: cedarpy.Schema | None) -> Said:
        """What the engine says of `request` (without its context), `context` (JSON) and `entities`, held against `schema` where given."""
        (told,) = _internal.is_authorized_batch([{**request, "context": context}], self.parsed.handle, entities, schema, False)
        result = _read_result(told)
        errors = result.diagnostics.errors
        return Said(result.decision, self._deciding(result.diagnostics.reason), self._told(errors) if errors else ())

    def _deciding(self, numbers: list[str]) -> tuple[Policy, ...]:
        if len(numbers) < 2:
            return (self.policies[int(numbers[0])],) if numbers else ()
        return tuple(self.policies[number] for number in sorted(map(int, numbers)))

    def _told(self, errors: list[str]) -> tuple[tuple[int, str], ...]:
        """What the engine says went wrong, with the ids of policies in place of their numbers."""
        found = []
        for error in errors:
            match = _FAILING.match(error)
            if match is None:
                found.append((-1, error))
            else:
                policy = self.policies[int(match[2])]
                found.append((policy.order, f"{match[1]}{policy.id}{error[match.end(2) :]}"))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Split:
    """A slice in three: what reads nothing of the context, and the rest."""

    permits: Slice
    forbids: Slice
    rest: Slice

    def fix(self, request: Mapping[str, Any], entities: Any) -> Fixed:
        """What holds of `request` whatever the context. Raises ValueError where the engine cannot say."""
        said = [part.ask(request, "{}", entities, None) for part in (self.permits, self.forbids) if part.policies]
        if any(each.decision == NO_DECISION for each in said):
            raise ValueError(UNDECIDED)
        deciding = [policy for each in said for policy in each.deciding]
        permits = tuple(policy for policy in deciding if policy.permits)
        forbids = tuple(policy for policy in deciding if not policy.permits)
        errors = tuple(error for each in said for error in each.errors)
        return Fixed(permits, forbids, errors, self.rest, answer_of(permits, forbids, errors))


@dataclass(frozen=True, slots=True)
class Fixed:
    """What is satisfied and what errs for one caller and target whatever the context, and the policies still to be asked."""

    permits: tuple[Policy, ...]
    forbids: tuple[Policy, ...]
    errors: tuple[tuple[int, str], ...]
    rest: Slice
    answer: Answer
    """The answer if none of the rest says anything."""

    def with_rest(self, request: Mapping[str, Any], context: str, entities: Any) -> Answer:
        """The answer of all policies, with what the rest say in `context`."""
        if not self.rest.policies:
            return self.answer
        said = self.rest.ask(request, context, entities, None)
        if said.decision == NO_DECISION:
            return answer_of(self.permits, self.forbids, (*self.errors, *said.errors), UNDECIDED)
        if not said.deciding and not said.errors:
            return self.answer
        allowed = said.decision == ALLOW
        permits = _merged(self.permits, said.deciding if allowed else ())
        forbids = _merged(self.forbids, () if allowed else said.deciding)
        return answer_of(permits, forbids, (*self.errors, *said.errors))


def answer_of(permits: tuple[Policy, ...], forbids: tuple[Policy, ...], errors: Iterable[tuple[int, str]], *more: str) -> Answer:
    """Cedar's rule over what is satisfied (each in file order), and ours: nothing is allowed where anything erred."""
    texts = tuple(text for _, text in sorted(errors, key=_place)) + more
    return Answer(bool(permits) and not forbids and not texts, forbids or permits, texts)


def answered(said: Said) -> Answer:
    """The answer where one slice was asked whole."""
    allowed = said.decision == ALLOW
    more = (UNDECIDED,) if said.decision == NO_DECISION and not said.errors else ()
    return answer_of(said.deciding if allowed else (), () if allowed else said.deciding, said.errors, *more)


def failing(errors: Iterable[str]) -> tuple[str, ...]:
    """The ids of the policies that evaluation errors name."""
    return tuple(dict.fromkeys(match[2] for error in errors if (match := _FAILING.match(error))))


def _place(error: tuple[int, str]) -> tuple[bool, int]:
    return error[0] < 0, error[0]


def _merged(some: tuple[Policy, ...], others: tuple[Policy, ...]) -> tuple[Policy, ...]:
    if not some or not others:
        return some or others
    return tuple(sorted((*some, *others), key=_by_order))
