"""The gate in the runtime's hands: no policy, no passport, a policy that errs, no permit: nothing happens, it is recorded, and it is
explained."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import omega.adapters
from omega import Budget, Command, Context, Denied, ModelCall, ReadFile, ToolCall, WriteFiles, flow
from omega.adapters.a2a.effector import AskPeer, PeerEffector
from omega.adapters.alerts import AlertEffector
from omega.adapters.files import FileEffector
from omega.adapters.mcp import McpEffector
from omega.adapters.models import ModelEffector
from omega.adapters.process import ProcessEffector
from omega.adapters.pydantic_ai import AgentEffector, AgentOperation
from omega.adapters.ray import RayEffector, Spread
from omega.adapters.records import RecordsEffector
from omega.adapters.webhooks import Deliver, WebhookEffector
from omega.kernel.effects import ListExecutions, Notify, Request
from omega.kernel.ports import Call, Effector
from omega.kernel.verdict import Permit, mint_permit
from omega.runtime.road import EngineRoad
from omega.testing import run_virtual
from omega.warden.admit import Warden
from runtime.flows import code, double, lab, look, save, touched

READS_ERR = """
@id("broken-rule")
@reason("this rule always fails to evaluate")
forbid (principal, action == Action::"read", resource) when { context.tokens - 9223372036854775807 - 2 > 0 };
"""

NO_READS = """
@id("no-reads")
@reason("nobody reads here; {flow} is {effect}")
@ask("ask the owner of this file")
forbid (principal, action == Action::"read", resource);
"""


@pytest.mark.promise("GATE-01")
@pytest.mark.promise("GATE-06")
def test_a_denial_stops_the_step_is_recorded_and_teaches() -> None:
    async def run() -> None:
        world = lab(policies={"mine.cedar": NO_READS})
        refused = await world.run(double | look | save, 1, execution="run")
        assert refused.status == "failed" and code(refused) == "OMG-W001"
        assert touched(world, "process") == [] and touched(world) == []
        details = (refused.error or {})["details"]
        assert details["policies"] == ["no-reads"] and details["where"] == "mine.cedar:2"
        assert details["reason"] == "nobody reads here; look is read" and details["how"] == "ask the owner of this file"
        denials = [leaf for leaf in world.leaves() if leaf.kind == "deny"]
        assert [(leaf.step, leaf.code, leaf.policies, leaf.decision) for leaf in denials] == [("look", "OMG-W001", ("no-reads",), "deny")]
        assert world.past("run").at["look"].denied is not None and world.verify().sound
        assert (await world.replay("run", double | look | save)).identical

    run_virtual(run())


@pytest.mark.promise("GATE-01")
def test_without_policies_nothing_runs_and_the_refusal_is_in_the_log() -> None:
    async def run() -> None:
        for warden in (Warden(None), None):
            world = lab(warden=warden, default_policies=False) if warden is None else lab(warden=warden)
            with pytest.raises(Denied) as refused:
                await world.run(look, 1, execution="run")
            assert refused.value.code == "OMG-W001"
            assert world.store.line("run").status == "failed" and touched(world, "process") == []
            assert [leaf.kind for leaf in world.leaves()] == ["deny"] and world.verify().sound

    run_virtual(run())


@pytest.mark.promise("GATE-02")
def test_a_policy_that_errs_denies_and_is_named() -> None:
    async def run() -> None:
        world = lab(policies={"mine.cedar": READS_ERR})
        refused = await world.run(look, 1)
        assert code(refused) == "OMG-W002" and touched(world, "process") == []
        assert (refused.error or {})["details"]["policies"][0] == "broken-rule"
        assert world.leaves()[-2].code == "OMG-W002"

    run_virtual(run())


def test_without_a_passport_that_is_accepted_nothing_begins() -> None:
    async def run() -> None:
        world = lab()
        other = lab(seed="other")
        road = EngineRoad(world.engine)
        good = world.passport()
        head, body, seal = good.split(".")
        for bad in ("", "rubbish", f"{head}.{body}.", f"{head}.{body[:-2]}AA.{seal}", good[:-4] + "AAAA"):
            refused = await road.call(Call(passport=bad, flow=double, input=1))
            assert code(refused) == "OMG-T001" and refused.status == "failed"
        assert world.store.lines() == [] and other.store.lines() == []
        assert (await road.call(Call(passport=good, flow=double, input=1))).value == 2
        world.clock.jump(30 * 24 * 3600)
        assert code(await road.call(Call(passport=good, flow=double, input=1))) == "OMG-T001"

    run_virtual(run())


@pytest.mark.promise("GATE-08")
def test_a_caller_without_the_right_is_told_which_one() -> None:
    async def run() -> None:
        world = lab()
        with pytest.raises(Denied) as refused:
            await world.run(look, 1, scope=world.scope("agent:reviewer", capabilities=("flows:run",)))
        assert refused.value.code == "OMG-W008" and refused.value.details["missing"] == ["process:run"]

    run_virtual(run())


def test_rights_and_budgets_that_were_narrowed_hold_below() -> None:
    @flow
    async def isolated(ctx: Context, n: int) -> int:
        return int(await ctx.isolate().call(look, n))

    @flow
    async def poor(ctx: Context, n: int) -> int:
        return int(await ctx.spawn(budget=Budget(calls=0)).call(look, n))

    @flow
    async def narrowed_branches(ctx: Context, n: int) -> int:
        return int((await ctx.isolate().parallel((look, n)))[0])

    @flow
    async def fine(ctx: Context, n: int) -> int:
        return int(await ctx.spawn(capabilities=["process:run"]).call(look, n))

    async def run() -> None:
        for whole, wanted in ((isolated, "OMG-W008"), (poor, "OMG-W005"), (narrowed_branches, "OMG-W008"), (fine, "")):
            world = lab()
            assert code(await world.run(whole, 1)) == wanted
            assert len(touched(world, "process")) == (not wanted)

    run_virtual(run())


def test_a_flow_reaches_only_what_it_declared() -> None:
    @flow(effect="read", needs="process:run")
    async def reads_files(ctx: Context, n: int) -> Any:
        return await ctx.touch(ReadFile(path="/etc/hostname"))

    @flow(effect="read", needs=("files:read", "files:write"))
    async def writes_while_reading(ctx: Context, n: int) -> Any:
        return await ctx.touch(WriteFiles(files={"a": b""}))

    @flow(effect="read", needs="tools:call")
    async def calls_a_tool(ctx: Context, n: int) -> Any:
        return await ctx.touch(ToolCall(server="git", tool="git_log", arguments={}))

    async def run() -> None:
        for sly, wanted in ((reads_files, "OMG-W008"), (writes_while_reading, "OMG-W006"), (calls_a_tool, "OMG-W006")):
            world = lab()
            assert code(await world.run(sly, 1)) == wanted
            assert not any(effector.touches for effector in world.effectors.values())

    run_virtual(run())


# -- no effect without a permit

WATCHED = ("open", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.rename", "os.remove", "os.mkdir", "socket.", "sqlite3.connect")


class Watch:
    """Notes whatever Python itself reports of the outside while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event.startswith(WATCHED):
            self.seen.append(f"{event} {arguments!r:.80}")


WATCH = Watch()
sys.addaudithook(WATCH)


class Readerless:
    """A reader that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        WATCH.seen.append(f"reader.{name}")
        raise AssertionError(name)


def cases(folder: Path) -> list[tuple[Effector, Request]]:
    def launch(*_: Any, **__: Any) -> Any:
        WATCH.seen.append("launch")
        raise AssertionError("launched")

    def pin(server: str, tool: str) -> Any:
        return None

    return [
        (ProcessEffector(), Command(argv=("/bin/true",))),
        (FileEffector(), WriteFiles(files={str(folder / "written"): b"x"})),
        (FileEffector(), ReadFile(path="/etc/hostname")),
        (McpEffector(lambda name: None, pin, launch), ToolCall(server="git", tool="git_log", arguments={})),
        (ModelEffector({"OMEGA_MODEL_URL": "http://127.0.0.1:9/v1", "OMEGA_MODEL": "m"}), ModelCall(instructions="", prompt="")),
        (AlertEffector(lambda tenant, name: launch()), Notify(channel="ops", severity="page", title="t", text="t")),
        (WebhookEffector(lambda tenant, name: launch(), lambda: 0), Deliver(hook="h", id="1", document={})),
        (PeerEffector(lambda tenant, name: launch()), AskPeer(agent="cook", text="soup")),
        (RecordsEffector(Readerless()), ListExecutions()),  # type: ignore[arg-type]
        (AgentEffector(), AgentOperation(name="model", perform=launch)),
        (RayEffector(), Spread(at="m:f", digest="", codes="", items=[b"1"])),
    ]


def effector_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(omega.adapters.__path__, "omega.adapters."):
        if module.name.split(".")[2] in ("postgres", "sql"):
            continue  # stores, some of which need a driver that is not installed here
        for name, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ != module.name or issubclass(found, Request):
                continue
            if hasattr(found, "perform") and hasattr(found, "port") and not name.startswith("_"):
                yield found


def bad_permits(port: str) -> dict[str, Any]:
    now = [0.0]
    facts: dict[str, Any] = {"tenant": "t", "execution": "e", "step": "s", "epoch": 1, "commitment": b"\0" * 32, "clock": lambda: now[0]}
    spent = mint_permit(port=port, ttl_s=30.0, **facts)
    spent.spend(port)
    late = mint_permit(port=port, ttl_s=30.0, **facts)
    hollow = object.__new__(Permit)
    now[0] = 31.0
    return {
        "missing": None,
        "a look-alike": type("Permit", (), {"port": port, "step": "s", "execution": "e"})(),
        "hollow": hollow,
        "spent": spent,
        "for another port": mint_permit(port="elsewhere", ttl_s=30.0, **facts),
        "expired": late,
    }


async def _refused(effector: Effector, request: Request, permit: Any) -> None:
    WATCH.seen.clear()
    WATCH.on = True
    try:
        with pytest.raises((Denied, AttributeError, TypeError)):
            await effector.perform(permit, request, execution="e", step="s")
    finally:
        WATCH.on = False
    assert WATCH.seen == [], WATCH.seen


@pytest.mark.promise("GATE-03")
def test_no_effector_moves_without_a_good_permit(tmp_path: Path) -> None:
    made = cases(tmp_path)
    assert {type(effector) for effector, _ in made} == set(effector_classes()), "an effector is not in this test"

    async def run() -> None:
        for effector, request in made:
            for permit in bad_permits(request.port).values():
                await _refused(effector, request, permit)

    run_virtual(run())
    assert os.listdir(tmp_path) == []


def test_the_watch_of_that_test_sees_what_a_good_permit_does(tmp_path: Path) -> None:
    async def run() -> None:
        permit = mint_permit(tenant="t", execution="e", step="s", epoch=1, port="files", commitment=b"", ttl_s=30.0, clock=lambda: 0.0)
        WATCH.seen.clear()
        WATCH.on = True
        await FileEffector().perform(permit, WriteFiles(files={str(tmp_path / "written"): b"x"}), execution="e", step="s")
        WATCH.on = False
        assert any(event.startswith("open") for event in WATCH.seen)

    import asyncio

    asyncio.run(run())


WAYS: list[Callable[[Context], Any]] = [
    lambda ctx: ctx.touch(Command(argv=("look", "1"))),
    lambda ctx: ctx.spawn(capabilities=["*"]).touch(Command(argv=("look", "1"))),
    lambda ctx: ctx._operations._execution.world.effectors["process"].perform(None, Command(argv=("look", "1")), execution="e", step="s"),
    lambda ctx: ctx._operations._execution.world.effectors["process"].perform(
        Permit(object(), tenant="t", execution="e", step="s", epoch=1, port="process", commitment=b"", ttl_s=9.0, clock=lambda: 0.0),
        Command(argv=("look", "1")),
        execution="e",
        step="s",
    ),
]


@pytest.mark.promise("GATE-15")
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_no_pure_step_reaches_the_world_whatever_it_tries(way: int) -> None:
    @flow
    async def tries(ctx: Context, n: int) -> int:
        return int(await WAYS[way](ctx))

    async def run() -> None:
        world = lab()
        assert (await world.run(tries, 1)).status == "failed" and touched(world, "process") == []

    run_virtual(run())
