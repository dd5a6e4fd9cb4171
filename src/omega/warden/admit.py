"""The gate. One question, one verdict, in this order:

    quarantine     is neither the caller nor whoever acts for them locked out?                                            OMG-W009
    scope          is the caller who trust says, inside their own tenant, and (at an entry) is the passport still good?   OMG-T001, W001
    capabilities   does the passport hold what the flow declares?                                                         OMG-W008
    rate limit     is this caller within its rate?                                                                        OMG-W004
    budget         does the estimate, and one call, fit into what is left?                                                OMG-W005
    policy         does a policy permit it, does none forbid it, and did every one evaluate?                              OMG-W001, W002
    approvals      did a person approve, where a policy or the flow itself demands it?                                    NEEDS
    circuit        is what a touch goes to not left alone for a while, because it failed again and again?                 OMG-W011
    quota          does a touch that is allowed fit into what may be used per minute, hour or day, and at once?            OMG-W004, W005

The first that says no decides; nothing after it is looked at. Whatever cannot be decided is denied. A running execution's authority is the
grant it was admitted with, so a touch does not look at the passport's end; policy is asked again at every touch. What people decide about
an execution (`decide`) is asked of the same policies under actions of its own.

What is known beside the question is pushed to the gate, never fetched by it: quotas, who is in quarantine, facts that policies may name
(`fact:NAME`), which principals are one person. Whatever is pushed, remembered answers are forgotten.

NEEDS has one meaning: with the approval of that role, and nothing else, the answer would be ALLOW. It is found by asking the policies
again as if the approvals were there, so a forbid that no approval lifts is a deny at once and nobody is bothered for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from omega.kernel.budget import NOTHING, Budget, Spent
from omega.kernel.effects import Effect
from omega.kernel.scope import Scope
from omega.kernel.verdict import Ask, Decision, Gate, Verdict
from omega.warden import refusals
from omega.warden.approvals import NO_ALIASES, PASSKEY, STEP_UP, Aliases, demand_of, is_role, satisfied, standing_in
from omega.warden.breakers import Breaker, Breakers
from omega.warden.capabilities import wanted
from omega.warden.limits import DEFAULT_LIMITS, Limiter, Limits
from omega.warden.mint import issue
from omega.warden.policies import Bundle
from omega.warden.quarantine import Quarantine, Ward
from omega.warden.question import DECISIONS, NOTHING_PUSHED, PRINCIPALS, Question, Unaskable, question_of
from omega.warden.quotas import ONE, Ledger, Quota
from omega.warden.refusals import BUILT_IN, deny
from omega.warden.slices import failing
from omega.warden.source import BRACES, Policy

DEFAULT_DENY = "default-deny"
NO_POLICY = "no-policy"
SCOPE = "scope"
PURE_STEP = "pure-step"
TENANT_BOUNDARY = "tenant-boundary"
CAPABILITIES = "capabilities"
BUDGET = "budget"
EVALUATION = "policy-evaluation"
APPROVED_BY = "approved-by"

NO_WAIT = "have an operator change the rule: a decision waits for nobody"

ONE_CALL = Spent(calls=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What somebody wants to decide about an execution: `verb` is one of `question.DECISIONS`, `flow` what runs, `requester` whose."""

    verb: str
    scope: Scope
    requester: Scope
    execution: str
    flow: str
    now: float
    step: str = ""


class Warden:
    """The gate of one process over one bundle. Without a bundle it denies everything."""

    def __init__(self, bundle: Bundle | None = None, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.bundle = bundle
        self.ledger = Ledger()
        self.breakers = Breakers()
        self._limiter = Limiter(limits)
        self._ward = Ward()
        self._facts: Mapping[str, Mapping[str, str]] = {}
        self._aliases: Aliases = NO_ALIASES
        self._known: _Known | None = None

    # -- what is pushed to it

    def adopt(self, bundle: Bundle) -> None:
        """Ask `bundle` from now on."""
        self.bundle = bundle
        self._known = None

    def isolate(self, listed: Iterable[Quarantine]) -> None:
        """Lock out exactly those who are `listed`."""
        self._ward = Ward(listed)

    def isolated(self, tenant: str, principal: str) -> bool:
        """Whether that principal is locked out."""
        return self._ward.names(tenant, principal)

    def learn(self, facts: Mapping[str, Mapping[str, str]]) -> None:
        """Have policies know these facts, by tenant (the empty one: every tenant), as tags `fact:NAME` of whatever is asked about."""
        self._facts = facts
        self._known = None

    def recognise(self, aliases: Aliases) -> None:
        """Take principals for the persons that `aliases` say they are."""
        self._aliases = aliases
        self._known = None

    @property
    def aliases(self) -> Aliases:
        """Which principals are one person."""
        return self._aliases

    def limit(self, quotas: Iterable[Quota], *, engines: int = 1) -> None:
        """Hold exactly these quotas, as one of `engines` that share them."""
        self.ledger.adopt(quotas, engines=engines)

    def break_on(self, breakers: Iterable[Breaker]) -> None:
        """Leave alone what fails as exactly these breakers say."""
        self.breakers.adopt(breakers)

    # -- what it is asked

    def ask(self, ask: Ask) -> Verdict:
        """May `ask` be done now? Never raises for what callers can send; only an ALLOW from here can have permits minted."""
        if self.bundle is None:
            return _no_bundle()
        for rule in (self._locked_out, _scope, _pure, _tenant, _capabilities, self._rate, _budget):
            refusal = rule(ask)
            if refusal is not None:
                return replace(refusal, bundle=self.bundle.digest)
        known = self._known
        if known is None or known.bundle is not self.bundle:
            known = self._known = _Known(self.bundle, self._facts, self._aliases)
        verdict = known.policy(ask)
        if verdict.decision is Decision.ALLOW and self.breakers.busy and ask.gate is Gate.TOUCH:
            broken = self.breakers.take(ask)
            if broken is not None:
                return replace(refusals.broken(broken), bundle=self.bundle.digest)
        if verdict.decision is Decision.ALLOW and self.ledger.busy:
            full = self.ledger.take(ask) if ask.gate is Gate.TOUCH else self.ledger.room(ask)
            if full is not None:
                self.breakers.settle(ask, None, now=ask.now)
                return replace(refusals.full(full), bundle=self.bundle.digest)
        return issue(ask, verdict)

    def foresee(self, ask: Ask) -> Verdict:
        """What rights and policies say to `ask` now. Rates, budgets, quotas and breakers are left out, nothing is counted, and nothing can
        be done with the answer: no permit comes of it."""
        if self.bundle is None:
            return _no_bundle()
        for rule in (self._locked_out, _scope, _pure, _tenant, _capabilities):
            refusal = rule(ask)
            if refusal is not None:
                return replace(refusal, bundle=self.bundle.digest)
        return _Known(self.bundle, self._facts, self._aliases).policy(ask)

    def decide(self, act: Act) -> Verdict:
        """May `act` be carried out? The rules about approvals (`omega.warden.approvals`) hold besides, and no policy loosens them."""
        if self.bundle is None:
            return _no_bundle()
        asked = _act_as_ask(act)
        refusal = self._locked_out(asked) or _scope(asked)
        if refusal is None and (act.verb not in DECISIONS or act.scope.tenant != act.requester.tenant):
            refusal = deny(TENANT_BOUNDARY, "OMG-W001", "there is nothing to decide there", "decide about an execution of your own tenant")
        if refusal is not None:
            return replace(refusal, bundle=self.bundle.digest)
        try:
            question = replace(question_of(asked, pushed=self._pushed(asked), aliases=self._aliases), action=act.verb, own=_is_own(act))
        except Unaskable as error:
            return _evaluation(self.bundle, asked, (str(error),), ())
        verdict = _judged(self.bundle, asked, question, "")
        if verdict.decision is not Decision.NEEDS:
            return verdict
        return replace(verdict, decision=Decision.DENY, code="OMG-W001", role="", how=NO_WAIT)

    def reserve(self, ask: Ask, more: Spent, *, priced: bool = True) -> Verdict | None:
        """Set aside what a touch under way is about to use; the refusal when a quota does not cover it, or money is limited and what it
        will cost is not known (not `priced`)."""
        full = self.ledger.reserve(ask, more, priced=priced)
        return None if full is None else refusals.full(full)

    def amend(self, ask: Ask, by: Spent) -> None:
        """Change what a touch under way has set aside by so much, more or less: see `quotas.Ledger.amend`."""
        self.ledger.amend(ask, by)

    def settle(self, ask: Ask, spent: Spent, *, made: bool = True, failed: bool | None = None, now: float | None = None) -> None:
        """A touch that was allowed has ended at `now` (Unix seconds; None: at once), having used `spent`, or was not made after all.
        `failed`: whether the other side did (`breakers.blamed`), None where that is not known."""
        self.ledger.settle(ask, spent, kept=ONE if made else NOTHING)
        self.breakers.settle(ask, failed, now=ask.now if now is None else now)

    def _pushed(self, ask: Ask) -> Mapping[str, str]:
        return facts_for(self._facts, ask.scope.tenant)

    def _locked_out(self, ask: Ask) -> Verdict | None:
        if not len(self._ward) or type(ask.scope) is not Scope:
            return None
        held = self._ward.holds(ask.scope)
        return None if held is None else refusals.locked_out(held)

    def _rate(self, ask: Ask) -> Verdict | None:
        scope = ask.scope
        agent = bool(scope.actors) or scope.principal.startswith("agent:")
        refusal = self._limiter.take(scope.tenant, " ".join((scope.principal, *scope.actors)), ask.flow, agent=agent, now=ask.now)
        return None if refusal is None else refusals.too_fast(refusal)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What policies and approvals say: the deciding policies in file order, the roles still to approve, what failed to evaluate.

    For NEEDS, the policies are those that the approvals would lift; none when only the flow demands one.
    """

    decision: Decision
    policies: tuple[Policy, ...]
    roles: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that a verdict names."""
        if self.policies:
            return tuple(policy.id for policy in self.policies)
        return (APPROVED_BY,) if self.decision is Decision.NEEDS else (DEFAULT_DENY,)


def judge(bundle: Bundle, question: Question, *, role: str = "") -> Judgement:
    """Policy and approvals for `question`; `role` is the one that the flow itself demands (empty: none)."""
    approved = standing_in(question.approved, bundle.roles)
    if approved is not question.approved:
        question = replace(question, approved=approved)
    answer = bundle.answer(question)
    demand = () if not role or satisfied(role, question.approved) else (role,)
    if answer.allowed:
        return Judgement(Decision.NEEDS, (), demand) if demand else Judgement(Decision.ALLOW, answer.deciding)
    roles = tuple(dict.fromkeys(policy.approval for policy in answer.deciding if policy.approval))
    if answer.errors or not roles:
        return Judgement(Decision.DENY, answer.deciding, errors=answer.errors)
    lifted = bundle.answer(replace(question, approved=question.approved | frozenset(roles)))
    if lifted.allowed:
        return Judgement(Decision.NEEDS, answer.deciding, tuple(dict.fromkeys((*roles, *demand))))
    return Judgement(Decision.DENY, lifted.deciding, errors=lifted.errors)


NO_FACTS: Mapping[str, Mapping[str, str]] = {}

MAX_KNOWN = 4_096
"""Most allowing verdicts remembered; past it all are forgotten."""


class _Known:
    """What one bundle has allowed: equal questions have equal answers, so putting the question together and asking again is spared.

    Only verdicts that allow, about steps without facts, in words that name nothing of the call are kept. Passport, capabilities, rate and
    budget are not part of it: the gate looks at those each time, before.
    """

    __slots__ = ("_aliases", "_facts", "_verdicts", "bundle")

    def __init__(self, bundle: Bundle, facts: Mapping[str, Mapping[str, str]] = NO_FACTS, aliases: Aliases = NO_ALIASES) -> None:
        self.bundle = bundle
        self._facts = facts
        self._aliases = aliases
        self._verdicts: dict[tuple[object, ...], Verdict] = {}

    def policy(self, ask: Ask) -> Verdict:
        """Policies and approvals for `ask`."""
        if ask.resource:
            return self._asked(ask)
        scope = ask.scope
        caller = (scope.tenant, scope.principal, scope.groups, scope.actors)
        step = (ask.gate, ask.flow, ask.effect, ask.kind, ask.needs, ask.approver_role, ask.approvals, ask.estimate)
        known = self._verdicts.get((caller, step))
        if known is not None:
            return known
        verdict = self._asked(ask)
        if verdict.decision is Decision.ALLOW and "{" not in self.bundle.by_id[verdict.policies[0]].reason:
            if len(self._verdicts) >= MAX_KNOWN:
                self._verdicts.clear()
            self._verdicts[caller, step] = verdict
        return verdict

    def _asked(self, ask: Ask) -> Verdict:
        try:
            question = question_of(ask, pushed=facts_for(self._facts, ask.scope.tenant), aliases=self._aliases)
        except Unaskable as error:
            return _evaluation(self.bundle, ask, (str(error),), ())
        if ask.approver_role and not is_role(ask.approver_role):
            return _evaluation(self.bundle, ask, (f"{ask.flow} demands the approval of a role that cannot exist",), ())
        return _judged(self.bundle, ask, question, ask.approver_role)


def facts_for(facts: Mapping[str, Mapping[str, str]], tenant: str) -> Mapping[str, str]:
    """The facts that were pushed for `tenant`: everybody's, and its own in their place."""
    if not facts:
        return NOTHING_PUSHED
    return {**facts.get("", NOTHING_PUSHED), **facts.get(tenant, NOTHING_PUSHED)}


def _judged(bundle: Bundle, ask: Ask, question: Question, role: str) -> Verdict:
    judgement = judge(bundle, question, role=role)
    if judgement.errors:
        return _evaluation(bundle, ask, judgement.errors, judgement.policies)
    if judgement.decision is Decision.NEEDS:
        return _needs(bundle, ask, judgement, question.approved)
    if judgement.policies:
        return _told(bundle, ask, judgement)
    reason = f"no policy permits {ask.scope.principal} to {question.action} {ask.flow}"
    return replace(deny(DEFAULT_DENY, "OMG-W001", reason, "write a policy that permits it, see docs/policies.md"), bundle=bundle.digest)


def _told(bundle: Bundle, ask: Ask, judgement: Judgement) -> Verdict:
    """A verdict in the words of the first deciding policy."""
    first = judgement.policies[0]
    denied = judgement.decision is Decision.DENY
    return Verdict(
        decision=judgement.decision,
        policies=judgement.ids,
        where=first.where,
        reason=_fill(first.reason, ask),
        how=_fill(first.ask, ask) or f"have the owner of {first.file} change the rule" if denied else "",
        bundle=bundle.digest,
        code="OMG-W001" if denied else "",
    )


def _needs(bundle: Bundle, ask: Ask, judgement: Judgement, approved: frozenset[str]) -> Verdict:
    first = judgement.policies[0] if judgement.policies else None
    demand = judgement.roles[0]
    role, persons = demand_of(demand)
    details: dict[str, object] = {"roles": list(judgement.roles)}
    if persons > 1:
        have = max([number for number in range(2, persons) if f"{role}:{number}" in approved], default=int(satisfied(role, approved)))
        details |= {"persons": persons, "have": have}
    who = f"{persons} different persons of role {role}" if persons > 1 else f"one person of role {role}"
    how = f"omega approve {ask.execution} {ask.step}   (needs {who})"
    if role == STEP_UP:
        how = f"omega approve {ask.execution} {ask.step} --code CODE   (needs your second factor)"
    elif role == PASSKEY:
        how = f"omega mfa page {ask.execution}   (needs your passkey)"
    return Verdict(
        decision=Decision.NEEDS,
        policies=judgement.ids,
        where=first.where if first else BUILT_IN,
        reason=_fill(first.reason, ask) if first else f"the flow {ask.flow} asks for the approval of a person of role {role}",
        how=how,
        role=role,
        bundle=bundle.digest,
        details=details,
    )


def _evaluation(bundle: Bundle, ask: Ask, errors: tuple[str, ...], policies: Iterable[Policy]) -> Verdict:
    """A deny because something could not be evaluated; names the policies that failed."""
    named = failing(errors)
    places = [bundle.by_id[name].where for name in named if name in bundle.by_id]
    return Verdict(
        decision=Decision.DENY,
        policies=(*named, *(policy.id for policy in policies if policy.id not in named)) or (EVALUATION,),
        where=places[0] if places else BUILT_IN,
        reason=f"{'policy ' + named[0] if named else 'the question'} could not be evaluated, and what cannot be evaluated is denied",
        how="mend what the errors name, then omega policy check" if named else f"mend the facts that {ask.flow} gives about its target",
        bundle=bundle.digest,
        code="OMG-W002",
        errors=errors,
    )


def _act_as_ask(act: Act) -> Ask:
    """A decision in the form in which the rules and words of the gate take their questions."""
    return Ask(
        gate=Gate.ENTRY,
        scope=act.scope,
        execution=act.execution,
        step=act.step,
        epoch=0,
        flow=act.flow,
        flow_digest="",
        effect=Effect.WRITE,
        input_commitment=b"",
        now=act.now,
    )


def _is_own(act: Act) -> bool:
    """Whether it is the caller's own execution: theirs in person, or that of the very chain that acts now."""
    mine, theirs = act.scope, act.requester
    return mine.principal == theirs.principal and mine.actors in ((), theirs.actors)


def _no_bundle() -> Verdict:
    return deny(
        NO_POLICY,
        "OMG-W001",
        "no policies are loaded, so nothing is allowed",
        "omega policy check says why none could be loaded",
    )


def _scope(ask: Ask) -> Verdict | None:
    scope = ask.scope
    if type(scope) is not Scope or not math.isfinite(ask.now):
        return deny(SCOPE, "OMG-W001", "the question has no caller or no time", "call through an entrance, with a passport")
    kind, _, name = scope.principal.partition(":")
    if not scope.tenant or not name or kind not in PRINCIPALS:
        return deny(SCOPE, "OMG-T001", "the passport names no tenant, or no caller that policies know", "get a fresh passport")
    if ask.gate is Gate.ENTRY and ask.now >= scope.expires_at:
        return deny(SCOPE, "OMG-T001", "the passport has expired", "get a fresh passport for this installation")
    return None


def _pure(ask: Ask) -> Verdict | None:
    if ask.gate is Gate.ENTRY or ask.effect.gated:
        return None
    return deny(PURE_STEP, "OMG-W001", f"{ask.flow} is pure, so it touches nothing", "declare what it does to the world: @flow(effect=...)")


def _tenant(ask: Ask) -> Verdict | None:
    if ask.resource.get("tenant", ask.scope.tenant) == ask.scope.tenant:
        return None
    return deny(TENANT_BOUNDARY, "OMG-W001", "the target belongs to another tenant", "call it through that tenant's own entrance")


def _capabilities(ask: Ask) -> Verdict | None:
    missing = sorted(ask.scope.missing(wanted(ask)))
    if not missing:
        return None
    return replace(
        deny(
            CAPABILITIES,
            "OMG-W008",
            f"{ask.flow} takes {', '.join(missing)}, which the caller does not hold",
            f"get a passport with {', '.join(missing)}",
        ),
        details={"missing": missing},
    )


def _budget(ask: Ask) -> Verdict | None:
    if ask.left is None:
        return None
    if isinstance(ask.left, Budget) and ask.left.allows(ask.estimate + ONE_CALL):
        return None
    return deny(
        BUDGET, "OMG-W005", f"what is left of the budget does not cover {ask.flow}", "start the run with a larger budget, or do less"
    )


def _fill(text: str, ask: Ask) -> str:
    """`text` with the placeholders of `omega.warden.source.PLACEHOLDERS` filled in, once: a name that looks like one stays a name."""
    values = {
        "flow": ask.flow,
        "effect": ask.effect.value,
        "principal": ask.scope.principal,
        "step": ask.step,
        "execution": ask.execution,
        "tenant": ask.scope.tenant,
    }
    return BRACES.sub(lambda match: values.get(match[1], match[0]), text) if "{" in text else text
