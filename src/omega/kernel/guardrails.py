"""Guardrails of an agent: checks on what it is given, before any model sees it, and on what it answers, before anybody else does.

A check is the name of a guard (`injection`, `personal`: what the gate's own guards look for), or a pure flow from the text to what is
wrong with it, in words; an empty text passes. Each check is a step, so a replay decides as it was decided. A guardrail that trips ends
the run (OMG-W013): like any denial it is no failure that a retry or a fallback may answer. Only the agent itself may be told to ask its
model again, a bounded number of times, about an answer that did not pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Flow, Task
from omega.kernel.effects import Effect, Request
from omega.kernel.errors import DefinitionError, Denied
from omega.kernel.evaluate import Driver, evaluate
from omega.kernel.offered import MAX_STEM
from omega.kernel.trail import Trail
from omega.kernel.types import type_of

GUARDS: Final = ("injection", "personal")
"""The guards that a check may name."""

MAX_CHECKS: Final = 16
"""Most checks on the input of an agent, and on its output."""

MAX_AGAIN: Final = 8
"""How often a model may be asked again at most about an answer that did not pass."""

MAX_REASON: Final = 500
"""Most characters of what a check finds wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect(Request):
    """What a guard finds in a text, in words; empty where it finds nothing. A text too long to be read counts as a find."""

    port: ClassVar[str] = "guardrails"
    guard: str
    text: str


@dataclass(frozen=True, slots=True)
class Inspecting(Task):
    """A look at a text by a guard, as a leaf."""

    guard: str

    def parameters(self) -> Mapping[str, Any]:
        return {"guard": self.guard}


@dataclass(frozen=True, slots=True)
class Trip:
    """A guardrail that tripped: which check, on the `input` or the `output`, and what it found wrong."""

    check: str
    of: str
    reason: str

    def __str__(self) -> str:
        return f"the {self.of} does not pass the check {self.check}: {self.reason}"

    def denied(self, agent: str) -> Denied:
        """What ends the run (OMG-W013)."""
        return Denied("OMG-W013", f"{agent}: {self}", details={"agent": agent, "check": self.check, "of": self.of, "reason": self.reason})


def checks(agent: str, given: Sequence[str | AnyFlow]) -> tuple[AnyFlow, ...]:
    """The checks of an agent as flows from a text to what is wrong with it. Raises DefinitionError (OMG-F003) for what is no check."""
    if len(given) > MAX_CHECKS:
        raise DefinitionError("OMG-F003", f"agent {agent}: at most {MAX_CHECKS} checks on its input, and on its output")
    return tuple(_check(agent, each) for each in given)


def guard_of(check: AnyFlow) -> str:
    """The guard that a check names; empty for a flow of somebody's own."""
    return check.body.guard if isinstance(check.body, Inspecting) else ""


async def tripped(given: Sequence[AnyFlow], of: str, text: str, trail: Trail, driver: Driver) -> Trip | None:
    """The first check that `text` does not pass, in their order. Raises what a check raises: an error lets nothing pass."""
    for check in given:
        reason = await evaluate(check, text, trail, driver)
        if reason:
            return Trip(guard_of(check) or check.name, of, str(reason)[:MAX_REASON])
    return None


def _check(agent: str, given: str | AnyFlow) -> AnyFlow:
    if isinstance(given, str):
        if given not in GUARDS:
            raise DefinitionError("OMG-F003", f"agent {agent}: there is no guard {given[:80]!r}", advice=f"one of: {', '.join(GUARDS)}")
        return _inspecting(agent, given)
    if not isinstance(given, Flow) or given.effect is not Effect.PURE or (given.input.annotation, given.output.annotation) != (str, str):
        name = given.name if isinstance(given, Flow) else type(given).__name__
        advice = "a check is a pure flow from str to str: what is wrong with the text, empty where nothing is"
        raise DefinitionError("OMG-F003", f"agent {agent}: {name} is no check", advice=advice)
    return given


def _inspecting(agent: str, guard: str) -> AnyFlow:
    async def inspect(ctx: Context, text: str) -> str:
        return str(await ctx.touch(Inspect(guard=guard, text=text)))

    return Flow(
        name=f"{agent[:MAX_STEM]}.{guard}",
        body=Inspecting(inspect, True, True, "text", "", guard),
        input=type_of(str),
        output=type_of(str),
        effect=Effect.READ,
        needs=frozenset({"model:ask"}),
    )
