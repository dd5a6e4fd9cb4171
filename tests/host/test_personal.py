"""What features keep about people: found, told and erased in every one of them, and nothing of it is left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from hosted import Installation
from omega import Context
from omega.adapters.tables import open_tables
from omega.contracts.remembering import Entry, remember
from omega.host.discover import manifests, methods, schema_of
from omega.host.erasing import erase
from omega.host.holds import HOLD
from omega.host.personal import PersonalData, merged
from omega.host.settings import TENANT
from omega.kernel.errors import OmegaError
from omega.kernel.flow import flow
from omega.kernel.ports import Call
from omega.kernel.service import Manifest

ADA, EVE = "person:ada-of-charlottenstrasse", "person:eve-of-the-second-floor"
NUMBER = "078-05-1120"
SECRET = "Grete Samsa of Charlottenstrasse has a carapace"
OTHERS = "Gregor travels in textiles"


def run(home: Path, work: Callable[[Installation], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Installation.open(home) as installation:
            return await work(installation)

    return asyncio.run(main())


def traces(home: Path, *marks: str) -> list[str]:
    """The files in which a mark stands, as text or as hex."""
    wanted = [form for mark in marks for form in (mark.encode(), mark.encode().hex().encode())]
    return [path.name for path in sorted(home.rglob("*")) if path.is_file() and any(form in path.read_bytes() for form in wanted)]


def mark_of(here: Installation, subject: str) -> str:
    return here.omega.world.keyring.subject(TENANT, subject)


@flow(needs="memory:use")
async def noting(ctx: Context, text: str) -> str:
    """Remembers something without saying whom it is about: the call says it."""
    await ctx.call(remember, Entry(agent="desk", text=text))
    return "noted"


@pytest.mark.promise("LOG-81")
def test_every_feature_with_tables_says_how_people_are_found_in_them() -> None:
    silent = [name for name, each in manifests().items() if each.tables and each.personal is None]
    assert silent == []
    for each in manifests().values():
        if each.personal is not None:
            schema, personal = schema_of(each), each.personal
            assert {personal.named, personal.told} <= set(schema.looks), each.name
            assert {personal.erase, *personal.destroys, *personal.trims} <= set(schema.changes), each.name
    stranger = Manifest("guestbook", "1.0.0", "who came", "guestbook.service:Guestbook", tables="guestbook.store:SCHEMA")
    data = PersonalData(open_tables(Path("nowhere")), lambda: manifests() | {"guestbook": stranger})
    assert data.unsaid() == ["guestbook"], "one that does not say so is found out"
    assert "erase" not in methods("memory"), "nobody calls the erasure of a feature by itself"


@pytest.mark.promise("LOG-82")
def test_what_is_remembered_of_somebody_is_erased_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    async def work(here: Installation) -> tuple[Any, Any]:
        eve = here.passport(TENANT, EVE)
        await here.ask("memory.remember", {"agent": "desk", "text": SECRET, "about": NUMBER, "shared": True})
        await here.ask("memory.remember", {"agent": "desk", "text": OTHERS, "shared": True})
        call = Call(passport=here.owner(), flow=noting, input=f"{SECRET}, again", labels={"subject": NUMBER})
        assert (await here.omega.road.call(call)).error is None
        await here.ask("memory.remember", {"agent": "desk", "conversation": "c", "said": "task", "text": "where is my order?"}, eve)
        assert traces(tmp_path, SECRET) != [], "it is in the folder before"
        done = await here.omega.ask(erase, {"mark": mark_of(here, NUMBER)})
        assert traces(tmp_path, SECRET, NUMBER) == [], "not even while the engine goes on"
        again = await here.omega.ask(erase, {"mark": mark_of(here, NUMBER)})
        assert (again["features"], again["unsaid"]) == ({}, [])
        hers = await here.omega.ask(erase, {"mark": mark_of(here, EVE)})
        left = [each["text"] for each in await here.ask("memory.recall", {"agent": "desk"})]
        assert left == [OTHERS], "nobody else's is touched"
        return done, hers

    done, hers = run(tmp_path, work)
    assert done["features"] == {"memory": {"erased": 2, "left": 0}} and done["erased"] == 2
    assert hers["features"] == {"memory": {"erased": 1, "left": 0}}, "what somebody told is theirs as well"
    assert traces(tmp_path, SECRET, NUMBER, "where is my order?") == []


@pytest.mark.slow
@pytest.mark.promise("LOG-82")
def test_what_remains_in_the_tables_confirms_no_guess(tmp_path: Path) -> None:
    """The notes of changes held a plain hash of each: with the id and the times, a text could be tried."""
    given: list[str] = []

    async def work(here: Installation) -> None:
        await here.ask("memory.remember", {"agent": "desk", "text": SECRET, "about": NUMBER})
        given.extend(_digests(tmp_path))
        await here.omega.ask(erase, {"mark": mark_of(here, NUMBER)})

    run(tmp_path, work)
    assert len(given) == 1 and len(given[0]) == len(sha256().hexdigest())
    assert traces(tmp_path, given[0]) == [] and _digests(tmp_path) == [""]


def _digests(home: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(home / "tables.db") as database:
        return [row[0] for row in database.execute("SELECT digest FROM omega_applied")]


@pytest.mark.slow
@pytest.mark.promise("LOG-82")
def test_members_and_keys_of_somebody_go_and_a_key_in_use_is_named(tmp_path: Path) -> None:
    async def work(here: Installation) -> tuple[Any, ...]:
        for who in (ADA, EVE):
            await here.ask("tenancy.put_member", {"principal": who, "role": "member", "name": f"{who} herself"})
        made, _ = await here.key(TENANT, "agent:ci")
        first = await here.omega.ask(erase, {"mark": mark_of(here, "agent:ci")})
        await here.ask("tenancy.revoke_key", {"key": made})
        second = await here.omega.ask(erase, {"mark": mark_of(here, "agent:ci")})
        third = await here.omega.ask(erase, {"mark": mark_of(here, ADA)})
        return first["features"], second["features"], third["features"], await here.ask("tenancy.members")

    first, second, third, members = run(tmp_path, work)
    assert first == {"tenancy": {"erased": 0, "left": 1}}, "a key that works is revoked, not forgotten"
    assert second == third == {"tenancy": {"erased": 1, "left": 0}}
    assert [each["principal"] for each in members] == [EVE]
    assert "tables.db" not in traces(tmp_path, f"{ADA} herself")


@pytest.mark.promise("LOG-83")
def test_a_hold_keeps_what_is_remembered_from_every_way_of_destroying_it(tmp_path: Path) -> None:
    async def work(here: Installation) -> tuple[Any, ...]:
        await here.ask("memory.remember", {"agent": "desk", "text": SECRET, "about": NUMBER, "days": 1e-9})
        await here.omega.arrange(HOLD, TENANT, {"reason": "case 7"})
        refused = await here.refusal("memory.forget", {"about": NUMBER})
        with pytest.raises(OmegaError) as caught:
            await here.omega.ask(erase, {"mark": mark_of(here, NUMBER)})
        await here.ask("memory.remember", {"agent": "desk", "text": OTHERS})
        told = await PersonalData(open_tables(tmp_path)).told(TENANT, NUMBER)
        return refused, caught.value.code, [each["text"] for each in told["memory"]]

    assert run(tmp_path, work) == ("OMG-C004", "OMG-C004", [SECRET]), "also what is over its time is still there"


@pytest.mark.slow
@pytest.mark.promise("LOG-83")
def test_everything_that_is_kept_of_somebody_is_told_page_by_page(tmp_path: Path) -> None:
    async def work(here: Installation) -> Any:
        for number in range(9):
            await here.ask("memory.remember", {"agent": "desk", "text": f"note {number}", "about": NUMBER})
        await here.ask("memory.remember", {"agent": "desk", "text": OTHERS})
        await here.ask("tenancy.put_member", {"principal": ADA, "role": "member", "name": "Ada"})
        data = PersonalData(open_tables(tmp_path))
        return await data.told(TENANT, NUMBER), await data.told(TENANT, ADA), await data.told("ten_other", NUMBER)

    number, ada, other = run(tmp_path, work)
    assert sorted(each["text"] for each in number["memory"]) == [f"note {number}" for number in range(9)] and set(number) == {"memory"}
    assert [each["name"] for each in ada["tenancy"]] == ["Ada"]
    assert other == {}


def test_where_nothing_was_ever_kept_nothing_is_made(tmp_path: Path) -> None:
    async def work(here: Installation) -> Any:
        return (await here.omega.ask(erase, {"mark": mark_of(here, NUMBER)}))["features"]

    assert run(tmp_path, work) == {}
    assert not (tmp_path / "tables.db").exists()


def test_several_erasures_come_to_one_account() -> None:
    one, two = {"memory": {"erased": 2, "left": 1}, "tenancy": {"erased": 0, "left": 0}}, {"memory": {"erased": 1, "left": 0}}
    assert merged([one, {}, two]) == {"memory": {"erased": 3, "left": 0}}


@pytest.mark.slow
@pytest.mark.promise("LOG-82")
@pytest.mark.parametrize("dies", ["features", "executions"])
def test_an_erasure_that_dies_in_the_middle_is_carried_out_when_it_goes_on(tmp_path: Path, dies: str) -> None:
    async def before(here: Installation) -> None:
        for number in range(3):
            call = Call(passport=here.owner(), flow=noting, input=f"{SECRET} {number}", labels={"subject": NUMBER})
            assert (await here.omega.road.call(call)).error is None
        await here.ask("memory.remember", {"agent": "desk", "text": SECRET, "about": NUMBER})

    run(tmp_path / "home", before)
    script = DYING.format(tests=str(Path(__file__).parents[1]), home=str(tmp_path / "home"), dies=dies, number=NUMBER)
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120, check=False)
    assert died.returncode == 9, died.stderr.decode()

    async def after(here: Installation) -> Any:
        (line,) = [each for each in here.omega.store.lines(tenant=TENANT, limit=50) if each.flow == "erase"]
        assert line.status == "running"
        return (await here.omega.resume(line.execution, erase)).value

    done = run(tmp_path / "home", after)
    assert done["left"] == 0 and traces(tmp_path / "home", SECRET, NUMBER) == []
    assert run(tmp_path / "home", lambda here: here.ask("memory.recall", {"agent": "desk"})) == []


DYING = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from hosted import Installation
from omega.adapters.sqlite import SqliteStore
from omega.adapters.tables.sqlite import SqliteTables
from omega.host.erasing import erase

at = SqliteTables if {dies!r} == "features" else SqliteStore
whole = at.erase
async def dying(self, *given, **more):
    await whole(self, *given, **more)
    os._exit(9)     # it is destroyed, the journal does not know
at.erase = dying

async def main():
    async with Installation.open(Path({home!r})) as here:
        await here.omega.ask(erase, {{"mark": here.omega.world.keyring.subject("local", {number!r})}})
asyncio.run(main())
"""
