"""Every carrier of hints passes the same suite; then what only a failing server can show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from omega.adapters.memory import MemoryWakeups
from omega.adapters.nats import NatsWakeups
from omega.adapters.net.hints import MAX_HEARD, Heard
from omega.adapters.postgres import PostgresStore, PostgresWakeups
from omega.kernel.errors import StorageError
from omega.kernel.ports import Wakeups
from omega.testing.conformance import NoteSequencer, WakeupsConformance
from omega.testing.conformance.batches import START_US, run
from omega.testing.conformance.queueing import QUEUE, queued
from omega.testing.conformance.wakeups import SOON_S
from servers.nats import NatsServer
from servers.nats import serve as serve_nats
from servers.postgres import PostgresServer
from servers.postgres import serve as serve_postgres

Opener = Callable[[], Awaitable[Wakeups]]


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    yield from serve_nats()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    yield from serve_postgres()


@pytest.mark.promise("RUN-66")
class TestMemory(WakeupsConformance):
    @pytest.fixture
    def open_wakeups(self) -> Opener:
        first: list[MemoryWakeups] = []

        async def open_one() -> Wakeups:
            wakeups = MemoryWakeups(beside=first[0] if first else None)
            first.append(wakeups)
            return wakeups

        return open_one


@pytest.mark.slow
@pytest.mark.promise("RUN-66")
class TestPostgres(WakeupsConformance):
    @pytest.fixture
    def open_wakeups(self, postgres_server: PostgresServer) -> Opener:
        async def open_one() -> Wakeups:
            return PostgresWakeups.open(postgres_server.dsn())

        return open_one


@pytest.mark.promise("RUN-66")
class TestNats(WakeupsConformance):
    @pytest.fixture
    def open_wakeups(self, nats_server: NatsServer) -> Opener:
        async def open_one() -> Wakeups:
            return await NatsWakeups.open(nats_server.address)

        return open_one


async def hear_again(one: Wakeups, other: Wakeups, queue: str) -> None:
    """Hint until it is heard: a connection is coming back."""
    async with asyncio.timeout(4 * SOON_S):
        while not await one.wait([queue], 0.1):
            await other.hint(queue)


@pytest.mark.promise("RUN-66")
def test_nats_comes_back_and_says_that_something_was_missed() -> None:
    async def main(server: NatsServer) -> None:
        one, other = await NatsWakeups.open(server.address), await NatsWakeups.open(server.address)
        server.kill()
        await other.hint("work")
        server.start()
        await hear_again(one, other, "work")
        for wakeups in (one, other):
            await wakeups.aclose()

    for server in serve_nats():
        run(main(server))


@pytest.mark.slow
def test_an_unreachable_server_is_named_without_its_password(nats_server: NatsServer) -> None:
    with pytest.raises(StorageError, match="OMG-S002") as caught:
        run(NatsWakeups.open("nats://ada:geheim@127.0.0.1:1"))
    assert "geheim" not in str(caught.value.record())


@pytest.mark.slow
def test_postgres_comes_back_and_says_that_something_was_missed() -> None:
    async def main(server: PostgresServer) -> None:
        one, other = PostgresWakeups.open(server.dsn()), PostgresWakeups.open(server.dsn())
        while await one.wait(["work"], 0.0):
            pass
        server.kill()
        await other.hint("work")
        assert not await one.wait(["work"], 0.1)
        server.start()
        await hear_again(one, other, "work")
        for wakeups in (one, other):
            await wakeups.aclose()

    for server in serve_postgres():
        run(main(server))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["birth", "wake", "parent", "release"])
def test_the_store_announces_what_it_makes_due(postgres_server: PostgresServer, way: str) -> None:
    """In the same transaction: whoever hears it finds it."""
    dsn = postgres_server.fresh()
    store = PostgresStore.open(dsn, sequencer=NoteSequencer(), owner="engine-1", now_us=lambda: START_US)

    async def main() -> None:
        wakeups = PostgresWakeups.open(dsn)
        if way != "birth":
            await store.commit(queued("exe_1", due_us=0))
        while await wakeups.wait([QUEUE], 0.0):
            pass
        if way == "birth":
            await store.commit(queued("exe_1"))
        elif way == "wake":
            await store.wake(["exe_1"], START_US)
        elif way == "parent":
            child = queued("exe_2", due_us=0, queue="other")
            child.wake = ("exe_1",)
            await store.commit(child)
        else:
            await store.wake(["exe_1"], START_US)
            await store.claim("exe_1", owner="engine-1", lease_us=2 * START_US, now_us=START_US)
            assert await wakeups.wait([QUEUE], SOON_S)
            await store.release("exe_1")
        assert await wakeups.wait([QUEUE], SOON_S)
        assert await store.next_due([QUEUE], 0) == START_US
        await wakeups.aclose()

    run(main())
    store.close()


def test_more_names_than_can_be_remembered_count_as_all() -> None:
    heard = Heard()
    for number in range(MAX_HEARD + 1):
        heard.hear(f"queue-{number}")

    async def main() -> list[bool]:
        return [await heard.wait(["unheard of"], 0.0), await heard.wait(["unheard of"], 0.0)]

    assert run(main()) == [True, False]
