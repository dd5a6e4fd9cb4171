"""What is kept and found again: forks that share rows, compaction that destroys payloads, and searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from omega.kernel.errors import FlowError, InputError
from omega.kernel.journal import EMPTY_DIGEST, Kind, Row, chain, digest_of
from omega.kernel.ports import Batch, Head, Reader, Search
from omega.testing.conformance.batches import LEASE_US, START_US, TENANT, FullStore, StoreFixtures, birth, refusal, rows, run, step

MAX_FORK_DEPTH = 32
"""Forks on forks that every store must allow; it refuses some number above."""


def fork(execution: str, origin: str, shared: int, *, tenant: str = TENANT) -> Batch:
    """The first batch of a fork: its rows go on where the shared ones end, and it brings no key."""
    head = Head(status="running", flow="review", at_us=START_US, create=True, origin=origin, origin_rows=shared)
    return Batch(tenant=tenant, execution=execution, epoch=1, rows=rows(execution, shared), head=head)


def ended(execution: str, seq: int, at_us: int, **given: Any) -> Batch:
    """The last batch of an execution."""
    return step(execution, seq, head=Head(status="done", at_us=at_us), **given)


def names(store: Reader, **given: Any) -> list[str]:
    """What a search finds."""
    return [line.execution for line in store.search(Search(**given))]


async def put(store: FullStore, batches: Sequence[Batch]) -> None:
    """Commit all of `batches`, one after another."""
    for batch in batches:
        await store.commit(batch)


class RetentionSuite(StoreFixtures):
    """What every store promises about forks, compaction and searches."""

    # Forks

    def test_a_fork_begins_with_the_rows_it_shares(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        run(put(store, [birth("exe_1"), *(step("exe_1", seq) for seq in range(1, 6)), fork("exe_2", "exe_1", 3), step("exe_2", 4)]))
        run(put(store, [fork("exe_3", "exe_2", 4), fork("exe_4", "exe_2", 2)]))
        reader = open_reader()
        own = rows("exe_2", 3, 2)
        assert reader.rows("exe_2") == [*rows("exe_1", 0, 3), *own]
        assert reader.rows("exe_3") == [*rows("exe_1", 0, 3), own[0], *rows("exe_3", 4)]
        assert reader.rows("exe_4") == [*rows("exe_1", 0, 2), *rows("exe_4", 2)]
        assert reader.rows("exe_1") == rows("exe_1", 0, 6)
        assert reader.key("exe_2") is None
        line = reader.line("exe_2")
        assert line is not None
        assert (line.origin, line.origin_rows) == ("exe_1", 3)

    def test_the_digest_of_a_fork_chains_on(self, store: FullStore) -> None:
        run(put(store, [birth("exe_1"), step("exe_1", 1), step("exe_1", 2), fork("exe_2", "exe_1", 2)]))
        digest = digest_of(store.rows("exe_1")[:2])
        assert digest_of(store.rows("exe_2")) == chain(digest, rows("exe_2", 2)[0])
        assert digest not in (EMPTY_DIGEST, digest_of(store.rows("exe_2")))

    def test_a_fork_of_nothing_or_of_another_tenants_is_refused(self, store: FullStore) -> None:
        run(put(store, [birth("exe_1", tenant="ten_two")]))
        for batch in (fork("exe_2", "exe_none", 1), fork("exe_3", "exe_1", 1)):
            with refusal("OMG-I003", InputError):
                run(store.commit(batch))
            assert store.line(batch.execution) is None
        run(put(store, [fork("exe_3", "exe_1", 1, tenant="ten_two")]))

    def test_forks_rest_on_one_another_only_so_often(self, store: FullStore) -> None:
        run(put(store, [birth("exe_0"), *(fork(f"exe_{n}", f"exe_{n - 1}", n) for n in range(1, MAX_FORK_DEPTH + 1))]))
        last = store.rows(f"exe_{MAX_FORK_DEPTH}")
        assert [row.execution for row in last] == [f"exe_{n}" for n in range(MAX_FORK_DEPTH + 1)]
        with refusal("OMG-R016", FlowError):
            run(store.commit(fork("exe_more", f"exe_{MAX_FORK_DEPTH}", 1)))

    # Compaction

    def test_compaction_destroys_payloads_and_keys_and_nothing_else(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        large = Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=[Row("exe_1", 1, Kind.DONE, "flow/a", b"meta", b"x" * 100_000)])
        run(put(store, [birth("exe_1", leaves=[b"one"]), large, ended("exe_1", 2, START_US + 5, leaves=[b"two"])]))
        before = store.rows("exe_1")
        assert run(store.compact(TENANT, START_US + 5, 10)) == 0, "it ended at that moment, not before"
        assert run(store.compact("ten_two", START_US + 6, 10)) == 0
        assert run(store.compact(TENANT, START_US + 6, 10)) == 1
        assert run(store.compact(TENANT, START_US + 6, 10)) == 0, "once is enough"
        reader = open_reader()
        after = reader.rows("exe_1")
        assert [row.payload for row in after] == [None] * 3
        assert [(row.seq, row.kind, row.position, row.meta) for row in after] == [(r.seq, r.kind, r.position, r.meta) for r in before]
        assert digest_of(after) == digest_of(before)
        assert reader.key("exe_1") is None
        assert reader.leaves(TENANT) == [b"one", b"two"]
        line = reader.line("exe_1")
        assert line is not None
        assert (line.status, line.updated_us) == ("done", START_US + 5)

    def test_only_what_ended_is_compacted_the_oldest_first(self, store: FullStore) -> None:
        run(put(store, [birth(f"exe_{number}") for number in range(5)]))
        run(put(store, [ended(f"exe_{number}", 1, START_US + 10 - number) for number in range(4)]))
        assert run(store.compact(TENANT, START_US + LEASE_US, 2)) == 2
        assert [store.key(f"exe_{number}") is None for number in range(5)] == [False, False, True, True, False]
        assert run(store.compact(TENANT, START_US + LEASE_US, 10)) == 2
        assert store.key("exe_4") is not None

    def test_what_a_fork_rests_on_is_compacted_after_it(self, store: FullStore) -> None:
        late = START_US + LEASE_US
        run(put(store, [birth("exe_1"), ended("exe_1", 1, START_US), fork("exe_2", "exe_1", 1), fork("exe_3", "exe_2", 2)]))
        assert run(store.compact(TENANT, late, 10)) == 0
        run(put(store, [ended("exe_2", 2, START_US), ended("exe_3", 3, START_US)]))
        while run(store.compact(TENANT, late, 10)):
            pass
        for name in ("exe_1", "exe_2", "exe_3"):
            assert all(row.payload is None for row in store.rows(name))
        assert store.key("exe_1") is None

    def test_a_child_is_compacted_after_its_parent_has_ended(self, store: FullStore) -> None:
        late = START_US + LEASE_US
        made = birth("exe_child")
        assert made.head is not None
        child = replace(made, head=replace(made.head, parent="exe_1"))
        run(put(store, [birth("exe_1"), child, ended("exe_child", 1, START_US)]))
        assert run(store.compact(TENANT, late, 10)) == 0, "its parent has yet to read how it ended"
        assert store.key("exe_child") is not None
        run(put(store, [ended("exe_1", 1, START_US)]))
        assert run(store.compact(TENANT, late, 10)) == 2

    # Erasure

    def test_erasure_takes_a_family_with_its_labels_and_leaves_the_rest(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        made = birth("exe_1", leaves=[b"one"])
        assert made.head is not None
        marked = replace(made, head=replace(made.head, labels={"subject:ab": ""}, key="grete"))
        below = birth("exe_child")
        assert below.head is not None
        child = replace(below, head=replace(below.head, parent="exe_1"))
        run(put(store, [marked, child, birth("exe_other"), fork("exe_2", "exe_1", 1), fork("exe_3", "exe_2", 2)]))
        left = run(store.erase(TENANT, ["exe_1"]))
        assert (left.gone, left.left) == ((), ("exe_1", "exe_2", "exe_3", "exe_child"))
        assert store.key("exe_1") is not None
        run(put(store, [ended("exe_1", 1, START_US), ended("exe_child", 1, START_US), ended("exe_2", 2, START_US)]))
        assert run(store.erase(TENANT, ["exe_1"])).gone == ("exe_child",), "a fork of a fork still rests on the others"
        run(put(store, [ended("exe_3", 3, START_US)]))
        assert run(store.erase("ten_two", ["exe_1"])).gone == (), "another tenant's is not there"
        assert set(run(store.erase(TENANT, ["exe_1", "exe_none"])).gone) == {"exe_1", "exe_2", "exe_3", "exe_child"}
        reader = open_reader()
        for name in ("exe_1", "exe_2", "exe_3", "exe_child"):
            assert all(row.payload is None for row in reader.rows(name))
            assert reader.key(name) is None
        line = reader.line("exe_1")
        assert line is not None
        assert (line.labels, line.key) == ({}, "")
        assert reader.key("exe_other") is not None
        assert reader.leaves(TENANT) == [b"one"]

    def test_a_child_is_left_while_its_parent_may_read_it(self, store: FullStore) -> None:
        below = birth("exe_child")
        assert below.head is not None
        child = replace(below, head=replace(below.head, parent="exe_1"))
        run(put(store, [birth("exe_1"), child, ended("exe_child", 1, START_US)]))
        assert run(store.erase(TENANT, ["exe_child"])).left == ("exe_child",)
        run(put(store, [ended("exe_1", 1, START_US)]))
        assert run(store.erase(TENANT, ["exe_child"])).gone == ("exe_child",)

    # Redaction

    def test_redaction_puts_other_payloads_and_another_key_in_place(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        made = birth("exe_1", leaves=[b"one"])
        assert made.head is not None
        marked = replace(made, head=replace(made.head, labels={"omega.level": "redacted", "team": "core"}))
        large = Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=[Row("exe_1", 1, Kind.DONE, "flow/a", b"meta", b"x" * 100_000)])
        run(put(store, [marked, large]))
        assert run(store.redact(TENANT, "exe_1", {0: b"new"}, b"key", "omega.level")) is False, "it has not ended"
        run(put(store, [ended("exe_1", 2, START_US)]))
        before = store.rows("exe_1")
        assert run(store.redact("ten_two", "exe_1", {0: b"new"}, b"key", "omega.level")) is False
        assert run(store.redact(TENANT, "exe_1", {0: b"new", 1: b"y" * 90_000}, b"key", "omega.level")) is True
        reader = open_reader()
        after = reader.rows("exe_1")
        assert [row.payload for row in after] == [b"new", b"y" * 90_000, None]
        assert digest_of(after) == digest_of(before)
        assert reader.key("exe_1") == b"key"
        line = reader.line("exe_1")
        assert line is not None
        assert dict(line.labels) == {"team": "core"}
        assert run(store.compact(TENANT, START_US + LEASE_US, 10)) == 1, "what is left has its time too"
        assert run(store.redact(TENANT, "exe_1", {0: b"new"}, b"key", "omega.level")) is False, "nothing is left to redact"

    def test_a_fork_what_it_rests_on_and_an_unread_child_are_not_redacted(self, store: FullStore) -> None:
        below = birth("exe_child")
        assert below.head is not None
        child = replace(below, head=replace(below.head, parent="exe_up"))
        run(put(store, [birth("exe_up"), child, birth("exe_1"), ended("exe_1", 1, START_US), fork("exe_2", "exe_1", 1)]))
        run(put(store, [ended("exe_2", 2, START_US), ended("exe_child", 1, START_US)]))
        for name in ("exe_1", "exe_2", "exe_child", "exe_none"):
            assert run(store.redact(TENANT, name, {}, b"key", "omega.level")) is False

    # Pruning

    def test_pruning_changes_leaves_and_nothing_else_of_the_log(self, store: FullStore, open_reader: Callable[[], Reader]) -> None:
        run(put(store, [birth("exe_1", leaves=[b"one", b"two"]), step("exe_1", 1, leaves=[b"three"])]))
        before = store.checkpoints(TENANT)
        run(store.prune(TENANT, {0: b"#1", 1: b"#2"}))
        reader = open_reader()
        assert reader.leaves(TENANT) == [b"#1", b"#2", b"three"]
        assert reader.checkpoints(TENANT) == before
        run(put(store, [step("exe_1", 2, leaves=[b"four"])]))
        assert open_reader().leaves(TENANT, 2) == [b"three", b"four"]

    # Searches

    def test_a_search_narrows_by_each_of_its_fields(self, store: FullStore) -> None:
        facts: list[dict[str, Any]] = [
            {},
            {"flow": "ship"},
            {"digest": "sha256:x"},
            {"queue": "q"},
            {"key": "k"},
            {"principal": "person:bob"},
            {"parent": "exe_0"},
            {"status": "failed"},
            {"labels": {"team": "core", "odd \"'[]{}%": "ja, ü"}},
        ]
        for number, given in enumerate(facts):
            fields: dict[str, Any] = {"status": "running", "flow": "review", "at_us": START_US + number, "create": True}
            name, tenant = f"exe_{number}", f"ten_{number % 2}"
            run(store.commit(Batch(tenant=tenant, execution=name, epoch=1, rows=rows(name, 0), head=Head(**fields | given))))
        assert names(store) == [f"exe_{number}" for number in reversed(range(9))]
        assert names(store, tenant="ten_1") == ["exe_7", "exe_5", "exe_3", "exe_1"]
        for number, (name, value) in enumerate([("flow", "ship"), ("digest", "sha256:x"), ("queue", "q"), ("key", "k")], 1):
            assert names(store, **{name: value}) == [f"exe_{number}"]
        assert names(store, principal="person:bob") == ["exe_5"]
        assert names(store, parent="exe_0") == ["exe_6"]
        assert names(store, status=("failed", "done")) == ["exe_7"]
        assert names(store, labels={"team": "core"}) == names(store, labels={"odd \"'[]{}%": "ja, ü", "team": "core"}) == ["exe_8"]
        assert names(store, labels={"team": "core", "other": ""}) == names(store, labels={"team": "cor"}) == []
        assert names(store, after_us=START_US + 3, before_us=START_US + 6) == ["exe_5", "exe_4", "exe_3"]
        assert names(store, tenant="ten_0", status=("running",), flow="review", before_us=START_US + 5) == ["exe_4", "exe_2", "exe_0"]
        assert names(store, flow="' OR 1 = 1 --") == []

    def test_pages_follow_one_another_without_gaps(self, store: FullStore) -> None:
        run(put(store, [birth(f"exe_{number}", tenant=f"ten_{number % 2}") for number in range(7)]))
        pages, last = [], ""
        while page := names(store, tenant="ten_0", limit=3, older_than=last):
            pages.append(page)
            last = page[-1]
        assert pages == [["exe_6", "exe_4", "exe_2"], ["exe_0"]]
        assert names(store, older_than="exe_none") == names(store, limit=0) == names(store, limit=-1) == []

    def test_a_list_of_an_empty_tenant_or_status_is_empty(self, store: FullStore) -> None:
        run(store.commit(birth("exe_1")))
        assert store.lines(tenant="") == store.lines(status="") == []
        assert [line.execution for line in store.lines()] == ["exe_1"]
