"""How good the tests of policies are: which policies they reach, which conditions never held or never failed, and which mistakes they
notice.

Coverage says what was exercised, mutation what was noticed. A mutant is the set with one small mistake in it: a policy left out, a
condition left out or turned round, a scope widened, one side of an `and` or `or` dropped. A mutant that no case notices has survived, and
names the case that is missing. Policies are changed in Cedar's own JSON form, never as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from omega.warden.admit import judge
from omega.warden.cases import Case, is_test, read_cases
from omega.warden.policies import Bundle
from omega.warden.question import Question, Unaskable
from omega.warden.source import Policy, Problem

MAX_MUTANTS = 5_000
"""Most mutants of one set: each is run against every case until one notices it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One `when` or `unless` of a policy: how often it held and did not, among the cases within the policy's scope."""

    policy: Policy
    number: int
    kind: str
    held: int
    failed: int

    @property
    def place(self) -> str:
        """`id when 1`."""
        return f"{self.policy.id} {self.kind} {self.number}"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: in which policy, and what it is."""

    policy: Policy
    mistake: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What cases reach. `decided` counts, by policy id, the cases in which it was among those that decided, `matched` those it matched."""

    matched: Mapping[str, int]
    decided: Mapping[str, int]
    conditions: tuple[Condition, ...]

    @property
    def one_sided(self) -> tuple[Condition, ...]:
        """Conditions that always came out the same way, or were never looked at."""
        return tuple(each for each in self.conditions if not each.held or not each.failed)


@dataclass(frozen=True, slots=True)
class Mutation:
    """What cases notice."""

    mutants: int
    survived: tuple[Mutant, ...]

    @property
    def score(self) -> float:
        """The share of mutants that a case noticed; 1 where there is none."""
        return 1.0 if not self.mutants else 1 - len(self.survived) / self.mutants


def cases_of(sources: Mapping[str, str]) -> list[Case]:
    """The cases of the test files among `sources` that can be asked; what is wrong with others, `explain.examine` says."""
    found = []
    for name in sorted(filter(is_test, sources)):
        for entry in read_cases(name, sources[name]):
            if not isinstance(entry, Problem) and _asked(entry[1]) is not None:
                found.append(entry[1])
    return found


def covered(bundle: Bundle, cases: list[Case], *, only: frozenset[str] = frozenset()) -> Coverage:
    """What `cases` reach in `bundle`. With `only`, of those policies alone."""
    asked = [(case, question) for case in cases if (question := _asked(case)) is not None]
    looked_at = [policy for policy in bundle.policies if not only or policy.id in only]
    matched = {policy.id: 0 for policy in looked_at}
    decided = dict(matched)
    for case, question in asked:
        for name in matched.keys() & bundle.matching(question).keys():
            matched[name] += 1
        for policy in judge(bundle, question, role=case.ask.approver).policies:
            if policy.id in decided:
                decided[policy.id] += 1
    questions = [question for _, question in asked]
    conditions = [each for policy in looked_at for each in _conditions(policy, questions)]
    return Coverage(matched, decided, tuple(conditions))


def mutated(bundle: Bundle, cases: list[Case], *, only: frozenset[str] = frozenset()) -> Mutation:
    """Which mistakes in `bundle` no case notices. With `only`, mistakes in those policies alone are tried."""
    asked = [(case, question) for case in cases if (question := _asked(case)) is not None]
    tried = 0
    survived: list[Mutant] = []
    for policy in bundle.policies:
        if only and policy.id not in only:
            continue
        for mistake, changed in _mutants(policy):
            if tried >= MAX_MUTANTS:
                return Mutation(tried, tuple(survived))
            tried += 1
            rest = [changed if each is policy else each for each in bundle.policies]
            if not _noticed(Bundle([each for each in rest if each is not None], ""), asked):
                survived.append(Mutant(policy, mistake))
    return Mutation(tried, tuple(survived))


def _asked(case: Case) -> Question | None:
    try:
        return case.ask.question()
    except Unaskable:
        return None


def _noticed(bundle: Bundle, asked: list[tuple[Case, Question]]) -> bool:
    for case, question in asked:
        found = judge(bundle, question, role=case.ask.approver)
        if found.decision is not case.decision or (case.by and case.by not in found.ids) or (case.role and case.role not in found.roles):
            return True
    return False


def _conditions(policy: Policy, questions: list[Question]) -> Iterator[Condition]:
    rule = json.loads(policy.rule)
    inside = [question for question in questions if _holds(policy, {**rule, "conditions": []}, question)]
    for number, condition in enumerate(rule["conditions"], 1):
        alone = {**rule, "conditions": [{"kind": "when", "body": condition["body"]}]}
        held = sum(_holds(policy, alone, question) for question in inside)
        yield Condition(policy, number, condition["kind"], held, len(inside) - held)


def _holds(policy: Policy, rule: Mapping[str, Any], question: Question) -> bool:
    alone = replace(policy, rule=json.dumps({**rule, "effect": "permit"}), permits=True)
    return Bundle([alone], "").evaluate(question).allowed


def _mutants(policy: Policy) -> Iterator[tuple[str, Policy | None]]:
    """Each mistake with the policy that makes it; None leaves the policy out."""
    rule = json.loads(policy.rule)
    yield "left out", None
    for part in ("principal", "action", "resource"):
        if rule[part]["op"] != "All":
            yield f"any {part}", _with(policy, {**rule, part: {"op": "All"}})
    for number, condition in enumerate(rule["conditions"]):
        rest = rule["conditions"][:number] + rule["conditions"][number + 1 :]
        place = f"{condition['kind']} {number + 1}"
        yield f"{place} left out", _with(policy, {**rule, "conditions": rest})
        turned = {**condition, "kind": "unless" if condition["kind"] == "when" else "when"}
        yield f"{place} turned round", _with(policy, _placed(rule, number, turned))
        for what, body in _halves(condition["body"]):
            yield f"{place} {what}", _with(policy, _placed(rule, number, {**condition, "body": body}))


def _placed(rule: Mapping[str, Any], number: int, condition: Mapping[str, Any]) -> dict[str, Any]:
    conditions = list(rule["conditions"])
    conditions[number] = condition
    return {**rule, "conditions": conditions}


def _with(policy: Policy, rule: Mapping[str, Any]) -> Policy:
    return replace(policy, rule=json.dumps(rule))


def _halves(body: Any) -> Iterator[tuple[str, Any]]:
    """The expression with one side of an `and` or `or` dropped, at every place where there is one."""
    yield from _walk(body, lambda changed: changed)


def _walk(node: Any, rebuilt: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Mapping) or len(node) != 1:
        return
    (operator, inner), *_ = node.items()
    if not isinstance(inner, Mapping):
        return
    if operator in ("&&", "||"):
        word = "and" if operator == "&&" else "or"
        yield f"without the left of an {word}", rebuilt(inner["right"])
        yield f"without the right of an {word}", rebuilt(inner["left"])
    for name in ("left", "right", "arg"):
        if name in inner:
            yield from _walk(inner[name], _inside(rebuilt, operator, inner, name))


def _inside(rebuilt: Callable[[Any], Any], operator: str, inner: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    return lambda changed: rebuilt({operator: {**inner, name: changed}})
