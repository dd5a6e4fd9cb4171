"""The suite for `kernel.ports.Tables`: a change is made once per step, and no tenant reads or writes another's rows, however it asks.

class TestMyTables(TablesConformance):
    @pytest.fixture
    def opening(self, tmp_path): return lambda: open_tables(tmp_path)      # each call opens the same tables
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from omega.kernel.errors import OmegaError
from omega.kernel.ports import Schema, Tables, TableSession, Turn

Opening = Callable[[], Tables]
ONE, OTHER = "ten_one", "ten_other"


def probe() -> Schema:
    """A schema with one table, honest transactions, and hostile ones."""
    sa = pytest.importorskip("sqlalchemy")
    tables = sa.MetaData()
    note = sa.Table(
        "probe_notes",
        tables,
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    alien = sa.Table("other_notes", sa.MetaData(), sa.Column("tenant", sa.String), sa.Column("body", sa.Text))

    def put(session: TableSession, tenant: str, values: Mapping[str, Any]) -> Any:
        session.execute(sa.insert(note).values(name=values["name"], body=values["body"]))
        return {"name": values["name"]}

    def fail(session: TableSession, tenant: str, values: Mapping[str, Any]) -> Any:
        put(session, tenant, values)
        raise OmegaError("OMG-I001", "not this time")

    def says(statement: Any, *, rows: bool = False) -> Callable[[TableSession, str, Mapping[str, Any]], Any]:
        return lambda session, tenant, values: session.rows(statement) if rows else session.execute(statement)

    a = note.alias("a")
    return Schema(
        name="probe",
        version=1,
        tables=tables,
        changes={
            "put": put,
            "fail": fail,
            "odd": lambda session, tenant, values: object(),
            "drop_all": says(sa.delete(note)),
            "overwrite_all": says(sa.update(note).values(body="mine")),
            "give_away": says(sa.update(note).values(tenant=OTHER)),
            "put_for_another": says(sa.insert(note).values(tenant=OTHER, name="forged", body="x")),
            "put_several": says(sa.insert(note).values([{"tenant": OTHER, "name": "forged", "body": "x"}])),
            "copy": says(sa.insert(note).from_select(["tenant", "name", "body"], sa.select(note))),
            "text": says(sa.text("DELETE FROM probe_notes")),
            "text_inside": says(sa.delete(note).where(sa.text("1 = 1"))),
            "literal_inside": says(sa.update(note).values(body=sa.literal_column("(SELECT max(body) FROM probe_notes)"))),
            "rebind": says(sa.update(note).values(body=sa.func.set_config("omega.tenant", OTHER, True))),
            "alien": says(sa.insert(alien).values(tenant=ONE, body="x")),
        },
        looks={
            "all": says(sa.select(note).order_by(note.c.name), rows=True),
            "named": says(sa.select(note).where(note.c.tenant == ONE), rows=True),
            "aliased": says(sa.select(a).where(a.c.name != ""), rows=True),
            "joined": says(sa.select(note.c.body, a.c.body.label("b")).select_from(note.outerjoin(a, a.c.name == note.c.name)), rows=True),
            "nested": says(sa.select(sa.select(sa.func.count()).select_from(note).scalar_subquery().label("n")), rows=True),
            "union": says(sa.select(note.c.body).union_all(sa.select(a.c.body)), rows=True),
            "derived": says(sa.select(sa.select(note).subquery()), rows=True),
            "common": says(sa.select(sa.select(note).cte()), rows=True),
            "text": says(sa.text("SELECT * FROM probe_notes"), rows=True),
            "from_text": says(sa.select(sa.literal_column("*")).select_from(sa.text("probe_notes")), rows=True),
            "light": says(sa.select(sa.table("probe_notes", sa.column("body"))), rows=True),
            "write": says(sa.delete(note)),
        },
    )


REFUSED_CHANGES = ("put_for_another", "put_several", "copy", "text", "text_inside", "literal_inside", "rebind", "alien", "give_away")
FOREIGN_LOOKS = ("all", "named", "aliased", "joined", "nested", "union", "derived", "common")
REFUSED_LOOKS = ("text", "from_text", "light", "write")


class TablesConformance:
    """What every keeper of tables promises. Override the fixture `opening`."""

    @pytest.fixture
    def opening(self) -> Opening:
        """To be overridden."""
        raise pytest.UsageError("override the fixture opening")

    @pytest.fixture
    def schema(self) -> Schema:
        return probe()

    def test_what_was_put_is_there_also_after_closing(self, opening: Opening, schema: Schema) -> None:
        async def put(tables: Tables) -> None:
            assert await tables.change(schema, "put", {"name": "a", "body": "first"}, turn()) == {"name": "a"}

        run(opening, put)
        assert run(opening, lambda tables: tables.look(schema, "all", {}, ONE)) == [{"tenant": ONE, "name": "a", "body": "first"}]

    def test_a_step_changes_once_and_gets_the_first_result_again(self, opening: Opening, schema: Schema) -> None:
        async def thrice(tables: Tables) -> Any:
            for _ in range(3):
                assert await tables.change(schema, "put", {"name": "a", "body": "first"}, turn()) == {"name": "a"}
            return await tables.look(schema, "all", {}, ONE)

        assert len(run(opening, thrice)) == 1
        assert run(opening, lambda tables: tables.change(schema, "put", {"name": "a", "body": "first"}, turn(epoch=2))) == {"name": "a"}

    def test_the_same_step_at_the_same_time_changes_once(self, opening: Opening, schema: Schema) -> None:
        async def at_once(tables: Tables) -> Any:
            change = {"name": "a", "body": "first"}
            assert await asyncio.gather(*(tables.change(schema, "put", change, turn()) for _ in range(4))) == [{"name": "a"}] * 4
            return await tables.look(schema, "all", {}, ONE)

        assert len(run(opening, at_once)) == 1

    def test_another_change_of_the_same_step_is_refused(self, opening: Opening, schema: Schema) -> None:
        async def two(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "first"}, turn())
            await refused("OMG-R015", tables.change(schema, "put", {"name": "b", "body": "second"}, turn()))
            return await tables.look(schema, "all", {}, ONE)

        assert [row["name"] for row in run(opening, two)] == ["a"]

    def test_values_drawn_anew_after_a_crash_do_not_change_what_was_done(self, opening: Opening, schema: Schema) -> None:
        async def crashed(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "first"}, turn())
            assert await tables.change(schema, "put", {"name": "b", "body": "again"}, turn(epoch=2)) == {"name": "a"}
            await refused("OMG-R015", tables.change(schema, "drop_all", {}, turn(epoch=3)))
            return await tables.look(schema, "all", {}, ONE)

        assert [row["name"] for row in run(opening, crashed)] == ["a"]

    def test_a_stale_owner_changes_nothing(self, opening: Opening, schema: Schema) -> None:
        async def stale(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "first"}, turn(epoch=2))
            await refused("OMG-S006", tables.change(schema, "put", {"name": "b", "body": "late"}, turn(step="next", epoch=1)))
            return await tables.look(schema, "all", {}, ONE)

        assert [row["name"] for row in run(opening, stale)] == ["a"]

    def test_a_change_that_fails_leaves_nothing_and_may_be_tried_again(self, opening: Opening, schema: Schema) -> None:
        async def failing(tables: Tables) -> Any:
            await refused("OMG-I001", tables.change(schema, "fail", {"name": "a", "body": "x"}, turn()))
            await refused("OMG-R002", tables.change(schema, "odd", {}, turn()))
            await refused("OMG-I001", tables.change(schema, "nothing", {}, turn()))
            assert await tables.look(schema, "all", {}, ONE) == []
            return await tables.change(schema, "put", {"name": "a", "body": "x"}, turn())

        assert run(opening, failing) == {"name": "a"}

    def test_a_note_is_kept_for_a_year_and_no_longer(self, opening: Opening, schema: Schema) -> None:
        year = 367 * 86_400 * 1_000_000
        first = {"name": "a", "body": "first"}

        async def put(tables: Tables) -> None:
            await tables.change(schema, "put", first, turn())

        async def within(tables: Tables) -> None:
            assert await tables.change(schema, "put", first, replace(turn(), at_us=year // 2)) == {"name": "a"}

        async def after(tables: Tables) -> None:
            await refused("OMG-I001", tables.change(schema, "put", first, replace(turn(), at_us=turn().at_us + year)))

        for work in (put, within, after):
            run(opening, work)

    def test_a_rule_of_the_tables_refuses(self, opening: Opening, schema: Schema) -> None:
        async def twice(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "first"}, turn())
            await refused("OMG-I001", tables.change(schema, "put", {"name": "a", "body": "second"}, turn(step="next")))
            return await tables.look(schema, "all", {}, ONE)

        assert [row["body"] for row in run(opening, twice)] == ["first"]

    @pytest.mark.parametrize("look", FOREIGN_LOOKS)
    def test_another_tenant_reads_nothing(self, opening: Opening, schema: Schema, look: str) -> None:
        async def foreign(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "private"}, turn())
            assert "private" in str(await tables.look(schema, "all", {}, ONE))
            return await tables.look(schema, look, {}, OTHER)

        assert run(opening, foreign) in ([], [{"n": 0}])

    @pytest.mark.parametrize("look", REFUSED_LOOKS)
    def test_a_question_in_text_or_one_that_writes_is_refused(self, opening: Opening, schema: Schema, look: str) -> None:
        async def hostile(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "private"}, turn())
            await refused("OMG-F003", tables.look(schema, look, {}, OTHER))
            return await tables.look(schema, "all", {}, ONE)

        assert len(run(opening, hostile)) == 1

    @pytest.mark.parametrize("change", ["drop_all", "overwrite_all"])
    def test_a_change_of_everything_changes_ones_own(self, opening: Opening, schema: Schema, change: str) -> None:
        async def hostile(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "first"}, turn())
            assert await tables.change(schema, change, {}, turn(tenant=OTHER)) == 0
            return await tables.look(schema, "all", {}, ONE)

        assert run(opening, hostile) == [{"tenant": ONE, "name": "a", "body": "first"}]

    @pytest.mark.parametrize("change", REFUSED_CHANGES)
    def test_a_change_that_reaches_for_another_tenant_has_no_effect_there(self, opening: Opening, schema: Schema, change: str) -> None:
        async def hostile(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "first"}, turn())
            await tables.change(schema, "put", {"name": "b", "body": "theirs"}, turn(tenant=OTHER))
            try:
                await tables.change(schema, change, {}, turn(step="hostile"))
            except OmegaError as error:
                assert error.code in ("OMG-F003", "OMG-I001"), error
            return await tables.look(schema, "all", {}, OTHER)

        assert run(opening, hostile) == [{"tenant": OTHER, "name": "b", "body": "theirs"}]

    def test_what_a_step_of_one_tenant_noted_is_nothing_to_another(self, opening: Opening, schema: Schema) -> None:
        async def both(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "x"}, turn())
            await tables.change(schema, "put", {"name": "a", "body": "x"}, turn(tenant=OTHER))
            return await tables.look(schema, "all", {}, OTHER)

        assert len(run(opening, both)) == 1

    def test_a_purge_takes_everything_of_one_tenant(self, opening: Opening, schema: Schema) -> None:
        async def purged(tables: Tables) -> Any:
            await tables.change(schema, "put", {"name": "a", "body": "x"}, turn())
            await tables.change(schema, "put", {"name": "b", "body": "y"}, turn(tenant=OTHER))
            assert await tables.purge(ONE) == 2  # the row, and the note of the step
            assert await tables.purge(ONE) == 0
            assert await tables.look(schema, "all", {}, ONE) == []
            return await tables.look(schema, "all", {}, OTHER)

        assert [row["name"] for row in run(opening, purged)] == ["b"]

    def test_an_erasure_is_given_what_was_made_and_leaves_no_note_of_it(self, opening: Opening, schema: Schema) -> None:
        seen: list[Any] = []

        def clear(session: TableSession, tenant: str, values: Mapping[str, Any]) -> Any:
            seen.append(values["made"])
            return {"erased": schema.changes["drop_all"](session, tenant, values)}

        erasing = replace(schema, changes={**schema.changes, "clear": clear})

        async def erased(tables: Tables) -> Any:
            first = await tables.change(schema, "put", {"name": "grete", "body": "x"}, turn())
            await tables.change(schema, "put", {"name": "b", "body": "y"}, turn(tenant=OTHER))
            assert first == {"name": "grete"} and await tables.stands()
            other = replace(turn(), execution="exe_other")
            await tables.change(schema, "put", {"name": "grete-marie", "body": "z"}, other)
            for _ in range(2):  # as often as it is asked for, by one step or another
                await tables.erase(erasing, "clear", {"subjects": ["grete"]}, turn(step="erasing"), ["exe_probe", "exe_none"])
            assert seen == [[{"name": "grete"}], [None]], "the result held the name, and is gone"
            assert await tables.change(schema, "put", {"name": "grete", "body": "changed"}, turn()) is None, "it was made, and is not again"
            again = await tables.change(schema, "put", {"name": "grete-marie", "body": "z"}, other)
            assert again == {"name": "grete-marie"}, "somebody else, whose name begins alike"
            assert await tables.look(schema, "all", {}, ONE) == []
            return await tables.look(schema, "all", {}, OTHER)

        assert [row["name"] for row in run(opening, erased)] == ["b"]

    def test_tables_are_migrated_and_newer_ones_are_refused(self, opening: Opening, schema: Schema) -> None:
        later = _later(schema)

        async def old(tables: Tables) -> None:
            await tables.change(schema, "put", {"name": "a", "body": "x"}, turn())

        async def new(tables: Tables) -> Any:
            await tables.change(later, "colour", {"name": "a", "colour": "red"}, turn(step="colour"))
            assert await tables.look(later, "all", {}, OTHER) == []
            return await tables.look(later, "all", {}, ONE)

        async def older_again(tables: Tables) -> None:
            await refused("OMG-S003", tables.look(schema, "all", {}, ONE))

        run(opening, old)
        assert run(opening, new) == [{"tenant": ONE, "name": "a", "body": "x", "colour": "red"}]
        run(opening, older_again)


def _later(schema: Schema) -> Schema:
    """The next version of the probe: a column more."""
    import sqlalchemy as sa

    tables = sa.MetaData()
    columns = [column._copy() for column in schema.tables.tables["probe_notes"].columns]
    note = sa.Table("probe_notes", tables, *columns, sa.Column("colour", sa.String))

    def colour(session: TableSession, tenant: str, values: Mapping[str, Any]) -> Any:
        return session.execute(sa.update(note).where(note.c.name == values["name"]).values(colour=values["colour"]))

    return replace(
        schema,
        version=2,
        tables=tables,
        changes={"colour": colour},
        looks={"all": lambda session, tenant, values: session.rows(sa.select(note))},
        migrations={2: ("ALTER TABLE probe_notes ADD COLUMN colour VARCHAR",)},
    )


def turn(*, tenant: str = ONE, step: str = "step", epoch: int = 1) -> Turn:
    """The turn of a step."""
    return Turn(tenant=tenant, execution="exe_probe", step=step, epoch=epoch, at_us=1_000_000)


async def refused(code: str, work: Awaitable[Any]) -> None:
    """`work` must be refused with `code`."""
    with pytest.raises(OmegaError) as caught:
        await work
    assert caught.value.code == code, caught.value


def run(opening: Opening, work: Callable[[Tables], Awaitable[Any]]) -> Any:
    """`work` on newly opened tables, which are closed afterwards."""

    async def whole() -> Any:
        tables = opening()
        try:
            return await work(tables)
        finally:
            await tables.aclose()

    return asyncio.run(whole())
