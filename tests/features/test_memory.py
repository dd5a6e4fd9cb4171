"""What agents remember, in a real engine with tenants: conversations are somebody's own, notes may be shared, everything expires."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosted import Installation
from omega.contracts.remembering import DAY_US, Entry, Forgotten, Query
from omega.features.memory import store
from omega.kernel.errors import Denied, OmegaError
from omega.kernel.service import INSTALLATION
from servers.postgres import PostgresServer
from servers.postgres import serve as started

ADA, EVE = "person:ada", "person:eve"
NOTE = {"agent": "desk", "text": "the printer on the second floor is called Ibsen"}


def run(home: Path, work: Callable[[Installation], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Installation.open(home) as installation:
            return await work(installation)

    return asyncio.run(main())


async def texts(installation: Installation, passport: str, **query: Any) -> list[str]:
    return [each["text"] for each in await installation.ask("memory.recall", {"agent": "desk", **query}, passport)]


@pytest.mark.promise("AGENT-06")
def test_a_conversation_is_read_by_whoever_began_it_alone(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[Any, ...]:
        ada, other = installation.owner(), installation.passport(INSTALLATION, EVE)
        for said, text in (("task", "where is my order?"), ("answer", "on its way")):
            await installation.ask("memory.remember", {"agent": "desk", "conversation": "c1", "said": said, "text": text}, ada)
        mine = await texts(installation, ada, conversation="c1")
        latest = await texts(installation, ada, conversation="c1", most=1)
        return mine, latest, await texts(installation, other, conversation="c1"), await texts(installation, ada, conversation="c2")

    assert run(tmp_path, work) == (["where is my order?", "on its way"], ["on its way"], [], [])


@pytest.mark.promise("AGENT-06")
def test_notes_are_ones_own_unless_they_are_shared_and_the_relevant_come_first(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[Any, ...]:
        ada, eve = installation.owner(), installation.passport(INSTALLATION, EVE)
        await installation.ask("memory.remember", NOTE | {"shared": True}, ada)
        await installation.ask("memory.remember", NOTE | {"text": "refunds take three days"}, ada)
        found = await texts(installation, ada, words="how long do refunds take?")
        return found, await texts(installation, eve), await texts(installation, eve, words="refunds"), await texts(installation, ada)

    relevant, hers, nothing, mine = run(tmp_path, work)
    assert (relevant, hers, nothing) == (["refunds take three days"], [NOTE["text"]], [])
    assert len(mine) == 2


@pytest.mark.promise("AGENT-07")
def test_what_expired_is_recalled_no_more_and_dropped_with_the_next(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[Any, ...]:
        await installation.ask("memory.remember", NOTE | {"days": 1e-9})
        gone = await texts(installation, installation.owner())
        kept = await installation.ask("memory.remember", NOTE | {"days": 2})
        standing = await installation.ask("memory.standing")
        return gone, kept["expires_us"] - installation.now_us, standing

    gone, left_us, standing = run(tmp_path, work)
    assert gone == []
    assert DAY_US < left_us <= 2 * DAY_US
    assert standing == [{"agent": "desk", "entries": 1}]


@pytest.mark.promise("AGENT-07")
def test_an_owner_forgets_what_is_about_somebody_and_others_their_own_alone(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[Any, ...]:
        owner, eve = installation.owner(), installation.passport(INSTALLATION, EVE, roles=("member",))
        await installation.ask("memory.remember", NOTE | {"about": "customer-7"}, owner)
        await installation.ask("memory.remember", NOTE | {"about": "customer-8"}, owner)
        with pytest.raises(OmegaError) as refused:
            await installation.ask("memory.forget", {}, owner)
        with pytest.raises(Denied):
            await installation.ask("memory.forget", {"agent": "desk"}, eve)
        forgotten = await installation.ask("memory.forget", {"about": "customer-7"}, owner)
        return refused.value.code, forgotten, len(await texts(installation, owner))

    assert run(tmp_path, work) == ("OMG-I001", {"forgotten": 1}, 1)


@pytest.mark.promise("AGENT-07")
def test_an_agent_that_acts_for_an_owner_forgets_what_is_the_owners_alone(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[Any, ...]:
        owner, eve = installation.owner(), installation.passport(INSTALLATION, EVE)
        world = installation.omega.world
        now = installation.now_us / 1_000_000
        scope = world.authority.verify(owner, now=now)
        rights = ("memory:use", "flows:run")
        agent = world.authority.delegate(scope, actor="agent:helper", capabilities=rights, ttl_s=600, now=now, jti="on")
        for passport in (owner, eve):
            await installation.ask("memory.remember", NOTE, passport)
        await installation.ask("memory.remember", NOTE | {"shared": True}, eve)
        acted = await installation.ask("memory.forget", {"agent": "desk"}, agent)
        return acted, len(await texts(installation, eve)), await installation.ask("memory.forget", {"agent": "desk"}, owner)

    assert run(tmp_path, work) == ({"forgotten": 1}, 2, {"forgotten": 2})


@pytest.mark.slow
@pytest.mark.promise("AGENT-06")
def test_no_tenant_remembers_for_another(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[Any, ...]:
        made = [
            (await installation.ask("tenancy.create", {"organisation": "acme", "project": "p", "environment": each}))["tenant"]
            for each in ("a", "b")
        ]
        one, two = (installation.passport(tenant, ADA) for tenant in made)
        await installation.ask("memory.remember", NOTE | {"shared": True}, one)
        await installation.ask("memory.forget", {"agent": "desk"}, two)
        return await texts(installation, one), await texts(installation, two)

    assert run(tmp_path, work) == ([NOTE["text"]], [])


@pytest.mark.slow
@pytest.mark.promise("AGENT-06")
def test_what_a_tenant_remembers_goes_with_it(tmp_path: Path) -> None:
    async def work(installation: Installation) -> tuple[int, int]:
        wanted = {"organisation": "acme", "project": "p", "environment": "a"}
        tenant = (await installation.ask("tenancy.create", wanted))["tenant"]
        await installation.ask("memory.remember", NOTE, installation.passport(tenant, ADA))
        before = rows()
        await installation.ask("tenancy.suspend", {"tenant": tenant, "reason": "it leaves"})
        await installation.ask("tenancy.delete", {"tenant": tenant, "export": "0" * 64})
        return before, rows()

    def rows() -> int:
        with closing(sqlite3.connect(tmp_path / "tables.db")) as database:
            return int(database.execute("SELECT count(*) FROM memory_entries").fetchone()[0])

    assert run(tmp_path, work) == (1, 0)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.mark.slow
@pytest.mark.promise("AGENT-07")
def test_a_database_remembers_and_forgets_the_same(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())

    async def work(installation: Installation) -> tuple[Any, ...]:
        ada, eve = installation.owner(), installation.passport(INSTALLATION, EVE)
        await installation.ask("memory.remember", {"agent": "desk", "conversation": "c", "said": "task", "text": "one"}, ada)
        await installation.ask("memory.remember", NOTE | {"shared": True, "about": "customer-7"}, ada)
        told = (
            await texts(installation, ada, conversation="c"),
            await texts(installation, eve, conversation="c"),
            await texts(installation, eve),
        )
        forgotten = await installation.ask("memory.forget", {"about": "customer-7"}, ada)
        return *told, forgotten, await installation.ask("memory.standing", {}, ada)

    mine, hers, shared, forgotten, standing = run(tmp_path, work)
    assert (mine, hers, shared) == (["one"], [], [NOTE["text"]])
    assert (forgotten, standing) == ({"forgotten": 1}, [{"agent": "desk", "entries": 1}])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Entry, {"agent": "desk", "text": "x", "conversation": "c", "shared": True}),
        (Entry, {"agent": "desk", "text": ""}),
        (Entry, {"agent": "desk", "text": "a\0b"}),
        (Entry, {"agent": "desk", "text": "x", "about": "\0"}),
        (Entry, {"agent": "desk", "text": "x", "days": 0}),
        (Entry, {"agent": "Desk!", "text": "x"}),
        (Query, {"agent": "desk", "conversation": "two words"}),
        (Query, {"agent": "desk", "most": 0}),
        (Forgotten, {}),
    ],
)
def test_what_cannot_be_meant_is_refused(kind: Any, value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"error"):
        kind.model_validate(value)


class Rows:
    """The latest notes, as a session gives them."""

    def __init__(self, found: list[str]) -> None:
        self._found = found

    def rows(self, _: Any) -> list[dict[str, Any]]:
        return [{"id": str(at), "text": text, "owner": "", "said": "note", "about": ""} for at, text in enumerate(self._found)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abc xyz", min_size=1, max_size=12), max_size=8), st.text("abc xyz", max_size=20), st.integers(1, 5))
def test_notes_that_speak_of_nothing_asked_are_left_out(found: list[str], words: str, most: int) -> None:
    values = {"agent": "desk", "conversation": "", "owner": ADA, "words": words, "most": most, "now_us": 0}
    told = [each["text"] for each in store.find(Rows(found), "local", values)]  # type: ignore[arg-type]
    assert len(told) <= most
    assert all(not words or set(text.split()) & set(words.split()) or text in found for text in told)
    assert words or told == found[:most]
