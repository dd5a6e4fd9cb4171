"""Whatever is put, forked and written, the saver gives what LangGraph's own in-memory saver gives, now and when it is reopened."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("langgraph")

from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import INTERRUPT, _DeltaSnapshot

from interop.graphs import saver_of, thread
from omega.adapters.langgraph.history import CHECKPOINT, WRITES, History
from omega.kernel.errors import IntegrityError
from omega.testing import Lab

CHANNELS = ("log", "note", "empty")
values = st.lists(st.text(max_size=60) | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=80), max_size=4)
acts = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "writes"]),
        st.integers(0, 5),  # which earlier checkpoint it goes on from
        st.sampled_from(["", "child"]),
        st.dictionaries(st.sampled_from(CHANNELS[:2]), values, max_size=2),
    ),
    max_size=12,
)


def checkpoint(number: int, state: dict[str, Any], versions: dict[str, Any]) -> Checkpoint:
    return {
        "v": 4,
        "id": f"{number:08d}-0000-6000-8000-000000000000",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": dict(state),
        "channel_versions": dict(versions),
        "versions_seen": {"node": dict(versions)},
        "updated_channels": None,
    }


async def play(saver: Any, script: Any, versions: Any) -> None:
    """The same script on any saver: states grow out of their parents', versions are given."""
    made: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = []
    for number, (act, back, space, change) in enumerate(script):
        earlier = [each for each in made if each[3] == space]
        config, state, seen, _ = earlier[-1 - back % len(earlier)] if earlier else (thread(checkpoint_ns=space), {}, {}, space)
        if act == "writes" and earlier:
            items = [(name, value) for name, value in change.items()]
            await saver.aput_writes(config, items + ([(INTERRUPT, back)] if back == 1 else []), f"task{back}", f"path{number % 3}")
            continue
        new = {name: versions[number, name] for name in (*change, "empty")}
        state = state | {name: state.get(name, []) + value for name, value in change.items()}
        seen = seen | new
        config = await saver.aput(config, checkpoint(number, state, seen), {"source": "loop", "step": number, "parents": {}}, new)
        made.append((config, state, seen, space))


async def everything(saver: Any) -> list[Any]:
    found = [each async for each in saver.alist(thread())]
    return sorted(
        (str(each.config["configurable"]), each.checkpoint, each.metadata, each.parent_config, each.pending_writes) for each in found
    )


@given(acts)
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_the_in_memory_saver(script: Any) -> None:
    async def run() -> None:
        lab, theirs = Lab(), InMemorySaver()
        ours = saver_of(lab)
        versions = {(n, name): f"{n:08d}.{n:04d}" for n in range(len(script)) for name in CHANNELS}
        await play(ours, script, versions)
        await play(theirs, script, versions)
        expected = await everything(theirs)
        assert await everything(ours) == expected
        await ours._threads.hold("1")
        assert await everything(saver_of(lab)) == expected, "folded anew from what is recorded"
        await lab.engine.close()
        assert lab.verify().sound

    asyncio.run(run())


def test_delta_channels_survive_pruning() -> None:
    """A channel that is rebuilt from writes keeps the ancestors that it is rebuilt from, and no others."""

    async def run() -> None:
        saver = saver_of(Lab())
        config: Any = thread(checkpoint_ns="")
        for number in range(6):
            values = {"log": _DeltaSnapshot(["whole"])} if number == 3 else {}
            versions = {"log": f"{number:08d}.0"}
            counters = {"counters_since_delta_snapshot": {"log": (number % 3, 0)}}
            metadata: Any = {"source": "loop", "step": number, "parents": {}, **counters}
            config = await saver.aput(config, checkpoint(number, values, versions), metadata, versions)
            await saver.aput_writes(config, [("log", f"w{number}")], "task")
        before = await saver.aget_delta_channel_history(config=config, channels=["log"])
        await saver.aprune(["1"])
        assert await saver.aget_delta_channel_history(config=config, channels=["log"]) == before
        assert [write[2] for write in before["log"]["writes"]] == ["w3", "w4"]
        assert [each.metadata["step"] async for each in saver.alist(thread())] == [5, 4, 3]

    asyncio.run(run())


def test_versions_are_ordered_and_never_the_same() -> None:
    async def run() -> None:
        saver = saver_of(Lab())
        chain = [saver.get_next_version(None, None)]
        for _ in range(200):
            chain.append(saver.get_next_version(chain[-1], None))
        assert chain == sorted(chain)
        forks = {saver.get_next_version(chain[7], None) for _ in range(200)}
        assert len(forks) == 200 and all(fork > chain[7] for fork in forks)
        assert saver.get_next_version(3, None).startswith("00000004.")  # type: ignore[arg-type]

    asyncio.run(run())


def test_a_damaged_entry_is_refused_and_one_of_a_newer_release_left_alone() -> None:
    entry = History().checkpoint("", "1", "", b"body", [])
    for sort in (CHECKPOINT, WRITES):
        with pytest.raises(IntegrityError, match="OMG-S005"):
            History.of([(sort, entry[:-3] + random.Random(1).randbytes(2))])
    assert History.of([("something new", b"\x00"), (CHECKPOINT, entry)]).find("") is not None
    whole = History.of([(CHECKPOINT, History().checkpoint("", "1", "", b"body" * 40, []))])
    with pytest.raises(IntegrityError, match="follows one that is not recorded"):
        History.of([(CHECKPOINT, whole.checkpoint("", "2", "1", b"body" * 40 + b"x", []))])
