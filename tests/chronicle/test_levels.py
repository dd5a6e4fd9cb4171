"""Content levels: what is left once an execution has ended, that it is all that is left, and that everything else still verifies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from omega import Context, flow
from omega.host.embedded import Omega
from omega.host.levels import LEVEL, RULES, Levels
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.host.subjects import schema_of
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.journal import Kind
from omega.kernel.marks import SENSITIVE, SUBJECT
from omega.kernel.types import Type
from omega.runtime.forking import fork
from omega.runtime.levels import LEVEL_LABEL
from omega.runtime.recovery import load, read_outcome

NAME = "Grete Samsa of Charlottenstrasse"
MAIL = "grete@samsa.example"


class Patient(BaseModel):
    number: Annotated[str, SUBJECT]
    name: Annotated[str, SENSITIVE]
    note: str


@flow
def examine(patient: Patient) -> dict[str, Any]:
    return {
        "called": f"examined {patient.name} today",
        "name": patient.name,
        "found": f"write to {MAIL}",
        "score": 7,
        "inner": {"room": "room twelve"},
    }


@flow
def summed_up(found: dict[str, Any]) -> str:
    return f"score {found['score']}"


@flow
def turned_away(patient: Patient) -> str:
    raise InputError("OMG-I001", f"{patient.name} is not known")


visit = examine | summed_up
GIVEN = Patient(number="7", name=NAME, note=f"call {MAIL}")


@flow
async def parent(ctx: Context, patient: Patient) -> dict[str, Any]:
    return dict(await ctx.join(await ctx.start(examine, patient)))


async def settled(omega: Omega, execution: str) -> None:
    for _ in range(1000):
        line = omega.store.line(execution)
        if line is not None and LEVEL_LABEL not in line.labels:
            return
        await omega.levels.finish()
        await asyncio.sleep(0.005)
    raise AssertionError(f"the level of {execution} was never applied")


def opened(omega: Omega, execution: str) -> list[Any]:
    past, book, _ = load(omega.world, execution)
    return [json.loads(book.open(row)) for row in past.rows if row.payload is not None]


def raw(home: Path) -> Iterator[bytes]:
    for path in home.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


@pytest.mark.promise("LOG-31")
def test_a_redacted_execution_keeps_what_the_rules_leave_and_the_first_key_is_gone(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def whole() -> bytes:
        async with Omega.open(home) as omega:
            await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
            await omega.arrange(RULES, TENANT, {"paths": ["$.inner.room"]})
            omega.levels.read()
            outcome = await omega.run(visit, GIVEN, execution="exe_visit")
            assert outcome.value == "score 7", "whoever asked gets the whole answer"
            first = omega.store.key("exe_visit")
            await settled(omega, "exe_visit")
            told = json.dumps(opened(omega, "exe_visit"))
            assert NAME not in told and MAIL not in told and "room twelve" not in told
            assert "[email]" in told and "[redacted]" in told and "score 7" in told
            assert omega.store.key("exe_visit") != first
            assert read_outcome(omega.world, "exe_visit").value == "score 7"
            assert first is not None
            return first

    first = asyncio.run(whole())
    assert not any(first in data or NAME.encode() in data for data in raw(home))
    with Archive.open(home) as archive:
        (proof,) = prove(archive)
    assert proof.sound, proof.record()
    assert proof.redacted == 1


@pytest.mark.promise("LOG-32")
def test_what_was_redacted_is_neither_replayed_nor_forked(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
            omega.levels.read()
            await omega.run(visit, GIVEN, execution="exe_visit")
            await settled(omega, "exe_visit")
            for refused in (
                omega.replay("exe_visit", visit),
                fork(omega.engine, "exe_visit", visit, omega.scope(), at="summed_up"),
            ):
                with pytest.raises(IntegrityError) as caught:
                    await refused
                assert caught.value.code == "OMG-C005"

    asyncio.run(whole())


@pytest.mark.promise("LOG-31")
def test_at_anonymous_nothing_of_a_value_is_left(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange(LEVEL, TENANT, {"level": "anonymous"})
            omega.levels.read()
            await omega.run(visit, GIVEN, execution="exe_visit")
            await settled(omega, "exe_visit")
            assert omega.store.key("exe_visit") is None
            rows = omega.store.rows("exe_visit")
            assert rows and all(row.payload is None for row in rows)
            assert any(row.kind == Kind.FINISHED for row in rows)

    asyncio.run(whole())


@pytest.mark.promise("LOG-31")
def test_the_words_of_an_error_go_and_its_code_stays(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
            omega.levels.read()
            outcome = await omega.run(turned_away, GIVEN, execution="exe_failed")
            assert outcome.error is not None and NAME in outcome.error["cause"]
            await settled(omega, "exe_failed")
            error = read_outcome(omega.world, "exe_failed").error
            assert error is not None
            assert (error["code"], error["cause"]) == ("OMG-I001", "[redacted]")
            assert NAME not in json.dumps(opened(omega, "exe_failed"))

    asyncio.run(whole())


@pytest.mark.promise("LOG-31")
def test_a_child_is_redacted_after_its_parent_has_read_it(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
            omega.levels.read()
            outcome = await omega.run(parent, GIVEN, execution="exe_parent")
            assert outcome.value["name"] == NAME
            children = [line for line in omega.store.lines(limit=50) if line.parent == "exe_parent"]
            assert len(children) == 1
            for execution in ("exe_parent", children[0].execution):
                await settled(omega, execution)
                assert NAME not in json.dumps(opened(omega, execution))

    asyncio.run(whole())


async def left_undone(home: Path) -> None:
    """An engine that dies right after the end of an execution is on disk."""

    async def nothing() -> None:
        """What a dead process does."""

    async with Omega.open(home) as omega:
        await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
        omega.levels.read()
        omega.levels.finish = nothing  # type: ignore[method-assign]
        await omega.run(visit, GIVEN, execution="exe_visit")
        assert omega.store.key("exe_visit") is not None


@pytest.mark.promise("LOG-31")
def test_what_an_engine_left_undone_the_next_one_destroys(tmp_path: Path) -> None:
    """Without the flow nobody knows which fields are marked, so nothing is kept."""
    home = tmp_path / "home"

    async def next_one() -> None:
        async with Omega.open(home) as omega:
            await settled(omega, "exe_visit")
            assert omega.store.key("exe_visit") is None

    asyncio.run(left_undone(home))
    asyncio.run(next_one())


@pytest.mark.promise("LOG-31")
def test_what_another_engine_ended_is_left_to_it_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    asyncio.run(left_undone(home))

    async def another() -> None:
        async with Omega.open(home) as omega:
            for _ in range(3):
                await omega.levels.finish()
            assert omega.store.key("exe_visit") is not None

    monkeypatch.setattr("omega.host.embedded.Levels", lambda world, documents, **_: Levels(world, documents, patience_us=3_600_000_000))
    asyncio.run(another())


@pytest.mark.promise("LOG-31")
def test_a_type_without_a_schema_is_sensitive_as_a_whole(tmp_path: Path) -> None:
    class Odd:
        pass

    odd = Type(Callable[[Odd], Odd])
    assert schema_of(odd) is None
    assert schema_of(Type(Patient)) is not None


@pytest.mark.promise("LOG-31")
def test_a_level_holds_for_what_begins_after_it(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.run(visit, GIVEN, execution="exe_before")
            await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
            omega.levels.read()
            await omega.run(visit, GIVEN, execution="exe_after")
            await settled(omega, "exe_after")
            assert NAME in json.dumps(opened(omega, "exe_before"))
            assert (await omega.replay("exe_before", visit)).identical

    asyncio.run(whole())


def test_levels_and_rules_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            for kind, body in (
                (LEVEL, {"level": "some"}),
                (LEVEL, {}),
                (RULES, {"paths": ["$"]}),
                (RULES, {"paths": "x"}),
                (RULES, {"detectors": ["faces"]}),
            ):
                with pytest.raises(InputError):
                    await omega.arrange(kind, TENANT, body)

    asyncio.run(whole())
