"""Tests of policies, as data: small questions with the answer that is expected. A file `*.test.yaml` beside the policies holds a list:

    - name: an agent may not commit
      ask: {principal: "agent:reviewer", flow: git/git_commit, effect: write}
      expect: deny
      by: agents-leave-git-alone

`ask` takes `principal` and `flow` (mandatory), `effect` (`run` for the start of an execution, `cancel`, `approve`, `answer`, `resolve`,
`signal` or `redrive` for a decision about one; `read` when left out), `own` (whether it is the caller's own execution), `tenant`, `groups`,
`actors`, `needs`, `kind`, `facts`, `approved` (roles), `approver` (the role that the flow demands), `cost_micros`, `tokens`. `expect` is
allow, deny or needs; `by`, when given, a policy that must be among those that decided (`default-deny` and `approved-by` too); `role`, when
given, whose approval is needed. Capabilities, limits and budgets are no part of it: no policy can grant them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from omega.kernel.verdict import Decision
from omega.warden.question import DECISIONS, RUN, Question, Unaskable, facts_of
from omega.warden.source import MAX_SOURCE, Problem

SUFFIXES = (".test.yaml", ".test.yml")
"""How the names of test files end."""

_FORM = "each case is: name, ask: {principal, flow, effect}, expect: allow, deny or needs, by"


class CaseAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The question of a case."""

    principal: str
    flow: str
    effect: Literal[
        "run", "pure", "read", "idempotent", "write", "irreversible", "cancel", "approve", "answer", "resolve", "signal", "redrive"
    ] = "read"
    tenant: str = "local"
    groups: frozenset[str] = frozenset()
    actors: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    kind: str = "task"
    facts: dict[str, Any] = {}
    approved: frozenset[str] = frozenset()
    approver: str = ""
    cost_micros: int = 0
    tokens: int = 0
    own: bool = False

    def question(self) -> Question:
        """The case as policies see it. Raises Unaskable when they could not."""
        facts = dict(self.facts)
        owner = facts.pop("tenant", self.tenant)
        if not isinstance(owner, str):
            raise Unaskable("the fact tenant is not a name")
        question = Question(
            tenant=self.tenant,
            principal=self.principal,
            action=self.effect,
            flow=self.flow,
            groups=self.groups,
            actors=self.actors,
            effect="write" if self.effect == RUN or self.effect in DECISIONS else self.effect,
            kind=self.kind,
            needs=self.needs,
            owner="" if owner == self.tenant else owner,
            facts=facts_of(facts),
            approved=self.approved,
            cost_micros=self.cost_micros,
            tokens=self.tokens,
            own=self.own,
        )
        question.check()
        return question


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One expectation: `decision` is what `expect` names."""

    ask: CaseAsk
    expect: Literal["allow", "deny", "needs"]
    name: str = ""
    by: str = ""
    role: str = ""

    @property
    def decision(self) -> Decision:
        """The expected decision."""
        return Decision(self.expect)

    @property
    def title(self) -> str:
        """What to call the case."""
        return self.name or f"{self.ask.principal} {self.ask.effect} {self.ask.flow}"


def is_test(name: str) -> bool:
    """Whether a file of that name holds tests."""
    return name.endswith(SUFFIXES)


def read_cases(name: str, text: str) -> Iterator[tuple[int, Case] | Problem]:
    """The cases of one file, each with its line; a Problem for what is none."""
    import yaml  # noqa: PLC0415 - heavy, and only needed when policies are checked

    if len(text) > MAX_SOURCE:
        yield Problem(file=name, line=0, text=f"the file is longer than {MAX_SOURCE} characters", advice="split it")
        return
    try:
        node, found = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        yield Problem(file=name, line=mark.line + 1 if mark else 0, text=f"is not YAML: {getattr(error, 'problem', error)}", advice=_FORM)
        return
    if found is None:
        return
    if node is None or not isinstance(found, list):
        yield Problem(file=name, line=1, text="is not a list of cases", advice=_FORM)
        return
    for item, place in zip(found, node.value, strict=True):
        line = place.start_mark.line + 1
        try:
            yield line, msgspec.convert(item, Case)
        except msgspec.ValidationError as error:
            yield Problem(file=name, line=line, text=f"is not a case: {error}", advice=_FORM)
