"""What PostgreSQL adds for many tenants and many executions: the second lock, the journal's partitions, and a look that stays short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omega.adapters.postgres import PostgresInbox, PostgresReader, PostgresStore
from omega.adapters.postgres.schema import POLICIES
from omega.adapters.postgres.turns import LOOK, LOOK_BY_KEY, PLANNING
from omega.adapters.sql.rota import BEFORE_ALL, MAX_GROUPS
from omega.kernel.errors import InputError
from omega.kernel.ports import Head
from omega.kernel.queueing import Limits
from omega.testing.conformance import NoteSequencer
from omega.testing.conformance.batches import START_US, birth, note_over, refusal, rows, run, step, together
from omega.testing.conformance.queueing import DIGEST, QUEUE, queued, take
from omega.testing.conformance.retention import ended, fork, put
from servers.postgres import PostgresServer, serve

pytestmark = pytest.mark.slow

LATE_US = START_US + 10**9


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from serve()


@pytest.fixture
def dsn(server: PostgresServer) -> str:
    return server.fresh()


@pytest.fixture
def open_store(dsn: str, request: pytest.FixtureRequest) -> Callable[..., PostgresStore]:
    """Opens a store on this test's schema, closed at the end."""

    def open_one(owner: str = "engine-1", **given: Any) -> PostgresStore:
        store = PostgresStore.open(dsn, sequencer=NoteSequencer(), owner=owner, now_us=lambda: START_US, **given)
        request.addfinalizer(store.close)
        return store

    return open_one


@pytest.fixture
def ask(server: PostgresServer, dsn: str) -> Callable[..., list[Any]]:
    """Runs one statement on a connection that works for the tenant named, or for none."""
    return lambda sql, tenant="": run(server.execute(sql, dsn=f"{dsn}&omega.tenant={tenant}" if tenant else dsn))


@pytest.mark.promise("RUN-64")
class TestTenants:
    """Row-level security, which binds the owner of the tables too: these tests connect as that owner, without special rights."""

    @pytest.fixture
    def filled(self, open_store: Callable[..., PostgresStore]) -> PostgresStore:
        store = open_store()
        for tenant in ("ten_a", "ten_b"):
            name = f"exe_{tenant[-1]}"
            run(store.commit(birth(name, tenant=tenant, leaves=[b"leaf of " + tenant.encode()])))
            run(store.release(name))
            store.post(name, "cancel", {}, START_US)
        store.put_document("policy", "main", b"permit", START_US)
        return store

    def test_every_table_that_holds_anything_of_a_tenant_is_locked(self, filled: PostgresStore, ask: Callable[..., list[Any]]) -> None:
        found = ask(
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
        )
        tables = {name: (on, forced) for name, on, forced in found}
        assert set(POLICIES) < set(tables)
        assert {name for name, locks in tables.items() if locks != (True, True)} == {"meta"}

    @pytest.mark.parametrize("table", sorted(POLICIES))
    def test_a_connection_sees_its_own_tenant_or_nothing(self, filled: PostgresStore, ask: Callable[..., list[Any]], table: str) -> None:
        count = f"SELECT count(*) FROM {table}"
        whole = ask(count, "*")[0][0]
        assert ask(count)[0][0] == ask(count, "ten_none")[0][0] == 0
        parts = [ask(count, tenant)[0][0] for tenant in ("ten_a", "ten_b")]
        assert parts == ([0, 0] if POLICIES[table] == "false" else [1, 1])
        assert whole == (2 if sum(parts) else {"begun": 0, "documents": 1}[table])

    def test_a_connection_writes_for_its_own_tenant_only(self, filled: PostgresStore, ask: Callable[..., list[Any]]) -> None:
        leaf = "INSERT INTO leaves (tenant, idx, body) VALUES ('ten_b', 7, '')"
        for tenant in ("", "ten_a"):
            with pytest.raises(Exception, match="row-level security"):
                ask(leaf, tenant)
            assert ask("UPDATE executions SET status = 'done' WHERE execution = 'exe_b' RETURNING 1", tenant) == []
            assert ask("DELETE FROM journal WHERE true RETURNING execution", tenant) == ([] if not tenant else [(1,)])
        assert [row.seq for row in filled.rows("exe_b")] == [0]
        ask(leaf, "ten_b")

    def test_partitions_cannot_be_read_past_the_journal(self, filled: PostgresStore, ask: Callable[..., list[Any]]) -> None:
        assert ask("SELECT count(*) FROM journal", "*")[0][0] == 2
        assert ask("SELECT count(*) FROM journal_0", "*")[0][0] == 0

    def test_a_reader_of_one_tenant_finds_nothing_else(self, filled: PostgresStore, dsn: str) -> None:
        with PostgresReader.open(dsn, tenant="ten_a") as reader:
            assert [line.execution for line in reader.lines()] == ["exe_a"]
            assert reader.tenants() == ["ten_a"]
            assert (reader.line("exe_b"), reader.rows("exe_b"), reader.key("exe_b"), reader.leaves("ten_b")) == (None, [], None, [])
            assert (reader.rows("exe_a"), reader.key("exe_a")) == (rows("exe_a", 0), b"wrapped exe_a")
            assert [letter.execution for letter in reader.letters()] == ["exe_a"]

    def test_letters_of_one_tenant_reach_its_own_executions_only(self, filled: PostgresStore, dsn: str) -> None:
        with PostgresInbox.open(dsn, tenant="ten_a") as inbox:
            number = inbox.post("exe_a", "cancel", {}, START_US)
            with refusal("OMG-I003", InputError):
                inbox.post("exe_b", "cancel", {}, START_US)
            with refusal("OMG-S004"):
                inbox.put_document("policy", "main", b"forbid", START_US)
        assert [letter.number for letter in filled.letters(number - 1)] == [number]
        assert filled.document("policy", "main") == b"permit"


class TestPartitions:
    def test_they_are_made_ahead_of_the_executions(self, open_store: Callable[..., PostgresStore], ask: Callable[..., list[Any]]) -> None:
        store = open_store(span=4)

        def there() -> list[str]:
            sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'journal'::regclass ORDER BY 1"
            return [name.rpartition(".")[2] for (name,) in ask(sql)]

        assert there() == ["journal_0", "journal_1", "journal_2"]
        for number in range(1, 6):
            run(store.commit(birth(f"exe_{number}")))
        assert there()[-1] == "journal_3"
        run(together(store, [birth(f"exe_{number}") for number in range(6, 40)]))
        assert {f"journal_{number}" for number in range(12)} <= set(there())
        assert [len(store.rows(f"exe_{number}")) for number in range(1, 40)] == [1] * 39
        with refusal("OMG-S006"):
            run(store.commit(step("exe_39", 0)))

    def test_engines_make_them_together(self, open_store: Callable[..., PostgresStore]) -> None:
        stores = [open_store(f"engine-{number}", span=2) for number in range(3)]

        async def main() -> None:
            births = [store.commit(birth(f"exe_{n}_{i}", leaves=[b"leaf"])) for n, store in enumerate(stores) for i in range(30)]
            await asyncio.gather(*births)

        run(main())
        assert len(stores[0].lines(limit=200)) == len(stores[0].leaves("ten_one")) == 90
        assert all(stores[1].rows(line.execution) for line in stores[0].lines(limit=200))

    def test_whole_ones_are_dropped_when_everything_in_them_ended(
        self, open_store: Callable[..., PostgresStore], ask: Callable[..., list[Any]]
    ) -> None:
        store = open_store(span=2)
        names = [f"exe_{number}" for number in range(1, 9)]  # 1 | 2 3 | 4 5 | 6 7 | 8
        run(put(store, [birth(name, leaves=[name.encode()]) for name in names]))
        run(put(store, [ended(name, 1, START_US) for name in names if name != "exe_5"]))
        run(store.commit(fork("exe_9", "exe_7", 1)))
        assert run(store.retire(START_US)) == 0, "nothing had ended before that moment"
        assert run(store.retire(LATE_US)) == 3
        assert [line.execution for line in store.lines()] == ["exe_9", "exe_8", "exe_7", "exe_6", "exe_5", "exe_4"]
        assert store.rows("exe_2") == [] and store.key("exe_2") is None
        assert store.rows("exe_9") == [*rows("exe_7", 0), *rows("exe_9", 1)], "a fork outside keeps its origin's partition"
        assert store.leaves("ten_one") == [name.encode() for name in names]
        assert store.checkpoints("ten_one")[-1][1] == note_over("ten_one", store.leaves("ten_one"))
        assert ask("SELECT count(*) FROM journal", "*")[0][0] == 10
        run(store.commit(step("exe_5", 1, head=Head(status="done", at_us=START_US))))
        assert run(store.retire(LATE_US)) == 2

    def test_a_later_engine_goes_on_where_the_partitions_end(self, open_store: Callable[..., PostgresStore]) -> None:
        first = open_store(span=2)
        run(put(first, [birth(f"exe_{number}") for number in range(10)]))
        first.close()
        second = open_store("engine-2")
        run(together(second, [birth(f"exe_{number}") for number in range(10, 30)]))
        assert [len(second.rows(f"exe_{number}")) for number in range(30)] == [1] * 30


@pytest.mark.promise("RUN-62")
class TestWakes:
    def test_engines_that_wake_each_others_executions_do_not_get_stuck(self, open_store: Callable[..., PostgresStore]) -> None:
        """Each commit changes a line of its own engine and wakes several of the other's, in any order, at the same time."""
        stores = [open_store(f"engine-{number}") for number in range(2)]
        names = [[f"exe_{number}_{i}" for i in range(8)] for number in range(2)]

        async def flow(number: int, place: int) -> None:
            name = names[number][place]
            for seq in range(1, 16):
                batch = step(name, seq, leaves=[b"leaf"], head=Head(status="running", at_us=START_US + seq))
                batch.wake = names[1 - number][place::-1] if seq % 2 else names[1 - number][place:]
                await stores[number].commit(batch)

        async def main() -> None:
            for number in range(2):
                await together(stores[number], [birth(name) for name in names[number]])
            await asyncio.gather(*(flow(number, place) for number in range(2) for place in range(8)))

        run(main())
        lines = stores[0].lines(limit=100)
        assert [line.due_us for line in lines] == [START_US] * 16
        assert all(len(stores[1].rows(line.execution)) == 16 for line in lines)


@pytest.mark.promise("RUN-63")
class TestLooks:
    """A look costs as much as there are groups, however many lines there are: pages read are counted, not time."""

    @staticmethod
    def fill(ask: Callable[..., list[Any]], start: int, end: int) -> None:
        ask(
            "INSERT INTO executions (execution, tenant, flow, version, status, principal, target, epoch, owner, lease_us, started_us,"
            " updated_us, digest, queue, key, priority, due_us, tries, parent, labels, origin, origin_rows)"
            f" SELECT 'exe_' || n, 'ten_' || n % 3, 'review', '1', 'queued', '', '', 1, '', 0, {START_US}, {START_US}, '{DIGEST}',"
            f" '{QUEUE}', 'key_' || n % 4, n % 2, {START_US} + n, 0, '', '{{}}', '', 0 FROM generate_series({start}, {end - 1}) AS n",
            "*",
        )
        ask("ANALYZE executions")

    @staticmethod
    def plan(server: PostgresServer, dsn: str, sql: str) -> tuple[int, set[str]]:
        """The pages that one look reads, and the kinds of scan of the table that it uses."""

        async def main() -> Any:
            import asyncpg

            connection = await asyncpg.connect(f"{dsn}&omega.tenant=*", server_settings=PLANNING)
            try:
                values = [QUEUE], [DIGEST], [BEFORE_ALL[0]], [BEFORE_ALL[1]], [BEFORE_ALL[2]], MAX_GROUPS, LATE_US, 10
                return json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values))[0]["Plan"]
            finally:
                await connection.close()

        plan = run(main())
        scans: set[str] = set()
        nodes = [plan]
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", [])
            if node.get("Relation Name") == "executions":
                scans.add(node["Node Type"])
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], scans

    @pytest.mark.parametrize(("sql", "groups"), [(LOOK, 6), (LOOK_BY_KEY, 12)], ids=["plain", "by-key"])
    def test_a_look_reads_a_few_pages_per_group(
        self,
        server: PostgresServer,
        dsn: str,
        open_store: Callable[..., PostgresStore],
        ask: Callable[..., list[Any]],
        sql: str,
        groups: int,
    ) -> None:
        open_store()
        self.fill(ask, 0, 2_000)
        few, _ = self.plan(server, dsn, sql)
        self.fill(ask, 2_000, 60_000)
        many, scans = self.plan(server, dsn, sql)
        assert scans <= {"Index Scan", "Index Only Scan"}
        assert many <= 2 * few + 20 * groups

    def test_a_tenant_behind_the_last_group_of_a_look_has_its_turn(
        self, open_store: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("omega.adapters.sql.rota.MAX_GROUPS", 3)
        monkeypatch.setattr("omega.adapters.postgres.turns.MAX_GROUPS", 3)
        store = open_store()
        run(put(store, [queued(f"exe_{number}", tenant=f"ten_{number}") for number in range(8)]))
        got: list[str] = []
        while found := run(take(store, most=2, limits={QUEUE: Limits(at_once=100)})):
            got += found
        assert sorted(got) == [f"exe_{number}" for number in range(8)]
