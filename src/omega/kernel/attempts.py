"""Failures as values: what an attempt gives is either a result or an error, and the flow that follows decides what to do about it.

    attempt    attempt(a)     Ok(value) where a gives a value, Err(code, cause, ...) where it fails

    price | attempt(book) | when("out.ok", then=confirm, otherwise=apologise)

Only failures become values: the step was tried and did not work out. A denial, a step in doubt, a wait for a person or a moment, a
cancellation and a flow that no longer matches its records are not a flow's to judge; they go past every attempt, as they go past
`fallback` and `retry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from omega.kernel.compose import AnyFlow, composite, flows_of, union_of
from omega.kernel.definition import Body
from omega.kernel.errors import Fault, OmegaError
from omega.kernel.evaluate import Driver, evaluate, is_repairable, rule
from omega.kernel.trail import Trail
from omega.kernel.types import type_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """What an attempt gives when it worked out. `ok` tells it from an `Err` in stored data and in CEL."""

    value: T
    ok: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Err:
    """What an attempt gives when it failed: the error's code, one sentence about this case, a next step, and whose turn it is."""

    code: str
    cause: str
    advice: str
    fault: Fault
    ok: Literal[False] = False

    @classmethod
    def of(cls, error: OmegaError) -> Err:
        """The value that stands for `error`."""
        return cls(error.code, error.cause, error.advice, error.fault)


@dataclass(frozen=True, slots=True)
class Attempt(Body):
    """A flow whose failures are values."""

    kind: ClassVar[str] = "attempt"
    flow: AnyFlow

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow,)


def attempt(flow: AnyFlow) -> AnyFlow:
    """`flow`, which gives `Ok(value)`, or `Err` where it fails; the type says both. Nothing but a failure is made a value.

    Raises DefinitionError (OMG-F003) for what is no flow.
    """
    (part,) = flows_of("attempt", (flow,), least=1)
    fine: Any = Ok.__class_getitem__(part.output.annotation)  # type: ignore[attr-defined]
    return composite(Attempt(part), part.input, union_of(type_of(fine), type_of(Err)))


@rule(Attempt)
async def _attempt(flow: AnyFlow, body: Attempt, value: Any, trail: Trail, driver: Driver) -> Ok[Any] | Err:
    try:
        return Ok(await evaluate(body.flow, value, trail, driver))
    except OmegaError as error:
        if not is_repairable(error):
            raise
        return Err.of(error)
