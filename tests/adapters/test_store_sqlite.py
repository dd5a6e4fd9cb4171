"""What SQLite adds to the suite: folders, processes, damage, full disks, and what a group costs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import omega.kernel.errors as errors_module
from omega.adapters.sqlite import SqliteInbox, SqliteReader, SqliteStore, folder, schema, writer
from omega.adapters.sqlite.ledger import Ledger
from omega.kernel.errors import FlowError, InputError, IntegrityError, OmegaError, StorageError
from omega.kernel.journal import FORMAT, Kind, Row
from omega.kernel.ports import Batch, Committed, Head
from omega.testing.conformance import NoteSequencer
from omega.testing.conformance.store import START_US, TENANT, birth, note_over, refusal, rows, run, step, together

WORKER = Path(__file__).with_name("store_worker.py")
SOURCE = Path(errors_module.__file__).parents[2]
PATIENCE_S = 60.0
"""A bound on conditions that come true in milliseconds on a machine that is not stuck."""


def open_store(home: Path, owner: str = "engine-1") -> SqliteStore:
    return SqliteStore.open(home, sequencer=NoteSequencer(), owner=owner, now_us=lambda: START_US)


def command(verb: str, home: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(WORKER), verb, str(home), *arguments]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **extra}


def ask(verb: str, home: Path, *arguments: str, **extra: str) -> dict[str, Any]:
    """Run the worker to its end; its last line."""
    done = subprocess.run(command(verb, home, *arguments), env=environment(**extra), capture_output=True, timeout=PATIENCE_S, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the worker does not get on"
        time.sleep(0.002)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[SqliteStore]:
    with open_store(home) as store:
        yield store


@pytest.fixture
def sound(home: Path) -> Path:
    """A closed folder with 40 executions in it."""
    with open_store(home) as store:
        run(together(store, [birth(f"exe_{number}", leaves=[b"leaf %d" % number]) for number in range(40)]))
        run(together(store, [step(f"exe_{number}", 1) for number in range(40)]))
    return home


class TestFolder:
    def test_it_is_made_for_its_owner_alone(self, home: Path) -> None:
        with open_store(home):
            assert home.stat().st_mode & 0o777 == 0o700
            modes = {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()}
            assert set(modes) >= {"omega.db", "engine.lock", "omega.db-wal"}
            assert set(modes.values()) == {0o600}

    @pytest.mark.promise("RUN-20")
    @pytest.mark.parametrize("place", ["file", "file/below", "loop"])
    def test_what_is_not_a_folder_is_refused(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").write_text("in the way")
        (tmp_path / "loop").symlink_to("loop")
        with refusal("OMG-S002") as caught:
            open_store(tmp_path / place)
        assert caught.value.advice
        assert (tmp_path / "file").read_text() == "in the way"
        with refusal("OMG-S002"):
            SqliteReader.open(tmp_path / place)
        with refusal("OMG-S002"):
            SqliteInbox.open(tmp_path / place)

    @pytest.mark.promise("RUN-20")
    def test_reading_a_folder_that_is_missing_or_empty_says_so_and_makes_nothing(self, tmp_path: Path) -> None:
        for place in (tmp_path, tmp_path / "missing"):
            with refusal("OMG-S002"):
                SqliteReader.open(place)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.promise("RUN-20")
    def test_a_folder_of_somebody_else_is_refused_but_can_be_read(self, sound: Path) -> None:
        with tempfile.TemporaryDirectory(dir="/tmp") as outer:
            theirs = Path(outer, "home")
            sound.rename(theirs)
            os.chmod(outer, 0o755)
            os.chmod(theirs, 0o555)
            for path in theirs.iterdir():
                path.chmod(0o444)
            extra = {"AS_NOBODY": "1"} if os.getuid() == 0 else {}
            refused = ask("open", theirs, **extra)
            assert (refused["code"], refused["family"]) == ("OMG-S002", "storage")
            assert len(ask("read", theirs, **extra)["executions"]) == 40
            os.chmod(theirs, 0o700)

    @pytest.mark.promise("RUN-20")
    def test_a_lock_that_cannot_be_taken_is_refused(self, home: Path) -> None:
        (home / "engine.lock").mkdir(parents=True)
        with refusal("OMG-S002"):
            open_store(home)

    def test_a_lock_file_that_points_elsewhere_is_not_followed(self, home: Path, tmp_path: Path) -> None:
        home.mkdir()
        (tmp_path / "elsewhere").write_text("precious")
        (home / "engine.lock").symlink_to(tmp_path / "elsewhere")
        with refusal("OMG-S002"):
            open_store(home)
        assert (tmp_path / "elsewhere").read_text() == "precious"

    def test_network_file_systems_are_told_apart(self, tmp_path: Path) -> None:
        mounts = "\n".join(
            [
                "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw",
                f"40 22 0:41 / {tmp_path} rw,relatime shared:2 master:3 - nfs4 server:/export rw",
                f"41 40 0:42 / {tmp_path}/with\\040space rw - tmpfs tmpfs rw",
                "a line that is cut",
            ]
        )
        assert folder.file_system(tmp_path / "home", mounts) == "nfs4"
        assert folder.file_system(tmp_path / "with space" / "home", mounts) == "tmpfs"
        assert folder.file_system(tmp_path.with_name("elsewhere"), mounts) == "ext4"
        assert folder.file_system(tmp_path, "") == ""

    def test_a_network_file_system_is_refused(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folder, "_mounts", lambda: "22 1 0:41 / / rw,relatime - cifs //server/share rw")
        with refusal("OMG-S002") as caught:
            open_store(home)
        assert caught.value.details == {"kind": "cifs"}

    def test_a_library_that_is_too_old_is_refused_before_anything_is_made(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
        with refusal("OMG-S002") as caught:
            open_store(home)
        assert "3.37" in caught.value.cause
        assert [path.name for path in home.iterdir()] == ["engine.lock"]

    def test_each_opening_is_a_new_engine_of_the_same_installation(self, home: Path) -> None:
        with open_store(home) as first:
            engine, installation = first.engine, first.installation
        with open_store(home) as second:
            assert (second.engine, second.installation) == (engine + 1, installation)
        assert installation.startswith("ins_")


class TestProcesses:
    @pytest.mark.promise("RUN-11")
    def test_a_second_engine_is_refused_by_name(self, home: Path) -> None:
        with subprocess.Popen(command("hold", home), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            try:
                assert json.loads(holder.stdout.readline())["pid"] == holder.pid
                with refusal("OMG-S001") as caught:
                    open_store(home)
                assert caught.value.details["pid"] == holder.pid
                assert str(holder.pid) in caught.value.cause
            finally:
                holder.stdin.close()
                holder.wait(PATIENCE_S)
        with open_store(home):
            assert ask("open", home)["code"] == "OMG-S001"

    @pytest.mark.promise("RUN-11")
    def test_a_killed_engine_leaves_no_lock(self, home: Path) -> None:
        with subprocess.Popen(command("hold", home), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            holder.send_signal(signal.SIGKILL)
            holder.wait(PATIENCE_S)
        open_store(home).close()

    @pytest.mark.promise("RUN-12")
    def test_reading_beside_an_engine_sees_what_is_committed(self, store: SqliteStore, home: Path) -> None:
        run(store.commit(birth("exe_1")))
        assert ask("read", home)["executions"] == ["exe_1"]
        run(store.commit(birth("exe_2")))
        assert ask("read", home)["executions"] == ["exe_2", "exe_1"]

    @pytest.mark.promise("RUN-12")
    def test_a_reader_that_does_not_let_go_blocks_nothing(self, store: SqliteStore, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "FOLD_BYTES", 1 << 16)
        run(store.commit(birth("exe_1")))
        with SqliteReader.open(home) as reader:
            reader._reading.execute("BEGIN")
            assert len(reader.rows("exe_1")) == 1
            for seq in range(1, 200):
                run(store.commit(Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_1", seq, payload=bytes(4_000)))))
            assert len(reader.rows("exe_1")) == 1, "a reader sees one moment"
            reader._reading.execute("COMMIT")
            assert len(reader.rows("exe_1")) == 200

    def test_a_letter_from_another_process_arrives(self, store: SqliteStore, home: Path) -> None:
        run(store.commit(birth("exe_1")))
        assert not store.inbox_changed()
        number = ask("post", home, "exe_1")["number"]
        assert store.inbox_changed()
        assert [(letter.number, letter.verb, letter.body) for letter in store.letters()] == [(number, "cancel", {"by": "person:ada"})]
        assert ask("post", home, "exe_none")["code"] == "OMG-I003"

    def test_documents_can_be_changed_beside_an_engine(self, store: SqliteStore, home: Path) -> None:
        with SqliteInbox.open(home) as inbox:
            inbox.put_document("mcp", "git", b"from outside", START_US)
            assert store.document("mcp", "git") == b"from outside"
            assert inbox.drop_document("mcp", "git")
            assert not inbox.drop_document("mcp", "git")
            with refusal("OMG-X001", InputError):
                inbox.post("exe_1", "explode", {}, START_US)
            with refusal("OMG-R003", FlowError):
                inbox.put_document("mcp", "git", bytes(5 << 20), START_US)
        assert store.documents("mcp") == []

    def test_every_acknowledged_row_survives_kill_9(self, home: Path, tmp_path: Path) -> None:
        witness = tmp_path / "witness"
        for kill in range(1, 5):
            with subprocess.Popen(command("write", home, str(witness)), env=environment(), stdout=subprocess.PIPE) as worker:
                wait_for_lines(witness, kill * 400 + 37 * kill)
                worker.send_signal(signal.SIGKILL)
                worker.wait(PATIENCE_S)
        acknowledged = [line.split() for line in witness.read_text().splitlines()]
        with open_store(home) as store:
            self.check_witness(store, acknowledged)
            assert store.damage() == []

    @staticmethod
    def check_witness(store: SqliteStore, acknowledged: list[list[str]]) -> None:
        leaves = store.leaves(TENANT)
        held = {line.execution: store.rows(line.execution) for line in store.lines(limit=1_000)}
        for execution, seq, leaf in acknowledged:
            assert held[execution][int(seq)].seq == int(seq)
            if leaf != "-1":
                assert leaves[int(leaf)] == f"{execution} {seq}".encode()
        for found in held.values():
            assert [row.seq for row in found] == list(range(len(found))), "what is behind is never overtaken"
        notes = store.checkpoints(TENANT)
        assert notes[-1] == (len(leaves), note_over(TENANT, leaves))

    def test_an_engine_that_was_ousted_stops(self, store: SqliteStore, home: Path) -> None:
        run(store.commit(birth("exe_1")))
        intruder = sqlite3.connect(home / "omega.db", isolation_level=None)
        intruder.execute("UPDATE meta SET value = value + 1 WHERE key = 'engine'")
        intruder.close()
        for _ in range(2):
            with refusal("OMG-S004") as caught:
                run(store.commit(step("exe_1", 1)))
            assert "another engine" in caught.value.cause
        assert store.rows("exe_1") == rows("exe_1", 0)


class TestDamage:
    @pytest.mark.promise("RUN-21")
    @pytest.mark.parametrize("harm", ["empty", "halved", "garbage", "zeroed page", "cut page", "foreign"])
    def test_a_damaged_database_is_refused_and_left_as_it_is(self, sound: Path, harm: str) -> None:
        path = sound / "omega.db"
        whole = path.read_bytes()
        if harm == "foreign":
            path.unlink()
            other = sqlite3.connect(path)
            other.execute("CREATE TABLE notes (text)")
            other.close()
        else:
            harmed = {
                "empty": b"",
                "halved": whole[: len(whole) // 8192 * 4096],
                "garbage": b"this is not a database at all " * 2_000,
                "zeroed page": whole[:8192] + bytes(4096) + whole[12288:],
                "cut page": whole[:-2048],
            }
            path.write_bytes(harmed[harm])
        before = path.read_bytes()
        with refusal("OMG-S005", IntegrityError) as caught:
            open_store(sound)
        assert caught.value.advice
        assert path.read_bytes() == before
        path.write_bytes(whole)
        with open_store(sound) as store:
            assert len(store.lines()) == 40

    @pytest.mark.promise("RUN-21")
    def test_a_reader_names_damage_instead_of_guessing(self, sound: Path) -> None:
        path = sound / "omega.db"
        whole = path.read_bytes()
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
        with SqliteReader.open(sound) as reader:
            assert reader.damage()
            with refusal("OMG-S005", IntegrityError):
                reader.lines()
            with refusal("OMG-S005", IntegrityError):
                reader.leaves(TENANT)

    @pytest.mark.promise("RUN-21")
    def test_a_log_without_its_database_is_damage(self, sound: Path) -> None:
        (sound / "omega.db").rename(sound / "omega.db-wal")
        with refusal("OMG-S005", IntegrityError):
            open_store(sound)
        assert not (sound / "omega.db").exists()

    @pytest.mark.promise("RUN-18")
    def test_a_newer_format_is_refused_and_left_as_it_is(self, sound: Path) -> None:
        path = sound / "omega.db"
        newer = sqlite3.connect(path, isolation_level=None)
        newer.execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT + 1,))
        newer.close()
        before = path.read_bytes()
        for opened in (lambda: open_store(sound), lambda: SqliteReader.open(sound), lambda: SqliteInbox.open(sound)):
            with refusal("OMG-S003") as caught:
                opened()
            assert caught.value.details == {"found": FORMAT + 1, "known": FORMAT}
        assert path.read_bytes() == before

    def test_a_half_made_database_is_made_again(self, home: Path) -> None:
        home.mkdir()
        (home / "omega.db.new").write_bytes(b"half")
        open_store(home).close()
        assert sorted(path.name for path in home.iterdir()) == ["engine.lock", "omega.db"]

    def test_a_refused_opening_lets_the_next_one_in(self, sound: Path) -> None:
        path = sound / "omega.db"
        whole = path.read_bytes()
        path.write_bytes(b"")
        with refusal("OMG-S005", IntegrityError):
            open_store(sound)
        path.write_bytes(whole)
        open_store(sound).close()


class TestDisk:
    @pytest.mark.promise("RUN-19")
    def test_a_full_disk_stops_the_store_and_keeps_what_was_acknowledged(self, home: Path, tmp_path: Path) -> None:
        witness = tmp_path / "witness"
        answer = ask("fill", home, str(witness), str(1 << 20))
        self.check_stopped(home, witness, answer)

    @pytest.mark.promise("RUN-19")
    def test_a_full_file_system_stops_the_store(self, tmp_path: Path) -> None:
        small = tmp_path / "small"
        small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True, check=False)
        if mounted.returncode != 0:
            pytest.skip("mounting a small file system needs root; the limit on file sizes is tested without")
        try:
            witness = tmp_path / "witness"
            answer = ask("fill", small / "home", str(witness))
            self.check_stopped(small / "home", witness, answer)
        finally:
            subprocess.run(["umount", str(small)], capture_output=True, check=True)

    @staticmethod
    def check_stopped(home: Path, witness: Path, answer: dict[str, Any]) -> None:
        assert answer["codes"] == ["OMG-S004"] * (8 + 3), "eight flows, a late commit, a late flush, a late batch behind"
        acknowledged = [line.split() for line in witness.read_text().splitlines()]
        assert acknowledged
        with SqliteReader.open(home) as reader:
            for execution, seq, leaf in acknowledged:
                assert any(row.seq == int(seq) for row in reader.rows(execution)[int(seq) :][:1])
                assert leaf == "-1" or reader.leaves(TENANT, int(leaf), int(leaf) + 1) == [f"{execution} {seq}".encode()]
            assert reader.damage() == []

    def test_a_writer_that_breaks_leaves_nobody_waiting(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("planted")

        with open_store(home) as store:
            run(store.commit(birth("exe_1")))
            monkeypatch.setattr(NoteSequencer, "grow", broken)
            for _ in range(2):
                with refusal("OMG-S004"):
                    run(asyncio.wait_for(store.commit(step("exe_1", 1, leaves=[b"leaf"])), PATIENCE_S))
            with refusal("OMG-S004"):
                store.put_document("mcp", "git", b"", START_US)
            assert store.rows("exe_1") == rows("exe_1", 0)

    def test_a_dropped_document_leaves_no_bytes(self, home: Path) -> None:
        secret = b"a very particular string of bytes"
        with open_store(home) as store:
            store.put_document("mcp", "git", secret, START_US)
            store.drop_document("mcp", "git")
        assert secret not in (home / "omega.db").read_bytes()
        assert not (home / "omega.db-wal").exists()

    def test_the_write_ahead_log_is_folded_between_groups(self, store: SqliteStore, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "FOLD_BYTES", 1 << 18)
        run(store.commit(birth("exe_1")))
        for seq in range(1, 101):
            run(store.commit(Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_1", seq, payload=os.urandom(30_000)))))
        run(store.flush())
        assert store.counts.folds >= 5
        assert (home / "omega.db-wal").stat().st_size < 1 << 20
        assert (home / "omega.db").stat().st_size > 2 << 20


class TestGroups:
    @pytest.mark.promise("RUN-08")
    def test_many_flows_share_commits(self, store: SqliteStore) -> None:
        async def flow(name: str) -> None:
            await store.commit(birth(name))
            for seq in range(1, 20):
                await store.commit(step(name, seq))

        async def main() -> None:
            await asyncio.gather(*(flow(f"exe_{number}") for number in range(200)))

        run(main())
        assert store.counts.rows == 4_000
        assert store.counts.commits <= 0.02 * store.counts.rows

    @pytest.mark.promise("RUN-08")
    def test_pure_steps_cost_few_commits(self, store: SqliteStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            for seq in range(1, 2_001):
                store.behind(step("exe_1", seq))
                if seq % 10 == 0:
                    await asyncio.sleep(0)
            await store.commit(step("exe_1", 2_001, head=Head(status="done", at_us=START_US)))

        run(main())
        assert store.counts.rows == 2_002
        assert store.counts.commits <= 0.05 * store.counts.rows

    def test_a_lone_commit_is_one_commit(self, store: SqliteStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            for seq in range(1, 51):
                await store.commit(step("exe_1", seq, leaves=[b"leaf"]))

        run(main())
        assert (store.counts.commits, store.counts.batches, store.counts.rows, store.counts.leaves) == (51, 51, 51, 50)

    def test_what_is_behind_goes_out_by_itself(self, store: SqliteStore, home: Path) -> None:
        run(store.commit(birth("exe_1")))
        store.behind(step("exe_1", 1))
        deadline = time.monotonic() + PATIENCE_S
        while len(store.rows("exe_1")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def test_many_rows_behind_do_not_wait_for_the_timer(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "BEHIND_S", 3_600.0)
        run(store.commit(birth("exe_1")))
        for seq in range(1, writer.BEHIND_ROWS + 1):
            store.behind(step("exe_1", seq))
        deadline = time.monotonic() + PATIENCE_S
        while len(store.rows("exe_1")) < writer.BEHIND_ROWS + 1:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def test_a_full_queue_makes_its_filler_wait(self, store: SqliteStore, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the file held by somebody else the queue fills up; once it is let go, everything that was handed over is there."""
        monkeypatch.setattr(writer, "MAX_PENDING_BYTES", 100_000)
        run(store.commit(birth("exe_1")))
        blocker = sqlite3.connect(home / "omega.db", isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        handed: list[int] = []

        def fill() -> None:
            for seq in range(1, 101):
                store.behind(Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_1", seq, payload=bytes(10_000))))
                handed.append(seq)

        filler = threading.Thread(target=fill)
        filler.start()
        filler.join(0.5)
        assert filler.is_alive()
        assert len(handed) < 40
        blocker.execute("ROLLBACK")
        blocker.close()
        filler.join(PATIENCE_S)
        run(store.flush())
        assert len(store.rows("exe_1")) == 101

    def test_a_group_is_few_statements(self, sound: Path) -> None:
        """One statement per row would hand the interpreter's lock back and forth as often; see the theory in ledger.py."""
        connection = schema.open_writing(sound)
        engine = connection.execute("SELECT value FROM meta WHERE key = 'engine'").fetchone()[0]
        ledger = Ledger(connection, engine=engine, owner="engine-1", sequencer=NoteSequencer(), now_us=lambda: START_US)
        for seq in (2, 3):
            statements: list[str] = []
            connection.set_trace_callback(statements.append)
            ledger.begin()
            for number in range(40):
                batch = Batch(tenant=TENANT, execution=f"exe_{number}", epoch=1, rows=rows(f"exe_{number}", 5 * seq, 5))
                ledger.stage(batch)
            ledger.commit()
            connection.set_trace_callback(None)
        connection.close()
        assert len(statements) == 3 + 3 + 1, "begin, engine epoch, commit; 64 + 64 + 64 rows; 8 rows"

    @pytest.mark.parametrize("bad", ["surrogate", "text", "number"])
    def test_a_value_that_fits_no_column_harms_its_own_batch_only(self, store: SqliteStore, bad: str) -> None:
        row: Any = {
            "surrogate": Row("exe_1", 1, Kind.DONE, "\ud800", b""),
            "text": Row("exe_1", 1, Kind.DONE, "a", "text where bytes belong"),  # type: ignore[arg-type]
            "number": Row("exe_1", 1 << 70, Kind.DONE, "a", b""),
        }[bad]

        async def main() -> list[Committed | BaseException]:
            await together(store, [birth("exe_1"), birth("exe_2")])
            return await together(store, [Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=[row]), step("exe_2", 1)])

        refused, good = run(main())
        assert isinstance(refused, OmegaError)
        assert isinstance(good, Committed)
        assert store.rows("exe_1") == rows("exe_1", 0)

    def test_a_loop_that_is_gone_is_no_trouble(self, store: SqliteStore) -> None:
        async def main() -> None:
            await store.commit(birth("exe_1"))
            caller = asyncio.ensure_future(store.commit(step("exe_1", 1)))
            await asyncio.sleep(0)
            caller.cancel()

        run(main())
        run(store.commit(step("exe_1", 2)))
        assert len(store.rows("exe_1")) == 3

    def test_errors_speak_of_no_payload(self, store: SqliteStore) -> None:
        async def main() -> BaseException:
            await store.commit(birth("exe_1"))
            batch = Batch(tenant=TENANT, execution="exe_1", epoch=1, rows=rows("exe_1", 0, payload=b"a secret payload"))
            return (await asyncio.gather(store.commit(batch), return_exceptions=True))[0]  # type: ignore[return-value]

        error = run(main())
        assert isinstance(error, StorageError)
        assert "secret" not in json.dumps(error.record())
