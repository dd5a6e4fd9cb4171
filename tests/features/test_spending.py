"""Money on models: set aside before it is spent, in budgets and limits, whoever asks at once; settled by what it came to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.models import Model, ModelEffector, Registry, Source
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.host.limits import read_amount, read_whose
from omega.kernel.budget import Budget
from omega.kernel.compose import parallel
from omega.kernel.context import Context
from omega.kernel.effects import ModelCall
from omega.kernel.flow import flow
from omega.kernel.models import Chat, Embed
from omega.kernel.ports import Outcome
from servers.postgres import PostgresServer
from servers.postgres import serve as started
from servers.provider import Upstream, provider

PRICE = {"input": "1", "output": "100", "as_of": "2026-01-01"}
"""US dollars per million tokens: 100 micros for each token that is written."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with provider() as running:
        yield running


async def call(omega: Omega, method: str, value: Any, **options: Any) -> Outcome:
    return await omega.run(find_method(f"models.{method}")[0], value, **options)


async def furnish(omega: Omega, upstream: Upstream, *models: str, **more: Any) -> None:
    for kind, name, body in (
        ("provider", "up", {"url": upstream.url}),
        *(("model", model, {"provider": "up", "model": model, **more}) for model in models),
    ):
        assert (await call(omega, "keep", {"kind": kind, "name": name, "body": body})).error is None


def question(model: str = "echo", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100, **more}


def spent(outcomes: list[Outcome]) -> int:
    return sum(outcome.cost_micros for outcome in outcomes)


def codes(outcomes: list[Outcome]) -> set[str]:
    return {str((outcome.error or {"code": ""})["code"]) for outcome in outcomes}


@pytest.mark.slow
@pytest.mark.promise("WARD-14")
def test_questions_at_once_never_go_past_a_limit_of_money(tmp_path: Path, upstream: Upstream) -> None:
    async def work() -> None:
        async with Omega.open(tmp_path) as omega:
            await furnish(omega, upstream, "echo", price=PRICE)
            await omega.arrange("limit", "purse", {**read_whose("agent:x"), **read_amount("0.025 USD/day")})
            asked = [call(omega, "chat", question(), principal="agent:x") for _ in range(12)]
            first = await asyncio.gather(*asked)
            assert codes(first) == {"", "OMG-W005"}
            assert len(upstream.seen) == sum(outcome.error is None for outcome in first) == 2, "each may cost a hundredth of a dollar"
            assert 0 < spent(first) <= 25_000
            later = await call(omega, "chat", question(), principal="agent:x")
            assert later.error is None, "what was set aside and not spent is free again"

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("WARD-14")
@pytest.mark.parametrize(("unpriced", "code"), [("refuse", "OMG-W005"), ("pass", "")])
def test_a_model_without_a_price_is_refused_where_money_is_limited_unless_it_may_pass(
    tmp_path: Path, upstream: Upstream, unpriced: str, code: str
) -> None:
    async def work() -> None:
        async with Omega.open(tmp_path) as omega:
            await furnish(omega, upstream, "echo")
            await omega.arrange("limit", "purse", {**read_whose("agent:x"), **read_amount("5 USD/day"), "unpriced": unpriced})
            assert codes([await call(omega, "chat", question(), principal="agent:x")]) == {code}
            assert len(upstream.seen) == (not code)
            in_money = await call(omega, "chat", question(), budget=Budget(cost_micros=5_000_000))
            assert codes([in_money]) == {"OMG-W005"} and "price" in in_money.error["cause"]  # type: ignore[index]
            assert (await call(omega, "chat", question(), budget=Budget(tokens=5_000))).error is None

    asyncio.run(work())


@flow(name="ask", effect="read", needs="model:ask")
async def ask(ctx: Context, model: str) -> str:
    return str(await ctx.touch(ModelCall(instructions="", prompt="hello", max_tokens=100, model=model)))


@pytest.mark.promise("WARD-14")
def test_branches_at_once_never_go_past_the_budget_of_their_run(tmp_path: Path, upstream: Upstream) -> None:
    async def work() -> None:
        async with Omega.open(tmp_path) as omega:
            await furnish(omega, upstream, "echo", price=PRICE)
            outcome = await omega.run(parallel(ask, ask, ask, ask), "echo", budget=Budget(cost_micros=25_000))
            assert codes([outcome]) == {"OMG-W005"}
            assert len(upstream.seen) <= 2 and outcome.cost_micros <= 25_000  # the first refusal ends the others, sent or not

    asyncio.run(work())


@pytest.mark.promise("WARD-14")
def test_half_an_answer_is_paid_for(tmp_path: Path, upstream: Upstream) -> None:
    async def work() -> None:
        async with Omega.open(tmp_path) as omega:
            await furnish(omega, upstream, "scripted", price=PRICE)
            upstream.answer = lambda text: ""
            outcome = await omega.run(ask, "scripted")
            assert codes([outcome]) == {"OMG-M008"} and outcome.cost_micros > 0

    asyncio.run(work())


@given(
    st.sampled_from(["chat", "text", "embed"]),
    st.text(max_size=60),
    st.integers(1, 300),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_nothing_comes_to_more_than_was_foretold(kind: str, text: str, most: int, two: bool) -> None:
    """One token for each byte that is sent and all that may be written, by the dearest of the models that may answer."""
    registry = Registry({})
    registry.sources = {"up": Source.of("up", {"url": "http://127.0.0.1:1/v1"})}
    for name, price, made_for in (("a", "1", "chat"), ("b", "7", "chat"), ("e", "3", "embeddings")):
        record = {"provider": "up", "model": name, "kind": made_for, "price": {"input": price, "output": price, "as_of": "2026-01-01"}}
        registry.models[name] = Model.of(name, record)
    effector = ModelEffector({}, registry=registry)
    name = "b" if two else "a"
    size = len(text.encode("utf-8", "replace"))
    requests = {
        "chat": Chat(model=name, messages=({"role": "user", "content": text},), max_tokens=most),
        "text": ModelCall(model=name, instructions="", prompt=text, max_tokens=most),
        "embed": Embed(model="e", texts=(text,)),
    }
    told = asyncio.run(effector.foretell("ten_a", requests[kind]))
    per_token = {"a": 1, "b": 7}[name] if kind != "embed" else 3
    written = most if kind != "embed" else 0
    assert told.priced and told.tokens >= size + written and told.cost_micros >= per_token * (size + written)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.mark.slow
@pytest.mark.promise("WARD-14")
@pytest.mark.promise("WARD-06")
def test_two_engines_on_the_same_records_never_go_past_a_limit_of_money(
    tmp_path: Path, upstream: Upstream, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "OMEGA_STORE", server.fresh())

    async def work() -> None:
        async with Omega.open(tmp_path / "home") as first, Omega.open(tmp_path / "home") as second:
            await furnish(first, upstream, "echo", price=PRICE)
            await first.arrange("limit", "purse", {**read_whose("agent:x"), **read_amount("0.065 USD/day")})
            async with asyncio.timeout(20):
                while [each.governor._engines for each in (first, second)] != [2, 2] or not second.world.warden.ledger.busy:
                    await asyncio.sleep(0.05)
                await _knows(second, "echo")
            asked = [call(each, "chat", question(), principal="agent:x") for each in (first, second) for _ in range(10)]
            outcomes = await asyncio.gather(*asked)
            assert codes(outcomes) == {"", "OMG-W005"} and 0 < spent(outcomes) <= 65_000
            assert len(upstream.seen) == 6, "three for each part of 0.0325 dollars"

    asyncio.run(work())


async def _knows(omega: Omega, model: str) -> None:
    while model not in {each["name"] for each in (await call(omega, "list", {})).value}:
        await asyncio.sleep(0.05)
