"""How the end of a run is told: to programs and to people, from here and from a remote installation alike."""

from __future__ import annotations

from typing import Any

from omega.cli.exits import Exit, exit_of
from omega.cli.output import Answer, error_lines, money, paint, plain, value_lines
from omega.host.targets import SERVICE
from omega.kernel.journal import Status
from omega.kernel.ports import Outcome

STATUSES = {
    Status.DONE: Exit.DONE,
    Status.WAITING: Exit.WAITING,
    Status.IN_DOUBT: Exit.IN_DOUBT,
}


def ended(outcome: Outcome, facts: dict[str, Any], said: str, *, started: bool = True, execution: str = "") -> Answer:
    """How a run ended or stands, for programs and people."""
    execution = outcome.execution or (execution if started else "")
    document = {
        "execution": execution,
        **facts,
        "status": str(outcome.status),
        "value": outcome.value,
        "error": None if outcome.error is None else dict(outcome.error),
        "leaf": outcome.leaf,
        "tenant": outcome.tenant,
        "cost_micros": outcome.cost_micros,
    }
    if outcome.error is not None:
        document["error"] = dict(outcome.error) | {"advice": concrete(str(outcome.error.get("advice", "")), str(facts["target"]))}
        status = exit_of(outcome.error, started=started)
        return Answer(document, ["", *error_lines(document["error"], execution if started else "")], status)
    lines = value_lines(outcome.value)
    if outcome.status == Status.DONE:
        sealed = f"sealed at leaf {outcome.leaf} of {outcome.tenant}" if outcome.leaf is not None else ""
        summary = "   ".join(part for part in (paint("done"), said, money(outcome.cost_micros), sealed) if part)
        return Answer(document, [*lines, summary])
    return Answer(
        document, [f"{paint(str(outcome.status))}   {plain(execution)}   {said}"], STATUSES.get(Status(outcome.status), Exit.FAILED)
    )


def concrete(advice: str, target: str) -> str:
    """Advice with the target filled in, so that it works when pasted."""
    if not target:
        return advice
    command = f"omega call {target.removeprefix(SERVICE)}" if target.startswith(SERVICE) else f"omega run {target}"
    return advice.replace("omega run TARGET", command)
