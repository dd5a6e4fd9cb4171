"""Notebooks, executions whose entries another framework brings: sealed, chained, fenced, closed and begun again, also after a crash."""

from __future__ import annotations

import os
from typing import Any

import pytest

from omega import Denied, FlowError, InputError, IntegrityError, StorageError
from omega.kernel.journal import MAX_PAYLOAD, Status
from omega.kernel.packing import pack
from omega.runtime.notebook import Notebook, Notebooks, _packed, _unpacked, notebook_flow
from omega.testing import Lab, run_virtual

FLOW = "test.notebook"


def notebooks(lab: Lab, **facts: Any) -> Notebooks:
    return Notebooks(lab.engine, notebook_flow(FLOW), lambda: lab.scope(**facts))


def read(notebook: Notebook | None) -> list[tuple[str, bytes]]:
    assert notebook is not None
    return [(entry.sort, entry.plain) for entry in notebook.entries()]


def test_what_is_committed_is_there_and_proved() -> None:
    async def run() -> None:
        lab = Lab()
        books = notebooks(lab)
        assert books.find("a") is None and books.names() == []
        notebook = await books.take("a")
        notebook.add("draft", b"one")
        await notebook.commit("final", b"two" * 100)
        assert read(books.find("a")) == [("draft", b"one"), ("final", b"two" * 100)]
        assert books.names() == ["a"]
        (leaf,) = [leaf for leaf in lab.leaves() if leaf.step == "final"]
        assert leaf.kind == "admin" and leaf.principal == "person:ada"
        assert lab.verify().sound and lab.verify().unsealed == 0

    run_virtual(run())


def test_the_one_that_took_it_last_writes() -> None:
    async def run() -> None:
        books = notebooks(Lab())
        first, second = await books.take("a"), await books.take("a")
        assert not books.is_current(first) and books.is_current(second)
        with pytest.raises(StorageError) as refused:
            await first.commit("entry", b"late")
        assert refused.value.code == "OMG-S006"
        await second.commit("entry", b"on time")
        assert read(books.find("a")) == [("entry", b"on time")]

    run_virtual(run())


def test_a_closed_one_ends_and_its_name_is_free() -> None:
    async def run() -> None:
        lab = Lab()
        books = notebooks(lab)
        for text in (b"one", b"two", b"three"):
            notebook = await books.take("a")
            await notebook.commit("entry", text)
            await notebook.close()
            assert books.find("a") is None and lab.store.line(notebook.execution).status == Status.DONE
        assert read(await notebooks(lab).take("a")) == []
        assert lab.verify().sound

    run_virtual(run())


def test_what_replaces_one_is_whole_before_the_old_one_ends() -> None:
    async def run() -> None:
        lab = Lab()
        books = notebooks(lab)
        old = await books.take("a")
        await old.commit("entry", b"old")

        async def crash(self: Any) -> None:
            raise RuntimeError("the process died here")

        closing, Notebook.close = Notebook.close, crash  # type: ignore[method-assign]
        try:
            with pytest.raises(RuntimeError):
                await books.replace(old, [("entry", b"new")])
        finally:
            Notebook.close = closing  # type: ignore[method-assign]
        next_engine = notebooks(lab)
        assert read(next_engine.find("a")) == [("entry", b"old")], "the old one still counts"
        await next_engine.replace(await next_engine.take("a"), [("entry", b"newer")])
        assert read(notebooks(lab).find("a")) == [("entry", b"newer")], "and what was left half done is not in the way"
        assert lab.store.line(old.execution).status == Status.DONE and len(next_engine.names()) == 1

    run_virtual(run())


def test_a_replacement_that_was_overtaken_changes_nothing() -> None:
    async def run() -> None:
        lab = Lab()
        books = notebooks(lab)
        old = await books.take("a")
        await old.commit("entry", b"old")
        await notebooks(lab).take("a")
        with pytest.raises(StorageError):
            await books.replace(old, [("entry", b"new")])
        assert read(books.find("a")) == [("entry", b"old")]

    run_virtual(run())


def test_it_is_its_owners() -> None:
    async def run() -> None:
        lab = Lab()
        mine = notebooks(lab, principal="agent:one")
        await (await mine.take("a")).commit("entry", b"mine")
        with pytest.raises(Denied):
            await notebooks(lab, principal="agent:two").take("a")
        assert notebooks(lab, principal="agent:two").names() == []
        assert read(notebooks(lab).find("a")) == [("entry", b"mine")], "an owner may"

    run_virtual(run())


def test_the_entry_gate_is_asked() -> None:
    async def run() -> None:
        lab = Lab(policies={"no.cedar": '@id("no") @reason("none") forbid (principal, action == Action::"run", resource);'})
        with pytest.raises(Denied):
            await notebooks(lab).take("a")

    run_virtual(run())


def test_limits_and_strangers() -> None:
    async def run() -> None:
        lab = Lab()
        notebook = await notebooks(lab).take("a")
        with pytest.raises(FlowError, match="OMG-R003"):
            notebook.add("entry", bytes(MAX_PAYLOAD + 1))
        other = Notebooks(lab.engine, notebook_flow("another.kind"), lab.scope)
        assert other.find("a") is None
        with pytest.raises(InputError, match="OMG-I003"):
            other._read(notebook.execution, lab.scope())

    run_virtual(run())


@pytest.mark.parametrize("plain", [b"", b"short", b"word " * 100, os.urandom(1_000)])
def test_entries_are_compressed_where_that_helps(plain: bytes) -> None:
    packed = _packed(plain)
    assert _unpacked(packed) == plain and len(packed) <= len(plain) + 1
    assert pack(packed)[0] == packed, "it is packed twice"


def test_the_largest_entry_is_read_again() -> None:
    async def run() -> None:
        lab, largest = Lab(), os.urandom(MAX_PAYLOAD)
        books = notebooks(lab)
        await (await books.take("a")).commit("note", largest)
        ((_, plain),) = read(books.find("a"))
        assert plain == largest

    run_virtual(run())


def test_a_packed_entry_that_is_damaged_or_a_bomb_is_refused() -> None:
    bomb = _packed(bytes(MAX_PAYLOAD))
    assert len(_unpacked(bomb)) == MAX_PAYLOAD
    for wrong in (b"znonsense", b"", bomb[:-4], b"\7" + bomb[1:], _packed(bytes(MAX_PAYLOAD + 1))):
        with pytest.raises(IntegrityError, match="OMG-S005"):
            _unpacked(wrong)
