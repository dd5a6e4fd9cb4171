"""Tokens for a tool server are renewed by themselves, by the authorization server of another installation."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.conftest import Open
from gateway.oauth.test_clients import _opened, answered
from omega.adapters.mcp import McpEffector, Transport, Upstream
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.renewing import RenewedSession
from omega.adapters.mcp.seats import Seats
from omega.host.credentials import credentials
from omega.host.embedded import Omega
from omega.host.renewing import Kept, KeptTokens, Renewer
from omega.host.sandboxing import launcher
from omega.host.signing_up import SignIn, sign_in
from omega.kernel.errors import UpstreamError

pytestmark = [pytest.mark.slow]
NAME = "far_token"
BAD = "a-token-that-nobody-gave"


def known_at(house: Open) -> Upstream:
    return Upstream(name="far", transport=Transport.HTTP, url=f"{house.url}/mcp", headers={"Authorization": f"Bearer user:{NAME}"})


@asynccontextmanager
async def signed_in(house: Open, home: Path) -> AsyncIterator[tuple[Omega, Renewer]]:
    """An installation whose owner has signed in to another one, which is a tool server of it; and what is kept of that."""
    async with Omega.open(home):
        pass

    def tell(where: str) -> None:
        asyncio.get_running_loop().run_in_executor(None, lambda: _opened(answered(house, where)))

    wanted = SignIn(name=NAME, url=f"{house.url}/mcp", allowed=("127.0.0.0/8",))
    await asyncio.to_thread(lambda: asyncio.run(sign_in(home, wanted, tell)))
    async with Omega.open(home) as omega:
        yield omega, Renewer(omega.store, omega.world.keyring, omega.world.clock.now_us)


@asynccontextmanager
async def seated(omega: Omega, renewer: Renewer) -> AsyncIterator[Seats]:
    """The sessions of an engine, as its effector holds them."""
    look = credentials(omega.store, omega.world.keyring)
    seats = Seats(launcher(omega.settings), os.environ.get, look, Limits(), renewals=renewer)
    try:
        yield seats
    finally:
        await seats.close()


def whose(omega: Omega) -> tuple[str, str, str]:
    return omega.settings.tenant, omega.scope().principal, NAME


async def listed(omega: Omega, seats: Seats, house: Open, principal: str = "") -> None:
    """Ask the server elsewhere for its tools, as a call of that caller would. Raises UpstreamError."""
    seat = seats.seat(known_at(house), None, omega.settings.tenant, principal or omega.scope().principal)
    session = await seats.session(seat, time.monotonic() + 30)
    assert isinstance(session, RenewedSession)
    await session.ask("tools/list", {}, 30)


@pytest.mark.promise("MCP-62")
def test_calls_side_by_side_with_a_dead_token_renew_it_once_and_all_succeed(
    house: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = KeptTokens._ask

    async def noted(self: KeptTokens, kept: Kept) -> None:
        asked.append(kept.held.refresh)
        await ask(self, kept)

    async def scenario() -> None:
        async with signed_in(house, tmp_path / "home") as (omega, renewer), seated(omega, renewer) as seats:
            mine = whose(omega)
            await listed(omega, seats, house)
            good, kept = renewer.kept(mine)
            assert not asked, "one that is good is left alone"
            tokens = renewer.tokens(known_at(house), *mine[:2])
            assert tokens is not None
            renewer.keep(mine, BAD, kept)
            tokens._access = BAD  # the conversation goes on with one that is refused
            await asyncio.gather(*(listed(omega, seats, house) for _ in range(8)))
            assert asked == [kept.held.refresh]
            access, after = renewer.kept(mine)
            assert access not in ("", BAD, good) and after.held.refresh != kept.held.refresh

    monkeypatch.setattr(KeptTokens, "_ask", noted)
    asyncio.run(scenario())


@pytest.mark.promise("MCP-62")
def test_a_token_that_is_about_to_end_is_renewed_before_the_call(house: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with signed_in(house, tmp_path / "home") as (omega, renewer), seated(omega, renewer) as seats:
            mine = whose(omega)
            access, kept = renewer.kept(mine)
            assert kept.held.until_s > time.time(), "whoever gave it has said when it ends"
            renewer.keep(mine, access, Kept(replace(kept.held, until_s=time.time() + 5), kept.url, kept.allowed))
            await listed(omega, seats, house)  # the conversation begins
            await listed(omega, seats, house)
            newer, after = renewer.kept(mine)
            assert newer not in ("", access) and after.held.until_s > time.time() + 60

    asyncio.run(scenario())


@pytest.mark.promise("MCP-63")
def test_one_that_is_not_renewed_says_to_sign_in_again_and_nobody_gets_the_token_of_another(house: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with signed_in(house, tmp_path / "home") as (omega, renewer), seated(omega, renewer) as seats:
            mine = tenant, principal, _ = whose(omega)
            upstream = known_at(house)
            assert renewer.tokens(upstream, tenant, principal) is not None
            assert renewer.tokens(upstream, tenant, "person:somebody-else") is None
            assert renewer.tokens(upstream, "ten_other", principal) is None
            assert renewer.tokens(replace(upstream, url="https://elsewhere.example/mcp"), tenant, principal) is None
            with pytest.raises(UpstreamError) as none:
                await listed(omega, seats, house, principal="person:somebody-else")
            assert none.value.code == "OMG-M001"
            _, kept = renewer.kept(mine)
            renewer.keep(mine, BAD, Kept(replace(kept.held, refresh=BAD, until_s=0.0), kept.url, kept.allowed))
            for _ in range(2):
                with pytest.raises(UpstreamError) as refused:
                    await listed(omega, seats, house)
                assert refused.value.code == "OMG-M011" and f"omega mcp sign-in {NAME}" in refused.value.advice
                assert BAD not in str(refused.value.record())
            assert renewer.kept(mine)[1].held.refresh == BAD, "what is kept is not thrown away by a failure"

    asyncio.run(scenario())


@pytest.mark.promise("MCP-62")
def test_an_engine_renews_what_its_callers_have_signed_in_to(house: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            effector = omega.world.effectors["mcp"]
            assert isinstance(effector, McpEffector)
            assert isinstance(effector._seats._renewals, Renewer)

    asyncio.run(scenario())
