"""Passports at hand: shared for a moment, never beyond a revocation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from omega.chronicle.record import decode
from omega.host.embedded import Omega
from omega.host.identity import Caller
from omega.host.revoking import revoke_passport
from omega.host.wallet import MAX_CALLERS, REUSE_US, Wallet
from omega.kernel.errors import Denied
from omega.kernel.flow import flow
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Search
from omega.runtime.recovery import load


@flow
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def counting() -> Wallet:
    numbers = iter(range(10**6))
    return Wallet(lambda caller, now_us: f"{caller} {next(numbers)}")


def test_a_passport_is_shared_by_one_caller_for_a_moment() -> None:
    wallet = counting()
    first = wallet.passport("", 5)
    assert wallet.passport("", 5 + REUSE_US - 1) == first
    assert wallet.passport("agent:a", 6) != first
    assert wallet.passport(Caller("agent:a", groups=("g",)), 6) != wallet.passport("agent:a", 6)
    assert wallet.passport("", 5 + REUSE_US) != first
    assert wallet.passport("", 1) != wallet.passport("", 5 + REUSE_US), "a clock set back makes a new one"


def test_many_callers_are_bounded_and_forgotten_ones_get_new_ones() -> None:
    wallet = counting()
    first = wallet.passport("agent:a", 0)
    for number in range(MAX_CALLERS):
        wallet.passport(f"agent:b{number}", 0)
    assert wallet.passport("agent:a", 0) != first
    again = wallet.passport("agent:a", 0)
    wallet.forget()
    assert wallet.passport("agent:a", 0) != again


def test_a_revoked_passport_is_not_handed_out_again(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            token = omega._wallet.passport("", omega.world.clock.now_us())
            used = omega.world.authority.verify(token, now=omega.world.clock.now_us() / 1_000_000).passport
            assert (await omega.run(double, 2)).value == 4
            await omega.revoke(used)
            assert (await omega.run(double, 3)).status == Status.DONE

    asyncio.run(whole())


@pytest.mark.promise("WARD-18")
def test_the_log_says_who_had_a_passport_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            token = omega.passport("agent:helper")
            named = omega.world.authority.verify(token, now=omega.world.clock.now_us() / 1_000_000).passport
            revoking = asyncio.ensure_future(omega.revoke(named, by="person:bob"))
            await asyncio.sleep(0)
            with pytest.raises(Denied):
                omega.world.authority.verify(token, now=omega.world.clock.now_us() / 1_000_000)
            await revoking
            (line,) = omega.store.search(Search(flow="revoke_passport"))
            found = [decode(body) for body in omega.store.leaves(line.tenant)]
            told = [(leaf.kind, leaf.status) for leaf in found if leaf.execution == line.execution]
            assert ("entry", "") in told and ("outcome", "done") in told
            assert load(omega.world, line.execution)[2].input == {"passport": named, "by": "person:bob"}
            foreign = await omega.road.call(Call(passport=token, flow=revoke_passport, input={"passport": named, "by": "agent:helper"}))
            assert foreign.error is not None

    asyncio.run(whole())
