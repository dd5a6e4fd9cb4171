"""The bus over LISTEN and NOTIFY passes the suite of its port, and carries what one notification does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from omega.adapters.net.topics import MAX_BODY
from omega.adapters.postgres import PostgresBus
from omega.kernel.errors import StorageError
from omega.kernel.ports import Bus
from omega.testing.conformance import BusConformance
from servers.postgres import PostgresServer
from servers.postgres import serve as started

SOON_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.mark.slow
@pytest.mark.promise("SDK-04")
class TestPostgres(BusConformance):
    @pytest.fixture
    def open_bus(self, server: PostgresServer) -> Callable[..., Awaitable[Bus]]:
        async def open_one(**options: int) -> Bus:
            return await PostgresBus.open(server.dsn(), **options)

        return open_one


@pytest.mark.slow
def test_a_message_of_many_notifications_arrives_whole_and_a_server_that_went_comes_back(server: PostgresServer) -> None:
    large = bytes(range(256)) * (MAX_BODY // 256)

    async def main() -> None:
        teller, listener = await PostgresBus.open(server.dsn()), await PostgresBus.open(server.dsn())
        heard = await listener.subscribe("a.*")
        for body in (b"", large, b"last"):
            await teller.publish("a.b", body)
        assert [await heard.next(SOON_S) for _ in range(3)] == [("a.b", b""), ("a.b", large), ("a.b", b"last")]
        await asyncio.to_thread(server.kill)
        await teller.publish("a.b", b"nobody hears this")
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(30):
            while (message := await heard.next(0.05)) is None:
                await teller.publish("a.b", b"again")
        assert message == ("a.b", b"again")
        for bus in (teller, listener):
            await bus.aclose()
            await bus.aclose()
        await teller.publish("a.b", b"closed: nothing happens")

    asyncio.run(main())


def test_a_database_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(StorageError) as caught:
        asyncio.run(PostgresBus.open("postgresql://omega:correct-horse@127.0.0.1:1/work"))
    assert caught.value.code == "OMG-S002" and "correct-horse" not in str(caught.value.record())
