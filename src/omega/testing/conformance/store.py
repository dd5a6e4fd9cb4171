"""The suite for `kernel.ports.Store` and `Reader`, with the inbox and the documents that come with them.

Batches, fences, leases, logs and letters are here; queues, forks, retention and searches in the suites that this one includes.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def open_store(self, tmp_path): return lambda **given: MyStore.open(tmp_path, **given)

        @pytest.fixture
        def open_reader(self, tmp_path): return lambda: MyReader.open(tmp_path)

`open_store(owner=, sequencer=, now_us=)` opens the same data each time within one test; the suite closes a store before it opens the next.
`open_reader()` reads that data independently of the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega.kernel.errors import Fault, FlowError, InputError, StorageError
from omega.kernel.journal import MAX_PAYLOAD, Kind, Row
from omega.kernel.ports import Batch, Committed, Head, Reader, Sequencer
from omega.testing.conformance.batches import (
    LEASE_US,
    START_US,
    TENANT,
    FullStore,
    NoteSequencer,
    StoreFixtures,
    birth,
    note_over,
    refusal,
    rows,
    run,
    step,
    together,
)
from omega.testing.conformance.queueing import QueueSuite
from omega.testing.conformance.retention import RetentionSuite

Move: TypeAlias = tuple[str, int, int, bytes | None]
"""(what, which execution, how many leaves, payload)."""

_MOVES = st.tuples(
    st.sampled_from(["commit", "commit", "behind", "stale", "again", "claim"]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from([None, b"small", b"large" * 20_000]),
)

_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
"""One store serves all examples, each with executions and a tenant of its own; each subclass runs the property on its own store."""


class StoreConformance(QueueSuite, RetentionSuite, StoreFixtures):
    """What every store promises. Subclass it; see the module's text for the two fixtures."""

    # One batch

    def test_a_new_execution_reads_back_as_written(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        run(store.commit(birth("exe_1")))
        reader = open_reader()
        line = reader.line("exe_1")
        assert line is not None
        assert (line.flow, line.version, line.principal, line.target) == ("review", "1.0.0", "person:ada", "review.py")
        assert (line.tenant, line.status, line.epoch, line.owner) == (TENANT, "running", 1, "engine-1")
        assert (line.started_us, line.updated_us) == (START_US, START_US)
        assert line.lease_us > START_US
        assert reader.rows("exe_1") == rows("exe_1", 0)
        assert reader.key("exe_1") == b"wrapped exe_1"

    def test_what_is_not_there_reads_as_nothing(self, store: FullStore) -> None:
        assert store.line("exe_none") is None
        assert store.key("exe_none") is None
        assert store.rows("exe_none") == []
        assert store.leaves("ten_none") == []
        assert store.checkpoints("ten_none") == []
        assert store.tenants() == []

    def test_rows_come_back_in_order_and_byte_for_byte(self, store: FullStore) -> None:
        payloads = [None, b"", b"\0", bytes(range(256)), "grüße".encode(), b"x" * 65_535, b"y" * 65_536, b"z" * 65_537, b"w" * 3_000_000]
        run(store.commit(birth("exe_1")))
        written = [Row("exe_1", seq, Kind.DONE, f"flöw/{seq}", b"", payload) for seq, payload in enumerate(payloads, 1)]
        run(store.commit(Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=list(reversed(written)))))
        assert store.rows("exe_1")[1:] == written

    def test_a_head_changes_what_it_names_and_keeps_the_rest(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        run(store.commit(step("exe_1", 1, head=Head(status="waiting", at_us=START_US + 5))))
        line = store.line("exe_1")
        assert line is not None
        assert (line.status, line.flow, line.version, line.principal) == ("waiting", "review", "1.0.0", "person:ada")
        assert (line.started_us, line.updated_us, line.owner) == (START_US, START_US + 5, "")

    @pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
    def test_an_execution_that_ended_is_owned_by_nobody(self, store: FullStore, status: str) -> None:
        run(store.commit(birth("exe_1")))
        run(store.commit(step("exe_1", 1, head=Head(status=status, at_us=START_US))))
        line = store.line("exe_1")
        assert line is not None
        assert (line.status, line.owner, line.lease_us) == (status, "", 0)

    def test_a_value_above_the_limit_is_refused_before_it_waits(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        huge = Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_1", 1, payload=bytes(MAX_PAYLOAD + (1 << 16))))
        with refusal("OMG-R003", FlowError) as caught:
            run(store.commit(huge))
        assert caught.value.fault is Fault.FLOW
        with refusal("OMG-R003", FlowError):
            store.behind(huge)
        run(store.commit(step("exe_1", 1)))
        assert len(store.rows("exe_1")) == 2

    def test_a_row_of_another_execution_is_refused(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        with refusal("OMG-S006"):
            run(store.commit(Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_2", 1))))

    # All or nothing

    def test_a_second_execution_of_the_same_id_is_refused_whole(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1", leaves=[b"first"])))
        second = birth("exe_1", leaves=[b"second"])
        second.key = b"another key"
        with refusal("OMG-R010"):
            run(store.commit(second))
        assert store.key("exe_1") == b"wrapped exe_1"
        assert store.leaves(TENANT) == [b"first"]
        assert store.rows("exe_1") == rows("exe_1", 0)

    def test_one_of_two_births_at_once_wins(self, store: FullStore) -> None:
        answers = run(together(store, [birth("exe_1", leaves=[b"leaf"]), birth("exe_1", leaves=[b"leaf"])]))
        assert [isinstance(answer, StorageError) for answer in answers] == [False, True]
        assert store.leaves(TENANT) == [b"leaf"]

    def test_a_batch_for_no_execution_or_another_tenants_is_refused(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        for batch in (step("exe_2", 0, leaves=[b"leaf"]), step("exe_1", 1, tenant="ten_two", leaves=[b"leaf"])):
            with refusal("OMG-I003", InputError):
                run(store.commit(batch))
        assert store.rows("exe_2") == []
        assert store.rows("exe_1") == rows("exe_1", 0)
        assert store.leaves(TENANT) == store.leaves("ten_two") == []

    def test_a_row_written_twice_refuses_its_batch_and_no_other(self, store: FullStore) -> None:
        async def main() -> list[Committed | BaseException]:
            await together(store, [birth("exe_1"), birth("exe_2"), birth("exe_3")])
            again = Batch(tenant=TENANT, execution="exe_2", epoch=1, rows=[*rows("exe_2", 1), *rows("exe_2", 0)], leaves=[b"lost"])
            again.head = Head(status="failed", at_us=START_US)
            return await together(store, [step("exe_1", 1, leaves=[b"a"]), again, step("exe_3", 1, leaves=[b"c"])])

        first, refused, third = run(main())
        assert isinstance(refused, StorageError)
        assert refused.code == "OMG-S006"
        assert isinstance(first, Committed)
        assert isinstance(third, Committed)
        assert (first.leaves, third.leaves) == ((0,), (1,))
        assert store.leaves(TENANT) == [b"a", b"c"]
        assert [len(store.rows(f"exe_{number}")) for number in (1, 2, 3)] == [2, 1, 2]
        line = store.line("exe_2")
        assert line is not None
        assert line.status == "running"

    def test_a_leaf_the_sequencer_refuses_takes_its_batch_and_no_other(self, store: FullStore) -> None:
        async def main() -> list[Committed | BaseException]:
            await together(store, [birth("exe_1"), birth("exe_2")])
            return await together(store, [step("exe_1", 1, leaves=[NoteSequencer.REFUSED]), step("exe_2", 1, leaves=[b"good"])])

        refused, good = run(main())
        assert isinstance(refused, StorageError)
        assert isinstance(good, Committed)
        assert good.leaves == (0,)
        assert store.rows("exe_1") == rows("exe_1", 0)
        assert store.checkpoints(TENANT) == [(1, note_over(TENANT, [b"good"]))]

    # The fence

    def test_a_stale_epoch_writes_nothing(self, store: FullStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            assert await store.claim("exe_1", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US) == 2
            await store.commit(step("exe_1", 1, epoch=1, leaves=[b"zombie"], head=Head(status="done", at_us=START_US)))

        with refusal("OMG-S006"):
            run(main())
        line = store.line("exe_1")
        assert line is not None
        assert (line.status, line.epoch) == ("running", 2)
        assert store.rows("exe_1") == rows("exe_1", 0)
        assert store.leaves(TENANT) == []
        run(store.commit(step("exe_1", 1, epoch=2)))
        assert len(store.rows("exe_1")) == 2

    def test_an_epoch_from_the_future_writes_nothing(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        with refusal("OMG-S006"):
            run(store.commit(step("exe_1", 1, epoch=2)))
        assert store.rows("exe_1") == rows("exe_1", 0)

    def test_a_stale_batch_does_not_hold_up_its_neighbours(self, store: FullStore) -> None:
        async def main() -> list[Committed | BaseException]:
            await together(store, [birth(f"exe_{number}") for number in range(20)])
            await store.claim("exe_7", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US)
            return await together(store, [step(f"exe_{number}", 1) for number in range(20)])

        answers = run(main())
        assert [number for number, answer in enumerate(answers) if isinstance(answer, BaseException)] == [7]
        assert [len(store.rows(f"exe_{number}")) for number in range(20)] == [2] * 7 + [1] + [2] * 12

    # Leases

    def test_a_lease_keeps_others_out_until_it_ends(self, store: FullStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            await store.release("exe_1")
            assert await store.claim("exe_1", owner="a", lease_us=START_US + LEASE_US, now_us=START_US) == 2
            with refusal("OMG-R010"):
                await store.claim("exe_1", owner="b", lease_us=START_US + LEASE_US, now_us=START_US + LEASE_US - 1)
            assert await store.claim("exe_1", owner="a", lease_us=START_US + LEASE_US, now_us=START_US) == 3
            assert await store.claim("exe_1", owner="b", lease_us=START_US + 2 * LEASE_US, now_us=START_US + LEASE_US) == 4

        run(main())
        line = store.line("exe_1")
        assert line is not None
        assert (line.owner, line.epoch, line.lease_us) == ("b", 4, START_US + 2 * LEASE_US)

    def test_a_lease_is_renewed_by_its_epoch_only(self, store: FullStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            await store.renew("exe_1", 1, START_US + 7)
            with refusal("OMG-S006"):
                await store.renew("exe_1", 2, START_US + 8)
            with refusal("OMG-I003", InputError):
                await store.renew("exe_2", 1, START_US + 8)

        run(main())
        line = store.line("exe_1")
        assert line is not None
        assert line.lease_us == START_US + 7

    def test_release_gives_back_only_what_the_engine_holds(self, store: FullStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            await store.commit(birth("exe_2"))
            await store.release("exe_1")
            await store.release("exe_1")
            await store.release("exe_none")
            await store.claim("exe_1", owner="b", lease_us=START_US + LEASE_US, now_us=START_US)
            await store.release("exe_1")

        run(main())
        assert [line.owner for line in store.lines()] == ["engine-1", "b"]

    def test_nobody_claims_what_is_not_there(self, store: FullStore) -> None:
        with refusal("OMG-I003", InputError):
            run(store.claim("exe_1", owner="a", lease_us=START_US + LEASE_US, now_us=START_US))

    # Behind

    def test_what_is_behind_goes_out_before_what_is_committed_later(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        async def main() -> None:
            await together(store, [birth("exe_1"), birth("exe_2")])
            for seq in range(1, 11):
                store.behind(step("exe_1", seq, leaves=[b"leaf %d" % seq]))
            answer = await store.commit(step("exe_2", 1, leaves=[b"last"]))
            assert answer == Committed(leaves=(10,), size=11)

        run(main())
        reader = open_reader()
        assert reader.rows("exe_1") == rows("exe_1", 0, 11)
        assert reader.leaves(TENANT) == [*(b"leaf %d" % seq for seq in range(1, 11)), b"last"]

    def test_flush_waits_for_what_is_behind(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            for seq in range(1, 301):
                store.behind(step("exe_1", seq))
            await store.flush()
            await store.flush()

        run(main())
        assert open_reader().rows("exe_1") == rows("exe_1", 0, 301)

    def test_a_birth_may_be_behind(self, store: FullStore) -> None:
        async def main() -> None:
            store.behind(birth("exe_1"))
            store.behind(step("exe_1", 1))
            await store.commit(step("exe_1", 2, head=Head(status="done", at_us=START_US)))

        run(main())
        assert store.rows("exe_1") == rows("exe_1", 0, 3)

    def test_a_refused_batch_behind_fails_the_next_commit_of_its_execution_only(self, store: FullStore) -> None:
        async def main() -> list[Committed | BaseException]:
            await together(store, [birth("exe_1"), birth("exe_2")])
            store.behind(step("exe_1", 0))
            store.behind(step("exe_1", 1))
            first = await together(store, [step("exe_1", 2), step("exe_2", 1)])
            return [*first, *await together(store, [step("exe_1", 1)])]

        poisoned, other, later = run(main())
        assert isinstance(poisoned, StorageError)
        assert poisoned.code == "OMG-S006"
        assert isinstance(other, Committed)
        assert isinstance(later, StorageError)
        assert store.rows("exe_1") == rows("exe_1", 0)

    def test_a_zombies_batch_behind_does_not_harm_the_new_owner(self, store: FullStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            epoch = await store.claim("exe_1", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US)
            store.behind(step("exe_1", 1, epoch=epoch - 1))
            await store.commit(step("exe_1", 1, epoch=epoch))

        run(main())
        assert store.rows("exe_1") == rows("exe_1", 0, 2)

    def test_a_cancelled_caller_leaves_the_store_in_order(self, store: FullStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            caller = asyncio.ensure_future(store.commit(step("exe_1", 1)))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            await store.commit(step("exe_1", 2))

        run(main())
        assert store.rows("exe_1") == rows("exe_1", 0, 3)

    # The log

    def test_leaves_are_numbered_in_the_order_of_their_batches(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        async def main() -> list[Committed]:
            await together(store, [birth("exe_1"), birth("exe_2")])
            answers = []
            for seq in range(1, 5):
                answers.append(await store.commit(step("exe_1", seq, leaves=[b"%d a" % seq, b"%d b" % seq])))
                answers.append(await store.commit(step("exe_2", seq)))
            return answers

        answers = run(main())
        assert [answer.leaves for answer in answers] == [(0, 1), (), (2, 3), (), (4, 5), (), (6, 7), ()]
        assert [answer.size for answer in answers] == [2, 2, 4, 4, 6, 6, 8, 8]
        leaves = [b"1 a", b"1 b", b"2 a", b"2 b", b"3 a", b"3 b", b"4 a", b"4 b"]
        reader = open_reader()
        assert reader.leaves(TENANT) == leaves
        assert reader.leaves(TENANT, 3) == leaves[3:]
        assert reader.leaves(TENANT, 3, 6) == leaves[3:6]
        assert reader.leaves(TENANT, 8) == []

    def test_every_checkpoint_covers_the_leaves_below_it(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        async def main() -> None:
            for number in range(12):
                await store.commit(birth(f"exe_{number}", tenant=f"ten_{number % 3}", leaves=[b"leaf %d" % number] * (number % 4)))

        run(main())
        reader = open_reader()
        assert reader.tenants() == ["ten_0", "ten_1", "ten_2"]
        for tenant in reader.tenants():
            leaves, notes = reader.leaves(tenant), reader.checkpoints(tenant)
            assert [note for _, note in notes] == [note_over(tenant, leaves[:size]) for size, _ in notes]
            assert notes[-1][0] == len(leaves)
            assert [size for size, _ in notes] == sorted({size for size, _ in notes})

    # Lists

    def test_lists_are_newest_first_and_filtered(self, store: FullStore) -> None:
        async def main() -> None:
            for number in range(6):
                await store.commit(birth(f"exe_{number}", tenant=f"ten_{number % 2}"))
            await store.commit(step("exe_4", 1, tenant="ten_0", head=Head(status="done", at_us=START_US)))

        run(main())
        assert [line.execution for line in store.lines()] == [f"exe_{number}" for number in (5, 4, 3, 2, 1, 0)]
        assert [line.execution for line in store.lines(limit=2)] == ["exe_5", "exe_4"]
        assert store.lines(limit=0) == []
        assert [line.execution for line in store.lines(tenant="ten_0")] == ["exe_4", "exe_2", "exe_0"]
        assert [line.execution for line in store.lines(tenant="ten_0", status="running")] == ["exe_2", "exe_0"]
        assert [line.execution for line in store.lines(status="done")] == ["exe_4"]

    # Inbox and documents

    def test_letters_come_in_order_and_are_settled(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        assert not store.inbox_changed()
        first = store.post("exe_1", "signal", {"name": "go", "value": {"list": [1, None, "zwei"]}}, START_US)
        assert store.inbox_changed()
        assert not store.inbox_changed()
        second = store.post("exe_1", "cancel", {}, START_US + 1)
        assert store.inbox_changed()
        assert second > first
        letters = store.letters()
        assert [(letter.number, letter.verb, letter.at_us) for letter in letters] == [
            (first, "signal", START_US),
            (second, "cancel", START_US + 1),
        ]
        assert letters[0].body == {"name": "go", "value": {"list": [1, None, "zwei"]}}
        assert [letter.number for letter in store.letters(after=first)] == [second]
        store.settle(first)
        store.settle(second)
        assert store.letters() == []
        assert store.post("exe_1", "cancel", {}, START_US) > second

    def test_every_decision_can_be_a_letter(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        verbs = ["answer", "approve", "cancel", "redrive", "resolve", "signal"]
        for verb in verbs:
            store.post("exe_1", verb, {}, START_US)
        assert [letter.verb for letter in store.letters()] == verbs

    def test_a_letter_that_nobody_could_act_on_is_refused(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        with refusal("OMG-I003", InputError):
            store.post("exe_none", "cancel", {}, START_US)
        with refusal("OMG-X001", InputError):
            store.post("exe_1", "explode", {}, START_US)
        with refusal("OMG-R002", FlowError):
            store.post("exe_1", "signal", {"value": object()}, START_US)
        with refusal("OMG-R003", FlowError):
            store.post("exe_1", "signal", {"value": "x" * (2 << 20)}, START_US)
        assert store.letters() == []

    def test_documents_are_put_read_listed_and_dropped(self, store: FullStore) -> None:
        store.put_document("mcp", "git", b"one", START_US)
        store.put_document("mcp", "git", b"two", START_US)
        store.put_document("mcp", "fetch", b"", START_US)
        store.put_document("pin", "git", b"\0\xff", START_US)
        assert store.document("mcp", "git") == b"two"
        assert store.documents("mcp") == [("fetch", b""), ("git", b"two")]
        assert store.documents("mcp", "g") == [("git", b"two")] and store.documents("mcp", "git.") == [], "those that begin so"
        assert store.drop_document("mcp", "git")
        assert not store.drop_document("mcp", "git")
        assert store.document("mcp", "git") is None
        assert store.document("pin", "git") == b"\0\xff"
        with refusal("OMG-R003", FlowError):
            store.put_document("mcp", "huge", bytes(5 << 20), START_US)

    def test_a_document_is_put_in_the_place_of_the_very_one_that_was_read(self, store: FullStore) -> None:
        assert store.swap_document("factor", "ada", None, b"one", START_US)
        assert not store.swap_document("factor", "ada", None, b"two", START_US), "another was first"
        assert store.swap_document("factor", "ada", b"one", b"two", START_US)
        assert not store.swap_document("factor", "ada", b"one", b"three", START_US), "it was read before another changed it"
        assert not store.swap_document("factor", "bob", b"one", b"two", START_US)
        assert store.documents("factor") == [("ada", b"two")]

    # Ends and beginnings

    def test_a_closed_store_refuses(self, open_store: Callable[..., FullStore], sequencer: Sequencer) -> None:
        store = open_store(owner="engine-1", sequencer=sequencer, now_us=lambda: START_US)
        store.close()
        store.close()
        with refusal("OMG-S004"):
            run(store.commit(birth("exe_1")))
        with refusal("OMG-S004"):
            store.behind(birth("exe_1"))

    def test_everything_is_there_when_opened_again(
        self, open_store: Callable[..., FullStore], open_reader: Callable[[], Reader], sequencer: Sequencer
    ) -> None:
        before = open_store(owner="engine-1", sequencer=sequencer, now_us=lambda: START_US)
        run(before.commit(birth("exe_1", leaves=[b"one"])))
        run(before.claim("exe_1", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US))
        before.behind(step("exe_1", 1, epoch=2, leaves=[b"two"]))
        number = before.post("exe_1", "cancel", {"by": "person:ada"}, START_US)
        before.put_document("mcp", "git", b"document", START_US)
        before.close()
        after = open_store(owner="engine-2", sequencer=sequencer, now_us=lambda: START_US)
        try:
            line = after.line("exe_1")
            assert line is not None
            assert (line.epoch, line.owner, line.lease_us) == (2, "", 0), "the lock shows that the earlier engine is gone"
            assert after.rows("exe_1") == rows("exe_1", 0, 2)
            assert [letter.number for letter in after.letters()] == [number]
            assert after.inbox_changed()
            assert after.document("mcp", "git") == b"document"
            assert run(after.claim("exe_1", owner="engine-2", lease_us=START_US + LEASE_US, now_us=START_US)) == 3
            with refusal("OMG-S006"):
                run(after.commit(step("exe_1", 2, epoch=2)))
            assert run(after.commit(step("exe_1", 2, epoch=3, leaves=[b"three"]))) == Committed(leaves=(2,), size=3)
        finally:
            after.close()
        reader = open_reader()
        assert reader.leaves(TENANT) == [b"one", b"two", b"three"]
        assert reader.checkpoints(TENANT)[-1] == (3, note_over(TENANT, [b"one", b"two", b"three"]))

    # Any order

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(groups=st.lists(st.lists(_MOVES, min_size=1, max_size=8), max_size=8))
    def test_any_interleaving_equals_a_simple_model(self, store: FullStore, groups: list[list[Move]]) -> None:
        """Random groups of commits, behinds and claims by three executions, right and wrong ones, against lists and dictionaries."""
        model = _Model(mark=len(store.lines(limit=10_000)))
        run(_play(store, model, groups))
        for execution, expected in model.rows.items():
            assert store.rows(execution) == expected
        assert store.leaves(model.tenant) == model.leaves
        for size, note in store.checkpoints(model.tenant):
            assert note == note_over(model.tenant, model.leaves[:size])


class _Model:
    """What a store should hold after some moves: lists and dictionaries, no cleverness."""

    def __init__(self, mark: int) -> None:
        self.tenant = f"ten_model_{mark}"
        self.names = [f"exe_{mark}_{number}" for number in range(3)]
        self.rows: dict[str, list[Row]] = {name: [] for name in self.names}
        self.epochs = dict.fromkeys(self.names, 1)
        self.leaves: list[bytes] = []

    def accept(self, batch: Batch) -> None:
        self.rows[batch.execution] += batch.rows
        self.leaves += batch.leaves


async def _play(store: FullStore, model: _Model, groups: list[list[Move]]) -> None:
    for name in model.names:
        batch = birth(name, tenant=model.tenant)
        await store.commit(batch)
        model.accept(batch)
    for group in groups:
        waiting: list[tuple[asyncio.Future[Committed], Batch | None, tuple[int, ...]]] = []
        for move in group:
            started = await _start(store, model, move)
            if started is not None:
                waiting.append(started)
        for future, accepted, leaves in waiting:
            if accepted is None:
                with refusal("OMG-S006"):
                    await future
            else:
                assert (await future).leaves == leaves
    await store.flush()


async def _start(store: FullStore, model: _Model, move: Move) -> tuple[asyncio.Future[Committed], Batch | None, tuple[int, ...]] | None:
    """Begin one move. Gives the running commit with its batch when it shall succeed, with None when it shall be refused."""
    verb, number, count, payload = move
    name = model.names[number]
    if verb == "claim":
        epoch = await store.claim(name, owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US)
        model.epochs[name] += 1
        assert epoch == model.epochs[name]
        return None
    seq = 0 if verb == "again" else len(model.rows[name])
    leaves = [f"{name} {seq} {index}".encode() for index in range(count)]
    batch = Batch(tenant=model.tenant, execution=name, epoch=model.epochs[name], rows=rows(name, seq, payload=payload), leaves=leaves)
    if verb in ("stale", "again"):
        batch.epoch -= verb == "stale"
        return asyncio.ensure_future(store.commit(batch)), None, ()
    start = len(model.leaves)
    model.accept(batch)
    if verb == "behind":
        store.behind(batch)
        return None
    future = asyncio.ensure_future(store.commit(batch))
    await asyncio.sleep(0)  # hand it over before the next move is begun
    return future, batch, tuple(range(start, start + count))
