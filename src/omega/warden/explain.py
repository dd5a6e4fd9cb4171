"""The gate's answer told to a person, and the check of policy files.

`explain` gives the verdict that the gate would give, with every policy that was considered, whether it matched, and what would
have to change. `examine` loads policy files as the gate does, lints them, runs the tests beside them and names the policies that no
test exercised.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.verdict import Ask, Decision
from omega.warden.admit import Warden, judge
from omega.warden.cases import Case, is_test, read_cases
from omega.warden.limits import UNLIMITED
from omega.warden.policies import Bundle, digest_of, inspect
from omega.warden.question import Unaskable, question_of
from omega.warden.source import Policy, Problem

_CONDITIONAL = ("has", "hasTag")


@dataclass(frozen=True, slots=True)
class Considered:
    """One policy whose scope fits the question: `matched` whether its conditions hold too, `error` why that could not be told."""

    policy: Policy
    matched: bool
    error: str = ""

    def record(self) -> dict[str, Any]:
        """As data."""
        return {
            "id": self.policy.id,
            "effect": "permit" if self.policy.permits else "forbid",
            "where": self.policy.where,
            "reason": self.policy.reason,
            "matched": self.matched,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the gate answers `ask` as it does. `verdict` is a `Verdict.record()`; `needed` what would have to change, one sentence each."""

    ask: Ask
    verdict: Mapping[str, Any]
    considered: tuple[Considered, ...]
    needed: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As data, for `omega policy explain --json`."""
        return {
            "caller": self.ask.scope.principal,
            "actors": list(self.ask.scope.actors),
            "gate": self.ask.gate.value,
            "flow": self.ask.flow,
            "effect": self.ask.effect.value,
            "verdict": dict(self.verdict),
            "considered": [entry.record() for entry in self.considered],
            "needed": list(self.needed),
        }

    def __str__(self) -> str:
        """As a person reads it."""
        verdict = self.verdict
        lines = [
            f"{verdict['decision']:<8} {self.ask.flow}   {self.ask.effect.value}   asked by {self.ask.scope.principal}",
            f"{'rule':<8} {', '.join(verdict['policies'])}   {verdict['where']}",
            f"{'because':<8} {verdict['reason']}",
        ]
        lines += [f"{'error':<8} {error}" for error in verdict["errors"]]
        lines += [f"{'to ask' if not number else '':<8} {text}" for number, text in enumerate(self.needed)]
        if self.considered:
            lines.append("considered")
            width = max(len(entry.policy.id) for entry in self.considered)
            for entry in self.considered:
                state = "failed" if entry.error else "matches" if entry.matched else "-"
                effect = "permit" if entry.policy.permits else "forbid"
                lines.append(f"  {entry.policy.id:<{width}}  {effect}  {state:<7}  {entry.policy.where}")
        return "\n".join(lines)


def explain(bundle: Bundle | None, ask: Ask) -> Explanation:
    """What the gate would say to `ask`, rate limits left out, and why. Nothing is charged, and no permit can be minted from it."""
    verdict = Warden(bundle, limits=UNLIMITED).ask(ask)
    considered = _considered(bundle, ask) if bundle is not None else ()
    return Explanation(ask, verdict.record(), considered, tuple(_needed(verdict.record(), considered)))


@dataclass(slots=True)
class Examination:
    """What checking policy files found: all problems, how many policies and cases, the ids that no case exercised, the digest."""

    problems: list[Problem] = field(default_factory=list)
    policies: int = 0
    cases: int = 0
    unexercised: tuple[str, ...] = ()
    digest: str = ""

    @property
    def sound(self) -> bool:
        """Whether the gate would load these policies and every test passed."""
        return not any(problem.severity == "error" for problem in self.problems)


def check(sources: Mapping[str, str]) -> list[Problem]:
    """The problems of policy files: errors (the gate refuses to load them, or a test failed), warnings, notes. See `examine`."""
    return examine(sources).problems


def examine(sources: Mapping[str, str]) -> Examination:
    """Check `sources` (file name to text): Cedar files, and the `*.test.yaml` files that test them all together."""
    rules = {name: text for name, text in sources.items() if not is_test(name)}
    policies, problems = inspect(rules)
    found = Examination(problems, len(policies), digest=digest_of(rules))
    bundle = None if problems else Bundle(policies, found.digest)
    problems += _lint(policies)
    exercised: set[str] = set()
    for name in sorted(sources.keys() - rules.keys()):
        for entry in read_cases(name, sources[name]):
            if isinstance(entry, Problem):
                problems.append(entry)
                continue
            found.cases += 1
            if bundle is not None:
                problems += _run(bundle, name, *entry, exercised)
    if bundle is not None and found.cases:
        found.unexercised = tuple(policy.id for policy in policies if policy.id not in exercised)
        problems += (_untested(policy) for policy in policies if policy.id not in exercised)
    return found


def examine_bundle(bundle: Bundle, tests: Mapping[str, str]) -> Examination:
    """Run test files against a bundle that is loaded already, with the own policies of tenants."""
    found = Examination(policies=len(bundle.policies), digest=bundle.digest)
    for name in sorted(tests):
        for entry in read_cases(name, tests[name]):
            if isinstance(entry, Problem):
                found.problems.append(entry)
                continue
            found.cases += 1
            found.problems += _run(bundle, name, *entry, set())
    return found


def _considered(bundle: Bundle, ask: Ask) -> tuple[Considered, ...]:
    try:
        question = question_of(ask)
        matching = bundle.matching(question)
        return tuple(Considered(policy, policy.id in matching, matching.get(policy.id, "")) for policy in bundle.reaching(question))
    except Unaskable:
        return ()


def _needed(verdict: Mapping[str, Any], considered: Iterable[Considered]) -> Iterator[str]:
    if verdict["decision"] == Decision.ALLOW.value:
        return
    yield verdict["how"]
    for role in verdict["details"].get("roles", ())[1:]:
        yield f"then the approval of one person of role {role}"
    if verdict["decision"] == Decision.DENY.value:
        lasting = [entry.policy for entry in considered if entry.matched and not entry.policy.permits and not entry.policy.approval]
        for policy in lasting[1:]:
            yield f"{policy.id} ({policy.where}) forbids it as well"


def _run(bundle: Bundle, file: str, line: int, case: Case, exercised: set[str]) -> Iterator[Problem]:
    """Problems of one case; notes in `exercised` the policies that matched."""
    try:
        question = case.ask.question()
    except Unaskable as error:
        yield Problem(file=file, line=line, text=f"{case.title}: cannot be asked: {error}", advice="mend the case")
        return
    exercised.update(bundle.matching(question))
    found = judge(bundle, question, role=case.ask.approver)
    said = f"{found.decision.value} by {', '.join(found.ids)}" + (f" ({'; '.join(found.errors)})" if found.errors else "")
    if found.decision is not case.decision or (case.by and case.by not in found.ids):
        expected = case.expect + (f" by {case.by}" if case.by else "")
        yield Problem(file=file, line=line, text=f"{case.title}: expected {expected}, got {said}", advice="change the policy or the case")
    elif case.role and case.role not in found.roles:
        text = f"{case.title}: expected to need role {case.role}, needs {', '.join(found.roles) or 'none'}"
        yield Problem(file=file, line=line, text=text, advice="change the policy or the case")


def _lint(policies: Iterable[Policy]) -> Iterator[Problem]:
    """Policies that load but may not mean what they say."""
    for policy in policies:
        conditions = json.loads(policy.rule)["conditions"]
        if not policy.permits and _asks_first(conditions):
            yield Problem(
                file=policy.file,
                line=policy.line,
                severity="warning",
                text=f"{policy.id} forbids only when a fact is present: where it is absent the rule does not apply",
                advice="forbid unless the fact is present and harmless, or permit only when it is",
            )
        if policy.approval and not _mentions(conditions, policy.approval):
            yield Problem(
                file=policy.file,
                line=policy.line,
                severity="warning",
                text=f"{policy.id} has @approval but does not look at context.approved: no approval will lift it",
                advice=f'write: unless {{ context.approved.contains("{policy.approval}") }}',
            )


def _asks_first(conditions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a `when` condition tests for the presence of a fact."""
    return any(_holds(condition["body"], _CONDITIONAL) for condition in conditions if condition["kind"] == "when")


def _holds(node: Any, operators: tuple[str, ...]) -> bool:
    if isinstance(node, Mapping):
        return any(name in operators or _holds(child, operators) for name, child in node.items())
    return isinstance(node, list) and any(_holds(child, operators) for child in node)


def _mentions(conditions: Any, role: str) -> bool:
    """Whether conditions name both the approvals and the role."""
    return _holds_value(conditions, "approved") and _holds_value(conditions, role)


def _holds_value(node: Any, value: str) -> bool:
    if isinstance(node, Mapping):
        return any(_holds_value(child, value) for child in node.values())
    if isinstance(node, list):
        return any(_holds_value(child, value) for child in node)
    return bool(node == value)


def _untested(policy: Policy) -> Problem:
    return Problem(
        file=policy.file,
        line=policy.line,
        severity="note",
        text=f"no test exercises {policy.id}",
        advice=f"add a case to a *.test.yaml file in which it matches, with by: {policy.id}",
    )
