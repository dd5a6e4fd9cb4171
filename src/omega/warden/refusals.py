"""The words of the gate's own rules: each denial names its rule, says why in one sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import replace

from omega.kernel.verdict import Decision, Verdict
from omega.warden.breakers import Broken
from omega.warden.limits import UNBOUNDED, Refusal
from omega.warden.quarantine import Quarantine
from omega.warden.quotas import Full, Measure

RATE_LIMIT = "rate-limit"
QUARANTINE = "quarantine"
QUOTA = "quota"
CIRCUIT = "circuit"

BUILT_IN = "the gate itself"
"""`Verdict.where` of the gate's own rules, which are in no policy file."""


def deny(rule: str, code: str, reason: str, how: str) -> Verdict:
    """A denial by one of the gate's own rules."""
    return Verdict(decision=Decision.DENY, policies=(rule,), where=BUILT_IN, reason=reason, how=how, code=code)


def locked_out(held: Quarantine) -> Verdict:
    """The caller, or whoever acts for them, is in quarantine."""
    how = f"omega quarantine release {held.principal}   (two different people)"
    verdict = deny(QUARANTINE, "OMG-W009", f"{held.principal} is in quarantine: {held.reason}", how)
    return replace(verdict, details={"principal": held.principal, "since_us": held.since_us, "by": held.by})


def too_fast(refusal: Refusal) -> Verdict:
    """A rate is exceeded."""
    rate = refusal.rate
    reason = f"this {refusal.limit} makes more than {rate.per_s:g} calls a second"
    verdict = deny(RATE_LIMIT, "OMG-W004", reason, f"wait {refusal.wait_s:.3g} s, or have the limit raised")
    return replace(verdict, details={"limit": refusal.limit, "per_s": rate.per_s, "burst": rate.burst} | _waiting(refusal.wait_s))


def broken(found: Broken) -> Verdict:
    """A circuit is open."""
    what, breaker = found.target or "everything", found.breaker
    reason = f"{what} failed again and again and is left alone for a while (breaker {breaker.name}: {breaker})"
    verdict = deny(CIRCUIT, "OMG-W011", reason, f"wait {found.wait_s:.3g} s, or have the other side mended; omega breaker list")
    return replace(verdict, details={"breaker": breaker.name, "target": found.target} | _waiting(found.wait_s))


def full(found: Full) -> Verdict:
    """A quota is used up, or limits money where nobody knows the price."""
    quota = found.quota
    details: dict[str, object] = {"limit": quota.name, "of": quota.of.value, "amount": quota.amount, "left": found.left}
    details |= _waiting(found.wait_s)
    if found.unpriced:
        reason = f"the limit {quota.name} of {quota} holds, and no price is known of the model: what cannot be counted cannot be limited"
        how = "ask a model with a known price, have an operator give this one a price, or let it pass: omega limit set --unpriced pass"
        return replace(deny(QUOTA, "OMG-W005", reason, how), details=details | {"unpriced": True})
    wait = f"wait {found.wait_s:.0f} s" if found.wait_s else "wait until another call has ended"
    code = "OMG-W005" if quota.of is Measure.COST else "OMG-W004"
    verdict = deny(QUOTA, code, f"the limit {quota.name} of {quota} is used up", f"{wait}, or have it raised: omega limit list")
    return replace(verdict, details=details)


def _waiting(wait_s: float) -> dict[str, object]:
    """How long to wait, for programs: in seconds, and as an entrance tells it (nothing where nobody can say, or it is for ever)."""
    known: dict[str, object] = {"retry_after_s": round(wait_s, 3)} if 0 < wait_s < UNBOUNDED else {}
    return {"wait_s": round(wait_s, 3)} | known
