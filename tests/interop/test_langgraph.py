"""Real LangGraph graphs on Omega's journal: what they keep, what it costs, what a crash leaves, who is fenced, what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph")

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from interop.graphs import growing, in_folder, in_lab, saver_of, thread
from omega import Denied, FlowError, InputError, IntegrityError, StorageError
from omega.adapters.langgraph import OmegaSaver
from omega.adapters.langgraph.serde import StrictSerializer
from omega.adapters.sqlite import SqliteReader
from omega.host.embedded import Omega
from omega.host.interop import open_langgraph_saver
from omega.kernel.journal import Kind, Status
from omega.testing import Lab

CRASHING = Path(__file__).with_name("crashing_graph.py")
FEW = 12


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.promise("INT-02")
def test_a_state_that_grows_takes_the_bytes_that_were_put_in(tmp_path: Path) -> None:
    """1 KB that nothing can compress, 400 times. LangGraph's own SQLite saver takes 200 times as much (docs/interop.md)."""
    steps = 400

    async def work(omega: Omega, saver: OmegaSaver) -> None:
        graph = growing(steps).compile(checkpointer=saver)
        await graph.ainvoke({"log": [], "steps": 0}, thread(), durability="sync")

    in_folder(tmp_path, lambda omega, saver: asyncio.sleep(0))
    empty = size_of(tmp_path)
    in_folder(tmp_path, work)
    assert (size_of(tmp_path) - empty) / (steps * 1_024) <= 3

    async def look(omega: Omega, saver: OmegaSaver) -> int:
        found = await growing(steps).compile(checkpointer=saver).aget_state(thread())
        return len(found.values["log"])

    assert in_folder(tmp_path, look) == steps


@pytest.mark.promise("INT-02")
def test_a_superstep_is_one_commit(tmp_path: Path) -> None:
    async def work(omega: Omega, saver: OmegaSaver) -> tuple[int, int]:
        graph = growing(FEW).compile(checkpointer=saver)
        await graph.ainvoke({"log": [], "steps": 0}, thread("warm"), durability="sync")
        before = omega.store.counts.commits
        await graph.ainvoke({"log": [], "steps": 0}, thread("warm"), durability="sync")
        one = omega.store.counts.commits - before
        before = omega.store.counts.commits
        await asyncio.gather(*(graph.ainvoke({"log": [], "steps": 0}, thread(f"t{n}"), durability="sync") for n in range(20)))
        return one, omega.store.counts.commits - before

    one, twenty = in_folder(tmp_path, work)
    assert one == FEW + 2, "the input, and each of the steps; one more for what was pending before"
    assert twenty < 20 * FEW, "threads that run at the same time share commits"


def test_history_and_forks_agree_with_langgraphs_own_saver() -> None:
    async def tour(saver: Any) -> list[Any]:
        graph = growing(4, make=iter("abcdefghijklmnop").__next__).compile(checkpointer=saver)
        await graph.ainvoke({"log": [], "steps": 0}, thread())
        past = [state async for state in graph.aget_state_history(thread())]
        fork = await graph.aupdate_state(past[2].config, {"log": ["other"]})
        await graph.ainvoke(None, fork)
        seen = [(state.values, state.metadata["source"], state.next) async for state in graph.aget_state_history(thread())]
        return [seen, (await graph.aget_state(past[0].config)).values, [task for state in past for task in state.next]]

    async def ours(lab: Lab, saver: OmegaSaver) -> list[Any]:
        return await tour(saver)

    assert in_lab(ours) == asyncio.run(tour(InMemorySaver()))


def test_an_interrupt_is_on_disk_at_once_and_goes_on_elsewhere(tmp_path: Path) -> None:
    class Question(TypedDict):
        answer: str

    graph = StateGraph(Question)
    graph.add_node("ask", lambda state: {"answer": interrupt("how much?")})
    graph.add_edge(START, "ask")

    async def first(omega: Omega, saver: OmegaSaver) -> Any:
        result = await graph.compile(checkpointer=saver).ainvoke({"answer": ""}, thread())
        reader = SqliteReader.open(tmp_path)  # another connection: it sees only what is on disk
        try:
            (line,) = [line for line in reader.lines() if line.flow == "langgraph.thread"]
            return result["__interrupt__"][0].value, [row.position for row in reader.rows(line.execution) if row.kind == Kind.SIGNAL]
        finally:
            reader.close()

    async def later(omega: Omega, saver: OmegaSaver) -> Any:
        return await graph.compile(checkpointer=saver).ainvoke(Command(resume="42"), thread())

    asked, stored = in_folder(tmp_path, first)
    assert asked == "how much?" and "writes" in stored
    assert in_folder(tmp_path, later) == {"answer": "42"}


@pytest.mark.slow
@pytest.mark.promise("INT-03")
def test_a_killed_graph_goes_on_where_it_was(tmp_path: Path) -> None:
    """A real process, killed with SIGKILL in its seventh step; nothing that had a checkpoint runs again."""
    witness = tmp_path / "witness"
    home = tmp_path / "home"

    def run(*, dies_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CRASHING), str(home), str(witness), str(dies_at)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join((str(CRASHING.parents[1]), os.environ.get("PYTHONPATH", "")))}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert run(dies_at=7).returncode == -signal.SIGKILL
    finished = run(dies_at=0)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == list(range(1, 11))
    ran = [int(line) for line in witness.read_text().split()]
    assert ran == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10], "only the step in flight runs twice"


@pytest.mark.promise("INT-04")
def test_a_second_writer_fences_the_first() -> None:
    async def work(lab: Lab, saver: OmegaSaver) -> None:
        graph, other = (growing(2).compile(checkpointer=each) for each in (saver, saver_of(lab)))
        await graph.ainvoke({"log": [], "steps": 0}, thread())
        await other.aupdate_state(thread(), {"log": ["theirs"]})
        late = await InMemorySaver().aput(thread(checkpoint_ns=""), empty_checkpoint(), {}, {})
        with pytest.raises(StorageError) as refused:
            await saver.aput(late, empty_checkpoint(), {}, {})
        assert refused.value.code == "OMG-S006"
        assert (await graph.aget_state(thread())).values["log"][-1] == "theirs", "and then sees what the other wrote"
        await graph.aupdate_state(thread(), {"log": ["ours"]})
        assert (await other.aget_state(thread())).values["log"][-2:] == ["theirs", "ours"]

    in_lab(work)


def test_removing_what_is_not_there_fences_nobody() -> None:
    """Housekeeping elsewhere looks at every thread; the runs whose threads lose nothing go on."""

    async def work(lab: Lab, saver: OmegaSaver) -> None:
        late = await saver.aput(thread(checkpoint_ns=""), empty_checkpoint(), {"run_id": "mine"}, {})
        await saver_of(lab).adelete_for_runs(["another"])
        await saver_of(lab).aprune(["1"])
        await saver.aput(late, empty_checkpoint(), {}, {})
        await saver_of(lab).adelete_for_runs(["mine"])
        with pytest.raises(StorageError, match="OMG-S006"):
            await saver.aput(late, empty_checkpoint(), {}, {})

    in_lab(work)


def test_a_thread_is_one_principals_or_an_owners() -> None:
    async def work(lab: Lab, saver: OmegaSaver) -> None:
        config = thread()
        await growing(1).compile(checkpointer=saver).ainvoke({"log": [], "steps": 0}, config)
        stranger = saver_of(lab, principal="agent:eve")
        with pytest.raises(Denied):
            await stranger.aget_tuple(config)
        with pytest.raises(Denied):
            await stranger.adelete_thread("1")
        await stranger.adelete_for_runs(["any"])
        assert [found async for found in stranger.alist(None)] == [], "a list leaves out what is not theirs"
        assert len([found async for found in saver.alist(None)]) == 3

    in_lab(work)


def test_a_revoked_passport_writes_nothing_more(tmp_path: Path) -> None:
    async def work(omega: Omega, saver: OmegaSaver) -> None:
        config = thread()
        graph = growing(1).compile(checkpointer=saver)
        await graph.ainvoke({"log": [], "steps": 0}, config)
        held = saver._threads._held["1"]
        await omega.revoke(held.notebook._scope.passport)  # type: ignore[attr-defined]
        with pytest.raises(Denied) as denied:
            await graph.aupdate_state(config, {"log": ["x"]})
        assert denied.value.code == "OMG-T001"

    in_folder(tmp_path, work)


@pytest.mark.promise("INT-05")
def test_only_listed_types_are_written_and_read() -> None:
    strict, listing = StrictSerializer(), StrictSerializer(allow=[Point])
    with pytest.raises(FlowError) as refused:
        strict.dumps_typed({"at": [Point(1, 2)]})
    assert refused.value.code == "OMG-R002" and "Point" in refused.value.cause
    stored = listing.dumps_typed({"at": [Point(1, 2)]})
    assert listing.loads_typed(stored) == {"at": [Point(1, 2)]}
    for form in ("pickle", "json"):
        with pytest.raises(IntegrityError):
            listing.loads_typed((form, b"{}"))
    with pytest.raises(FlowError, match="OMG-R002"):
        listing.dumps_typed({"at": object()})


@pytest.mark.promise("INT-05")
def test_a_refused_value_names_its_channel_and_leaves_the_thread_whole() -> None:
    async def work(lab: Lab, saver: OmegaSaver) -> None:
        graph = growing(2, make=iter(["a", Point(1, 2)]).__next__).compile(checkpointer=saver)
        with pytest.raises(FlowError) as refused:
            await graph.ainvoke({"log": [], "steps": 0}, thread(), durability="sync")
        assert refused.value.details["path"] == "log"
        assert (await graph.aget_state(thread())).values["log"] == ["a"]

    in_lab(work)


def test_without_an_event_loop_the_engine_runs_beside(tmp_path: Path) -> None:
    with open_langgraph_saver(tmp_path, allow=[Point]) as saver:
        graph = growing(3, make=lambda: Point(1, 2)).compile(checkpointer=saver)
        graph.invoke({"log": [], "steps": 0}, thread())
        assert [len(state.values["log"]) for state in graph.get_state_history(thread())] == [3, 2, 1, 0, 0]
        saver.copy_thread("1", "2")
        saver.prune(["2"])
        saver.delete_thread("1")
        assert graph.get_state(thread("1")).values == {}
        assert [len(state.values["log"]) for state in graph.get_state_history(thread("2"))] == [3]


def test_a_folder_in_use_is_said_where_the_saver_is_opened(tmp_path: Path) -> None:
    with open_langgraph_saver(tmp_path), pytest.raises(StorageError, match="OMG-S001"), open_langgraph_saver(tmp_path):
        pytest.fail("two engines on one folder")


def test_writing_on_the_engines_own_loop_without_await_is_refused(tmp_path: Path) -> None:
    async def work(omega: Omega, saver: OmegaSaver) -> None:
        graph = growing(1).compile(checkpointer=saver)
        assert graph.get_state(thread()).values == {}, "reading waits for nothing"
        with pytest.raises(InputError, match="OMG-R008"):
            saver.delete_thread("1")

    in_folder(tmp_path, work)


def test_a_saver_whose_engine_was_closed_says_so(tmp_path: Path) -> None:
    with open_langgraph_saver(tmp_path) as saver:
        graph = growing(1).compile(checkpointer=saver)
    with pytest.raises(StorageError, match="was closed"):
        graph.get_state(thread())
    with pytest.raises(StorageError, match="was closed"):
        asyncio.run(graph.aget_state(thread()))


def test_retention_takes_what_was_deleted_and_the_log_still_verifies() -> None:
    async def work(lab: Lab, saver: OmegaSaver) -> None:
        for name in ("1", "2"):
            await growing(2, make=lambda: "x").compile(checkpointer=saver).ainvoke({"log": [], "steps": 0}, thread(name))
        await saver.adelete_thread("1")
        (ended,) = [line.execution for line in lab.store.lines() if line.status == Status.DONE]
        assert await lab.store.compact("lab", lab.clock.now_us() + 1, 10) == 1
        assert lab.store.key(ended) is None and all(row.payload is None for row in lab.store.rows(ended))
        assert await saver.aget_tuple(thread("1")) is None and await saver.aget_tuple(thread("2")) is not None  # type: ignore[arg-type]
        assert lab.verify().sound

    in_lab(work)


def test_another_event_loop_may_use_it(tmp_path: Path) -> None:
    with open_langgraph_saver(tmp_path) as saver:
        graph = growing(3).compile(checkpointer=saver)
        asyncio.run(graph.ainvoke({"log": [], "steps": 0}, thread()))
        assert len(graph.get_state(thread()).values["log"]) == 3


def test_pruning_goes_on_in_a_new_execution_that_retention_can_tell_apart() -> None:
    async def work(lab: Lab, saver: OmegaSaver) -> None:
        graph = growing(5, make=lambda: "x").compile(checkpointer=saver)
        await graph.ainvoke({"log": [], "steps": 0}, thread())
        await saver.aprune(["1"])
        lines = [line for line in lab.store.lines() if line.flow == "langgraph.thread"]
        assert sorted(line.status for line in lines) == [Status.DONE, Status.WAITING]
        await graph.aupdate_state(thread(), {"log": ["y"]})
        assert (await graph.aget_state(thread())).values["log"] == ["x"] * 5 + ["y"]
        fresh = growing(5).compile(checkpointer=saver_of(lab))
        assert (await fresh.aget_state(thread())).values["log"] == ["x"] * 5 + ["y"]

    in_lab(work)


def test_a_thread_needs_a_name_and_writes_a_checkpoint() -> None:
    async def work(lab: Lab, saver: OmegaSaver) -> None:
        for wrong in ({"configurable": {}}, {"configurable": {"thread_id": "x" * 2_000}}):
            with pytest.raises(InputError, match="OMG-I001"):
                await saver.aget_tuple(wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="OMG-I001"):
            await saver.aput_writes({"configurable": {"thread_id": "1"}}, [("a", 1)], "task")
        with pytest.raises(InputError, match="OMG-I001"):
            await saver.aprune(["1"], strategy="some")

    in_lab(work)


def test_the_name_of_a_thread_stands_in_the_clear_nowhere(tmp_path: Path) -> None:
    secret = "ada@example.org"

    async def work(omega: Omega, saver: OmegaSaver) -> None:
        graph = growing(2, make=lambda: "a word that is kept to oneself").compile(checkpointer=saver)
        await graph.ainvoke({"log": [], "steps": 0}, thread(secret))
        assert await saver.aget_tuple(thread(secret)) is not None  # type: ignore[arg-type]

    in_folder(tmp_path, work)
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret.encode() not in stored and b"kept to oneself" not in stored


@dataclass(frozen=True)
class Point:
    """A type of an application's own."""

    x: int
    y: int
