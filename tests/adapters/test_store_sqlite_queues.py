"""How a folder is looked through for work: the steps that SQLite takes are counted, not the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omega.adapters.sqlite import SqliteStore
from omega.adapters.sqlite.schema import open_writing
from omega.adapters.sqlite.turns import Turns
from omega.kernel.ports import Want
from omega.kernel.queueing import Limits
from omega.testing.conformance import NoteSequencer
from omega.testing.conformance.batches import START_US, run
from omega.testing.conformance.queueing import DIGEST, QUEUE, queued, take, want
from omega.testing.conformance.retention import put

LATE_US = START_US + 10**9


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[SqliteStore]:
    with SqliteStore.open(home, sequencer=NoteSequencer(), owner="engine-1", now_us=lambda: START_US) as store:
        yield store


def fill(home: Path, start: int, end: int) -> None:
    """Queue executions of three tenants with two priorities and four keys, some not due for long, behind the store's back."""
    connection = open_writing(home)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO executions (execution, tenant, flow, version, status, principal, target, epoch, owner, lease_us, started_us,"
        " updated_us, digest, queue, key, priority, due_us, tries, parent, labels, origin, origin_rows)"
        f" VALUES (?, ?, 'review', '1', 'queued', '', '', 1, '', 0, 0, 0, ?, '{QUEUE}', ?, ?, ?, 0, '', '{{}}', '', 0)",
        (
            (f"exe_{n}", f"ten_{n % 3}", DIGEST if n % 7 else "sha256:old", f"key_{n % 4}", n % 2, START_US + (n if n % 5 else n * 10**6))
            for n in range(start, end)
        ),
    )
    connection.execute("COMMIT")
    connection.close()


def cost(home: Path, asked: Want) -> int:
    """Steps of SQLite's machine for one look."""
    connection = open_writing(home)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    turns = Turns(connection)
    found = list(turns.waiting(asked))
    turns.loads(asked)
    connection.close()
    assert len(found) >= asked.most
    return steps


@pytest.mark.promise("RUN-63")
@pytest.mark.parametrize("limits", [{}, {QUEUE: Limits(per_key=1, rate=5)}], ids=["plain", "by-key"])
def test_a_look_costs_as_much_as_there_are_groups(store: SqliteStore, home: Path, limits: dict[str, Limits]) -> None:
    asked = want(limits=limits, now_us=LATE_US)
    fill(home, 0, 1_000)
    few = cost(home, asked)
    fill(home, 1_000, 40_000)
    assert cost(home, asked) <= 1.5 * few


def test_the_next_moment_is_found_without_reading_everything(store: SqliteStore, home: Path) -> None:
    fill(home, 0, 20_000)
    connection = open_writing(home)
    plans = [
        " ".join(detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))
        for sql in (
            f"SELECT min(ready_us) FROM executions WHERE queue = '{QUEUE}' AND due_us > 0 AND ready_us > 5",
            "SELECT 1 FROM executions WHERE tenant = '' AND updated_us < 5 AND status IN ('done', 'failed', 'cancelled') AND compacted = 0",
            "SELECT 1 FROM executions WHERE parent = 'exe_1' AND parent <> '' ORDER BY number DESC",
        )
    ]
    connection.close()
    for plan, index in zip(plans, ("executions_by_moment", "executions_by_end", "executions_by_parent"), strict=True):
        assert index in plan
        assert "SCAN" not in plan
    assert run(store.next_due([QUEUE], START_US)) == START_US + 1


def test_a_tenant_behind_the_last_group_of_a_look_has_its_turn(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.adapters.sql.rota.MAX_GROUPS", 3)
    monkeypatch.setattr("omega.adapters.sqlite.turns.MAX_GROUPS", 3)
    run(put(store, [queued(f"exe_{number}", tenant=f"ten_{number}") for number in range(8)]))
    got: list[str] = []
    while found := run(take(store, most=2)):
        got += found
    assert sorted(got) == [f"exe_{number}" for number in range(8)]


def test_looking_in_vain_writes_nothing(store: SqliteStore, home: Path) -> None:
    run(put(store, [queued("exe_1", due_us=0)]))
    log = home / "omega.db-wal"
    before = log.stat().st_size, store.counts.commits
    for _ in range(5):
        assert run(take(store)) == []
    assert (log.stat().st_size, store.counts.commits) == before
