"""Compensation: steps that belong together, each with what takes it back.

    saga       saga((book, cancel), (charge, refund), confirm)
               saga(book.undone_by(cancel), charge.undone_by(refund), confirm)

The steps run one after the other, like a sequence. When one of them fails or is refused, or the run is cancelled, what was done before is
undone, last first, each undo getting the pair (input, output) of its step; then the failure is raised as it was. That it came to this is
recorded before the first undo begins and never reconsidered: after a crash the undoing goes on where it was, and no cancellation cuts it
short. A step in doubt, or one that waits for a person, is no failure: the saga stands still with it.

An undo is a flow like any other: it takes the gate's road, it may be retried, it may fail. One that fails keeps no other from running; the
saga then ends in OMG-R031, which lists what is undone and what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from omega.kernel.compose import AnyFlow, check_join, composite, flows_of
from omega.kernel.definition import Body, Flow
from omega.kernel.errors import DefinitionError, FlowError, OmegaError
from omega.kernel.evaluate import Driver, evaluate, has_outcome, rule
from omega.kernel.trail import Trail
from omega.kernel.types import type_of


@dataclass(frozen=True, slots=True)
class Undoable(Body):
    """A step of a saga, with what takes it back."""

    kind: ClassVar[str] = "undoable"
    inside: ClassVar[str] = "saga"
    flow: AnyFlow
    undo: AnyFlow

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return (self.flow, self.undo)


@dataclass(frozen=True, slots=True)
class Saga(Body):
    """One after the other; on failure or cancellation what was done is undone, last first."""

    kind: ClassVar[str] = "saga"
    flows: tuple[AnyFlow, ...]

    @property
    def children(self) -> tuple[AnyFlow, ...]:
        return self.flows


@dataclass(frozen=True, slots=True)
class _Done:
    """A step that gave a result, and what takes it back."""

    step: AnyFlow
    undo: AnyFlow
    pair: tuple[Any, Any]


def undoable(flow: AnyFlow, undo: AnyFlow) -> AnyFlow:
    """`flow` as a step of a saga, taken back by `undo`, which takes the pair (input, output) of `flow`.

    Raises DefinitionError: OMG-F001 where `undo` does not take that pair, OMG-F003 for a step that is taken back already.
    """
    step, back = flows_of("undone_by", (flow, undo), least=2)
    pair = type_of(tuple[step.input.annotation, step.output.annotation])  # type: ignore[name-defined]
    if not pair.fits(back.input):
        raise DefinitionError(
            "OMG-F001",
            f"undoing {step.name} hands on {pair.name} (its input and output), {back.name} takes {back.input.name}",
            details={"left": step.name, "left_at": step.where, "gives": pair.name}
            | {"right": back.name, "right_at": back.where, "takes": back.input.name},
        )
    return composite(Undoable(step, back), step.input, step.output)


def saga(*steps: AnyFlow | tuple[AnyFlow, AnyFlow]) -> AnyFlow:
    """`steps` one after the other: flows, and pairs (flow, undo), which say the same as `flow.undone_by(undo)`.

    A saga among the steps is part of this one: its steps are undone too when a later one fails. One further inside a step could not be,
    so such a step needs an undo of its own, or comes last. Raises DefinitionError: OMG-F001, OMG-F003.
    """
    parts: list[AnyFlow] = []
    for given in steps:
        step = undoable(*given) if isinstance(given, tuple) and len(given) == 2 else given
        (part,) = flows_of("saga", (step,), least=1)
        parts.extend(part.body.flows if isinstance(part.body, Saga) else (part,))
    flows_of("saga", tuple(parts), least=1)
    for left, right in pairwise(parts):
        check_join(left, right)
        if not isinstance(left.body, Undoable) and any(isinstance(each.body, Saga) for each in _parts(left)):
            raise DefinitionError(
                "OMG-F003", f"{left.name} holds a saga, which would stand when {right.name} fails", advice="give it an undo, or put it last"
            )
    return composite(Saga(tuple(parts)), parts[0].input, parts[-1].output)


def _parts(flow: Flow[Any, Any]) -> Iterator[AnyFlow]:
    yield flow
    for child in flow.children:
        yield from _parts(child)


@rule(Undoable)
async def _undoable(flow: AnyFlow, body: Undoable, value: Any, trail: Trail, driver: Driver) -> Any:
    """By itself it is its step, never cut short in the middle of a touch: the saga that undoes it has to know whether it was done."""
    whole, trail.whole = trail.whole, True
    try:
        return await evaluate(body.flow, value, trail, driver)
    finally:
        trail.whole = whole


@rule(Saga)
async def _saga(flow: AnyFlow, body: Saga, value: Any, trail: Trail, driver: Driver) -> Any:
    done: list[_Done] = []
    because: list[OmegaError] = []

    async def forward(inside: Trail) -> Any:
        """May be walked again over its records: what was done before is met again, and nothing else is undone."""
        done.clear()
        because.clear()
        result = value
        for step in body.flows:
            given = result
            try:
                result = await evaluate(step, given, inside, driver)
            except OmegaError as error:
                because.append(error)
                raise
            if isinstance(step.body, Undoable):
                done.append(_Done(step.body.flow, step.body.undo, (given, result)))
        return result

    async def backward(inside: Trail) -> None:
        await _undo(flow.name, done, because, inside, driver)

    position = trail.step(flow.name)
    return await driver.undoable(position, forward, backward, trail, trail.aside(flow.name), trail.aside(f"{flow.name}-undo"))


async def _undo(saga_name: str, done: list[_Done], because: list[OmegaError], inside: Trail, driver: Driver) -> None:
    undone: list[str] = []
    failed: list[dict[str, Any]] = []
    for each in reversed(done):
        try:
            await evaluate(each.undo, each.pair, inside, driver)
            undone.append(each.step.name)
        except OmegaError as error:
            if not has_outcome(error):
                raise
            failed.append({"step": each.step.name, "undo": each.undo.name, "error": error.record()})
    if failed:
        steps = ", ".join(entry["step"] for entry in failed)
        raise FlowError(
            "OMG-R031",
            f"{saga_name} did not work out, and these steps could not be undone: {steps}",
            details={"not_undone": failed, "undone": undone, "because": because[0].record() if because else {"cause": "cancelled"}},
        )
