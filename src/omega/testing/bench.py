"""What the fixture `omega_test` gives: run flows with given answers, look at what came out, decide as the people would, and go on.

Everything but the world is real: types, gate, default policies, journal, log. Steps that would touch the world get the answers they were
given; one that got none fails with OMG-R017, so a test never reaches further than its author thought. Time is virtual: a sleep of a week
takes no time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Flow, Task, Tool
from omega.kernel.effects import Effect, ToolCall
from omega.kernel.errors import InputError, OmegaError, from_record
from omega.kernel.journal import Kind, Status
from omega.kernel.past import Past, Recorded
from omega.kernel.ports import Outcome
from omega.kernel.scope import ANY
from omega.kernel.trail import Trail, shown
from omega.runtime.engine import Engine
from omega.runtime.execution import Execution
from omega.testing.effectors import Touch, unanswered
from omega.testing.lab import OWNER, SECOND, Lab
from omega.testing.virtual import LoopClock, VirtualLoop

T = TypeVar("T")

STATES: Mapping[int, str] = {Kind.DONE: "done", Kind.FAILED: "failed", Kind.DENIED: "denied"}


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One step of a run: `step` as people read it, `status` done, failed, denied, waiting or begun, `error` its code where it failed."""

    step: str
    flow: str
    effect: str
    status: str
    error: str = ""


class Result:
    """How a run ended, or where it stands."""

    def __init__(self, flow: AnyFlow, outcome: Outcome, steps: tuple[StepSeen, ...]) -> None:
        self.flow = flow
        self.outcome = outcome
        self.steps = steps

    @property
    def execution(self) -> str:
        """The id of the execution."""
        return self.outcome.execution

    @property
    def status(self) -> str:
        """`done`, `failed`, `waiting`, `in doubt` or `cancelled`."""
        return str(self.outcome.status)

    @property
    def error(self) -> OmegaError | None:
        """Why it failed or what it waits for; None for a run that is done."""
        return None if self.outcome.error is None else from_record(self.outcome.error)

    @property
    def value(self) -> Any:
        """The result, as the flow's output type. Raises what the run failed with or waits for."""
        error = self.error
        if error is not None:
            raise error
        return self.flow.output.read(self.outcome.value)

    def step(self, name: str | AnyFlow) -> StepSeen:
        """The last step of that name or flow. Raises LookupError listing those that there are."""
        wanted = name.name if isinstance(name, Flow) else name
        found = [step for step in self.steps if wanted in (step.step, step.flow)]
        if not found:
            raise LookupError(f"no step {wanted!r}; there are: {', '.join(step.step for step in self.steps) or 'none'}")
        return found[-1]

    def needs_approval(self, *, of: AnyFlow | None = None, role: str = "") -> bool:
        """Whether the run waits for a person: to approve `of`, and in the role `role`, where they are given."""
        details = (self.outcome.error or {}).get("details", {})
        waiting = (self.outcome.error or {}).get("code") == "OMG-R011"
        return waiting and (of is None or details.get("flow") == of.name) and (not role or details.get("role") == role)

    def denied(self, *, by: str = "", of: AnyFlow | None = None) -> bool:
        """Whether the gate said no: by the policy `by`, to the flow `of`, where they are given."""
        error = self.outcome.error or {}
        details = error.get("details", {})
        if error.get("family") != "denied":
            return False
        return (not by or by in details.get("policies", ())) and (of is None or details.get("flow") == of.name)

    def __repr__(self) -> str:
        return f"<{self.flow.name} {self.status}: {self.error if self.error is not None else repr(self.outcome.value)}>"


class Bench:
    """The fixture. Answers given with `answers` hold for every run after; `lab` is the world underneath, for whoever wants more."""

    def __init__(self) -> None:
        self._loop: VirtualLoop | None = None
        self._answers: dict[str, Callable[[Any], Any]] = {}
        self._policies: dict[str, str] = {}
        self._lab: Lab | None = None

    @property
    def lab(self) -> Lab:
        """The world of this test: made at its first use."""
        if self._lab is None:
            self._lab = Lab(policies=self._policies, clock=LoopClock())
            self._lab.engine = _AnsweringEngine(self._lab, self._answers)
            self._lab.world.bind = _accepted
            self._lab.effectors["mcp"].answer = self._answer_tool
        return self._lab

    def answers(self, flow: AnyFlow, value: Any) -> None:
        """Let `value` (or, for a function, what it gives for the step's input) stand in for the leaf `flow` from now on.

        A function may raise, to see what the flow does then. Raises InputError (OMG-I001) when a plain value is no output of the flow.
        """
        if flow.children:
            raise InputError("OMG-I001", f"{flow.name} is a composite: answer for the steps inside it")
        if not callable(value):
            flow.output.read(value)
        self._answers[flow.name] = value if callable(value) else lambda _: value

    def policy(self, name: str, text: str) -> None:
        """Put a Cedar policy file beside the default ones; before the first run."""
        if self._lab is not None:
            raise InputError("OMG-W003", "policies are given before the first run of a test")
        self._policies[name] = text

    def run(
        self,
        flow: AnyFlow,
        value: Any = None,
        *,
        principal: str = OWNER,
        capabilities: tuple[str, ...] = (ANY,),
        budget: Budget | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """Run `flow` to its end, or to where it waits. A refusal at the entry comes back in the result like any other failure."""
        return self._live(self._run(flow, value, principal, capabilities, budget, timeout_s))

    def approve(self, result: Result, step: str = "", *, by: str = SECOND) -> Result:
        """Approve the step that `result` waits for, and go on. Raises Denied (OMG-W007) when `by` may not."""
        return self._live(self._decided(result, "approve", by, step=step or self._named(result)))

    def answer(self, result: Result, value: Any, step: str = "", *, by: str = SECOND) -> Result:
        """Fill in the form that `result` waits for, and go on. Raises InputError (OMG-I001) when `value` (plain data) does not fit."""
        return self._live(self._decided(result, "answer", by, step=step or self._named(result), value=value))

    def signal(self, result: Result, name: str, value: Any = None, *, by: str = SECOND) -> Result:
        """Send a signal, and go on."""
        return self._live(self._decided(result, "signal", by, name=name, value=value))

    def resolve(self, result: Result, step: str = "", *, done: bool, value: Any = None, by: str = SECOND) -> Result:
        """Say what became of a step in doubt, and go on."""
        return self._live(self._decided(result, "resolve", by, step=step or self._named(result), done=done, value=value))

    def replays(self, result: Result) -> bool:
        """Whether a replay of the run is identical. It runs pure steps for real, also those that were answered."""
        return self._live(self.lab.replay(result.execution, result.flow)).identical

    # -- inside

    def _live(self, work: Coroutine[Any, Any, T]) -> T:
        """One loop for all runs of a test, so that time goes on between them."""
        if self._loop is None:
            self._loop = VirtualLoop()
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """End the loop of this test."""
        if self._loop is not None:
            self._loop.close()

    async def _run(
        self, flow: AnyFlow, value: Any, principal: str, capabilities: tuple[str, ...], budget: Budget | None, timeout_s: float | None
    ) -> Result:
        scope = self.lab.scope(principal, capabilities=capabilities)
        try:
            outcome = await self.lab.run(flow, value, scope=scope, budget=budget, timeout_s=timeout_s)
        except OmegaError as error:
            execution = str(error.details.get("execution", ""))
            outcome = Outcome(execution=execution, status=Status.FAILED, error=error.record())
        return Result(flow, outcome, self._steps(outcome.execution))

    async def _decided(self, result: Result, verb: str, by: str, **body: Any) -> Result:
        await self.lab.decide(result.execution, verb, by=by, **body)
        outcome = await self.lab.resume(result.execution, result.flow)
        return Result(result.flow, outcome, self._steps(outcome.execution))

    def _named(self, result: Result) -> str:
        return str((result.outcome.error or {}).get("details", {}).get("step", ""))

    def _steps(self, execution: str) -> tuple[StepSeen, ...]:
        past = Past(self.lab.store.rows(execution))
        return tuple(_seen(recorded) for recorded in past.at.values() if recorded.meta.step is not None)

    def _answer_tool(self, touch: Touch) -> Any:
        request = touch.request
        answer = self._answers.get(f"{request.server}/{request.tool}") if isinstance(request, ToolCall) else None
        return unanswered(touch) if answer is None or not isinstance(request, ToolCall) else answer(dict(request.arguments))


def _seen(recorded: Recorded) -> StepSeen:
    meta, row = recorded.meta.step, recorded.meta.row
    assert meta is not None
    waiting = recorded.waiting is not None and recorded.settled is None and recorded.intent is None
    status = "waiting" if waiting else STATES.get(row.kind, "begun")
    return StepSeen(shown(recorded.position), meta.flow, meta.effect, status, meta.error["code"] if meta.error else "")


def _accepted(leaf: AnyFlow) -> AnyFlow:
    """A tool leaf as if an operator had accepted its description, with the effect that its author declared."""
    body = leaf.body
    if not isinstance(body, Tool) or body.pin:
        return leaf
    return replace(leaf, body=replace(body, pin="accepted in a test"), effect=Effect(body.declared or "write"), _digest=[])


@dataclass(frozen=True, slots=True)
class _Answered(Task):
    """A task whose function is an answer, under the name, the place and the code of the one it stands in for."""

    original: Task

    @property
    def code(self) -> str:
        return self.original.code


class _AnsweringEngine(Engine):
    """The engine, whose executions ask for an answer before they run a leaf of Python."""

    def __init__(self, lab: Lab, answers: Mapping[str, Callable[[Any], Any]]) -> None:
        super().__init__(lab.world, executes=_Answering)
        self._given = answers

    def _execution(self, *about: Any, **facts: Any) -> Execution:
        run = super()._execution(*about, **facts)
        assert isinstance(run, _Answering)
        run.given = self._given
        return run


class _Answering(Execution):
    given: Mapping[str, Callable[[Any], Any]]

    async def leaf(self, flow: AnyFlow, value: Any, trail: Trail, ctx: Context | None = None) -> Any:
        """The leaf, with its function replaced where an answer was given. Name, effect, needs and approvals stay, so the gate is asked
        the same."""
        answer = self.given.get(flow.name)
        if answer is not None and isinstance(flow.body, Task):
            flow = replace(flow, body=_Answered(_as_function(answer), False, True, "", flow.where, flow.body))
        return await super().leaf(flow, value, trail, ctx)


def _as_function(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def function(value: Any) -> Any:
        result = answer(value)
        return await result if inspect.isawaitable(result) else result

    return function
