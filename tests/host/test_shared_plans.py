"""Schedules and forks on one PostgreSQL database that several engines share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from omega import Context, Denied, flow
from omega.host.asking import enqueue
from omega.host.embedded import Omega
from omega.host.orders import Placing, Wanted
from omega.host.planning import Plan, add, pause
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.schedules import LABEL
from omega.host.serving import Service, Stop, serve
from omega.host.targets import Target
from omega.kernel.calendars import Overlap, Timing
from omega.kernel.journal import Kind, Status
from omega.kernel.ports import Line, Search
from omega.runtime.forking import fork
from servers.postgres import PostgresServer
from servers.postgres import serve as started

pytestmark = pytest.mark.slow

QUEUE = "mail"
RUNS: list[str] = []
"""What ran, an outside witness."""


@flow
def tick(text: str) -> str:
    RUNS.append(text)
    return text


@flow
def load(text: str) -> list[str]:
    return text.split()


@flow
def rank(words: list[str]) -> list[str]:
    return sorted(words)


@flow
def first(words: list[str]) -> str:
    return words[0]


@flow
async def told(ctx: Context, words: list[str]) -> list[str]:
    return [*words, str(await ctx.signal("go"))]


whole = load | rank | first
waiting = load | told | first


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose records lie in an empty schema."""
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    return tmp_path / "home"


def target(which: object) -> Target:
    return Target("", which, ())  # type: ignore[arg-type]


def service(*flows: object, until_idle: bool = False) -> Service:
    targets = [target(each) for each in flows]
    return Service(targets=targets, queues=(QUEUE,), at_once=4, lease_s=2.0, sweep_s=0.1, drain_s=1.0, until_idle=until_idle)


def quiet(event: str, facts: object) -> None:
    """Nobody listens."""


async def until(done: Callable[[], bool], workers: Sequence[asyncio.Task[dict[str, int]]]) -> None:
    """Return when `done` holds; at once, with its error, when a worker has ended instead."""
    async with asyncio.timeout(60):
        while not done():
            for worker in workers:
                assert not worker.done(), worker.result()
            await asyncio.sleep(0.05)


def sound(home: Path) -> None:
    with Archive.open(home) as archive:
        proofs = list(prove(archive))
        assert proofs and all(proof.sound for proof in proofs)


@pytest.mark.promise("TIME-05")
def test_two_workers_start_each_moment_of_a_schedule_once(home: Path) -> None:
    RUNS.clear()

    def lines(archive: Archive) -> list[Line]:
        return archive.reader.search(Search(labels={LABEL: "often"}, status=(Status.DONE,), limit=1_000))

    async def run() -> None:
        plan = Plan(name="often", timing=Timing(every_s=1), target=target(tick), input="x", placing=Placing(queue=QUEUE))
        await add(home, plan)
        stops = [Stop(), Stop()]
        workers = [asyncio.create_task(serve(home, service(tick), quiet, stop)) for stop in stops]
        with Archive.open(home) as archive:
            await until(lambda: len(lines(archive)) >= 3, workers)
            await pause(home, "often", paused=True)
            for stop in stops:
                stop.ask()
            counts = [await worker for worker in workers]
            found = lines(archive)
        assert len(RUNS) == len(found) == sum(count["done"] for count in counts if count)
        assert all(line.execution.startswith("often@") for line in found)

    asyncio.run(run())
    sound(home)


def test_a_worker_of_another_queue_starts_nothing_in_the_makers_name(home: Path) -> None:
    async def run() -> None:
        for name, queue in (("theirs", "other"), ("ours", QUEUE)):
            await add(home, Plan(name=name, timing=Timing(every_s=1), target=target(tick), input=name, placing=Placing(queue=queue)))
        stop = Stop()
        worker = asyncio.create_task(serve(home, service(tick), quiet, stop))
        with Archive.open(home) as archive:
            await until(lambda: len(archive.reader.search(Search(labels={LABEL: "ours"}))) >= 2, [worker])
            assert archive.reader.search(Search(labels={LABEL: "theirs"})) == []
        stop.ask()
        await worker

    asyncio.run(run())


@pytest.mark.promise("TIME-08")
def test_what_a_schedule_started_is_cancelled_on_the_engine_that_runs_it(home: Path) -> None:
    async def run() -> None:
        where = Placing(queue=QUEUE)
        plan = Plan(name="last", timing=Timing(every_s=1), target=target(waiting), input="b a", placing=where, overlap=Overlap.CANCEL)
        await add(home, plan)
        stops = [Stop(), Stop()]
        workers = [asyncio.create_task(serve(home, service(waiting), quiet, stop)) for stop in stops]
        with Archive.open(home) as archive:
            cancelled = Search(labels={LABEL: "last"}, status=(Status.CANCELLED,), limit=9)
            await until(lambda: len(archive.reader.search(cancelled)) >= 2, workers)
        for stop in stops:
            stop.ask()
        for worker in workers:
            await worker

    asyncio.run(run())
    sound(home)


@pytest.mark.promise("FORK-01")
def test_another_engine_forks_what_one_has_run(home: Path) -> None:
    async def run() -> None:
        async with Omega.open(home) as one, Omega.open(home) as other:
            assert (await one.run(whole, "b c a", execution="run")).value == "a"
            before = one.store.rows("run")
            made = await other.fork("run", target(whole), at="rank", name="again", labels={"why": "test"}, value=["z"])
            assert made == "again" and (await other.resume("again", whole)).value == "z"
            line = one.store.line("again")
            assert line is not None and (line.status, line.origin, dict(line.labels)) == ("done", "run", {"why": "test"})
            kinds = [row.kind for row in one.store.rows("again")]
            assert Kind.FORKED in kinds and Kind.OVERRIDE in kinds and one.store.rows("run") == before
            assert one.store.key("again") is None, "a fork shares its origin's key"
            deeper = await one.fork("again", target(whole), at="first", labels={})
            assert (await one.resume(deeper, whole)).value == "z"
            assert (await one.replay("again", whole)).identical and (await other.replay(deeper, whole)).identical

    asyncio.run(run())
    sound(home)


@pytest.mark.promise("FORK-01")
def test_workers_go_on_with_the_fork_of_what_came_from_a_queue(home: Path) -> None:
    async def run() -> None:
        await enqueue(home, Wanted(target=target(whole), input="b a", execution="run", placing=Placing(queue=QUEUE)))
        assert await serve(home, service(whole, until_idle=True), quiet, Stop()) == {"done": 1}
        async with Omega.open(home) as omega:
            made = await omega.fork("run", target(whole), at="rank", labels={}, value=["y"])
        assert await serve(home, service(whole, until_idle=True), quiet, Stop()) == {"done": 1}
        async with Omega.open(home) as omega:
            assert (await omega.engine.outcome(made)).value == "y"

    asyncio.run(run())
    sound(home)


@pytest.mark.promise("FORK-01")
def test_what_another_engine_has_in_hand_is_forked_and_refused_like_any_other(home: Path) -> None:
    async def run() -> None:
        async with Omega.open(home) as holder, Omega.open(home) as other:
            running = asyncio.create_task(holder.run(waiting, "b a", execution="run"))
            async with asyncio.timeout(30):
                while not (line := other.store.line("run")) or line.status != Status.WAITING:
                    await asyncio.sleep(0.01)
            with pytest.raises(Denied) as refused:
                await fork(other.engine, "run", other.catalogue.bound(waiting), other.scope("agent:eve"), at="load")
            assert refused.value.code == "OMG-W001"
            made = await other.fork("run", target(waiting), at="load", labels={}, value=["q"])
            assert (await other.resume(made, waiting)).status == Status.WAITING
            await other.decide(made, "signal", {"name": "go", "value": 1})
            assert (await other.resume(made, waiting)).value == "q"
            await holder.decide("run", "signal", {"name": "go", "value": 1})
            await asyncio.wait([running])
            assert (await holder.resume("run", waiting)).value == "b"

    asyncio.run(run())
    sound(home)
