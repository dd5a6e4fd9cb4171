"""The roster of agents and their teams, in a real engine, with a provider that says what each test's own function makes of a question."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.contracts.events import AgentCompleted, Interest, ModelLoaded
from omega.features.agents.model import Card, Done
from omega.features.agents.teams import agreed, willing
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.host.events import Feed
from omega.host.identity import Caller
from omega.kernel.context import Context
from omega.kernel.flow import flow
from omega.kernel.journal import Status
from omega.kernel.ports import Outcome
from omega.kernel.roster import KeepAgent, chosen_version, health, is_task_relevant, relevance, reputation
from servers.provider import Upstream, provider

CARDS = {
    "billing": ["refunds", "invoices"],
    "network": ["router outage", "slow wifi"],
    "legal": ["contracts"],
}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with provider() as running:
        yield running


async def call(omega: Omega, method: str, value: Any = None, **options: Any) -> Outcome:
    return await omega.run(find_method(method)[0], value, **options)


async def must(omega: Omega, method: str, value: Any = None) -> Any:
    outcome = await call(omega, method, value)
    assert outcome.error is None, outcome.error
    return outcome.value


def card(name: str, version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {"name": name, "version": version, "instructions": f"you are {name} {version}", **more}


def run(home: Path, upstream: Upstream, work: Callable[[Omega], Awaitable[Any]]) -> Any:
    """Do `work` in an engine with three agents."""

    async def main() -> Any:
        async with Omega.open(home) as omega:
            await must(omega, "models.keep", {"kind": "provider", "name": "up", "body": {"url": upstream.url}})
            await must(omega, "models.keep", {"kind": "model", "name": "default", "body": {"provider": "up", "model": "scripted"}})
            for name, capabilities in CARDS.items():
                await must(omega, "agents.register", card(name, capabilities=capabilities))
            return await work(omega)

    return asyncio.run(main())


def who(text: str) -> str:
    """Which agent is asked: the first words of its instructions."""
    return text.split("you are ", 1)[1].split(" ", 1)[0] if "you are " in text else ""


@pytest.mark.promise("AGENT-01")
def test_an_agent_of_the_roster_works_and_its_outcome_is_noted_once(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer = lambda text: f"done by {who(text)}"

    async def work(omega: Omega) -> tuple[Any, Any, bool]:
        outcome = await call(omega, "agents.run", {"agent": "billing", "task": "a refund"})
        report = await omega.replay(outcome.execution, find_method("agents.run")[0])
        return outcome.value, await must(omega, "agents.list", {}), report.identical

    done, listed, identical = run(tmp_path, upstream, work)
    assert done == {"agent": "billing", "version": "1.0.0", "answer": "done by billing"}
    assert (listed[0]["name"], listed[0]["versions"][0]["health"], listed[0]["versions"][0]["outcomes"]) == ("billing", "healthy", 1)
    assert identical


@pytest.mark.promise("AGENT-01")
def test_failed_work_counts_against_an_agent(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[Any, Any]:
        upstream.kill()
        failed = await call(omega, "agents.run", {"agent": "legal", "task": "a contract"})
        return failed.error, (await must(omega, "agents.list", {}))[1]

    error, entry = run(tmp_path, upstream, work)
    assert (error["code"], entry["name"], entry["versions"][0]["health"]) == ("OMG-M008", "legal", "failing")


@pytest.mark.promise("AGENT-02")
def test_a_version_never_changes_and_a_canary_gets_its_share(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer = lambda text: text.split("you are billing ", 1)[1][:5]

    async def work(omega: Omega) -> tuple[Any, set[str], str, str]:
        changed = await call(omega, "agents.register", card("billing", capabilities=["everything"]))
        await must(omega, "agents.register", card("billing", "2.0.0"))
        before = {(await must(omega, "agents.run", {"agent": "billing", "task": "x"}))["version"] for _ in range(3)}
        await must(omega, "agents.canary", {"name": "billing", "version": "2.0.0", "share": 1.0})
        tried = (await must(omega, "agents.run", {"agent": "billing", "task": "x"}))["answer"]
        await must(omega, "agents.roll_back", {"name": "billing"})
        back = (await must(omega, "agents.run", {"agent": "billing", "task": "x"}))["answer"]
        await must(omega, "agents.canary", {"name": "billing", "version": "2.0.0", "share": 0.5})
        await must(omega, "agents.promote", {"name": "billing"})
        assert (await must(omega, "agents.run", {"agent": "billing", "task": "x"}))["answer"] == "2.0.0"
        return changed.error, before, tried, back

    changed, before, tried, back = run(tmp_path, upstream, work)
    assert (changed["code"], before, tried, back) == ("OMG-I001", {"1.0.0"}, "2.0.0", "1.0.0")


@pytest.mark.promise("AGENT-03")
def test_agents_take_tasks_that_are_theirs_and_the_swarm_agrees(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer = lambda text: "restart it" if who(text) in ("network", "billing") else "sue them"

    async def work(omega: Omega) -> tuple[Any, Any, Any]:
        mine = await must(omega, "agents.relevant", {"task": "our invoice shows two refunds, what now?"})
        joint = await must(omega, "agents.swarm", {"task": "refunds, contracts and the router outage", "least": 0.1})
        nobody = await call(omega, "agents.swarm", {"task": "bake a cake"})
        return mine, joint, nobody.error

    mine, joint, nobody = run(tmp_path, upstream, work)
    assert [each["agent"] for each in mine] == ["billing"]
    assert (joint["answer"], len(joint["said"]), nobody["code"]) == ("restart it", 3, "OMG-I001")


@pytest.mark.promise("AGENT-04")
def test_a_coordinator_splits_and_puts_together(tmp_path: Path, upstream: Upstream) -> None:
    def answer(text: str) -> str:
        if "Split the task" in text:
            return json.dumps({"answer": [{"agent": "billing", "task": "refund it"}, {"agent": "legal", "task": "check it"}]})
        return "both done" if "Put what they say together" in text else f"part of {who(text)}"

    upstream.answer = answer

    async def work(omega: Omega) -> tuple[Any, bool]:
        outcome = await call(omega, "agents.coordinate", {"task": "settle it", "agents": ["billing", "legal"]})
        assert outcome.error is None, outcome.error
        return outcome.value, (await omega.replay(outcome.execution, find_method("agents.coordinate")[0])).identical

    joint, identical = run(tmp_path, upstream, work)
    assert (joint["answer"], [each["answer"] for each in joint["said"]]) == ("both done", ["part of billing", "part of legal"])
    assert identical


@pytest.mark.promise("AGENT-04")
def test_a_coordinator_cannot_send_work_outside_its_team(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer = lambda text: json.dumps({"answer": [{"agent": "legal", "task": "x"}]})

    async def work(omega: Omega) -> Any:
        return (await call(omega, "agents.coordinate", {"task": "settle it", "agents": ["billing"]})).error

    assert run(tmp_path, upstream, work)["code"] == "OMG-I001"
    assert len(upstream.seen) == 1


@pytest.mark.promise("AGENT-04")
def test_a_supervisor_calls_agents_as_tools(tmp_path: Path, upstream: Upstream) -> None:
    def answer(text: str) -> str:
        if "you are " in text and "Have the task done" not in text:
            return f"{who(text)} says yes"
        return json.dumps({"answer": "yes"} if "billing returned" in text else {"call": "billing", "input": "may we?"})

    upstream.answer = answer

    async def work(omega: Omega) -> Any:
        return await must(omega, "agents.supervise", {"task": "may we refund?", "agents": ["billing", "legal"]})

    assert run(tmp_path, upstream, work)["answer"] == "yes"
    assert len(upstream.seen) == 3


@pytest.mark.promise("AGENT-04")
def test_debaters_read_each_other_before_the_judge_decides(tmp_path: Path, upstream: Upstream) -> None:
    def answer(text: str) -> str:
        if "Decide it on the strength" in text:
            return "blue"
        return "blue" if "said so far" in text else f"{who(text)} thinks red"

    upstream.answer = answer

    async def work(omega: Omega) -> Any:
        return await must(omega, "agents.debate", {"task": "which colour?", "agents": ["billing", "legal"], "rounds": 2})

    joint = run(tmp_path, upstream, work)
    assert (joint["answer"], [each["answer"] for each in joint["said"]]) == ("blue", ["blue", "blue"])
    assert "billing thinks red" in json.dumps(upstream.bodies()[2])


@pytest.mark.promise("AGENT-05")
def test_limits_of_a_card_bind_and_strangers_see_no_roster(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[Any, Any, Any, Any]:
        await must(omega, "agents.register", card("thrifty", limits={"tokens": 10}, max_input=20))
        poor = await call(omega, "agents.run", {"agent": "thrifty", "task": "x"})
        long = await call(omega, "agents.run", {"agent": "thrifty", "task": "x" * 21})
        stranger = await call(omega, "agents.list", {}, principal="agent:x")
        granted = await call(omega, "agents.list", {}, principal=Caller("agent:x", grants=("agents:use",)))
        return poor.error, long.error, stranger.error, granted.error

    poor, long, stranger, granted = run(tmp_path, upstream, work)
    assert (poor["code"], long["code"], stranger["code"], granted) == ("OMG-W005", "OMG-I001", "OMG-W008", None)
    assert not upstream.seen


# The pure parts


@given(st.lists(st.booleans(), max_size=60))
@settings(deadline=None, max_examples=80)
def test_reputation_is_a_cautious_share(outcomes: list[bool]) -> None:
    score = reputation(outcomes)
    assert 0 <= score <= (sum(outcomes) / len(outcomes) if outcomes else 0)
    assert reputation([*outcomes, True]) >= score or not any(outcomes)


def test_health_tells_of_the_latest_work() -> None:
    assert [health([]), health([False] * 5), health([False] * 5 + [True]), health([False] + [True] * 5)] == [
        "unknown", "failing", "shaky", "healthy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("capabilities", "task", "expected"),
    [(["refunds"], "I want a refund", True), (["router outage"], "the router hums", False), ([], "anything", False), (["!"], "!", False)],
)
def test_relevance_goes_by_words(capabilities: list[str], task: str, expected: bool) -> None:
    assert is_task_relevant({"capabilities": capabilities}, task) is expected
    assert 0 <= relevance({"capabilities": capabilities}, task) <= 1


def test_the_canary_gets_what_is_drawn_below_its_share() -> None:
    release = {"stable": "1", "canary": "2", "share": 0.25}
    assert [chosen_version(release, draw) for draw in (0.0, 0.24, 0.25, 0.99)] == ["2", "2", "1", "1"]
    assert chosen_version({"stable": "1", "canary": "", "share": 1.0}, 0.0) == "1"


def test_without_a_majority_the_best_reputation_counts() -> None:
    said = [Done(agent=name, version="1", answer=name) for name in ("a", "b")]
    assert agreed(said, {"a": 0.1, "b": 0.9}) == "b"
    assert willing({}, "x", 0.1) == []


# Memory and events


@pytest.mark.promise("AGENT-06")
def test_an_agent_with_memory_goes_on_with_a_conversation(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer = lambda text: "you are Ada" if '[{"task": "my name is Ada"}' in text else "hello"

    async def work(omega: Omega) -> tuple[Any, ...]:
        await must(omega, "agents.register", card("desk", memory={"turns": 4, "notes": 1}))
        await must(omega, "memory.remember", {"agent": "desk", "text": "names are written with a capital", "shared": True})
        first = await must(omega, "agents.run", {"agent": "desk", "task": "my name is Ada", "conversation": "c"})
        second = await call(omega, "agents.run", {"agent": "desk", "task": "what is my name, how are names written?", "conversation": "c"})
        other = await must(omega, "agents.run", {"agent": "desk", "task": "what is my name?", "conversation": "d"})
        forgetful = await call(omega, "agents.run", {"agent": "legal", "task": "x", "conversation": "c"})
        report = await omega.replay(second.execution, find_method("agents.run")[0])
        return first["answer"], second.value["answer"], other["answer"], forgetful.error["code"], report.identical

    assert run(tmp_path, upstream, work) == ("hello", "you are Ada", "hello", "OMG-I001", True)
    asked = json.dumps(upstream.bodies()[1])
    assert "names are written with a capital" in asked
    assert "what you remember: material" in asked


@pytest.mark.promise("AGENT-08")
def test_work_that_is_done_and_a_model_that_is_kept_are_told(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[Any, ...]:
        await must(omega, "agents.run", {"agent": "legal", "task": "x"})
        grants = ("agents:use", "memory:use")
        quiet = await call(omega, "agents.run", {"agent": "legal", "task": "x"}, principal=Caller("agent:x", grants=grants))
        told = Feed(omega.store, omega.identity.keyring).read("local", interest=Interest(types=("agent:*", "model:*")))
        return quiet.error, [event.fact() for event in told.events]

    upstream.answer = lambda _: "done"
    error, facts = run(tmp_path, upstream, work)
    assert error is None, "who may not publish has the work done all the same"
    loaded, completed = facts
    assert loaded == ModelLoaded(model="default", provider="up")
    assert isinstance(completed, AgentCompleted)
    assert (completed.agent, completed.principal.partition(":")[0]) == ("legal", "person")


@pytest.mark.promise("AGENT-09")
def test_who_waits_for_an_agent_elsewhere_waits_across_a_restart_and_asks_once(tmp_path: Path) -> None:
    run_flow = find_method("agents.run")[0]

    def asked(omega: Omega) -> list[Any]:
        page = Feed(omega.store, omega.identity.keyring).read("local", interest=Interest(types=("agent:asked",)))
        return [event.fact() for event in page.events]

    async def main() -> None:
        async with Omega.open(tmp_path) as omega:
            await must(omega, "agents.register", card("far", own_host=True, output={"type": "object", "required": ["n"]}))
            waiting = await call(omega, "agents.run", {"agent": "far", "task": "count"}, execution="one")
            assert waiting.status == Status.WAITING, waiting.error
        async with Omega.open(tmp_path) as omega:
            (errand,) = asked(omega)
            assert (errand.agent, json.loads(errand.task), errand.execution) == ("far", "count", "one")
            await omega.decide("one", "signal", {"name": errand.signal, "value": {"answer": {"n": 3}}})
            done = await omega.resume("one", run_flow)
            assert done.value == {"agent": "far", "version": "1.0.0", "answer": {"n": 3}}
            assert (await omega.replay("one", run_flow)).identical
            assert len(asked(omega)) == 1

    asyncio.run(main())


@pytest.mark.promise("AGENT-06")
def test_what_an_agent_remembers_is_never_told_to_everybody_as_a_task_for_one_elsewhere(tmp_path: Path) -> None:
    async def main() -> Any:
        async with Omega.open(tmp_path) as omega:
            refused = await call(omega, "agents.register", card("far", own_host=True, memory={}))
            kept = card("far", own_host=True, memory={})  # by an earlier life of the roster
            body = Card.model_validate(kept).model_dump(mode="json")
            await omega.run(keep_card, body)
            return refused.error, (await call(omega, "agents.run", {"agent": "far", "task": "count"})).error

    registering, working = asyncio.run(main())
    assert (registering["code"], working["code"]) == ("OMG-I001", "OMG-I001")
    assert "own_host and memory" in registering["cause"]
    assert "leave memory out" in registering["advice"]
    assert "own_host and memory" in working["cause"]


@flow(effect="idempotent", needs="agents:use")
async def keep_card(ctx: Context, body: dict[str, Any]) -> None:
    await ctx.touch(KeepAgent(name=body["name"], card=body))


def test_a_leader_has_no_agent_elsewhere_as_a_tool(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> Any:
        await must(omega, "agents.register", card("far", own_host=True))
        return (await call(omega, "agents.supervise", {"task": "x", "agents": ["billing", "far"]})).error

    assert "far works at a host of its own" in run(tmp_path, upstream, work)["cause"]
    assert not upstream.seen
