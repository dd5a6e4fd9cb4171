"""Resources that are watched: a session is held for those who watch there, nobody takes all the room, each hears of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from omega.adapters.mcp import Limits, Transport, Upstream, watching
from omega.adapters.mcp.seats import Seat, Seats, Watchful
from omega.adapters.process import launch
from omega.kernel.errors import InputError
from servers.everything_mcp import everything

PATIENCE_S = 60.0
WATCHED = "test://watched-resource"
ADA, BOB = ("ten_a", "person:ada"), ("ten_a", "person:bob")


class Watchers:
    """Seats at one server, and short ways to use them."""

    def __init__(self, upstream: Upstream, sessions: int) -> None:
        self.upstream = upstream
        self.seats = Seats(launch, lambda name: None, lambda tenant, principal, name: "a secret", Limits(sessions=sessions))

    def seat(self, who: tuple[str, str], name: str = "it") -> Seat:
        return self.seats.seat(replace(self.upstream, name=name), None, *who)

    async def open(self, seat: Seat) -> Watchful:
        session = await self.seats.session(seat, time.monotonic() + PATIENCE_S)
        assert isinstance(session, Watchful)
        return session

    async def watch(self, who: tuple[str, str], uri: str = WATCHED) -> Seat:
        seat = self.seat(who)
        await self.seats.watch(seat, await self.open(seat), uri, PATIENCE_S, by=who)
        return seat

    def updates(self, who: tuple[str, str]) -> int:
        return self.seats.updates(self.upstream, WATCHED, *who)

    async def touch(self, seat: Seat) -> None:
        """Have the server change the resource."""
        await (await self.open(seat)).call("test_touch_resource", {}, {}, PATIENCE_S, more={}, guest=None)


@asynccontextmanager
async def watchers(sessions: int = 8, **fields: dict[str, str]) -> AsyncIterator[Watchers]:
    async with everything() as (_, url):
        made = Watchers(Upstream(name="it", transport=Transport.HTTP, url=url, **fields), sessions)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            await made.seats.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def test_session_in_which_somebody_watches_is_not_closed_to_make_room() -> None:
    async def scenario() -> None:
        async with watchers(sessions=1) as it:
            seat = await it.watch(ADA)
            for name in ("second", "third", "fourth"):
                await it.open(it.seat(ADA, name))
            assert seat.session is not None
            assert not seat.session.over
            assert it.seat(ADA) is seat
            await it.touch(it.seat(ADA, "fourth"))
            await until(lambda: it.updates(ADA) > 0)
            it.seats.forget("it", WATCHED, by=BOB, older=False)
            assert seat.watched, "who does not watch gives nothing up"
            it.seats.forget("it", WATCHED, by=ADA, older=False)
            held = seat.session
            for name in ("fifth", "sixth"):
                await it.open(it.seat(ADA, name))
            assert held.over, "nobody watches there any more"

    asyncio.run(scenario())


def test_caller_who_watches_all_that_one_may_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_WATCHED_OF_ONE", 2)
    monkeypatch.setattr(watching, "MAX_WATCHED", 3)

    async def scenario() -> None:
        async with watchers() as it:
            for uri in ("test://1", "test://2", "test://2"):
                await it.watch(ADA, uri)
            with pytest.raises(InputError, match="no more than 2"):
                await it.watch(ADA, "test://3")
            seat = await it.watch(BOB, "test://3")
            await it.watch(BOB, "test://1")
            with pytest.raises(InputError, match="no more than 3"):
                await it.watch(("ten_b", "person:eve"), "test://4")
            session = await it.open(seat)
            for uri, left in (("test://2", 3), ("test://2", 2), ("test://1", 2), ("test://1", 2)):
                await it.seats.unwatch(seat, session, uri, PATIENCE_S, by=ADA)
                assert len(seat.watched) == left, "what somebody else watches stays watched"
            await it.watch(ADA, "test://4")

    asyncio.run(scenario())


def test_caller_with_credentials_of_their_own_hears_of_their_own_resource_alone() -> None:
    async def scenario() -> None:
        async with watchers(headers={"X-Token": "user:token"}) as it:
            seat = await it.watch(ADA)
            await it.open(it.seat(BOB))
            before = it.updates(BOB)
            await it.touch(seat)
            await until(lambda: it.updates(ADA) > 0)
            assert it.updates(BOB) == before, "the same address is another resource to another person"

    asyncio.run(scenario())


def test_callers_who_share_a_session_hear_of_what_they_share() -> None:
    async def scenario() -> None:
        async with watchers() as it:
            await it.touch(await it.watch(ADA))
            await until(lambda: it.updates(BOB) > 0)

    asyncio.run(scenario())


@pytest.mark.promise("MCP-21")
def test_a_record_that_changes_from_shared_to_a_persons_own_is_served_by_new_sessions() -> None:
    """And back: neither kind of session serves the other kind of record, and the one that has become useless is closed."""

    async def scenario() -> None:
        async with watchers() as it:
            shared, own = it.upstream, replace(it.upstream, headers={"X-Token": "user:token"})
            first = await it.open(it.seats.seat(shared, None, *ADA))
            busy = it.seats.seat(shared, None, *ADA)
            busy.calls += 1
            hers = await it.open(it.seats.seat(own, None, *ADA))
            his = await it.open(it.seats.seat(own, None, *BOB))
            assert len({first, hers, his}) == 3 and not first.over, "a call that is under way is not cut off"
            busy.calls -= 1
            assert await it.open(it.seats.seat(own, None, *ADA)) is hers
            assert first.over, "nobody can use it any more"
            again = await it.open(it.seats.seat(shared, None, *BOB))
            assert again not in (first, hers, his) and hers.over and his.over
            assert await it.open(it.seats.seat(shared, None, *ADA)) is again, "shared once more"

    asyncio.run(scenario())
