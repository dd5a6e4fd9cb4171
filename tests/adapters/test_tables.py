"""Tables of features: the suite on SQLite and PostgreSQL; the locks behind the statements; a crash between commit and journal."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy

from omega.adapters.tables import open_tables
from omega.kernel.errors import InputError, StorageError
from omega.kernel.ports import Schema, Tables
from omega.testing.conformance.tables import ONE, Opening, TablesConformance, probe, run, turn
from servers.postgres import PostgresServer, serve


@pytest.mark.promise("TEN-01")
class TestSqlite(TablesConformance):
    @pytest.fixture
    def opening(self, tmp_path: Path) -> Opening:
        return lambda: open_tables(tmp_path)

    def test_the_file_is_the_users_alone(self, opening: Opening, tmp_path: Path) -> None:
        run(opening, lambda tables: tables.change(probe(), "put", {"name": "a", "body": "x"}, turn()))
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("tables.db*"))

    def test_another_program_cannot_write_rows_of_nobody(self, opening: Opening, tmp_path: Path) -> None:
        run(opening, lambda tables: tables.change(probe(), "put", {"name": "a", "body": "x"}, turn()))
        with sqlite3.connect(tmp_path / "tables.db") as stranger, pytest.raises(sqlite3.OperationalError, match="omega_tenant"):
            stranger.execute("INSERT INTO probe_notes (tenant, name, body) VALUES ('ten_other', 'b', 'y')")

    def test_nothing_of_a_purged_tenant_is_left_in_the_files(self, opening: Opening, tmp_path: Path) -> None:
        run(opening, lambda tables: tables.change(probe(), "put", {"name": "a", "body": "tell-tale" * 500}, turn()))
        run(opening, lambda tables: tables.purge(ONE))
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and (b"tell-tale" in path.read_bytes())]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM probe_notes",
            "SELECT body FROM main.probe_notes",
            "SELECT count(*) FROM omega_applied WHERE tenant <> ''",
            "SELECT 1 FROM probe_notes_own WHERE EXISTS (SELECT 1 FROM probe_notes WHERE tenant = 'ten_other')",
            "DELETE FROM probe_notes WHERE tenant = 'ten_other'",
            "UPDATE probe_notes SET body = 'mine' WHERE tenant = 'ten_other'",
            "INSERT INTO probe_notes (tenant, name, body) VALUES ('ten_other', 'forged', 'x')",
            "DROP TABLE probe_notes",
            "ATTACH DATABASE ':memory:' AS elsewhere",
            "PRAGMA writable_schema = 1",
            "CREATE TEMP VIEW probe_notes AS SELECT 1",
        ],
    )
    def test_the_database_itself_refuses_what_gets_past_the_statements(self, tmp_path: Path, sql: str) -> None:
        """The second lock alone: text on the very connection of a transaction, as if the first lock had been picked."""

        def pick(session: Any, tenant: str, values: Any) -> Any:
            try:
                session._connection.exec_driver_sql(sql)
            except sqlalchemy.exc.DatabaseError as error:
                return str(error.orig)
            return ""

        own = probe()
        picked = replace(own, looks={"pick": pick, "all": own.looks["all"]})

        async def work(tables: Tables) -> tuple[str, Any]:
            await tables.change(picked, "put", {"name": "b", "body": "theirs"}, turn(tenant="ten_other"))
            return await tables.look(picked, "pick", {}, ONE), await tables.look(picked, "all", {}, "ten_other")

        refusal, left = run(lambda: open_tables(tmp_path), work)
        assert "prohibited" in refusal or "not authorized" in refusal or "another tenant" in refusal, refusal
        assert [row["body"] for row in left] == ["theirs"]


def test_without_sqlalchemy_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("omega.adapters.tables.sqlite", "sqlalchemy"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    schema = Schema(name="none", version=1, tables=None, changes={}, looks={})
    with pytest.raises(InputError) as caught:
        run(lambda: open_tables(tmp_path), lambda tables: tables.look(schema, "all", {}, ONE))
    assert caught.value.code == "OMG-X001" and "server" in caught.value.advice


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from serve()


@pytest.mark.promise("TEN-01")
class TestPostgres(TablesConformance):
    @pytest.fixture
    def opening(self, server: PostgresServer, tmp_path: Path) -> Opening:
        dsn = server.fresh()
        return lambda: open_tables(tmp_path, dsn)

    def test_the_database_itself_hides_rows_and_refuses_others(self, server: PostgresServer, tmp_path: Path) -> None:
        """The second lock alone: plain SQL as the owner of the tables, who names another tenant or none."""
        dsn = server.fresh()
        run(lambda: open_tables(tmp_path, dsn), lambda tables: tables.change(probe(), "put", {"name": "a", "body": "x"}, turn()))

        async def seen(setting: dict[str, str]) -> int:
            connection = await asyncpg.connect(dsn, server_settings=setting)
            try:
                for table in ("probe_notes", "omega_applied"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        values = (
                            "('ten_stranger', 'f', 'x')" if table == "probe_notes" else "('ten_stranger', 'e', 's', 1, 'c', 'd', 'r', 1)"
                        )
                        await connection.execute(f"INSERT INTO {table} VALUES {values}")
                await connection.execute("UPDATE probe_notes SET body = 'mine'")
                await connection.execute("DELETE FROM omega_applied")
                return sum([await connection.fetchval(f"SELECT count(*) FROM {table}") for table in ("probe_notes", "omega_applied")])
            finally:
                await connection.close()

        for setting in ({}, {"omega.tenant": "ten_other"}, {"omega.tenant": "*"}):
            assert asyncio.run(seen(setting)) == 0
        assert run(lambda: open_tables(tmp_path, dsn), lambda tables: tables.look(probe(), "all", {}, ONE))[0]["body"] == "x"

    @pytest.mark.promise("TEN-01")
    @pytest.mark.parametrize("exempt", ["SUPERUSER", "BYPASSRLS"])
    def test_a_role_that_no_policy_binds_is_refused_before_anything_is_made(
        self, server: PostgresServer, tmp_path: Path, exempt: str
    ) -> None:
        role = f"exempt_{exempt.lower()}"
        own = server.dsn(role="postgres", database="postgres")
        asyncio.run(server.execute(f"CREATE ROLE {role} LOGIN {exempt} PASSWORD '{server.password}'", dsn=own))
        dsn = server.dsn(role=role, database="postgres")
        with pytest.raises(StorageError) as caught:
            run(lambda: open_tables(tmp_path, dsn), lambda tables: tables.look(probe(), "all", {}, ONE))
        assert caught.value.code == "OMG-S007" and "NOBYPASSRLS" in caught.value.advice
        assert asyncio.run(_fetched(dsn, "SELECT to_regclass('probe_notes')")) is None

    @pytest.mark.promise("TEN-01")
    @pytest.mark.parametrize("undone", ["NO FORCE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY"])
    def test_a_table_without_its_lock_is_refused(self, server: PostgresServer, tmp_path: Path, undone: str) -> None:
        dsn = server.fresh()
        run(lambda: open_tables(tmp_path, dsn), lambda tables: tables.change(probe(), "put", {"name": "a", "body": "x"}, turn()))
        asyncio.run(_fetched(dsn, f"ALTER TABLE probe_notes {undone}"))
        with pytest.raises(StorageError) as caught:
            run(lambda: open_tables(tmp_path, dsn), lambda tables: tables.look(probe(), "all", {}, "ten_other"))
        assert caught.value.code == "OMG-S007" and caught.value.details["tables"] == ["probe_notes"]


async def _fetched(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()
