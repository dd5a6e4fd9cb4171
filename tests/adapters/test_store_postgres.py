"""The PostgreSQL store on a real server: the same suite as every store, then what only several engines and a failing server can show."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres_worker import PAUSED_LEASE_US
from omega import Context, flow
from omega.adapters.postgres import PostgresInbox, PostgresReader, PostgresStore, link, writer
from omega.adapters.postgres.link import connect, let_go
from omega.adapters.postgres.store import SWEEP_S
from omega.adapters.sql.queue import BEHIND_ROWS
from omega.host.clock import SystemClock
from omega.kernel.errors import IntegrityError, StorageError
from omega.kernel.journal import Kind, Row
from omega.kernel.ports import Batch, Committed, Head, Reader
from omega.kernel.queueing import Limits
from omega.testing.conformance import FullStore, NoteSequencer, StoreConformance
from omega.testing.conformance.batches import LEASE_US, START_US, TENANT, birth, note_over, refusal, rows, run, step, together
from omega.testing.conformance.queueing import QUEUE, queued, want
from omega.testing.lab import Lab, sequencer
from servers.postgres import PostgresServer, serve

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("postgres_worker.py")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from serve()


@pytest.fixture
def dsn(server: PostgresServer) -> str:
    return server.fresh()


@pytest.mark.promise("RUN-09")
@pytest.mark.promise("RUN-10")
@pytest.mark.promise("RUN-26")
@pytest.mark.promise("RUN-60")
@pytest.mark.promise("RUN-61")
@pytest.mark.promise("RUN-62")
@pytest.mark.promise("RUN-65")
class TestPostgres(StoreConformance):
    @pytest.fixture
    def open_store(self, dsn: str) -> Callable[..., FullStore]:
        return lambda **given: PostgresStore.open(dsn, **given)

    @pytest.fixture
    def open_reader(self, dsn: str, request: pytest.FixtureRequest) -> Callable[[], Reader]:
        def open_one() -> Reader:
            reader = PostgresReader.open(dsn)
            request.addfinalizer(reader.close)
            return reader

        return open_one


@pytest.fixture
def open_store(dsn: str, request: pytest.FixtureRequest) -> Callable[..., PostgresStore]:
    """Opens a store on this test's schema, closed at the end."""

    def open_one(owner: str = "engine-1", address: str = dsn) -> PostgresStore:
        store = PostgresStore.open(address, sequencer=NoteSequencer(), owner=owner, now_us=lambda: START_US)
        request.addfinalizer(store.close)
        return store

    return open_one


@pytest.fixture
def spawn(dsn: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `postgres_worker.py` on this test's schema and waits until it is ready."""
    started: list[subprocess.Popen[str]] = []

    def spawn_one(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMEGA_TEST_DSN": dsn},
        )
        started.append(process)
        assert answer(process) == {"ready": True}
        return process

    yield spawn_one
    for process in started:
        process.kill()
        process.communicate()


def every_tenant(dsn: str) -> str:
    """The address for a connection that sees what an engine sees."""
    return f"{dsn}&omega.tenant=*"


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line a worker says."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def go(*processes: subprocess.Popen[str]) -> None:
    """Let ready workers begin."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def one_head(batch: Batch) -> Head:
    """The head of a batch that has one."""
    assert batch.head is not None
    return batch.head


def assert_sound(reader: Reader, tenant: str = TENANT) -> None:
    """The log of `tenant` is without gaps and every checkpoint covers what lies below it; no journal has a gap."""
    leaves, notes = reader.leaves(tenant), reader.checkpoints(tenant)
    assert notes[-1][0] == len(leaves)
    assert [note for _, note in notes] == [note_over(tenant, leaves[:size]) for size, _ in notes]
    for line in reader.lines(limit=10_000):
        written = reader.rows(line.execution)
        assert [row.seq for row in written] == list(range(len(written)))


class TestSeveralEngines:
    @pytest.mark.promise("RUN-10")
    def test_two_processes_fence_each_other(self, open_store: Callable[..., PostgresStore], spawn: Callable[..., Any]) -> None:
        """Each row belongs to the epoch that was newest when it was written: epochs never go back along the journal."""
        store = open_store()
        run(store.commit(birth("exe_1")))
        pair = [spawn("duel", "exe_1", "15"), spawn("duel", "exe_1", "15")]
        go(*pair)
        said = [answer(process) for process in pair]
        acknowledged = [tuple(item) for side in said for item in side["acknowledged"]]
        written = store.rows("exe_1")[1:]
        epochs = [int(row.meta) for row in written]
        assert epochs == sorted(epochs)
        assert sorted(acknowledged) == [(row.seq, int(row.meta)) for row in written], (
            "refused means not written, acknowledged means written"
        )
        assert all(side["lost"] > 0 for side in said), "both were interrupted, or this proves nothing"
        assert_sound(store)

    @pytest.mark.promise("RUN-10")
    def test_a_stale_owner_writes_nothing(self, open_store: Callable[..., PostgresStore]) -> None:
        old, new = open_store("engine-1"), open_store("engine-2")
        run(old.commit(birth("exe_1", leaves=[b"one"])))
        with refusal("OMG-R010"):
            run(new.claim("exe_1", owner="engine-2", lease_us=START_US + LEASE_US, now_us=START_US))
        late = START_US + 120_000_000
        assert run(new.claim("exe_1", owner="engine-2", lease_us=late + LEASE_US, now_us=late)) == 2
        stale = step("exe_1", 1, leaves=[b"zombie"], head=Head(status="done", at_us=late))
        with refusal("OMG-S006"):
            run(old.commit(stale))
        with refusal("OMG-S006"):
            run(old.renew("exe_1", 1, late))
        run(old.release("exe_1"))
        old.behind(step("exe_1", 1))
        run(old.flush())
        run(new.commit(step("exe_1", 1, epoch=2, leaves=[b"two"])))
        line = new.line("exe_1")
        assert line is not None
        assert (line.status, line.owner, line.epoch) == ("running", "engine-2", 2)
        assert new.rows("exe_1") == rows("exe_1", 0, 2)
        assert new.leaves(TENANT) == [b"one", b"two"]

    @pytest.mark.promise("RUN-10")
    def test_a_claim_waits_for_a_commit_that_is_under_way(self, dsn: str, open_store: Callable[..., PostgresStore]) -> None:
        """A commit that has passed the fence, and waits for its tenant's log, is on disk before anybody else owns its execution."""
        old, new = open_store("engine-1"), open_store("engine-2")
        run(old.commit(birth("exe_1", leaves=[b"one"])))

        async def main() -> None:
            import asyncpg

            other = await asyncpg.connect(every_tenant(dsn))

            async def until_waiting(count: int, *unfinished: asyncio.Future[Any]) -> None:
                sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'omega writer%'"
                while await other.fetchval(sql) < count:
                    assert not any(future.done() for future in unfinished), "it did not wait"
                    await other.execute("SELECT pg_stat_clear_snapshot()")
                    await asyncio.sleep(0.01)

            try:
                async with other.transaction():
                    await other.execute("SELECT FROM logs WHERE tenant = $1 FOR UPDATE", TENANT)
                    commit = asyncio.ensure_future(old.commit(step("exe_1", 1, leaves=[b"two"])))
                    await until_waiting(1, commit)
                    claim = asyncio.ensure_future(new.claim("exe_1", owner="engine-2", lease_us=10**16, now_us=10**16))
                    await until_waiting(2, commit, claim)
                assert (await commit).leaves == (1,)
                assert await claim == 2
            finally:
                await other.close()

        run(main())
        assert new.rows("exe_1") == rows("exe_1", 0, 2)

    @pytest.mark.promise("RUN-09")
    def test_engines_extend_one_log_together(self, open_store: Callable[..., PostgresStore]) -> None:
        stores = [open_store(f"engine-{number}") for number in range(3)]

        async def flow(store: PostgresStore, name: str) -> list[int]:
            await store.commit(birth(name))
            answers = [await store.commit(step(name, seq, leaves=[f"{name} {seq}".encode()])) for seq in range(1, 21)]
            return [index for found in answers for index in found.leaves]

        async def main() -> list[list[int]]:
            return await asyncio.gather(*(flow(store, f"exe_{n}_{i}") for n, store in enumerate(stores) for i in range(5)))

        indexes = run(main())
        assert sorted(index for found in indexes for index in found) == list(range(300))
        assert all(found == sorted(found) for found in indexes)
        assert_sound(stores[0])

    @pytest.mark.promise("RUN-60")
    def test_queued_executions_are_begun_once_each_within_the_limit(
        self, open_store: Callable[..., PostgresStore], spawn: Callable[..., Any]
    ) -> None:
        count = 120
        store = open_store()
        run(together(store, [queued(f"exe_{number}", tenant=TENANT) for number in range(count)]))
        workers = [spawn("take", "4") for _ in range(3)]
        go(*workers)
        said = [answer(worker) for worker in workers]
        assert sorted(name for each in said for name in each["taken"]) == sorted(f"exe_{number}" for number in range(count))
        assert all(each["taken"] for each in said)
        assert 1 < max(each["most"] for each in said) <= 4
        assert {(line.epoch, line.status) for line in store.lines(limit=count)} == {(2, "done")}

    def test_an_engine_paused_in_a_commit_holds_others_up_for_less_than_its_lease(
        self, open_store: Callable[..., PostgresStore], spawn: Callable[..., Any]
    ) -> None:
        store = open_store()
        paused = spawn("pause")
        eventually(lambda: Path(f"/proc/{paused.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
        began = time.monotonic()
        answered = run(store.commit(birth("exe_1", leaves=[b"not held up for ever"]))).leaves
        assert answered == (1,), store.leaves(TENANT)
        assert time.monotonic() - began < PAUSED_LEASE_US / 1_000_000
        paused.send_signal(signal.SIGCONT)
        assert answer(paused)["code"] == "OMG-S004"
        assert store.rows("exe_paused") == []
        assert_sound(store)

    def test_no_statement_is_prepared_within_a_transaction(self, open_store: Callable[..., PostgresStore]) -> None:
        """Between preparing a statement and running it no time limit of the server holds: an engine paused there would hold its locks."""
        store = open_store()
        connection = store._writer._connection
        everything = "SELECT statement FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%'"

        def prepared() -> set[str]:
            return {text for (text,) in store._link.run(connection.fetch(everything))}

        before = prepared()

        async def all_that_is_written() -> None:
            await store.commit(birth("exe_1", leaves=[b"one"]))
            await store.commit(replace(birth("exe_2"), head=replace(one_head(birth("exe_2")), origin="exe_1", origin_rows=1)))
            await store.commit(replace(step("exe_1", 1, leaves=[b"two"], head=Head(status="waiting", at_us=START_US)), wake=("exe_2",)))
            await store.commit(queued("exe_3", key="repo"))
            assert await store.take(want(limits={QUEUE: Limits(at_once=1, per_key=1, rate=2)}))
            assert await store.claim("exe_1", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US) == 2
            await store.renew("exe_1", 2, START_US + 2 * LEASE_US)
            with refusal("OMG-S006"):
                await store.renew("exe_1", 1, START_US)
            await store.wake(["exe_1"], START_US)
            await store.release("exe_1")
            await store.claim("exe_2", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US)
            await store.commit(step("exe_2", 2, epoch=2, head=Head(status="done", at_us=START_US)))
            assert await store.compact(TENANT, START_US + 1, 10) == 1

        run(all_that_is_written())
        assert prepared() == before

    def test_a_lock_that_is_not_to_be_had_in_time_is_asked_for_again(
        self, dsn: str, open_store: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = threading.Semaphore(0)

        def is_retried(error: BaseException) -> bool:
            tries.release()
            return link.is_retried(error)

        monkeypatch.setattr(link, "LOCK_MS", 50)
        monkeypatch.setattr(writer, "is_retried", is_retried)
        store = open_store()
        run(store.commit(birth("exe_1", leaves=[b"one"])))

        async def main() -> Committed:
            import asyncpg

            other = await asyncpg.connect(every_tenant(dsn))
            try:
                async with other.transaction():
                    await other.execute("SELECT FROM logs WHERE tenant = $1 FOR UPDATE", TENANT)
                    commit = asyncio.ensure_future(store.commit(step("exe_1", 1, leaves=[b"two"])))
                    await asyncio.to_thread(tries.acquire, timeout=20)
                return await commit
            finally:
                await other.close()

        assert run(main()).leaves == (1,)


@flow
async def waits(ctx: Context, number: int) -> int:
    return number + int(await ctx.signal("go"))


class TestEngine:
    def test_an_execution_moves_from_one_engine_to_another(self, dsn: str) -> None:
        """Started and paused by the first, signalled and finished by the second; then verified and replayed from the database alone."""
        clock = SystemClock()

        def lab(store: PostgresStore) -> Lab:
            return Lab(store=store, clock=clock, owner=store.owner, seed=store.owner)

        def open_one(owner: str) -> PostgresStore:
            return PostgresStore.open(dsn, sequencer=sequencer(), owner=owner, now_us=clock.now_us)

        with open_one("engine-1") as store:
            outcome = run(lab(store).run(waits, 40, execution="exe_1"))
            assert outcome.status == "waiting"

        async def finish(second: Lab) -> None:
            await second.decide("exe_1", "signal", name="go", value=2)
            done = await second.resume("exe_1", waits)
            assert (done.status, done.value) == ("done", 42)
            assert (await second.replay("exe_1", waits)).divergence is None
            assert second.verify("lab").findings == []

        with open_one("engine-2") as store:
            run(finish(lab(store)))
            line = store.line("exe_1")
            assert line is not None
            assert (line.status, line.owner) == ("done", "")
            assert line.epoch > 1


class TestWakeUps:
    def test_a_letter_from_another_process_wakes_every_engine(self, dsn: str, open_store: Callable[..., PostgresStore]) -> None:
        stores = [open_store("engine-1"), open_store("engine-2")]
        run(stores[0].commit(birth("exe_1")))
        run(stores[0].release("exe_1"))
        assert not any(store.inbox_changed() for store in stores)
        with PostgresInbox.open(dsn) as inbox:
            number = inbox.post("exe_1", "cancel", {"by": "person:ada"}, START_US)
        for store in stores:
            eventually(store.inbox_changed)
            assert [letter.number for letter in store.letters()] == [number]
            assert not store.inbox_changed()

    def test_a_wake_up_is_heard_before_the_next_sweep(
        self, dsn: str, open_store: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("omega.adapters.postgres.store.SWEEP_S", 3600.0)
        store, other = open_store("engine-1"), open_store("engine-2")
        run(store.commit(birth("exe_1")))
        assert not store.inbox_changed()
        other.post("exe_1", "cancel", {}, START_US)
        eventually(store.inbox_changed)

    def test_a_lost_wake_up_costs_one_sweep(self, server: PostgresServer, dsn: str, open_store: Callable[..., PostgresStore]) -> None:
        """Letters that are written without a word, as when the listening connection was down."""
        store = open_store()
        run(store.commit(birth("exe_1")))
        assert not store.inbox_changed()
        silent = "INSERT INTO inbox (execution, verb, body, at_us) VALUES ('exe_1', 'cancel', '{}', 1)"
        run(server.execute(silent, dsn=every_tenant(dsn)))
        eventually(store.inbox_changed, within_s=3 * SWEEP_S)

    def test_a_listener_that_was_cut_off_looks_as_soon_as_it_is_back(
        self, server: PostgresServer, dsn: str, open_store: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("omega.adapters.postgres.store.SWEEP_S", 3600.0)
        store = open_store("engine-1")
        run(store.commit(birth("exe_1")))
        assert not store.inbox_changed()
        run(server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'omega reads engine-1'"))
        with PostgresInbox.open(dsn) as inbox:
            inbox.post("exe_1", "cancel", {}, START_US)

        def back() -> bool:
            try:
                return store.line("exe_1") is not None
            except StorageError as error:  # the one call that finds the connection gone
                assert error.code == "OMG-S004"
                return False

        eventually(back)
        assert store.inbox_changed()
        with PostgresInbox.open(dsn) as inbox:
            inbox.post("exe_1", "cancel", {}, START_US)
        eventually(store.inbox_changed)


class TestGroups:
    @pytest.mark.promise("RUN-67")
    def test_concurrent_flows_share_their_commits(self, open_store: Callable[..., PostgresStore]) -> None:
        """200 flows in step cost a few transactions per round, not 200: counted, not timed."""
        store, flows, steps = open_store(), 200, 10

        async def flow(name: str) -> None:
            await store.commit(birth(name))
            for seq in range(1, steps + 1):
                await store.commit(step(name, seq, leaves=[b"leaf"]))

        async def main() -> None:
            await asyncio.gather(*(flow(f"exe_{number}") for number in range(flows)))

        run(main())
        assert store.counts.rows == flows * (steps + 1)
        assert store.counts.leaves == flows * steps
        assert store.counts.commits <= 0.05 * flows * steps

    def test_rows_behind_share_a_commit(self, open_store: Callable[..., PostgresStore]) -> None:
        store = open_store()

        async def main() -> None:
            await store.commit(birth("exe_1"))
            before = store.counts.commits
            for seq in range(1, BEHIND_ROWS):
                store.behind(step("exe_1", seq))
            await store.commit(step("exe_1", BEHIND_ROWS))
            assert store.counts.commits - before <= 2

        run(main())

    def test_a_full_queue_makes_its_filler_wait(
        self, dsn: str, open_store: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the log held by somebody else the queue fills up; once it is let go, everything that was handed over is there."""
        monkeypatch.setattr("omega.adapters.postgres.writer.MAX_PENDING_BYTES", 100_000)
        store, handed = open_store(), []
        run(store.commit(birth("exe_1", leaves=[b"one"])))

        def fill() -> None:
            for seq in range(2, 102):
                store.behind(Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_1", seq, payload=bytes(10_000))))
                handed.append(seq)

        async def main() -> None:
            import asyncpg

            other = await asyncpg.connect(every_tenant(dsn))
            try:
                async with other.transaction():
                    await other.execute("SELECT FROM logs FOR UPDATE")
                    commit = asyncio.ensure_future(store.commit(step("exe_1", 1, leaves=[b"two"])))
                    await asyncio.sleep(0)
                    filler = asyncio.ensure_future(asyncio.to_thread(fill))
                    while len(handed) < 9:
                        await asyncio.sleep(0.01)
                    assert len(handed) < 30
                    assert not filler.done()
                await asyncio.gather(commit, filler)
            finally:
                await other.close()
            await store.flush()

        run(main())
        assert [row.seq for row in store.rows("exe_1")] == list(range(102))

    def test_rows_behind_do_not_wait_for_ever(self, open_store: Callable[..., PostgresStore]) -> None:
        store = open_store()
        run(store.commit(birth("exe_1")))
        store.behind(step("exe_1", 1))
        eventually(lambda: len(store.rows("exe_1")) == 2)

    def test_a_birth_after_a_lost_batch_of_the_same_group_leaves_no_line(self, open_store: Callable[..., PostgresStore]) -> None:
        store = open_store()

        async def main() -> list[Any]:
            store.behind(step("exe_1", 0))
            return await together(store, [birth("exe_1", leaves=[b"lost"]), birth("exe_2", leaves=[b"kept"])])

        refused, kept = run(main())
        assert isinstance(refused, StorageError)
        assert refused.code == "OMG-S006"
        assert kept == Committed(leaves=(0,), size=1)
        assert [line.execution for line in store.lines()] == ["exe_2"]

    @pytest.mark.parametrize(
        ("position", "seq"),
        [("nul \0 in it", 1), ("half a pair \ud800", 1), ("seq out of range", 1 << 63)],
        ids=["nul", "surrogate", "seq"],
    )
    def test_a_value_that_no_column_holds_refuses_its_batch_and_no_other(
        self, open_store: Callable[..., PostgresStore], position: str, seq: int
    ) -> None:
        store = open_store()
        bad = Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=[Row("exe_1", seq, Kind.DONE, position, b"")], leaves=[b"lost"])

        async def main() -> list[Any]:
            await together(store, [birth("exe_1"), birth("exe_2")])
            return await together(store, [step("exe_2", 1, leaves=[b"a"]), bad, step("exe_2", 2, leaves=[b"b"])])

        first, refused, third = run(main())
        assert (first, third) == (Committed(leaves=(0,), size=1), Committed(leaves=(1,), size=2))
        assert isinstance(refused, StorageError)
        assert refused.code == "OMG-S006"
        assert position not in str(refused)
        assert store.rows("exe_1") == rows("exe_1", 0)


class TestFailures:
    @pytest.mark.promise("RUN-09")
    def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
        self, server: PostgresServer, dsn: str, spawn: Callable[..., Any], tmp_path: Path, open_store: Callable[..., PostgresStore]
    ) -> None:
        witness = tmp_path / "witness"
        witness.touch()
        for kill in range(1, 4):
            writer = spawn("write", str(witness))
            lines = len(witness.read_text().splitlines())
            eventually(lambda lines=lines: len(witness.read_text().splitlines()) > lines + 100)
            server.kill()
            try:
                assert answer(writer)["codes"] == ["OMG-S004"] * 9, "all flows and a late commit learn of it"
            finally:
                server.start()
            with PostgresReader.open(dsn) as reader:
                assert_sound(reader)
                assert len(reader.lines(limit=100)) == kill * 8
                leaves = reader.leaves(TENANT)
                written = {line.execution: len(reader.rows(line.execution)) for line in reader.lines(limit=100)}
            for name, seq, leaf in (line.split() for line in witness.read_text().splitlines()):
                assert int(seq) < written[name], "an acknowledged row is gone"
                assert int(leaf) < 0 or leaves[int(leaf)] == f"{name} {seq}".encode()
        store = open_store()
        name, count = next(iter(written.items()))
        epoch = run(store.claim(name, owner="engine-1", lease_us=1, now_us=10**16))
        run(store.commit(step(name, count, epoch=epoch, leaves=[b"after"])))
        assert_sound(store)

    def test_a_store_whose_server_restarts_stops_and_is_opened_anew(
        self, server: PostgresServer, open_store: Callable[..., PostgresStore]
    ) -> None:
        store = open_store("engine-1")
        run(store.commit(birth("exe_1")))
        server.stop()
        try:
            with refusal("OMG-S004"):
                run(store.commit(step("exe_1", 1)))
            with refusal("OMG-S00[24]"):
                store.rows("exe_1")
        finally:
            server.start()
        for _ in range(2):
            with refusal("OMG-S004"):
                run(store.commit(step("exe_1", 1)))
        with refusal("OMG-S004"):
            store.behind(step("exe_1", 1))
        assert store.rows("exe_1") == rows("exe_1", 0), "reads come back by themselves"
        store.close()
        again = open_store("engine-1")
        assert run(again.claim("exe_1", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US)) == 2
        run(again.commit(step("exe_1", 1, epoch=2)))
        assert again.rows("exe_1") == rows("exe_1", 0, 2)

    def test_a_server_that_takes_nobody_in_is_named_and_tried_again(
        self, server: PostgresServer, dsn: str, open_store: Callable[..., PostgresStore]
    ) -> None:
        open_store().close()
        above = server.dsn(role="postgres", database="postgres")
        run(server.execute("ALTER ROLE omega CONNECTION LIMIT 0", dsn=above))
        try:
            with refusal("OMG-S002") as caught:
                open_store()
            assert "53300" in caught.value.cause
        finally:
            run(server.execute("ALTER ROLE omega CONNECTION LIMIT -1", dsn=above))
        run(open_store().commit(birth("exe_1")))

    def test_a_server_that_does_not_answer_in_time_stops_the_store(
        self, dsn: str, open_store: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether the write happens after all is unknown, so nothing more is acknowledged; another store goes on."""
        monkeypatch.setattr("omega.adapters.postgres.ledger.WRITE_S", 0.3)
        store = open_store("engine-1")
        run(store.commit(birth("exe_1", leaves=[b"one"])))

        async def main() -> None:
            import asyncpg

            other = await asyncpg.connect(every_tenant(dsn))
            try:
                async with other.transaction():
                    await other.execute("SELECT FROM logs FOR UPDATE")
                    with refusal("OMG-S004"):
                        await store.commit(step("exe_1", 1, leaves=[b"two"]))
            finally:
                await other.close()

        run(main())
        with refusal("OMG-S004"):
            run(store.commit(step("exe_1", 1)))
        store.close()
        monkeypatch.undo()
        again = open_store("engine-2")
        late = START_US + 120_000_000
        assert run(again.claim("exe_1", owner="engine-2", lease_us=late + LEASE_US, now_us=late)) == 2
        run(again.commit(step("exe_1", 1, epoch=2, leaves=[b"two"])))
        assert_sound(again)

    def test_an_address_that_leads_nowhere_is_refused(self, server: PostgresServer, tmp_path: Path) -> None:
        addresses = [
            f"postgresql://omega:{server.password}@/omega?host={tmp_path}",
            server.dsn().replace(f"{server.password}@", f"{server.password}wrong@"),
            server.dsn(database="elsewhere"),
            server.dsn("no_such_schema"),
            f"postgresql://omega:{server.password}@127.0.0.1:1/omega",
            f"nonsense {server.password}",
        ]
        for address in addresses:
            before = threading.active_count()
            with refusal("OMG-S002") as caught:
                PostgresStore.open(address, sequencer=NoteSequencer(), owner="engine-1", now_us=lambda: START_US)
            assert server.password not in f"{caught.value} {caught.value.record()}"
            assert threading.active_count() == before, "no thread is left behind"

    def test_without_asyncpg_the_store_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "asyncpg", None)
        with refusal("OMG-S002") as caught:
            PostgresReader.open("postgresql://nowhere/omega")
        assert "server" in caught.value.advice

    def test_what_this_release_cannot_read_is_refused(
        self, server: PostgresServer, dsn: str, open_store: Callable[..., PostgresStore]
    ) -> None:
        with refusal("OMG-S002"):
            PostgresReader.open(dsn)
        open_store().close()
        run(server.execute("UPDATE meta SET value = '999' WHERE key = 'format'", dsn=dsn))
        for attempt in (open_store, lambda: PostgresReader.open(dsn), lambda: PostgresInbox.open(dsn)):
            with refusal("OMG-S003"):
                attempt()
        run(server.execute("DROP TABLE leaves", dsn=dsn))
        with refusal("OMG-S005", IntegrityError):
            PostgresReader.open(dsn)

    def test_two_engines_may_be_the_first(self, dsn: str) -> None:
        def open_one(number: int) -> str:
            with PostgresStore.open(dsn, sequencer=NoteSequencer(), owner=f"engine-{number}", now_us=lambda: START_US) as store:
                return store.installation

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(open_one, range(4)))) == 1

    def test_a_commit_is_flushed_whatever_the_settings_say(self, server: PostgresServer, dsn: str) -> None:
        async def setting() -> str:
            connection = await connect(f"{dsn}&synchronous_commit=off", "test")
            try:
                return str(await connection.fetchval("SHOW synchronous_commit"))
            finally:
                await let_go(connection)

        assert run(setting()) == "on"
        above = server.dsn(role="postgres", database="postgres")
        try:
            run(server.execute("ALTER SYSTEM SET fsync = off", dsn=above))
            run(server.execute("SELECT pg_reload_conf()", dsn=above))
            eventually(lambda: run(server.execute("SHOW fsync"))[0][0] == "off")
            with refusal("OMG-S002"):
                PostgresReader.open(dsn)
        finally:
            run(server.execute("ALTER SYSTEM RESET fsync", dsn=above))
            run(server.execute("SELECT pg_reload_conf()", dsn=above))
            eventually(lambda: run(server.execute("SHOW fsync"))[0][0] == "on")

    def test_the_tests_run_without_special_rights(self, server: PostgresServer) -> None:
        found = run(server.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"))
        assert tuple(found[0]) == (False, False)
