"""What an error means for a step: whether it settles it, leaves it in doubt, and how a denial teaches."""

from __future__ import annotations

from typing import Any

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import Denied, FlowError, OmegaError
from omega.kernel.trail import shown
from omega.kernel.verdict import Verdict

FATE_UNKNOWN = frozenset({"OMG-P003", "OMG-P004", "OMG-P008"})
"""Failures after which nobody can say whether a write took place; tool errors say it themselves (`sent`: the request may have arrived)."""

UNKEPT = frozenset({"OMG-R002", "OMG-R003"})
"""Failures that are about a value: it cannot be stored, or is too large. `omega.kernel.evaluate` never tries them again."""

ANSWERED = frozenset({"OMG-M007"})
"""Failures that are an answer: the target itself says that it did not do it."""


def at_step(error: OmegaError, flow: AnyFlow, position: str) -> OmegaError:
    """`error` with the name of the step whose value it is about, where it says that a value cannot be kept; else as it is."""
    if error.code not in UNKEPT or "step" in error.details:
        return error
    step = shown(position)
    cause = f"{step} ({flow.where or flow.name}): {error.cause}"
    return FlowError(error.code, cause, advice=error.advice, details=error.details | {"step": step, "flow": flow.name})


def is_doubtful(error: OmegaError) -> bool:
    """Whether, after `error`, a request may have taken effect although nobody got its answer."""
    return error.code in FATE_UNKNOWN or (error.details.get("sent") is True and error.code not in ANSWERED)


def brief(error: OmegaError) -> dict[str, Any]:
    """What of an error stands readable in the journal: never its words, which may hold a value."""
    return {"family": error.family, "code": error.code, "title": error.title, "fault": error.fault.value}


def denied(flow: AnyFlow, position: str, execution: str, verdict: Verdict) -> Denied:
    """A denial that teaches: the rule, where it stands, why, and how to ask."""
    how = verdict.how.replace(position, shown(position)) if position else verdict.how
    step = shown(position)
    return Denied(
        verdict.code or "OMG-W001",
        f"{flow.name} ({flow.effect.value}): {verdict.reason}",
        advice=how,
        details={
            "flow": flow.name,
            "effect": flow.effect.value,
            "step": step,
            "execution": execution,
            "policies": list(verdict.policies),
            "where": verdict.where,
            "reason": verdict.reason,
            "how": how,
            **({"errors": list(verdict.errors)} if verdict.errors else {}),
            **dict(verdict.details),
        },
    )
