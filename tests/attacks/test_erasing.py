"""What hopes to be kept past its erasure: what ends and is erased at the same moment, too many subjects, odd values at every level."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from chronicle.test_erasure import files
from omega import Context
from omega.adapters.memory import MemoryStore
from omega.adapters.sqlite import SqliteStore
from omega.chronicle.redact import Level, Rules, content
from omega.host import erasing
from omega.host.embedded import Omega
from omega.host.erasing import erase
from omega.host.settings import TENANT
from omega.host.subjects import MAX_SUBJECTS
from omega.kernel.errors import InputError
from omega.kernel.flow import flow
from omega.kernel.journal import Kind, Row
from omega.kernel.marks import SUBJECT
from omega.kernel.ports import Batch, Call
from omega.testing.conformance.batches import START_US, NoteSequencer, birth
from omega.testing.conformance.batches import TENANT as OTHER
from omega.testing.conformance.retention import ended

HIDDEN = b"what-nobody-may-find-afterwards-%d"
LARGE = 40_000
"""Bytes of a value that takes pages of its own."""


@pytest.mark.promise("LOG-27")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=6, deadline=None)
@given(sizes=st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.booleans()), min_size=1, max_size=12))
def test_what_ends_and_is_erased_in_one_commit_leaves_nothing(kind: str, sizes: list[tuple[bool, int, bool]]) -> None:
    """Every batch and every erasure is asked for at once, so that the writer takes many of them into one transaction."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        given: dict[str, Any] = {"sequencer": NoteSequencer(), "owner": "engine-1", "now_us": lambda: START_US}
        store: Any = SqliteStore.open(home, **given) if kind == "sqlite" else MemoryStore(**given)

        async def whole() -> None:
            work = []
            for number, (large, rows, by_age) in enumerate(sizes):
                name = f"exe_{number}"
                value = HIDDEN % number + b"z" * (LARGE if large else 0)
                work += [store.commit(birth(name))]
                made = [Row(name, seq, Kind.DONE, "flow/a", b"meta", value) for seq in range(1, rows + 1)]
                work += [store.commit(Batch(tenant=OTHER, execution=name, epoch=1, rows=made))]
                work += [store.commit(ended(name, rows + 1, START_US + 5))]
                work += [store.compact(OTHER, START_US + 6, 100) if by_age else store.erase(OTHER, [name])]
            await asyncio.gather(*work)

        try:
            asyncio.run(whole())
            for number in range(len(sizes)):
                assert all(row.payload is None for row in store.rows(f"exe_{number}"))
                assert store.key(f"exe_{number}") is None
        finally:
            store.close()
        if kind == "sqlite":
            left = [(path.name, number) for path, raw in files(home) for number in range(len(sizes)) if HIDDEN % number in raw]
            assert left == []


class Seen(BaseModel):
    who: Annotated[list[str], SUBJECT]


@flow
def seen(people: Seen) -> int:
    return len(people.who)


@flow
async def stays(ctx: Context, text: str) -> str:
    return f"{text} {await ctx.signal('go')}"


@flow
def notes(text: str) -> str:
    return text


@pytest.mark.promise("LOG-30")
@pytest.mark.parametrize("extra", [0, 1])
def test_an_execution_about_more_people_than_can_be_marked_does_not_begin(tmp_path: Path, extra: int) -> None:
    people = [f"person-number-{n}" for n in range(MAX_SUBJECTS + extra)]

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            outcome = await omega.run(seen, Seen(who=people + people[:3]))
            if extra:
                assert outcome.error is not None and outcome.error["code"] == "OMG-I001"
                assert not omega.store.lines(tenant=TENANT, limit=10), "nothing of it was begun"
                return
            assert outcome.error is None
            mark = omega.world.keyring.subject(TENANT, people[-1])
            assert (await omega.ask(erase, {"mark": mark}))["erased"] == 1

    asyncio.run(whole())
    assert not [path.name for path, raw in files(tmp_path / "home") if people[-1].encode() in raw]


@pytest.mark.promise("LOG-30")
def test_what_cannot_be_erased_yet_keeps_nothing_older_from_being_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More executions about a subject than one commit takes, the newest of them still waiting for somebody."""
    monkeypatch.setattr(erasing, "AT_ONCE", 2)
    monkeypatch.setattr(erasing, "MAX_NAMED", 3)

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            about = Call(passport=omega.passport(), flow=notes, input="", labels={"subject": "grete"})
            for n in range(7):
                await omega.road.call(replace(about, input=f"note {n}"))
            started = [await omega.road.start(replace(about, flow=stays, input=f"stays {n}")) for n in range(5)]
            mark = omega.world.keyring.subject(TENANT, "grete")
            done = await omega.ask(erase, {"mark": mark})
            assert (done["erased"], done["left"]) == (7, 5)
            assert sorted(done["waiting"]) == sorted(started)
            with pytest.raises(InputError):
                await omega.ask(erase, {"executions": ["exe_1", "exe_2", "exe_3", "exe_4"]})
            for execution in started:
                await omega.decide(execution, "cancel", {})
            for execution in started:
                await omega.engine.outcome(execution)
            assert (await omega.ask(erase, {"mark": mark}))["erased"] == 5

    asyncio.run(whole())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "hidden-in-a-text-7731", "4111 1111 1111 1111"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "card", "a.b", "", "$", "*"]), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=80, deadline=None)
@given(VALUES, st.sampled_from(list(Level)))
def test_a_level_says_as_much_as_it_may_of_any_value(value: Any, level: Level) -> None:
    """Anonymous: nothing of any text. Redacted: nothing under the names that rules name. Full: the value itself."""
    rules = Rules(["$..name", "$..card"])
    said = content(value, level, rules, encode=lambda each: json.dumps(each).encode(), commit=lambda raw, label: b"commitment-of-it")
    if level is Level.FULL:
        assert said == value
    elif level is Level.ANONYMOUS:
        assert "hidden-in-a-text-7731" not in json.dumps(said, default=repr)
    else:
        assert all(each == "[redacted]" for each in _under(said, {"name", "card"}))


def _under(value: Any, names: set[str]) -> list[Any]:
    if isinstance(value, dict):
        own = [each for name, each in value.items() if name in names]
        return own + [found for name, each in value.items() if name not in names for found in _under(each, names)]
    return [found for each in value for found in _under(each, names)] if isinstance(value, list) else []
