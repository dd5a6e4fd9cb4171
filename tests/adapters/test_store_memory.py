"""What the memory store adds to the suite: crashes on purpose, and what is left after them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omega.adapters.memory import MemoryStore, Snapshot
from omega.kernel.ports import Batch, Committed
from omega.testing.conformance import NoteSequencer
from omega.testing.conformance.store import START_US, TENANT, birth, refusal, rows, run, step


class PowerCutError(Exception):
    """What a simulator raises."""


def cut_at(count: int) -> Callable[[Batch], None]:
    """A hook that lets `count` batches through and raises at the next."""
    seen: list[Batch] = []

    def on_append(batch: Batch) -> None:
        if len(seen) == count:
            raise PowerCutError
        seen.append(batch)

    return on_append


def new_store(on_append: Callable[[Batch], None] | None = None, start: Snapshot | None = None) -> MemoryStore:
    return MemoryStore(sequencer=NoteSequencer(), owner="engine-1", now_us=lambda: START_US, on_append=on_append, start=start)


async def work(store: MemoryStore) -> None:
    """Five batches: a birth, two behind, two commits."""
    await store.commit(birth("exe_1", leaves=[b"0"]))
    store.behind(step("exe_1", 1))
    store.behind(step("exe_1", 2))
    await store.commit(step("exe_1", 3, leaves=[b"3"]))
    await store.commit(step("exe_1", 4, leaves=[b"4"]))


@pytest.mark.parametrize("count", range(5))
def test_a_crash_at_each_append_leaves_what_came_before(count: int) -> None:
    store = new_store(cut_at(count))
    with pytest.raises(PowerCutError):
        run(work(store))
    after = MemoryStore.from_snapshot(store.snapshot(), sequencer=NoteSequencer(), owner="engine-2", now_us=lambda: START_US)
    assert after.rows("exe_1") == rows("exe_1", 0, count)
    assert after.leaves(TENANT) == [leaf for seq, leaf in ((0, b"0"), (3, b"3"), (4, b"4")) if seq < count]
    assert [line.owner for line in after.lines()] == [""] * bool(count)


def test_what_is_behind_is_not_durable_before_the_next_commit() -> None:
    store = new_store()
    run(store.commit(birth("exe_1")))
    store.behind(step("exe_1", 1))
    assert store.rows("exe_1") == rows("exe_1", 0)
    assert new_store(start=store.snapshot()).rows("exe_1") == rows("exe_1", 0)
    run(store.flush())
    assert store.rows("exe_1") == rows("exe_1", 0, 2)


def test_a_snapshot_is_not_changed_by_what_follows() -> None:
    store = new_store()
    run(store.commit(birth("exe_1", leaves=[b"0"])))
    snapshot = store.snapshot()
    store.post("exe_1", "cancel", {}, START_US)
    run(store.commit(step("exe_1", 1, leaves=[b"1"])))
    first, second = new_store(start=snapshot), new_store(start=snapshot)
    assert run(first.commit(step("exe_1", 1, leaves=[b"other"]))) == Committed(leaves=(1,), size=2)
    assert (len(second.rows("exe_1")), second.leaves(TENANT), second.letters()) == (1, [b"0"], [])
    assert store.leaves(TENANT) == [b"0", b"1"]


def test_commits_are_counted_as_a_disk_would() -> None:
    store = new_store()
    run(work(store))
    assert (store.counts.commits, store.counts.batches, store.counts.rows, store.counts.leaves) == (3, 5, 5, 3)


def test_a_refused_batch_never_reaches_the_crash_hook() -> None:
    seen: list[Batch] = []
    store = new_store(seen.append)
    run(store.commit(birth("exe_1")))
    with refusal("OMG-S006"):
        run(store.commit(step("exe_1", 1, epoch=9)))
    assert len(seen) == 1
