"""Queues and retention as an operator arranges them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from omega.chronicle.record import decode
from omega.host.embedded import Omega
from omega.host.orders import Placing, Wanted
from omega.host.queues import Queue, Queues, arranged_queues, depths, read_rate
from omega.host.retention import Retention, compact, retentions
from omega.host.targets import Target
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.flow import flow
from omega.kernel.queueing import Limits


@flow
def double(n: int) -> int:
    return n * 2


WORK = Wanted(target=Target("", double, ()), input=2, placing=Placing(queue="mail", labels={"team": "blue"}))


def test_a_queue_is_arranged_on_record_and_read_again(tmp_path: Path) -> None:
    async def whole() -> tuple[dict[str, Queue], list[str]]:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange("queue", "mail", Queue("mail", Limits(at_once=3, rate=10, per_s=2.0)).record())
            return arranged_queues(omega.store), [decode(leaf).flow for leaf in omega.store.leaves("local")]

    known, leaves = asyncio.run(whole())
    assert known == {"mail": Queue("mail", Limits(at_once=3, rate=10, per_s=2.0))}
    assert "arrange" in leaves


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("no good", {}),
        ("mail", {"limits": {"at_once": 0}}),
        ("mail", {"limits": {"speed": 3}}),
        ("mail", {"limits": {"per_s": -1}}),
    ],
)
def test_what_no_queue_can_be_is_refused_and_nothing_is_kept(tmp_path: Path, name: str, body: dict[str, object]) -> None:
    async def whole() -> dict[str, Queue]:
        async with Omega.open(tmp_path / "home") as omega:
            with pytest.raises(OmegaError):
                await omega.arrange("queue", name, body)
            return arranged_queues(omega.store)

    assert asyncio.run(whole()) == {}


def test_an_agent_arranges_nothing_without_the_right_to(tmp_path: Path) -> None:
    from omega.host.arrangements import arrange

    async def whole() -> str:
        async with Omega.open(tmp_path / "home") as omega:
            outcome = await omega.run(arrange, {"kind": "queue", "name": "mail", "body": {}}, principal="agent:helper")
            assert outcome.error is not None
            return str(outcome.error["code"])

    assert asyncio.run(whole()).startswith("OMG-W")


def test_a_worker_goes_by_fresh_queues_and_leaves_paused_ones_alone(tmp_path: Path) -> None:
    now = [0.0]

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            queues = Queues(omega.store, lambda: now[0])
            assert queues.open_of(("mail", "default")) == ("mail", "default")
            await omega.arrange("queue", "mail", Queue("mail", Limits(per_key=1), paused=True).record())
            assert queues.open_of(("mail", "default")) == ("mail", "default"), "it was read a moment ago"
            now[0] = 2.0
            assert queues.open_of(("mail", "default")) == ("default",)
            assert queues.limits() == {"mail": Limits(per_key=1)}
            await omega.dissolve("queue", "mail")
            now[0] = 4.0
            assert queues.open_of(("mail", "default")) == ("mail", "default")

    asyncio.run(whole())


def test_depth_and_age_tell_what_waits(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            before = omega.world.clock.now_us()
            for _ in range(3):
                await omega.enqueue(WORK)
            found = depths(omega.store, ("idle",))
            assert (found["mail"].queued, found["mail"].running, found["mail"].dead) == (3, 0, 0)
            assert before <= found["mail"].oldest_us <= omega.world.clock.now_us()
            assert found["idle"].queued == 0

    asyncio.run(whole())


@pytest.mark.parametrize(("text", "rate", "per_s"), [("10/s", 10, 1.0), ("100/min", 100, 60.0), ("5/10s", 5, 10.0), ("none", None, 1.0)])
def test_rates_are_typed_as_people_say_them(text: str, rate: int | None, per_s: float) -> None:
    assert read_rate(text) == {"rate": rate, "per_s": per_s}


@pytest.mark.parametrize("text", ["10", "fast", "0.5/s", "10/d", ""])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_rate(text)


def test_payloads_are_destroyed_when_their_time_is_over_and_the_log_stays_sound(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange("retention", "local", Retention("local", 60.0).record())
            done = await omega.run(double, 4, execution="old")
            assert done.value == 8
            now = omega.world.clock.now_us()
            assert await compact(omega.store, retentions(omega.store), now) == 0
            assert await compact(omega.store, retentions(omega.store), now + 3_600_000_000) > 0
            assert omega.store.key("old") is None
            assert all(row.payload is None for row in omega.store.rows("old"))

    asyncio.run(whole())


def test_a_retention_that_would_destroy_what_nobody_saw_is_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            with pytest.raises(InputError):
                await omega.arrange("retention", "local", {"after_s": 1})

    asyncio.run(whole())
