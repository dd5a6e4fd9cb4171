"""Search over leaves, and that whoever searches is on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chronicle.ledger import TENANT, Ledger
from omega.chronicle import search as module
from omega.chronicle.record import Leaf, encode
from omega.chronicle.search import Query, search
from omega.host.embedded import Omega
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.flow import flow


@flow
def double(n: int) -> int:
    return 2 * n


def log(count: int = 50) -> Ledger:
    made = Ledger()
    kinds, people = ("admit", "deny", "outcome"), ("person:ada", "agent:bob")
    made.commit(
        [
            encode(Leaf(kind=kinds[at % 3], tenant=TENANT, principal=people[at % 2], flow=f"f{at % 5}", at_us=at, reason=f"because {at}"))
            for at in range(count)
        ]
    )
    return made


def found(**wanted: Any) -> list[int]:
    return [index for index, _ in search(log(), TENANT, Query.read(wanted)).found]


def test_every_field_narrows_and_the_newest_come_first() -> None:
    assert found() == list(range(49, -1, -1))
    assert found(kind="deny") == [at for at in range(49, -1, -1) if at % 3 == 1]
    assert found(kind="deny", principal="agent:bob", flow="f2") == [at for at in range(49, -1, -1) if (at % 3, at % 2, at % 5) == (1, 1, 2)]
    assert found(since_us=10, until_us=13) == [12, 11, 10]
    assert found(text="because 4") == [*range(49, 39, -1), 4]
    assert found(execution="exe_none") == []


def test_pages_join_without_a_gap_whatever_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for batch, looked in ((7, 1000), (1, 13), (100, 9)):
        monkeypatch.setattr(module, "BATCH", batch)
        monkeypatch.setattr(module, "MAX_LOOKED", looked)
        seen: list[int] = []
        before = 0
        while True:
            page = search(log(), TENANT, Query(kind="deny", before=before, limit=4))
            seen += [index for index, _ in page.found]
            before = page.before
            if not before:
                break
        assert seen == [at for at in range(49, -1, -1) if at % 3 == 1], (batch, looked)


@pytest.mark.parametrize(
    "wanted", [{"colour": "red"}, {"limit": 0}, {"limit": 1001}, {"limit": True}, {"kind": "gossip"}, {"before": -1}, {"kind": 1}]
)
def test_a_search_that_makes_no_sense_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Query.read(wanted)
    assert caught.value.code == "OMG-I001"


def test_missing_leaves_are_an_error_and_not_an_empty_answer() -> None:
    damaged = log()
    del damaged.stored[40:]
    with pytest.raises(IntegrityError):
        search(damaged, TENANT, Query())


@pytest.mark.promise("LOG-29")
def test_whoever_searches_the_log_stands_in_it(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.run(double, 21)
            first = await omega.search_log({"kind": "entry"})
            assert [leaf["flow"] for leaf in first["leaves"]] == ["read_log", "double"]
            second = await omega.search_log({"flow": "read_log", "kind": "admit"})
            assert len(second["leaves"]) == 2, "the one before, and itself"
            assert all(leaf["principal"].startswith("person:") for leaf in second["leaves"])
            with pytest.raises(InputError):
                await omega.search_log({"tenant": "globex"})

    asyncio.run(whole())
