"""pydantic-ai agents inside Omega's flows: every model request and tool call is a gated step, recorded once and never made again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.durable_exec")

from pydantic_ai import Agent, AgentStreamEvent, FunctionToolset, ModelRetry, RunContext
from pydantic_ai.capabilities import AbstractCapability, durable_operation
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior, UserError
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets._dynamic import DynamicToolset

from interop.agents import ALL, SCRIPT, clerk, office, scripted, working
from omega import Budget, Context, flow
from omega.adapters.pydantic_ai import AgentEffector, AgentOperation, OmegaDurability, durably
from omega.kernel.effects import Receipt
from omega.kernel.journal import Kind, Status
from omega.testing import Crash, Lab, run_virtual
from omega.testing.conformance import EffectorCase, EffectorConformance

CRASHING = Path(__file__).with_name("crashing_agent.py")


class Dying(AgentEffector):
    """An effector whose process dies: before its n-th operation, or when that was done and not yet recorded."""

    def __init__(self, at: int, *, done: bool) -> None:
        self.left = at
        self.done = done

    async def perform(self, permit: Any, request: Any, *, execution: str, step: str) -> Any:
        self.left -= 1
        if self.left == 0 and not self.done:
            raise Crash
        result = await super().perform(permit, request, execution=execution, step=step)
        if self.left == 0:
            raise Crash
        return result


def crashed(lab: Lab) -> Lab:
    return office(start=lab.store.snapshot(), clock=lab.clock, seed="next")


@pytest.mark.promise("INT-06")
def test_each_request_and_call_is_a_step_on_the_road() -> None:
    async def run() -> None:
        did: list[str] = []
        lab, whole = office(), working(clerk(did))
        outcome = await lab.run(whole, "look after the office")
        assert (outcome.status, outcome.value, did) == (Status.DONE, "done", ALL)
        leaves = [(leaf.kind, leaf.step) for leaf in lab.leaves() if leaf.kind == "outcome"]
        steps = ["model", "tool.look", "model#2", "tool.note", "tool.look#2", "model#3"]
        assert leaves == [("outcome", f"work/clerk:{step}") for step in steps]
        assert (await lab.replay(outcome.execution, whole)).identical and did == ALL
        assert lab.past(outcome.execution).spent.tokens == 45
        assert lab.verify().sound

    run_virtual(run())


@pytest.mark.promise("INT-06")
@pytest.mark.parametrize("at", range(1, 7))
def test_what_was_recorded_is_not_done_again(at: int) -> None:
    """The process dies before the n-th operation leaves: everything before it is recalled, nothing is lost, nothing twice."""

    async def run() -> None:
        did: list[str] = []
        lab, whole = office(Dying(at, done=False)), working(clerk(did))
        with pytest.raises(Crash):
            await lab.run(whole, "task", execution="run")
        assert did == ALL[: at - 1]
        again = crashed(lab)
        outcome = await again.resume("run", whole)
        if ALL[at - 1].startswith("note"):
            assert outcome.status == Status.IN_DOUBT, "the intent to write was on disk: only a person knows that it did not leave"
            await again.decide("run", "resolve", step="", done=False)
            outcome = await again.resume("run", whole)
        assert (outcome.status, outcome.value, did) == (Status.DONE, "done", ALL)
        assert again.verify().sound and (await again.replay("run", whole)).identical

    run_virtual(run())


@pytest.mark.promise("INT-07")
def test_a_write_whose_end_nobody_saw_is_in_doubt() -> None:
    async def run(effect: str) -> tuple[str, list[str]]:
        did: list[str] = []
        lab, whole = office(Dying(4, done=True)), working(clerk(did, note={"effect": effect}))
        with pytest.raises(Crash):
            await lab.run(whole, "task", execution="run")
        assert did == ALL[:4]
        again = crashed(lab)
        outcome = await again.resume("run", whole)
        if outcome.status == Status.IN_DOUBT:
            assert did == ALL[:4], "not done again by itself"
            result = json.loads(json.dumps({"kind": "tool_return", "result": "noted"}))
            await again.decide("run", "resolve", step="", done=True, value=result)
            outcome = await again.resume("run", whole)
        return outcome.status, did

    assert run_virtual(run("write"))[0] in (Status.DONE, Status.FAILED)
    assert run_virtual(run("idempotent")) == (Status.DONE, [*ALL[:4], *ALL[3:]])


@pytest.mark.slow
@pytest.mark.promise("INT-06")
@pytest.mark.promise("INT-07")
def test_a_killed_process_leaves_nothing_to_be_done_twice(tmp_path: Path) -> None:
    """A real process under SIGKILL in the middle of a tool; a witness outside every journal counts."""
    home, witness = tmp_path / "home", tmp_path / "witness"
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(CRASHING.parents[1]), os.environ.get("PYTHONPATH", "")))}

    def run(dies_at: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CRASHING), str(home), str(witness), dies_at]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert run("look the ledger").returncode == -signal.SIGKILL
    assert run("note all is well").returncode == -signal.SIGKILL
    stopped = run("never")
    assert json.loads(stopped.stdout)["status"] == "in doubt", stopped.stderr
    finished = run("resolve")
    assert json.loads(finished.stdout) == {"status": "done", "value": "done"}, finished.stderr
    did = witness.read_text().splitlines()
    assert did == ["model 0", "look the ledger", "look the ledger", "model 1", "note all is well", "look the door", "model 2"]


@pytest.mark.promise("INT-08")
def test_a_tool_waits_for_a_person_and_goes_on() -> None:
    async def run() -> None:
        did: list[str] = []
        lab, whole = office(), working(clerk(did, note={"effect": "write", "approval": "owner"}))
        outcome = await lab.run(whole, "task", execution="run")
        assert outcome.status == Status.WAITING and did == ALL[:3]
        await lab.decide("run", "approve", step="")
        outcome = await lab.resume("run", whole)
        assert (outcome.status, did) == (Status.DONE, ALL)

    run_virtual(run())


def test_an_agent_of_no_rights_cannot_have_a_tool_write() -> None:
    async def run() -> None:
        did: list[str] = []
        lab = office()
        outcome = await lab.run(working(clerk(did)), "task", scope=lab.scope("agent:clerk"))
        assert outcome.status == Status.FAILED and outcome.error is not None
        assert outcome.error["code"] == "OMG-W001" and "clerk/tool.note" in outcome.error["cause"]
        assert did == ALL[:3]

    run_virtual(run())


def test_a_budget_of_tokens_holds_for_an_agent() -> None:
    async def run() -> None:
        did: list[str] = []
        outcome = await office().run(working(clerk(did)), "task", budget=Budget(tokens=20))
        assert outcome.error is not None and outcome.error["code"] == "OMG-W005"
        assert did == ALL[:5], "two requests of 15 tokens each, and no third"

    run_virtual(run())


def failing(error: Exception, did: list[str]) -> FunctionModel:
    async def answer(messages: Any, info: Any) -> Any:
        did.append("asked")
        raise error

    return FunctionModel(answer, model_name="failing")


@pytest.mark.parametrize(
    "error", [ModelHTTPError(429, "failing", {"why": "busy"}), UnexpectedModelBehavior("nonsense", "body"), ValueError("odd")]
)
def test_a_failure_is_the_same_when_it_is_met_again(error: Exception) -> None:
    did: list[str] = []
    agent = clerk(did, model=failing(error, did))

    @flow
    async def work(ctx: Context, task: str) -> list[str]:
        try:
            await durably(ctx, lambda: agent.run(task))
        except Exception as met:
            seen = [type(met).__name__, str(met)]
        await ctx.signal("go on")
        return seen

    async def run() -> None:
        lab = office()
        await lab.run(work, "task", execution="run")
        await lab.decide("run", "signal", name="go on", value=None)
        outcome = await lab.resume("run", work)
        assert did == ["asked"]
        kind = "FlowError" if isinstance(error, ValueError) else type(error).__name__
        assert outcome.value[0] == kind
        assert str(error) in outcome.value[1]

    run_virtual(run())


def test_a_tool_that_asks_the_model_to_try_again_is_recorded_as_such() -> None:
    did: list[str] = []
    agent = Agent(scripted(([("pick", {"n": 1})], [("pick", {"n": 2})], "done")), name="picker", capabilities=[OmegaDurability()])

    @agent.tool_plain(metadata={"omega": {"effect": "read"}})
    async def pick(n: int) -> str:
        did.append(f"pick {n}")
        if n == 1:
            raise ModelRetry("another one")
        return "good"

    async def run() -> None:
        lab, whole = office(), working(agent)
        outcome = await lab.run(whole, "task")
        assert (outcome.value, did) == ("done", ["pick 1", "pick 2"])
        assert (await lab.replay(outcome.execution, whole)).identical

    run_virtual(run())


def test_another_model_under_a_running_execution_is_noticed() -> None:
    async def run() -> None:
        did: list[str] = []
        lab = office(Dying(2, done=False))
        with pytest.raises(Crash):
            await lab.run(working(clerk(did)), "task", execution="run")
        again = crashed(lab)
        outcome = await again.resume("run", working(clerk(did, model=scripted(SCRIPT, name="another"))))
        assert outcome.error is not None and outcome.error["code"] == "OMG-R014"

    run_virtual(run())


def test_a_handler_sees_the_events_and_is_not_told_twice() -> None:
    told: list[str] = []

    async def handler(ctx: RunContext[None], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            told.append(event.event_kind)

    async def run() -> None:
        agent = Agent(TestModel(custom_output_text="done"), name="clerk", capabilities=[OmegaDurability(event_stream_handler=handler)])

        @agent.tool_plain(metadata={"omega": {"effect": "read"}})
        async def look(what: str) -> str:
            return what

        lab, whole = office(), working(agent)
        outcome = await lab.run(whole, "task")
        assert outcome.value == "done"
        assert {"part_start", "function_tool_call", "function_tool_result"} <= set(told)
        before = len(told)
        assert (await lab.replay(outcome.execution, whole)).identical and len(told) == before

    run_virtual(run())


def test_runs_have_the_same_ids_after_a_crash() -> None:
    ids: list[tuple[str, str]] = []

    async def run() -> None:
        agent = clerk([])

        @flow
        async def work(ctx: Context, task: str) -> int:
            result = await durably(ctx, lambda: agent.run(task))
            ids.append((result.run_id, result.conversation_id))
            await ctx.signal("go on")
            return 1

        lab = office()
        await lab.run(work, "task", execution="run")
        await lab.decide("run", "signal", name="go on", value=None)
        await lab.resume("run", work)
        assert len(ids) == 2 and ids[0] == ids[1]

    run_virtual(run())


def test_agents_beside_one_another_take_their_steps_in_turn() -> None:
    async def run() -> None:
        did: list[str] = []
        one, two = clerk(did), clerk(did)

        @flow
        async def work(ctx: Context, task: str) -> list[str]:
            both = await durably(ctx, lambda: asyncio.gather(one.run(task), two.run(task)))
            return [result.output for result in both]

        lab = office()
        outcome = await lab.run(work, "task")
        assert outcome.value == ["done", "done"] and sorted(did) == sorted(ALL * 2)
        assert (await lab.replay(outcome.execution, work)).identical

    run_virtual(run())


def test_an_agent_that_a_tool_asks_is_part_of_that_tools_step() -> None:
    async def run() -> None:
        did: list[str] = []
        inner = clerk(did)
        outer = Agent(scripted(([("ask", {})], "asked")), name="chief", capabilities=[OmegaDurability()])

        @outer.tool_plain(metadata={"omega": {"effect": "idempotent"}})
        async def ask() -> str:
            return (await inner.run("task")).output

        lab, whole = office(), working(outer)
        outcome = await lab.run(whole, "task")
        assert outcome.value == "asked" and did == ALL
        steps = [row.position for row in lab.past(outcome.execution).rows if row.kind == Kind.DONE]
        assert steps == ["work/chief:model", "work/chief:tool.ask", "work/chief:model#2", "work"]

    run_virtual(run())


def test_a_time_limit_of_a_run_starts_anew_when_it_is_resumed() -> None:
    async def run() -> None:
        did: list[str] = []
        agent = clerk(did)

        @flow
        async def work(ctx: Context, task: str) -> str:
            return (await durably(ctx, lambda: agent.run(task, timeout=30))).output

        lab = office(Dying(3, done=False))
        with pytest.raises(Crash):
            await lab.run(work, "task", execution="run")
        await asyncio.sleep(3_600)  # virtual: an hour goes by before anybody resumes it
        again = crashed(lab)
        outcome = await again.resume("run", work)
        assert (outcome.status, did) == (Status.DONE, ALL)
        assert (await again.replay("run", work)).identical

    run_virtual(run())


def asked_by_stream(agent: Agent[None, str], task: str) -> Any:
    async def work() -> list[str]:
        async with agent.run_stream_events(task) as events:
            return [event.event_kind async for event in events]

    return work


def asked_by_nodes(agent: Agent[None, str], task: str) -> Any:
    async def work() -> list[str]:
        async with agent.iter(task) as run:
            return [type(node).__name__ async for node in run]

    return work


@pytest.mark.parametrize("way", [asked_by_stream, asked_by_nodes])
def test_streams_and_nodes_are_the_same_when_they_are_recalled(way: Any) -> None:
    async def run() -> None:
        agent = Agent(TestModel(custom_output_text="hello there"), name="clerk", capabilities=[OmegaDurability()])

        @flow
        async def work(ctx: Context, task: str) -> list[str]:
            return await durably(ctx, way(agent, task))

        lab = office()
        outcome = await lab.run(work, "task")
        assert len(outcome.value) > 2
        assert (await lab.replay(outcome.execution, work)).identical

    run_virtual(run())


def test_operations_of_capabilities_and_dynamic_toolsets_are_steps() -> None:
    did: list[str] = []

    class Fetching(AbstractCapability[None]):
        id = "fetching"

        @durable_operation("fetch")
        async def fetch(self, ctx: RunContext[None], number: int) -> int:
            did.append("fetch")
            return number + 1

        async def before_run(self, ctx: RunContext[None]) -> None:
            assert await self.fetch(ctx, 3) == 4

    def tools(ctx: RunContext[None]) -> FunctionToolset[None]:
        async def look(what: str) -> str:
            did.append("look")
            return what

        return FunctionToolset([look], id="inner")

    async def run() -> None:
        toolset: DynamicToolset[None] = DynamicToolset(tools, id="office")
        agent = Agent(TestModel(), name="clerk", toolsets=[toolset], capabilities=[Fetching(), OmegaDurability()])
        lab, whole = office(), working(agent)
        outcome = await lab.run(whole, "task")
        steps = [row.position.partition(":")[2] for row in lab.past(outcome.execution).rows if row.kind == Kind.DONE]
        assert steps == ["capability.fetching.fetch", "toolset.office", "model", "tool.look", "toolset.office#2", "model#2", ""]
        assert (await lab.replay(outcome.execution, whole)).identical and did == ["fetch", "look"]

    run_virtual(run())


def test_outside_a_flow_it_is_an_ordinary_agent() -> None:
    did: list[str] = []
    assert asyncio.run(clerk(did).run("task")).output == "done"
    assert did == ALL


@pytest.mark.parametrize("metadata", [False, {"effect": "pure"}, {"effect": "harmless"}, {"retries": 3}])
def test_no_tool_goes_round_the_gate(metadata: Any) -> None:
    async def run() -> None:
        did: list[str] = []
        outcome = await office().run(working(clerk(did, note=metadata)), "task")
        assert outcome.status == Status.FAILED and outcome.error is not None and "note" in outcome.error["cause"]
        assert "note all is well" not in did

    run_virtual(run())


def test_a_toolset_that_comes_with_the_run_is_refused() -> None:
    async def run() -> None:
        agent = clerk([])
        late: FunctionToolset[None] = FunctionToolset(id="late")

        @flow
        async def work(ctx: Context, task: str) -> str:
            with pytest.raises(UserError):
                await durably(ctx, lambda: agent.run(task, toolsets=[late]))
            return "refused"

        assert (await office().run(work, "task")).value == "refused"

    run_virtual(run())


class TestAgentEffector(EffectorConformance):
    @pytest.fixture
    def case(self) -> EffectorCase:
        done: list[bool] = []

        async def perform() -> tuple[Any, Receipt]:
            done.append(True)
            return "done", Receipt()

        return EffectorCase(AgentEffector(), AgentOperation(name="model", perform=perform), lambda: bool(done))
