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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import cedarpy

from omega.kernel.errors import InputError
from omega.warden.question import Question
from omega.warden.reach import Index, Key, lean, read_of
from omega.warden.slices import NO_DECISION, Answer, Fixed, Parsed, Said, Slice, Split, answered
from omega.warden.source import Policy, Problem, read

K = TypeVar("K")
V = TypeVar("V")

MAX_KEPT = 4_096
"""Answers, slices and parsed entities that a bundle keeps at most, each; a full store is emptied and fills again as questions come."""

DEFAULT_FILE = "default.cedar"
"""Name of the policies of a fresh installation, as it appears in explanations."""

DEFAULT_TESTS_FILE = "default.test.yaml"

SCHEMA_FILE = "schema.cedarschema"

NO_OWN: Mapping[str, str] = {}

_REPEATED = re.compile(r"^for policy `[^`]*`, ")


@dataclass(slots=True)
class _Prepared:
    """What questions that differ in their context only have in common.

    `schema` is what they are held against, until one was decided: it fits then, and only the context changes. `fixed` is worked out for the
    second question: many callers ask once.
    """

    part: Slice
    entities: Any
    request: Mapping[str, Any]
    schema: cedarpy.Schema | None
    fixed: Fixed | None = None


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
        self._slices: dict[Key, Slice] = {}
        self._splits: dict[Key, Split] = {}
        self._parsed: dict[bytes, Parsed] = {}
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
            if ready.schema is not None:
                return answered(self._first(ready, question))
            if ready.fixed is None:
                ready.fixed = self._split(question).fix(ready.request, ready.entities)
            return ready.fixed.with_rest(ready.request, question.context(ready.fixed.rest.parsed.reads), ready.entities)
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
            answer = answered(self._handle((policy,)).ask(ready.request, question.context(), ready.entities, ready.schema))
            if answer.deciding or answer.errors:
                found[policy.id] = "; ".join(answer.errors)
        return found

    def _first(self, ready: _Prepared, question: Question) -> Said:
        """What the engine says of a caller and a target of whom nothing is known yet."""
        said = ready.part.ask(ready.request, question.context(), ready.entities, ready.schema)
        if said.decision != NO_DECISION:
            ready.schema = None
        return said

    def _slice(self, question: Question) -> Slice:
        return _kept(self._slices, self._index.key(question), lambda key: self._handle(self._index.reaching(key)))

    def _split(self, question: Question) -> Split:
        return _kept(self._splits, self._index.key(question), lambda key: self._parts(self._index.reaching(key)))

    def _parts(self, policies: tuple[Policy, ...]) -> Split:
        """`policies` by whether they read anything of the context."""
        permits, forbids, rest = list[Policy](), list[Policy](), list[Policy]()
        for policy in policies:
            (rest if read_of([lean(policy)]) else permits if policy.permits else forbids).append(policy)
        return Split(*(self._handle(tuple(part)) for part in (permits, forbids, rest)))

    def _handle(self, policies: tuple[Policy, ...]) -> Slice:
        """`policies` as the engine is asked about them: what their being found proves left out, equal rules parsed once."""
        rules = [lean(policy) for policy in policies]
        document = _document(enumerate(json.dumps(rule, separators=(",", ":")) for rule in rules))
        digest = hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()
        parsed = _kept(self._parsed, digest, lambda _: Parsed(cedarpy.PolicySet.from_json_str(document), read_of(rules)))
        return Slice(policies, parsed)

    def _prepare(self, question: Question) -> _Prepared:
        """Slice, entities and request of `question`. Raises ValueError when it does not fit the schema."""
        key = question.constant()
        return self._prepared.get(key) or _kept(self._prepared, key, lambda _: self._new(question))

    def _new(self, question: Question) -> _Prepared:
        entities = cedarpy.Entities.from_json_str(question.entities(), shipped_schema())
        return _Prepared(self._slice(question), entities._inner, question.request(), shipped_schema())


def _kept(store: dict[K, V], key: K, make: Callable[[K], V]) -> V:
    """What `store` holds under `key`, made where it is not there; a full store is emptied first."""
    found = store.get(key)
    if found is None:
        found = make(key)
        if len(store) >= MAX_KEPT:
            store.clear()
        store[key] = found
    return found


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
