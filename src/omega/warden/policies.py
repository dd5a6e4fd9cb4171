"""A bundle of policies: loaded once, strictly; asked often, fail-closed.

Theory. Cedar by itself fails open in four ways, each closed here:

* A `forbid` whose condition errors is skipped, and the answer can be Allow with the error in the diagnostics. Here an answer allows only
  if Cedar said Allow *and* reported no error.
* A request that does not fit (an unknown action, a missing context field, a float) gives NoDecision without an exception. Here that is
  an error, hence a deny. Whatever is constant in a question is held against the schema when it is first met, its context by its types
  each time, so what does not fit cannot pass.
* An attribute of an absent entity is an error, hence the first case. Here the caller and the target are always present.
* Parse problems and duplicate ids pass silently. Here a bundle with any problem does not load, and says file, line and what to do.

Slicing. Cedar has no index: each policy costs about 1 us per decision, matching or not. Whether a policy's *scope* can match depends on
the action, the kind of caller, its groups, the two tenants, the tool server and the flow only, and a scope that does not match cannot err;
so each question is put to the slice of policies whose scope can match it (`omega.warden.reach`). Names that no policy mentions share a
slice, so that the slices follow from the bundle and not from who asks. The engine is given what is left of a policy when its scope is
proven, under its number in the slice: slices of the same rules share what was parsed, and numbers become ids again in what it answers.

A tenant's own policies (`Bundle.with_tenant`) can only forbid: a `permit` among them does not load. They are asked about that tenant's
callers alone, and named TENANT/ID. So whatever they say, nothing opens that the installation's policies keep shut, and no other tenant
notices them, not even when they cannot be evaluated.

A bundle never changes. Equal questions have equal answers, so answers and parsed entities are kept, up to a bound.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import cedarpy
import msgspec
from cedarpy import _internal

from omega.kernel.errors import InputError
from omega.warden.question import Question
from omega.warden.reach import Index, Key, lean, read_of
from omega.warden.source import Policy, Problem, read

MAX_KEPT = 4_096
"""Answers, slices and parsed entities that a bundle keeps at most, each; a full store is emptied and fills again as questions come."""

DEFAULT_FILE = "default.cedar"
"""Name of the policies of a fresh installation, as it appears in explanations."""

DEFAULT_TESTS_FILE = "default.test.yaml"

SCHEMA_FILE = "schema.cedarschema"

NO_OWN: Mapping[str, str] = {}

_FAILING = re.compile(r"(error while evaluating policy `)([^`]+)`")
"""How the engine begins to say that a policy could not be evaluated. What follows may hold whatever a caller gave it."""

_REPEATED = re.compile(r"^for policy `[^`]*`, ")


class _Diagnostics(msgspec.Struct):
    reason: list[str] = []
    errors: list[str] = []


class _Result(msgspec.Struct):
    """What the engine answers, as far as it is read here."""

    decision: str
    diagnostics: _Diagnostics


_read_result = msgspec.json.Decoder(_Result).decode

ALLOW, NO_DECISION = "Allow", "NoDecision"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policies say: `deciding` those that decided (in file order), `errors` what failed. Allowed only without errors."""

    allowed: bool
    deciding: tuple[Policy, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Rules as the engine keeps them, under their numbers, and what of the context they can read. Equal rules are parsed once."""

    handle: cedarpy.PolicySet
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Slice:
    """Policies that are asked together, in file order: the engine knows each by its number among them."""

    policies: tuple[Policy, ...]
    parsed: _Parsed

    def deciding(self, numbers: list[str]) -> tuple[Policy, ...]:
        """The policies of these numbers, in file order."""
        if len(numbers) < 2:
            return (self.policies[int(numbers[0])],) if numbers else ()
        return tuple(self.policies[number] for number in sorted(map(int, numbers)))

    def told(self, errors: list[str]) -> tuple[str, ...]:
        """What the engine says went wrong, with the ids of policies in place of their numbers, in file order."""
        found = [(match, error) for error in errors if (match := _FAILING.match(error))]
        others = [error for error in errors if not _FAILING.match(error)]
        found.sort(key=lambda each: int(each[0][2]))
        named = [f"{match[1]}{self.policies[int(match[2])].id}{error[match.end(2) :]}" for match, error in found]
        return (*named, *others)


@dataclass(slots=True)
class _Prepared:
    """What questions that differ in their context only have in common. `schema` is what they are held against, until one was decided."""

    part: _Slice
    entities: Any
    request: Mapping[str, Any]
    schema: cedarpy.Schema | None


class Bundle:
    """Policies that were loaded together. Make one with `Bundle.load` or `Bundle.default`."""

    def __init__(self, policies: Iterable[Policy], digest: str, *, own: Mapping[str, str] = NO_OWN) -> None:
        """`digest` is that of the installation's policies, `own` that of each tenant's own."""
        self.policies: tuple[Policy, ...] = tuple(policies)
        self._common, self._own = digest, dict(sorted(own.items()))
        parts = "\n".join(f"{tenant} {part}" for tenant, part in self._own.items())
        self.digest = hashlib.sha256(f"{digest}\n{parts}".encode()).hexdigest() if own else digest
        self.by_id: Mapping[str, Policy] = {policy.id: policy for policy in self.policies}
        self.roles = frozenset(policy.approval for policy in self.policies if policy.approval)
        self._index = Index()
        for policy in self.policies:
            self._index.add(policy)
        self._slices: dict[Key, _Slice] = {}
        self._parsed: dict[bytes, _Parsed] = {}
        self._prepared: dict[tuple[Any, ...], _Prepared] = {}
        self._answers: dict[Question, Answer] = {}

    @classmethod
    def load(cls, sources: Mapping[str, str]) -> Bundle:
        """The bundle of `sources` (file name to Cedar text). Raises InputError (OMG-W003) with every problem in `details["problems"]`."""
        policies, problems = inspect(sources)
        if problems:
            raise _refused(problems)
        return cls(policies, digest_of(sources))

    @classmethod
    def default(cls) -> Bundle:
        """The bundle of a fresh installation."""
        return cls.load(default_sources())

    def with_tenant(self, tenant: str, sources: Mapping[str, str]) -> Bundle:
        """This bundle with `sources` as the own policies of `tenant`, in place of earlier ones; none takes them away.

        Raises InputError (OMG-W003) with every problem, a `permit` among them.
        """
        policies, problems = inspect(sources)
        problems += _widening(policies)
        if problems or not tenant:
            raise _refused(problems)
        rest = [policy for policy in self.policies if policy.tenant != tenant]
        first = max((policy.order for policy in rest), default=-1) + 1
        own = [
            replace(policy, id=f"{tenant}/{policy.id}", file=f"{tenant}/{policy.file}", tenant=tenant, order=first + number)
            for number, policy in enumerate(policies)
        ]
        others = {name: part for name, part in self._own.items() if name != tenant}
        return Bundle((*rest, *own), self._common, own=others | ({tenant: digest_of(sources)} if own else {}))

    def answer(self, question: Question) -> Answer:
        """What the policies say to `question`, remembered."""
        known = self._answers.get(question)
        if known is None:
            known = self.evaluate(question)
            if len(self._answers) >= MAX_KEPT:
                self._answers.clear()
            self._answers[question] = known
        return known

    def evaluate(self, question: Question) -> Answer:
        """What the policies say to `question`, evaluated anew. Never raises: what cannot be evaluated is not allowed."""
        try:
            ready = self._prepare(question)
            return self._ask(ready.part, ready, question)
        except ValueError as error:
            return Answer(False, (), (f"the question does not fit the schema: {error}",))

    def reaching(self, question: Question) -> tuple[Policy, ...]:
        """The policies whose scope can match `question`, in file order."""
        return self._slice(question).policies

    def matching(self, question: Question) -> dict[str, str]:
        """The policies that match `question` by id, each with the error of its evaluation (empty: none). To explain, not to decide."""
        found = {}
        ready = self._prepare(question)
        for policy in ready.part.policies:
            answer = self._ask(self._handle((policy,)), ready, question)
            if answer.deciding or answer.errors:
                found[policy.id] = "; ".join(answer.errors)
        return found

    def _ask(self, part: _Slice, ready: _Prepared, question: Question) -> Answer:
        """Evaluated by the engine itself: its public wrapper costs a quarter of a decision, for timings that nobody reads."""
        context = question.context() if ready.schema is not None else question.context(part.parsed.reads)
        request = {**ready.request, "context": context}
        (told,) = _internal.is_authorized_batch([request], part.parsed.handle, ready.entities, ready.schema, False)
        result = _read_result(told)
        if result.decision != NO_DECISION:
            ready.schema = None  # it fits, and only the context changes from now on
        errors, deciding = result.diagnostics.errors, part.deciding(result.diagnostics.reason)
        if not errors:
            if result.decision == NO_DECISION:
                return Answer(False, deciding, ("the policy engine gave no decision",))
            return Answer(result.decision == ALLOW, deciding)
        return Answer(False, deciding, part.told(errors))

    def _slice(self, question: Question) -> _Slice:
        key = self._index.key(question)
        part = self._slices.get(key)
        if part is None:
            part = self._handle(self._index.reaching(key))
            if len(self._slices) >= MAX_KEPT:
                self._slices.clear()
            self._slices[key] = part
        return part

    def _handle(self, policies: tuple[Policy, ...]) -> _Slice:
        """`policies` as the engine is asked about them: what their being found proves left out, equal rules parsed once."""
        rules = [lean(policy) for policy in policies]
        document = _document(enumerate(json.dumps(rule, separators=(",", ":")) for rule in rules))
        digest = hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()
        parsed = self._parsed.get(digest)
        if parsed is None:
            parsed = _Parsed(cedarpy.PolicySet.from_json_str(document), read_of(rules))
            if len(self._parsed) >= MAX_KEPT:
                self._parsed.clear()
            self._parsed[digest] = parsed
        return _Slice(policies, parsed)

    def _prepare(self, question: Question) -> _Prepared:
        """Slice, entities and request of `question`. Raises ValueError when it does not fit the schema."""
        key = question.constant()
        ready = self._prepared.get(key)
        if ready is None:
            entities = cedarpy.Entities.from_json_str(question.entities(), shipped_schema())
            ready = _Prepared(self._slice(question), entities._inner, question.request(), shipped_schema())
            if len(self._prepared) >= MAX_KEPT:
                self._prepared.clear()
            self._prepared[key] = ready
        return ready


def failing(errors: Iterable[str]) -> tuple[str, ...]:
    """The ids of the policies that evaluation errors name."""
    return tuple(dict.fromkeys(match[2] for error in errors if (match := _FAILING.match(error))))


def inspect(sources: Mapping[str, str]) -> tuple[list[Policy], list[Problem]]:
    """The policies of `sources` in the order of file names and lines, and everything that keeps them from loading."""
    policies, problems = list[Policy](), list[Problem]()
    for name in sorted(sources, key=lambda name: (name != DEFAULT_FILE, name)):
        found, wrong = read(name, sources[name], len(policies))
        policies += found
        problems += wrong
    problems += _repeated(policies)
    problems += _invalid(policies)
    problems += _unusable(policies)
    return policies, problems


def digest_of(sources: Mapping[str, str]) -> str:
    """SHA-256 (hex) over the schema and each file's name and text, each with its length."""
    digest = hashlib.sha256()
    for part in (shipped(SCHEMA_FILE), *(part for name in sorted(sources) for part in (name, sources[name]))):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d\n" % len(data) + data)
    return digest.hexdigest()


def default_sources() -> dict[str, str]:
    """The policies of a fresh installation, as `Bundle.load` takes them: put a person's own files beside them."""
    return {DEFAULT_FILE: shipped(DEFAULT_FILE)}


def default_tests() -> dict[str, str]:
    """The tests of `default_sources`, as `omega.warden.explain.examine` takes them. They hold for those policies alone."""
    return {DEFAULT_TESTS_FILE: shipped(DEFAULT_TESTS_FILE)}


@cache
def shipped(name: str) -> str:
    """The text of a file that ships inside this package."""
    return resources.files("omega.warden").joinpath(name).read_text(encoding="utf-8")


@cache
def shipped_schema() -> cedarpy.Schema:
    """What policies may speak of, parsed."""
    return cedarpy.Schema.from_str(shipped(SCHEMA_FILE))


def _refused(problems: list[Problem]) -> InputError:
    """The error that names every problem; the first one in its cause."""
    first = problems[0] if problems else Problem(file="", line=0, text="a tenant's own policies need the tenant's name")
    return InputError(
        "OMG-W003",
        f"{first.where}: {first.text}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
        advice=first.advice,
        details={"problems": [problem.record() for problem in problems]},
    )


def _widening(policies: Iterable[Policy]) -> Iterable[Problem]:
    """The policies of a tenant that would permit something."""
    for policy in policies:
        if policy.permits:
            yield Problem(
                file=policy.file,
                line=policy.line,
                text=f"{policy.id} permits, and a tenant's own policies can only forbid",
                advice="have an operator permit it, or write: forbid ... unless { ... }",
            )


def _repeated(policies: Iterable[Policy]) -> Iterable[Problem]:
    first: dict[str, Policy] = {}
    for policy in policies:
        if policy.id in first:
            yield Problem(
                file=policy.file,
                line=policy.line,
                text=f"repeats the id {policy.id} of {first[policy.id].where}",
                advice="give each policy an id of its own",
            )
        first.setdefault(policy.id, policy)


def _invalid(policies: list[Policy]) -> Iterable[Problem]:
    """What the validator says of `policies` against the schema."""
    if not policies:
        return
    result = cedarpy.validate_policies("\n".join(policy.text for policy in policies), shipped_schema())
    seen: set[str] = set()
    for error in result.errors:
        number = error.policy_id.removeprefix("policy")
        policy = policies[int(number)] if number.isdigit() and int(number) < len(policies) else policies[0]
        text = _REPEATED.sub("", error.error)
        if f"{policy.id} {text}" not in seen:
            seen.add(f"{policy.id} {text}")
            yield Problem(file=policy.file, line=policy.line, text=text, advice="docs/policies.md lists what a policy may speak of")
    if not result.validation_passed and not seen:
        yield Problem(file=policies[0].file, line=0, text="the validator refused the policies", advice="check the newest change")


def _unusable(policies: list[Policy]) -> Iterable[Problem]:
    """The policies that parse as text and not in the form in which they are asked, because their conditions are one in another too deep."""
    try:
        cedarpy.PolicySet.from_json_str(_document(enumerate(policy.rule for policy in policies)))
    except ValueError:
        if len(policies) > 1:
            middle = len(policies) // 2
            yield from (*_unusable(policies[:middle]), *_unusable(policies[middle:]))
        else:
            yield Problem(
                file=policies[0].file, line=policies[0].line, text="nests its conditions too deep", advice="make it several policies"
            )


def _document(rules: Iterable[tuple[int, str]]) -> str:
    """A policy set in Cedar's JSON form, each rule under its number."""
    numbered = ",".join(f'"{number}":{rule}' for number, rule in rules)
    return f'{{"staticPolicies":{{{numbered}}},"templates":{{}},"templateLinks":[]}}'
