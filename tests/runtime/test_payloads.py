"""Payloads: a growing state stays small on disk, and every row of it can be read, in any order, after any crash, in any fork."""

from __future__ import annotations

import asyncio
import random
import string
from pathlib import Path
from typing import Any

import pytest

from omega import Context, IntegrityError, flow
from omega.adapters.sqlite import SqliteStore
from omega.host.clock import SystemClock
from omega.kernel.journal import Kind, Row, decode_meta
from omega.kernel.past import Past
from omega.runtime.forking import fork
from omega.runtime.payloads import Payloads
from omega.runtime.recovery import load
from omega.testing import Crash, Lab, run_virtual
from omega.testing.lab import sequencer

STEPS = 400
GROWTH = 1_000


@flow
def grow(state: dict[str, Any]) -> dict[str, Any]:
    """The state with one more message of `GROWTH` random letters, and its counter first: what an agent's memory does."""
    draw = random.Random(len(state["messages"]))
    text = "".join(draw.choices(string.ascii_letters + string.digits, k=GROWTH))
    return {"turn": state["turn"] + 1, "messages": [*state["messages"], text], "done": False}


@flow
async def agent(ctx: Context, turns: int) -> int:
    state: dict[str, Any] = {"turn": 0, "messages": [], "done": False}
    for _ in range(turns):
        state = await ctx.call(grow, state)
    return len(state["messages"])


@pytest.mark.promise("STORE-01")
def test_a_growing_state_takes_at_most_three_times_its_bytes(tmp_path: Path) -> None:
    async def run() -> None:
        clock = SystemClock()
        store = SqliteStore.open(tmp_path / "home", sequencer=sequencer(), owner="lab", now_us=clock.now_us)
        world = Lab(store=store, clock=clock)
        assert (await world.run(agent, STEPS, execution="run")).value == STEPS
        await store.flush()
        past, book, _ = load(world.world, "run")
        for turn in (399, 17, 256, 1):  # any one alone, the last first
            row = past.at["agent/grow" if turn == 1 else f"agent/grow#{turn}"].settled
            assert row is not None and len(grow.output.decode(book.open(row))["messages"]) == turn
        assert (await world.replay("run", agent)).identical and world.verify().sound
        store.close()

    asyncio.run(run())
    held = sum(path.stat().st_size for path in (tmp_path / "home").iterdir())
    assert held <= 3 * STEPS * GROWTH, f"{held:,} bytes for {STEPS * GROWTH:,}"


def test_a_chain_goes_on_after_a_crash_and_in_a_fork() -> None:
    async def run() -> None:
        world = Lab()

        def dies(batch: Any) -> None:
            if any(row.position == "agent/grow#20" for row in batch.rows):
                raise Crash

        world.store.on_append = dies
        with pytest.raises(Crash):
            await world.run(agent, 40, execution="run")
            await world.store.flush()
        again = Lab(start=world.store.snapshot(), clock=world.clock, seed="next")
        assert (await again.resume("run", agent)).value == 40
        size = sum(len(row.payload or b"") for row in again.store.rows("run"))
        assert size < 2 * 40 * GROWTH
        name = await fork(again.engine, "run", agent, again.scope(), at="agent/grow#30")
        assert (await again.resume(name, agent)).value == 40
        own = [row for row in again.store.rows(name) if row.execution == name]
        assert sum(len(row.payload or b"") for row in own) < 15 * GROWTH, "the fork rests on what its origin remembered"
        for each in ("run", name):
            assert (await again.replay(each, agent)).identical
        assert again.verify().sound

    run_virtual(run())


def test_every_row_is_what_it_commits_to() -> None:
    async def run() -> None:
        world = Lab()
        await world.run(agent, 30, execution="run")
        _, book, _ = load(world.world, "run")
        rows = world.store.rows("run")
        for row in reversed(rows):
            if row.kind == Kind.DONE:
                assert book.commitment(book.open(row)) == decode_meta(row).output  # type: ignore[union-attr]

    run_virtual(run())


def test_a_row_that_rests_on_nothing_or_on_itself_is_refused() -> None:
    async def run() -> None:
        world = Lab()
        await world.run(agent, 10, execution="run")
        key = world.store.key("run")
        assert key is not None
        rows = world.store.rows("run")
        sealer = world.world.keyring.open("run", key)
        last = next(row for row in reversed(rows) if row.kind == Kind.DONE and row.position != "agent")
        with pytest.raises(IntegrityError) as caught:
            Payloads(sealer, rows[:2]).open(last)
        assert caught.value.code == "OMG-S005"
        looped = Row("run", 5, int(Kind.DONE), "x", b"", sealer.seal(b"\x02\x05" + bytes(20), b"run 5"))
        with pytest.raises(IntegrityError):
            Payloads(sealer, [*rows[:5], looped]).open(looped)

    run_virtual(run())


def test_large_inputs_are_packed_too() -> None:
    async def run() -> None:
        world = Lab()
        given = {"turn": 0, "messages": ["again and again " * 400], "done": False}
        done = await world.run(grow, given, execution="run")
        assert done.status == "done"
        first = Past(world.store.rows("run")).rows[0]
        assert len(first.payload or b"") < 3_000
        assert load(world.world, "run")[2].input == given

    run_virtual(run())
