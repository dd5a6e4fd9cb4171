"""Reputation: what the log says of a tool's calls, and nothing else, makes its name; time lets it mend."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.test_openapi import call, opened
from omega.chronicle.record import Leaf
from omega.gateway.mcp.finding import ranked
from omega.host.house import House
from omega.host.reputation import HALF_LIFE_S, Health, Record, Reputation, health_of
from servers.shop_api import shop

DONE, HUNG, CHANGED, OWN = "", "OMG-M003", "OMG-M004", "OMG-M007"


def leaf(code: str, at_s: float, kind: str = "outcome") -> Leaf:
    status = "failed" if code else "done"
    return Leaf(kind=kind, tenant="local", flow="s/t", status=status, code=code, at_us=int(at_s * 1e6), took_us=100_000)


def program(*words: str) -> tuple[int, dict[str, Any]]:
    """What a command answers with, as a program reads it."""
    done = subprocess.run([sys.executable, "-m", "omega", *words], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def record(*codes: str, every_s: float = 1.0) -> Record:
    made = Record()
    for number, code in enumerate(codes):
        made.note(leaf(code, number * every_s))
    return made


@pytest.mark.promise("TOOL-40")
@settings(max_examples=60, deadline=None)
@given(codes=st.lists(st.sampled_from([DONE, HUNG, CHANGED, OWN]), max_size=30), more=st.sampled_from([DONE, HUNG, CHANGED, OWN]))
def test_scores_move_the_right_way_and_stay_in_bounds(codes: list[str], more: str) -> None:
    now = 40.0
    before, after = record(*codes), record(*codes)
    after.note(leaf(more, len(codes)))
    assert 0.0 < before.score(now) < 1.0
    if more == DONE:
        assert after.score(now) >= before.score(now)
    elif more == OWN:
        assert after.score(now) == before.score(now), "an error that a tool reports is an answer"
    else:
        assert after.score(now) < before.score(now)
    assert abs(after.score(now + 100 * HALF_LIFE_S) - 0.8) < 0.01, "what is long past counts no more"


@pytest.mark.promise("TOOL-40")
def test_a_flag_weighs_more_than_a_failure_and_a_denial_weighs_nothing() -> None:
    good = [DONE] * 10
    assert record(*good, CHANGED).score(20) < record(*good, HUNG).score(20) < record(*good).score(20)
    denied = record(*good)
    denied.note(leaf("OMG-W001", 11, kind="deny"))
    assert denied.score(20) == record(*good).score(20)
    assert denied.words(20) == "reputation 0.93: 10 calls, 1 denied, typically 100 ms"


@pytest.mark.slow
@pytest.mark.promise("TOOL-40")
def test_the_log_of_real_calls_is_what_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shop() as it, opened(tmp_path / "home", it) as omega:
            for _ in range(3):
                await call(omega, "getItem", id=1)
            await call(omega, "getItem", id=404)
            await call(omega, "getItem", id="none")
            await call(omega, "hang", 0.2)
            await call(omega, "createItem", principal="agent:otto", body={"name": "nut"})
            reputation = Reputation(omega.store, "local", omega.world.clock.now_us)
            told = {
                name: each.told(omega.world.clock.now_us() / 1e6) for name, each in reputation.read().items() if name.startswith("shop/")
            }
        assert {name: (each["calls"], each["failed"], each["errors"], each["denied"]) for name, each in told.items()} == {
            "shop/getItem": (4, 0, 1, 0),
            "shop/hang": (1, 1, 0, 0),
            "shop/createItem": (0, 0, 0, 1),
        }
        assert told["shop/hang"]["score"] < told["shop/createItem"]["score"] < told["shop/getItem"]["score"]
        assert told["shop/hang"]["codes"] == {"OMG-M003": 1}
        status, found = program("mcp", "list", "--json", "--home", str(tmp_path / "home"))
        (server,) = found["servers"]
        assert status == 0 and server["health"]["state"] == "failing" and server["health"]["code"] == "OMG-M003"
        assert server["health"]["answered_at"] <= server["health"]["failed_at"]

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("MCP-61")
def test_an_operator_is_told_how_each_server_is_and_strangers_are_told_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shop() as it, opened(tmp_path / "home", it) as omega:
            house = House(omega)
            assert house.servers(omega.scope())[0]["health"]["state"] == "not called"
            await omega.arrange("breaker", "shop", {"flow": "shop/*", "failures": 1, "open_s": 3_600, "tenant": ""})
            await call(omega, "getItem", id=1)
            await call(omega, "hang", 0.2)
            (server,) = House(omega).servers(omega.scope())
            assert (server["health"]["breaker"], server["health"]["kept_away_at"]) == ("open", None), "the gate has it before the log"
            assert (server["health"]["state"], server["health"]["code"]) == ("failing", HUNG)
            assert (await call(omega, "getItem", id=1)).error["code"] == "OMG-W011"
            (server,) = House(omega).servers(omega.scope())
            assert server.keys() == {"name", "transport", "tools", "health"}, "neither addresses nor references"
            assert house.servers(replace(omega.scope(), capabilities=frozenset())) == []
            assert house.servers(replace(omega.scope(), tenant="ten_other")) == []
        status, found = program("mcp", "list", "--json", "--home", str(tmp_path / "home"))
        (seen,) = found["servers"]
        assert status == 0 and seen["health"] == server["health"], "the log says the same where no gateway is asked"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-71")
def test_a_server_is_as_it_was_when_somebody_last_called_it() -> None:
    records = {"s/a": record(DONE, HUNG), "s/b": record(DONE, DONE, OWN), "t/a": record(HUNG), "st/a": record(DONE, every_s=9)}
    for name, each in records.items():
        for number, code in enumerate({"s/a": [DONE, HUNG], "s/b": [DONE, DONE, OWN], "t/a": [HUNG]}.get(name, [])):
            each.note(leaf(code, 100 + number))
    records["s/b"].note(leaf("OMG-W001", 500, kind="deny"))
    assert health_of("s", records) == Health(good_us=102_000_000, bad_us=101_000_000, code=HUNG)
    assert health_of("s", records).state == "working", "an error that a tool reports is an answer, a denial is none"
    assert health_of("t", records).told() == {
        "state": "failing",
        "answered_at": None,
        "failed_at": "1970-01-01T00:01:40Z",
        "code": HUNG,
        "breaker": "closed",
        "kept_away_at": None,
    }
    assert health_of("t", records).words() == "failing, 1970-01-01T00:01:40Z: OMG-M003"
    records["t/a"].note(leaf("OMG-W011", 101, kind="deny"))
    assert health_of("t", records).words() == "failing, 1970-01-01T00:01:40Z: OMG-M003, left alone by a breaker"
    assert health_of("t", records, opened=["s/*"]).breaker == "closed", "the gate knows better than the log"
    assert health_of("nobody", records).state == health_of("nobody", records).words() == "not called"


@pytest.mark.promise("TOOL-39")
def test_of_two_that_fit_alike_the_reliable_one_comes_first() -> None:
    tools = [{"name": "a__send", "description": "send mail"}, {"name": "b__send", "description": "send mail"}]
    known = {"a__send": (0.4, "reputation 0.40: 9 calls"), "b__send": (0.9, "reputation 0.90: 9 calls")}
    found = ranked(tools, "send mail", 5, lambda tool: known[str(tool["name"])])
    assert [each.tool["name"] for each in found] == ["b__send", "a__send"]
    assert found[0].why == "by send (name), mail; reputation 0.90: 9 calls"
    assert ranked(tools, "sennd", 5)[0].why == "by send (name) (looks alike)"
