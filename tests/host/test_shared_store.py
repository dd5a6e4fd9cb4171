"""Several engines on one PostgreSQL database: whose keys, who decides, who goes on."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omega import Context, flow
from omega.host import mfa
from omega.host.asking import enqueue
from omega.host.deciding import decide
from omega.host.doctor import examine
from omega.host.embedded import Omega
from omega.host.orders import Placing, Wanted
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.serving import Service, Stop, serve
from omega.host.targets import Target
from omega.kernel.errors import StorageError
from omega.kernel.journal import Status
from servers.postgres import PostgresServer
from servers.postgres import serve as started


@flow
def double(n: int) -> int:
    return n * 2


@flow
async def told(ctx: Context, n: int) -> int:
    return n + int(await ctx.signal("go"))


QUEUE = "mail"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose records lie in an empty schema."""
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    return tmp_path / "home"


def wanted(which: object, name: str = "") -> Wanted:
    return Wanted(target=Target("", which, ()), input=4, execution=name, placing=Placing(queue=QUEUE))  # type: ignore[arg-type]


def service(*flows: object, until_idle: bool = True) -> Service:
    targets = [Target("", each, ()) for each in flows]  # type: ignore[arg-type]
    return Service(targets=targets, queues=(QUEUE,), at_once=4, lease_s=2.0, sweep_s=0.1, drain_s=1.0, until_idle=until_idle)


def quiet(event: str, facts: object) -> None:
    """Nobody listens."""


def test_the_whole_product_runs_on_a_database(home: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as first, Omega.open(home) as second:
            assert (await first.run(double, 21, execution="one")).value == 42
            assert (await second.engine.outcome("one")).value == 42
            assert first.store.owner != second.store.owner
        await enqueue(home, wanted(double, "two"))
        assert await serve(home, service(double), quiet, Stop()) == {"done": 1}

    asyncio.run(whole())
    with Archive.open(home) as archive:
        line = archive.reader.line("two")
        assert line is not None and line.status == Status.DONE
        assert all(proof.sound for proof in prove(archive))


@pytest.mark.promise("RUN-46")
def test_an_engine_with_other_keys_is_refused_before_it_makes_any_or_writes(home: Path, tmp_path: Path) -> None:
    async def run(folder: Path) -> None:
        async with Omega.open(folder) as omega:
            await omega.run(double, 1)

    asyncio.run(run(home))
    other = tmp_path / "other"
    with pytest.raises(StorageError) as caught:
        asyncio.run(run(other))
    assert caught.value.code == "OMG-T003" and not (other / "keys" / "log.key").exists()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMEGA_STORE")
        asyncio.run(run(tmp_path / "elsewhere"))  # keys of its own
    with pytest.raises(StorageError) as caught:
        asyncio.run(run(tmp_path / "elsewhere"))
    assert caught.value.code == "OMG-T003"
    shutil.copytree(home / "keys", other / "keys", dirs_exist_ok=True)
    other.chmod(0o700)
    asyncio.run(run(other))


def test_a_decision_reaches_the_engine_that_has_the_execution_in_hand(home: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as holder:
            running = asyncio.create_task(holder.run(told, 4, execution="held"))
            while holder.store.line("held") is None:
                await asyncio.sleep(0.01)
            await asyncio.wait([running])
            assert running.result().status == Status.WAITING
        made = await decide(home, "held", "signal", {"name": "go", "value": 5})
        assert made.recorded

    asyncio.run(whole())


def test_what_waits_in_a_queue_goes_on_by_itself_after_a_signal_from_another_process(home: Path) -> None:
    async def whole() -> None:
        stop = Stop()
        name = await enqueue(home, wanted(told, "waits"))
        working = asyncio.create_task(serve(home, service(told, until_idle=False), quiet, stop))
        with Archive.open(home) as archive:
            await until(archive, name, Status.WAITING)
            await decide(home, name, "signal", {"name": "go", "value": 5})
            await until(archive, name, Status.DONE)
        stop.ask()
        assert (await working)["done"] == 1
        async with Omega.open(home) as omega:
            assert (await omega.engine.outcome(name)).value == 9

    asyncio.run(whole())


async def until(archive: Archive, name: str, status: Status) -> None:
    async with asyncio.timeout(30):
        while (line := archive.reader.line(name)) is None or line.status != status:
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.promise("RUN-44")
def test_a_worker_opens_a_database_anew_that_was_killed_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer()
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    events: list[str] = []

    async def whole() -> None:
        stop = Stop()
        await enqueue(tmp_path / "home", wanted(double, "before"))
        tell = lambda event, facts: events.append(event)  # noqa: E731 - a list is all that is asked
        working = asyncio.create_task(serve(tmp_path / "home", service(double, until_idle=False), tell, stop))
        with Archive.open(tmp_path / "home") as archive:
            await until(archive, "before", Status.DONE)
        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(30):
            while "lost" not in events:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(30):
            while "reopened" not in events:
                await asyncio.sleep(0.02)
        await enqueue(tmp_path / "home", wanted(double, "after"))
        with Archive.open(tmp_path / "home") as archive:
            await until(archive, "after", Status.DONE)
        stop.ask()
        await working

    try:
        asyncio.run(whole())
    finally:
        server.remove()


@pytest.mark.slow
def test_hints_travel_over_nats_and_a_server_that_is_away_costs_a_sweep_and_nothing_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from servers.nats import NatsServer

    nats = NatsServer()
    monkeypatch.setenv("OMEGA_WAKEUPS", nats.address)

    async def whole() -> None:
        stop = Stop()
        working = asyncio.create_task(serve(home, replace(service(double, until_idle=False), sweep_s=60.0), quiet, stop))
        async with Omega.open(home) as omega:
            with Archive.open(home) as archive:
                for name in ("first", "hinted"):  # after the first one the worker would not look again for a minute
                    await omega.enqueue(wanted(double, name))
                    await until(archive, name, Status.DONE)
        stop.ask()
        await working
        await asyncio.to_thread(nats.kill)
        await enqueue(home, wanted(double, "unhinted"))

    try:
        asyncio.run(whole())
    finally:
        nats.kill()
    with Archive.open(home) as archive:
        assert (line := archive.reader.line("unhinted")) is not None and line.status == Status.QUEUED


@pytest.mark.promise("RUN-47")
def test_the_doctor_tells_of_a_database_that_cannot_be_reached_and_never_its_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_STORE", "postgresql://omega:correct-horse@127.0.0.1:1/work")
    found = list(examine(home, servers=False))
    assert any(each.state == "fail" and "OMG-S002" in each.text for each in found)
    assert "correct-horse" not in str(found)
    monkeypatch.setenv("OMEGA_STORE", "oracle://omega:correct-horse@db")
    found = list(examine(home, servers=False))
    assert [each.state for each in found] == ["fail"] and "correct-horse" not in str(found)


@pytest.mark.slow
@pytest.mark.promise("WARD-17")
def test_a_code_told_to_two_engines_at_the_same_instant_is_good_at_one(home: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as first, Omega.open(home) as second:
            name = mfa.name_of(first.settings.tenant, "person:ada")
            secret = b"s" * mfa.SECRET_BYTES
            await first.arrange(mfa.FACTOR, name, mfa.enrolment(secret, first.identity.keyring, name))
            step = int(first.world.clock.now_us() // 1_000_000 // mfa.STEP_S)
            for later in (-1, 0, 1):  # each is good once, in this order
                code = {"code": mfa.code_at(secret, step + later)}
                told = [
                    asyncio.to_thread(each.world.second_factor, first.settings.tenant, "person:ada", code) for each in (first, second) * 2
                ]
                assert sorted(await asyncio.gather(*told)) == [False, False, False, True]
            body = json.loads(first.store.document(mfa.FACTOR, name) or b"{}")
            assert body["after"] == step + 1

    asyncio.run(whole())
